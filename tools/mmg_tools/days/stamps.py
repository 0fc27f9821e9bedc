"""How far the stamps of samples are from when they were taken, hour by hour."""

from __future__ import annotations

from collections import Counter

WIDTH_NS = 100_000
"""Of a bin."""


class Stamps:
    """Of each modality and hour a histogram: bounded by how far off stamps can be."""

    def __init__(self) -> None:
        self._bins: dict[tuple[str, int], Counter[int]] = {}

    def add(self, name: str, hour: int, late_ns: int) -> None:
        """One stamp."""
        bins = self._bins.get((name, hour))
        if bins is None:
            bins = self._bins[name, hour] = Counter()
        bins[late_ns // WIDTH_NS] += 1

    @property
    def hours(self) -> list[int]:
        """Those of which there is any."""
        return sorted({hour for _, hour in self._bins})

    def quantile_ms(self, name: str, hour: int, part: float) -> float:
        """Of stamp less capture time; 0 where there is none."""
        bins = self._bins.get((name, hour), Counter())
        wanted, seen = part * sum(bins.values()), 0
        for at in sorted(bins):
            seen += bins[at]
            if seen >= wanted:
                return at * WIDTH_NS / 1e6
        return 0.0

    def count(self, name: str) -> int:
        """All stamps of a modality."""
        return sum(sum(bins.values()) for (one, _), bins in self._bins.items() if one == name)
