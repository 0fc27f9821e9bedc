"""Real recordings as traces, encoded by a bundle's encoders."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmg.bundle import Bundle
from mmg.engine.encoder import load_encoder
from mmg.engine.variant import choose_file, choose_variant
from mmg.errors import ConfigError
from mmg.sources.units import STANDARD_GRAVITY
from mmg.teaching.trace import Trace, shape_of
from numpy.typing import NDArray

RATE_HZ = 50.0
FROM_G = np.array([STANDARD_GRAVITY] * 3 + [np.pi / 180] * 3, np.float32)


class Clip(NamedTuple):
    """One time that something was done. action, person: numbers; for a sound its kind and its fold."""

    action: int
    person: int
    samples: NDArray[np.float32]


class TraceOf:
    """A modality's samples as a trace."""

    def __init__(self, bundle: Bundle, name: str) -> None:
        self._modality, self._hop_s = bundle.manifest.modality(name), bundle.manifest.hop_s
        variant = choose_variant(bundle, [name], "auto", "fp32")
        file = choose_file(bundle, self._modality.encoder.files, name, variant)
        self._encoder = load_encoder(bundle, self._modality, file, 1)

    def __call__(self, samples: NDArray[np.float32]) -> Trace:
        """samples: ``(n, channels)`` at the modality's rate; what fills no hop at the end is left out."""
        self._encoder.reset()
        each = self._modality.samples_in(self._hop_s)
        tokens: list[NDArray[Any]] = []
        shapes: list[NDArray[Any] | None] = []
        for at in range(0, len(samples) - each + 1, each):
            hop = samples[at : at + each]
            made = self._encoder.encode(hop)
            if made is not None:
                tokens.append(made)
                shapes.append(shape_of(hop) if self._modality.kind == "signal" else None)
        return Trace.joined(tokens, shapes)


def actions(data: Path) -> list[Clip]:
    """UTD-MHAD's: m/s^2 and rad/s."""
    with _arrays(data / "utd-mhad" / "inertial_odd_subjects.npz") as arrays:
        return [Clip(*_numbers(r"a(\d+)_s(\d+)", key), arrays[key] * FROM_G) for key in sorted(arrays.files)]


def other_life(data: Path, every: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Name and samples of recordings in which none of the actions is meant: every so many of ClassyGlass and of
    sp-sw-har, at ``RATE_HZ``."""
    with _arrays(data / "classyglass" / "recordings.npz") as arrays:
        for key in sorted(arrays.files)[::every]:
            samples = arrays[key].astype(np.float32)
            yield key, samples[np.isfinite(samples).all(axis=1)]
    with _arrays(data / "sp-sw-har" / "recordings.npz") as arrays:
        for key in sorted({name.partition("/")[0] for name in arrays.files})[::every]:
            times_s, first = np.unique(arrays[f"{key}/time_ms"] / 1e3, return_index=True)
            grid_s = np.arange(times_s[0], times_s[-1], 1 / RATE_HZ)
            columns = arrays[f"{key}/imu"][first].T
            yield key, np.stack([np.interp(grid_s, times_s, column) for column in columns], axis=1).astype(np.float32)


def sounds(data: Path) -> list[Clip]:
    """ESC-10's, mono at 16 kHz: person is the fold, which no recording place is in two of."""
    from mmg_training.data.sounds import read_sound

    folders = sorted(path for path in (data / "esc10").iterdir() if path.is_dir())
    read = partial(map, read_sound)
    clips = []
    for action, folder in enumerate(folders):
        paths = sorted(folder.glob("*.ogg"))
        folds = [int(path.name.split("-")[0]) for path in paths]
        clips += [Clip(action, fold, wave[:, None]) for fold, wave in zip(folds, read(paths), strict=True)]
    return clips


def _arrays(path: Path) -> Any:
    if not path.is_file():
        raise ConfigError(f"there is no {path}: set MMG_DATA or --data to the folder of real recordings")
    return np.load(path)


def _numbers(pattern: str, key: str) -> tuple[int, int]:
    found = re.match(pattern, key)
    if found is None:
        raise ConfigError(f"{key}: is not named as a clip of its set")
    return int(found[1]), int(found[2])
