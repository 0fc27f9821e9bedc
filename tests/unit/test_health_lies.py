"""An IMU that lies a little, or from its first hop on: told soon, told steadily, and a healthy one left alone."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import G_M_S2, signal_modality
from mmg.engine.health import WELL, Health, ReadAs, Verdict
from mmg.streams import Hop
from motions import Samples, first, hops, judge, scaled, wear

IMU = signal_modality()
DEGREE = np.pi / 180
SCALE_HOPS = 20
"""A scale that begins while the wearer moves is told within so many."""


def is_told(verdict: Verdict) -> bool:
    return verdict.state != "live"


def still(seconds: float, *, seed: int = 0) -> Samples:
    return wear(seconds, turn=0.0, push=0.0, seed=seed)


# --- scales --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.75, 0.8, 1.15, 1.25, 1.3, 1.35, 1.4, 1.5])
def test_a_scale_that_is_off_by_less_than_a_unit_is_told_of_the_first_hop_at_rest_and_stays_told(factor: float) -> None:
    verdicts = judge(IMU, hops(scaled(np.concatenate([still(4), wear(30)]), factor)))
    assert all(map(is_told, verdicts))
    assert f"{factor * G_M_S2:.2g}"[:1] in verdicts[-1].reason


@pytest.mark.parametrize("factor", [0.7, 0.8, 1.4, 1.5])
def test_a_scale_that_begins_while_the_wearer_moves_is_told_and_stays_told(factor: float) -> None:
    right = hops(wear(30))
    verdicts = judge(IMU, [*right, *hops(scaled(wear(40, seed=1), factor))])
    assert set(verdicts[: len(right)]) == {WELL}
    began = first(verdicts, is_told)
    assert len(right) <= began < len(right) + SCALE_HOPS
    assert all(map(is_told, verdicts[began:]))


@pytest.mark.parametrize("factor", [0.8, 1.5])
def test_a_scale_that_was_put_right_is_no_longer_told(factor: float) -> None:
    wrong = hops(scaled(wear(30), factor))
    verdicts = judge(IMU, [*wrong, *hops(wear(40, turn=0.5, push=1.0, seed=1))])
    assert is_told(verdicts[len(wrong) - 1])
    assert verdicts[-1] == WELL


# --- first hops ----------------------------------------------------------------------------------------------------

UNLIKELY = {
    "g": (1 / G_M_S2, 1.0),
    "mg": (1000 / G_M_S2, 1.0),
    "counts": (16384 / G_M_S2, 131 / DEGREE),
}


@pytest.mark.parametrize("unit", UNLIKELY)
@pytest.mark.parametrize("push", [0.0, 2.0])
def test_what_no_wearer_shows_is_told_of_the_first_hop(unit: str, push: float) -> None:
    verdicts = judge(IMU, hops(scaled(wear(20, turn=push / 4, push=push), *UNLIKELY[unit])))
    assert all(map(is_told, verdicts))
    assert verdicts[-1].state == "faulty"


def test_a_fall_and_a_blow_in_the_first_hop_are_forgiven() -> None:
    samples = wear(20)
    samples[:10, :3] *= 0.1
    samples[10:14, :3] += 60.0
    assert judge(IMU, hops(samples))[-1] == WELL


# --- channels ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", range(6))
@pytest.mark.parametrize("turn", [0.0, 1.0])
def test_an_axis_without_noise_beside_two_with_it_is_told_within_three_hops(axis: int, turn: float) -> None:
    samples = wear(20, turn=turn, push=turn)
    samples[:, axis] = samples[0, axis]
    verdicts = judge(IMU, hops(samples))
    assert first(verdicts, is_told) <= 2
    assert "is stuck at" in verdicts[2].reason


def test_a_coarse_sensor_at_rest_has_no_stuck_axis() -> None:
    samples = wear(60, turn=0.02, push=0.1)
    samples[:, :3] = np.round(samples[:, :3] / (G_M_S2 / 64)) * (G_M_S2 / 64)
    samples[:, 3:] = np.round(samples[:, 3:] * 100) / 100
    assert set(judge(IMU, hops(samples))) == {WELL}


# --- rows ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "turn"), [(4, 0.0), (4, 1.0), (5, 0.0), (5, 1.0), (12, 0.0), (12, 1.0), (25, 1.0)])
def test_values_that_come_in_steps_are_told_soon_and_for_as_long(rows: int, turn: float) -> None:
    samples = wear(30, turn=turn, push=2 * turn)
    held = np.repeat(samples[::rows], rows, axis=0)[7 : len(samples)]
    verdicts = judge(IMU, hops(held))
    began = first(verdicts, is_told)
    assert began <= (2 if rows < 12 else 8)
    assert all(map(is_told, verdicts[began:]))


def test_steps_are_forgiven_once_they_are_gone() -> None:
    samples = wear(30)
    verdicts = judge(IMU, [*hops(np.repeat(samples[::5], 5, axis=0)), *hops(samples)])
    assert is_told(verdicts[59])
    assert verdicts[-1] == WELL


def test_two_rows_at_full_scale_are_told_of_the_first_hop() -> None:
    samples = wear(10)
    samples[[5, 16], :3] = 78.4
    verdicts = judge(IMU, hops(samples))
    assert verdicts[0].state == "doubted"
    assert "spikes" in verdicts[0].reason


def test_spikes_in_two_of_four_hops_are_told_and_stay_told_while_they_come() -> None:
    samples = wear(40)
    samples[60::75, :3] = 78.4
    verdicts = judge(IMU, hops(samples))
    assert first(verdicts, is_told) == 5
    assert all(map(is_told, verdicts[5:]))


# --- the gyroscope -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gyro", [1 / DEGREE, 1000.0])
@pytest.mark.parametrize("turn", [0.0, 0.5])
def test_a_gyroscope_that_turns_far_too_much_is_told_of_the_first_hop(gyro: float, turn: float) -> None:
    samples = wear(20, turn=turn, push=4 * turn)
    samples[:, 3:] += np.array([0.03, -0.01, 0.03], np.float32)
    verdicts = judge(IMU, hops(scaled(samples, gyro=gyro)))
    assert first(verdicts, is_told) <= 1
    assert verdicts[-1].state == "faulty"


def test_a_gyroscope_at_full_scale_is_told_of_the_first_hop() -> None:
    samples = wear(5)
    samples[:, 3:] = 34.9
    assert all(verdict.state == "faulty" for verdict in judge(IMU, hops(samples)))


@pytest.mark.parametrize("offset", [0.5, 1.0])
def test_a_gyroscope_with_an_offset_is_doubted_through_motion_and_until_it_goes(offset: float) -> None:
    biased = np.concatenate([still(4), wear(20), still(4, seed=1)])
    biased[:, 3] += offset
    verdicts = judge(IMU, [*hops(biased), *hops(still(10, seed=2))])
    began = first(verdicts, is_told)
    assert began <= 2
    assert all("rad/s at rest: is it calibrated?" in verdict.reason for verdict in verdicts[began:56])
    assert verdicts[-1] == WELL


def test_one_who_turns_on_a_chair_has_no_offset() -> None:
    samples = still(20)
    samples[:, 3:] += samples[:, :3] / G_M_S2
    assert set(judge(IMU, hops(samples))) == {WELL}


def test_a_gyroscope_that_reads_zeros_from_a_moment_on_is_told_until_it_reads_again() -> None:
    samples = wear(40)
    samples[1000:1500, 3:] = 0.0
    verdicts = judge(IMU, hops(samples))
    assert set(verdicts[:40]) == {WELL}
    assert all("nothing but zeros" in verdict.reason for verdict in verdicts[41:60])
    assert verdicts[-1] == WELL


def test_zeros_are_told_of_a_file_with_columns_for_them_and_of_no_accelerometer_alone() -> None:
    samples = wear(10) * np.array([1] * 3 + [0] * 3, np.float32)
    assert set(judge(IMU, hops(samples))) == {WELL}
    assert "nothing but zeros" in judge(IMU, hops(samples), ReadAs(gives_gyro=True))[-1].reason


@pytest.mark.parametrize("away", [[None], [], [None, None]], ids=["a hop that is not whole", "none", "two"])
def test_a_turn_that_nobody_saw_is_not_held_against_the_gyroscope(away: list[None]) -> None:
    """A run is paused, or the cable is out, and meanwhile the sensor is laid down another way."""
    before, after = hops(still(4)), still(20, seed=1)
    after[:, :3] = after[:, [2, 0, 1]]  # gravity is along another axis
    begin = len(before) + len(away) + (not away) * 1000
    made = [*enumerate([*before, *away]), *enumerate(hops(after), begin)]
    health = Health(IMU)
    assert {health.judge(Hop(index, part, 0, 0, IMU.rate_hz)) for index, part in made} == {WELL}
    assert judge(IMU, [*before, *hops(after)])[-1].state == "faulty"
