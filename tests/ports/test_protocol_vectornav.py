"""VectorNav, ASCII and binary: published messages, every message with an IMU in it, both checksums."""

from __future__ import annotations

import binascii
import struct

import pytest
from mmg.sources.protocols import open_parser
from mmg.sources.protocols.vectornav_ascii import encode_sentence
from mmg.sources.protocols.vectornav_binary import encode_frame, encode_sample, frame_layout

REGISTER_REPLY = b"$VNRRG,08,-114.314,+000.058,-001.773*5F\r\n"
YAW_PITCH_ROLL = bytes.fromhex("FA 01 08 00 93 50 2E 42 83 3E F1 3F 48 B5 04 BB 92 88")
ROW = [1.5, -2.25, 9.75, 0.5, -0.25, 0.125]
NUMBERS = ",".join(map(str, ROW))


def test_the_published_sentence_is_a_frame_without_a_sample() -> None:
    parser = open_parser("vectornav-ascii")
    assert len(parser.feed(REGISTER_REPLY)) == 0
    assert (parser.counters.frames, parser.counters.checksum_errors, parser.counters.skipped_bytes) == (
        1,
        0,
        0,
    )
    assert encode_sentence("VNRRG,08,-114.314,+000.058,-001.773") == REGISTER_REPLY


@pytest.mark.parametrize(
    "body",
    [
        f"VNIMU,1,2,3,{NUMBERS},25.0,101.3",
        f"VNIMU,1,2,3,{NUMBERS},25.0,101.3,T0000123",
        f"VNMAR,1,2,3,{NUMBERS}",
        f"VNYMR,10,20,30,1,2,3,{NUMBERS}",
        f"VNQMR,0,0,0,1,1,2,3,{NUMBERS}",
    ],
)
def test_every_message_with_an_imu_in_it_is_read(body: str) -> None:
    samples = open_parser("vectornav-ascii").feed(encode_sentence(body))
    assert samples.values.tolist() == [ROW]
    assert samples.has_gyro
    assert samples.device_time_ns is None


def test_a_sentence_may_carry_a_crc_of_four_figures() -> None:
    body = f"VNIMU,1,2,3,{NUMBERS},25.0,101.3".encode()
    good, wrong = (b"$%s*%04X\r\n" % (body, binascii.crc_hqx(body, 0) ^ error) for error in (0, 1))
    parser = open_parser("vectornav-ascii")
    assert len(parser.feed(wrong + good)) == 1
    assert parser.counters.checksum_errors == 1


@pytest.mark.parametrize("body", ["VNIMU,1,2,3,4,5", f"VNIMU,1,2,3,x{NUMBERS},25,101", "VNIMU,1,2,3,nan,1,1,1,1,1,1,1"])
def test_a_good_checksum_around_no_numbers_is_counted(body: str) -> None:
    parser = open_parser("vectornav-ascii")
    assert len(parser.feed(encode_sentence(body))) == 0
    assert parser.counters.malformed == 1


def test_a_sentence_without_an_end_does_not_take_the_next_one_along() -> None:
    good = encode_sentence(f"VNIMU,1,2,3,{NUMBERS},25.0,101.3")
    assert len(open_parser("vectornav-ascii").feed(good[:-2] + good)) == 1


def test_a_sentence_that_never_ends_is_let_go() -> None:
    parser = open_parser("vectornav-ascii")
    parser.feed(b"$VN" + b"1" * 300)
    assert parser.counters.skipped_bytes == 303


def test_the_published_binary_frame_is_a_frame_without_a_sample() -> None:
    parser = open_parser("vectornav-binary")
    assert len(parser.feed(YAW_PITCH_ROLL)) == 0
    assert (parser.counters.frames, parser.counters.checksum_errors) == (1, 0)
    assert encode_frame(YAW_PITCH_ROLL[1:-2]) == YAW_PITCH_ROLL
    assert struct.unpack("<3f", YAW_PITCH_ROLL[4:16]) == pytest.approx((43.579, 1.885, -0.002), abs=1e-3)


def test_a_field_before_the_wanted_ones_shifts_them() -> None:
    # Common: TimeStartup, YawPitchRoll, AngularRate, Accel. IMU: Temp. The fields follow in this order.
    masks = struct.pack("<2H", 1 << 0 | 1 << 3 | 1 << 5 | 1 << 8, 1 << 4)
    payload = struct.pack("<Q3f3f3ff", 123456789, 10, 20, 30, *ROW[3:], *ROW[:3], 25.0)
    samples = open_parser("vectornav-binary").feed(encode_frame(b"\x05" + masks + payload))
    assert samples.values.tolist() == [ROW]
    assert samples.device_time_ns is not None
    assert samples.device_time_ns.tolist() == [123456789]


def test_compensated_values_of_the_imu_group_go_before_raw_ones() -> None:
    # Time: TimeStartup. IMU: UncompAccel, UncompGyro, Accel, AngularRate.
    masks = struct.pack("<2H", 1 << 0, 1 << 2 | 1 << 3 | 1 << 9 | 1 << 10)
    payload = struct.pack("<Q6f6f", 5, *[7.0] * 6, *ROW)
    samples = open_parser("vectornav-binary").feed(encode_frame(b"\x06" + masks + payload))
    assert samples.values.tolist() == [ROW]


def test_the_raw_imu_of_the_common_group_serves_where_it_is_all_there_is() -> None:
    samples = open_parser("vectornav-binary").feed(encode_frame(b"\x01" + struct.pack("<H6f", 1 << 9, *ROW)))
    assert samples.values.tolist() == [ROW]
    assert samples.device_time_ns is None


def test_acceleration_alone_is_given_out_without_a_gyro() -> None:
    frame = encode_frame(b"\x01" + struct.pack("<H3f", 1 << 8, *ROW[:3]))
    samples = open_parser("vectornav-binary").feed(frame * 9)
    assert len(samples) == 9
    assert not samples.has_gyro


def test_a_frame_that_comes_twice_is_given_out_once() -> None:
    parser = open_parser("vectornav-binary")
    assert len(parser.feed(encode_sample(ROW, 1000) * 2 + encode_sample(ROW, 2000))) == 2
    assert parser.counters.duplicates == 1


@pytest.mark.parametrize("header", ["01 00 00", "01 00 80", "02 00 04", "08 00 40"])
def test_headers_with_empty_reserved_or_variable_fields_are_refused(header: str) -> None:
    assert frame_layout(bytes.fromhex(header)) is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_a_value_that_is_no_measurement_is_counted_and_left_out(value: float) -> None:
    parser = open_parser("vectornav-binary")
    assert len(parser.feed(encode_sample([value, *ROW[1:]], 1))) == 0
    assert parser.counters.malformed == 1
