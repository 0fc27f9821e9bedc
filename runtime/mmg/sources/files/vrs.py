"""A recording of Project Aria glasses, replayed as an IMU, a microphone or a camera, on the device's own clock."""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmg.bundle.manifest import Modality
from mmg.errors import SourceError, pip_install
from mmg.sources import CHUNK_NS
from mmg.sources.files.imu_channels import ImuChannels
from mmg.sources.files.slicing import spans
from mmg.sources.frames import FrameChooser, Turn, shrink
from mmg.sources.url import Placing, SourceUrl
from mmg.types import Chunk

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mmg.types import Times

# The first of each kind is the default.
STREAMS = {
    "signal": ("imu-right", "imu-left"),
    "audio": ("mic",),
    "video": ("camera-rgb", "camera-slam-left", "camera-slam-right"),
}
# The library reads on after this message, and crashes on the first record.
FATAL_LOG = b"RecordFormat missing"
# What its C++ throws at damaged files: broken text, sizes and indices that cannot be, missing keys.
LIBRARY_ERRORS = (RuntimeError, ValueError, LookupError, MemoryError)


def open_vrs(url: SourceUrl, path: Path, modality: Modality) -> VrsStream:
    """One stream of the recording: ``?stream=`` says which. Raises SourceError and ConfigError."""
    kinds: dict[str, type[VrsStream]] = {"signal": VrsImu, "audio": VrsAudio, "video": VrsVideo}
    return kinds[modality.kind](url, path, modality)


class VrsStream(ABC):
    """What the streams have in common: the records of one sensor and their times ``(N,)`` in device time."""

    def __init__(self, url: SourceUrl, path: Path, modality: Modality) -> None:
        url.allow(["stream"])
        streams = STREAMS[modality.kind]
        self._label = label = url.one_of("stream", streams) or streams[0]
        self.modality, self.url = modality.name, str(url)
        self.losses: Counter[str] = Counter()
        self.notes: list[str] = []
        self._closed = False
        self._provider = _opened(self.url, path)
        ids = {self._provider.get_label_from_stream_id(each): each for each in self._provider.get_all_streams()}
        if label not in ids:
            raise SourceError(self.url, f"has no stream {label}: it has {', '.join(sorted(ids))}")
        self._stream = ids[label]
        self._records_ns: Times = self._record_times()
        if len(self._records_ns) < 2:
            raise SourceError(self.url, f"stream {label} holds {len(self._records_ns)} records, but two are needed")
        self._first_ns = self._first_time_ns()
        placing = Placing.of(url, self._first_ns)
        self.start_ns, self.offset_ns = placing.start_ns, placing.offset_ns
        self.duration_s = float(self._records_ns[-1] - self._first_ns) / 1e9

    def close(self) -> None:
        """Let go of the file: iterators end."""
        self._closed = True

    @abstractmethod
    def chunks(self, start_ns: int, every_ns: int = CHUNK_NS) -> Iterator[Chunk]:
        """See Recording."""

    def _record_times(self) -> Times:
        from projectaria_tools.core.sensor_data import TimeDomain

        times = self._provider.get_timestamps_ns(self._stream, TimeDomain.DEVICE_TIME)
        return np.array(times, np.int64)

    def _first_time_ns(self) -> int:
        return int(self._records_ns[0])

    def _in_order(self) -> NDArray[np.intp]:
        """The records that are later than all before them; the others are counted."""
        latest = np.maximum.accumulate(self._records_ns)
        later = np.concatenate([[True], self._records_ns[1:] > latest[:-1]])
        if not later.all():
            self.losses["backward"] = int((~later).sum())
        return np.flatnonzero(later)

    def _record(self, read: Callable[[Any, int], Any], index: int) -> Any:
        """One record, None where the library cannot read it, which is counted."""
        if self._closed:
            return None
        try:
            return read(self._stream, index)
        except LIBRARY_ERRORS:
            self.losses["unreadable"] += 1
            return None


class VrsImu(VrsStream):
    """Samples ``(T, C)`` float32 in the manifest's units; channels that no IMU has are zeros where optional.

    ``losses``: ``null`` (marked invalid by the glasses), ``not_finite``, ``backward``, ``unreadable``.
    """

    def __init__(self, url: SourceUrl, path: Path, modality: Modality) -> None:
        self._channels = ImuChannels.of(str(url), "an Aria IMU", modality)
        super().__init__(url, path, modality)
        self.notes += self._channels.notes(path.name)

    def chunks(self, start_ns: int, every_ns: int = CHUNK_NS) -> Iterator[Chunk]:
        """See Recording."""
        self.losses.clear()
        indices = self._in_order()
        shift_ns = start_ns - self._first_ns
        for part in spans(self._records_ns[indices], every_ns):
            good, rows = [], []
            for index in indices[part].tolist():
                row = self._row(index)
                if row is not None:
                    good.append(index)
                    rows.append(row)
            if good:
                yield Chunk(self.modality, self._channels.samples(np.array(rows)), self._records_ns[good] + shift_ns)

    def _row(self, index: int) -> list[float] | None:
        data = self._record(self._provider.get_imu_data_by_index, index)
        if data is None:
            return None
        if not (data.accel_valid and data.gyro_valid):
            self.losses["null"] += 1
            return None
        row = [*data.accel_msec2, *data.gyro_radsec, 0.0]
        if not np.isfinite(row).all():
            self.losses["not_finite"] += 1
            return None
        return row


class VrsAudio(VrsStream):
    """Samples ``(T, 7)`` float32, full scale 1, a chunk a block of the recording (85 ms), each sample with its own
    device time. ``losses``: blocks ``unreadable``, samples ``backward``; a gap between blocks is in ``dropped``."""

    def chunks(self, start_ns: int, _every_ns: int = CHUNK_NS) -> Iterator[Chunk]:
        """See Recording."""
        self.losses.clear()
        config = self._provider.get_audio_configuration(self._stream)
        rate_hz, channels = float(config.sample_rate), int(config.num_channels)
        last_ns: int | None = None
        for index in range(len(self._records_ns)):
            block = self._record(self._provider.get_audio_data_by_index, index)
            if block is None:
                continue
            data, stamps = block
            times_ns = np.array(stamps.capture_timestamps_ns, np.int64)
            if len(times_ns) == 0 or len(data.data) != len(times_ns) * channels:
                self.losses["unreadable"] += 1
                continue
            if last_ns is not None and times_ns[0] <= last_ns:
                self.losses["backward"] += len(times_ns)
                continue
            late_ns = 0 if last_ns is None else int(times_ns[0]) - last_ns - 1e9 / rate_hz
            last_ns = int(times_ns[-1])
            samples = np.array(data.data, np.float64).reshape(-1, channels) / (data.max_amplitude + 1)
            dropped = max(0, round(late_ns * rate_hz / 1e9))
            times_ns += start_ns - self._first_ns
            yield Chunk(self.modality, samples.astype(np.float32), times_ns, rate_hz, dropped)

    def _first_time_ns(self) -> int:
        block = self._record(self._provider.get_audio_data_by_index, 0)
        # A record bears the time of its last sample.
        stamps = block[1].capture_timestamps_ns if block else []
        return int(stamps[0]) if stamps else int(self._records_ns[0])


class VrsVideo(VrsStream):
    """Frames ``(1, H, W, 3)`` uint8, resized to the manifest's frame (the aspect ratio gives way), at most two a
    frame of the model, and turned upright as the file's calibration says that its cameras are mounted. Grey cameras
    give three equal colours. ``losses``: ``backward``, ``unreadable`` frames."""

    def __init__(self, url: SourceUrl, path: Path, modality: Modality) -> None:
        if modality.frame is None:
            raise SourceError(str(url), f"{modality.name} has no frame size: it is not a video modality")
        super().__init__(url, path, modality)
        self._frame, self._rate_hz = modality.frame, modality.rate_hz
        turn = self._mounted()
        self._turn = turn or Turn()
        if turn is None:
            self.notes.append(f"{path.name} does not say how its cameras are mounted: frames are as they are stored")

    def chunks(self, start_ns: int, _every_ns: int = CHUNK_NS) -> Iterator[Chunk]:
        """See Recording."""
        self.losses.clear()
        chooser = FrameChooser(self._rate_hz)
        for index in self._in_order().tolist():
            time_ns = int(self._records_ns[index]) - self._first_ns
            if not chooser.wants(time_ns):
                continue
            image = self._record(self._image, index)
            if image is not None:
                seen = self._turn.apply(shrink(image, self._turn.stored(self._frame)))
                yield Chunk(self.modality, seen[None], np.array([start_ns + time_ns], np.int64))

    def _mounted(self) -> Turn | None:
        """How the camera's pictures become upright; None where the file has no calibration."""
        calibration = self._provider.get_device_calibration()
        camera = calibration.get_camera_calib(self._label) if calibration is not None else None
        if camera is None:
            return None
        # Of the wearer's eyes (CPF) y is up; of a camera x is to the right of its picture, and y downwards.
        up = calibration.get_transform_device_cpf().rotation().to_matrix()[:, 1]
        right, down, _ = (camera.get_transform_device_camera().rotation().to_matrix().T @ up).tolist()
        return upright(right, down)

    def _image(self, stream: Any, index: int) -> NDArray[np.uint8]:
        image = self._provider.get_image_data_by_index(stream, index)[0].to_numpy_array()
        if image.dtype != np.uint8 or image.size == 0:
            raise ValueError("not an 8-bit image")
        return np.asarray(np.stack([image] * 3, axis=-1) if image.ndim == 2 else image)


def upright(right: float, down: float) -> Turn:
    """The quarter turn of a picture in which up is so far to the right and down."""
    if abs(right) > abs(down):
        return Turn(True, mirrored=True) if right < 0 else Turn(True, upside_down=True)
    return Turn() if down < 0 else Turn(False, mirrored=True, upside_down=True)


def _opened(url: str, path: Path) -> Any:
    try:
        from projectaria_tools.core import data_provider
    except ImportError as error:
        raise SourceError(url, f"needs projectaria_tools: {pip_install('projectaria-tools')}") from error
    with tempfile.TemporaryFile() as log:
        try:
            provider = _logging_to(log.fileno(), lambda: data_provider.create_vrs_data_provider(os.fsencode(path)))
        except LIBRARY_ERRORS as error:
            why = str(error).partition("\n")[0][:100]
            raise SourceError(url, f"is not a readable Aria recording: {why}") from error
        log.seek(0)
        if provider is None or FATAL_LOG in log.read():
            raise SourceError(url, "is not a readable Aria recording: its beginning is missing or damaged")
    return provider


def _logging_to(descriptor: int, call: Callable[[], Any]) -> Any:
    """Run ``call`` with standard output and error turned to ``descriptor``. The library's C++ writes to both, and
    standard output is for decisions only. The whole process is turned: open recordings before anything runs."""
    c_library = ctypes.CDLL(None)
    sys.stdout.flush()
    c_library.fflush(None)
    kept = [(number, os.dup(number)) for number in (1, 2)]
    try:
        for number, _ in kept:
            os.dup2(descriptor, number)
        return call()
    finally:
        c_library.fflush(None)
        for number, copy in kept:
            os.dup2(copy, number)
            os.close(copy)
