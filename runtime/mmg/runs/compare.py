"""Where two runs over the same sensors differ, decision by decision."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mmg_device_profiles.regular_file import lines_within, open_regular

from mmg.errors import ConfigError

NOT_COMPARED = ("latency_ms", "truth", "camera")
"""What the data does not determine."""
MOST_TOLD = 10
LONGEST_LINE = 1 << 20
"""Bytes of a decision."""
LARGEST = 1 << 53
"""What is more is no second, and no float."""


class Comparison:
    """Of this run's lines with another's, which are objects of ``mmg-run --format jsonl`` in the order of time."""

    def __init__(self, others: Iterable[dict[str, Any]]) -> None:
        self._others = iter(others)
        self._other = next(self._others, None)
        self.equal = self.different = self.only_here = self.only_there = 0
        self.told: list[str] = []

    def take(self, line: dict[str, Any]) -> None:
        """The next line of this run."""
        while self._other is not None and self._other["t"] < line["t"]:
            self._skip()
        if self._other is None or self._other["t"] > line["t"]:
            self.only_here += 1
            self._tell(f"{line['t']:.1f} s: only here: {_said(line)}")
            return
        here, there = (
            {key: value for key, value in one.items() if key not in NOT_COMPARED} for one in (line, self._other)
        )
        self._other = next(self._others, None)
        if here == there:
            self.equal += 1
            return
        self.different += 1
        keys = ", ".join(key for key in here if here[key] != there.get(key))
        self._tell(f"{line['t']:.1f} s: here {_said(here)}, there {_said(there)} ({keys})")

    def finish(self) -> str:
        """One line; call it when this run has no more."""
        while self._other is not None:
            self._skip()
        counts = f"{self.equal} decisions equal, {self.different} different"
        alone = f"{self.only_here} only here, {self.only_there} only there"
        return f"{counts}, {alone}" if self.only_here or self.only_there else counts

    @property
    def is_same(self) -> bool:
        """Whether nothing differs, so far."""
        return not (self.different or self.only_here or self.only_there)

    def _skip(self) -> None:
        if self._other is not None:
            self.only_there += 1
            self._tell(f"{self._other['t']:.1f} s: only there: {_said(self._other)}")
        self._other = next(self._others, None)

    def _tell(self, text: str) -> None:
        if len(self.told) < MOST_TOLD:
            self.told.append(text)


def lines_until(path: Path, duration_s: float | None) -> Iterator[dict[str, Any]]:
    """As ``lines_of``, of so many seconds: what a run of that duration can be compared with."""
    for line in lines_of(path):
        if duration_s is None or line["t"] <= duration_s:
            yield line


def lines_of(path: Path) -> Iterator[dict[str, Any]]:
    """The decisions in a file: JSON lines that mmg-run printed, or a recording. Raises ConfigError, SourceError."""
    if not path.exists():
        raise ConfigError(f"--compare {path}: there is no such file")
    if path.suffix == ".mcap":
        from mmg.recording.reader import open_recording

        is_empty = True
        for decision in open_recording(path).decisions():
            is_empty = False
            try:
                line = _checked(decision)
            except ValueError as error:
                raise ConfigError(f"--compare {path}: has a decision in it that is none") from error
            yield line
        if is_empty:
            raise ConfigError(f"--compare {path}: nothing was decided in it: mmg-run --record keeps decisions too")
        return
    number = 0
    try:
        with open_regular(path) as file:
            for text in lines_within(file, LONGEST_LINE):
                number += 1
                yield _checked(json.loads(text.decode(errors="replace")))
    except OSError as error:
        raise ConfigError(f"--compare {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"--compare {path}: line {number} is no decision of mmg-run --format jsonl") from error


def _checked(line: Any) -> dict[str, Any]:
    """Raises ValueError for what is no decision."""
    if not isinstance(line, dict) or not all(_is_number(line.get(key)) for key in ("t", "confidence")):
        raise ValueError("no decision")
    return line


def _is_number(value: object) -> bool:
    return isinstance(value, float) or (type(value) is int and abs(value) < LARGEST)


def _said(line: dict[str, Any]) -> str:
    return f"{line.get('label')} {line['confidence']:.0%}"
