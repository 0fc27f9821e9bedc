"""Stamps and headers as loggers and spreadsheets write and damage them."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from fakes import UNUSED_ENCODER
from mmg.bundle.manifest import Channel, Modality
from mmg.errors import SourceError
from mmg.sources import Recording, open_source

NAMES = ("ax", "ay", "az", "gx", "gy", "gz")
CHANNELS = tuple(
    Channel(name=name, unit="m/s^2" if name[0] == "a" else "rad/s", optional=name[0] == "g") for name in NAMES
)
IMU = Modality(name="imu", kind="signal", rate_hz=50, channels=CHANNELS, encoder=UNUSED_ENCODER)
BEGIN = datetime(2026, 5, 3, 10, 0, 0, tzinfo=timezone.utc)
ROWS = 500
HEADER = f"time,{','.join(NAMES)}"


def opened(tmp_path: Path, *lines: str) -> Recording:
    path = tmp_path / "imu.csv"
    path.write_text("\n".join((*lines, "")))
    return open_source(str(path), IMU)


def rows(stamp: Callable[[datetime], str], sep: str = ",") -> list[str]:
    moments = (BEGIN + timedelta(milliseconds=10 * number) for number in range(ROWS))
    return [sep.join((stamp(moment), "0.1", "0.2", "9.8", "0", "0.1", "0")) for moment in moments]


def since(moment: datetime, year: int) -> int:
    """In ticks of 100 ns."""
    span = moment - datetime(year, 1, 1, tzinfo=timezone.utc)
    return (span.days * 86_400 + span.seconds) * 10**7 + span.microseconds * 10


@pytest.mark.parametrize(
    "stamp",
    [
        lambda moment: f"{moment:%Y%m%d_%H%M%S}{moment.microsecond // 1000:03}",
        lambda moment: f"{moment:%Y%m%d%H%M%S}{moment.microsecond // 1000:03}",
        lambda moment: f"{moment:%Y%m%dT%H%M%S}.{moment.microsecond:06}Z",
        lambda moment: (
            f"{moment.year}-{moment.month}-{moment.day} {moment.hour}:0:{moment.second}:{moment.microsecond // 1000}"
        ),
        lambda moment: str(since(moment, 1601)),
        lambda moment: str(since(moment, 1)),
    ],
)
def test_a_moment_in_any_spelling_is_kept(tmp_path: Path, stamp: Callable[[datetime], str]) -> None:
    recording = opened(tmp_path, HEADER, *rows(stamp))
    [chunk, *_] = recording.chunks(0)
    assert recording.start_ns == round(BEGIN.timestamp()) * 10**9
    assert np.unique(np.diff(chunk.times_ns)).tolist() == [10_000_000]
    assert recording.duration_s == pytest.approx((ROWS - 1) / 100)


@pytest.mark.parametrize("cell", ["1.71473E+12", "1.714730e+12", '"1,71473E+12"'])
def test_stamps_that_a_spreadsheet_rounded_are_named(tmp_path: Path, cell: str) -> None:
    with pytest.raises(SourceError, match=r"column time was rounded.*rate=HZ"):
        opened(tmp_path, HEADER, *rows(lambda _: cell))


def test_a_preamble_with_empty_cells_is_no_header(tmp_path: Path) -> None:
    above = ["Device Name:;Foo;;;;;", "Serial;12345;;;;;", "Start Time;2026-05-03 10:00:00;;;;;"]
    body = rows(lambda moment: str((moment - BEGIN) // timedelta(milliseconds=1)), ";")
    assert opened(tmp_path, *above, f"t_ms;{';'.join(NAMES)}", *body).duration_s == pytest.approx((ROWS - 1) / 100)


def test_the_columns_that_are_not_used_are_named_where_some_are_missing(tmp_path: Path) -> None:
    header = "t_ms,AccelX,AccelY,AccelZ,RotX,RotY,RotZ"
    recording = opened(tmp_path, header, *rows(lambda moment: str((moment - BEGIN) // timedelta(milliseconds=1))))
    assert any("gx, gy, gz: filled with zeros; RotX, RotY, RotZ are not used" in note for note in recording.notes)


def test_geneactivs_hundred_lines_and_no_header(tmp_path: Path) -> None:
    above = ["Device Type,GENEActiv", "Device Model,1.1", "", *(f"key{number},value" for number in range(97))]
    body = [
        f"{moment:%Y-%m-%d %H:%M:%S}:{moment.microsecond // 1000:03},0.01,-0.02,1.0,12,0,25.3"
        for moment in (BEGIN + timedelta(milliseconds=10 * number) for number in range(ROWS))
    ]
    [chunk, *_] = opened(tmp_path, *above, *body).chunks(0)
    assert chunk.samples[0] == pytest.approx([0.0981, -0.1961, 9.8066, 0, 0, 0], abs=1e-3)


def test_three_bare_columns_below_a_preamble_that_tells_the_rate(tmp_path: Path) -> None:
    above = ["----- Data File Created By ActiGraph GT3X+ date format M/d/yyyy at 100 Hz -----", "Start Time 10:00:00"]
    [chunk, *_] = opened(tmp_path, *above, *["0.010,-0.020,1.000"] * ROWS).chunks(0)
    assert chunk.samples[0, 2] == pytest.approx(9.80665)
    assert np.unique(np.diff(chunk.times_ns)).tolist() == [10_000_000]


@pytest.mark.parametrize(
    ("cells", "advice"), [("{t},1,2,3", "time=0&columns=1,2,3"), ("1,2,3", "rate=HZ&columns=0,1,2")]
)
def test_the_advice_for_a_table_without_a_header_can_be_typed(tmp_path: Path, cells: str, advice: str) -> None:
    with pytest.raises(SourceError) as caught:
        opened(tmp_path, *(cells.format(t=10 * number) for number in range(ROWS)))
    assert advice in str(caught.value)


def test_rows_of_a_coarse_clock_never_share_a_time(tmp_path: Path) -> None:
    """Ticks that are nearer than their rows are many, as where a digit is missing in the middle."""
    ticks = [*np.repeat(np.arange(8) * 10**7, 4).tolist(), *[8 * 10**7] * 3, 8 * 10**7 + 1, 9 * 10**7]
    recording = opened(tmp_path, "time_ns,ax,ay,az", *(f"{tick},0,0,9.8" for tick in ticks))
    times = np.concatenate([chunk.times_ns for chunk in recording.chunks(0)])
    assert len(times) == len(ticks)
    assert (np.diff(times) > 0).all()


@pytest.mark.parametrize("cell", ["1" * 99_000, " " * 99_000, "-" * 99_000, "1" * 40_000 + " " * 40_000])
def test_a_cell_of_many_characters_takes_no_time_by_their_square(tmp_path: Path, cell: str) -> None:
    begin_s = time.process_time()
    with pytest.raises(SourceError):
        opened(tmp_path, "t_s,ax,ay,az", cell, cell)
    assert time.process_time() - begin_s < 5


@pytest.mark.parametrize(
    "lines",
    [
        (f"{HEADER},{'[' * 60_000}", *(f"{row},1" for row in rows(str))),
        (HEADER, f"10:00:00{' ' * 250}y,0.1,0.2,9.8,0,0.1,0", *rows(str)),
        ("at 100 Hz", f"Start Time 1{'-' * 30_000}y", "acc x,acc y,acc z", *(["0.1,0.2,9.8"] * ROWS)),
    ],
    ids=["brackets in a name", "spaces in a time", "marks in the start's time"],
)
def test_long_cells_of_strangers_take_no_longer_than_others(tmp_path: Path, lines: tuple[str, ...]) -> None:
    began_s = time.process_time()
    opened(tmp_path, *lines)
    assert time.process_time() - began_s < 3  # each took 5 s and more, by the square or the fourth power of its length
