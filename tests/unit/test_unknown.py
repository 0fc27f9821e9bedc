"""The score of the unknown: the formula in plain words, its thresholds, and which subsets it is told for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import TOKEN_DIM, audio_modality, signal_modality, tiny_manifest
from mmg.bundle import Bundle
from mmg.bundle.unknown import Mixture, Statistics, unpack
from mmg.bundle.unknown_fit import REFUSED, UnknownFit
from mmg.engine.unknown import DEFAULT_UNKNOWN, LARGEST_SCORE, MOST_UNKNOWN, Unknown, open_unknown, threshold_at
from mmg.errors import ConfigError
from msgspec.structs import replace
from numpy.typing import NDArray
from unknowns import THRESHOLDS, logit_of, made_up, sigmoid, telling, threshold_of, write_telling_bundle

MODALITIES = (signal_modality(), audio_modality())
FITTED = [("imu",), ("imu", "audio")]
MANIFEST, _ = telling(tiny_manifest(*MODALITIES), FITTED)
STATISTICS = made_up(("imu", "audio"), TOKEN_DIM)
FITS = {frozenset(subset.modalities): subset.unknown for subset in MANIFEST.subsets}


def tokens_of(seed: int, scale: float = 1.0) -> list[NDArray[np.float32]]:
    """Of one to four hops, with one to three tokens each."""
    random = np.random.default_rng(seed)
    counts = random.integers(1, 4, random.integers(1, 5))
    return [(random.normal(size=(count, TOKEN_DIM)) * scale).astype(np.float32) for count in counts]


@pytest.fixture
def bundle(tmp_path: Path) -> Iterator[Bundle]:
    with Bundle.open(write_telling_bundle(tmp_path / "bundle", *MODALITIES, fitted=FITTED, scale=1.0)) as opened:
        yield opened


@pytest.mark.parametrize("names", FITTED, ids="+".join)
@pytest.mark.parametrize("rate", [0.001, 0.005, 0.007, 0.05, 0.15, 0.4])
def test_the_probability_is_that_of_the_formula(names: tuple[str, ...], rate: float) -> None:
    unknown, fit, found = Unknown(STATISTICS, MANIFEST, rate), FITS[frozenset(names)], list[float]()
    assert fit is not None
    for seed in range(20):
        tokens = {name: tokens_of(seed * 2 + place) for place, name in enumerate(names)}
        got = unknown.probability(tokens)
        assert got is not None
        assert got == pytest.approx(sigmoid(logit_of(STATISTICS, fit, tokens, rate)), rel=1e-9)
        found.append(got)
    assert np.ptp([math.log(one / (1 - one)) for one in found]) > 1


def test_hops_count_by_their_tokens_and_in_no_order() -> None:
    unknown = Unknown(STATISTICS, MANIFEST, 0.05)
    apart, rows = tokens_of(3), np.concatenate(tokens_of(3))
    whole = unknown.probability({"imu": [rows]})
    assert unknown.probability({"imu": apart}) == whole
    assert unknown.probability({"imu": [rows[::-1]]}) == pytest.approx(whole)


def test_a_subset_without_a_fit_tells_nothing() -> None:
    unknown = Unknown(STATISTICS, MANIFEST, 0.05)
    assert unknown.probability({"audio": tokens_of(0)}) is None
    assert unknown.probability({"imu": tokens_of(0)}) is not None


def test_the_order_of_the_sensors_changes_nothing() -> None:
    unknown = Unknown(STATISTICS, MANIFEST, 0.05)
    imu, audio = tokens_of(0), tokens_of(1)
    assert unknown.probability({"audio": audio, "imu": imu}) == unknown.probability({"imu": imu, "audio": audio})


@pytest.mark.parametrize(("rate", "threshold"), list(zip(REFUSED, THRESHOLDS, strict=True)))
def test_at_a_rate_of_the_fit_the_threshold_is_the_fit_s(rate: float, threshold: float) -> None:
    assert threshold_at(THRESHOLDS, rate) == pytest.approx(threshold)


def test_between_two_rates_the_threshold_lies_on_a_line_over_the_logarithm() -> None:
    halfway = math.sqrt(REFUSED[3] * REFUSED[4])
    assert threshold_at(THRESHOLDS, halfway) == pytest.approx((THRESHOLDS[3] + THRESHOLDS[4]) / 2)
    for rate in np.geomspace(0.0001, 0.4, 50).tolist():
        assert threshold_at(THRESHOLDS, rate) == pytest.approx(threshold_of(THRESHOLDS, rate))


def test_below_the_least_rate_the_threshold_stays() -> None:
    assert threshold_at(THRESHOLDS, 1e-9) == THRESHOLDS[0]


def test_the_more_may_be_refused_the_more_is_unknown() -> None:
    tokens = {"imu": tokens_of(5)}
    found = [Unknown(STATISTICS, MANIFEST, rate).probability(tokens) for rate in REFUSED]
    assert all(found)
    assert found == sorted(found, key=lambda one: one or 0.0)
    assert len(set(found)) == len(REFUSED)


@pytest.mark.parametrize("scale", [1e3, 1e18, 3e38])
def test_tokens_of_any_size_give_a_probability(scale: float) -> None:
    unknown = Unknown(STATISTICS, MANIFEST, 0.05)
    for seed in range(10):
        huge = [np.clip(one, -1, 1) * np.float32(scale) for one in tokens_of(seed)]
        found = unknown.probability({"imu": huge, "audio": tokens_of(seed)})
        assert found is not None
        assert 0 <= found <= 1


@pytest.mark.parametrize("sign", [-1, 1])
def test_one_modality_counts_up_to_fifty(sign: int) -> None:
    def line(log: float) -> Mixture:
        shapes = {"whiten": (1, 1, 1), "shift": (1, 1), "log": (1,), "reading": (1, 1), "bias": (1,)}
        return Mixture(**{name: np.full(shape, log * (name == "log"), np.float32) for name, shape in shapes.items()})

    center, basis = np.zeros(TOKEN_DIM, np.float32), np.ones((1, TOKEN_DIM), np.float32)
    far = Statistics(center, basis, np.ones(1, np.float32), line(0.0), line(sign * 1000.0))
    fit = UnknownFit(weights={"imu": 0.01}, thresholds=(0.25,) * len(REFUSED))
    manifest = replace(MANIFEST, subsets=(replace(MANIFEST.subsets[0], unknown=fit),))
    found = Unknown({"imu": far}, manifest, 0.05).probability({"imu": tokens_of(0)})
    assert found == pytest.approx(sigmoid(0.01 * sign * LARGEST_SCORE - 0.25))


@pytest.mark.parametrize("rate", [-0.01, 0.41, 1, math.nan, math.inf])
def test_a_rate_that_cannot_be_is_refused(bundle: Bundle, rate: float) -> None:
    with pytest.raises(ConfigError, match=r"0 to 0\.4 can"):
        open_unknown(bundle, ["imu"], rate)


def test_the_file_is_read_only_where_it_is_needed(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    whole = Bundle.read

    def noted(self: Bundle, file: Any) -> bytes:
        read.append(file.path)
        return whole(self, file)

    monkeypatch.setattr(Bundle, "read", noted)
    assert open_unknown(bundle, ["imu"], 0) is None
    assert open_unknown(bundle, ["audio"], 0.05) is None
    assert read == []
    alone = open_unknown(bundle, ["imu"], 0.05)
    assert read == ["unknown.npz"]
    assert alone is not None
    assert alone.probability({"imu": tokens_of(0)}) is not None


def test_statistics_that_were_stored_tell_the_same(bundle: Bundle) -> None:
    assert bundle.manifest.unknown is not None
    stored = unpack(bundle.read(bundle.manifest.unknown), bundle.manifest, "bundle")
    tokens = {"imu": tokens_of(0), "audio": tokens_of(1)}
    assert Unknown(stored, MANIFEST, 0.05).probability(tokens) == Unknown(STATISTICS, MANIFEST, 0.05).probability(
        tokens
    )


def test_what_is_usual_and_what_is_most_can_be_asked_for(bundle: Bundle) -> None:
    assert open_unknown(bundle, ["imu"], DEFAULT_UNKNOWN)
    assert open_unknown(bundle, ["imu"], MOST_UNKNOWN)
