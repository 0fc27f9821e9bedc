"""An IMU that lies: units, stuck axes, values held, spikes. What is told, with which advice, and what is left alone."""

from __future__ import annotations

import re

import numpy as np
import pytest
from fakes import G_M_S2, signal_modality
from fuzzing import times
from hypothesis import given, settings
from hypothesis import strategies as st
from mmg.engine.health import WELL, Health, ReadAs, Verdict
from mmg.streams import Hop
from motions import HOP_ROWS, RATE_HZ, Samples, first, hops, judge, scaled, wear

IMU = signal_modality()
DEGREE = np.pi / 180
FILE = ReadAs(
    options={"acc_unit": ("m/s2", "g", "mg", "g/64"), "gyro_unit": ("rad/s", "deg/s", "mdeg/s")}, has_scale=True
)
TOLD_WITHIN, LIFTED_WITHIN = 12, {"acceleration": 16, "gyro": 30}
SEEN = 6
"""Hops."""
CLIPPED_AT_150 = " of its samples are clipped at 150 m/s^2"


def is_faulty(verdict: Verdict) -> bool:
    return verdict.state == "faulty"


def still(seconds: float, *, seed: int = 0) -> Samples:
    return wear(seconds, turn=0.0, push=0.0, seed=seed)


# --- units ---------------------------------------------------------------------------------------------------------

SCALES = [
    (1 / 3, "acc_scale=3"),
    (1 / G_M_S2, "acc_unit=g"),
    (64 / G_M_S2, "acc_unit=g/64"),
    (2.0, "acc_scale=0.5"),
    (1000 / G_M_S2, "acc_unit=mg"),
    (16384 / G_M_S2, "acc_scale=0.0005986"),
]


@pytest.mark.parametrize(("factor", "remedy"), SCALES)
def test_gravity_of_a_wrong_length_is_told_with_what_would_mend_it(factor: float, remedy: str) -> None:
    calm = np.concatenate([still(5), wear(10)])
    verdicts = judge(IMU, hops(scaled(calm, factor)), FILE)
    assert first(verdicts, is_faulty) < TOLD_WITHIN
    for verdict in verdicts[TOLD_WITHIN:]:
        told = re.fullmatch(r"gravity reads (\S+) m/s\^2: wrong unit\? Add (\S+) to its URL", verdict.reason)
        assert told is not None, verdict.reason
        assert float(told[1]) == pytest.approx(factor * G_M_S2, rel=0.05)
        assert told[2] == remedy


@pytest.mark.parametrize("factor", [1 / 3, 1 / G_M_S2, 2.0, 64 / G_M_S2])
def test_gravity_of_a_wrong_length_is_told_of_a_wearer_who_never_rests(factor: float) -> None:
    verdicts = judge(IMU, hops(scaled(wear(20, turn=1.5, push=5.0), factor)), FILE)
    assert first(verdicts, is_faulty) < 2 * TOLD_WITHIN
    assert all("gravity reads" in verdict.reason for verdict in verdicts[2 * TOLD_WITHIN :])


def test_what_was_read_as_g_and_is_si_is_told_to_be_si() -> None:
    read_as = ReadAs(taken={"acc_unit": "g"}, options=FILE.options, has_scale=True)
    verdicts = judge(IMU, hops(scaled(wear(20), G_M_S2)), read_as)
    assert "Add acc_unit=m/s2 to its URL" in verdicts[-1].reason


def test_a_unit_that_the_header_gives_is_never_advised_against() -> None:
    read_as = ReadAs(declared={"acc_unit": "m/s2", "gyro_unit": "rad/s"}, options=FILE.options, has_scale=True)
    verdicts = judge(IMU, hops(scaled(wear(20), 1 / G_M_S2, 1 / DEGREE)), read_as)
    assert "though its unit is given as m/s2 (acc_unit=g would explain it)" in verdicts[-1].reason
    assert "though its unit is given as rad/s (gyro_unit=deg/s would explain it)" in verdicts[-1].reason
    assert "Add" not in verdicts[-1].reason


def test_a_header_that_says_g_of_si_values_is_told_with_the_unit_that_explains_them() -> None:
    read_as = ReadAs(declared={"acc_unit": "g"}, options=FILE.options, has_scale=True)
    verdicts = judge(IMU, hops(scaled(still(10), G_M_S2)), read_as)
    assert verdicts[-1].reason.endswith("though its unit is given as g (acc_unit=m/s2 would explain it)")


@pytest.mark.parametrize(("scale", "named"), [(1.15, "0.87"), (1.3, "0.769"), (1.5, "0.667"), (0.75, "1.33")])
def test_a_scale_of_a_steady_gravity_is_named_and_no_unit_against_a_header(scale: float, named: str) -> None:
    read_as = ReadAs(declared={"acc_unit": "m/s2"}, options=FILE.options, has_scale=True)
    reason = judge(IMU, hops(scaled(still(10), scale)), read_as)[-1].reason
    assert reason.endswith(f" (acc_scale={named} would heal it)")
    assert "acc_unit=" not in reason
    assert "acc_scale" not in judge(IMU, hops(scaled(still(10), scale)))[-1].reason


def test_a_scale_that_is_neither_unit_nor_calibration_is_told_of_a_header_without_an_option() -> None:
    read_as = ReadAs(declared={"acc_unit": "m/s2"}, options=FILE.options, has_scale=True)
    assert judge(IMU, hops(scaled(still(10), 2.5)), read_as)[-1].reason.endswith("though its unit is given as m/s2")


def test_a_source_without_such_options_is_not_told_to_use_them() -> None:
    verdicts = judge(IMU, hops(scaled(wear(20), 1 / G_M_S2)), ReadAs(options={}))
    assert verdicts[-1].reason.endswith("wrong unit?")


def test_degrees_are_told_and_named_while_the_wearer_moves() -> None:
    verdicts = judge(IMU, hops(scaled(wear(20, turn=0.5), gyro=1 / DEGREE)))
    assert first(verdicts, is_faulty) < TOLD_WITHIN
    assert all("times as much as gravity does: wrong unit? Add gyro_unit=deg/s" in v.reason for v in verdicts[-20:])


def test_a_still_wearer_whose_gyroscope_turns_is_a_contradiction() -> None:
    noisy = still(20)
    noisy[:, 3:] = np.random.default_rng(0).normal(0, 3.0, (len(noisy), 3))
    verdicts = judge(IMU, hops(noisy))
    assert "gyroscope turns" in verdicts[-1].reason


def test_a_gyroscope_faster_than_any_is_told_before_gravity_moved() -> None:
    fast = still(4)
    fast[:, 3:] = np.random.default_rng(0).uniform(40, 60, (len(fast), 3)) * fast[:, :3] / G_M_S2
    verdicts = judge(IMU, hops(fast))
    assert first(verdicts, is_faulty) == 3
    assert "its gyroscope turns" in verdicts[3].reason
    assert "gyro_unit=deg/s" in verdicts[3].reason


def test_radians_that_were_taken_for_degrees_are_told() -> None:
    read_as = ReadAs(taken={"gyro_unit": "deg/s"}, options=FILE.options, has_scale=True)
    verdicts = judge(IMU, hops(scaled(wear(30), gyro=DEGREE)), read_as)
    assert is_faulty(verdicts[-1])
    assert "while its gyroscope turns by" in verdicts[-1].reason
    assert "Add gyro_unit=rad/s to its URL" in verdicts[-1].reason


@pytest.mark.parametrize("unit", ["gyro", "acceleration"])
def test_a_wrong_unit_stays_wrong_through_calm_and_until_it_is_right(unit: str) -> None:
    acceleration, gyro = (1 / G_M_S2, 1.0) if unit == "acceleration" else (1.0, 1 / DEGREE)
    wrong = [*hops(scaled(wear(15), acceleration, gyro)), *hops(scaled(still(60), acceleration, gyro))]
    right = hops(wear(30, seed=1))
    verdicts = judge(IMU, [*wrong, *right])
    began = first(verdicts, is_faulty)
    assert began < TOLD_WITHIN
    assert all(map(is_faulty, verdicts[began : len(wrong)]))
    lifted = first(verdicts[len(wrong) :], lambda verdict: verdict == WELL)
    assert 2 <= lifted < LIFTED_WITHIN[unit]
    assert all(verdict == WELL for verdict in verdicts[len(wrong) + lifted :])


def test_a_unit_that_becomes_wrong_on_the_way_is_told() -> None:
    right = hops(np.concatenate([wear(40), still(5)]))
    verdicts = judge(IMU, [*right, *hops(scaled(wear(20, seed=1), 2.0, 1 / DEGREE))])
    assert set(verdicts[: len(right)]) == {WELL}
    assert not any(re.search(r"gravity reads 9\.|acc_unit=m/s2", verdict.reason) for verdict in verdicts)
    assert "gravity reads" in verdicts[-1].reason
    assert "gyroscope turns" in verdicts[-1].reason


@pytest.mark.parametrize("seconds", [3, 5, 8])
@pytest.mark.parametrize("factor", [1 / G_M_S2, 2.5])
@pytest.mark.fuzz
def test_a_unit_that_is_right_again_is_soon_so_and_its_gravity_is_never_called_wrong(
    factor: float, seconds: int
) -> None:
    for seed in range(times(2)):
        before, after = still(10, seed=seed), wear(20, push=6.0, seed=seed)
        for calm in (3, 4, 5):
            right = [*hops(still(calm / 2, seed=seed)), *hops(after)]
            verdicts = judge(IMU, [*hops(before), *hops(scaled(still(seconds), factor)), *right])
            assert all(map(is_faulty, verdicts[20 + SEEN : 20 + 2 * seconds]))
            assert not any(map(is_faulty, verdicts[20 + 2 * seconds + SEEN :]))
            told = re.findall(r"gravity reads (\S+) m/s\^2: wrong", " ".join(verdict.reason for verdict in verdicts))
            assert not any(0.8 <= float(length) / G_M_S2 <= 1.25 for length in told)


@pytest.mark.parametrize("push", [2.0, 8.0, 15.0])
def test_acceleration_without_gravity_is_told_as_that_and_never_as_a_unit(push: float) -> None:
    linear = wear(30, push=push)
    linear[:, :3] -= wear(30, push=0.0, noise=0.0)[:, :3]
    verdicts = judge(IMU, hops(linear), FILE)
    assert "this is acceleration without gravity" in verdicts[-1].reason
    assert not any("acc_unit" in verdict.reason or "acc_scale" in verdict.reason for verdict in verdicts)


def test_the_sensors_swapped_are_told() -> None:
    assert is_faulty(judge(IMU, hops(wear(20)[:, [3, 4, 5, 0, 1, 2]]))[-1])


@pytest.mark.parametrize(("factor", "state"), [(0.95, "live"), (1.05, "live"), (0.85, "doubted"), (1.18, "doubted")])
def test_a_sensor_that_is_badly_calibrated_is_doubted_and_decided(factor: float, state: str) -> None:
    verdict = judge(IMU, hops(scaled(still(10), factor)))[-1]
    assert verdict.state == state
    assert state == "live" or "gravity at rest reads" in verdict.reason


def test_impossible_acceleration_is_told_of_the_first_hop() -> None:
    verdicts = judge(IMU, hops(scaled(wear(3), 1e6)))
    assert first(verdicts, is_faulty) == 0
    assert "acceleration reads" in verdicts[0].reason


# --- channels ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [0.0, 0.5])
@pytest.mark.parametrize("axis", range(6))
def test_an_axis_that_is_stuck_while_the_others_move_is_named(axis: int, noise: float) -> None:
    samples = wear(15)
    level = (0.02, 0.003)[axis // 3] * noise
    samples[:, axis] = samples[0, axis] + np.random.default_rng(0).normal(0, level, len(samples))
    verdicts = judge(IMU, hops(samples))
    assert first(verdicts, lambda verdict: verdict.state == "doubted") < TOLD_WITHIN
    assert f"{('ax', 'ay', 'az', 'gx', 'gy', 'gz')[axis]} is stuck at" in verdicts[-1].reason


def test_an_axis_that_is_stuck_to_the_last_bit_is_named_where_only_one_other_moves_much() -> None:
    times_s = np.arange(20 * RATE_HZ) / RATE_HZ
    samples = still(20)
    samples[:, 0] = 5.0
    samples[:, 1] += (0.25 * np.sin(2 * np.pi * 4 * times_s)).astype(np.float32)
    samples[:, 2] += (0.9 * np.cos(2 * np.pi * 4 * times_s)).astype(np.float32)
    verdicts = judge(IMU, hops(samples))
    assert first(verdicts, lambda verdict: verdict.state == "doubted") < TOLD_WITHIN
    assert "ax is stuck at 5 " in verdicts[-1].reason


@pytest.mark.parametrize(("sensor", "value", "name"), [(1, 34.9, "gyroscope"), (1, 0.1, "gyroscope"), (0, 5.0, "acc")])
def test_a_whole_sensor_that_is_stuck_is_named(sensor: int, value: float, name: str) -> None:
    samples = wear(15)
    samples[:, 3 * sensor : 3 * sensor + 3] = value
    verdicts = judge(IMU, hops(samples))
    assert f"its {name}" in verdicts[-1].reason
    assert "stuck at" in verdicts[-1].reason


def test_a_gyroscope_at_full_scale_is_told_of_a_still_wearer() -> None:
    samples = still(10)
    samples[:, 4] = 34.9
    assert "gy is stuck at 34.9" in judge(IMU, hops(samples))[-1].reason


def test_a_stuck_axis_that_moves_again_is_well() -> None:
    stuck = wear(10)
    stuck[:, 1] = 0.0
    verdicts = judge(IMU, [*hops(stuck), *hops(wear(10, seed=1))])
    assert verdicts[19].state == "doubted"
    assert verdicts[20:] == [WELL] * 20


@pytest.mark.parametrize("row", [3, 8, 13, 18, 23])
def test_an_axis_that_comes_free_within_a_hop_casts_no_doubt_on_gravity_or_gyroscope(row: int) -> None:
    samples = wear(30)
    samples[: 20 * HOP_ROWS + row, 1] = 150.0
    verdicts = judge(IMU, hops(samples))
    assert "ay is stuck at 150" in verdicts[19].reason
    # Samples at 150 were at some range's end, which is told for as long as it is told of any.
    assert {re.sub(r"^\d+%", "", verdict.reason) for verdict in verdicts[22:]} <= {"", CLIPPED_AT_150}
    assert verdicts[-20:] == [WELL] * 20


def test_a_gyroscope_that_is_not_there_is_no_stuck_one() -> None:
    samples = wear(20)
    samples[:, 3:] = 0.0
    assert set(judge(IMU, hops(samples))) == {WELL}


# --- rows ----------------------------------------------------------------------------------------------------------


def frozen(samples: Samples, every: int, rows: int) -> Samples:
    """The first of each ``every`` rows is held for so many."""
    held = samples.copy()
    for at in range(0, len(held) - rows, every):
        held[at : at + rows] = held[at]
    return held


@pytest.mark.parametrize("rows", [0, 7, 15, 22])
@pytest.mark.fuzz
def test_a_sensor_that_froze_while_its_wearer_turned_is_not_told_to_have_a_wrong_gyroscope(rows: int) -> None:
    for seed in range(times(2)):
        before = wear(20 + rows / RATE_HZ, turn=0.2, seed=seed)
        after = wear(30, turn=0.2, seed=seed)[rows:, [1, 2, 0, 4, 5, 3]]
        verdicts = judge(IMU, hops(np.concatenate([before, before[-1:].repeat(12 * HOP_ROWS, axis=0), after])))
        assert not any("turns" in verdict.reason for verdict in verdicts)
        assert not any(map(is_faulty, verdicts[40 + 12 + 6 :]))


@pytest.mark.parametrize(("every", "rows", "state"), [(60, 15, "doubted"), (30, 20, "faulty"), (25, 24, "faulty")])
def test_values_that_are_held_again_and_again_are_told(every: int, rows: int, state: str) -> None:
    verdicts = judge(IMU, hops(frozen(wear(30, turn=2.0, push=5.0), every, rows)))
    assert verdicts[-1].state == state
    assert "its values stand still" in verdicts[-1].reason
    assert "%" in verdicts[-1].reason


@pytest.mark.parametrize(("part", "state"), [(0.008, "doubted"), (0.02, "faulty")])
def test_spikes_are_told_with_their_part_of_the_samples(part: float, state: str) -> None:
    random = np.random.default_rng(3)
    samples = wear(60)
    rows = np.flatnonzero(random.random(len(samples)) < part)
    samples[rows, random.integers(0, 6, len(rows))] = random.choice([-1, 1], len(rows)) * 34.9
    verdicts = judge(IMU, hops(samples))[20:]
    verdict = max(verdicts, key=lambda one: sum(one.state == other.state for other in verdicts))
    assert verdict.state == state
    told = float(verdict.reason.partition("%")[0])
    assert part * 30 < told < part * 200
    assert verdict.reason.endswith("of its samples are spikes")


@pytest.mark.parametrize(("axis", "value", "told"), [(2, 49970.0, "5e+04 m/s^2"), (4, -270.0, "2.7e+02 rad/s")])
@pytest.mark.parametrize("rows", [1, 2])
def test_a_figure_that_no_sensor_gives_is_never_decided_from_and_soon_forgiven(
    axis: int, value: float, told: str, rows: int
) -> None:
    samples = wear(20)
    samples[260 : 260 + rows, axis] = value
    verdicts = judge(IMU, hops(samples))
    assert verdicts[10] == Verdict("faulty", f"a sample reads {told}")
    assert set(verdicts[:10] + verdicts[12:]) == {WELL}


def test_a_range_that_is_too_small_is_doubted_with_the_part_that_is_clipped() -> None:
    strong = wear(30, turn=0.2, push=30.0)
    verdict = judge(IMU, hops(np.clip(strong, -2 * G_M_S2, 2 * G_M_S2)))[-1]
    assert verdict.state == "doubted"
    assert "of its samples are clipped at 19.6 m/s^2" in verdict.reason


# --- what is left alone --------------------------------------------------------------------------------------------


@settings(max_examples=times(25), deadline=None)
@given(turn=st.floats(0.0, 3.0), push=st.floats(0.0, 12.0), noise=st.floats(0.3, 3.0), seed=st.integers(0, 2**31))
def test_whoever_rests_turns_or_runs_is_left_alone(turn: float, push: float, noise: float, seed: int) -> None:
    assert set(judge(IMU, hops(wear(20, turn=turn, push=push, noise=noise, seed=seed)))) == {WELL}


@pytest.mark.parametrize("gyro", [True, False])
@pytest.mark.parametrize("motion", [0.0, 1.0])
def test_a_sensor_of_few_bits_is_left_alone(motion: float, gyro: bool) -> None:
    coarse = wear(60, turn=motion, push=2 * motion)
    steps = np.array([G_M_S2 / 64] * 3 + [DEGREE] * 3, np.float32)
    coarse = np.round(coarse / steps) * steps * np.array([1] * 3 + [gyro] * 3, np.float32)
    assert set(judge(IMU, hops(coarse))) == {WELL}


def test_a_still_sensor_of_few_bits_is_dead_only_after_half_a_minute() -> None:
    step = G_M_S2 / 64
    worn = np.round(np.concatenate([wear(20), still(10)]) / step) * step
    worn[:, 3:] = 0.0
    dead = np.tile(worn[-1:], (round(40 * RATE_HZ), 1))
    verdicts = judge(IMU, [*hops(worn), *hops(dead)])
    assert 55 <= first(verdicts, is_faulty) - 60 <= 60


def test_who_slides_and_who_turns_about_one_axis_are_left_alone() -> None:
    sliding = wear(20, turn=0.0, push=5.0)
    on_a_chair = still(20)
    on_a_chair[:, :3] = np.random.default_rng(0).normal([0, 0, G_M_S2], 0.03, (len(on_a_chair), 3))
    on_a_chair[:, 5] += 2 * np.sin(np.arange(len(on_a_chair)) / 20)
    for samples in (sliding, on_a_chair):
        assert set(judge(IMU, hops(samples))) == {WELL}


def test_a_sensor_that_updates_half_as_often_as_it_is_stamped_is_left_alone() -> None:
    samples = wear(30, turn=2.0, push=5.0)
    assert set(judge(IMU, hops(samples[(np.arange(len(samples)) // 2) * 2]))) == {WELL}


def test_a_fall_a_sprint_and_a_biased_gyroscope_are_left_alone() -> None:
    samples = wear(40)
    samples[500:550, :3] = np.random.default_rng(0).normal(0, 0.3, (50, 3))
    samples[1000:1300, :3] += 30 * np.sin(np.arange(300)[:, None] * 0.37 + np.array([0, 1, 2]))
    samples[:, 3:] += np.array([5, -5, 5], np.float32) * np.float32(DEGREE)
    assert set(judge(IMU, hops(samples))) == {WELL}


def test_claps_are_no_spikes() -> None:
    samples = wear(40)
    for at in range(20, len(samples) - 5, 17):
        samples[at : at + 3, 2] -= np.array([32, 38, 14], np.float32)
    assert set(judge(IMU, hops(samples))) == {WELL}


# --- how it is asked -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [5, 10, 50, 100])
def test_short_and_long_hops_are_looked_at_alike(rows: int) -> None:
    wrong = judge(IMU, hops(scaled(wear(40), 1 / G_M_S2, 1 / DEGREE), rows))
    assert "acc_unit=g" in wrong[-1].reason
    assert "gyro_unit=deg/s" in wrong[-1].reason
    assert set(judge(IMU, hops(wear(40), rows))) == {WELL}


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_what_is_known_of_a_sensor_before_its_first_hop_holds_from_the_first_on(factor: float) -> None:
    wrong = hops(scaled(wear(20), factor, 1 / DEGREE))
    known = Health(IMU)
    judge(IMU, wrong, health=known)
    fresh = Health(IMU)
    fresh.presume(known.lasting())
    verdicts = judge(IMU, wrong, health=fresh)
    assert all(map(is_faulty, verdicts))
    assert "gravity reads" in verdicts[0].reason
    assert "gyroscope turns" in verdicts[0].reason
    again = Health(IMU)
    again.presume(known.lasting())
    assert judge(IMU, hops(wear(30)), health=again)[-1] == WELL


def test_what_began_later_is_not_held_against_the_beginning() -> None:
    health = Health(IMU)
    judge(IMU, [*hops(wear(20)), *hops(scaled(wear(20), 2.0))], health=health)
    assert health.lasting() == ()


def test_a_hop_that_is_not_whole_leaves_what_is_known_of_the_unit() -> None:
    health = Health(IMU)
    assert is_faulty(judge(IMU, hops(scaled(wear(10), 2.0)), health=health)[-1])
    assert is_faulty(health.judge(Hop(20, None, 0, 0, RATE_HZ)))


def test_the_order_of_channels_is_the_models() -> None:
    from msgspec.structs import replace

    order = [5, 3, 4, 2, 0, 1]
    turned = replace(IMU, channels=tuple(IMU.channels[place] for place in order))
    verdicts = judge(turned, hops(scaled(wear(20), 1 / G_M_S2, 1 / DEGREE)[:, order]))
    assert "acc_unit=g" in verdicts[-1].reason
    assert "gyro_unit=deg/s" in verdicts[-1].reason
    assert len(hops(wear(1))[0]) == HOP_ROWS
