"""Text lines: headers, columns, units, times, JSON, and lines that are none."""

from __future__ import annotations

import itertools
import math
import random
import time

import numpy as np
import pytest
from mmg.errors import ConfigError
from mmg.sources.protocols import UNTIMED, Finding, open_parser
from mmg.sources.protocols.text import encode_csv, encode_header, encode_json
from mmg.sources.protocols.text_layout import Headers

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
    assert parser.counters.other == 2


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
    assert parser.counters.malformed + parser.counters.other == 1


@pytest.mark.parametrize(
    "line",
    [
        b'{"t_us":1040000,"ax":0.3,"ay":0.2,"az":9.8\xb1,"gx":-0.01,"gy":0.01,"gz":-0.004}\n',
        b'{"t_us":1040000,"ax":0.3,"ay"\xba0.2,"az":9.8,"gx":-0.01,"gy":0.01,"gz":-0.004}\n',
        b'"t_us":1040000,"ax":0.3,"ay":0.2,"az":9.8,"gx":-0.01,"gy":0.01,"gz":-0.004}\n',
        b"ax:0.3,ay:0.2,az:9.8,gx:-0.01,gy:0.01,gz0.004\n",
        b"ax=0.3 ay=0.2 az=9.8\xff gx=-0.01 gy=0.01 gz=-0.004\n",
        b"ax_ms2:0.3,ay_ms2:0.2,az_ms2:9.8\xb1\n",
        b"ax m/s\xb2:0.3,ay m/s\xb2:0.2,az m/s\xb2:9.8\xb1\n",
    ],
)
def test_a_damaged_sample_whose_names_came_with_it_is_no_header(line: bytes) -> None:
    headers = Headers()
    parser = open_parser("text", headers)
    parser.feed(line)
    assert parser.counters.malformed + parser.counters.other == 1
    assert headers == Headers()


def test_a_header_behind_a_serial_monitors_time_of_day_is_one() -> None:
    parser = open_parser("text")
    parser.feed(b"14:14:15.657 -> n,ax,ay,az,gx,gy,gz\n")
    assert parser.feed(b"14:14:15.667 -> 7,1.5,-2.25,9.75,0.5,-0.25,0.125\n").values.tolist() == [ROW]


def test_the_limits_of_a_plotter_are_no_time() -> None:
    samples = open_parser("text").feed(b"Min:-20,Max:20,ax:1.5,ay:-2.25,az:9.75,gx:0.5,gy:-0.25,gz:0.125\n" * 9)
    assert samples.values.tolist() == [ROW] * 9
    assert samples.device_time_ns is None


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


SEVEN = [2.0, -3.0, 9.5, 0.25, -0.5, 0.125]


def one(stream: bytes, **options: str) -> list[list[float]]:
    """The samples of a stream in which nothing is damaged."""
    parser = open_parser("text", **options)
    rows: list[list[float]] = parser.feed(stream).values.tolist()
    assert parser.counters.malformed == 0
    return rows


@pytest.mark.parametrize(
    "header",
    [
        b"time_ms,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z",
        b"Time [ms],Acc X [m/s^2],Acc Y [m/s^2],Acc Z [m/s^2],Gyro X [rad/s],Gyro Y [rad/s],Gyro Z [rad/s]",
        b'"timestamp","accel_x","accel_y","accel_z","gyr_x","gyr_y","gyr_z"',
        b"# t_ms, ax, ay, az, wx, wy, wz",
        b"t_ms,ax,ay,az,gx,gy,gz,",
    ],
)
def test_a_header_is_read_as_that_of_a_csv_file(header: bytes) -> None:
    assert one(header + b"\n7,2,-3,9.5,0.25,-0.5,0.125\n") == [SEVEN]


def test_units_of_a_header_are_applied_and_the_users_word_goes_before_them() -> None:
    stream = "ax (g);ay (g);az (g);gx (°/s);gy (°/s);gz (°/s)\n0;0;1;0;0;180\n"
    for encoding in ("utf-8", "latin-1"):
        [row] = one(stream.encode(encoding))
        assert row == pytest.approx([0, 0, 9.80665, 0, 0, math.pi], rel=1e-6)
    [row] = one(stream.encode(), acc_unit="m/s2", gyro_unit="rad/s")
    assert row == [0, 0, 1, 0, 0, 180]


@pytest.mark.parametrize(
    "lines",
    [
        b"t_ms;ax;ay;az;gx;gy;gz\n7;2,0;-3;9,5;0,25;-0,5;0,125\n",
        b"t_ms\tax\tay\taz\tgx\tgy\tgz\n7\t2,0\t-3\t9,5\t0,25\t-0,5\t0,125\n",
        b"t_ms ax ay az gx gy gz\n7 2,0 -3,0 9,5 0,25 -0,5 0,125\n",
        b"ax:2,ay:-3,az:9.5,gx:0.25,gy:-0.5,gz:0.125\n",
        b"ax:2 ay:-3 az:9.5 gx:0.25 gy:-0.5 gz:0.125\r\n",
        b"ax:2\tay:-3\taz:9.5\tgx:0.25\tgy:-0.5\tgz:0.125\n",
        b"ax: 2, ay: -3, az: 9.5, gx: .25, gy: -5e-1, gz: 0.125, mode: walk\n",
        b"aX = 2 | aY = -3 | aZ = 9.5 | gX = 0.25 | gY = -0.5 | gZ = 0.125 | tmp = 21.5\n",
        b"Acc X: 2 m/s^2; Acc Y: -3 m/s^2; Acc Z: 9,5 m/s^2; gx: 0,25; gy: -0,5; gz: 0,125\n",
        b'{"acc":{"x":2,"y":-3,"z":9.5},"gyro":{"x":0.25,"y":-0.5,"z":0.125},"temp":21}\n',
        b'{"acc":[2,-3,9.5],"gyro":[0.25,-0.5,0.125]}\n',
        b'{"id":"wrist","imu":{"accel":{"X":2,"Y":-3,"Z":9.5},"gyr":[0.25,-0.5,0.125]},"t":7}\n',
        b'{"data":{"ax":2,"ay":-3,"az":9.5,"gx":0.25,"gy":-0.5,"gz":0.125}}\n',
    ],
)
def test_the_ways_in_which_boards_print_a_sample_give_the_same(lines: bytes) -> None:
    assert one(lines) == [SEVEN]


@pytest.mark.parametrize(
    ("line", "columns"),
    [
        (b"2,-3,9.5,0.25,-0.5,0.125", "ax,ay,az,gx,gy,gz"),
        (b"(2, -3, 9.5, 0.25, -0.5, 0.125)", "ax,ay,az,gx,gy,gz"),
        (b"IMU 2,0 -3,0 9,5 0,25 -0,5 0,125", "tag,ax,ay,az,gx,gy,gz"),
        (b"7,0.25,-0.5,0.125,2,-3,9.5,21.5", "t_ms,gx,gy,gz,acc_x,acc_y,acc_z,temp"),
    ],
)
def test_numbers_without_a_header_are_named_from_outside(line: bytes, columns: str) -> None:
    assert one(line + b"\n", columns=columns) == [SEVEN]


def test_a_unit_in_a_name_from_outside_is_applied() -> None:
    [row] = one(b"0,0,1000\n", columns="ax_mg,ay_mg,az_mg")
    assert row[2] == pytest.approx(9.80665)


def test_two_sensors_under_one_name_are_not_guessed_between() -> None:
    parser = open_parser("text")
    two = b'{"left":{"ax":1,"ay":2,"az":3},"right":{"ax":4,"ay":5,"az":6}}\n'
    assert len(parser.feed(two * 9 + b"ax,ay,az,ax,ay,az\n1,2,3,4,5,6\n")) == 0


def test_lines_of_another_kind_are_counted_apart_and_cost_no_header() -> None:
    parser = open_parser("text")
    others = [
        b"loop took 3 ms\n",
        b"heading: 12.3, ok\n",
        b'{"mx":1.5,"my":2.5,"mz":3.5}\n',
        b"1.5,2.5,3.5\n",
        b"I (12) up\n",
    ]
    stream = b"".join(other + b"%d,2,3,4,5,6,7\n" % number for number, other in enumerate(others))
    assert len(parser.feed(HEADER + stream)) == 5
    assert (parser.counters.other, parser.counters.malformed) == (5, 0)


def test_a_new_header_replaces_the_one_for_as_many_columns() -> None:
    parser = open_parser("text")
    samples = parser.feed(HEADER + b"1,2,3,4,5,6,7\n" + b"gz,gy,gx,az,ay,ax,t_ms\n" + b"7,6,5,4,3,2,2\n")
    assert samples.values.tolist() == [[2, 3, 4, 5, 6, 7]] * 2


def test_rows_under_a_header_of_something_else_are_not_taken_for_samples() -> None:
    parser = open_parser("text")
    samples = parser.feed(b"ax,ay,az\n1,2,3\n" + b"mx,my,mz\n" + b"40,50,60\n" * 9 + b"ax,ay,az\n4,5,6\n")
    assert samples.values[:, :3].tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize("place", range(len(HEADER) - 1))
@pytest.mark.parametrize("bit", range(7))
def test_a_known_header_that_comes_again_with_a_flipped_bit_costs_no_row(place: int, bit: int) -> None:
    """A board prints it once, when it starts: what is forgotten then is forgotten until the next start."""
    garbled = bytearray(HEADER)
    garbled[place] ^= 1 << bit
    parser = open_parser("text")
    rows = b"20,1.5,-2.25,9.75,0.5,-0.25,0.125\n", b"40,1,-2,9.5,0.5,-0.25,0.125\n"
    assert parser.feed(HEADER + rows[0] + bytes(garbled) + rows[1]).values.shape == (2, 6)


@pytest.mark.parametrize("places", [*itertools.combinations(range(len(HEADER) - 1), 2)])
def test_a_known_header_that_comes_again_without_a_letter_or_two_costs_no_row(places: tuple[int, int]) -> None:
    rows = b"20,1.5,-2.25,9.75,0.5,-0.25,0.125\n", b"40,1,-2,9.5,0.5,-0.25,0.125\n"
    for lost in (places[:1], places):
        left = bytes(letter for place, letter in enumerate(HEADER) if place not in lost)
        parser = open_parser("text")
        assert parser.feed(HEADER + rows[0] + left + rows[1]).values.shape == (2, 6)


@pytest.mark.parametrize("other", [b"t_ms,mx,my,mz,gx,gy,gz", b"t_ms,x,y,z,gx,gy,gz", b"t_ms,q0,q1,q2,q3,ok,n"])
def test_a_header_with_three_letters_that_are_others_is_of_another_table(other: bytes) -> None:
    parser = open_parser("text")
    rows = b"20,1.5,-2.25,9.75,0.5,-0.25,0.125\n", b"40,1,-2,9.5,0.5,-0.25,0.125\n"
    assert len(parser.feed(HEADER + rows[0] + other + b"\n" + rows[1])) == 1
    assert len(parser.feed(HEADER + rows[1])) == 1


def test_a_sentence_of_as_many_words_does_not_replace_a_header() -> None:
    parser = open_parser("text")
    assert len(parser.feed(b"ax ay az\n1 2 3\nwifi is reconnecting\n4 5 6\n")) == 2


def test_a_header_is_known_to_the_next_parser_of_the_device() -> None:
    headers = Headers()
    open_parser("text", headers).feed(HEADER)
    for protocol in ("text", "auto"):
        parser = open_parser(protocol, headers)
        rows = b"".join(b"%d,2,3,4,5,6,7\n" % n for n in range(5))
        assert parser.feed(b",6,7\nboot ok\n" + rows).values.tolist() == [[2, 3, 4, 5, 6, 7]] * 5
    assert len(open_parser("text").feed(b"1,2,3,4,5,6,7\n")) == 0


@pytest.mark.parametrize(
    ("column", "first", "step", "step_ns"),
    [
        ("time", 1000, 10, 10_000_000),
        ("timestamp", 52_000_000, 10_000, 10_000_000),
        ("t", 12, 0.02, 20_000_000),
        ("epoch", 1_700_000_000.5, 0.02, 20_000_000),
        ("ts", 1_700_000_000_000, 10, 10_000_000),
        ("time", 1_700_000_000, 10_000, 10_000_000),
    ],
)
def test_the_unit_of_a_time_without_one_is_found_by_its_steps(
    column: str, first: float, step: float, step_ns: int
) -> None:
    parser = open_parser("text", columns=f"{column},ax,ay,az")
    samples = parser.feed(b"".join(b"%r,1,2,%d\n" % (first + n * step, n) for n in range(5)))
    assert samples.device_time_ns is not None
    assert samples.device_time_ns[0] == UNTIMED
    np.testing.assert_allclose(np.diff(samples.device_time_ns[1:]), step_ns, rtol=1e-3)


def test_a_time_of_day_is_no_reason_to_lose_the_sample() -> None:
    samples = open_parser("text", columns="time,ax,ay,az").feed(b"12:34:56.789,1,2,3\n")
    assert samples.values[0, :3].tolist() == [1, 2, 3]
    assert samples.device_time_ns is None


def test_two_equal_lines_are_two_samples_where_the_clock_stands_still() -> None:
    parser = open_parser("text", columns="t_s,ax,ay,az")
    assert len(parser.feed(b"5,1,2,3\n5,1,2,4\n5,1,2,4\n5,1,2,4\n")) == 4


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (
            [b"Booting...", b"heading 12.3 deg"],
            "lines, but none with acceleration that mmg can read, such as 'Booting...'",
        ),
        (
            [b"0.1,0.2,9.8,0.01,0.02,0.03"],
            "numbers without a header, such as '0.1,0.2,9.8,0.01,0.02,0.03': name them, such as "
            "columns=ax,ay,az,gx,gy,gz",
        ),
        (
            [b"7;0,1;0,2;9,8"],
            "numbers without a header, such as '7;0,1;0,2;9,8': name them, such as columns=t_ms,ax,ay,az",
        ),
        (
            [b"\x1b[0;32mI (312) wifi: up " + b"x" * 90 + b"\x1b[0m"],
            "lines, but none with acceleration that mmg can read, such as '\\x1b[0;32mI (312) wifi: up "
            + "x" * 33
            + "...'",
        ),
    ],
)
def test_a_line_that_was_read_is_shown_where_none_is_a_sample(lines: list[bytes], told: str) -> None:
    parser = open_parser("text")
    assert parser.finding is None
    parser.feed(b"".join(lines[n % len(lines)] + b"\r\n" for n in range(8)))
    assert parser.finding == Finding("text", told)


def test_rows_that_fit_no_columns_from_outside_are_told_with_both_numbers() -> None:
    parser = open_parser("text", columns="t_ms,ax,ay,az")
    parser.feed(b"1,2,3,4,5\n" * 8)
    assert parser.finding == Finding("text", "rows of 5 numbers, such as '1,2,3,4,5': columns= names 4")


def test_what_is_not_text_is_not_found_to_be_lines() -> None:
    parser = open_parser("text")
    parser.feed(random.Random(3).randbytes(20_000))
    assert parser.finding is None


@pytest.mark.parametrize(
    "line", [b"a" + b" " * 4000 + b":x", b"a:" + b"1" * 4000 + b"!", b"a:1e" * 1000, b"a b " * 1000 + b"="]
)
def test_a_line_that_nearly_fits_takes_no_longer_than_others(line: bytes) -> None:
    parser = open_parser("text")
    begin_s = time.process_time()
    parser.feed((line + b"\n") * 20)
    assert time.process_time() - begin_s < 1


@pytest.mark.parametrize(
    ("header", "row", "column", "option"),
    [
        (
            b"t_ms,ax,ay,az,gx (\xc2\xb0/min),gy (\xc2\xb0/min),gz (\xc2\xb0/min)",
            b"%d,0,0,9.8,1,2,3",
            "gx (°/min)",
            "gyro_unit",
        ),
        (b"t_ms,ax (counts),ay (counts),az (counts)", b"%d,0,0,1", "ax (counts)", "acc_unit"),
        (b"t_ms,ax \x1b[2J(counts),ay (counts),az (counts)", b"%d,0,0,1", "ax ?[2J(counts)", "acc_unit"),
    ],
)
def test_a_unit_that_is_not_known_is_named_and_no_sample_is_taken_as_si(
    header: bytes, row: bytes, column: str, option: str
) -> None:
    lines = b"".join([header + b"\n", *(row % (10 * n) + b"\n" for n in range(8))])
    parser = open_parser("text")
    assert len(parser.feed(lines)) == 0
    finding = parser.finding
    assert finding is not None
    assert finding.problem.startswith(f"the unit of {column} is not known here: add {option}=")
    unit = {"gyro_unit": "deg/s", "acc_unit": "g"}[option]
    assert len(open_parser("text", **{option: unit}).feed(lines)) == 8


def test_columns_in_a_unit_that_is_not_known_are_refused() -> None:
    with pytest.raises(ConfigError, match="the unit of ax_counts is not known here: add acc_unit="):
        open_parser("text", columns="ax_counts,ay_counts,az_counts")
