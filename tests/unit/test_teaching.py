"""Teaching: what is known by its examples, what is not, and what a file of it may not be."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from fakes import tiny_manifest
from hostile import peak_bytes
from mmg.engine.encoded import Encoded, EncodedHop
from mmg.engine.health.level import QUIET
from mmg.errors import ConfigError
from mmg.recording.tokens import pack, unpack
from mmg.runs.teaching import Heard, background_in, example_in, well_in
from mmg.teaching.alignment import Templates
from mmg.teaching.check import estimate, little_background, problem_of
from mmg.teaching.kept import Kept
from mmg.teaching.scorer import Scorer
from mmg.teaching.store import change_taught, read_taught, write_taught
from mmg.teaching.surroundings import stands_out
from mmg.teaching.taught import (
    MOST_ACTIVITIES,
    MOST_HOPS,
    Example,
    Taught,
    check_encoders,
    encoder_digests,
    for_bundle,
    nothing_taught,
)
from mmg.teaching.trace import Trace, shape_of
from mmg.types import SensorState, State

ENCODERS = {"imu": "a" * 64, "audio": "b" * 64}
HOP_S = 0.5
HOPS = 5


def moved(kind: int, seed: int, hops: int = HOPS) -> Trace:
    """What an IMU gives of an activity: the same course each time, at another strength and with noise."""
    random = np.random.default_rng((kind, seed))
    phase = np.linspace(0, 1, hops * 5)[:, None]
    course = np.sin(2 * np.pi * phase * (kind + 1) + np.arange(6) * (kind + 1)) * random.uniform(0.9, 1.1)
    shape = (course * 3 + random.normal(0, 0.2, (hops * 5, 6))).reshape(hops, 5, 6).astype(np.float32)
    return Trace(np.tanh(shape.mean(axis=1, keepdims=True)), shape)


def heard(kind: int, seed: int, hops: int = HOPS) -> Trace:
    """What a microphone gives of an activity: its tokens, in no order."""
    random = np.random.default_rng((kind, seed, 1))
    tokens = np.random.default_rng(kind).normal(0, 2, (1, 1, 8)) + random.normal(0, 0.4, (hops, 2, 8))
    return Trace(tokens.astype(np.float32), np.zeros((hops, 0, 0), np.float32))


def other_life(seed: int, hops: int = 120) -> dict[str, Trace]:
    random = np.random.default_rng((seed, 2))
    steps = random.normal(0, 1, (hops * 5, 6))
    shape = (np.cumsum(steps, axis=0) * 0.5 % 6 - 3).reshape(hops, 5, 6).astype(np.float32)
    tokens = random.normal(0, 2, (hops, 2, 8)).astype(np.float32)
    none = np.zeros((hops, 0, 0), np.float32)
    return {"imu": Trace(np.tanh(shape.mean(axis=1, keepdims=True)), shape), "audio": Trace(tokens, none)}


def joined(*traces: Trace) -> Trace:
    return Trace(np.concatenate([one.tokens for one in traces]), np.concatenate([one.shape for one in traces]))


def teach(kinds: int = 3, examples: int = 3) -> Taught:
    taught = Taught(ENCODERS)
    for kind in range(kinds):
        for seed in range(examples):
            taught = taught.add(f"kind {kind}", Example({"imu": moved(kind, seed), "audio": heard(kind, seed)}))
    for name, trace in other_life(0).items():
        taught = taught.with_background(name, [trace])
    return taught


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer(teach())


@pytest.mark.parametrize("sensors", [("imu",), ("audio",), ("imu", "audio")], ids="+".join)
def test_what_was_taught_with_two_sensors_is_known_with_either_and_with_both(
    scorer: Scorer, sensors: tuple[str, ...]
) -> None:
    for kind in range(3):
        traces = {name: {"imu": moved, "audio": heard}[name](kind, 77) for name in sensors}
        scores = scorer.score(traces)
        assert max(scores, key=scores.__getitem__) == f"kind {kind}"
        assert scores[f"kind {kind}"] > 0.9
        assert sum(scores.values()) <= 1 + 1e-9


def test_something_else_before_and_after_does_not_hide_it_and_is_none_of_it(scorer: Scorer) -> None:
    before, after = other_life(5, 20)["imu"], other_life(6, 20)["imu"]
    stream = joined(before, moved(1, 77), after)
    known = [
        scorer.score({"imu": stream.part(max(end - scorer.context_hops, 0), end)})["kind 1"]
        for end in range(1, stream.hops + 1)
    ]
    assert max(range(len(known)), key=known.__getitem__) == 20 + HOPS - 1
    assert known[20 + HOPS - 1] > 0.9
    assert max(known[: 20 + HOPS - 3] + known[20 + HOPS + 3 :]) < 0.1


def test_a_third_activity_is_none_of_the_taught_ones(scorer: Scorer) -> None:
    for seed in range(5):
        for traces in ({"imu": moved(7, seed)}, {"audio": heard(7, seed)}, other_life(seed + 10, 12)):
            assert sum(scorer.score(traces).values()) < 0.1


def test_what_was_taught_with_one_sensor_only_says_nothing_of_another() -> None:
    taught = Taught(ENCODERS)
    for seed in range(3):
        taught = taught.add("wave", Example({"imu": moved(0, seed)}))
    assert Scorer(taught).score({"audio": heard(0, 9)}) == {"wave": 0.0}


def test_a_long_example_is_known_in_its_middle() -> None:
    taught = Taught(ENCODERS)
    for seed in range(3):
        taught = taught.add("rub", Example({"imu": joined(*[moved(2, seed + 10 * n, 2) for n in range(12)])}))
    taught = taught.with_background("imu", [other_life(0)["imu"]])
    middle = joined(*[moved(2, 50 + n, 2) for n in range(8)])
    assert Scorer(taught).score({"imu": middle})["rub"] > 0.9


def test_one_lone_example_without_background_is_known_again() -> None:
    taught = Taught(ENCODERS).add("wave", Example({"imu": moved(0, 0)}))
    assert Scorer(taught).score({"imu": moved(0, 5)})["wave"] > 0.5


def test_what_was_taught_comes_back_from_its_file_which_only_its_owner_reads(tmp_path: Path) -> None:
    path, taught = tmp_path / "mine.taught", teach()
    write_taught(path, taught)
    again = read_taught(path)
    assert again.names == taught.names
    assert again.encoders == taught.encoders
    was, now = taught.activities[1].examples[2].traces["imu"], again.activities[1].examples[2].traces["imu"]
    np.testing.assert_allclose(was.shape, now.shape, atol=0.01)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"pickle" not in path.read_bytes()
    write_taught(tmp_path / "again.taught", replace(taught, hop_s=float("0.5")))
    assert (tmp_path / "again.taught").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("offset", [0.0, 120_000.0])
def test_counts_in_the_thousands_are_known_again_from_the_file(tmp_path: Path, offset: float) -> None:
    def counted(trace: Trace) -> Trace:
        return Trace(trace.tokens, trace.shape * 50 + np.float32(offset))

    taught = Taught(ENCODERS).with_background("imu", [counted(other_life(0)["imu"])])
    for kind in (0, 1):
        for seed in range(3):
            taught = taught.add(f"kind {kind}", Example({"imu": counted(moved(kind, seed))}))
    write_taught(tmp_path / "mine.taught", taught)
    known = Scorer(read_taught(tmp_path / "mine.taught"))
    assert known.score({"imu": counted(moved(1, 9))})["kind 1"] > 0.9
    assert sum(known.score({"imu": counted(other_life(5)["imu"])}).values()) < 0.1


def test_an_example_with_values_beyond_all_sense_leaves_the_rest_told_apart() -> None:
    odd = moved(1, 0)
    taught = teach(1).add("odd", Example({"imu": Trace(odd.tokens, odd.shape * np.float32(1e30))}))
    known = Scorer(taught)
    assert known.score({"imu": moved(0, 9)})["kind 0"] > 0.9
    assert known.repeated({"imu": [(0, other_life(5)["imu"])]}) == set()


def test_examples_of_different_widths_are_never_written_and_the_old_file_stays(tmp_path: Path) -> None:
    path, taught = tmp_path / "mine.taught", teach()
    write_taught(path, taught)
    bare = Trace(moved(0, 5).tokens, np.zeros((HOPS, 0, 0), np.float32))
    with pytest.raises(ConfigError, match="not of one width"):
        write_taught(path, taught.add("kind 0", Example({"imu": bare})))
    assert read_taught(path).names == taught.names
    assert list(tmp_path.iterdir()) == [path]


def damaged(change: Callable[[Any], None]) -> Callable[[bytes], bytes]:
    def apply(data: bytes) -> bytes:
        whole = msgspec.msgpack.decode(data)
        change(whole)
        whole["sha256"] = ""
        whole["sha256"] = hashlib.sha256(msgspec.msgpack.encode(whole)).hexdigest()
        return msgspec.msgpack.encode(whole)

    return apply


def _nan(whole: Any) -> None:
    trace = whole["activities"][0]["examples"][0]["imu"]
    trace["tokens"] = np.full(len(trace["tokens"]) // 2, np.nan, "<f2").tobytes()


def _many(whole: Any) -> None:
    whole["activities"] = [{**whole["activities"][0], "name": f"n{n}"} for n in range(MOST_ACTIVITIES + 1)]


def _twice(whole: Any) -> None:
    whole["activities"].append(whole["activities"][0])


def _name(whole: Any) -> None:
    whole["activities"][0]["name"] = "\x1b[31mred"


def _sizes(whole: Any) -> None:
    whole["activities"][0]["examples"][0]["imu"]["token_sizes"] = [1 << 40, 1, 4]


def _width(whole: Any) -> None:
    trace = whole["activities"][0]["examples"][0]["imu"]
    hops, each, width = trace["token_sizes"]
    trace["token_sizes"] = [hops, width, each]


BAD = {
    "empty": lambda _: b"",
    "foreign": lambda _: b"\x80\x04\x95pickle",
    "a recording": lambda _: b"\x89MCAP0\r\n" * 9,
    "cut": lambda data: data[:-40],
    "longer": lambda data: data + b"x",
    "not a number": damaged(_nan),
    "201 activities": damaged(_many),
    "twice": damaged(_twice),
    "a name of control characters": damaged(_name),
    "sizes": damaged(_sizes),
    "widths": damaged(_width),
    "a hop of no length": damaged(lambda whole: whole.update(hop_s=5e-324)),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_told_in_one_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "mine.taught"
    write_taught(path, teach())
    path.write_bytes(BAD[kind](path.read_bytes()))
    with pytest.raises(ConfigError) as told:
        read_taught(path)
    assert str(told.value).startswith(str(path))
    assert str(told.value).isprintable()


def test_a_file_that_is_not_there_or_a_folder_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "none.taught", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read"):
            read_taught(path)


def test_other_encoders_are_refused() -> None:
    manifest = tiny_manifest()
    taught = Taught(encoder_digests(manifest)).add("wave", Example({"imu": moved(0, 0)}))
    check_encoders(taught, manifest)
    other = Taught({"imu": "0" * 64}).add("wave", Example({"imu": moved(0, 0)}))
    with pytest.raises(ConfigError, match="another imu encoder"):
        check_encoders(other, manifest)
    with pytest.raises(ConfigError, match="different imu encoders"):
        taught.merge(other)


def test_what_was_taught_with_another_hop_is_refused_and_its_seconds_are_its_own(tmp_path: Path) -> None:
    manifest, path = tiny_manifest(), tmp_path / "mine.taught"
    quick = msgspec.structs.replace(manifest, hop_s=manifest.hop_s / 2)
    taught = nothing_taught(quick).with_background("imu", [other_life(0, 48)["imu"]])
    assert for_bundle(taught, manifest) == nothing_taught(manifest)
    taught = taught.add("wave", Example({"imu": moved(0, 0)}))
    write_taught(path, taught)
    assert read_taught(path).hop_s == quick.hop_s
    assert little_background(read_taught(path)) == {"imu": 12.0}
    for_bundle(taught, quick)
    with pytest.raises(ConfigError, match=r"a hop of 0\.25 s, and that of bundle tiny is 0\.5 s: teach it again"):
        for_bundle(taught, manifest)
    with pytest.raises(ConfigError, match=r"a hop of 0\.25 s, and not of 0\.5 s"):
        nothing_taught(manifest).merge(taught)


@pytest.mark.parametrize("name", ["", "  ", "none", "Unknown", "a\nb", "\x1b[2J", "x" * 41, "\u202egnitirw"])
def test_a_name_that_is_no_plain_text_is_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        Taught(ENCODERS).add(name, Example({"imu": moved(0, 0)}))


def test_no_more_than_200_activities_can_be_taught() -> None:
    taught = Taught(ENCODERS)
    for number in range(MOST_ACTIVITIES):
        taught = taught.add(f"n{number}", Example({"imu": moved(0, 0)}))
    with pytest.raises(ConfigError, match="200 activities"):
        taught.add("one more", Example({"imu": moved(0, 0)}))
    assert len(taught.add("n0", Example({"imu": moved(0, 1)})).activities[0].examples) == 2


def test_no_more_can_be_taught_than_a_run_can_compare_in_time() -> None:
    taught, hops = Taught(ENCODERS), MOST_HOPS // 10
    for number in range(10):
        taught = taught.add(f"n{number % 3}", Example({"imu": moved(0, number, hops=hops)}))
    with pytest.raises(ConfigError, match="over 33 minutes of imu examples, all that can be compared: remove an"):
        taught.add("one more", Example({"imu": moved(0, 10)}))
    assert taught.add("one more", Example({"audio": moved(0, 10)})).names[-1] == "one more"
    assert taught.remove("n0").add("one more", Example({"imu": moved(0, 10)})).names[-1] == "one more"
    with pytest.raises(ConfigError, match="over 33 minutes"):
        Scorer(taught.with_kept("one more", Example({"imu": moved(0, 10)})))


def test_merging_keeps_the_examples_of_both_and_removing_leaves_the_rest() -> None:
    other = teach(1, 5).merge(teach(3))
    merged = teach(2).merge(other)
    assert [len(one.examples) for one in merged.activities] == [5, 3, 3]
    assert merged.remove("kind 1").names == ("kind 0", "kind 2")
    with pytest.raises(ConfigError, match="not taught"):
        merged.remove("juggling")


def test_a_sound_of_many_tokens_is_held_against_what_was_heard_in_little_memory() -> None:
    random, none = np.random.default_rng(0), np.zeros((0, 0, 0), np.float32)
    heard_before = Trace(random.normal(3, 0.3, (240, 20, 8)).astype(np.float32), none)
    quiet = Trace(random.normal(3, 0.3, (8, 20, 8)).astype(np.float32), none)
    loud = Trace(quiet.tokens + (np.arange(8) == 4)[:, None, None] * np.float32(3), none)
    for one, is_heard in ((quiet, False), (loud, True)):
        assert stands_out(one, [heard_before]) == is_heard
    assert peak_bytes(lambda: stands_out(loud, [heard_before])) < 64 << 20


def test_many_examples_are_held_against_a_long_stream_in_little_memory() -> None:
    random = np.random.default_rng(0)
    known = Templates([random.normal(size=(40, 4)).astype(np.float32) for _ in range(400)])
    stream = random.normal(size=(2000, 4)).astype(np.float32)
    assert peak_bytes(lambda: known.distances(stream)) < 96 << 20
    ends = (5, 300, 1999)
    whole = known.distances(stream)
    for end in ends:
        alone = known.distances(stream[max(end + 1 - known.reach, 0) : end + 1])[:, -1]
        assert np.allclose(whole[:, end], alone, atol=1e-4)


def test_a_bad_example_is_told() -> None:
    others = [Example({"imu": moved(0, seed)}) for seed in range(3)]
    still = Trace(np.zeros((5, 1, 6), np.float32), np.ones((5, 5, 6), np.float32))
    silent = Trace(np.ones((5, 2, 8), np.float32), np.zeros((5, 0, 0), np.float32))
    assert problem_of(Example({"imu": moved(0, 9)}), others, HOP_S) == ""
    assert "too short" in problem_of(Example({"imu": moved(0, 9).part(0, 1)}), others, HOP_S)
    assert "nothing moved" in problem_of(Example({"imu": still}), others, HOP_S)
    assert "silence" in problem_of(Example({"audio": silent}), [], HOP_S)
    assert "missing" in problem_of(Example({"audio": heard(0, 9)}), others, HOP_S)
    assert "unlike" in problem_of(Example({"imu": moved(4, 9)}), others, HOP_S)


def test_two_examples_that_happen_to_be_the_same_do_not_make_a_third_unlike() -> None:
    same = [Example({"imu": moved(0, 1)}) for _ in range(2)]
    assert problem_of(Example({"imu": moved(0, 9)}), same, HOP_S) == ""
    assert "unlike" in problem_of(Example({"imu": moved(4, 9)}), same, HOP_S)


def test_activities_that_are_the_same_are_too_near_and_others_are_not() -> None:
    apart = teach()
    assert estimate(apart).recall == {"kind 0": 1.0, "kind 1": 1.0, "kind 2": 1.0}
    assert estimate(apart).near == []
    same = apart
    for seed in range(10, 13):
        same = same.add("twin", Example({"imu": moved(0, seed), "audio": heard(0, seed)}))
    [sentence, *_] = estimate(same).near
    assert "kind 0 and twin are too near" in sentence


def test_an_activity_whose_examples_are_called_nothing_is_not_too_near_to_another_but_unlike_itself() -> None:
    taught = teach(2)
    for seed in range(5):
        taught = taught.add("pick", Example({"imu": moved(10 + 3 * seed, seed)}))
    found = estimate(taught)
    known = round(found.recall["pick"] * 5)
    assert known < 3
    assert found.near == []
    why = "its examples are unlike each other: more of them, or shorter ones"
    assert found.unlike == [f"pick is known in {known} of 5 left-out examples: {why}"]


def test_one_example_under_two_names_is_told_as_too_near() -> None:
    taught = Taught(ENCODERS)
    for name in ("wave", "greet"):
        taught = taught.add(name, Example({"imu": moved(0, 0), "audio": heard(0, 0)}))
    taught = taught.with_background("imu", [other_life(0)["imu"]])
    [sentence] = estimate(taught).near
    assert sentence.startswith("greet and wave are too near: 2 of their examples are taken for the other")
    assert estimate(taught).recall == {}


def test_the_same_example_or_background_again_adds_nothing(tmp_path: Path) -> None:
    path, taught = tmp_path / "mine.taught", teach(2)
    write_taught(path, taught)
    read = read_taught(path)
    for one, two in ((read, taught), (taught, read)):
        assert one.merge(two) is not one
        assert [len(each.examples) for each in one.merge(two).activities] == [3, 3]
        assert {name: len(traces) for name, traces in one.merge(two).background.items()} == {"imu": 1, "audio": 1}
    assert taught.has("kind 0", Example({"imu": moved(0, 1)}))
    assert not taught.has("kind 1", Example({"imu": moved(0, 1)}))
    assert not taught.has("kind 0", Example({"imu": moved(0, 9)}))


def test_background_is_without_the_hops_that_are_taken() -> None:
    taught, traces = teach(2), [joined(moved(0, 9), moved(0, 10)), moved(1, 9)]
    life = other_life(1, 10)["imu"]
    whole = taught.with_background("imu", [joined(life, traces[0], life), traces[1]])
    left = whole.without_background("imu", [traces[0].part(1, 10), traces[1]])
    assert [one.hops for one in left.background["imu"]] == [120, 11, 10]
    assert left.background["audio"] == whole.background["audio"]
    assert left.without_background("imu", traces[1:]) is left
    assert taught.without_background("video", traces) is taught


def test_background_of_a_sensor_that_gives_the_same_again_stays() -> None:
    still = Trace(np.ones((40, 1, 6), np.float32), np.ones((40, 5, 6), np.float32))
    mine = Taught(ENCODERS).with_background("imu", [still])
    waved = Example({"imu": joined(still.part(0, 1), moved(0, 0))})
    assert mine.merge(Taught(ENCODERS).add("wave", waved)).background == mine.background


def test_a_name_that_differs_from_another_in_its_case_alone_is_refused() -> None:
    with pytest.raises(ConfigError, match="KIND 0: is kind 0 but for its case: write kind 0, or choose another name"):
        teach(1).add("KIND 0", Example({"imu": moved(0, 9)}))


def test_whoever_changes_the_file_keeps_what_others_wrote_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "mine.taught"

    def teach_one(number: int) -> None:
        example = Example({"imu": moved(0, number)})
        change_taught(path, lambda now: now.add(f"act {number}", example), lambda: Taught(ENCODERS))

    threads = [threading.Thread(target=teach_one, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(read_taught(path).names) == [f"act {number}" for number in range(6)]
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_kept_goes_to_what_the_file_has_by_then_and_a_file_that_is_gone_is_written_anew(tmp_path: Path) -> None:
    manifest, path = tiny_manifest(), tmp_path / "mine.taught"
    begin = Taught(encoder_digests(manifest))
    mine, theirs = Kept(path, manifest, begin), Kept(path, manifest, begin)
    assert mine.keep("wave", [Example({"imu": moved(0, 0)})], {"imu": [other_life(0)["imu"]]}) == ""
    assert theirs.keep("clap", [Example({"imu": moved(1, 0)})], {}) == ""
    assert mine.keep("wave", [Example({"imu": moved(0, 1)}), Example({"imu": moved(0, 0)})], {}) == ""
    assert {one.name: len(one.examples) for one in read_taught(path).activities} == {"wave": 2, "clap": 1}
    assert mine.taught.names == ("wave", "clap")
    assert mine.added == 2
    path.unlink()
    note = mine.keep("wave", [Example({"imu": moved(0, 2)})], {})
    assert note == f"{path} was gone: it is written anew, with all that was taught here"
    assert {one.name: len(one.examples) for one in read_taught(path).activities} == {"wave": 3, "clap": 1}
    assert set(read_taught(path).background) == {"imu"}
    write_taught(path, Taught({"imu": "0" * 64}).add("other", Example({"imu": moved(3, 0)})))
    with pytest.raises(ConfigError, match=r"another imu encoder .*; nothing is added to it"):
        mine.keep("wave", [Example({"imu": moved(0, 3)})], {})
    assert read_taught(path).names == ("other",)


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    path = tmp_path / "mine.taught"
    write_taught(path, Taught(ENCODERS).add("wave", Example({"imu": moved(0, 0, 2)})))
    whole = path.read_bytes()
    for bit in range(len(whole) * 8):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        with pytest.raises(ConfigError, match=r"teach it again|is not what mmg-teach wrote"):
            read_taught(path)


def test_a_file_of_an_earlier_mmg_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.taught"
    old = {"schema": "mmg-taught/1", "encoders": ENCODERS, "activities": [], "background": {}}
    path.write_bytes(msgspec.msgpack.encode(old))
    with pytest.raises(ConfigError, match="is of an earlier mmg, which wrote mmg-taught/1: teach it again"):
        read_taught(path)


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="cannot be read: is not a regular file"):
        read_taught(path)
    with pytest.raises(ConfigError, match="is no file that can be replaced"):
        write_taught(path, teach())


def test_what_a_link_leads_to_is_written_and_a_file_that_its_owner_may_not_write_is_not(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    path, target = tmp_path / "mine.taught", tmp_path / "far" / "real.taught"
    path.symlink_to(target)
    for count in (1, 2):
        change_taught(path, partial(Taught.merge, other=teach(count)), lambda: Taught(ENCODERS))
    assert path.is_symlink()
    assert len(read_taught(target).names) == 2
    target.chmod(0o444)
    with pytest.raises(ConfigError, match=r"is not writable, with mode 0444: chmod u\+w it, or name"):
        write_taught(path, teach())
    assert stat.S_IMODE(target.stat().st_mode) == 0o444


@pytest.mark.parametrize("state", ["faulty", "doubted"])
def test_what_is_faulty_or_doubted_is_neither_an_example_nor_background(state: State) -> None:
    heard = Heard(HOP_S)
    for hop in range(40):
        is_bad = hop == 20
        one = EncodedHop(hop, np.ones((1, 4)), state if is_bad else "live", "12 % spikes" if is_bad else "", 0, 0)
        heard.take([Encoded("imu", (one,), hop + 1, 0, 0, 0)])
    taken = example_in(heard, range(16, 24), ("imu",))
    assert (taken.problem, taken.is_fault) == (f"imu is {state}: 12 % spikes", True)
    assert example_in(heard, range(22, 30), ("imu",)).problem == ""
    assert [trace.hops for trace in background_in(heard, (), 8)["imu"]] == [20, 19]
    assert well_in(heard, {"imu": SensorState("live", 0, 0)}, 25) == {"imu": "12 % spikes"}


def test_a_sound_that_is_doubted_for_being_quiet_alone_may_be_taught() -> None:
    heard = Heard(HOP_S)
    hops = [EncodedHop(hop, np.ones((1, 4)), "doubted", f"{QUIET}: nothing above -70 dBFS", 0, 0) for hop in range(8)]
    heard.take([Encoded("audio", tuple(hops), 8, 0, 0, 0)])
    assert example_in(heard, range(8), ("audio",)).problem == ""


def test_a_trace_is_the_longest_run_of_hops_with_tokens() -> None:
    hops = [
        EncodedHop(n, None if n == 2 else np.full((1, 4), n, np.float32), "live", "", 0, 0, np.zeros((5, 6)))
        for n in (0, 1, 2, 3, 4, 5, 9)
    ]
    assert Trace.of(hops).tokens[:, 0, 0].tolist() == [3, 4, 5]
    assert Trace.of(hops[2:3]).hops == 0


def test_a_shape_is_the_mean_of_equal_parts() -> None:
    samples = np.arange(25 * 6).reshape(25, 6).astype(np.float32)
    np.testing.assert_array_equal(shape_of(samples), samples.reshape(5, 5, 6).mean(axis=1))
    assert shape_of(samples[:3]).shape == shape_of(samples[:13]).shape == (5, 6)


def test_a_recording_of_tokens_keeps_the_shape() -> None:
    trace = moved(0, 0)
    hop = EncodedHop(3, trace.tokens[0], "live", "", 7, 0, trace.shape[0])
    bare = EncodedHop(4, trace.tokens[1], "live", "", 8, 0)
    messages, note = pack(Encoded("imu", (hop, bare), 5, 0, 8, 0))
    assert b"shape" not in messages[1]
    first, second = unpack(note, messages).hops
    np.testing.assert_array_equal(first.shape, hop.shape)
    assert second.shape is None


@pytest.mark.realtime
@pytest.mark.alone
def test_ten_activities_of_five_examples_cost_little_a_hop() -> None:
    scorer = Scorer(teach(10, 5))
    traces = {"imu": other_life(3, scorer.context_hops)["imu"]}
    spent = []
    for _ in range(200):
        begin = time.perf_counter()
        scorer.score(traces)
        spent.append(time.perf_counter() - begin)
    assert float(np.median(spent)) < 3e-3
