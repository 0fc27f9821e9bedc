"""ClassyGlass as sessions: which label each kind has, who is held out, and what is in no training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmg.errors import ConfigError
from mmg_training.data import glasses
from mmg_training.data.sessions import UNLABELLED
from mmg_training.task import Task
from recordings import real

LABELS = ("still", "walking", "running", "stairs")
KINDS = glasses.kinds_of(LABELS)
TASK = Task("glasses", LABELS, kinds=tuple(KINDS), kinds_of=tuple(KINDS.values()))
ALL = (*glasses.KINDS, *glasses.NEAR_UNKNOWN)


def write(folder: Path, users: tuple[int, ...] = (1, 3), samples: int = 800) -> Path:
    """Every kind once of each user."""
    imu = np.ones((samples, 6), np.float16)
    named: dict[str, Any] = {f"u{user:03}_{n:03}_{kind}": imu for user in users for n, kind in enumerate(ALL)}
    np.savez(folder / "recordings.npz", **named)
    return folder


def test_a_kind_is_a_class_of_its_own_and_has_a_label_where_it_is_one(tmp_path: Path) -> None:
    recorded, classes = glasses.load(write(tmp_path), TASK), (*TASK.labels, *TASK.kinds)

    def told(kind: str) -> tuple[str, str]:
        session = recorded[kind][0]
        index = session.of_labels(TASK).labels[0]
        return classes[session.labels[0]], "" if index == UNLABELLED else LABELS[index]

    assert told("walking") == ("walking", "walking")
    assert told("stairs") == ("stairs", "stairs")
    assert told("typing") == ("head typing", "still")
    assert told("standing") == ("head standing", "still")
    assert told("picking_up_seated") == ("head picking_up_seated", "")
    assert all((one.labels == UNLABELLED).all() for kind in glasses.NEAR_UNKNOWN for one in recorded[kind])


def test_held_out_people_and_near_unknowns_are_in_no_training(tmp_path: Path) -> None:
    recorded = glasses.load(write(tmp_path, users=(1, 3, 5)), TASK)
    trained = glasses.training(recorded)
    assert {one.subject for one in trained} == {1}
    assert {one.source.removeprefix("classyglass ") for one in trained} == set(glasses.KINDS)
    unknown = glasses.of_users(recorded, glasses.TEST_USERS, glasses.NEAR_UNKNOWN)
    assert {(one.subject, one.source.removeprefix("classyglass ")) for one in unknown} == {
        (3, kind) for kind in glasses.NEAR_UNKNOWN
    }
    assert not set(glasses.TEST_USERS) & set(glasses.CALIBRATION_USERS)


def test_both_ends_of_a_file_are_left_out_and_a_short_one_is_empty(tmp_path: Path) -> None:
    walk = glasses.load(write(tmp_path), TASK)["walking"][0]
    assert walk.samples["imu"].shape == (500, 6)
    assert walk.hops == 20
    assert glasses.load(write(tmp_path, samples=200), TASK)["walking"][0].hops == 0


@pytest.mark.parametrize(("key", "value"), [("walking", 1.0), ("u001_001_flying", 1.0), ("u001_001_walking", np.nan)])
def test_what_is_no_recording_of_a_known_kind_is_refused_by_name(tmp_path: Path, key: str, value: float) -> None:
    arrays: dict[str, Any] = {key: np.full((800, 6), value, np.float16)}
    np.savez(tmp_path / "recordings.npz", **arrays)
    with pytest.raises(ConfigError, match=key):
        glasses.load(tmp_path, TASK)


def test_of_the_real_set_ten_people_are_held_out_and_five_calibrate() -> None:
    recorded = glasses.load(real("classyglass/recordings.npz").parent, TASK)
    everyone = {one.subject for sessions in recorded.values() for one in sessions}
    assert len(everyone) == 48
    assert {one.subject for one in glasses.of_users(recorded, glasses.TEST_USERS, ALL)} == set(glasses.TEST_USERS)
    assert len({one.subject for one in glasses.training(recorded)}) == 33
