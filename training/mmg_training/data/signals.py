"""Recorded arrays as they are stored, and irregular samples to the hop grid's rate, by the rule of the runtime's
streams."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mmg.errors import ConfigError
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray


def open_arrays(path: Path) -> NpzFile:
    """A file of named arrays, to be closed by the caller. Raises ConfigError, and OSError where it is not there."""
    try:
        opened = np.load(path)
    except (ValueError, EOFError) as error:
        raise ConfigError(f"data: {path} is damaged or not an .npz file") from error
    if not isinstance(opened, NpzFile):
        raise ConfigError(f"data: {path} is one array, not an .npz file")
    return opened


def resample(times_s: NDArray[np.float64], samples: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
    """Irregular samples (T, C) -> (floor(duration * rate), C): the mean of the line through them over each
    ``[k, k + 1) / rate_hz``. Samples of one time are averaged first."""
    times, group = np.unique(times_s, return_inverse=True)
    merged = np.zeros((len(times), samples.shape[1]))
    np.add.at(merged, group, samples)
    merged /= np.bincount(group)[:, None]
    edges = np.arange(int(times[-1] * rate_hz) + 1) / rate_hz
    knots = np.union1d(times, edges)
    line = np.stack([np.interp(knots, times, column) for column in merged.T], axis=1)
    areas = np.diff(knots)[:, None] * (line[1:] + line[:-1]) / 2
    integral = np.concatenate((np.zeros((1, samples.shape[1])), np.cumsum(areas, axis=0)))
    boxes: NDArray[np.float32] = (np.diff(integral[np.searchsorted(knots, edges)], axis=0) * rate_hz).astype(np.float32)
    return boxes
