"""Commands whose main thread hangs in native code end when they are asked to, and slow ones are not cut off."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes import IMU_HZ, endless_encoder, signal_modality, walking, write_tiny_bundle
from numpy import arange
from recordings import ROOT, case

pytestmark = [pytest.mark.realtime, pytest.mark.busy]

COUNT, CHANNELS = 25, 6
PATIENCE_S = 15.0
GONE_S = 2.0
HANG = """
import ctypes, threading
def say():
    print("hangs", file=sys.stderr, flush=True)
def hang(library):
    lock = ctypes.create_string_buffer(128)
    library.pthread_mutex_lock(lock)
    if type(library) is ctypes.PyDLL:
        say()
    else:
        threading.Timer(0.2, say).start()  # by then it is in there, and no handler runs any more
    library.pthread_mutex_lock(lock)
"""
"""Native code that never returns, whatever signal comes; a PyDLL holds the interpreter meanwhile, a CDLL does not."""
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def begin(*words: object) -> subprocess.Popen[str]:
        command = [sys.executable, *map(str, words)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("walk") / "imu.csv"
    rows = [",".join(f"{value:.4f}" for value in row) for row in walking(arange(500) / IMU_HZ)]
    lines = [f"{number * 1000 / IMU_HZ:.0f},{row}" for number, row in enumerate(rows)]
    path.write_text("\n".join(["t_ms,ax,ay,az,gx,gy,gz", *lines]) + "\n")
    return path


def bundle_of(folder: Path) -> Path:
    data = endless_encoder(COUNT, CHANNELS)
    return write_tiny_bundle(folder / "bundle", signal_modality(data), imu=data)


def wait_for(process: subprocess.Popen[str], words: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            return
    pytest.fail(f"it ended before it said {words!r}")


def end(process: subprocess.Popen[str], number: int) -> tuple[int, float, str]:
    """Its exit code, the seconds until it was gone, and what else it said on standard error."""
    begin_s = time.monotonic()
    process.send_signal(number)
    told = process.communicate(timeout=PATIENCE_S)[1]
    return process.returncode, time.monotonic() - begin_s, told


@pytest.mark.parametrize(
    ("command", "words"),
    [("run", ()), ("teach", ("knock", "--from", "imu.csv")), ("look", ("imu.csv", "-o", "look.html"))],
)
def test_a_command_in_a_model_that_does_not_end_is_gone_soon_after_sigterm(
    command: str, words: tuple[str, ...], start: Start, walk: Path, tmp_path: Path
) -> None:
    bundle, made = bundle_of(tmp_path), [walk if word == "imu.csv" else word for word in words]
    made = [tmp_path / word if word == "look.html" else word for word in made]
    source = made or ["--imu", walk]
    taught = ["-o", tmp_path / "mine.taught"] if command == "teach" else []
    process = start("-m", f"mmg.cli.{command}", *source, *taught, "--bundle", bundle)
    wait_for(process, " so far")  # it is the progress that says so, after two seconds of nothing
    code, took_s, told = end(process, signal.SIGTERM)
    assert (code, took_s < GONE_S) == (5, True), (took_s, told)
    assert told.splitlines()[-1].startswith(f"mmg-{command}: asked to end, but ")
    assert told.count("\n") <= 2


def test_a_second_ctrl_c_ends_it_at_once(start: Start, walk: Path, tmp_path: Path) -> None:
    process = start("-m", "mmg.cli.run", "--imu", walk, "--bundle", bundle_of(tmp_path))
    wait_for(process, "so far")
    begin_s = time.monotonic()
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    code, took_s, told = end(process, signal.SIGINT)
    assert (code, took_s < 0.5) == (5, True), (took_s, told)
    assert "imu encoder imu.onnx, at work for" in told
    assert time.monotonic() - begin_s < GONE_S


def test_a_profile_whose_case_does_not_end_is_gone_after_sigterm(start: Start, tmp_path: Path) -> None:
    words = ("--mode", "backtoback", "--hops", "1", "--json")
    process = start("-m", "mmg.cli.profile", "--bundle", bundle_of(tmp_path), *words)
    wait_for(process, "cases")
    code, took_s, told = end(process, signal.SIGTERM)
    assert (code, took_s < GONE_S) == (130, True), (took_s, told)


def test_a_hop_that_takes_ten_times_its_length_is_told_while_it_does(start: Start, walk: Path, tmp_path: Path) -> None:
    process = start("-m", "mmg.cli.run", "--imu", walk, "--bundle", bundle_of(tmp_path))
    wait_for(process, "mmg-run: imu encoder imu.onnx hangs: a hop takes 5.")
    code, _, told = end(process, signal.SIGTERM)
    assert (code, told.count("hangs")) == (5, 0)


SLOW_TO_CLOSE = """
import sys, time
from mmg.cli.exit_codes import handle_signals, raise_interrupt, run_command
from mmg.cli.watchdog import WATCHDOG
def close():
    print("closing", file=sys.stderr, flush=True)
    end_s = time.monotonic() + 3
    while time.monotonic() < end_s:
        time.sleep(end_s - time.monotonic())
def run():
    WATCHDOG.start("mmg-run")
    try:
        print("runs", file=sys.stderr, flush=True)
        time.sleep(60)
    finally:
        close()
        print("closed", file=sys.stderr, flush=True)
handle_signals(raise_interrupt)
sys.exit(run_command(run, lambda line: print(line, file=sys.stderr)))
"""


def test_a_driver_that_needs_three_seconds_to_close_is_waited_for(start: Start) -> None:
    process = start("-c", SLOW_TO_CLOSE)
    wait_for(process, "runs")
    code, took_s, told = end(process, signal.SIGTERM)
    assert (code, took_s > 2.9, told) == (0, True, "closing\nclosed\nstopped\n")


CALLED_A_COMMAND = """
import os, signal, sys, threading, time
from mmg.cli.exit_codes import handle_signals, raise_interrupt, run_command
from mmg.cli.watchdog import LAST_S, WATCHDOG
def run():
    WATCHDOG._patience._allowed_s = 0.1
    WATCHDOG.start("mmg-run")
    return 0
handle_signals(raise_interrupt)
assert run_command(run, print) == 0
"""
"""A program of someone else's, which lives on when the command in it is over."""

TAKEN_BACK = """
asked = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: asked.set())
print("runs", file=sys.stderr, flush=True)
asked.wait()
threading.Event().wait(5 * LAST_S)
print("goes on", file=sys.stderr, flush=True)
"""


def test_a_program_that_called_a_command_and_took_its_signals_back_is_not_ended(start: Start) -> None:
    process = start("-c", CALLED_A_COMMAND + TAKEN_BACK)
    wait_for(process, "runs")
    code, _, told = end(process, signal.SIGTERM)
    assert (code, told) == (0, "goes on\n")


TAKEN_FOR_A_MOMENT = """
heard = []
sys.setswitchinterval(60)  # the watchdog looks once the handler is the command's again
before = signal.signal(signal.SIGTERM, lambda *_: heard.append(1))
os.kill(os.getpid(), signal.SIGTERM)
while not heard:
    pass
signal.signal(signal.SIGTERM, before)
for _ in range(60):
    time.sleep(0.01)
print("goes on", file=sys.stderr, flush=True)
"""


def test_a_program_that_had_a_handler_of_its_own_for_a_moment_is_not_ended(start: Start) -> None:
    process = start("-c", CALLED_A_COMMAND + TAKEN_FOR_A_MOMENT)
    assert process.wait(PATIENCE_S) == 0
    assert process.stderr is not None
    assert process.stderr.read() == "goes on\n"


RECORD_HANGS = (
    "import sys, mmg.runs.live\n"
    + HANG
    + """
mmg.runs.live.open_ports = lambda *_: hang(ctypes.CDLL(None))
from mmg.cli.record import main
sys.exit(main(sys.argv[1:]))
"""
)


def test_a_recording_whose_driver_does_not_return_is_gone_after_sigterm(start: Start, tmp_path: Path) -> None:
    process = start("-c", RECORD_HANGS, "-o", tmp_path / "day.mcap", "--imu", "serial:///dev/ttyUSB7")
    wait_for(process, "hangs")
    code, took_s, told = end(process, signal.SIGTERM)
    assert (code, took_s < GONE_S) == (5, True), (took_s, told)
    said = "asked to end, but a library or a driver does not return: ended as it is, without closing anything"
    assert told == f"mmg-record: {said}\n"


def test_standard_error_that_nobody_reads_does_not_hold_it_up(start: Start, tmp_path: Path) -> None:
    fill = "import os; os.set_blocking(2, False)\ntry:\n while True: os.write(2, b'x' * 4096)\nexcept OSError: pass\n"
    code = RECORD_HANGS.replace('print("hangs", file=sys.stderr, flush=True)', 'fill(); print("hangs", flush=True)')
    code = code.replace("def hang", f"def fill():\n exec({fill!r})\ndef hang", 1)
    process = start("-c", code, "-o", tmp_path / "day.mcap", "--imu", "serial:///dev/ttyUSB7")
    assert process.stdout is not None
    assert process.stdout.readline() == "hangs\n"
    begin_s = time.monotonic()
    process.terminate()
    assert process.wait(PATIENCE_S) == 5
    assert time.monotonic() - begin_s < GONE_S


HOLDS = (
    "import sys\n"
    + HANG
    + """
from mmg.backends.holding import HOLDING
from mmg.cli.exit_codes import handle_signals, raise_interrupt, run_command
from mmg.cli.watchdog import WATCHDOG
def run():
    WATCHDOG.start("mmg-run")
    with HOLDING.around():
        hang(ctypes.PyDLL(None))
handle_signals(raise_interrupt)
sys.exit(run_command(run, print))
"""
)


def test_a_library_that_holds_the_interpreter_is_ended_by_the_kernel(start: Start) -> None:
    process = start("-c", HOLDS)
    wait_for(process, "hangs")
    code, took_s, _ = end(process, signal.SIGTERM)
    assert (code, took_s < GONE_S) == (-signal.SIGTERM, True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_model_that_litert_takes_long_to_allocate_is_ended_by_the_kernel(number: int, start: Start) -> None:
    pytest.importorskip("ai_edge_litert")
    model = case("models/slow_imu.int8.tflite")
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from mmg.backends import open_session\n"
        "from mmg.cli.exit_codes import handle_signals, raise_interrupt, run_command\n"
        "from mmg.cli.watchdog import WATCHDOG\n"
        "def run():\n"
        "    WATCHDOG.start('mmg-run')\n"
        "    open_session('litert', Path(sys.argv[1]).read_bytes(), 'slow')\n"
        "    return 0\n"
        "handle_signals(raise_interrupt)\n"
        "sys.exit(run_command(run, print))\n"
    )
    process = start("-c", code, model)
    wait_for(process, "XNNPACK")  # which it tells when it begins to allocate
    ended, took_s, _ = end(process, number)
    assert (ended, took_s < GONE_S) == (-number, True)
