"""One wearer through a port with many faults: each decides as the truth does, or the fault is told. None decides on
anything else as if nothing were.

The truth is the demo's first half minute as a board sends it that is well. A port cannot be looked ahead at: how long
a fault may take to be told is given beside it, and counts from its first sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mmg.bundle import Bundle
from mmg.cli.sensors import DEMO
from mmg.engine.health import WELL, Health
from mmg.runs.recorded import Pipeline
from mmg.runs.settings import Settings
from mmg.sources.units import STANDARD_GRAVITY as G
from port_faults import (
    DEGREE,
    FULL_SCALE,
    HEADER,
    Change,
    Rows,
    batched,
    beside,
    eaten,
    failed,
    flipped,
    frames,
    held,
    lines,
    lost,
    objects,
    scaled,
    since,
    slow_gyroscope,
    spiked,
    stuck,
    swapped,
    thinned,
    without,
    without_gravity,
)
from ports.usb_tree import UsbTree
from truth_or_told import MOST_OTHER, AsTruth, Fault, Lost, Told, Truth, assert_truth_or_told, others, play

SECONDS = 27.0
LATER_S = 12.0
"""While the wearer brushes teeth."""


def in_values(change: Callable[[Rows], Rows], state: str, words: str, within_s: float, begin_s: float = 0.0) -> Fault:
    changed = since(begin_s, change) if begin_s else change
    return Fault(lambda rows: lines(changed(rows)), Told(state, words, within_s), begin_s=begin_s)


@pytest.fixture(scope="module")
def bundle() -> Iterator[Bundle]:
    with Bundle.open("starter") as opened:
        yield opened


@pytest.fixture(scope="module")
def rows() -> Rows:
    table = np.loadtxt(DEMO / "imu.csv", delimiter=",", skiprows=1)
    return table[table[:, 0] < SECONDS * 1000]


@pytest.fixture(scope="module")
def truth(bundle: Bundle, rows: Rows) -> Truth:
    return {one.hop: one for one in play(bundle, Fault(lines, AsTruth()), rows).made}


UNITS = (3.0, 4.0)
VALUES: dict[str, tuple[Change, str, str, tuple[float, float]]] = {
    "an axis stuck": (stuck(0), "doubted", "ax is stuck at", (8.0, 4.0)),
    "an axis stuck at full scale": (stuck(0, at=FULL_SCALE[0]), "faulty", "clipped|ax is stuck at 157", (2.0, 3.0)),
    "the gyroscope stuck at full scale": (
        stuck(3, 4, 5, at=FULL_SCALE[1]),
        "faulty",
        "its gyroscope is stuck at 34.91, 34.91, 34.91",
        UNITS,
    ),
    "the last sample again and again": (stuck(*range(6)), "faulty", "flat line", (2.0, 2.0)),
    "the last sample for half of the time": (held(60, 30), "doubted|faulty", "its values stand still", (9.0, 9.0)),
    "spikes of full scale in 2 %": (spiked(0.02), "doubted|faulty", "of its samples are spikes", (7.0, 7.0)),
    "gravity reads a third": (scaled(1 / 3), "faulty", "gravity reads .*wrong unit", UNITS),
    "gravity reads twice as much": (scaled(2), "faulty", "gravity reads .*wrong unit", UNITS),
    "acceleration in g": (scaled(1 / G), "faulty", "wrong unit.*Add acc_unit=g to its URL", (3.0, 6.0)),
    "deg/s for rad/s": (scaled(gyro=1 / DEGREE), "faulty", "wrong unit.*Add gyro_unit=deg/s to its URL", UNITS),
    "g and deg/s": (scaled(1 / G, 1 / DEGREE), "faulty", "Add acc_unit=g .*Add gyro_unit=deg/s", (3.0, 6.0)),
    "acceleration without gravity": (without_gravity, "faulty", "gravity", UNITS),
    "the two sensors swapped": (swapped, "faulty", "gravity", UNITS),
}
"""What is wrong with the values, how that is shown, and within how many seconds from the start, and later."""
OUT_S = (12.0, 15.0)
SHARED = "^imu: many samples share one time of its clock: they are counted instead"
BACK = "^imu: its clock goes back again and again: samples are counted instead"
ZEROS = r"^imu: \d+ samples dropped$"
ON_THE_WAY: dict[str, Fault] = {
    "stamps in whole seconds": Fault(lambda rows: lines(rows, lambda ms: ms // 1000 * 1000), AsTruth(SHARED)),
    "stamps that stand still": Fault(lambda rows: lines(rows, lambda _: 12_345), AsTruth(SHARED)),
    "stamps of zero": Fault(lambda rows: lines(rows, lambda _: 0), AsTruth(SHARED)),
    "a calendar in whole seconds": Fault(
        lambda rows: frames(rows, lambda ms: ms // 1000 * 1000), AsTruth(SHARED), "protocol=witmotion"
    ),
    "stamps that go back in each seventh row": Fault(
        lambda rows: lines(rows, lambda ms: ms - 25 * (ms // 10 % 7 == 0)), AsTruth(BACK)
    ),
    "stamps set back by 20 ms every 3 s": Fault(
        lambda rows: lines(rows, lambda ms: ms - 20 * (ms // 3000)), AsTruth("its clock was set back by 0.02 s")
    ),
    "stamps an hour ahead from then on": Fault(
        lambda rows: lines(rows, lambda ms: ms + 3_600_000 * (ms > 12_000)), AsTruth()
    ),
    "ms that are called microseconds": Fault(
        lambda rows: lines(rows, header=HEADER.replace(b"t_ms", b"t_us")), Lost("0.001 times the host's pace", 48)
    ),
    "batches of half a second": Fault(
        lambda rows: batched(lines(rows), 500, 420), Lost("as they do in batches: --grace 0.6 waits for them", 0)
    ),
    "the same with that grace": Fault(lambda rows: batched(lines(rows), 500, 420), AsTruth(), grace_s=0.6),
    "a debug print after every third row": Fault(
        lambda rows: beside(lines(rows), 3, lambda number: b"heading %d.3 deg\n" % number), AsTruth()
    ),
    "a magnetometer's rows between": Fault(
        lambda rows: beside(lines(rows), 3, lambda number: b"1.5,%d.25,3.5\n" % (number % 9)), AsTruth()
    ),
    "rows of zeros in 5 %": Fault(lambda rows: lines(failed(0.05)(rows)), AsTruth(ZEROS)),
    "rows of zeros in 15 %": Fault(lambda rows: lines(failed(0.15)(rows)), Lost("of its samples are lost", 30)),
    "no acceleration in 5 %": Fault(lambda rows: lines(failed(0.05, gyro=False)(rows)), AsTruth(ZEROS)),
    "rows of zeros in 40 %": Fault(lambda rows: lines(failed(0.4)(rows)), Told("faulty", "of its samples are lost", 3)),
    "single bits of its text flipped": Fault(lambda rows: flipped(lines(rows), 0.0005), Lost(r"\d+ malformed", 50)),
    "single bits of its frames flipped": Fault(
        lambda rows: flipped(frames(rows), 0.002), Lost(r"\d+ checksum errors", 50), "protocol=witmotion"
    ),
    "bytes of its text lost": Fault(lambda rows: eaten(lines(rows), 0.0005), Lost("a sample reads", 20)),
    "bytes of its frames lost": Fault(
        lambda rows: eaten(frames(rows), 0.002), Lost(r"\d+ checksum errors", 50), "protocol=witmotion"
    ),
    "bursts of 0.4 s lost": Fault(
        lambda rows: lost(lines(rows), 2000, 400), Lost("leave gaps of more than half a hop", 20)
    ),
    "bursts of a second lost": Fault(
        lambda rows: lost(lines(rows), 3000, 1000), Lost("leave gaps of more than half a hop", 12)
    ),
    "bursts of 0.4 s lost without a time": Fault(
        lambda rows: lost(objects(rows), 2000, 400), Lost("leave gaps|as they do in batches", 1)
    ),
    "each line twice": Fault(
        lambda rows: ((at, data * 2) for at, data in lines(rows)), AsTruth(r"^imu: \d+ duplicates$")
    ),
    "a header seen once, and a cable that was out": Fault(
        lambda rows: without(lines(rows), *OUT_S), Lost("^imu: unplugged", 40), out_s=OUT_S
    ),
    "25 rows a second in place of 100": Fault(lambda rows: thinned(lines(rows), 12_000, 40), AsTruth()),
    "10 rows a second in place of 100": Fault(
        lambda rows: thinned(lines(rows), 12_000, 100), Told("faulty", "wrong rate: 10 Hz", 4.0), begin_s=12.0
    ),
    "20 rows a second in place of 100 without a time": Fault(
        lambda rows: thinned(objects(rows), 12_000, 50), Lost("its samples arrive", 25)
    ),
    "a gyroscope of 10 values a second": Fault(lambda rows: lines(slow_gyroscope(rows)), AsTruth()),
}
FAULTS = {
    **{
        f"{name}, {'later' if begin_s else 'from the start'}": in_values(
            change, state, words, within_s[begin_s > 0], begin_s
        )
        for name, (change, state, words, within_s) in VALUES.items()
        for begin_s in (0.0, LATER_S)
    },
    "gravity reads 1.4 times as much, from the start": in_values(
        scaled(1.4), "faulty", r"gravity reads 13\.9 .*wrong unit", 3.0
    ),
    "a gyroscope of zeros, later": in_values(
        stuck(3, 4, 5, at=0.0), "doubted", "its gyroscope reads nothing but zeros", 7.0, LATER_S
    ),
    **ON_THE_WAY,
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_port_with_a_fault_decides_as_the_truth_or_the_fault_is_told(
    bundle: Bundle, rows: Rows, truth: Truth, name: str
) -> None:
    fault = FAULTS[name]
    assert_truth_or_told(play(bundle, fault, rows), truth, fault.outcome, fault.begin_s)


def test_the_truth_is_what_the_recording_gives(bundle: Bundle, truth: Truth) -> None:
    pipeline = Pipeline(bundle, {"imu": str(DEMO / "imu.csv")}, Settings(duration_s=SECONDS, unknown=0.0))
    recorded = list(pipeline)
    pipeline.close()
    same = sum(one.label == truth[one.hop].label for one in recorded if one.hop in truth)
    assert same >= len(recorded) - 2
    assert len(truth) >= len(recorded) - 2
    assert {one.sensors["imu"].state for one in truth.values()} == {"live"}
    assert len({one.label for one in truth.values()}) >= 3


def test_a_board_that_comes_back_under_another_name_decides_on(
    bundle: Bundle, rows: Rows, truth: Truth, tmp_path: Path
) -> None:
    tree = UsbTree(tmp_path)
    tree.plug("ttyIMU", "1-1", serial="MINE")

    def come_back() -> None:
        tree.unplug("ttyIMU")
        tree.plug("ttyIMU", "1-2", serial="OTHER")
        tree.plug("ttyUSB1", "1-1", serial="MINE")

    fault = ON_THE_WAY["a header seen once, and a cable that was out"]
    fault = replace(fault, query="protocol=text&usb=1a86:7523:00:MINE")
    run = play(bundle, fault, rows, root=tmp_path, while_out=come_back)
    assert_truth_or_told(run, truth, fault.outcome)
    assert run.notes[-1] == f"imu: connected: text on {tmp_path}/dev/ttyUSB1"


UNSEEN = [
    "the gyroscope stuck at full scale, from the start",
    "gravity reads 1.4 times as much, from the start",
    "deg/s for rad/s, later",
    "bytes of its text lost",
]


@pytest.mark.parametrize("name", UNSEEN)
def test_the_check_sees_what_health_would_have_told(
    bundle: Bundle, rows: Rows, truth: Truth, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(Health, "judge", lambda *_: WELL)
    fault = FAULTS[name]
    run = play(bundle, fault, rows)
    assert len(others(run, truth)) > 3 * MOST_OTHER * len(truth)
    with pytest.raises(AssertionError):
        assert_truth_or_told(run, truth, fault.outcome, fault.begin_s)
