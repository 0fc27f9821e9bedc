"""The unknown in a stream: as offline, however chunks are cut and sensors go, and nothing changes where it is off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from fakes import audio_chunk, audio_modality, cut, imu_chunk, signal_modality, write_tiny_bundle
from fuzzing import times
from hypothesis import given, settings
from hypothesis import strategies as st
from mmg.bundle import Bundle
from mmg.bundle.unknown import unpack
from mmg.engine import Engine
from mmg.teaching.scorer import Scorer
from mmg.teaching.taught import Example, Taught, encoder_digests
from mmg.teaching.trace import Trace
from mmg.types import UNKNOWN, Chunk, Decision
from unknowns import logit_of, sigmoid, write_telling_bundle

SECONDS, GONE_S = 12.0, 5.0
NAMES = ("imu", "audio")
FITTED = [("imu",), ("imu", "audio")]
MODALITIES = (signal_modality(state_hops=4), audio_modality())


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bundle]:
    path = write_telling_bundle(tmp_path_factory.mktemp("telling") / "tiny", *MODALITIES, fitted=FITTED)
    with Bundle.open(path) as opened:
        yield opened


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bundle]:
    with Bundle.open(write_tiny_bundle(tmp_path_factory.mktemp("plain") / "tiny", *MODALITIES)) as opened:
        yield opened


def worn(imu_s: float = SECONDS, audio_s: float = SECONDS) -> dict[str, Chunk]:
    """A walk on which something else happens now and then, with a murmur."""
    imu, audio = imu_chunk(0.0, imu_s), audio_chunk(0.0, audio_s)
    random = np.random.default_rng(1)
    jolts = np.repeat(random.normal(0, 4, (24, 6)), 25, axis=0)[: len(imu.samples)]
    murmur = np.repeat(random.normal(0, 0.2, (24, 1)), 4000, axis=0)[: len(audio.samples)]
    return {
        "imu": replace(imu, samples=imu.samples + jolts.astype(np.float32)),
        "audio": replace(audio, samples=audio.samples + murmur.astype(np.float32)),
    }


def decide(bundle: Bundle, chunks: Sequence[Chunk], **how: float) -> list[Decision]:
    """As of sensors that are there or gone: no decision waits for ever."""
    engine = Engine(bundle, NAMES, unknown=how.get("unknown", 0.05))
    decisions = [decision for chunk in chunks for decision in engine.push(chunk)]
    return decisions + engine.advance(round((SECONDS + 1) * 1e9))


@pytest.mark.parametrize("rate", [0.005, 0.05, 0.3])
def test_a_stream_tells_the_unknown_as_the_formula_over_its_tokens_does(bundle: Bundle, rate: float) -> None:
    manifest = bundle.manifest
    assert manifest.unknown is not None
    statistics = unpack(bundle.read(manifest.unknown), manifest, "bundle")
    fits = {frozenset(subset.modalities): subset.unknown for subset in manifest.subsets}
    engine = Engine(bundle, NAMES, unknown=rate)
    engine.kept = {name: [] for name in NAMES}
    decisions = [decision for chunk in worn(audio_s=GONE_S).values() for decision in engine.push(chunk)]
    decisions += engine.advance(round((SECONDS + 1) * 1e9))
    tokens = {
        name: {hop.hop: hop.tokens for one in parts for hop in one.hops if hop.tokens is not None}
        for name, parts in engine.kept.items()
    }
    told = []
    for decision in decisions:
        hops = range(decision.hop - manifest.context_hops + 1, decision.hop + 1)
        used = {name: [tokens[name][hop] for hop in hops if hop in tokens[name]] for name in decision.modalities}
        fit = fits[frozenset(used)]
        assert fit is not None
        expected = sigmoid(logit_of(statistics, fit, used, rate))
        assert decision.scores[UNKNOWN] == pytest.approx(expected, rel=1e-6)
        told.append(decision.scores[UNKNOWN])
    assert {decision.modalities for decision in decisions} == {("imu",), ("imu", "audio")}
    assert len(set(told)) > 10


@settings(max_examples=times(15), deadline=None)
@given(places=st.lists(st.integers(1, 599), max_size=20), order=st.lists(st.booleans(), max_size=40))
def test_however_chunks_are_cut_and_ordered_decisions_are_the_same_to_the_last_bit(
    bundle: Bundle, places: list[int], order: list[bool]
) -> None:
    chunks = worn()
    whole = decide(bundle, list(chunks.values()))
    queues = [list(cut(chunks["imu"], places)), list(cut(chunks["audio"], [place * 160 for place in places[::2]]))]
    mixed = [queues[is_imu].pop(0) for is_imu in order if queues[is_imu]]
    assert decide(bundle, [*mixed, *queues[0], *queues[1]]) == whole
    assert all(UNKNOWN in decision.scores for decision in whole)


def test_the_scores_of_the_labels_share_what_the_unknown_leaves(bundle: Bundle, plain: Bundle) -> None:
    chunks = list(worn().values())
    labels = bundle.manifest.labels
    for told, without in zip(decide(bundle, chunks), decide(plain, chunks), strict=True):
        assert list(told.scores) == [*labels, UNKNOWN]
        assert sum(told.scores.values()) == pytest.approx(1)
        rest = 1 - told.scores[UNKNOWN]
        assert [told.scores[one] for one in labels] == pytest.approx([without.scores[one] * rest for one in labels])
        assert told.label == max(told.scores, key=lambda one: told.scores[one])
        assert told.confidence == told.scores[told.label]


def test_what_is_unknown_is_decided_so(bundle: Bundle) -> None:
    chunks = list(worn().values())
    seldom = {decision.hop: decision for decision in decide(bundle, chunks, unknown=0.005)}
    often = {decision.hop: decision for decision in decide(bundle, chunks, unknown=0.4)}
    assert all(often[hop].scores[UNKNOWN] > seldom[hop].scores[UNKNOWN] for hop in often)
    assert UNKNOWN in {decision.label for decision in often.values()}
    assert UNKNOWN not in {decision.label for decision in seldom.values()}


def test_off_decides_as_a_bundle_without_it_to_the_last_bit(bundle: Bundle, plain: Bundle) -> None:
    chunks = list(worn(audio_s=GONE_S).values())
    assert decide(bundle, chunks, unknown=0) == decide(plain, chunks) == decide(plain, chunks, unknown=0.4)


def test_a_subset_without_a_fit_decides_as_a_bundle_without_it(bundle: Bundle, plain: Bundle) -> None:
    chunks = worn(imu_s=GONE_S)
    told, without = (decide(one, list(chunks.values())) for one in (bundle, plain))
    alone = [decision for decision in told if decision.modalities == ("audio",)]
    assert len(alone) > 4
    assert alone == [decision for decision in without if decision.modalities == ("audio",)]
    assert all(UNKNOWN in decision.scores for decision in told if "imu" in decision.modalities)


def test_taught_activities_share_the_whole_with_the_unknown(bundle: Bundle) -> None:
    chunks = list(worn().values())
    engine = Engine(bundle, NAMES)
    engine.kept = {name: [] for name in NAMES}
    for chunk in chunks:
        engine.push(chunk)
    hops = {name: [hop for one in parts for hop in one.hops] for name, parts in engine.kept.items()}
    taught = Taught(encoder_digests(bundle.manifest))
    for begin in (4, 10):
        taught = taught.add("knock", Example({name: Trace.of(one[begin : begin + 4]) for name, one in hops.items()}))
    engine = Engine(bundle, NAMES, taught=Scorer(taught))
    decisions = [decision for chunk in chunks for decision in engine.push(chunk)]
    before = decide(bundle, chunks)
    for decision, without in zip(decisions, before, strict=False):
        assert list(decision.scores) == [*bundle.manifest.labels, UNKNOWN, "knock"]
        assert sum(decision.scores.values()) == pytest.approx(1)
        rest = 1 - decision.taught["knock"]
        assert decision.scores[UNKNOWN] == pytest.approx(without.scores[UNKNOWN] * rest)
    assert max(decision.taught["knock"] for decision in decisions) > 0.5


def test_the_time_that_it_takes_counts_as_post(bundle: Bundle) -> None:
    ticks = iter(range(0, 10**12, 1000))
    [first, *_] = Engine(bundle, ("imu",), clock=lambda: next(ticks)).push(worn()["imu"])
    assert list(first.latency_ms) == ["resample", "imu", "fusion", "post"]
