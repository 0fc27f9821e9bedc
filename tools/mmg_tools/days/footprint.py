"""What the process holds, again and again, and whether it grows."""

from __future__ import annotations

import gc
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20
SETTLED_PART = 0.2
"""The first part of a run fills caches and pools."""
DAY_S = 86_400.0


@dataclass
class Footprint:
    """at_s: of the sensors' time. resident_mib; blocks: of Python's allocator; objects: that Python's collector knows;
    files: open ones."""

    at_s: list[float] = field(default_factory=list)
    resident_mib: list[float] = field(default_factory=list)
    blocks: list[int] = field(default_factory=list)
    objects: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)

    def is_due(self, at_s: float, again_s: float) -> bool:
        """Whether the last look is so long ago."""
        return not self.at_s or at_s - self.at_s[-1] >= again_s

    def look(self, at_s: float) -> None:
        """Note what is held now."""
        gc.collect()
        self.at_s.append(at_s)
        self.resident_mib.append(int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_MIB)
        self.blocks.append(sys.getallocatedblocks())
        self.objects.append(len(gc.get_objects()))
        self.files.append(len(list(Path("/proc/self/fd").iterdir())))

    def mib_a_day(self) -> float:
        """The slope of a line through the resident memory, once it has settled, a day of the sensors' time."""
        settled = [at for at, seconds in enumerate(self.at_s) if seconds >= SETTLED_PART * self.at_s[-1]]
        if len(settled) < 3:
            return 0.0
        days = np.array(self.at_s)[settled] / DAY_S
        return float(np.polyfit(days, np.array(self.resident_mib)[settled], 1)[0])

    def grown(self, counts: list[int]) -> int:
        """The median of the last quarter less that of the quarter after the first."""
        quarter = max(len(counts) // 4, 1)
        return round(float(np.median(counts[-quarter:]) - np.median(counts[quarter : 2 * quarter] or counts[:1])))
