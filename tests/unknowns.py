"""Bundles that tell the unknown, by statistics that are made up, and the formula of it in plain words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import numpy as np
from fakes import tiny_files, tiny_manifest
from mmg.bundle import Bundle, Manifest, Modality, write_bundle
from mmg.bundle.manifest import Subset
from mmg.bundle.unknown import UNKNOWN_FILE, Mixture, Statistics, pack
from mmg.bundle.unknown_fit import REFUSED, UnknownFit
from mmg.bundle.writer import describe_stored
from msgspec.structs import replace
from numpy.typing import NDArray

KNOWN, OTHER, RANK = 3, 2, 3
THRESHOLDS = (2.0, 1.5, 1.0, 0.0, -0.5, -1.5, -3.0)
TOKENS = 8.0
"""About how large the tokens of the tiny models are."""
Fitted = Sequence[tuple[str, ...]]


def subsets_of(names: Sequence[str]) -> list[tuple[str, ...]]:
    return list(chain.from_iterable(combinations(names, size) for size in range(1, len(names) + 1)))


def made_up(names: Sequence[str], token_dim: int, scale: float = 1.0) -> dict[str, Statistics]:
    """Modality -> statistics in which nothing is zero or alike. scale: how large tokens are."""
    # With these seeds the starter's tokens of noise are neither surely known nor surely unknown.
    return {name: _made_up(token_dim, seed, scale) for seed, name in enumerate(names, 5)}


def _made_up(token_dim: int, seed: int, scale: float) -> Statistics:
    random = np.random.default_rng(seed)

    def draw(*shape: int) -> NDArray[np.float32]:
        return random.normal(size=shape).astype(np.float32)

    def mixture(kinds: int) -> Mixture:
        return Mixture(draw(kinds, RANK, RANK), draw(kinds, RANK), draw(kinds), draw(kinds, RANK), draw(kinds))

    basis = draw(RANK, token_dim) / np.float32(scale * math.sqrt(token_dim))
    return Statistics(
        draw(token_dim) * np.float32(scale), basis, np.ones(1, np.float32), mixture(KNOWN), mixture(OTHER)
    )


def telling(
    manifest: Manifest, fitted: Fitted, scale: float = 1.0, **of_file: bytes
) -> tuple[Manifest, dict[str, bytes]]:
    """The manifest with a fit for each of these subsets alone, and the file that goes with it. data: another file."""
    known = {frozenset(subset.modalities): replace(subset, unknown=None) for subset in manifest.subsets}
    subsets = dict(known)
    for number, names in enumerate(fitted):
        weights = {name: 0.5 + 0.25 * place + 0.1 * number for place, name in enumerate(names)}
        old = known.get(frozenset(names), Subset(modalities=names, temperature=1.0))
        subsets[frozenset(names)] = replace(old, unknown=UnknownFit(weights=weights, thresholds=THRESHOLDS))
    named = [name for name in (one.name for one in manifest.modalities) if any(name in names for names in fitted)]
    data = of_file.get("data", pack(made_up(named, manifest.fusion.token_dim, scale)))
    stored = describe_stored(UNKNOWN_FILE, data)
    return replace(manifest, subsets=tuple(subsets.values()), unknown=stored), {UNKNOWN_FILE: data}


def write_telling_bundle(
    path: Path, *modalities: Modality, fitted: Fitted, scale: float = TOKENS, **of_file: bytes
) -> Path:
    """A tiny bundle that tells the unknown from these subsets."""
    manifest, more = telling(tiny_manifest(*modalities), fitted, scale, **of_file)
    write_bundle(path, manifest, tiny_files(manifest) | more)
    return path


def write_telling_starter(path: Path, fitted: Fitted) -> Path:
    """The starter with made-up statistics in place of its own."""
    with Bundle.open("starter") as bundle:
        manifest, more = telling(bundle.manifest, fitted, scale=3.0)
        files = {file.path: bundle.read(file) for file in bundle.manifest.files()}
        write_bundle(path, replace(manifest, golden=None), files | more)
    return path


def logit_of(
    statistics: Mapping[str, Statistics], fit: UnknownFit, tokens: Mapping[str, Iterable[NDArray[Any]]], rate: float
) -> float:
    """The formula, number by number."""
    logit = -threshold_of(fit.thresholds, rate)
    for name, weight in fit.weights.items():
        one, rows = statistics[name], [row for array in tokens[name] for row in array.tolist()]
        mean = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
        centred = [value - center for value, center in zip(mean, one.center.tolist(), strict=True)]
        place = [_dot(row, centred) for row in one.basis.tolist()]
        score = _density(one.other, place) - _density(one.known, place)
        score += float(one.lean[0]) * (_reading(one.other, place) - _reading(one.known, place))
        logit += weight * min(max(score, -50.0), 50.0)
    return logit


def threshold_of(thresholds: Sequence[float], rate: float) -> float:
    """Between those of ``REFUSED`` on a straight line over the logarithm; beyond them the nearest."""
    if rate <= REFUSED[0]:
        return thresholds[0]
    for place in range(1, len(REFUSED)):
        if rate <= REFUSED[place]:
            low, high = math.log(REFUSED[place - 1]), math.log(REFUSED[place])
            part = (math.log(rate) - low) / (high - low)
            return thresholds[place - 1] + part * (thresholds[place] - thresholds[place - 1])
    return thresholds[-1]


def sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def _reading(mixture: Mixture, place: list[float]) -> float:
    rows = zip(mixture.reading.tolist(), mixture.bias.tolist(), strict=True)
    return math.log(sum(math.exp(_dot(reading, place) + bias) for reading, bias in rows))


def _density(mixture: Mixture, place: list[float]) -> float:
    logs = list[float]()
    for whiten, shift, log in zip(mixture.whiten.tolist(), mixture.shift.tolist(), mixture.log.tolist(), strict=True):
        far = sum((_dot(row, place) - one) ** 2 for row, one in zip(whiten, shift, strict=True))
        logs.append(log - far / 2)
    highest = max(logs)
    return highest + math.log(sum(math.exp(one - highest) for one in logs))


def _dot(left: list[float], right: list[float]) -> float:
    return math.fsum(one * other for one, other in zip(left, right, strict=True))
