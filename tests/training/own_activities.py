"""Three activities that the starter does not know, by people of one's own making: motion and sound of one timeline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from mmg.recording.marks import Marker
from mmg.recording.recorder import Limits, Recorder
from mmg.recording.sensors import Sensor
from mmg.runs.step import Step
from mmg.sources.ports.port import PortStatus
from mmg.sources.units import STANDARD_GRAVITY
from mmg.types import Chunk
from numpy.typing import NDArray

IMU_HZ, SOUND_HZ, STEP_S = 50, 16_000, 0.25
IMU_CHANNELS = ("ax", "ay", "az", "gx", "gy", "gz")
ACTIVITIES = ("cranking", "sawing", "stirring")
HEADER = "t_ms,ax (m/s^2),ay (m/s^2),az (m/s^2),gx (rad/s),gy (rad/s),gz (rad/s)"
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Person:
    """pace: how fast; strength: how hard; tilt: of the wrist, rad; loudness: of the room."""

    pace: float
    strength: float
    tilt: float
    loudness: float

    @classmethod
    def numbered(cls, number: int) -> Person:
        """Each person is another one, the same at every call."""
        rng = np.random.default_rng((number, 0x0E11))
        return cls(rng.uniform(0.85, 1.2), rng.uniform(0.8, 1.3), rng.uniform(-0.25, 0.25), rng.uniform(0.5, 1.2))


def perform(activity: str, seconds: float, person: Person, seed: int) -> tuple[Floats, Floats]:
    """Motion (T, 6) in m/s^2 and rad/s at 50 Hz, and sound (N,) at 16 kHz."""
    rng = np.random.default_rng((seed, 0xAC7))
    t, s = np.arange(round(seconds * IMU_HZ)) / IMU_HZ, np.arange(round(seconds * SOUND_HZ)) / SOUND_HZ
    begin = rng.uniform(0, 2 * np.pi)

    def turned(beat_hz: float, at: Floats) -> Floats:
        wander = 0.3 * np.sin(2 * np.pi * 0.11 * at + begin)
        return 2 * np.pi * beat_hz * person.pace * at + wander + begin

    force, angles, noise = np.zeros((len(t), 3)), np.zeros((len(t), 3)), rng.normal(0, 1, len(s))
    if activity == "sawing":  # to and fro, a rasp on each stroke
        force[:, 0] = 9 * person.strength * np.sin(turned(1.9, t))
        angles[:, 1] = 0.07 * person.strength * np.sin(turned(1.9, t))
        sound = 0.2 * np.diff(noise, prepend=0) * np.clip(np.sin(turned(1.9, s)), 0, 1)
    elif activity == "stirring":  # round and round, clinks
        force[:, 0] = 2.2 * person.strength * np.cos(turned(1.3, t))
        force[:, 1] = 2.2 * person.strength * np.sin(turned(1.3, t))
        angles[:, 2] = 0.15 * np.sin(turned(1.3, t))
        since = (turned(1.3, s) / (2 * np.pi)) % 1 / (1.3 * person.pace)
        sound = 0.3 * np.exp(-since / 0.03) * np.sin(2 * np.pi * 3100 * s)
    else:  # the forearm turns to and fro, and a gear clicks
        angles[:, 0] = 1.1 * person.strength * np.sin(turned(0.9, t))
        since = (turned(9.0, s) / (2 * np.pi)) % 1 / 9
        sound = 0.25 * np.exp(-since / 0.004) * np.sign(noise)
    angles[:, 0] += person.tilt + 0.1 * np.sin(2 * np.pi * 0.2 * t + begin)
    motion = np.concatenate((force + _gravity(angles), _turn_rate(angles)), axis=1)
    motion += rng.normal(0, (0.08,) * 3 + (0.02,) * 3, motion.shape)
    return motion, person.loudness * (sound + 0.004 * noise)


def _gravity(angles: Floats) -> Floats:
    """Roll, pitch and yaw (T, 3) -> what an accelerometer at rest feels: it turns as the gyroscope says."""
    roll, pitch, _ = angles.T
    unit = np.stack((-np.sin(pitch), np.sin(roll) * np.cos(pitch), np.cos(roll) * np.cos(pitch)), axis=1)
    felt: Floats = STANDARD_GRAVITY * unit
    return felt


def _turn_rate(angles: Floats) -> Floats:
    """Body rates from those of roll, pitch and yaw (Diebel 2006, eq. 79)."""
    roll, pitch, _ = angles.T
    droll, dpitch, dyaw = np.gradient(angles, 1 / IMU_HZ, axis=0).T
    return np.stack(
        (
            droll - dyaw * np.sin(pitch),
            dpitch * np.cos(roll) + dyaw * np.cos(pitch) * np.sin(roll),
            dyaw * np.cos(pitch) * np.cos(roll) - dpitch * np.sin(roll),
        ),
        axis=1,
    )


def act(number: int, seconds_each: float, seed: int = 0) -> tuple[Floats, Floats, tuple[str, ...]]:
    """All activities of a person in some order: motion (T, 6), sound (N,), and the order."""
    order = np.random.default_rng((number, seed)).permutation(ACTIVITIES)
    person = Person.numbered(number)
    parts = [
        perform(str(one), seconds_each, person, 1000 * number + 10 * seed + place) for place, one in enumerate(order)
    ]
    motion, heard = (np.concatenate(both) for both in zip(*parts, strict=True))
    return motion, heard.clip(-1, 1), tuple(map(str, order))


def record(folder: Path, number: int, seconds_each: float) -> Path:
    """A session as files of a logger: ``imu.csv``, ``sound.wav``, and what was done as Audacity's ``track.txt``, which
    lies beside the folder."""
    folder.mkdir(parents=True)
    motion, heard, order = act(number, seconds_each)
    lines = (f"{k * 20}," + ",".join(f"{value:.4f}" for value in row) for k, row in enumerate(motion))
    (folder / "imu.csv").write_text("\n".join((HEADER, *lines)) + "\n")
    soundfile.write(folder / "sound.wav", heard, SOUND_HZ, subtype="PCM_16")
    track = folder.with_name(f"{folder.name}.txt")
    spans = ((place * seconds_each + 0.2, (place + 1) * seconds_each - 0.2, one) for place, one in enumerate(order))
    track.write_text("".join(f"{start_s:.3f}\t{end_s:.3f}\t{one}\n" for start_s, end_s, one in spans))
    return track


def record_live(
    path: Path, number: int, seconds_each: float, seed: int = 0, sound: bool = True, split_s: float | None = None
) -> None:
    """A session as ``mmg-record`` keeps it, of chunks as ports deliver them, with marks that keys set."""
    motion, heard, order = act(number, seconds_each, seed)
    sensors = [Sensor("imu", "signal", IMU_CHANNELS, "serial:///dev/ttyUSB0")]
    sensors += [Sensor("audio", "audio", ("mono",), "mic://default")] if sound else []
    statuses = {one.modality: PortStatus(connected=True, reason="", device="made up") for one in sensors}
    now = [0]
    recorder = Recorder(
        path,
        sensors,
        origin_ns=0,
        metadata={},
        limits=Limits(split_s=split_s),
        monotonic_ns=lambda: now[0],
        wall_ns=lambda: 1_795_000_000_000_000_000 + now[0],
    )
    marker = Marker(ACTIVITIES, recorder.mark)
    for step in range(round(len(order) * seconds_each / STEP_S)):
        if step * STEP_S % seconds_each == 0:
            marker.hold(order[int(step * STEP_S / seconds_each)], now[0])
        chunks = [_chunk("imu", motion.astype(np.float32), IMU_HZ, step)]
        chunks += [_chunk("audio", heard.astype(np.float32)[:, None], SOUND_HZ, step)] if sound else []
        now[0] = round((step + 1) * STEP_S * 1e9)
        recorder.step(Step(now[0], tuple(chunks), statuses))
        if split_s is not None:
            recorder.flush()
    marker.hold(None, now[0])
    recorder.close()


def _chunk(name: str, samples: NDArray[np.float32], rate_hz: int, step: int) -> Chunk:
    first, last = round(step * STEP_S * rate_hz), round((step + 1) * STEP_S * rate_hz)
    times_ns = np.rint(np.arange(first, last) * (1e9 / rate_hz)).astype(np.int64)
    return Chunk(name, samples[first:last], times_ns, float(rate_hz))
