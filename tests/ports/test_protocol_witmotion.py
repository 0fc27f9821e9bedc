"""WitMotion: published frames, pairing of acceleration and gyro, devices without a gyro, the calendar."""

from __future__ import annotations

import math

import numpy as np
import pytest
from mmg.sources.protocols import UNTIMED, join, open_parser
from mmg.sources.protocols.witmotion import encode_combined, encode_frame, encode_sample, encode_time

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


def combined(number: int) -> bytes:
    """A Bluetooth sensor's frame, of a wearer who moves."""
    return encode_combined([number / 10, 0.5, 9.8, 0.1, -0.2, number / 10])


def test_the_frame_of_a_bluetooth_sensor_is_scaled_as_the_others_are() -> None:
    frame = bytes.fromhex("55 61 00 00 00 00 00 08 a4 00 5c ff 00 00 00 00 00 00 00 00")
    rate = math.radians(164 / 32768 * 2000)
    samples = open_parser("witmotion").feed(frame * 6)
    np.testing.assert_allclose(samples.values, [[0, 0, 9.80665, rate, -rate, 0]] * 5, rtol=1e-6)
    assert samples.device_time_ns is None
    assert samples.last_byte.tolist() == [19, 39, 59, 79, 99]
    assert encode_combined([*STILL, rate, -rate, 0.0]) == frame


@pytest.mark.parametrize("protocol", ["witmotion", "auto"])
def test_a_bluetooth_sensor_is_believed_after_several_frames_and_none_is_lost(protocol: str) -> None:
    parser = open_parser(protocol)
    assert len(parser.feed(b"".join(map(combined, range(4))))) == 0
    samples = parser.feed(b"".join(map(combined, range(4, 20))))
    np.testing.assert_allclose(samples.values[:, 0], np.arange(19) / 10, atol=3e-3)
    assert parser.name == "witmotion"


def test_a_lost_byte_costs_the_frame_that_it_was_of_and_no_wrong_sample_comes_of_it() -> None:
    frames = list(map(combined, range(20)))
    expected = open_parser("witmotion").feed(b"".join(frames)).values
    for at in range(20):
        stream = b"".join(frames[:9]) + frames[9][:at] + frames[9][at + 1 :] + b"".join(frames[10:])
        parser = open_parser("witmotion")
        lost = [9] if at > 1 else [8, 9]  # without the next one's head a frame is not believed either
        np.testing.assert_array_equal(parser.feed(stream).values, np.delete(expected, lost, axis=0))
        assert parser.counters.checksum_errors == 1


def test_replies_between_the_frames_of_a_bluetooth_sensor_cost_none() -> None:
    reply = bytes((0x55, 0x71)) + bytes(18)
    stream = b"".join(map(combined, range(9))) + reply + b"".join(map(combined, range(9, 20)))
    assert len(open_parser("witmotion").feed(stream)) == 19


@pytest.mark.parametrize(
    "stream",
    [
        b"Uart: no data yet.\r\n" * 50,
        b"".join(combined(n) + b"\0" for n in range(50)),
        b"".join(encode_combined([0.0] * 6) for _ in range(50)),
        b"".join(combined(n) + bytes(20) for n in range(50)),
    ],
    ids=["lines of twenty characters", "at another distance", "without gravity", "never several in a row"],
)
def test_what_only_looks_like_a_bluetooth_sensors_frames_is_not_believed(stream: bytes) -> None:
    assert len(open_parser("witmotion").feed(stream)) == 0


@pytest.mark.parametrize(
    "others", [b"", ANGLE, ANGLE + encode_frame(0x54, bytes(range(8)))], ids=["none", "one", "two"]
)
@pytest.mark.parametrize("damage", ["none", "a byte", "a lost byte", "a lost frame", "a time", "no gyro"])
def test_cycles_that_are_read_at_once_are_those_that_come_one_by_one(others: bytes, damage: str) -> None:
    cycles = [cycle(number % 100) + others for number in range(60)]
    hurt = cycles[30]
    cycles[30] = {
        "none": hurt,
        "a byte": hurt[:5] + bytes([hurt[5] ^ 1]) + hurt[6:],
        "a lost byte": hurt[:5] + hurt[6:],
        "a lost frame": hurt[:11] + hurt[22:],
        "a time": encode_time(1_795_430_645 * 10**9) + hurt,
        "no gyro": hurt[:11] + others,
    }[damage]
    stream = b"\x00\x55" + b"".join(cycles) + cycles[0][:15]
    at_once, one_by_one = open_parser("witmotion"), open_parser("witmotion")
    whole = at_once.feed(stream)
    parts = join([one_by_one.feed(stream[at : at + 7]) for at in range(0, len(stream), 7)])
    assert len(whole) >= 59
    assert whole.values.tobytes() == parts.values.tobytes()
    assert whole.last_byte.tolist() == parts.last_byte.tolist()
    times = [None if one.device_time_ns is None else one.device_time_ns.tolist() for one in (whole, parts)]
    assert times[0] == times[1]
    assert at_once.counters == one_by_one.counters
