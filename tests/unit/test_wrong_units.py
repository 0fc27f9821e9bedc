"""The seeded faults in short, over the recording that mmg carries: told in time, and not doubted as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mmg import Bundle
from mmg.bundle import Modality
from mmg_tools.wrong_units.__main__ import LEAST_TOLD, Figures, is_told, main, try_faults, try_healthy, try_small
from mmg_tools.wrong_units.faults import SCALES, Fault, scaled
from mmg_tools.wrong_units.recordings import Person, load


@pytest.fixture(scope="module")
def imu() -> Modality:
    with Bundle.open("starter") as bundle:
        return bundle.manifest.modality("imu")


@pytest.fixture(scope="module")
def demo() -> list[Person]:
    return load("demo", Path())


def test_seeded_faults_over_the_demo_are_told_before_the_third_decision(imu: Modality, demo: list[Person]) -> None:
    figures = Figures(seed=3)
    made = try_faults(demo, 30, imu, figures, lambda _: None)
    assert len({fault.name for _, fault in made}) >= 12
    assert figures.told >= LEAST_TOLD * figures.faults, figures.untold


@pytest.mark.parametrize("name", SCALES)
def test_every_wrong_scale_is_told(imu: Modality, demo: list[Person], name: str) -> None:
    assert is_told(demo[0], Fault(name, "scale", scaled(*SCALES[name])), imu)


def test_every_smaller_fault_of_the_demo_is_told_but_of_gyroscopes_that_are_off_by_less_than_a_few_times(
    imu: Modality, demo: list[Person]
) -> None:
    figures = Figures(seed=0)
    try_small(demo, imu, figures, lambda _: None)
    untold = [name for name, one in figures.small.items() if not one["told"]]
    assert all(name.startswith("gyroscope times ") for name in untold)
    assert {"gyroscope times 0.1", "gyroscope times 10"}.isdisjoint(untold)


def test_the_demo_as_it_is_is_not_doubted(imu: Modality, demo: list[Person]) -> None:
    figures = Figures(seed=0)
    try_healthy("demo", demo, imu, figures, lambda _: None)
    assert (figures.doubted, figures.healthy) == ([], {"demo": 1})


def test_the_same_seed_makes_the_same_faults(imu: Modality, demo: list[Person]) -> None:
    one, other = (
        [fault.name for _, fault in try_faults(demo, 5, imu, Figures(seed=7), lambda _: None)] for _ in range(2)
    )
    assert one == other


def test_the_command_prints_an_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--sets", "demo", "--faults", "4", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["faults"], printed["told"], printed["healthy"]) == (4, 4, {"demo": 1})


def test_a_missing_set_is_one_line_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--sets", "sp-sw-har", "--data", str(tmp_path)]) == 2
    assert "there is no" in capsys.readouterr().err
