"""What must hold for every protocol: splits, garbage, damage, noise and speed."""

from __future__ import annotations

import itertools
import pickle
import random
import time
from itertools import pairwise

import numpy as np
import pytest
from fuzzing import times
from hypothesis import given, settings
from hypothesis import strategies as st
from mmg.errors import ConfigError
from mmg.sources.protocols import PROTOCOLS, Parser, Samples, encode_sample, join, open_parser
from mmg.sources.protocols.framing import Unwrapped

# The device's usual highest rate of samples.
REAL_RATE_HZ = {
    "witmotion": 200,
    "bno08x": 100,
    "vectornav-ascii": 200,
    "vectornav-binary": 800,
    "xsens": 400,
    "text": 200,
}
CHECKED = tuple(name for name in PROTOCOLS if name != "text")
# What a parser may hold between feeds, pickled: one longest line and a little state, for auto six times over.
MOST_KEPT = 15_000


def frames_of(protocol: str, count: int, seed: int = 0) -> list[bytes]:
    draw = random.Random(seed)
    return [
        encode_sample(protocol, [draw.uniform(-20, 20) for _ in range(6)], index, index * 10_000_000)
        for index in range(count)
    ]


def fed_in_pieces(parser: Parser, *pieces: bytes) -> Samples:
    return join([parser.feed(piece) for piece in pieces])


def assert_same(one: Samples, other: Samples) -> None:
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(one.last_byte, other.last_byte)
    assert one.has_gyro == other.has_gyro
    assert (one.device_time_ns is None) == (other.device_time_ns is None)
    if one.device_time_ns is not None:
        np.testing.assert_array_equal(one.device_time_ns, other.device_time_ns)


def noisy_stream(protocol: str, seed: int, frames: int = 12) -> bytes:
    """Good frames with runs of noise between some, and one byte in a hundred wrong."""
    draw = random.Random(seed)
    marks = b"\xfa\xff\x36\xaaU\x51\x52$VN\n\r{,"
    stream = bytearray()
    for frame in frames_of(protocol, frames, seed):
        stream += frame
        if draw.random() < 0.3:
            stream += bytes(draw.choice([draw.choice(marks), draw.randrange(256)]) for _ in range(draw.randrange(30)))
    for at in range(len(stream)):
        if draw.random() < 0.01:
            stream[at] = draw.randrange(256)
    return bytes(stream)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_was_encoded_comes_back(protocol: str) -> None:
    samples = np.random.default_rng(1).uniform(-20, 20, (50, 6)).astype(np.float32)
    stream = b"".join(
        encode_sample(protocol, [float(value) for value in row], index, index * 10_000_000)
        for index, row in enumerate(samples)
    )
    parser = open_parser(protocol)
    parsed = parser.feed(stream)
    columns = slice(0, 6 if parsed.has_gyro else 3)
    np.testing.assert_allclose(parsed.values[:, columns], samples[:, columns], atol=6e-3)
    assert not parsed.values[:, columns.stop :].any()
    assert parsed.values.dtype == np.float32
    if parsed.device_time_ns is not None:
        np.testing.assert_array_equal(parsed.device_time_ns, np.arange(50) * 10_000_000)
    counters = parser.counters
    assert (counters.samples, counters.bytes_fed, counters.skipped_bytes) == (50, len(stream), 0)
    assert counters.checksum_errors == counters.malformed == counters.incomplete == counters.gaps == 0


@pytest.mark.parametrize("protocol", [*PROTOCOLS, "auto"])
def test_every_split_point_gives_the_same(protocol: str) -> None:
    stream = noisy_stream("xsens" if protocol == "auto" else protocol, seed=3, frames=7)
    whole = open_parser(protocol)
    expected = whole.feed(stream)
    assert len(expected) >= 4
    for at in range(len(stream) + 1):
        parser = open_parser(protocol)
        assert_same(fed_in_pieces(parser, stream[:at], stream[at:]), expected)
        assert parser.counters == whole.counters


@pytest.mark.parametrize("protocol", [*PROTOCOLS, "auto"])
@pytest.mark.fuzz
@pytest.mark.parametrize("seed", range(times(20)))
def test_random_pieces_of_a_noisy_stream_give_the_same(protocol: str, seed: int) -> None:
    stream = noisy_stream(PROTOCOLS[seed % len(PROTOCOLS)] if protocol == "auto" else protocol, seed)
    draw = random.Random(seed)
    whole = open_parser(protocol)
    expected = whole.feed(stream)
    cuts = sorted({0, len(stream), *(draw.randrange(len(stream)) for _ in range(draw.choice([3, 40, 1000])))})
    parser = open_parser(protocol)
    assert_same(fed_in_pieces(parser, *(stream[a:b] for a, b in pairwise(cuts))), expected)
    assert parser.counters == whole.counters


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_last_byte_of_a_sample_is_where_its_frame_ends(protocol: str) -> None:
    frames = frames_of(protocol, 5)
    garbage = b"\x00\x01\x02\n"
    parsed = fed_in_pieces(open_parser(protocol), garbage, b"".join(frames))
    ends = itertools.accumulate(map(len, frames), initial=len(garbage))
    np.testing.assert_array_equal(parsed.last_byte, [end - 1 for end in ends][1:])


@pytest.mark.parametrize("protocol", CHECKED)
def test_good_frames_behind_any_garbage_are_never_lost(protocol: str) -> None:
    frames = frames_of(protocol, 3, seed=2)
    # Behind them, room for the longest frame that the garbage may seem to begin.
    good, after = b"".join(frames), bytes(2100)
    expected = open_parser(protocol).feed(good).values
    cut_off = [frames[0][:length] for length in range(1, len(frames[0]))]
    for garbage in (
        *cut_off,
        b"\xfa\xff\x36\xff\x08\x00",
        b"\xfa\x01\x01\x00",
        b"\xaa",
        b"\xaa\xaa\xaa",
        b"U",
        b"$VN",
    ):
        parser = open_parser(protocol)
        values = parser.feed(garbage + good + after).values
        np.testing.assert_array_equal(values[-3:], expected, err_msg=garbage.hex())


@pytest.mark.parametrize("protocol", CHECKED)
def test_one_wrong_byte_loses_only_the_frames_it_touches(protocol: str) -> None:
    frames = frames_of(protocol, 4, seed=5)
    stream, after = b"".join(frames), bytes(2100)
    expected = open_parser(protocol).feed(stream).values
    owner = [index for index, frame in enumerate(frames) for _ in frame]
    draw = random.Random(7)
    for at, touched in enumerate(owner):
        for wrong in {stream[at] ^ 0xFF, stream[at] ^ 1, 0, 0xFA, draw.randrange(256)} - {stream[at]}:
            values = open_parser(protocol).feed(stream[:at] + bytes((wrong,)) + stream[at + 1 :] + after).values
            others = np.delete(expected, touched, axis=0)
            kept = [row for row in values.tolist() if row in others.tolist()]
            assert kept == others.tolist(), (at, wrong)
            # What is left over can only be the frame itself, where a byte outside its content was hit.
            assert all(row in expected.tolist() for row in values.tolist()), (at, wrong)


def test_one_wrong_byte_in_text_loses_only_its_line() -> None:
    lines = frames_of("text", 4, seed=5)
    stream = b"".join(lines)
    expected = open_parser("text").feed(stream).values.tolist()
    owner = [index for index, line in enumerate(lines) for _ in line]
    for at, touched in enumerate(owner):
        # A line's end belongs to the next line as well.
        lost = {touched, touched + 1} if stream[at : at + 1] == b"\n" else {touched}
        values = open_parser("text").feed(stream[:at] + b"\xff" + stream[at + 1 :]).values.tolist()
        assert [row for index, row in enumerate(expected) if index not in lost] == [
            row for row in values if row in expected
        ]


@pytest.mark.fuzz
@pytest.mark.parametrize("protocol", [*PROTOCOLS, "auto"])
def test_random_bytes_give_no_sample(protocol: str) -> None:
    draw = random.Random(20)
    parser = open_parser(protocol)
    # Those that look at text take ten times as long.
    left = length = times(1_000_000 if protocol in CHECKED else 150_000)
    while left:
        piece = draw.randbytes(min(left, draw.randrange(1, 4000)))
        left -= len(piece)
        assert len(parser.feed(piece)) == 0
    assert parser.counters.bytes_fed == length


# Noise that likes to look like frames: drawn from the bytes that frames and lines are made of.
ALPHABETS = {
    "witmotion": b"\x55\x51\x52\x50\x00\x01",
    "bno08x": b"\xaa\xaa\xaa\x00\x01\xff",
    "vectornav-ascii": b"$VNIMU,1.+-*5F\r\n",
    "vectornav-binary": b"\xfa\x01\x02\x04\x00\x21\x7f",
    "xsens": b"\xfa\xff\x36\x40\x20\x0c\x00\x80",
    "text": b'{"ax":1,[]}0.e9\n\xff',
    "auto": b'\xfa\xff\x36\x55\x51\xaa$VN{"\n',
}


@pytest.mark.parametrize("protocol", [*PROTOCOLS, "auto"])
def test_noise_made_of_a_protocols_own_bytes_neither_raises_nor_piles_up(protocol: str) -> None:
    draw = random.Random(21)
    parser = open_parser(protocol)
    for _ in range(300):
        samples = parser.feed(bytes(draw.choices(ALPHABETS[protocol], k=draw.randrange(1, 1000))))
        assert np.isfinite(samples.values).all()
        assert len(pickle.dumps(parser)) < MOST_KEPT


def damaged(draw: random.Random, stream: bytes) -> bytes:
    """With a byte changed, a piece missing, a piece twice or something put in; or as it was."""
    at = draw.randrange(len(stream))
    piece = stream[at : at + draw.randrange(1, 40)]
    change = draw.choice([b"", piece * 2, bytes((piece[0] ^ 1 << draw.randrange(8),)) + piece[1:], draw.randbytes(9)])
    return stream[:at] + draw.choice([change, piece]) + stream[at + len(piece) :]


@pytest.mark.parametrize("protocol", [*PROTOCOLS, "auto"])
def test_a_million_bytes_of_damaged_frames_are_survived(protocol: str) -> None:
    draw, parser, given = random.Random(22), open_parser(protocol), 0
    frames = frames_of("xsens" if protocol == "auto" else protocol, 2000, seed=8)
    while parser.counters.bytes_fed < 1_000_000:
        first = draw.randrange(len(frames) - 20)
        samples = parser.feed(damaged(draw, b"".join(frames[first : first + draw.randrange(1, 20)])))
        given += len(samples)
        assert np.isfinite(samples.values).all()
    assert len(pickle.dumps(parser)) < MOST_KEPT
    assert parser.counters.samples == given > 1000


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_parsing_keeps_up_with_a_hundred_devices(protocol: str) -> None:
    frames = frames_of(protocol, 2000)
    stream = b"".join(frames)
    seconds_of_device = len(frames) / REAL_RATE_HZ[protocol]

    def took() -> float:
        parser = open_parser(protocol)
        begin = time.process_time()
        for at in range(0, len(stream), 512):
            parser.feed(stream[at : at + 512])
        return time.process_time() - begin

    ratio = seconds_of_device / min(took() for _ in range(8))
    assert ratio > 100, f"{protocol}: only {ratio:.0f} times the device's rate"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_feed_of_nothing_is_nothing(protocol: str) -> None:
    samples = open_parser(protocol).feed(b"")
    assert len(samples) == 0
    assert samples.values.shape == (0, 6)
    assert samples.device_time_ns is None


@pytest.mark.parametrize(
    ("protocol", "options", "told"),
    [
        ("wit", {}, "auto, witmotion, bno08x, vectornav-ascii, vectornav-binary, xsens, text"),
        ("witmotion", {"columns": "ax"}, "it has no options"),
        ("text", {"unit": "g"}, "its options are columns, acc_unit, gyro_unit"),
        ("auto", {"unit": "g"}, "its options are columns, acc_unit, gyro_unit"),
        ("text", {"acc_unit": "lb"}, "m/s2, g, mg"),
        ("auto", {"gyro_unit": "furlong"}, "rad/s, deg/s"),
        ("text", {"columns": "t_ms,ax,ay"}, "name ax, ay, az"),
        ("text", {"columns": "ax,ay,az,gx"}, "all of gx, gy, gz or none"),
    ],
)
def test_what_cannot_be_opened_says_what_can(protocol: str, options: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        open_parser(protocol, **options)


def test_encoding_for_an_unknown_protocol_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="witmotion, bno08x"):
        encode_sample("wit", [0.0] * 6, 0, 0)


@settings(max_examples=times(100), derandomize=True, deadline=None)
@given(bits=st.integers(2, 64), start=st.integers(0, 2**64), restarts=st.booleans(), data=st.data())
def test_a_counter_is_unwrapped_over_every_step_that_it_can_tell(
    bits: int, start: int, restarts: bool, data: st.DataObject
) -> None:
    half = 2 ** (bits - 1)
    lowest, highest = (1 - half, half) if restarts else (0, 2 * half - 1)
    steps = data.draw(st.lists(st.integers(lowest, highest), max_size=30))
    counter, count = Unwrapped(bits, restarts=restarts), start % 2**bits
    assert (counter.step(count), counter.value) == (1, count)
    for step in steps:
        count += step
        assert (counter.step(count % 2**bits), counter.value) == (step, count)
