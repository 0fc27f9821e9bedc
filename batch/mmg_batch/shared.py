"""The decisions that two bundles share: of the same recording, from the same sensors, for the same moment."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from mmg.errors import ConfigError

from mmg_batch.compare import Pair
from mmg_batch.results import DECISIONS, SUFFIX, key_of

Trials = dict[tuple[float, str], str]
"""``(when, truth) -> label`` of the decisions whose truth is known."""


class Shared:
    """Those in a folder of results; called with two rows of its table of recordings."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / DECISIONS
        self._read = lru_cache(maxsize=2)(self._by_subset)  # rows come recording after recording

    def __call__(self, row: dict[str, Any], other: dict[str, Any]) -> Pair:
        """The decisions that end at the same time and have the same truth: bundles of other hops share some, or none.

        Raises ConfigError where a part is damaged.
        """
        its, others = self._trials(row), self._trials(other)
        same = its.keys() & others.keys()
        return Pair(len(same), sum(its[one] == one[1] for one in same), sum(others[one] == one[1] for one in same))

    def _trials(self, row: dict[str, Any]) -> Trials:
        path = self._folder / f"{key_of(row['recording'], row['bundle_digest'])}{SUFFIX}"
        return self._read(path).get(row["subset"], {})

    def _by_subset(self, path: Path) -> dict[str, Trials]:
        try:
            table = pq.read_table(path, columns=["subset", "t_s", "label", "truth"])
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: is damaged; the same mmg-batch again decides it anew: {error}") from error
        found: dict[str, Trials] = {}
        for subset, t_s, label, truth in zip(*(column.to_pylist() for column in table.columns), strict=True):
            if truth is not None:
                found.setdefault(subset, {})[round(t_s, 3), truth] = label
        return found
