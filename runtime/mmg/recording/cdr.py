"""Samples as CDR messages, as ROS 2 writes them: little endian, each value at a multiple of its own size.

A struct whose texts have a fixed length has a fixed layout, so that a NumPy record is the message.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mmg.types import Samples, Times

ENCAPSULATION = b"\x00\x01\x00\x00"
"""Little-endian CDR."""
IMU_CHANNELS = ("ax", "ay", "az", "gx", "gy", "gz")
UNKNOWN = -1.0
"""The first covariance of what a sensor does not measure, by sensor_msgs/Imu."""
PCM_S16, PCM_F32 = "pcm-s16", "pcm-f32"
FULL_SCALE = 32768.0
S_NS = 1_000_000_000
LAST_S = 2**31 - 1
"""The last second that a stamp can tell; the time of the MCAP message goes further."""


def imu_layout(frame_id: str) -> np.dtype:
    """One sensor_msgs/Imu message."""
    length = len(frame_id.encode()) + 1
    return np.dtype(
        [
            ("encapsulation", "V4"),
            ("sec", "<i4"),
            ("nanosec", "<u4"),
            ("length", "<u4"),
            # After a string comes a double, at a multiple of 8 from the encapsulation's end.
            ("frame_id", f"S{-(-(12 + length) // 8) * 8 - 12}"),
            ("orientation", "<f8", 4),
            ("orientation_covariance", "<f8", 9),
            ("angular_velocity", "<f8", 3),
            ("angular_velocity_covariance", "<f8", 9),
            ("linear_acceleration", "<f8", 3),
            ("linear_acceleration_covariance", "<f8", 9),
        ]
    )


def imu_messages(layout: np.dtype, frame_id: str, channels: tuple[str, ...], samples: Samples, times: Times) -> bytes:
    """Samples ``(T, C)`` of these channels, stamped ``(T,)`` ns since 1970, as T messages one after the other."""
    rows = np.zeros(len(times), layout)
    rows["encapsulation"] = ENCAPSULATION
    seconds, rows["nanosec"] = np.divmod(times, S_NS)
    rows["sec"] = np.minimum(seconds, LAST_S)
    rows["length"], rows["frame_id"] = len(frame_id.encode()) + 1, frame_id.encode()
    rows["orientation_covariance"][:, 0] = UNKNOWN
    for name, first in (("linear_acceleration", 0), ("angular_velocity", 3)):
        axes = [
            (axis, channels.index(one)) for axis, one in enumerate(IMU_CHANNELS[first : first + 3]) if one in channels
        ]
        for axis, column in axes:
            rows[name][:, axis] = samples[:, column]
        if not axes:
            rows[f"{name}_covariance"][:, 0] = UNKNOWN
    return rows.tobytes()


def imu_samples(data: bytes, channels: tuple[str, ...]) -> NDArray[np.float32]:
    """The samples ``(T, C)`` of messages of one layout, one after the other. Raises ValueError."""
    # All but the frame's name has a fixed length, and the numbers are at the end.
    length = struct.unpack_from("<I", data, 12)[0]
    if not 0 < length <= len(data):
        raise ValueError(f"a name of {length} bytes in {len(data)}")
    rows = np.frombuffer(data, imu_layout("x" * (length - 1)))
    columns = {
        name: rows[of][:, axis]
        for of, first in (("linear_acceleration", 0), ("angular_velocity", 3))
        for axis, name in enumerate(IMU_CHANNELS[first : first + 3])
    }
    with np.errstate(over="ignore"):
        return np.stack([columns[name] for name in channels], axis=1).astype(np.float32)


def audio_message(samples: Samples, first_ns: int, rate_hz: float) -> bytes:
    """Samples ``(T, C)`` float32, full scale 1, as one RawAudio: 16-bit where that loses nothing, else as they are."""
    scaled = samples * FULL_SCALE
    whole = np.rint(scaled)
    fits = bool((whole == scaled).all() and (np.abs(whole + 0.5) <= FULL_SCALE).all())
    data = (whole.astype("<i2") if fits else samples.astype("<f4")).tobytes()
    sec, nanosec = divmod(first_ns, S_NS)
    head = ENCAPSULATION + struct.pack("<iII", min(sec, LAST_S), nanosec, len(data))
    tail = _text(PCM_S16 if fits else PCM_F32) + struct.pack("<II", round(rate_hz), samples.shape[1])
    return head + data + bytes(-len(data) % 4) + tail


def audio_samples(message: bytes) -> NDArray[np.float32]:
    """The samples ``(T, C)`` float32 of a RawAudio. Raises ValueError, struct.error."""
    [size] = struct.unpack_from("<I", message, 12)
    data, at = message[16 : 16 + size], 16 + size + -size % 4
    form, at = _read_text(message, at)
    [channels] = struct.unpack_from("<I", message, at + 4)
    if form == PCM_S16:
        sound = np.frombuffer(data, "<i2").astype(np.float32) / np.float32(FULL_SCALE)
    elif form == PCM_F32:
        sound = np.frombuffer(data, "<f4").astype(np.float32)
    else:
        raise ValueError(f"sound as {form!r}")
    return sound.reshape(-1, max(channels, 1))


def image_message(frame: Samples, time_ns: int, frame_id: str) -> bytes:
    """A picture ``(H, W, 3)`` uint8 RGB as one RawImage."""
    height, width, _ = frame.shape
    sec, nanosec = divmod(time_ns, S_NS)
    head = struct.pack("<iI", min(sec, LAST_S), nanosec) + _padded(_text(frame_id))
    head += struct.pack("<II", width, height) + _text("rgb8") + bytes(3)
    return ENCAPSULATION + head + struct.pack("<II", 3 * width, frame.size) + frame.tobytes()


def image_samples(message: bytes) -> NDArray[np.uint8]:
    """The picture ``(H, W, 3)`` of a RawImage. Raises ValueError, struct.error."""
    _, at = _read_text(message, 12)
    width, height = struct.unpack_from("<II", message, at)
    form, at = _read_text(message, at + 8)
    if form != "rgb8":
        raise ValueError(f"pictures as {form!r}")
    return np.frombuffer(message, np.uint8, offset=at + 8).reshape(height, width, 3)


def _text(text: str) -> bytes:
    """A string, which begins at a multiple of 4."""
    return struct.pack("<I", len(text.encode()) + 1) + text.encode() + b"\0"


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _read_text(message: bytes, at: int) -> tuple[str, int]:
    """The string at this place, and where the next multiple of 4 after it is."""
    [length] = struct.unpack_from("<I", message, at)
    end = at + 4 + length
    return message[at + 4 : end - 1].decode(), end + -end % 4
