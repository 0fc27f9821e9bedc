"""What is shown of long work: a bar on a terminal, lines elsewhere, nothing of what is soon done."""

from __future__ import annotations

import fcntl
import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from mmg.cli import progress as progress_room
from mmg.cli.last_line import LAST_LINE
from mmg.cli.progress import Progress, as_span
from mmg.cli.reporting import stderr_reporter
from recordings import ROOT
from terminals import Terminal

REPORT = stderr_reporter("mmg-x")


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Terminal]]:
    made: list[Terminal] = []

    def take(columns: int = 80, encoding: str = "utf-8") -> Terminal:
        """Called by the test itself: pytest puts its own standard error in place before."""
        made.append(Terminal(columns, encoding))
        monkeypatch.setattr(sys, "stderr", made[-1].stream)
        return made[-1]

    monkeypatch.setenv("TERM", "xterm")
    yield take
    for one in made:
        one.close()


# --- on a terminal -------------------------------------------------------------------------------------------------


def test_work_of_two_seconds_shows_nothing_on_a_terminal(on_terminal: Callable[..., Terminal], clock: Clock) -> None:
    terminal = on_terminal()
    with Progress(REPORT, "read", 100, "s", clock=clock) as progress:
        clock.now_s += 1.9
        progress.at(99, 100)
    terminal.screen()
    assert terminal.written == b""


def test_a_bar_tells_how_far_it_is_how_long_it_took_and_how_long_it_will(
    on_terminal: Callable[..., Terminal], clock: Clock
) -> None:
    terminal = on_terminal()
    with Progress(REPORT, "read", 100, "s", clock=clock) as progress:
        clock.now_s += 10
        progress.at(25, 100)
        [bar] = terminal.screen()
    assert re.fullmatch(r"mmg-x: read:  25%\|█+.? +\| 25/100 s \[00:10<00:30\]", bar)
    assert len(bar) == 79


def test_at_its_end_the_terminal_is_as_if_no_bar_had_been_there(
    on_terminal: Callable[..., Terminal], clock: Clock
) -> None:
    terminal = on_terminal()
    with Progress(REPORT, "read", 100, "s", clock=clock) as progress:
        clock.now_s += 10
        progress.at(25, 100)
    assert terminal.screen() == [""]


def test_an_error_clears_the_bar_too(on_terminal: Callable[..., Terminal], clock: Clock) -> None:
    terminal = on_terminal()

    def fail() -> None:
        with Progress(REPORT, "read", 100, clock=clock) as progress:
            clock.now_s += 10
            progress.step()
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        fail()
    assert terminal.screen() == [""]


def test_lines_that_are_told_meanwhile_go_above_the_bar(on_terminal: Callable[..., Terminal], clock: Clock) -> None:
    terminal = on_terminal()
    with Progress(REPORT, "read", 4, clock=clock) as progress:
        clock.now_s += 10
        progress.step()
        REPORT("imu: a gap")
        clock.now_s += 10
        progress.step()
        REPORT("imu: a loss")
        *lines, bar = terminal.screen()
    assert lines == ["mmg-x: imu: a gap", "mmg-x: imu: a loss"]
    assert "50%" in bar
    assert terminal.screen() == [*lines, ""]


def test_what_is_printed_to_the_same_terminal_goes_above_the_bar(
    on_terminal: Callable[..., Terminal], clock: Clock
) -> None:
    terminal = on_terminal()
    with Progress(REPORT, "checked", 4, "files", clock=clock) as progress:
        clock.now_s += 10
        progress.step()
        with LAST_LINE.above():
            os.write(terminal.theirs, b"imu.onnx ok\n")
        line, bar = terminal.screen()
    assert (line, "1/4 files" in bar) == ("imu.onnx ok", True)


def test_work_of_unknown_length_shows_how_long_it_took(on_terminal: Callable[..., Terminal], clock: Clock) -> None:
    terminal = on_terminal()
    with Progress(REPORT, "looking for devices", clock=clock) as progress:
        clock.now_s += 3
        progress.at(0)
        assert terminal.screen() == ["mmg-x: looking for devices [00:03]"]
        clock.now_s += 3
        progress.at(7)
        assert terminal.screen() == ["mmg-x: looking for devices: 7 [00:06]"]


def test_a_note_stands_behind_the_bar(on_terminal: Callable[..., Terminal], clock: Clock) -> None:
    terminal = on_terminal()
    with Progress(REPORT, "measured", unit="cases", clock=clock) as progress:
        clock.now_s += 3
        progress.at(1, 4, note="imu, onnx")
        [bar] = terminal.screen()
    assert bar.endswith("1/4 cases [00:03<00:09], imu, onnx")


@pytest.mark.parametrize("columns", [20, 40, 200])
def test_a_bar_is_never_wider_than_the_terminal(
    columns: int, clock: Clock, on_terminal: Callable[..., Terminal]
) -> None:
    narrow = on_terminal(columns)
    with Progress(REPORT, "a long recording that is read", clock=clock) as progress:
        for total in (100.0, None):
            clock.now_s += 10
            progress.at(25, total, note="and a note")
            [bar] = narrow.screen()
            assert len(bar) < columns


def test_a_terminal_that_shows_ascii_only_gets_a_bar_of_ascii(
    clock: Clock, on_terminal: Callable[..., Terminal]
) -> None:
    old = on_terminal(encoding="ascii")
    with Progress(REPORT, "grüßen", 4, clock=clock) as progress:
        clock.now_s += 10
        progress.step()
        [bar] = old.screen()
    assert bar.startswith("mmg-x: gr??en:  25%|####")


def test_what_a_name_would_do_to_the_terminal_is_not_done(on_terminal: Callable[..., Terminal], clock: Clock) -> None:
    terminal = on_terminal()
    with Progress(REPORT, "read \x1b[2J\n", 4, clock=clock) as progress:
        clock.now_s += 10
        progress.step()
        [bar] = terminal.screen()
    assert bar.startswith("mmg-x: read ?[2J?:  25%")


def test_a_bar_has_no_colours(on_terminal: Callable[..., Terminal], clock: Clock) -> None:
    terminal = on_terminal()
    with Progress(REPORT, "read", 4, clock=clock) as progress:
        clock.now_s += 10
        progress.step()
    terminal.screen()
    assert set(re.findall(rb"\x1b\[[^a-zA-Z]*[a-zA-Z]", terminal.written)) == {b"\x1b[K"}


def test_a_dumb_terminal_gets_lines(
    on_terminal: Callable[..., Terminal], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = on_terminal()
    monkeypatch.setenv("TERM", "dumb")
    with Progress(REPORT, "read", 4, clock=clock) as progress:
        clock.now_s += 10
        progress.step()
    assert terminal.screen() == ["mmg-x: read: 1 of 4, 10 s so far, 30 s to go", ""]


def test_a_job_in_the_background_leaves_the_terminal_to_others(
    on_terminal: Callable[..., Terminal], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = on_terminal()
    monkeypatch.setattr(os, "tcgetpgrp", lambda _descriptor: os.getpgrp() + 1)
    with Progress(REPORT, "read", 4, clock=clock) as progress:
        clock.now_s += 10
        progress.step()
    terminal.screen()
    assert terminal.written == b""


def test_without_tqdm_the_terminals_last_line_tells_the_same(
    on_terminal: Callable[..., Terminal], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = on_terminal()
    monkeypatch.setitem(sys.modules, "tqdm.std", None)
    with Progress(REPORT, "read", 4, clock=clock) as progress:
        clock.now_s += 10
        progress.step()
        assert terminal.screen() == ["mmg-x: read: 1 of 4, 10 s so far, 30 s to go"]
    assert terminal.screen() == [""]


def test_work_within_work_is_shown_once_it_lasts(on_terminal: Callable[..., Terminal], clock: Clock) -> None:
    terminal = on_terminal()
    with Progress(REPORT, "subsets", 3, clock=clock) as outer:
        clock.now_s += 10
        outer.step()
        with Progress(REPORT, "sessions", 8, clock=clock) as inner:
            inner.step()
            outer.at(1, 3)
            assert "subsets:  33%" in terminal.screen()[-1]
            clock.now_s += 3
            inner.step()
            outer.at(1, 3)
            assert "sessions:  25%" in terminal.screen()[-1]
        clock.now_s += 1
        outer.step()
        assert "subsets:  67%" in terminal.screen()[-1]


def test_ctrl_c_leaves_a_clean_terminal() -> None:
    code = (
        "import signal\n"
        "from mmg.cli.exit_codes import run_printing_command\n"
        "from mmg.cli.progress import Progress\n"
        "from mmg.cli.reporting import stderr_reporter\n"
        "report = stderr_reporter('mmg-x')\n"
        "def run():\n"
        "    with Progress(report, 'read', 4, at_once=True):\n"
        "        signal.pause()\n"
        "raise SystemExit(run_printing_command(run, report))"
    )
    terminal = Terminal(80)
    environment = {**os.environ, "TERM": "xterm"}
    with subprocess.Popen([sys.executable, "-c", code], stderr=terminal.theirs, cwd=ROOT, env=environment) as process:
        while b"read" not in terminal.written:
            terminal.written += os.read(terminal.ours, 65536)
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
    assert terminal.screen() == ["mmg-x: stopped", ""]
    terminal.close()


# --- elsewhere -----------------------------------------------------------------------------------------------------


def told_at(clock: Clock, seconds: int, report: list[str]) -> list[int]:
    """When lines were told, in seconds after the beginning."""
    times, begin_s = list[int](), clock.now_s
    with Progress(report.append, "read", clock=clock) as progress:
        for second in range(1, seconds + 1):
            clock.now_s = begin_s + second
            before = len(report)
            progress.at(second)
            times += [second] * (len(report) - before)
    return times


def test_lines_come_after_two_seconds_then_every_ten_then_more_and_more_slowly(clock: Clock) -> None:
    times = told_at(clock, 7200, [])
    assert times[:4] == [2, 12, 22, 32]
    steps = [after - before for before, after in pairwise(times)]
    assert steps == sorted(steps)
    assert max(steps) == 60
    assert len(times) < 150


def test_a_line_tells_what_a_bar_does(clock: Clock) -> None:
    told: list[str] = []
    with Progress(told.append, "imu read", 3600, "s", clock=clock) as progress:
        clock.now_s += 4
        progress.at(1200.4, 3600)
    assert told == ["imu read: 1200 of 3600 s, 4 s so far, 8 s to go"]


def test_more_than_was_expected_is_no_end_below_zero(clock: Clock) -> None:
    told: list[str] = []
    with Progress(told.append, "read", 10, "s", clock=clock) as progress:
        clock.now_s += 4
        progress.at(12, 10)
    assert told == ["read: 12 of 12 s, 4 s so far, 0 s to go"]


def test_what_was_done_before_says_nothing_of_what_is_to_come(clock: Clock) -> None:
    told: list[str] = []
    with Progress(told.append, "training", 100, "steps", first=90, clock=clock) as progress:
        clock.now_s += 5
        progress.at(95, 100)
    assert told == ["training: 95 of 100 steps, 5 s so far, 5 s to go"]


def test_other_work_is_timed_from_its_own_beginning(clock: Clock) -> None:
    told: list[str] = []
    with Progress(told.append, "decided", unit="s", clock=clock) as progress:
        clock.now_s += 100
        progress.at(100, 100)
        progress.at(0, 100, "imu read")
        clock.now_s += 10
        progress.at(50, 100, "imu read")
    assert told[1:] == ["imu read: 50 of 100 s, 10 s so far, 10 s to go"]


def test_work_that_tells_itself_in_lines_gets_no_others(clock: Clock) -> None:
    told: list[str] = []
    with Progress(told.append, "training", 100, lines=False, clock=clock) as progress:
        clock.now_s += 50
        progress.step()
    assert told == []


def test_a_call_that_takes_long_is_told_of_while_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    monkeypatch.setattr(progress_room, "AFTER_S", 0.01)
    monkeypatch.setattr(progress_room, "LINE_EVERY_S", 0.01)
    with (
        open(writer, "w", encoding="utf-8") as stream,  # noqa: PTH123
        open(reader, encoding="utf-8") as lines,  # noqa: PTH123
    ):
        monkeypatch.setattr(sys, "stderr", stream)
        with Progress(REPORT, "importing"):
            assert lines.readline() == lines.readline() == "mmg-x: importing: 0 s so far\n"


def test_a_reader_that_hangs_does_not_hold_the_work_up(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"x" * fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ))  # full
    with open(writer, "w", encoding="utf-8") as stream:  # noqa: PTH123
        monkeypatch.setattr(sys, "stderr", stream)
        with Progress(REPORT, "read", 4, clock=clock) as progress:
            clock.now_s += 10
            progress.step()
    os.close(reader)


@pytest.mark.parametrize("stream", [None, io.StringIO()], ids=["closed", "no file"])
def test_progress_needs_no_standard_error(
    stream: io.StringIO | None, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    with Progress(REPORT, "read", 4, clock=clock) as progress:
        clock.now_s += 10
        progress.step()
    assert stream is None or stream.getvalue() == "mmg-x: read: 1 of 4, 10 s so far, 30 s to go\n"


def test_nobody_loads_tqdm_who_sees_no_bar(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from mmg.cli import progress\n"
        "progress.AFTER_S = 0\n"
        "from mmg.cli.look import main\n"
        "code = main(['--demo', '--no-sound', '-o', sys.argv[1]])\n"
        "sys.exit(code or 'tqdm' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "page.html")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0
    assert "mmg-look: opening the recording: 0 s so far\n" in done.stderr


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.4, "0 s"), (99.4, "99 s"), (150, "2 min"), (5999, "100 min"), (7200, "2.0 h")]
)
def test_a_span_is_told_in_the_unit_that_suits_it(seconds: float, told: str) -> None:
    assert as_span(seconds) == told
