"""Before a recording is decided on: are its units what they are taken for? Its first minute tells, once it is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmg.engine.health import Finding, Health, ReadAs
from mmg.engine.health.advice import TABLES, USUAL
from mmg.sources import PORTS
from mmg.sources.units import ANGULAR_RATE
from mmg.sources.url import parse_url
from mmg.streams import HopGrid, open_stream

if TYPE_CHECKING:
    from mmg.bundle import Modality
    from mmg.sources import Recording
    from mmg.sources.ports.port import Port
    from mmg.types import Chunk

LOOK_AHEAD_S = 60.0
"""A wearer who sits still for longer shows nothing of a gyroscope."""
FILE_UNITS = {"acc_unit": ("m/s2", "g", "mg", "g/64", "ug", "mm/s2"), "gyro_unit": tuple(ANGULAR_RATE)}


def look_ahead(
    recording: Recording, modality: Modality, start_ns: int, grid: HopGrid, seconds: float
) -> tuple[Finding, ...]:
    """What is wrong with a recording from its first hop on; nothing where all is well, or the modality is no IMU.

    Reads until that is settled, and ``seconds`` at most. Raises SourceError.
    """
    ahead = LookAhead(recording, modality, start_ns, grid, seconds)
    if not ahead.is_done:
        for chunk in recording.chunks(start_ns, grid.hop_ns):
            ahead.take(chunk)
            if ahead.is_done:
                break
    return ahead.findings()


class LookAhead:
    """The same of a recording that is read for something else."""

    def __init__(self, recording: Recording, modality: Modality, start_ns: int, grid: HopGrid, seconds: float) -> None:
        self._health, self._stream = Health(modality), open_stream(modality, grid)
        self._health.read_as = read_as(recording)
        self._until_ns = start_ns + round(seconds * 1e9)
        self.is_done = self._health.is_settled
        """Whether more chunks change nothing."""

    def take(self, chunk: Chunk) -> None:
        """The recording's next chunk."""
        if not self.is_done:
            for hop in self._stream.push(chunk):
                self._health.judge(hop)
            self.is_done = self._health.is_settled or int(chunk.times_ns[-1]) > self._until_ns

    def findings(self) -> tuple[Finding, ...]:
        """What is wrong from the first hop on, as far as the chunks show."""
        return self._health.lasting()


def read_as(source: Recording | Port) -> ReadAs:
    """How a source took its units.

    A source that lets its URL say the units has ``declared``: the unit that its header or protocol tells, or its URL
    gives, by the option of the URL, such as ``{"acc_unit": "g"}``. It may have ``assumed`` in the same form.
    """
    url = parse_url(source.url)
    if not hasattr(source, "declared"):
        return ReadAs(options={}, has_gain=url.scheme == "mic" and "gain" not in url.options)
    given = {option: url.options[option] for option in TABLES if url.options.get(option) in TABLES[option]}
    # A scale in the URL is the user's own figure for this sensor: that it is wrong is all that can be said.
    scaled = [option for option in TABLES if option.replace("unit", "scale") in url.options]
    is_port = url.scheme in PORTS
    usual = USUAL if is_port else FILE_UNITS
    return ReadAs(
        declared={option: unit for option, unit in source.declared.items() if option not in (*given, *scaled)},
        taken=given | dict(getattr(source, "assumed", {})),
        # What a port's protocol fixes no option changes.
        options={
            option: units
            for option, units in usual.items()
            if option not in scaled and not (is_port and option in source.declared)
        },
        has_scale=not is_port and "acc_unit" not in scaled,
        gives_gyro=not is_port and "gyro_unit" in {**source.declared, **getattr(source, "assumed", {})},
    )
