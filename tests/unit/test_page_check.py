"""What is judged of a page's costs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from mmg_tools.page_check import MOST_GROWN_MIB, SILENT, WAYS, Measured, describe

GOOD = Measured(
    "",
    decisions=100,
    latency_p50_ms=12.0,
    latency_p95_ms=40.0,
    cpu_percent=4.0,
    begin_mib=80.0,
    end_mib=80.0,
    dropped=0,
)
RUNS = [replace(GOOD, way=way, dropped=SILENT if way == WAYS[2] else 0) for way in WAYS] * 2


def test_a_page_that_costs_nothing_and_drops_those_that_never_read_passes() -> None:
    lines, passes = describe(RUNS)
    assert passes
    assert not [line for line in lines if "should be" in line]


def test_memory_that_grows_while_nobody_reads_does_not_pass() -> None:
    grown = [replace(run, end_mib=run.begin_mib + MOST_GROWN_MIB) if run.way == WAYS[2] else run for run in RUNS]
    lines, passes = describe(grown)
    assert not passes
    assert "memory while fifty never read: +5.0 MiB beside a run without a page (under 5)" in lines


@pytest.mark.parametrize(("number", "dropped"), [(1, 1), (2, SILENT - 1), (5, SILENT + 1)])
def test_in_each_run_those_that_never_read_are_dropped_and_nobody_else(number: int, dropped: int) -> None:
    runs = list(RUNS)
    runs[number] = replace(runs[number], dropped=dropped)
    lines, passes = describe(runs)
    assert not passes
    assert f"{WAYS[number % 3]}: {dropped} viewers dropped: only, and all, that never read should be" in lines
