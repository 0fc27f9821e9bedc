"""Ego4D's documented tree: every clip has what belongs to it, and what is lost is counted and said."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from mmg.errors import ConfigError
from mmg_training import data
from mmg_training.batches import Batches
from mmg_training.config import DataConfig, TrainConfig, build
from mmg_training.data import ego4d, ego4d_media
from mmg_training.data.ego4d_annotations import Losses, choose_labels, clip_start_s, read_stretches, read_videos
from mmg_training.data.parts import told
from mmg_training.data.sessions import Dataset, Session
from mmg_training.task import AUDIO_HZ, CONTEXT_HOPS, IMU_HZ
from training.ego4d_tree import COLUMNS, colour, make_tree

LEAST = 3


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("ego4d"))


@pytest.fixture(scope="module")
def loaded(root: Path) -> tuple[Dataset, list[str]]:
    said: list[str] = []
    return ego4d.load(settings(root), said.append, LEAST), said


def settings(root: Path, split: int = -1) -> DataConfig:
    return DataConfig(set="ego4d", root=str(root), split=split)


def clips(loaded: tuple[Dataset, list[str]], uid: str) -> list[Session]:
    """All clips of a video, by time, wherever they went."""
    made, _ = loaded
    parts = (*made.training[0].sessions, *made.calibration, *made.test, *(s for t in made.extra for s in t.sessions))
    found = {id(one.samples): one for one in parts if one.source == f"ego4d {uid}"}
    return sorted(found.values(), key=lambda one: int(one.labels[0]))


def test_a_clip_is_whole_and_of_one_label(loaded: tuple[Dataset, list[str]]) -> None:
    made, _ = loaded
    assert made.task.labels == ("cut_bread", "wash_hands")
    assert made.task.clips
    for one in made.test:
        assert one.hops == CONTEXT_HOPS
        assert len(set(one.labels.tolist())) == 1
        assert {name: (array.shape, array.dtype.name) for name, array in one.samples.items()} == {
            "imu": ((200, 6), "float32"),
            "audio": ((64000,), "int16"),
            "video": ((16, 48, 64, 3), "uint8"),
        }


def test_the_imu_is_in_time_after_sorting_and_in_the_order_of_the_runtime(loaded: tuple[Dataset, list[str]]) -> None:
    for one, start_s in zip(clips(loaded, "train-ramp"), (5.0, 14.0), strict=True):
        # The mean of a ramp over each [k, k + 1) / 50 s is its value in the middle.
        middles = start_s + (np.arange(4 * IMU_HZ) + 0.5) / IMU_HZ
        expected = np.stack([middles, 0 * middles, 0 * middles + 9.8, 0 * middles, 0 * middles, -middles], axis=1)
        np.testing.assert_allclose(one.samples["imu"], expected, atol=1e-3)


def test_the_pictures_are_those_of_the_middle_of_each_interval(loaded: tuple[Dataset, list[str]]) -> None:
    for one, start_s in zip(clips(loaded, "train-ramp"), (5.0, 14.0), strict=True):
        wanted = start_s + (np.arange(16) + 0.5) / 4
        newest = np.floor(wanted * 10 + 1e-6) / 10
        expected = np.array([colour(time_s) for time_s in newest])
        seen = one.samples["video"].reshape(16, -1, 3).astype(int)
        np.testing.assert_allclose(seen.mean(axis=1), expected, atol=6)


def test_the_sound_is_in_time_with_the_pictures(loaded: tuple[Dataset, list[str]]) -> None:
    for one, start_s in zip(clips(loaded, "train-ramp"), (5.0, 14.0), strict=True):
        check_beeps(one, start_s)


def check_beeps(one: Session, start_s: float) -> None:
    """A beep of 0.1 s begins each second, and its pitch says which second it is."""
    wave = one.samples["audio"].astype(np.float64) / 32768
    for second in range(4):
        part = wave[second * AUDIO_HZ : (second + 1) * AUDIO_HZ]
        loud = np.flatnonzero(np.abs(part) > 0.1)
        assert loud[0] < 0.01 * AUDIO_HZ
        assert abs(loud[-1] - 0.1 * AUDIO_HZ) < 0.01 * AUDIO_HZ
        spectrum = np.abs(np.fft.rfft(part[: AUDIO_HZ // 10], AUDIO_HZ))
        assert abs(int(spectrum.argmax()) - (300 + 50 * (start_s + second))) < 10


def test_an_exported_clip_is_read_at_its_own_time(loaded: tuple[Dataset, list[str]]) -> None:
    (one,) = clips(loaded, "val-exported-clip")
    check_beeps(one, 5.0)
    assert abs(int(one.samples["video"][0, ..., 0].mean()) - colour(5.0)[0]) < 6
    np.testing.assert_allclose(one.samples["imu"][0, 0], 5.01, atol=1e-3)


@pytest.mark.parametrize(
    ("uid", "has"),
    [
        ("train-no-imu", [{"audio", "video"}] * 2),
        ("train-hole", [{"audio", "video"}, {"imu", "audio", "video"}]),
        ("train-redacted", [{"imu"}, {"imu", "audio", "video"}]),
        ("val-truncated", [{"imu"}] * 2),
        ("val-empty-csv", [{"audio", "video"}] * 2),
        ("val-stereo", [{"imu", "audio"}] * 2),
        ("val-silent", [{"imu", "video"}] * 2),
        ("val-no-file", []),
    ],
)
def test_what_cannot_be_had_is_left_out_and_no_more(
    loaded: tuple[Dataset, list[str]], uid: str, has: list[set[str]]
) -> None:
    if uid == "train-hole":  # In calibration, which is of whole clips.
        has = has[1:]
    assert [set(one.samples) for one in clips(loaded, uid)] == has


def test_every_loss_is_said_in_a_line_with_the_first(loaded: tuple[Dataset, list[str]]) -> None:
    _, said = loaded
    for line in (
        "1 IMU files that cannot be read; the first is val-empty-csv.csv: has no column canonical_timestamp_ms",
        "1 annotated videos that ego4d.json lacks; the first is unheard-of",
        "1 clips with a hole of more than 0.1 s in their IMU; the first is train-hole.csv at 5.0 s",
        "1 clips without sound and pictures, for what is redacted; the first is train-redacted",
        "1 stretches of labels with fewer than 3 in training; the first is 'rare' in train-ramp",
        "1 stretches outside of their video, or of one shorter than a clip; the first is train-outside",
        "1 videos of both official files, kept for training alone; the first is both",
        "2 clips of videos without sound; the first is val-silent",
        "2 clips without a video file; the first is val-no-file",
        "2 clips without any modality; the first is val-no-file",
        "2 clips without pictures, of stereoscopic videos; the first is val-stereo",
        "4 clips of videos without IMU; the first is train-no-imu",
    ):
        assert f"ego4d: {line}" in said
    assert any(line.startswith("ego4d: 2 clips of videos that cannot be read; the first is val-trunc") for line in said)
    # Of 15 videos with both labels, 14 have the first twice; one stretch more of it sticks out of its video.
    assert any(line.startswith("ego4d: 15 stretches that overlap one of the same label") for line in said)
    assert any("IMU rows with a NULL" in line for line in said)


def test_a_stretch_that_sticks_out_becomes_the_last_clip_of_its_video(loaded: tuple[Dataset, list[str]]) -> None:
    first = [one.samples["imu"][0, 0] for one in clips(loaded, "train-outside") if one.labels[0] == 0]
    np.testing.assert_allclose(first, [5.01, 20.01], atol=1e-3)


@pytest.mark.parametrize(
    ("stretch", "start_s"),
    [
        ((4.0, 10.0), 5.0),
        ((7.0, 7.5), 5.25),
        ((0.0, 1.0), 0.0),
        ((-5.0, 1.0), 0.0),
        ((23.0, 24.0), 20.0),
        ((24.0, 30.0), None),
        ((5.0, 5.0), None),
        ((6.0, 5.0), None),
    ],
)
def test_a_clip_is_in_the_middle_of_its_stretch_and_in_its_video(
    stretch: tuple[float, float], start_s: float | None
) -> None:
    assert clip_start_s(*stretch, duration_s=24.0) == start_s


def test_a_video_shorter_than_a_clip_has_none() -> None:
    assert clip_start_s(0.0, 3.0, duration_s=3.0) is None


def test_no_video_is_on_two_sides_and_no_person_is_both_trained_on_and_calibrated_with(
    loaded: tuple[Dataset, list[str]],
) -> None:
    made, _ = loaded
    trained, fitted, tested = made.training[0].sessions, made.calibration, made.test
    sources = [{one.source for one in part} for part in (trained, fitted, tested)]
    assert len(set.union(*sources)) == sum(map(len, sources))
    assert "ego4d both" in sources[0]
    people = [{one.subject for one in part if one.subject >= 0} for part in (trained, fitted)]
    assert not people[0] & people[1]


def test_people_who_are_in_validation_alone_are_measured_by_themselves(loaded: tuple[Dataset, list[str]]) -> None:
    made, _ = loaded
    assert 1 in {one.subject for one in made.test}
    assert made.extra[0].name == "Ego4D validation, people of no training video"
    assert {one.subject for one in made.extra[0].sessions} == {6}
    assert [test.name.rpartition("clips of ")[2] for test in made.extra[1:]] == [
        "audio + video alone",
        "imu alone",
        "imu + audio alone",
        "imu + video alone",
    ]
    assert {test.kind for test in made.extra} == {"real"}


def test_a_split_keeps_its_novel_label_out_of_training(root: Path) -> None:
    made = ego4d.load(settings(root, split=0), lambda _: None, LEAST)
    base = {int(one.labels[0]) for part in (made.training[0].sessions, made.calibration, made.test) for one in part}
    novel = {int(one.labels[0]) for one in made.novel}
    assert len(novel) == 1
    assert base | novel == {0, 1}
    assert not base & novel
    assert not {one.source for one in made.novel} & {one.source for one in made.training[0].sessions}


def test_the_same_split_has_the_same_novel_label_and_another_may_have_another(root: Path) -> None:
    where = root / "ego4d"
    parts = read_stretches(where, read_videos(where), Losses())
    chosen = [choose_labels(where, split, *parts, LEAST)[1] for split in range(8)]
    assert chosen == [choose_labels(where, split, *parts, LEAST)[1] for split in range(8)]
    assert frozenset.union(*chosen) == {"cut_bread", "wash_hands"}


def test_mmg_ego4d_in_the_schema_of_the_moments_comes_first(root: Path, tmp_path: Path) -> None:
    annotations = linked(root, tmp_path) / "v2" / "annotations"
    for part in ("train", "val"):
        text = (annotations / f"moments_{part}.json").read_text().replace("cut_bread", "slice_bread")
        (annotations / f"mmg_ego4d_{part}.json").write_text(text)
    (annotations / "mmg_ego4d_novel.txt").write_text("wash_hands\n")
    made = ego4d.load(settings(tmp_path, split=0), lambda _: None, LEAST)
    assert made.task.labels == ("slice_bread", "wash_hands")
    assert {made.task.labels[one.labels[0]] for one in made.novel} == {"wash_hands"}


def test_a_training_batch_mixes_clips_with_and_without_modalities(loaded: tuple[Dataset, list[str]]) -> None:
    made, _ = loaded
    batch = Batches(made, TrainConfig(batch=16, sequence_hops=CONTEXT_HOPS, contexts=1)).draw(0)
    assert batch.available.any(dim=0).all()
    assert not batch.available.all()


def test_the_set_is_found_by_its_name(root: Path) -> None:
    with pytest.raises(ConfigError, match="no label has 10 stretches"):
        data.load(settings(root), lambda _: None)


def test_lists_of_videos_or_clips_are_in_place_of_the_official_files(root: Path, tmp_path: Path) -> None:
    linked(root, tmp_path)
    (tmp_path / "ego4d" / "train.txt").write_text("train-ramp\nval-person-1.mp4\ntrain-nobody\nnot-downloaded\n")
    (tmp_path / "ego4d" / "fit.txt").write_text("val-stereo\nboth\n")
    (tmp_path / "ego4d" / "test.txt").write_text("train-redacted-clip\ntrain-outside\n")
    said: list[str] = []
    wanted = {"train_list": "train.txt", "validation_list": "fit.txt", "test_list": "test.txt"}
    made = ego4d.load(build(DataConfig, {"set": "ego4d", "root": str(tmp_path), **wanted}, "--set"), said.append, LEAST)
    sources = [{one.source for one in part} for part in (made.training[0].sessions, made.calibration, made.test)]
    assert sources == [
        {"ego4d train-ramp", "ego4d val-person-1", "ego4d train-nobody"},
        {"ego4d both"},
        {"ego4d train-redacted", "ego4d train-outside"},
    ]
    assert "data.train_list: 1 of 4 names are not there; the first is 'not-downloaded'" in said
    assert "that the settings name" in told(made).measured


def test_participants_may_be_named_for_the_parts(root: Path) -> None:
    wanted = {"train_people": [1, 2, 3, 4], "test_people": [5, 6]}
    made = ego4d.load(build(DataConfig, {"set": "ego4d", "root": str(root), **wanted}, "--set"), lambda _: None, LEAST)
    assert {one.subject for one in (*made.training[0].sessions, *made.calibration)} <= {1, 2, 3, 4}
    assert {one.subject for one in made.test} == {5, 6}


def linked(root: Path, to: Path) -> Path:
    """A copy of the tree whose large files are links; returns its ``ego4d``."""
    shutil.copytree(root / "ego4d" / "v2" / "annotations", to / "ego4d" / "v2" / "annotations")
    shutil.copy(root / "ego4d" / "ego4d.json", to / "ego4d" / "ego4d.json")
    for name in ("imu", "full_scale", "clips"):
        (to / "ego4d" / "v2" / name).symlink_to(root / "ego4d" / "v2" / name)
    return to / "ego4d"


@pytest.mark.parametrize(
    ("path", "text", "problem"),
    [
        ("ego4d.json", None, r"ego4d\.json: No such file"),
        ("ego4d.json", "{", r"ego4d\.json: "),
        ("ego4d.json", '{"videos": [{"duration_sec": 1}]}', r"ego4d\.json: .*video_uid"),
        ("v2/annotations/moments_train.json", None, r"moments_train\.json is in .*annotations"),
        ("v2/annotations/moments_val.json", None, r"moments_val\.json: No such file"),
        ("v2/annotations/moments_val.json", '{"videos": 3}', r"moments_val\.json: .*videos"),
        ("v2/annotations/moments_train.json", '{"videos": []}', "no label has 3 stretches in the training annotations"),
        ("v2/annotations/moments_val.json", '{"videos": []}', "no clip of .* is left for test"),
    ],
)
def test_a_broken_tree_is_named(root: Path, tmp_path: Path, path: str, text: str | None, problem: str) -> None:
    broken = linked(root, tmp_path) / path
    if text is None:
        broken.unlink()
    else:
        broken.write_text(text)
    with pytest.raises(ConfigError, match=problem):
        ego4d.load(settings(tmp_path), lambda _: None, LEAST)


def test_a_folder_without_annotations_is_named(tmp_path: Path) -> None:
    (tmp_path / "ego4d").mkdir()
    (tmp_path / "ego4d" / "ego4d.json").write_text('{"videos": []}')
    with pytest.raises(ConfigError, match="no annotations in"):
        ego4d.load(settings(tmp_path), lambda _: None, LEAST)


def test_without_pyav_the_extra_to_install_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ConfigError, match=r"pip install -e '\.\[video\]'"):
        ego4d.load(settings(root), lambda _: None, LEAST)


def test_redacted_without_saying_where_is_redacted_everywhere(root: Path, tmp_path: Path) -> None:
    path = linked(root, tmp_path) / "ego4d.json"
    said = json.loads(path.read_text())
    said["videos"][0].update({"has_redacted_regions": True, "redacted_intervals": []})
    part = {"redacted": True, "canonical_video_start_sec": 10.0, "canonical_video_end_sec": 12.0}
    said["videos"][1]["video_components"] = [part]
    path.write_text(json.dumps(said))
    videos = read_videos(tmp_path / "ego4d")
    assert videos["train-ramp"].redacted(20.0, 24.0)
    assert [videos["train-no-imu"].redacted(at_s, at_s + 4) for at_s in (6.0, 6.5, 11.5, 12.0)] == [
        False,
        True,
        True,
        False,
    ]


def test_labels_of_no_official_task_are_not_used(root: Path) -> None:
    videos = read_videos(root / "ego4d")
    for part in read_stretches(root / "ego4d", videos, Losses()):
        assert {one.label for one in part} <= {"cut_bread", "wash_hands", "rare"}


def test_an_imu_row_with_any_null_is_dropped_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "one.csv"
    rows = [
        "0,0,20,1,1,1,2,2,2",
        "0,0,NULL,1,1,1,2,2,2",
        "0,0,10,1,1,1,,2,2",
        "0,0,0,1,1,1,2,2,2",
        "0,0,10,3,3,3,4,4,4",
    ]
    path.write_text("\n".join((COLUMNS, *rows)))
    times_s, values, null = ego4d_media.read_imu(path, [0.0])
    assert times_s.tolist() == [0.0, 0.01, 0.02]
    assert values[:, 0].tolist() == [2, 4, 2]
    assert null == 2


def test_a_clip_may_miss_a_tenth_of_a_second_of_imu_and_no_more() -> None:
    times_s = np.arange(0.0, 4.0, 0.005)
    values = np.ones((len(times_s), 6), np.float32)
    for gone, whole in (((2.0, 2.09), True), ((2.0, 2.11), False), ((3.91, 4.0), True), ((3.8, 4.0), False)):
        kept = (times_s < gone[0]) | (times_s >= gone[1])
        made = ego4d_media.cut_imu(times_s[kept], values[kept])
        assert (made is not None) == whole
        assert made is None or made.shape == (200, 6)
    assert ego4d_media.cut_imu(times_s[:0], values[:0]) is None
