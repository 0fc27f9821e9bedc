"""Folders as UTD-MHAD comes in, with noise: whichever people in whichever files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmg_training.data.utd_mhad import novel_labels

NOVEL = novel_labels(0)
ACTIONS = (*NOVEL[:3], *[label for label in range(27) if label not in NOVEL][:3])
"""Three novel and three base actions of split 0."""
HALVES = {"odd_subjects": (1, 3, 5, 7), "even_subjects": (2, 4, 6, 8)}


def write_trials(root: Path, halves: Mapping[str, Sequence[int]] = HALVES, trials: int = 2) -> Path:
    """``root/utd-mhad`` with two files for each of ``halves``; returns ``root``."""
    (root / "utd-mhad").mkdir(parents=True)
    for half, people in halves.items():
        rng = np.random.default_rng(sum(people))
        inertial, depth = dict[str, Any](), dict[str, Any]()
        for key in names(people, trials):
            inertial[key] = rng.standard_normal((40, 6)).astype(np.float32)
            depth[key] = rng.integers(0, 256, (10, 60, 80), dtype=np.uint8)
        np.savez(root / "utd-mhad" / f"inertial_{half}.npz", **inertial)
        np.savez(root / "utd-mhad" / f"depth_{half}.npz", **depth)
    return root


def names(people: Sequence[int], trials: int = 2) -> list[str]:
    """The trials of some people."""
    return [f"a{action + 1}_s{one}_t{trial + 1}" for action in ACTIONS for one in people for trial in range(trials)]
