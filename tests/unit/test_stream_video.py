"""Frames: at each instant that the model asks for, the newest one, held for a while and no longer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from fakes import FRAME, HOP_S, cut, times_ns, video_chunk, video_modality
from fuzzing import times
from hypothesis import given, settings
from hypothesis import strategies as st
from mmg.errors import ConfigError
from mmg.streams import Hop, HopGrid, Stream, open_stream
from mmg.types import Chunk
from numpy.typing import NDArray

HOP_NS = round(HOP_S * 1e9)
# The model wants 4 frames a second: two a hop, those of 125 and 375 ms after its start.
TEN_YEARS_NS = 10 * 365 * 86_400 * 10**9


def stream(origin_ns: int = 0) -> Stream:
    return open_stream(video_modality(), HopGrid(origin_ns, HOP_NS))


def frames_at(seconds: Sequence[float], dropped: int = 0) -> Chunk:
    """Frames that tell their place in the list by their grey, from 1 on."""
    greys = (np.arange(len(seconds)) % 255 + 1).astype(np.uint8)
    times = np.asarray(np.round(np.asarray(seconds, np.float64) * 1e9), np.int64)
    return Chunk("video", np.tile(greys[:, None, None, None], (1, *FRAME, 3)), times, 0.0, dropped)


def shown(hops: Sequence[Hop]) -> dict[int, list[int] | None]:
    """The greys of each hop."""
    return {hop.index: None if hop.samples is None else hop.samples[:, 0, 0, 0].tolist() for hop in hops}


def push_all(video: Stream, chunks: Iterable[Chunk]) -> list[Hop]:
    return [hop for chunk in chunks for hop in video.push(chunk)]


def test_each_instant_shows_the_newest_frame() -> None:
    hops = stream().push(frames_at([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]))
    assert shown(hops) == {0: [2, 4], 1: [7, 9]}
    for hop in hops:
        assert hop.samples is not None
        assert hop.samples.shape == (2, *FRAME, 3)
        assert hop.samples.dtype == np.uint8


def test_an_array_may_be_used_again_once_it_was_pushed() -> None:
    chunk, video = video_chunk(0, 2), stream()
    hops: list[Hop] = []
    for piece in cut(replace(chunk, samples=chunk.samples.copy()), range(100)):
        hops += video.push(piece)
        piece.samples[:] = 9
    assert shown(hops) == shown(stream().push(chunk))


def test_a_frame_of_that_very_instant_is_the_newest() -> None:
    assert shown(stream().push(frames_at([0.0, 0.125, 0.375, 0.376]))) == {0: [2, 3]}


@pytest.mark.parametrize("rate_hz", [4.0, 10.0, 29.97, 120.0])
def test_no_frame_is_from_the_future_or_older_than_one_period(rate_hz: float) -> None:
    seconds = np.arange(round(5 * rate_hz)) / rate_hz
    hops = stream().push(frames_at(seconds.tolist()))
    assert len(hops) >= 9
    for index, greys in shown(hops).items():
        assert greys is not None
        for grey, offset_s in zip(greys, (0.125, 0.375), strict=True):
            numbers = np.arange(len(seconds))[np.arange(len(seconds)) % 255 + 1 == grey]
            age_s = index * HOP_S + offset_s - seconds[numbers]
            assert ((age_s > -1e-9) & (age_s < 1 / rate_hz + 1e-9)).any()


def test_a_slow_camera_has_its_frames_held() -> None:
    # Two frames a second for a model that wants four: each is shown twice.
    hops = stream().push(frames_at([0.0, 0.5, 1.0, 1.5, 2.0, 2.5]))
    assert shown(hops) == {0: [1, 1], 1: [2, 2], 2: [3, 3], 3: [4, 4], 4: [5, 5]}


def test_a_frame_is_held_for_two_intervals_and_no_longer() -> None:
    held = [0.0, 0.25, 0.375, 0.9, 1.0, 1.25, 1.5]
    late = [0.0, 0.25, 0.374, 0.9, 1.0, 1.25, 1.5]
    assert shown(stream().push(frames_at(held))) == {0: [2 - 1, 3], 1: [3, 3], 2: [5, 6]}
    assert shown(stream().push(frames_at(late))) == {0: [1, 3], 1: None, 2: [5, 6]}


def test_a_gap_takes_the_hops_that_it_touches_and_no_other() -> None:
    chunk = video_chunk(0, 6)
    kept = (chunk.times_ns < 10**9) | (chunk.times_ns >= 3 * 10**9)
    hops = stream().push(replace(chunk, samples=chunk.samples[kept], times_ns=chunk.times_ns[kept]))
    whole = {index for index, greys in shown(hops).items() if greys is not None}
    # The last frame before the gap, of 0.75 s, is held to 1.25 s: the hop from 1.0 s would need it at 1.375 s.
    assert whole == {0, 1, 6, 7, 8, 9, 10}
    assert shown(hops)[2] is None


def test_a_camera_that_starts_a_little_late_has_that_hop() -> None:
    assert shown(stream().push(frames_at([0.375, 0.5, 0.75, 1.0])))[0] == [1, 1]
    assert shown(stream().push(frames_at([0.376, 0.5, 0.75, 1.0])))[0] is None


@pytest.mark.parametrize("origin_ns", [123_456_789, 1_700_000_000 * 10**9, -5 * 10**9])
def test_the_grid_may_begin_anywhere(origin_ns: int) -> None:
    chunk = video_chunk(0, 4)
    moved = stream(origin_ns).push(replace(chunk, times_ns=chunk.times_ns + origin_ns))
    assert shown(moved) == shown(stream().push(chunk))


def test_a_hop_tells_its_newest_frame_and_its_input_rate() -> None:
    hops = stream().push(frames_at((np.arange(21) / 10).tolist()))
    assert [hop.last_ns for hop in hops] == [300_000_000, 800_000_000, 1_300_000_000, 1_800_000_000]
    assert [hop.input_hz for hop in hops] == pytest.approx([10.0] * 4)


def test_late_and_repeated_frames_are_counted_and_never_shown() -> None:
    video = stream()
    hops = video.push(frames_at([0.0, 0.1, 0.05, 0.1, 0.3, 0.2, 0.5, 0.6, 0.9], dropped=4))
    assert video.dropped == 4 + 3
    assert shown(hops) == {0: [2, 5], 1: [8, 8]}
    assert [hop.dropped for hop in hops] == [7, 7]


def test_a_clock_that_jumps_ten_years_costs_a_few_hops() -> None:
    chunk = video_chunk(0, 2)
    video = stream()
    hops = video.push(chunk) + video.push(replace(chunk, times_ns=chunk.times_ns + TEN_YEARS_NS))
    assert len(hops) <= 9
    assert video.next_hop == TEN_YEARS_NS // HOP_NS + 3


def test_an_hour_backwards_is_counted() -> None:
    video = stream()
    video.push(video_chunk(4000, 2))
    assert video.push(video_chunk(400, 10)) == []
    assert (video.dropped, video.last_ns) == (40, 4001_750_000_000)


def test_empty_chunks_are_harmless() -> None:
    chunk = video_chunk(0, 4)
    empty = Chunk("video", np.empty((0, *FRAME, 3), np.uint8), np.empty(0, np.int64))
    expected = described(stream().push(chunk))
    video = stream()
    hops = video.push(empty)
    for part in cut(chunk, range(16)):
        hops += video.push(part) + video.push(empty)
    assert described(hops) == expected
    video.push(replace(empty, dropped=3))
    assert video.dropped == 3


@pytest.mark.parametrize(
    ("shape", "count"),
    [((2, 8, 6, 3), 2), ((2, 6, 8), 2), ((2, 6, 8, 1), 2), ((2, 6, 8, 4), 2), ((6, 8, 3), 6), ((2, 6, 8, 3), 3)],
)
def test_a_chunk_of_another_shape_is_refused(shape: tuple[int, ...], count: int) -> None:
    with pytest.raises(ConfigError, match="video"):
        stream().push(Chunk("video", np.zeros(shape, np.uint8), np.arange(count)))


def described(hops: Sequence[Hop]) -> list[tuple[object, ...]]:
    """Every bit of every hop."""
    return [
        (hop.index, None if hop.samples is None else hop.samples.tobytes(), hop.last_ns, hop.dropped, hop.input_hz)
        for hop in hops
    ]


def troubled_times(seed: int) -> NDArray[np.int64]:
    """Jitter, frames left out, repeated and backward times, jumps."""
    random = np.random.default_rng(seed)
    times = times_ns(0, 60, 10) + random.integers(-40_000_000, 40_000_000, 60)
    times = times[random.random(60) < 0.8]
    for _ in range(random.integers(0, 4)):
        place = int(random.integers(1, len(times)))
        times[place] = times[place - 1] - random.integers(0, 2) * random.integers(0, 10**9)
    for _ in range(random.integers(0, 3)):
        times[random.integers(len(times)) :] += random.choice([600_000_000, 2 * 10**9, TEN_YEARS_NS])
    return times


@settings(max_examples=times(100), deadline=None)
@given(seed=st.integers(0, 2**32 - 1), places=st.lists(st.integers(0, 60), max_size=20))
def test_where_the_chunks_are_cut_changes_nothing(seed: int, places: list[int]) -> None:
    chunk = frames_at((troubled_times(seed) / 1e9).tolist(), dropped=2)
    one, many, single = stream(), stream(), stream()
    expected = described(one.push(chunk))
    assert described(push_all(many, cut(chunk, places))) == expected
    assert described(push_all(single, cut(chunk, range(60)))) == expected
    for other in (many, single):
        assert (other.next_hop, other.first_ns, other.last_ns, other.dropped) == (
            one.next_hop,
            one.first_ns,
            one.last_ns,
            one.dropped,
        )
