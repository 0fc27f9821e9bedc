"""BNO08x UART-RVC: the data sheet's frame and its 8-bit index."""

from __future__ import annotations

import numpy as np
from mmg.sources.protocols import open_parser
from mmg.sources.protocols.bno08x import encode_sample

PUBLISHED = bytes.fromhex("AA AA DE 01 00 92 FF 25 08 8D FE EC FF D1 03 00 00 00 E7")
ACCELERATION = [value * 0.00980665 for value in (-371, -20, 977)]


def test_the_published_frame_is_read_and_written() -> None:
    samples = open_parser("bno08x").feed(PUBLISHED)
    np.testing.assert_allclose(samples.values, [[*ACCELERATION, 0, 0, 0]], rtol=1e-6)
    assert not samples.has_gyro
    assert samples.device_time_ns is not None
    assert samples.device_time_ns.tolist() == [222 * 10_000_000]
    assert encode_sample(ACCELERATION, 222, yaw_pitch_roll_deg=(0.01, -1.10, 20.85)) == PUBLISHED


def test_the_clock_goes_on_over_the_wrap_of_the_index() -> None:
    samples = open_parser("bno08x").feed(b"".join(encode_sample(ACCELERATION, n) for n in range(250, 800)))
    assert samples.device_time_ns is not None
    np.testing.assert_array_equal(samples.device_time_ns, np.arange(250, 800) * 10_000_000)


def test_lost_frames_are_counted_over_the_wrap_and_keep_their_time() -> None:
    parser = open_parser("bno08x")
    samples = parser.feed(b"".join(encode_sample(ACCELERATION, n) for n in (254, 255, 258, 458)))
    assert parser.counters.gaps == 2 + 199
    assert samples.device_time_ns is not None
    assert samples.device_time_ns.tolist() == [n * 10_000_000 for n in (254, 255, 258, 458)]


def test_a_frame_that_comes_twice_is_given_out_once() -> None:
    parser = open_parser("bno08x")
    assert len(parser.feed(PUBLISHED * 2)) == 1
    assert parser.counters.duplicates == 1


def test_a_header_that_slid_by_one_byte_is_found() -> None:
    assert len(open_parser("bno08x").feed(b"\xaa" + PUBLISHED)) == 1
