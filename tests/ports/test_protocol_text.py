"""Text lines: headers, columns, units, times, JSON, and lines that are none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from mmg.sources.protocols import open_parser
from mmg.sources.protocols.text import encode_csv, encode_header, encode_json

HEADER = b"t_ms,ax,ay,az,gx,gy,gz\n"
ROW = [1.5, -2.25, 9.75, 0.5, -0.25, 0.125]


def times_of(stream: bytes, **options: str) -> list[int]:
    times = open_parser("text", **options).feed(stream).device_time_ns
    assert times is not None
    return [int(time) for time in times]


def test_a_header_in_the_stream_names_the_columns() -> None:
    parser = open_parser("text")
    samples = parser.feed(HEADER + b"20,1.5,-2.25,9.75,0.5,-0.25,0.125\r\n")
    assert samples.values.tolist() == [ROW]
    assert samples.device_time_ns is not None
    assert samples.device_time_ns.tolist() == [20_000_000]
    assert samples.has_gyro


def test_columns_of_other_names_and_any_order_are_passed_over() -> None:
    stream = b"gz,gy,gx,temp,AZ,Ay,ax\n0.125,-0.25,0.5,warm,9.75,-2.25,1.5\n"
    samples = open_parser("text").feed(stream)
    assert samples.values.tolist() == [ROW]
    assert samples.device_time_ns is None


@pytest.mark.parametrize("line", [b"7;1;2;3\n", b"7\t1\t2\t3\n", b"7 1  2 3\n", b" 7 , 1 , 2 , 3 \n"])
def test_columns_can_be_named_from_outside_whatever_parts_them(line: bytes) -> None:
    samples = open_parser("text", columns="t_ms,ax,ay,az").feed(line)
    assert samples.values.tolist() == [[1, 2, 3, 0, 0, 0]]
    assert not samples.has_gyro


def test_columns_named_from_outside_hold_against_a_header_in_the_stream() -> None:
    parser = open_parser("text", columns="ax,ay,az")
    assert parser.feed(b"az,ay,ax\n1,2,3\n").values.tolist() == [[1, 2, 3, 0, 0, 0]]
    assert parser.counters.malformed == 0


def test_lines_before_a_header_are_counted_and_not_guessed() -> None:
    parser = open_parser("text")
    assert len(parser.feed(b"Booting...\n1,2,3\n")) == 0
    assert parser.counters.malformed == 2


@pytest.mark.parametrize(("unit", "scale"), [("m/s2", 1.0), ("g", 9.80665), ("mg", 0.00980665)])
def test_acceleration_units(unit: str, scale: float) -> None:
    samples = open_parser("text", columns="ax,ay,az", acc_unit=unit).feed(b"1,2,3\n")
    np.testing.assert_allclose(samples.values[0, :3], [scale, 2 * scale, 3 * scale], rtol=1e-6)


@pytest.mark.parametrize(("unit", "scale"), [("rad/s", 1.0), ("deg/s", math.pi / 180)])
def test_gyro_units(unit: str, scale: float) -> None:
    samples = open_parser("text", gyro_unit=unit).feed(b'{"ax":0,"ay":0,"az":0,"gx":1,"gy":2,"gz":3}\n')
    np.testing.assert_allclose(samples.values[0, 3:], [scale, 2 * scale, 3 * scale], rtol=1e-6)


@pytest.mark.parametrize(
    ("column", "value", "time_ns"),
    [
        ("t_s", b"1.5", 1_500_000_000),
        ("t_ms", b"1.25", 1_250_000),
        ("t_us", b"1795430645678901", 1795430645678901_000),
        ("t_ns", b"1795430645678901234", 1795430645678901234),
        ("t_ms", b"-3", -3_000_000),
    ],
)
def test_time_units(column: str, value: bytes, time_ns: int) -> None:
    assert times_of(value + b",1,2,3\n", columns=f"{column},ax,ay,az") == [time_ns]
    rest = b'"ax":1,"ay":2,"az":3,"gx":0,"gy":0,"gz":0}'
    assert times_of(b'{"%s":%s,%s\n' % (column.encode(), value, rest)) == [time_ns]


def test_a_32_bit_microsecond_counter_goes_on_over_its_wrap() -> None:
    stream = b"4294967290,1,2,3\n10,1,2,3\n20,1,2,3\n"
    expected = [4294967290_000, 4294967306_000, 4294967316_000]
    assert times_of(stream, columns="t_us,ax,ay,az") == expected


def test_a_clock_that_goes_back_a_little_is_no_wrap() -> None:
    assert times_of(b"1000,1,2,3\n10,1,2,3\n", columns="t_ms,ax,ay,az") == [1_000_000_000, 10_000_000]


def test_json_objects_need_no_header_and_may_hold_more() -> None:
    line = b'{"ax":1.5,"ay":-2.25,"az":9.75,"gx":0.5,"gy":-0.25,"gz":0.125,"temp":[1,{"unit":"C"}]}\n'
    samples = open_parser("text").feed(line)
    assert samples.values.tolist() == [ROW]
    assert samples.device_time_ns is None


def test_json_without_gyro_is_given_out_once_that_is_sure() -> None:
    samples = open_parser("text").feed(b"".join(encode_json(ROW[:3], n * 1000) for n in range(9)))
    assert len(samples) == 9
    assert not samples.has_gyro


def test_both_encoders_are_read_back() -> None:
    stream = encode_header() + encode_csv(ROW, 5_000_000) + encode_json(ROW, 6_000_000)
    samples = open_parser("text").feed(stream)
    assert samples.values.tolist() == [ROW, ROW]
    assert samples.device_time_ns is not None
    assert samples.device_time_ns.tolist() == [5_000_000, 6_000_000]


@pytest.mark.parametrize(
    "line",
    [
        b"1,2,3",
        b"1,2,3,4,5,6,7,8",
        b"1,2,3,4,5,6,x",
        b"1,2,3,4,5,6,\xff",
        b"1,nan,3,4,5,6,7",
        b"1,inf,3,4,5,6,7",
        b"1,1e300,3,4,5,6,7",
        b"1e300,2,3,4,5,6,7",
        b"inf,2,3,4,5,6,7",
        b"9" * 400 + b",2,3,4,5,6,7",
        b'{"ax":1,"ay":2}',
        b'{"ax":1,"ay":2,"az":"3"}',
        b'{"ax":1,"ay":2,"az":NaN}',
        b'{"ax":1,"ay":2,"az":3,"x":' + b"[" * 4000,
        b'{"ax":1,"ay":2,"az":3,"t_ms":1' + b"0" * 400 + b"}",
        b"{",
        b"boot",
    ],
)
def test_a_line_that_cannot_be_used_is_counted_and_costs_no_other(line: bytes) -> None:
    parser = open_parser("text")
    good = b"1,2,3,4,5,6,7\n"
    samples = parser.feed(HEADER + line + b"\n" + good)
    assert samples.values.tolist() == [[2, 3, 4, 5, 6, 7]]
    assert parser.counters.malformed == 1


def test_a_line_without_an_end_is_let_go_and_counted_once() -> None:
    parser = open_parser("text", columns="ax,ay,az")
    for _ in range(100):
        parser.feed(b"1,2,3," * 100)
    assert len(parser.feed(b"\n1,2,3\n")) == 1
    assert parser.counters.malformed == 1
    assert parser.counters.skipped_bytes == 60_001


def test_an_overlong_line_that_comes_whole_is_let_go_too() -> None:
    parser = open_parser("text", columns="ax,ay,az")
    assert len(parser.feed(b"1,2," + b"0" * 5000 + b"\n1,2,3\n")) == 1
    assert parser.counters.malformed == 1


def test_a_line_that_comes_twice_is_given_out_once_where_it_has_a_time() -> None:
    timed, untimed = open_parser("text", columns="t_ms,ax,ay,az"), open_parser("text", columns="ax,ay,az")
    assert len(timed.feed(b"1,1,2,3\n" * 2 + b"2,1,2,3\n1,9,9,9\n")) == 3
    assert timed.counters.duplicates == 1
    assert len(untimed.feed(b"1,2,3\n" * 2)) == 2


def test_a_byte_order_mark_is_no_part_of_the_first_column() -> None:
    assert times_of(b"\xef\xbb\xbft_ms,ax,ay,az\n7,1,2,3\n") == [7_000_000]
