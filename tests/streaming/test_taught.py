"""Taught activities in a stream: the same decisions however its chunks are cut, and nothing changes without them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from chores import REST, TAUGHT, UNTAUGHT, sound
from fakes import audio_chunk, cut, imu_chunk
from forked import mmg_run
from fuzzing import times
from hypothesis import given, settings
from hypothesis import strategies as st
from mmg.bundle import Bundle
from mmg.engine import Engine
from mmg.engine.encoded import Encoded
from mmg.recording.tokens import pack, unpack
from mmg.teaching.scorer import Scorer
from mmg.teaching.store import write_taught
from mmg.teaching.taught import Example, Taught, encoder_digests
from mmg.teaching.trace import Trace
from mmg.types import UNKNOWN, Chunk, Decision

SECONDS, DONE_S, LASTS_S, ORIGIN_S = 20.0, 9.0, 2.5, 0.0
RATE_HZ, AUDIO_HZ = 50.0, 16000.0


def worn(seed: int, done_s: Sequence[float] = (DONE_S,)) -> dict[str, Chunk]:
    """A walk with a murmur, in which the wearer draws a figure and whistles at these times."""
    random = np.random.default_rng(seed)
    imu = imu_chunk(ORIGIN_S, SECONDS, RATE_HZ)
    audio = audio_chunk(ORIGIN_S, SECONDS, AUDIO_HZ, tone_hz=90.0)
    samples = imu.samples + random.normal(0, 0.2, imu.samples.shape).astype(np.float32)
    sound = 0.02 * audio.samples + random.normal(0, 0.01, audio.samples.shape).astype(np.float32)
    for begin_s in done_s:
        at, count = round(begin_s * RATE_HZ), round(LASTS_S * RATE_HZ)
        phase = np.linspace(0, 2 * np.pi, count)[:, None] * np.array([1, 2, 1, 3, 1, 2])
        figure = np.sin(phase + np.arange(6)) * np.array([6, 6, 6, 3, 3, 3]) + np.array([0, 0, 9.8, 0, 0, 0])
        samples[at : at + count] = figure + random.normal(0, 0.2, (count, 6))
        at, count = round(begin_s * AUDIO_HZ), round(LASTS_S * AUDIO_HZ)
        instants = np.arange(count) / AUDIO_HZ
        whistle = 0.4 * np.sin(2 * np.pi * (1500 * instants + 300 * np.sin(instants)))
        sound[at : at + count, 0] = whistle + random.normal(0, 0.01, count)
    return {
        "imu": Chunk("imu", samples.astype(np.float32), imu.times_ns, RATE_HZ),
        "audio": Chunk("audio", sound.astype(np.float32), audio.times_ns, AUDIO_HZ),
    }


def kept(bundle: Bundle, chunks: dict[str, Chunk]) -> dict[str, list[Encoded]]:
    engine = Engine(bundle, tuple(chunks))
    engine.kept = {name: [] for name in chunks}
    for chunk in chunks.values():
        engine.push(chunk)
    return engine.kept


def traces(encoded: dict[str, list[Encoded]], begin: int, end: int) -> dict[str, Trace]:
    return {
        name: Trace.of([hop for one in parts for hop in one.hops if begin <= hop.hop < end])
        for name, parts in encoded.items()
    }


@pytest.fixture(scope="module")
def bundle() -> Iterator[Bundle]:
    with Bundle.open("starter") as opened:
        yield opened


@pytest.fixture(scope="module")
def taught(bundle: Bundle) -> Taught:
    made = Taught(encoder_digests(bundle.manifest))
    first, last = round(DONE_S * 2), round((DONE_S + LASTS_S) * 2)
    for seed in range(3):
        encoded = kept(bundle, worn(seed))
        made = made.add("figure", Example(traces(encoded, first, last)))
    for name, trace in traces(kept(bundle, worn(9, ())), 0, 40).items():
        made = made.with_background(name, [trace])
    return made


@pytest.fixture(scope="module")
def scorer(taught: Taught) -> Scorer:
    return Scorer(taught)


def decide(
    bundle: Bundle, chunks: Sequence[Chunk | Encoded], names: Sequence[str], scorer: Scorer | None
) -> list[Decision]:
    engine = Engine(bundle, names, taught=scorer)
    return [decision for chunk in chunks for decision in engine.push(chunk)]


@pytest.mark.parametrize("names", [("imu",), ("audio",), ("imu", "audio")], ids="+".join)
def test_a_taught_activity_is_decided_amid_other_life_by_each_sensor(
    bundle: Bundle, scorer: Scorer, names: tuple[str, ...]
) -> None:
    chunks = worn(77)
    decisions = decide(bundle, [chunks[name] for name in names], names, scorer)
    known = [decision.t_s for decision in decisions if decision.label == "figure"]
    assert DONE_S + LASTS_S in known
    assert all(DONE_S < t_s <= DONE_S + LASTS_S + 2 for t_s in known)
    for decision in decisions:
        assert sum(decision.scores.values()) == pytest.approx(1)
        assert decision.confidence == max(decision.scores.values()) == decision.scores[decision.label]
        assert decision.taught == {"figure": decision.scores["figure"]}


@settings(max_examples=times(10), deadline=None)
@given(
    places=st.lists(st.integers(1, 999), max_size=20),
    order=st.lists(st.booleans(), max_size=40),
)
def test_however_chunks_are_cut_and_ordered_decisions_are_the_same_to_the_last_bit(
    bundle: Bundle, scorer: Scorer, places: list[int], order: list[bool]
) -> None:
    chunks = worn(77)
    names = ("imu", "audio")
    whole = decide(bundle, list(chunks.values()), names, scorer)
    imu = list(cut(chunks["imu"], places))
    audio = list(cut(chunks["audio"], [place * 320 for place in places[::2]]))
    mixed: list[Chunk] = []
    for is_imu in order:
        one = imu if is_imu else audio
        if one:
            mixed.append(one.pop(0))
    assert decide(bundle, [*mixed, *audio, *imu], names, scorer) == whole


@pytest.mark.parametrize("sensor", ["imu", "audio"])
def test_a_stream_is_scored_as_the_whole_of_it_at_once(bundle: Bundle, scorer: Scorer, sensor: str) -> None:
    chunks = worn(77)
    decisions = decide(bundle, [chunks[sensor]], (sensor,), scorer)
    [encoded] = traces(kept(bundle, {sensor: chunks[sensor]}), 0, 40).values()
    for decision in decisions:
        end = decision.hop + 1
        offline = scorer.score({sensor: encoded.part(max(end - scorer.context_hops, 0), end)})
        assert decision.taught == offline


def test_what_is_taught_amid_a_run_is_known_from_then_on(bundle: Bundle, scorer: Scorer) -> None:
    chunk, engine = worn(77)["imu"], Engine(bundle, ("imu",))
    until = np.searchsorted(chunk.times_ns, (DONE_S - 1) * 1e9)
    before = engine.push(Chunk("imu", chunk.samples[:until], chunk.times_ns[:until], chunk.rate_hz))
    engine.teach(scorer)
    after = engine.push(Chunk("imu", chunk.samples[until:], chunk.times_ns[until:], chunk.rate_hz))
    whole = decide(bundle, [chunk], ("imu",), scorer)
    assert [one.taught for one in before] == [{}] * len(before)
    assert after[0].taught == {"figure": 0.0}
    begun = scorer.context_hops
    assert [one.taught for one in after[begun:]] == [one.taught for one in whole[len(before) + begun :]]
    assert "figure" in [one.label for one in after[:begun]]


def chore_heard(bundle: Bundle, chore: str, seed: int, late_s: float) -> Trace:
    """Six hops in the midst of a chore that begins so much later in a hop."""
    samples = np.concatenate([sound(REST, 2 + late_s, seed), sound(chore, 6.0, seed)]).astype(np.float32) / 32768
    chunk = Chunk("audio", samples[:, None], (np.arange(len(samples)) * 1e9 / AUDIO_HZ).astype(np.int64), AUDIO_HZ)
    return traces(kept(bundle, {"audio": chunk}), 8, 14)["audio"]


def test_a_rhythm_is_known_wherever_in_a_hop_it_begins(bundle: Bundle) -> None:
    taught = Taught(encoder_digests(bundle.manifest))
    for chore in TAUGHT:
        for seed in range(3):  # one after the other, as in one sitting: all begin at the same place
            taught = taught.add(chore, Example({"audio": chore_heard(bundle, chore, seed, 0.0)}))
    known = Scorer(taught.with_background("audio", [chore_heard(bundle, REST, 9, 0.0)]))
    for late_s in (0.0, 0.06, 0.12, 0.2, 0.31, 0.44):
        apart = [known.distances({"audio": chore_heard(bundle, chore, 77, late_s)}) for chore in (*TAUGHT, UNTAUGHT)]
        assert (np.diag(np.stack(apart[:2])) < 0.85).all(), (late_s, apart)
        assert apart[2].min() > 1.5, (late_s, apart)


def test_without_taught_activities_decisions_are_what_they_were(bundle: Bundle, scorer: Scorer) -> None:
    chunks = worn(77)
    plain = decide(bundle, list(chunks.values()), ("imu", "audio"), None)
    beside = decide(bundle, list(chunks.values()), ("imu", "audio"), scorer)
    assert all(decision.taught == {} for decision in plain)
    assert [decision.embedding for decision in plain] == [decision.embedding for decision in beside]
    assert all(set(decision.scores) - {UNKNOWN} == set(bundle.manifest.labels) for decision in plain)


def test_tokens_that_were_recorded_decide_as_the_samples_did(bundle: Bundle, scorer: Scorer) -> None:
    chunks = worn(77)
    parts = kept(bundle, {"imu": chunks["imu"]})["imu"]
    again = [unpack(note, messages) for messages, note in map(pack, parts)]
    assert decide(bundle, again, ("imu",), scorer) == decide(bundle, [chunks["imu"]], ("imu",), scorer)


def _csv(path: Path) -> Path:
    chunk = worn(77)["imu"]
    rows = np.column_stack([chunk.times_ns / 1e6, chunk.samples])
    np.savetxt(path, rows, delimiter=",", header="t_ms,ax,ay,az,gx,gy,gz", comments="", fmt="%.6f")
    return path


def test_mmg_run_decides_among_the_taught_and_refuses_what_is_of_other_encoders(taught: Taught, tmp_path: Path) -> None:
    mine, walk = tmp_path / "mine.taught", _csv(tmp_path / "walk.csv")
    write_taught(mine, taught)
    done = mmg_run("--sensors", "imu", "--imu", walk, "--taught", mine, "--format", "jsonl")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert any(line["label"] == "figure" for line in lines), done.stderr
    assert all("figure" in line["scores"] for line in lines)
    write_taught(mine, Taught(dict.fromkeys(taught.encoders, "0" * 64), taught.activities))
    refused = mmg_run("--sensors", "imu", "--imu", walk, "--taught", mine)
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert "another audio encoder" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
