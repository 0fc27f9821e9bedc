"""How late samples come, and the grace that would wait for them."""

from __future__ import annotations

import numpy as np
import pytest
from mmg.cli.record import STEP_S
from mmg.runs.lateness import Lateness
from numpy.typing import NDArray

MS, HOP_MS, GRACE_S = 10**6, 500, 0.2


def batches(
    batch_ms: int, seconds: int = 20, *, phase_ms: int = 70, more_ms: int = 0
) -> list[tuple[NDArray[np.int64], int]]:
    """The times of samples at 100 Hz that come together, and when they come."""
    ends = range(phase_ms, seconds * 1000, batch_ms)
    return [(np.arange(end - batch_ms + 10, end + 1, 10, dtype=np.int64) * MS, (end + more_ms) * MS) for end in ends]


def told(lateness: Lateness, chunks: list[tuple[NDArray[np.int64], int]]) -> list[str]:
    before_ns, lines = None, []
    for times_ns, now_ns in chunks:
        lines.append(lateness.measure(times_ns, before_ns, now_ns))
        before_ns = int(times_ns[-1])
    return [line for line in lines if line]


def lateness() -> Lateness:
    return Lateness(0, HOP_MS * MS, GRACE_S)


def test_batches_that_come_after_the_grace_are_told_once_with_the_grace_that_is_enough() -> None:
    [line] = told(lateness(), batches(500, phase_ms=410))
    assert line == (
        "its samples arrive up to 0.41 s after the end of a hop, as they do in batches: --grace 0.5 waits for them"
    )


@pytest.mark.parametrize("batch_ms", [500, 600, 700, 1000])
@pytest.mark.parametrize("phase_ms", [10, 130, 300, 490])
def test_the_grace_that_is_named_is_enough_for_every_hop(batch_ms: int, phase_ms: int) -> None:
    chunks = batches(batch_ms, phase_ms=phase_ms)
    late_s = [
        (now_ns - end_ns) / 1e9
        for times_ns, now_ns in chunks
        for end_ns in range(0, 20_000 * MS, HOP_MS * MS)
        if times_ns[0] - 10 * MS < end_ns <= times_ns[-1]
    ]
    lines = told(lateness(), chunks)
    assert bool(lines) == (sum(late > GRACE_S for late in late_s) >= 3)
    if lines:
        assert len(lines) <= 2
        assert float(lines[-1].partition("--grace ")[2].split()[0]) >= max(late_s)


def test_samples_that_come_in_time_are_not_told() -> None:
    assert told(lateness(), batches(20, more_ms=30)) == []
    assert told(lateness(), batches(100, more_ms=60)) == []


def test_what_mmg_record_took_at_once_does_not_look_late_in_a_replay() -> None:
    """A port gives each hop soon after its end, and the recorder looks at any time after that."""
    step_ms = round(STEP_S * 1000) + 1  # the two drift apart
    came = [(times_ns, -(-now_ns // MS // step_ms) * step_ms * MS) for times_ns, now_ns in batches(500, phase_ms=10)]
    assert told(lateness(), came) == []


def test_a_gap_is_no_lateness() -> None:
    chunks = [chunk for n in range(8) for chunk in batches(20, 20) if n * 2400 * MS < chunk[1] < (n * 2400 + 900) * MS]
    assert told(lateness(), chunks) == []


def test_what_is_seconds_late_is_no_batch() -> None:
    assert told(lateness(), batches(20, more_ms=4000)) == []


def test_hops_that_go_without_a_sensor_again_and_again_are_told_once() -> None:
    watch = lateness()
    lines = [watch.follow("stale" if n % 3 == 0 else "live", 1) for n in range(60)]
    assert [line for line in lines if line] == [
        "its samples leave gaps of more than half a hop, or come too late: some hops go without it"
    ]


def test_one_gap_and_a_slow_start_are_not() -> None:
    watch = lateness()
    states = ["warming"] * 40 + ["live"] * 50 + ["stale"] * 4 + ["live"] * 50
    assert not any(watch.follow(state, 1) for state in states)


def test_a_sensor_that_never_becomes_live_is_told() -> None:
    watch = lateness()
    assert any(watch.follow("warming", 1) for _ in range(60))


def test_gaps_that_were_explained_are_forgotten() -> None:
    watch = lateness()
    for _ in range(10):
        assert not any(watch.follow("stale", 1) for _ in range(4))
        watch.forgive()
        assert not any(watch.follow("live", 1) for _ in range(6))
