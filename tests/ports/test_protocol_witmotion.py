"""WitMotion: published frames, pairing of acceleration and gyro, devices without a gyro, the calendar."""

from __future__ import annotations

import math

import numpy as np
import pytest
from mmg.sources.protocols import UNTIMED, open_parser
from mmg.sources.protocols.witmotion import encode_frame, encode_sample, encode_time

ACCELERATION = bytes.fromhex("55 51 00 00 00 00 00 08 c4 09 7b")
GYRO = bytes.fromhex("55 52 a4 00 5c ff 00 00 c4 09 73")
ANGLE = encode_frame(0x53, bytes(8))
STILL = [0.0, 0.0, 9.80665]


def cycle(number: int) -> bytes:
    return encode_sample([number / 10, 0.0, 0.0, 0.0, 0.0, number / 10])


def test_the_published_frames_are_one_g_and_ten_degrees_a_second() -> None:
    samples = open_parser("witmotion").feed(ACCELERATION + GYRO)
    rate = math.radians(164 / 32768 * 2000)
    np.testing.assert_allclose(samples.values, [[0, 0, 9.80665, rate, -rate, 0]], rtol=1e-6)
    assert math.degrees(rate) == pytest.approx(10.01, abs=0.005)
    assert samples.has_gyro
    assert samples.device_time_ns is None


def test_the_encoder_writes_the_published_frames() -> None:
    rate = math.radians(10.01)
    assert encode_sample([*STILL, rate, -rate, 0.0]) == ACCELERATION + GYRO


def test_other_quantities_in_the_cycle_do_no_harm() -> None:
    parser = open_parser("witmotion")
    assert len(parser.feed((ACCELERATION + GYRO + ANGLE) * 5)) == 5
    assert parser.counters.frames == 15


def test_two_halves_of_different_cycles_are_never_put_together() -> None:
    first, second, third = cycle(1), cycle(2), cycle(3)
    damaged = first[:11] + bytes(22) + second[11:] + third
    parser = open_parser("witmotion")
    samples = parser.feed(damaged)
    np.testing.assert_allclose(samples.values[:, 0], [0.3], atol=3e-3)
    assert parser.counters.incomplete == 2


def test_a_stray_byte_between_the_halves_loses_nothing() -> None:
    assert len(open_parser("witmotion").feed(ACCELERATION + b"\x55" + GYRO)) == 1


def test_a_device_without_gyro_is_known_after_eight_cycles_and_loses_none() -> None:
    parser = open_parser("witmotion")
    assert len(parser.feed((ACCELERATION + ANGLE) * 7)) == 0
    samples = parser.feed((ACCELERATION + ANGLE) * 3)
    assert len(samples) == 10
    assert not samples.has_gyro
    np.testing.assert_allclose(samples.values, [[*STILL, 0, 0, 0]] * 10, rtol=1e-6)
    np.testing.assert_array_equal(samples.last_byte, np.arange(10) * 22 + 10)


def test_once_known_each_acceleration_is_given_out_at_once() -> None:
    parser = open_parser("witmotion")
    parser.feed((ACCELERATION + ANGLE) * 8)
    assert len(parser.feed(ACCELERATION)) == 1


def test_a_gyro_that_is_switched_on_later_is_used() -> None:
    parser = open_parser("witmotion")
    parser.feed((ACCELERATION + ANGLE) * 8)
    samples = parser.feed((ACCELERATION + GYRO) * 3)
    assert samples.has_gyro
    assert samples.values[-1, 3] > 0


def test_a_few_lost_gyro_frames_do_not_make_zeros() -> None:
    parser = open_parser("witmotion")
    samples = parser.feed((ACCELERATION + GYRO) * 3 + (ACCELERATION + ANGLE) * 5 + (ACCELERATION + GYRO) * 3)
    assert len(samples) == 6
    assert (samples.values[:, 3] > 0).all()
    assert parser.counters.incomplete == 5


def test_the_time_frame_is_the_calendar_of_its_cycle() -> None:
    # 2026-11-23 10:44:05.678
    at = bytes.fromhex("55 50 1a 0b 17 0a 2c 05 a6 02")
    samples = open_parser("witmotion").feed(at + bytes((sum(at) & 0xFF,)) + ACCELERATION + GYRO)
    assert samples.device_time_ns is not None
    assert samples.device_time_ns.tolist() == [1795430645_678_000_000]


def test_a_lost_time_frame_leaves_only_its_own_sample_untimed() -> None:
    times = [1_700_000_000_000_000_000 + n * 5_000_000 for n in range(3)]
    stream = encode_time(times[0]) + cycle(0) + cycle(1) + encode_time(times[2]) + cycle(2)
    samples = open_parser("witmotion").feed(stream)
    assert samples.device_time_ns is not None
    assert samples.device_time_ns.tolist() == [times[0], UNTIMED, times[2]]


def test_the_time_of_a_cycle_whose_acceleration_was_lost_is_not_the_next_ones() -> None:
    stream = encode_time(1_700_000_000_000_000_000) + GYRO + ACCELERATION + GYRO
    samples = open_parser("witmotion").feed(stream)
    assert len(samples) == 1
    assert samples.device_time_ns is None


def test_a_time_is_used_once_without_a_gyro_too() -> None:
    time_ns = 1_700_000_000_000_000_000
    samples = open_parser("witmotion").feed(encode_time(time_ns) + (ACCELERATION + ANGLE) * 8)
    assert samples.device_time_ns is not None
    assert samples.device_time_ns.tolist() == [time_ns] + [UNTIMED] * 7


def test_a_calendar_that_was_never_set_is_no_time_and_no_loss() -> None:
    parser = open_parser("witmotion")
    samples = parser.feed(encode_frame(0x50, bytes(8)) + ACCELERATION + GYRO)
    assert len(samples) == 1
    assert samples.device_time_ns is None
    assert parser.counters.malformed == 0
