"""Recordings of people, as arrays: each set in SI units, whoever made it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from mmg.errors import ConfigError
from mmg.sources import CHUNK_NS
from mmg.sources.units import STANDARD_GRAVITY
from mmg.types import Chunk
from numpy.typing import NDArray

DEMO = Path(__file__).resolve().parents[3] / "runtime" / "mmg" / "demo" / "imu.csv"
SETS = ("demo", "sp-sw-har", "utd-mhad", "classyglass")
NOMINAL_HZ = 50.0
"""Of UTD-MHAD and ClassyGlass, which have no time stamps."""


@dataclass(frozen=True, slots=True)
class Person:
    """One recording of one person.

    samples: ``(T, 6)`` m/s^2 and rad/s. times_ns: ``(T,)``, strictly increasing. person: the number in the set's names.
    """

    name: str
    person: int
    times_ns: NDArray[np.int64]
    samples: NDArray[np.float32]


@dataclass(slots=True)
class InMemory:
    """Arrays that replay as a recording; see ``mmg.sources.Recording``."""

    times_ns: NDArray[np.int64]
    samples: NDArray[np.float32]
    modality: str = "imu"
    url: str = "memory.csv"
    offset_ns: int = 0
    losses: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def start_ns(self) -> int:
        """The first stamp."""
        return int(self.times_ns[0])

    @property
    def duration_s(self) -> float:
        """To the last stamp."""
        return int(self.times_ns[-1] - self.times_ns[0]) / 1e9

    def chunks(self, start_ns: int, every_ns: int = CHUNK_NS, /) -> Iterator[Chunk]:
        """See Recording."""
        since_ns = self.times_ns - self.times_ns[0]
        edges = np.searchsorted(since_ns, np.arange(0, int(since_ns[-1]) + every_ns + 1, every_ns))
        for begin, end in itertools.pairwise(edges):
            if begin < end:
                yield Chunk(self.modality, self.samples[begin:end], since_ns[begin:end] + start_ns)

    def close(self) -> None:
        """Nothing is held open."""


def load(name: str, data: Path) -> list[Person]:
    """A set's recordings. Raises ConfigError where it is not there."""
    if name == "demo":
        rows = np.loadtxt(DEMO, delimiter=",", skiprows=1)
        return [Person("demo", 0, np.rint(rows[:, 0] * 1e6).astype(np.int64), rows[:, 1:].astype(np.float32))]
    file = "inertial_odd_subjects.npz" if name == "utd-mhad" else "recordings.npz"
    path = data / name / file
    if not path.is_file():
        raise ConfigError(f"there is no {path}: set MMG_DATA or --data to the folder of real recordings")
    with np.load(path) as arrays:
        if name == "sp-sw-har":
            keys = sorted({key.partition("/")[0] for key in arrays.files})
            return [_sp_sw_har(key, arrays[f"{key}/time_ms"], arrays[f"{key}/imu"]) for key in keys]
        pattern, units = (r"_s(\d+)", _FROM_G) if name == "utd-mhad" else (r"u(\d+)", np.ones(6))
        return [_even(key, int(_number(pattern, key)), arrays[key] * units) for key in sorted(arrays.files)]


_FROM_G = np.array([STANDARD_GRAVITY] * 3 + [np.pi / 180] * 3)


def _sp_sw_har(key: str, times_ms: NDArray[np.float64], imu: NDArray[np.float64]) -> Person:
    """Of rows with one stamp the first is taken."""
    times_ns, first = np.unique(np.rint(times_ms * 1e6).astype(np.int64), return_index=True)
    return Person(key, int(_number(r"s(\d+)", key)), times_ns, imu[first].astype(np.float32))


def _even(key: str, person: int, samples: NDArray[np.float64]) -> Person:
    kept = samples[np.isfinite(samples).all(axis=1)].astype(np.float32)
    return Person(key, person, np.rint(np.arange(len(kept)) * (1e9 / NOMINAL_HZ)).astype(np.int64), kept)


def _number(pattern: str, key: str) -> str:
    found = re.search(pattern, key)
    if found is None:
        raise ConfigError(f"{key}: is not named as a recording of its set")
    return found[1]
