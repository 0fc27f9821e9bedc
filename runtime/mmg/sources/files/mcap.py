"""A sensor of a run that mmg recorded, as any other recording of it: for training, looking and other bundles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mmg.errors import SourceError
from mmg.recording.reader import open_recording
from mmg.sources import CHUNK_NS
from mmg.sources.url import Placing, SourceUrl
from mmg.types import Chunk

if TYPE_CHECKING:
    from mmg.bundle import Modality
    from mmg.recording.sensors import Sensor


class McapSensor:
    """One sensor of a recording; see Recording. Its chunks are those that its port delivered.

    Raises SourceError where the recording has no such sensor, BackendUnavailable without ``mcap``.
    """

    def __init__(self, url: SourceUrl, path: Path, modality: Modality) -> None:
        url.allow(())
        self.modality, self.url = modality.name, str(url)
        self._recording = open_recording(path)
        self._sensor = _choose(self.url, self._recording.sensors, modality)
        self.losses: Counter[str] = Counter()
        self._closed = False
        begin_ns = self._recording.origin_ns + self._recording.epoch_ns
        self.duration_s = self._recording.duration_s()
        placing = Placing.of(url, begin_ns)
        self.start_ns, self.offset_ns = placing.start_ns, placing.offset_ns

    @property
    def notes(self) -> list[str]:
        """See Recording."""
        return self._recording.notes

    def chunks(self, start_ns: int, _every_ns: int = CHUNK_NS) -> Iterator[Chunk]:
        """See Recording. Seconds count from when the run began, as they do in its decisions and marks."""
        self.losses.clear()
        shift_ns = start_ns - self._recording.origin_ns
        for step in self._recording.steps():
            if self._closed:
                return
            for chunk in step.chunks:
                if chunk.modality == self._sensor.modality:
                    self.losses["lost_live"] += chunk.dropped
                    yield replace(chunk, modality=self.modality, times_ns=chunk.times_ns + shift_ns)

    def close(self) -> None:
        """See Recording."""
        self._closed = True


def _choose(url: str, sensors: tuple[Sensor, ...], modality: Modality) -> Sensor:
    """The sensor of this name, else the only one that has the same kind and channels."""
    channels = tuple(channel.name for channel in modality.channels)
    alike = [one for one in sensors if one.kind == modality.kind]
    if alike and all(one.form == "tokens" for one in alike):
        raise SourceError(
            url, f"holds {modality.name} as tokens, and no samples: give the recording alone to replay it"
        )
    if modality.kind == "signal":
        alike = [one for one in alike if one.channels == channels]
    named = [one for one in alike if one.modality == modality.name]
    if len(found := named or alike) == 1:
        return found[0]
    holds = ", ".join(f"{one.modality} ({', '.join(one.channels) or one.kind})" for one in sensors)
    raise SourceError(url, f"holds {holds}, and no one sensor that is {modality.name} ({', '.join(channels)})")
