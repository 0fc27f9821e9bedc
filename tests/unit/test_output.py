"""Standard output that another program has set not to block: every byte arrives."""

from __future__ import annotations

import array
import errno
import fcntl
import io
import json
import os
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from mmg.cli import output
from mmg.cli.exit_codes import run_command
from mmg.errors import RAISE_LIMITS, RequiredSensorLost
from recordings import ROOT

SMALL = 4096
F_SETPIPE_SZ = 1031
PATIENCE_S = 30.0


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A small one that does not block who writes."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, F_SETPIPE_SZ, SMALL)
    os.set_blocking(writer, False)
    yield reader, writer
    for descriptor in (reader, writer):
        with suppress(OSError):
            os.close(descriptor)


def read_all(reader: int) -> bytes:
    heard = b""
    while part := os.read(reader, 1000):
        heard += part
    return heard


def wait_until_full(reader: int, process: subprocess.Popen[bytes]) -> None:
    pending, pause = array.array("i", [0]), threading.Event()
    for _ in range(round(PATIENCE_S / 0.01)):
        fcntl.ioctl(reader, termios.FIONREAD, pending)
        if pending[0] > SMALL - 1024 or process.poll() is not None:
            return
        pause.wait(0.01)


class Full(io.StringIO):
    def flush(self) -> None:
        raise OSError("takes nothing")


def test_a_stream_of_another_kind_that_takes_nothing_is_let_go_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Full())
    assert run_command(lambda: 0, lambda _: None) == 0
    assert sys.stderr is None


def test_a_stream_waits_for_its_reader_to_the_last_byte(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = pipe
    lines = [f"{number} {'x' * (number % 700)}\n" for number in range(300)]
    monkeypatch.setattr(sys, "stdout", open(writer, "w", encoding="ascii", closefd=False))  # noqa: SIM115
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    heard: list[bytes] = []
    output.let_output_wait()
    thread = threading.Thread(target=lambda: heard.append(read_all(reader)))
    thread.start()
    for line in lines:
        sys.stdout.write(line)
        sys.stdout.flush()
    os.close(writer)
    thread.join(PATIENCE_S)
    assert heard == ["".join(lines).encode()]


def test_an_interrupt_makes_no_line_come_twice(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = pipe

    class Interrupt(Exception):
        pass

    is_writing = False

    def interrupt(*_: object) -> None:
        if is_writing:
            raise Interrupt

    monkeypatch.setattr(sys, "stdout", open(writer, "w", encoding="ascii", closefd=False))  # noqa: SIM115
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    heard: list[bytes] = []
    output.let_output_wait()
    thread = threading.Thread(target=lambda: heard.append(read_all(reader)))
    thread.start()
    interrupted, before = 0, signal.signal(signal.SIGALRM, interrupt)
    for number in range(20_000):
        try:
            if number % 10 == 0:
                signal.setitimer(signal.ITIMER_REAL, 2e-5 + number % 7 * 1e-5)
            is_writing = True
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()
            is_writing = False
        except Interrupt:
            is_writing = False
            interrupted += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    sys.stdout.flush()
    os.close(writer)
    thread.join(PATIENCE_S)
    numbers = heard[0].split()
    assert interrupted > 100
    assert len(set(numbers)) == len(numbers)


def test_what_makes_the_stream_stays(monkeypatch: pytest.MonkeyPatch, pipe: tuple[int, int]) -> None:
    stream = open(pipe[1], "w", buffering=1, encoding="latin-1", errors="backslashreplace", closefd=False)  # noqa: SIM115
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", None)
    output.let_output_wait()
    assert sys.stdout is not stream
    assert (sys.stdout.encoding, sys.stdout.errors, sys.stdout.line_buffering) == ("latin-1", "backslashreplace", True)
    assert (sys.stdout.fileno(), sys.stdout.isatty(), sys.stderr) == (pipe[1], False, None)
    once = sys.stdout
    output.let_output_wait()
    assert sys.stdout is once


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "cannot write: No space left on device"),
        (OSError(errno.EACCES, "Permission denied", "page.html"), "cannot write page.html: Permission denied"),
        (OSError(errno.ECONNRESET, "Connection reset by peer"), "Connection reset by peer"),
        (OSError(errno.ENODEV, "No such device", "/dev/ttyS0"), "/dev/ttyS0: No such device"),
        (OSError("libsound.so.2: is not there"), "libsound.so.2: is not there"),
        *(
            (
                OSError(number, "Too many"),
                f"the system refuses another process, thread or file: Too many: {RAISE_LIMITS}",
            )
            for number in (errno.EAGAIN, errno.EMFILE, errno.ENFILE)
        ),
    ],
    ids=str,
)
def test_what_the_system_refuses_is_called_writing_only_where_it_is(
    error: OSError, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> int:
        raise error

    told: list[str] = []
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert run_command(fail, told.append) == 2
    assert told == [line]


@pytest.mark.parametrize(
    ("place", "line"),
    [
        (None, "the working directory is gone: go to one that is there"),
        ("day/page.html", "the working directory is gone: go to one that is there"),
        ("/none/page.html", "cannot write /none/page.html: No such file or directory"),
    ],
)
def test_a_working_directory_that_is_gone_is_told(
    place: str | None, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> int:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", place)

    told: list[str] = []
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert run_command(fail, told.append) == 2
    assert told == [line]


def test_a_stream_that_is_no_file_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    assert run_command(lambda: sys.stdout.write("told"), lambda _: None) == 4
    assert (sys.stdout, stream.getvalue()) == (stream, "told")


def test_every_decision_arrives_though_the_reader_was_slow(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    command = [sys.executable, "-m", "mmg.cli.run", "--demo", "--sensors", "imu", "--format", "jsonl"]
    with subprocess.Popen(command, stdout=writer, stderr=subprocess.PIPE, cwd=ROOT) as process:
        os.close(writer)
        wait_until_full(reader, process)
        lines = read_all(reader).splitlines()
        assert process.wait(PATIENCE_S) == 0
        assert process.stderr is not None
        assert f"{len(lines)} decisions from imu" in process.stderr.read().decode()
    assert [json.loads(line)["t"] for line in lines] == [0.5 * (number + 1) for number in range(149)]


def test_a_long_answer_of_another_command_arrives_too(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    command = [sys.executable, "-m", "mmg.cli.bundle", "inspect", "starter", "--json"]
    with subprocess.Popen(command, stdout=writer, stderr=subprocess.PIPE, cwd=ROOT) as process:
        os.close(writer)
        wait_until_full(reader, process)
        assert json.loads(read_all(reader))["manifest"]["name"] == "starter"
        assert process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize(
    ("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_a_run_on_a_terminal_has_colours_unless_they_are_declined(
    environment: dict[str, str], coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    screen, terminal = os.openpty()
    command = [sys.executable, "-m", "mmg.cli.run", "--demo", "--sensors", "imu", "--duration", "3"]
    told = {**os.environ, "TERM": "xterm", **environment}
    subprocess.run(command, stdout=terminal, stderr=subprocess.DEVNULL, cwd=ROOT, env=told, check=True)
    os.close(terminal)
    shown = b""
    with suppress(OSError):  # nobody has the terminal any more
        while part := os.read(screen, 65536):
            shown += part
    os.close(screen)
    assert shown.count(b"imu") == 6
    assert (b"\x1b" in shown) is coloured


@pytest.mark.parametrize("blocks", [True, False])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_whose_output_nobody_reads(
    number: signal.Signals, blocks: bool, pipe: tuple[int, int]
) -> None:
    reader, writer = pipe
    os.set_blocking(writer, blocks)
    command = [sys.executable, "-m", "mmg.cli.run", "--demo", "--sensors", "imu", "--format", "jsonl"]
    with subprocess.Popen(command, stdout=writer, stderr=subprocess.PIPE, cwd=ROOT) as process:
        wait_until_full(reader, process)
        process.send_signal(number)
        _, told = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert told.endswith(b"mmg-run: stopped\n")


LATE = """
import atexit, os, signal, sys, threading
from mmg.cli.exit_codes import handle_signals, raise_interrupt, run_command
from mmg.cli.reporting import stderr_reporter
def press():
    os.kill(os.getpid(), signal.SIGINT)
    threading.Event().wait(0)  # here Python runs its handler
def clean():
    press()
    print("clean", flush=True)
    for _ in sys.argv[2:]:
        press()
def run():
    press()
atexit.register(clean)
handle_signals(raise_interrupt)
sys.exit(run_command(run, stderr_reporter("mmg-run")))
"""


def test_a_second_ctrl_c_does_not_cut_what_is_done_at_exit_and_a_third_ends_it() -> None:
    command = [sys.executable, "-c", LATE, "twice"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "clean\n", "mmg-run: stopped\n")
    done = subprocess.run([*command, "thrice"], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "mmg-run: stopped\n")


def test_ctrl_c_while_an_error_is_told_makes_no_success_of_it() -> None:
    def fail() -> int:
        raise RequiredSensorLost({"imu": "unplugged"})

    def press(_line: str) -> None:
        raise KeyboardInterrupt

    assert run_command(fail, press) == RequiredSensorLost.exit_code


STUCK = """
import sys, threading
from mmg.cli.exit_codes import handle_signals, raise_interrupt, run_command
from mmg.cli.last_line import takes_more
from mmg.cli.reporting import stderr_reporter
report = stderr_reporter("mmg-run")
def fill():
    while True:
        report("x" * 1000)
def run():
    threading.Thread(target=fill, daemon=True).start()
    while takes_more():
        threading.Event().wait(0.01)
    try:
        print("full", flush=True)
        if "waits" in sys.argv:
            threading.Event().wait()
        return 0
    finally:  # as at the end of a run
        for _ in range(20 if "waits" in sys.argv else 0):
            report("closed")
        print("closed", flush=True)
handle_signals(raise_interrupt)
sys.exit(run_command(run, report))
"""


def test_one_signal_ends_a_run_whose_messages_nobody_reads() -> None:
    command = [sys.executable, "-c", STUCK, "waits"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"full\n"
        process.send_signal(signal.SIGTERM)
        process.wait(20 * output.LAST_WAIT_S)  # as long as each message's wait; nothing is read of its standard error
        assert process.stdout.read() == b"closed\n"
    assert process.returncode == 0


def test_a_run_ends_though_a_thread_of_it_waits_for_a_reader() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STUCK], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.wait(PATIENCE_S) == 0


def test_what_was_said_before_a_signal_is_written_where_it_is_read(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = pipe
    monkeypatch.setattr(sys, "stdout", open(writer, "w", encoding="ascii", closefd=False))  # noqa: SIM115
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    lines = [f"{number} {'x' * 500}\n" for number in range(12)]
    heard: list[bytes] = []
    thread = threading.Thread(target=lambda: heard.append(read_all(reader)))

    def say() -> int:
        for line in lines:
            sys.stdout.write(line)
        thread.start()
        raise KeyboardInterrupt

    assert run_command(say, lambda _: None) == 0
    os.close(writer)
    thread.join(PATIENCE_S)
    assert heard == ["".join(lines).encode()]
