"""Faults that are smaller than a unit, or begin on the way: each is tried by itself, for what is seen and how soon."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mmg_tools.wrong_units.faults import DEGREE, FULL_SCALE, Samples, scaled

Change = Callable[[Samples], Samples]
HELD_ROWS, SPIKES_PART = 10, 0.02


def halfway(change: Change) -> Change:
    """The same from the middle of the recording on."""
    return lambda samples: np.concatenate([samples[: len(samples) // 2], change(samples)[len(samples) // 2 :]])


def _held(samples: Samples) -> Samples:
    return np.asarray(np.repeat(samples[::HELD_ROWS], HELD_ROWS, axis=0)[: len(samples)])


def _spikes(samples: Samples) -> Samples:
    spiked = samples.copy()
    spiked[np.random.default_rng(0).random(len(samples)) < SPIKES_PART, :3] = FULL_SCALE[0] / 2
    return spiked


def _offset(samples: Samples) -> Samples:
    return samples + np.array([0, 0, 0, 1, 0, 0], np.float32)


def _stuck(samples: Samples) -> Samples:
    stuck = samples.copy()
    stuck[:, 0] = 0.5
    return stuck


SMALL_FAULTS: dict[str, Change] = {
    **{f"acceleration times {factor:g}": scaled(factor, 1) for factor in (0.8, 1.15, 1.25, 1.3, 1.4, 1.5)},
    **{f"gyroscope times {factor:g}": scaled(1, factor) for factor in (0.1, 0.2, 0.3, 0.5, 2, 2.5, 3, 4.5, 10)},
    "each value ten times": _held,
    "spikes in 2% of the rows": _spikes,
    "ax stuck at 0.5": _stuck,
    "gyroscope off by 1 rad/s": _offset,
}
FROM_HALFWAY: dict[str, Change] = {
    "acceleration times 0.8 from halfway on": halfway(scaled(0.8, 1)),
    "acceleration times 1.3 from halfway on": halfway(scaled(1.3, 1)),
    "acceleration times 1.5 from halfway on": halfway(scaled(1.5, 1)),
    "deg/s from halfway on": halfway(scaled(1, 1 / DEGREE)),
    "ax stuck at 0.5 from halfway on": halfway(_stuck),
    "gyroscope of zeros from halfway on": halfway(scaled(1, 0)),
}
