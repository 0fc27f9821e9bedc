"""The IMU of a GoPro: the telemetry (GPMF) in its MP4, replayed on the clock of the same file's pictures and sound.

The file's boxes are walked here, not by a library: an IMU then needs nothing that is installed for video, and only
the telemetry is read, a payload a second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from mmg_device_profiles.regular_file import open_regular

from mmg.bundle.manifest import Modality
from mmg.errors import SourceError
from mmg.sources import CHUNK_NS
from mmg.sources.files.gopro_clock import Line, Placed, learn
from mmg.sources.files.gopro_joining import Joiner
from mmg.sources.files.gpmf import Payload, Sensor, read_payload
from mmg.sources.files.imu_channels import ABSENT, ImuChannels
from mmg.sources.files.mp4 import Sample, Track, film_begin_s, read_tracks
from mmg.sources.files.slicing import spans
from mmg.sources.url import Placing, SourceUrl
from mmg.types import Chunk

if TYPE_CHECKING:
    from numpy.typing import NDArray

TELEMETRY = "gpmd"
NAMES = {"vide": "pictures", "soun": "sound"}
QUANTITIES: dict[Sensor, str] = {"ACCL": "acceleration", "GYRO": "gyro"}
COLUMNS: dict[Sensor, int] = {"ACCL": 0, "GYRO": 3}
# Payloads that are read to learn what all of them should be, and, at the end, to find the last that is whole.
PROBED = 8
MOST_PAYLOAD_BYTES = 16 << 20
NO_PAYLOAD = Payload({}, {}, {})


def has_imu(path: Path, tracks: Sequence[Track]) -> bool:
    """Whether the film's telemetry has an accelerometer or a gyroscope. Raises OSError."""
    with open_regular(path) as file:
        telemetry = _Payloads(file, tracks)
        return any(telemetry.read(sample).payload.streams for sample in telemetry.samples[:PROBED])


class GoProImu:
    """Samples ``(T, C)`` float32 in the manifest's units, along the camera's x, y and z, on the film's clock.

    The sensor with more samples keeps its times; the other's are interpolated there. Samples from before the film
    begins are left out. ``losses``: samples that are ``missing`` because their payload is cut or damaged, that are
    ``alone``, without the other sensor's, or ``backward`` in time. Raises SourceError and ConfigError.
    """

    def __init__(self, url: SourceUrl, path: Path, modality: Modality) -> None:
        url.allow(())
        self.modality, self.url = modality.name, str(url)
        self.losses: Counter[str] = Counter()
        self._path, self._closed = path, False
        try:
            self._tracks = read_tracks(path)
            with open_regular(path) as file:
                payloads = _Payloads(file, self._tracks)
                probed = [payloads.read(sample) for sample in payloads.samples[:PROBED]]
                found = learn(self.url, probed)
                if not found:
                    raise SourceError(self.url, self._lack(probed))
                has = tuple(QUANTITIES[sensor] for sensor in found)
                self._channels = ImuChannels.of(self.url, path.name, modality, has)
                self._sensors = {sensor: one for sensor, one in found.items() if self._uses(sensor)}
                self.duration_s = self._end_ns(payloads) / 1e9
        except OSError as error:
            raise SourceError(self.url, f"cannot be read: {error.strerror}") from error
        self.notes = [*self._channels.notes(path.name), *self._axes_notes()]
        placing = Placing.of(url, None)
        self.start_ns, self.offset_ns = placing.start_ns, placing.offset_ns

    def chunks(self, start_ns: int, every_ns: int = CHUNK_NS) -> Iterator[Chunk]:
        """See Recording."""
        self.losses.clear()
        lines = {sensor: Line(telemetry) for sensor, telemetry in self._sensors.items()}
        joiner = Joiner({sensor: telemetry.period_ns for sensor, telemetry in self._sensors.items()})
        told = 0
        with open_regular(self._path) as file:
            payloads = _Payloads(file, self._tracks)
            for sample in [*payloads.samples, None]:
                placed = payloads.read(sample) if sample else None
                for sensor, line in lines.items():
                    joiner.push(sensor, *(line.push(placed, sensor) if placed else line.finish()))
                times_ns, values = joiner.take(all_of_it=placed is None)
                self._count(lines, joiner)
                rows = self._rows(values, len(times_ns))
                for part in spans(times_ns, every_ns) if len(times_ns) else ():
                    if self._closed:
                        return
                    dropped, told = self.losses["missing"] - told, self.losses["missing"]
                    yield Chunk(self.modality, rows[part], times_ns[part] + start_ns, 0.0, dropped)

    def close(self) -> None:
        """Let go of the file: iterators end."""
        self._closed = True

    def _uses(self, sensor: Sensor) -> bool:
        first = COLUMNS[sensor]
        return any(first <= place < first + 3 for place in self._channels.picked)

    def _rows(self, values: Mapping[str, NDArray[np.float64]], count: int) -> NDArray[np.float32]:
        rows = np.zeros((count, ABSENT + 1))
        for sensor, first in COLUMNS.items():
            if sensor in values:
                rows[:, first : first + 3] = values[sensor]
        return self._channels.samples(rows)

    def _count(self, lines: Mapping[Sensor, Line], joiner: Joiner) -> None:
        counts = {
            "missing": max(line.missing for line in lines.values()),
            "backward": sum(line.backward for line in lines.values()),
            "alone": joiner.alone,
        }
        self.losses.update({kind: count - self.losses[kind] for kind, count in counts.items() if count})

    def _end_ns(self, payloads: _Payloads) -> int:
        """When the last sample was taken, after the film's beginning, as far as a look at the last payloads tells."""
        for sample in payloads.samples[: -PROBED - 1 : -1]:
            placed = payloads.read(sample)
            ends = []
            for sensor, telemetry in self._sensors.items():
                stream = placed.payload.streams.get(sensor)
                if stream and stream.scale == telemetry.scale:
                    ends.append(telemetry.begin_ns(placed.film_ns, stream) + len(stream.raw) * telemetry.period_ns)
            if ends:
                return round(max(ends))
        last = payloads.read(payloads.samples[-1])
        return last.film_ns + last.lasts_ns

    def _axes_notes(self) -> list[str]:
        order = next((one.scale.order for one in self._sensors.values() if not one.scale.says), None)
        if order is None:
            return []
        return [
            f"{self._path.name} does not say how its axes lie: taken as {order}, as GoPro documents for this camera"
        ]

    def _lack(self, probed: Sequence[Placed]) -> str:
        """Why there is no IMU."""
        for placed in probed:
            for fault in placed.payload.faults.values():
                return f"its telemetry cannot be used: {fault}"
        if not self._tracks:
            return "has no index (moov), as a film that was never finished: mend it with its camera, or untrunc"
        if not any(track.format == TELEMETRY for track in self._tracks):
            kinds = " and ".join(sorted({NAMES.get(track.handler, track.handler) for track in self._tracks}))
            return f"holds no IMU: it has {kinds}, but no GoPro telemetry (GPMF); name the IMU's own recording"
        return "holds no IMU: there is no accelerometer or gyroscope in its telemetry"


class _Payloads:
    """The telemetry of an open file. What cannot be read of it is empty."""

    def __init__(self, file: BinaryIO, tracks: Sequence[Track]) -> None:
        self._file = file
        self._bytes = file.seek(0, 2)
        self._begin_s = float(film_begin_s(tracks))
        track = next((track for track in tracks if track.format == TELEMETRY), None)
        self.samples: list[Sample] = track.samples(file) if track else []

    def read(self, sample: Sample) -> Placed:
        """A payload and its time after the film's beginning."""
        film_ns, lasts_ns = round((sample.time_s - self._begin_s) * 1e9), round(sample.duration_s * 1e9)
        whole = sample.size <= MOST_PAYLOAD_BYTES and sample.place + sample.size <= self._bytes
        if not whole:
            return Placed(film_ns, lasts_ns, NO_PAYLOAD)
        self._file.seek(sample.place)
        return Placed(film_ns, lasts_ns, read_payload(self._file.read(sample.size)))
