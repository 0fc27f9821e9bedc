"""Class-paired clips: IMU and sound of one class, each from its own side of the split, and never called recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmg.errors import ConfigError
from mmg_training import data
from mmg_training.config import DataConfig
from mmg_training.data import motion, paired
from mmg_training.data.sessions import Dataset, Session
from mmg_training.task import AUDIO_HZ, CONTEXT_HOPS, IMU_HZ
from numpy.typing import NDArray
from recordings import DATA, real


@pytest.fixture(scope="module")
def loaded() -> tuple[Dataset, list[str]]:
    for name in ("sp-sw-har", "footsteps", "esc10"):
        real(name)
    said: list[str] = []
    return data.load(DataConfig(set="paired", root=str(DATA)), said.append), said


def test_every_clip_has_both_for_four_seconds(loaded: tuple[Dataset, list[str]]) -> None:
    made, _ = loaded
    assert made.task.labels == ("still", "walking")
    for one in (*made.training[0].sessions, *made.calibration, *made.test):
        assert one.hops == CONTEXT_HOPS
        assert len(set(one.labels.tolist())) == 1
        assert {name: (array.shape, array.dtype.name) for name, array in one.samples.items()} == {
            "imu": ((200, 6), "float32"),
            "audio": ((64000,), "int16"),
        }


def test_each_part_has_a_fair_number_of_both_classes(loaded: tuple[Dataset, list[str]]) -> None:
    made, _ = loaded
    for part in (made.training[0].sessions, made.calibration, made.test):
        assert min(np.bincount([one.labels[0] for one in part], minlength=2)) >= 20


def test_walking_moves_and_being_still_does_not(loaded: tuple[Dataset, list[str]]) -> None:
    made, _ = loaded
    spread: tuple[list[float], list[float]] = ([], [])
    for one in made.training[0].sessions:
        spread[int(one.labels[0])].append(float(np.linalg.norm(one.samples["imu"][:, :3], axis=1).std()))
    assert np.median(spread[1]) > 5 * np.median(spread[0])


def test_it_says_everywhere_that_it_is_class_paired(loaded: tuple[Dataset, list[str]]) -> None:
    made, said = loaded
    sessions = (*made.training[0].sessions, *made.calibration, *made.test)
    assert all(one.source.startswith("class-paired ") for one in sessions)
    assert all(source.what.startswith("class-paired: ") for source in made.sources)
    assert "class-paired, not recorded together" in made.held_out
    assert made.training[0].name == "class-paired"
    assert "not recorded together" in said[-1]


def test_what_is_measured_has_each_imu_clip_once(loaded: tuple[Dataset, list[str]]) -> None:
    made, _ = loaded
    assert len({one.samples["imu"].tobytes() for one in made.test}) == len(made.test)
    counts = np.unique([one.samples["imu"].tobytes() for one in made.training[0].sessions], return_counts=True)[1]
    assert set(counts) == {paired.PAIRS_EACH}


def test_the_pairs_are_the_same_at_every_load() -> None:
    imu = recording("sp-sw-har watch", 1, "walking", {"imu": np.zeros((10 * IMU_HZ, 6), np.float32)}, 10)
    steps = [
        recording("footsteps", 0, "walking", {"audio": np.full(12 * AUDIO_HZ, number, np.int16)}, 12)
        for number in range(5)
    ]
    first, second = paired.pair([imu], steps, 3), paired.pair([imu], steps, 3)
    assert len(first) == 6
    assert [one.samples["audio"][0] for one in first] == [one.samples["audio"][0] for one in second]


def test_a_short_still_stretch_is_played_to_and_fro() -> None:
    moved = np.arange(IMU_HZ, dtype=np.float32)[:, None] * np.ones((1, 6), np.float32)
    imu = recording("sp-sw-har watch", 1, "still", {"imu": moved}, 1)
    around = recording("esc10", 0, "still", {"audio": np.zeros(10 * AUDIO_HZ, np.int16)}, 10)
    (made,) = paired.pair([imu], [around], 1)
    ramp = np.arange(IMU_HZ)
    assert made.samples["imu"][:, 0].tolist() == [*ramp, *ramp[::-1], *ramp, *ramp[::-1]]


def test_other_activities_are_not_paired() -> None:
    imu = recording("sp-sw-har watch", 1, "sitting_down", {"imu": np.zeros((10 * IMU_HZ, 6), np.float32)}, 10)
    assert paired.pair([imu], [], 1) == ()


def test_the_subjects_to_test_are_those_of_the_set() -> None:
    assert (*paired.FITTED_SUBJECTS, *paired.MEASURED_SUBJECTS) == motion.TEST_SUBJECTS


def test_a_set_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no sp-sw-har in"):
        data.load(DataConfig(set="paired", root=str(tmp_path)), lambda _: None)


def recording(source: str, subject: int, label: str, samples: dict[str, NDArray[Any]], seconds: int) -> Session:
    return Session(source, subject, np.full(4 * seconds + 1, paired.READ.labels.index(label), np.int16), samples)
