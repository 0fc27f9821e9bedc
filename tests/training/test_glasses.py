"""ClassyGlass as sessions: which label each kind has, who is held out, and what is in no training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mmg.errors import ConfigError
from mmg_training.data import glasses
from mmg_training.data.sessions import UNLABELLED
from mmg_training.task import Task
from recordings import real

PLAIN = Task("plain", ("still", "walking", "running", "stairs"))
FINE = Task("fine", ("still", "desk_work", "writing", "picking_up", "walking"))
ALL = (*glasses.KINDS, *glasses.NEAR_UNKNOWN)


def write(folder: Path, users: tuple[int, ...] = (1, 3), samples: int = 800) -> Path:
    """Every kind once of each user."""
    imu = np.ones((samples, 6), np.float16)
    named = {f"u{user:03}_{n:03}_{kind}": imu for user in users for n, kind in enumerate(ALL)}
    np.savez(folder / "recordings.npz", **named)
    return folder


def test_a_kind_has_the_finest_label_that_the_task_has(tmp_path: Path) -> None:
    plain, fine = (glasses.load(write(tmp_path), task) for task in (PLAIN, FINE))

    def label(task: Task, kind: str) -> str:
        index = (plain if task is PLAIN else fine)[kind][0].labels[0]
        return "" if index == UNLABELLED else task.labels[index]

    assert [label(PLAIN, kind) for kind in ("reading", "writing", "standing", "stairs")] == ["still"] * 3 + ["stairs"]
    assert [label(FINE, kind) for kind in ("reading", "writing", "standing")] == ["desk_work", "writing", "still"]
    assert [label(PLAIN, kind) for kind in ("picking_up_seated", "sit_to_stand", "moving_head")] == [""] * 3
    assert label(FINE, "picking_up_seated") == "picking_up"


def test_held_out_people_and_near_unknowns_are_in_no_training(tmp_path: Path) -> None:
    recorded = glasses.load(write(tmp_path), PLAIN)
    trained = glasses.training(recorded)
    assert {one.subject for one in trained} == {1}
    assert {one.source.removeprefix("classyglass ") for one in trained} == set(glasses.KINDS)
    unknown = glasses.near_unknown(recorded)
    assert {one.source.removeprefix("classyglass ") for one in unknown} == set(glasses.NEAR_UNKNOWN)
    assert {one.subject for one in (*unknown, *glasses.test(recorded))} == {3}
    assert all(one.labels[0] != UNLABELLED for one in glasses.test(recorded))


def test_kinds_are_classes_of_their_own_where_asked(tmp_path: Path) -> None:
    kinds = Task("kinds", tuple(glasses.KINDS))
    sessions = glasses.by_kind(glasses.load(write(tmp_path), PLAIN), kinds)
    assert [kinds.labels[one.labels[0]] for one in sessions] == list(glasses.KINDS)


def test_both_ends_of_a_file_are_left_out_and_a_short_one_is_empty(tmp_path: Path) -> None:
    walk = glasses.load(write(tmp_path), PLAIN)["walking"][0]
    assert walk.samples["imu"].shape == (500, 6)
    assert walk.hops == 20
    assert glasses.load(write(tmp_path, samples=200), PLAIN)["walking"][0].hops == 0


@pytest.mark.parametrize(("key", "value"), [("walking", 1.0), ("u001_001_flying", 1.0), ("u001_001_walking", np.nan)])
def test_what_is_no_recording_of_a_known_kind_is_refused_by_name(tmp_path: Path, key: str, value: float) -> None:
    np.savez(tmp_path / "recordings.npz", **{key: np.full((800, 6), value, np.float16)})
    with pytest.raises(ConfigError, match=key):
        glasses.load(tmp_path, PLAIN)


def test_ten_people_of_the_real_set_are_held_out() -> None:
    recorded = glasses.load(real("classyglass/recordings.npz").parent, PLAIN)
    everyone = {one.subject for sessions in recorded.values() for one in sessions}
    assert len(everyone) == 48
    assert {one.subject for one in glasses.test(recorded)} == set(glasses.TEST_USERS)
    assert len({one.subject for one in glasses.training(recorded)}) == 38
