"""Finding the protocol from the bytes."""

from __future__ import annotations

import random

import numpy as np
import pytest
from mmg.sources.protocols import PROTOCOLS, Finding, encode_sample, join, open_parser
from mmg.sources.protocols import text as lines
from mmg.sources.protocols.vectornav_ascii import encode_sentence
from mmg.sources.protocols.witmotion import encode_frame
from mmg.sources.protocols.xsens import encode_item, encode_message


def stream_of(protocol: str, count: int) -> bytes:
    draw = random.Random(4)
    return b"".join(
        encode_sample(protocol, [draw.uniform(-9, 9) for _ in range(6)], index, index * 10_000_000)
        for index in range(count)
    )


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_each_protocol_is_known_after_four_samples_and_none_is_lost(protocol: str) -> None:
    parser = open_parser("auto")
    first = parser.feed(stream_of(protocol, 3))
    assert (parser.name, len(first)) == ("auto", 0)
    parser = open_parser("auto")
    samples = parser.feed(stream_of(protocol, 4))
    assert parser.name == protocol
    np.testing.assert_array_equal(samples.values, open_parser(protocol).feed(stream_of(protocol, 4)).values)
    assert parser.counters.frames >= 4
    assert parser.counters.bytes_fed == len(stream_of(protocol, 4))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_joining_in_the_middle_of_a_noisy_line_is_no_hindrance(protocol: str) -> None:
    stream = random.Random(5).randbytes(3000) + b"\n" + stream_of(protocol, 20)[7:]
    parser = open_parser("auto")
    samples = join([parser.feed(stream[at : at + 13]) for at in range(0, len(stream), 13)])
    assert parser.name == protocol
    assert len(samples) >= 18


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_another_protocols_parser_finds_nothing_in_the_stream(protocol: str) -> None:
    stream = stream_of(protocol, 500)
    for other in set(PROTOCOLS) - {protocol}:
        assert len(open_parser(other).feed(stream)) == 0


def test_single_samples_far_apart_are_taken_for_chance() -> None:
    parser = open_parser("auto")
    for index in range(10):
        assert len(parser.feed(encode_sample("witmotion", [1.0] * 6, index, 0) + bytes(5000))) == 0
    assert parser.name == "auto"


def test_frames_without_acceleration_choose_nothing() -> None:
    parser = open_parser("auto")
    parser.feed(encode_sentence("VNYPR,1,2,3") * 10 + encode_frame(0x53, bytes(8)) * 10)
    assert parser.name == "auto"


@pytest.mark.parametrize(("first", "second"), [("witmotion", "xsens"), ("xsens", "witmotion")])
def test_of_two_protocols_in_one_read_the_earlier_is_chosen(first: str, second: str) -> None:
    parser = open_parser("auto")
    parser.feed(stream_of(first, 6) + stream_of(second, 6))
    assert parser.name == first


def test_options_of_text_reach_it() -> None:
    parser = open_parser("auto", columns="ax,ay,az", acc_unit="g")
    assert parser.feed(b"0,0,1\n" * 4).values[:, 2].tolist() == pytest.approx([9.80665] * 4)
    assert parser.name == "text"


def test_text_under_a_header_is_known() -> None:
    parser = open_parser("auto")
    parser.feed(lines.encode_header() + b"".join(lines.encode_csv([1.0] * 6, n * 1000) for n in range(4)))
    assert parser.name == "text"


def test_nothing_is_kept_of_a_stream_that_nobody_understands() -> None:
    parser = open_parser("auto")
    draw = random.Random(6)
    for _ in range(200):
        assert len(parser.feed(draw.randbytes(500))) == 0
    assert parser.name == "auto"
    assert parser.counters.bytes_fed == 100_000


ANGLES = {
    "witmotion": encode_frame(0x53, bytes(8)),
    "vectornav-ascii": encode_sentence("VNYPR,+010.071,+000.278,-002.026"),
    "xsens": encode_message(0x36, encode_item(0x1020, b"\0\1") + encode_item(0x2010, bytes(16))),
}


@pytest.mark.parametrize("protocol", ANGLES)
@pytest.mark.parametrize("asked", ["auto", "by name"])
def test_a_device_that_sends_only_angles_is_named_and_told_so(protocol: str, asked: str) -> None:
    parser = open_parser("auto" if asked == "auto" else protocol)
    parser.feed(ANGLES[protocol] * 3)
    assert parser.finding is None
    parser.feed(ANGLES[protocol] * 3)
    problem = "valid frames, but none with acceleration: is that output switched on?"
    assert parser.finding == Finding(protocol, problem)
    assert Finding(protocol, problem).at(9600) == f"{protocol} at 9600 baud: {problem}"
    parser.feed(stream_of(protocol, 8))
    assert parser.finding is None


def test_lines_of_text_are_found_and_noise_is_not() -> None:
    parser = open_parser("auto")
    parser.feed(random.Random(9).randbytes(20_000))
    assert parser.finding is None
    parser = open_parser("auto")
    parser.feed(b"[12] boot: chip revision 3\r\n" * 9)
    assert parser.finding is not None
    assert parser.finding.protocol == "text"
