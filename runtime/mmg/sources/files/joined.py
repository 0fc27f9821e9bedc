"""One IMU whose sensors are in files of their own, each with its clock and rate, joined on time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from mmg.bundle.manifest import Modality
from mmg.errors import SourceError
from mmg.sources import CHUNK_NS
from mmg.sources.files.slicing import sliced
from mmg.sources.files.table.file import TableFile
from mmg.sources.files.table.order import Block
from mmg.sources.files.table.sensors import wanted_role
from mmg.sources.url import Placing, SourceUrl
from mmg.types import Chunk

if TYPE_CHECKING:
    from numpy.typing import NDArray

LONGEST_GAP_NS = 250_000_000
"""Between two rows of the slower sensor, across which it is interpolated: half a hop, as streams bridge it."""


class JoinedFile:
    """Samples ``(T, C)`` float32 at the times of the acceleration; the other sensors are interpolated to them.

    parts: each kind (``acceleration``, ``linear``, ``gravity``, ``gyro``) and its file. Acceleration without gravity
    and gravity are added. Rows that another part has nothing near are lost and counted (``unpaired``). Raises
    SourceError where a part cannot be used or the parts never overlap, and ConfigError.
    """

    def __init__(
        self, url: SourceUrl, parts: Mapping[str, Path], modality: Modality, where: Mapping[str, str] | None = None
    ) -> None:
        """where: which rows are each part's, as the URL's option tells it, where parts are in one file."""
        self.modality, self.url = modality.name, str(url)
        self._closed, self._channels = False, len(modality.channels)
        self._places: dict[str, list[int]] = {}
        self._parts: dict[str, TableFile] = {}
        gravity: str | None = None
        # What gravity shows of its unit holds for what is added to it, where that is not written.
        for kind, path in sorted(parts.items(), key=lambda each: each[0] != "gravity"):
            part, self._places[kind] = _part_of(modality, kind)
            own = _url_of(url, path, kind, where.get(kind, "") if where else "")
            self._parts[kind] = TableFile(own, path, part, kind, gravity=gravity if kind == "linear" else None)
            if kind == "gravity":
                gravity = {**self._parts[kind].assumed, **self._parts[kind].declared}.get("acc_unit")
        self._parts = {kind: self._parts[kind] for kind in parts}
        starts = [one.start_ns or 0 for one in self._parts.values()]
        ends = [start + round(one.duration_s * 1e9) for start, one in zip(starts, self._parts.values(), strict=True)]
        if max(starts) >= min(ends):
            spans = ", ".join(
                f"{path.name} covers {start / 1e9:.1f} to {end / 1e9:.1f} s"
                for path, start, end in zip(parts.values(), starts, ends, strict=True)
            )
            raise SourceError(self.url, f"its files never overlap: {spans}: choose columns of one clock with ?time=")
        self._unpaired = 0
        self._is_one_file = where is not None
        named = ", ".join(
            f"{kind} from {where.get(kind) or path.name if where else path.name}" for kind, path in parts.items()
        )
        self._note = f"{named}: joined on time"
        self._begin_ns = self._first_ns()
        has_clock = all(one.start_ns is not None for one in self._parts.values())
        placing = Placing.of(url, self._begin_ns if has_clock else None)
        self.start_ns, self.offset_ns = placing.start_ns, placing.offset_ns
        self.duration_s = (min(ends) - max(starts)) / 1e9

    @property
    def notes(self) -> list[str]:
        """See Recording."""
        return list(dict.fromkeys([self._note, *(note for one in self._parts.values() for note in one.notes)]))

    @property
    def losses(self) -> dict[str, int]:
        """See Recording."""
        losses = Counter({"unpaired": self._unpaired})
        for one in self._parts.values():
            losses.update(one.losses)
        if self._is_one_file:
            losses.pop("null", None)  # the other sensors' rows
        return {kind: count for kind, count in losses.items() if count}

    @property
    def understood(self) -> Sequence[str]:
        """See TableFile."""
        return [line for one in self._parts.values() for line in one.understood if not line.endswith("<- zeros")]

    @property
    def declared(self) -> Mapping[str, str]:
        """See TableFile."""
        return {option: unit for one in self._parts.values() for option, unit in one.declared.items()}

    @property
    def assumed(self) -> Mapping[str, str]:
        """See TableFile."""
        return {option: unit for one in self._parts.values() for option, unit in one.assumed.items()}

    def chunks(self, start_ns: int, every_ns: int = CHUNK_NS) -> Iterator[Chunk]:
        """See Recording."""
        self._unpaired = 0
        for times_ns, samples in sliced(self._blocks(), every_ns):
            if self._closed:
                return
            yield Chunk(self.modality, samples, times_ns + (start_ns - self._begin_ns))

    def close(self) -> None:
        """Let go of the files: iterators end."""
        self._closed = True
        for one in self._parts.values():
            one.close()

    def _first_ns(self) -> int:
        first = next(self._blocks(), None)
        if first is None:
            raise SourceError(self.url, "its files have no sample at the same time")
        return int(first[0][0])

    def _blocks(self) -> Iterator[Block]:
        (lead, main), *others = self._parts.items()
        readers = {kind: _Interpolated(one.blocks()) for kind, one in others}
        for times_ns, values in main.blocks():
            samples = np.zeros((len(times_ns), self._channels), np.float32)
            samples[:, self._places[lead]] = values
            paired = np.ones(len(times_ns), np.bool_)
            for kind, reader in readers.items():
                at, near = reader.at(times_ns)
                samples[:, self._places[kind]] += at
                paired &= near
            self._check_restarts()
            if lost := int((~paired).sum()):
                self._unpaired += lost
            if paired.any():
                yield times_ns[paired], samples[paired]

    def _check_restarts(self) -> None:
        """Raises SourceError where clocks that began anew did so at different times: they cannot be told apart then."""
        for shifts in zip(*(one.restarts for one in self._parts.values() if one.restarts), strict=False):
            if (apart_ns := max(shifts) - min(shifts)) > LONGEST_GAP_NS:
                raise SourceError(
                    self.url,
                    f"its files' clocks begin anew, and one of them {apart_ns / 1e9:.1f} s before another: write each "
                    "session to files of its own",
                )


class _Interpolated:
    """Another sensor's values at given times, which never go back."""

    def __init__(self, blocks: Iterator[Block]) -> None:
        self._blocks = blocks
        self._times: NDArray[np.int64] = np.empty(0, np.int64)
        self._values: NDArray[np.float32] | None = None

    def at(self, times_ns: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Values ``(T, K)``, and whether each has one near on both sides."""
        while not len(self._times) or self._times[-1] < times_ns[-1]:
            block = next(self._blocks, None)
            if block is None:
                break
            begin = max(int(self._times.searchsorted(times_ns[0])) - 1, 0)
            times, values = block
            self._times = np.concatenate((self._times[begin:], times))
            self._values = values if self._values is None else np.concatenate((self._values[begin:], values))
        if self._values is None:  # it was closed, or has nothing
            return np.zeros((len(times_ns), 3)), np.zeros(len(times_ns), np.bool_)
        after = np.clip(self._times.searchsorted(times_ns), 1, len(self._times) - 1)
        before_ns, after_ns = self._times[after - 1], self._times[after]
        near = (times_ns >= before_ns) & (times_ns <= after_ns) & (after_ns - before_ns <= LONGEST_GAP_NS)
        weight = np.where(near, (times_ns - before_ns) / np.maximum(after_ns - before_ns, 1), 0.0)[:, None]
        return self._values[after - 1] * (1 - weight) + self._values[after] * weight, near


def _part_of(modality: Modality, kind: str) -> tuple[Modality, list[int]]:
    """The modality with the channels of one kind alone, all of them required, and their places."""
    wanted = "gyro" if kind == "gyro" else "acceleration"
    roles = [wanted_role(channel) for channel in modality.channels]
    places = [place for place, role in enumerate(roles) if role and role.kind == wanted]
    channels = tuple(msgspec.structs.replace(modality.channels[place], optional=False) for place in places)
    return msgspec.structs.replace(modality, channels=channels), places


def _url_of(url: SourceUrl, path: Path, kind: str, where: str) -> SourceUrl:
    """The options that concern this file. where: see JoinedFile."""
    other = ("acc_unit", "acc_scale") if kind == "gyro" else ("gyro_unit", "gyro_scale")
    left_out = (*other, "with", "start", "offset")
    options = {name: value for name, value in url.options.items() if name not in left_out}
    return SourceUrl(str(path), "file", str(path), {**options, "where": where} if where else options)
