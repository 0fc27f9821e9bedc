"""Nobody and nothing that is measured was trained on: every data set, by people, files, grounds and the samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmg.errors import ConfigError
from mmg_training import data
from mmg_training.config import DataConfig
from mmg_training.data import ego4d as ego4d_set
from mmg_training.data import motion, sounds, utd_mhad
from mmg_training.data.sessions import UNLABELLED, Dataset, NamedTest, Pool, Session
from mmg_training.task import AUDIO_HZ, IMU_HZ
from recordings import DATA, real
from training.ego4d_tree import make_tree

# Of ESC-10's clips these two alone are under CC Sampling+, which does not allow every use (its README.txt).
SAMPLING_PLUS = ("1-40730-A", "2-96460-A")


def load(**settings: object) -> Dataset:
    few = {"subjects": 2, "held_out": 2, "sessions": 1, "session_s": 8.0, "root": str(DATA)}
    return data.load(DataConfig(**{**few, **settings}), lambda _: None)  # type: ignore[arg-type]


@pytest.fixture(scope="module", autouse=True)
def _decode_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sounds, "read_sound", cache(sounds.read_sound))
        yield


@pytest.fixture(scope="module")
def starter() -> Dataset:
    return load(set="starter")


@pytest.fixture(scope="module")
def benchmark() -> Dataset:
    return load(set="benchmark", subjects=1, split=0)


@pytest.fixture(scope="module")
def paired() -> Dataset:
    for name in ("sp-sw-har", "footsteps", "esc10"):
        real(name)
    return load(set="paired")


@pytest.fixture(scope="module")
def ego4d(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root = make_tree(tmp_path_factory.mktemp("ego4d"))
    return ego4d_set.load(DataConfig(set="ego4d", root=str(root), split=0), lambda _: None, least=3)


def trained(made: Dataset) -> list[Session]:
    return [one for pool in made.training for one in pool.sessions]


def pool(made: Dataset, name: str) -> Pool:
    return next(pool for pool in made.training if pool.name == name)


def extra(made: Dataset, start: str) -> NamedTest:
    return next(test for test in made.extra if test.name.startswith(start))


def known(made: Dataset, start: str) -> NamedTest:
    return next(test for test in made.known if test.name.startswith(start))


def unknown(made: Dataset, start: str) -> NamedTest:
    return next(test for test in made.unknown if test.name.startswith(start))


def people(sessions: Iterable[Session]) -> set[int]:
    return {one.subject for one in sessions}


def labels(sessions: Iterable[Session]) -> set[int]:
    return {int(label) for one in sessions for label in one.labels}


def seconds(sessions: Iterable[Session]) -> set[bytes]:
    """Every second of IMU and sound, but for silence."""
    found = set()
    for one in sessions:
        for name, rate_hz in (("imu", IMU_HZ), ("audio", AUDIO_HZ)):
            for first in range(0, len(one.samples.get(name, ())) - rate_hz + 1, rate_hz):
                part = one.samples[name][first : first + rate_hz]
                if part.std() > 0:
                    found.add(part.tobytes())
    return found


def check_apart(left: Iterable[Session], right: Iterable[Session]) -> None:
    left, right = list(left), list(right)
    assert left
    assert right
    assert not people(left) & people(right)
    assert not seconds(left) & seconds(right)


def test_starter_virtual_wearers_are_apart(starter: Dataset) -> None:
    simulated = pool(starter, "virtual wearer").sessions
    check_apart(simulated, starter.calibration)
    check_apart(simulated, starter.test)
    check_apart(starter.calibration, starter.test)


def test_starter_recorded_people_are_apart(starter: Dataset) -> None:
    real("sp-sw-har")
    for device in ("phone", "watch"):
        tested = extra(starter, f"sp-sw-har {device}, subjects").sessions
        for name in (f"sp-sw-har {device}", f"running made from walking, {device}"):
            learnt = pool(starter, name).sessions
            assert people(learnt) == set(range(1, 11))
            check_apart(learnt, tested)
            check_apart(learnt, known(starter, "sp-sw-har").sessions)


def test_starter_glasses_are_apart(starter: Dataset) -> None:
    real("classyglass")
    learnt, tested = pool(starter, "ClassyGlass").sessions, extra(starter, "ClassyGlass").sessions
    calibrating = known(starter, "ClassyGlass").sessions
    check_apart(learnt, tested)
    check_apart(learnt, calibrating)
    check_apart(calibrating, tested)
    for one in starter.unknown:
        if one.name.startswith("ClassyGlass"):
            check_apart(learnt, one.sessions)
            check_apart(calibrating, one.sessions)


def test_other_life_has_no_label_and_what_is_known_has_no_kind(starter: Dataset) -> None:
    for one in starter.unknown:
        assert labels(one.sessions) == {UNLABELLED}
    count = len(starter.task.labels)
    for tests in (starter.extra, starter.known):
        assert all(label < count for one in tests for label in labels(one.sessions))
    assert max(labels(trained(starter))) < count + len(starter.task.kinds)


def test_starter_grounds_are_apart(starter: Dataset) -> None:
    real("footsteps")
    check_apart(pool(starter, sounds.FOOTSTEPS.name).sessions, extra(starter, "footsteps").sessions)


def test_starter_keys_are_apart(starter: Dataset) -> None:
    real("keystrokes")
    learnt, calibrating = pool(starter, sounds.KEYSTROKES.name).sessions, known(starter, "keystrokes").sessions
    for one in starter.extra:
        if one.name.startswith("keystrokes"):
            check_apart(learnt, one.sessions)
            check_apart(calibrating, one.sessions)
    check_apart(learnt, calibrating)


def test_starter_surroundings_are_apart(starter: Dataset) -> None:
    real("esc10")
    # Their subject is the kind of sound, which is in all folds; a fold is what keeps the recordings apart.
    learnt = pool(starter, sounds.SURROUNDINGS.name).sessions
    never, human = unknown(starter, "ESC-10, chainsaw").sessions, unknown(starter, "ESC-10, baby").sessions
    assert not seconds(learnt) & seconds((*never, *human))
    assert not people(learnt) & people(never)
    assert people(human) < people(learnt)
    mixed_in = {background.tobytes() for background in starter.backgrounds}
    assert mixed_in
    assert mixed_in <= {one.samples["audio"].tobytes() for one in learnt}


def test_clips_that_may_not_be_used_are_in_nothing(starter: Dataset) -> None:
    folder = real("esc10") / "rooster"
    training, test = sounds.surroundings(folder.parent, starter.task)
    heard = [one.samples["audio"].tobytes() for one in (*training, *test)]
    assert any(loudest(folder / "1-26806-A.ogg") in wave for wave in heard)
    for name in SAMPLING_PLUS:
        assert not any(loudest(folder / f"{name}.ogg") in wave for wave in heard)


def loudest(path: Path) -> bytes:
    """The 0.1 s from the loudest sample on, as a session has them."""
    wave = (sounds.read_sound(path).clip(-1, 1) * 32767).round().astype("int16")
    first = min(int(np.abs(wave.astype(int)).argmax()), len(wave) - AUDIO_HZ // 10)
    return wave[first : first + AUDIO_HZ // 10].tobytes()


def test_benchmark_people_and_labels_are_apart(benchmark: Dataset) -> None:
    learnt = trained(benchmark)
    for part in (benchmark.calibration, benchmark.test, benchmark.novel):
        check_apart(learnt, part)
    check_apart(benchmark.calibration, benchmark.test)
    base = labels((*learnt, *benchmark.calibration, *benchmark.test))
    assert labels(benchmark.novel)
    assert not base & labels(benchmark.novel)


@pytest.fixture
def _read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    real("utd-mhad")
    monkeypatch.setattr(utd_mhad, "read", _read_utd)


_read_utd = cache(utd_mhad.read)


ODD = (1, 3, 5, 7)
TURNS, FRAMES = np.zeros((9, 6), np.float32), np.full((9, 60, 80), 90, np.uint8)


@pytest.mark.parametrize(
    ("inertial", "depth", "problem"),
    [
        ({"walk_1": TURNS}, {"walk_1": FRAMES}, "'walk_1', of (9, 6) and (9, 60, 80), is not a trial"),
        ({"a1_s1_t1": TURNS}, {"a1_s1_t2": FRAMES}, "in common"),
        ({"a28_s1_t1": TURNS}, {"a28_s1_t1": FRAMES}, "is not a trial"),
        ({"a1_s9_t1": TURNS}, {"a1_s9_t1": FRAMES}, "is not a trial"),
        ({"a1_s1_t1": TURNS[:0]}, {"a1_s1_t1": FRAMES}, "is not a trial"),
        ({"a1_s1_t1": TURNS[:, :3]}, {"a1_s1_t1": FRAMES}, "is not a trial"),
        ({"a1_s1_t1": TURNS}, {"a1_s1_t1": FRAMES[:0]}, "is not a trial"),
        ({"a1_s1_t1": TURNS}, {"a1_s1_t1": FRAMES[:, :8]}, "is not a trial"),
        ({"a1_s1_t1": TURNS}, {"a1_s1_t1": np.zeros_like(FRAMES)}, "is not a trial"),
    ],
)
def test_the_files_of_another_set_in_utd_mhads_place_are_told(
    inertial: dict[str, Any], depth: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    root = tmp_path / "utd-mhad"
    root.mkdir()
    np.savez(root / "inertial_odd_subjects.npz", **inertial)
    np.savez(root / "depth_odd_subjects.npz", **depth)
    with pytest.raises(ConfigError) as raised:
        load(set="utd-mhad", root=str(tmp_path))
    assert problem in str(raised.value)
    assert str(root) in str(raised.value)


@pytest.mark.usefixtures("_read_once")
@pytest.mark.parametrize("leave_out", ODD)
def test_utd_mhad_leaves_one_person_out(leave_out: int) -> None:
    made = load(set="utd-mhad", leave_out=leave_out)
    assert people(made.test) == {leave_out}
    check_apart(trained(made), made.test)
    assert made.calibration == ()
    assert people(trained(made)) | {leave_out} == set(ODD)


@pytest.mark.usefixtures("_read_once")
@pytest.mark.parametrize("split", range(utd_mhad.SPLITS))
def test_utd_mhad_trains_on_no_novel_action(split: int) -> None:
    made = load(set="utd-mhad", split=split)
    novel = labels(made.novel)
    assert len(novel) == utd_mhad.NOVEL_LABELS
    assert not novel & labels((*trained(made), *made.calibration, *made.test))
    assert not seconds(trained(made)) & seconds(made.novel)


@pytest.mark.usefixtures("_read_once")
@pytest.mark.parametrize("split", [-1, 0])
def test_utd_mhads_odd_half_is_cut_in_two_by_people(split: int) -> None:
    made = load(set="utd-mhad", train_people=("1", "3"), test_people=("5", "7"), split=split)
    assert (people(trained(made)), people(made.test)) == ({1, 3}, {5, 7})
    check_apart(trained(made), made.test)
    if split >= 0:
        assert people(made.novel) == {5, 7}
        assert len(labels(made.novel)) == utd_mhad.NOVEL_LABELS
        assert not labels(made.novel) & labels((*trained(made), *made.test))
        check_apart(trained(made), made.novel)


@pytest.mark.usefixtures("_read_once")
def test_utd_mhad_backward_is_like_no_novel_action() -> None:
    made = load(set="utd-mhad", split=0, leave_out=0, reverse=True)
    assert made.test == ()
    actions = len(utd_mhad.ACTIONS)
    backward = {label - actions for label in labels(trained(made)) if label >= actions}
    assert backward
    assert not backward & {utd_mhad.ACTIONS.index(name) for name in utd_mhad.TWINS}
    assert not backward & labels(made.novel)
    assert not seconds(trained(made)) & seconds(made.novel)


@pytest.mark.usefixtures("_read_once")
def test_pairs_without_labels_are_other_clips_than_the_labelled_ones() -> None:
    made = load(set="utd-mhad", leave_out=3, labelled=("imu",), apart=True)
    labelled = [one for one in trained(made) if one.labels[0] >= 0]
    pairs = [one for one in trained(made) if one.labels[0] < 0]
    assert all(set(one.samples) == {"imu"} for one in labelled)
    assert all(set(one.samples) == {"imu", "video"} and (one.labels == -1).all() for one in pairs)
    assert labels(labelled) == set(range(len(utd_mhad.ACTIONS)))
    assert 0.9 < len(labelled) / len(pairs) < 1.2
    assert not seconds(labelled) & seconds(pairs)
    assert people(made.test) == {3}


@pytest.mark.parametrize("name", ["starter", "paired"])
def test_only_evenly_drawn_clips_are_parted(name: str, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(name)  # where its recordings are
    with pytest.raises(ConfigError, match="utd-mhad and benchmark"):
        load(set=name, labelled=("imu",), apart=True)


@pytest.mark.usefixtures("_read_once")
def test_one_modality_is_all_that_is_left() -> None:
    whole, made = (load(set="utd-mhad", leave_out=3, split=0, modalities=names) for names in ((), ("video",)))
    assert made.task.modalities == ("video",)
    for ours, theirs in ((made.test, whole.test), (made.novel, whole.novel), (trained(made), trained(whole))):
        assert len(ours) == len(theirs) > 0
        assert {tuple(one.samples) for one in ours} == {("video",)}


def test_tests_without_the_modality_are_left_out(starter: Dataset) -> None:
    made = load(set="starter", modalities=("video",))
    assert {tuple(one.samples) for one in (*trained(made), *made.calibration, *made.test)} == {("video",)}
    assert len(made.training) == 1
    assert len(made.calibration) == len(starter.calibration)
    assert made.extra == ()
    assert [source.name for source in made.sources] == ["virtual wearer"]


def test_grounds_keys_and_surroundings_are_never_the_same_cluster(starter: Dataset) -> None:
    for name in ("footsteps", "keystrokes", "esc10"):
        real(name)
    owners: dict[str, set[int]] = {}
    for one in (*starter.extra, *starter.unknown):
        for session in one.sessions:
            if set(session.samples) == {"audio"}:
                owners.setdefault(session.source, set()).add(session.subject)
    assert sorted(owners) == ["esc10", "footsteps", "keystrokes"]
    assert len(set.union(*owners.values())) == sum(map(len, owners.values()))


@pytest.mark.usefixtures("_read_once")
def test_the_person_is_in_the_middle_of_the_depth_pictures() -> None:
    for one in load(set="utd-mhad", leave_out=3).test:
        there = one.samples["video"][0, :, :, 0] > 0
        assert abs(np.median(np.nonzero(there)[1]) - 16) <= 1
        assert there[:, [0, -1]].mean() < 0.2


def test_paired_people_and_sounds_are_apart(paired: Dataset) -> None:
    check_apart(trained(paired), paired.test)
    check_apart(trained(paired), paired.calibration)
    check_apart(paired.calibration, paired.test)
    assert people((*paired.calibration, *paired.test)) == set(motion.TEST_SUBJECTS)


def test_ego4d_videos_and_labels_are_apart(ego4d: Dataset) -> None:
    learnt = {one.source for one in trained(ego4d)}
    for part in (ego4d.calibration, ego4d.test, ego4d.novel, *(test.sessions for test in ego4d.extra)):
        assert part
        assert not learnt & {one.source for one in part}
    assert not {one.source for one in ego4d.calibration} & {one.source for one in (*ego4d.test, *ego4d.novel)}
    assert not labels(ego4d.novel) & labels((*trained(ego4d), *ego4d.calibration, *ego4d.test))
    assert not people(trained(ego4d)) & people(extra(ego4d, "Ego4D validation, people of no").sessions)
