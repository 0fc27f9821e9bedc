"""Xsens MTData2: real captures against their goldens, every precision, counters over their wrap."""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from mmg.sources.protocols import open_parser
from mmg.sources.protocols import xsens as xbus
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
CAPTURES = Path(os.environ.get("MMG_DATA", ROOT.parent / "shared" / "data")) / "xsens"
ROW = [1.5, -2.25, 9.75, 0.5, -0.25, -0.125]


def golden(path: Path) -> tuple[NDArray[np.float32], NDArray[np.int64], int]:
    """Of the messages with acceleration: their rows, their SampleTimeFine; and the number of all messages."""
    rows, times = [], []
    messages = path.read_text().strip().split("\n\n")
    for message in messages:
        fields = {
            name: [float(value) for value in re.findall(r"[XYZ]:(\S+)", body)] or body.strip()
            for name, body in re.findall(r"^(\w+)[^\n]*:\n((?:  [^\n]*\n?)+)", message, re.MULTILINE)
        }
        if "Acceleration" in fields:
            rows.append([*fields["Acceleration"], *fields["RateOfTurn"]])
            times.append(int(str(fields["SampleTimeFine"])))
    return np.array(rows, np.float32), np.array(times, np.int64), len(messages)


@pytest.mark.parametrize("capture", ["1", "2", "4"])
@pytest.mark.parametrize("piece", [1, 7, 100_000])
def test_a_real_capture_parses_to_its_golden(capture: str, piece: int) -> None:
    folder = CAPTURES / capture
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there: set MMG_DATA")
    rows, times, messages = golden(folder / "output.golden")
    assert len(rows) > 90
    stream = (folder / "output.bin").read_bytes()
    parser = open_parser("xsens")
    parts = [parser.feed(stream[at : at + piece]) for at in range(0, len(stream), piece)]
    np.testing.assert_array_equal(np.concatenate([part.values for part in parts]), rows)
    device = [part.device_time_ns for part in parts if part.device_time_ns is not None]
    np.testing.assert_array_equal(np.concatenate(device), times * 100_000)
    assert (parser.counters.frames, parser.counters.skipped_bytes) == (messages, 0)
    assert parser.counters.gaps == parser.counters.duplicates == parser.counters.checksum_errors == 0


@pytest.mark.parametrize("precision", [xbus.FLOAT32, xbus.FIXED_12_20, xbus.FIXED_16_32, xbus.FLOAT64])
def test_every_precision_carries_the_same_numbers(precision: int) -> None:
    samples = open_parser("xsens").feed(xbus.encode_sample(ROW, 0, 0, precision=precision))
    assert samples.values.tolist() == [ROW]


def test_fixed_16_32_puts_the_fraction_first() -> None:
    # -1.25 is -2 and 0.75.
    content = bytes.fromhex("c0000000 fffe") + bytes.fromhex("80000000 0001") + bytes(6)
    assert xbus.decode_vector(xbus.ACCELERATION | xbus.FIXED_16_32, content) == (-1.25, 1.5, 0.0)


def test_the_clock_goes_on_over_its_wrap() -> None:
    ticks = [2**32 - 25, 2**32, 2**32 + 25]
    stream = b"".join(xbus.encode_sample(ROW, n, tick * 100_000) for n, tick in enumerate(ticks))
    samples = open_parser("xsens").feed(stream)
    assert samples.device_time_ns is not None
    assert samples.device_time_ns.tolist() == [tick * 100_000 for tick in ticks]


def test_a_restarted_device_has_a_clock_that_goes_back_and_no_gap() -> None:
    parser = open_parser("xsens")
    samples = parser.feed(xbus.encode_sample(ROW, 500, 50_000_000_000) + xbus.encode_sample(ROW, 1, 100_000))
    assert samples.device_time_ns is not None
    assert samples.device_time_ns.tolist() == [50_000_000_000, 100_000]
    assert parser.counters.gaps == 0


def test_lost_messages_are_counted_over_the_wrap_of_the_packet_counter() -> None:
    parser = open_parser("xsens")
    parser.feed(b"".join(xbus.encode_sample(ROW, n, n * 100_000) for n in (65533, 65534, 65537, 65538)))
    assert parser.counters.gaps == 2


def test_a_message_that_comes_twice_is_given_out_once() -> None:
    parser = open_parser("xsens")
    assert len(parser.feed(xbus.encode_sample(ROW, 1, 100_000) * 2)) == 1
    assert parser.counters.duplicates == 1


def test_an_extended_length_is_read() -> None:
    data = xbus.encode_item(0x7777, bytes(250)) + xbus.encode_vector(xbus.ACCELERATION, ROW[:3])
    data += xbus.encode_vector(xbus.RATE_OF_TURN, ROW[3:])
    message = xbus.encode_message(xbus.MTDATA2, data)
    assert message[3] == 255
    samples = open_parser("xsens").feed(message)
    assert samples.values.tolist() == [ROW]
    assert samples.device_time_ns is None


def test_acceleration_alone_is_given_out_without_a_gyro() -> None:
    samples = open_parser("xsens").feed(b"".join(xbus.encode_sample(ROW[:3], n, n * 100_000) for n in range(9)))
    assert len(samples) == 9
    assert not samples.has_gyro


def test_other_messages_count_as_frames_and_give_nothing() -> None:
    parser = open_parser("xsens")
    assert len(parser.feed(xbus.encode_message(0x3E, b"") + xbus.encode_message(0x42, b"\x01"))) == 0
    assert (parser.counters.frames, parser.counters.checksum_errors) == (2, 0)


def test_items_that_overrun_their_message_are_refused() -> None:
    parser = open_parser("xsens")
    assert len(parser.feed(xbus.encode_message(xbus.MTDATA2, struct.pack(">HB", 0x4020, 12) + bytes(8)))) == 0
    assert parser.counters.checksum_errors >= 1
    assert parser.counters.frames == 0


def test_a_vector_of_the_wrong_size_is_counted() -> None:
    parser = open_parser("xsens")
    message = xbus.encode_message(xbus.MTDATA2, xbus.encode_item(xbus.ACCELERATION, bytes(8)))
    assert len(parser.feed(message)) == 0
    assert parser.counters.malformed == 1
