"""Conversions are forked from one process: a job that crashes costs itself, and none outlives who asked for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from conversions import SharedForkServer
from mmg.errors import ModelError
from mmg_export.convert import convert_all
from mmg_export.fork_server import LOG, ForkServer
from mmg_export.job import FLOAT, JOB, MODEL, NEEDS, PROBLEM
from mmg_export.parts import encoder_part
from mmg_export.trace import Tracer
from own_modules import Ppg, seeded, spec

PATIENCE_S = 60.0
WAITS = """
import sys, time
from pathlib import Path
from mmg_export.fork_server import ForkServer
server = ForkServer()
server.start(Path(sys.argv[1]))
print(server._process.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    """That all tests share but those that end one."""
    with ForkServer() as one:
        yield one


def job(work: Path, kind: str = "onnx float16") -> Path:
    """A job whose model is nothing that a converter can read."""
    work.mkdir()
    (work / JOB).write_text(json.dumps({"kind": kind}))
    (work / FLOAT).write_bytes(b"no model")
    return work


def waiting_job(work: Path) -> Path:
    """A job that goes on until somebody writes its model into the pipe that it reads."""
    job(work)
    (work / FLOAT).unlink()
    os.mkfifo(work / FLOAT)
    return work


def code_of(server: ForkServer, work: Path) -> int:
    deadline_s, ended = time.monotonic() + PATIENCE_S, dict[Path, int]()
    while work not in ended:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
        ended |= server.poll()
    return ended[work]


def wait_for_children(pid: int, count: int = 1) -> list[int]:
    deadline_s = time.monotonic() + PATIENCE_S
    while len(children := children_of(pid)) < count:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    return children


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def pid_of(server: ForkServer) -> int:
    assert server._process is not None
    return server._process.pid


def wait_until_gone(pid: int) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    with suppress(FileNotFoundError, ProcessLookupError):
        while "\tZ" not in Path(f"/proc/{pid}/status").read_text():
            assert time.monotonic() < deadline_s, f"process {pid} lives on"
            time.sleep(0.01)


def test_what_a_converter_raises_is_written_down(server: ForkServer, tmp_path: Path) -> None:
    work = job(tmp_path / "a")
    server.start(work)
    assert code_of(server, work) == 0
    assert "DecodeError" in (work / PROBLEM).read_text()
    assert not (work / MODEL).exists()
    assert (work / LOG).exists()


def test_a_job_that_crashes_costs_itself(server: ForkServer, tmp_path: Path) -> None:
    crashes, goes_on = waiting_job(tmp_path / "crashes"), waiting_job(tmp_path / "goes on")
    for work in (crashes, goes_on):
        server.start(work)
    os.kill(wait_for_children(pid_of(server), 2)[0], signal.SIGSEGV)
    assert code_of(server, crashes) == -signal.SIGSEGV
    assert server.poll() == {}
    (goes_on / FLOAT).write_bytes(b"no model")
    assert code_of(server, goes_on) == 0


def test_a_server_that_crashes_is_reported_and_the_next_job_has_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = encoder_part("ppg", seeded(Ppg), spec())
    with ForkServer() as server:
        monkeypatch.setattr(
            "mmg_export.fork_server.COMMAND", (sys.executable, "-c", "import os; os.kill(os.getpid(), 11)")
        )
        with pytest.raises(ModelError, match=r"ppg to onnx: the converter crashed \(SIGSEGV\)"):
            convert_all("onnx", {"ppg": {"encode": part}}, lambda _: None, Tracer(), server)
        monkeypatch.undo()
        work = job(tmp_path / "a")
        server.start(work)
        assert code_of(server, work) == 0


def test_closing_ends_every_job(tmp_path: Path) -> None:
    server = ForkServer()
    server.start(waiting_job(tmp_path / "a"))
    pid = pid_of(server)
    children = wait_for_children(pid)
    server.close()
    for one in (pid, *children):
        wait_until_gone(one)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_job_outlives_who_asked_for_it(tmp_path: Path, number: int) -> None:
    command = [sys.executable, "-c", WAITS, str(waiting_job(tmp_path / "a"))]
    asker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert asker.stdout is not None
    pid = int(asker.stdout.readline())
    children = wait_for_children(pid)
    asker.send_signal(number)
    asker.communicate()
    for one in (pid, *children):
        wait_until_gone(one)


def test_a_folder_without_room_is_an_end_like_any_other(server: ForkServer, tmp_path: Path) -> None:
    work = waiting_job(tmp_path / "a")
    server.start(work)
    wait_for_children(pid_of(server))
    for name in (PROBLEM, MODEL):
        (work / name).symlink_to("/dev/full")
    (work / FLOAT).write_bytes(b"no model")
    assert code_of(server, work) == 1
    assert "No space left" in (work / LOG).read_text()


def test_a_fork_of_who_asked_ends_nobodys_jobs(server: ForkServer, tmp_path: Path) -> None:
    work = waiting_job(tmp_path / "a")
    server.start(work)
    wait_for_children(pid_of(server))
    if not (child := os.fork()):
        server.close()
        os._exit(0)
    os.waitpid(child, 0)
    assert server.poll() == {}
    (work / FLOAT).write_bytes(b"no model")
    assert code_of(server, work) == 0


PRELOADS = """
import os, sys
from pathlib import Path
from mmg_export import job
for work in map(Path, sys.argv[1:]):
    job.preload(work)
    print(work.name, len(os.listdir("/proc/self/task")), sep=": ")
"""


def test_what_is_imported_beforehand_starts_no_thread_that_a_fork_would_lose(tmp_path: Path) -> None:
    works = [job(tmp_path / kind, kind) for kind in NEEDS]  # as a server imports them, one after the other
    settings = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PRELOADS, *map(str, works)]
    done = subprocess.run(command, capture_output=True, text=True, env=settings, check=True)
    assert done.stdout.splitlines()[-len(works) :] == [f"{kind}: 1" for kind in NEEDS]


def test_two_traces_of_one_module_are_one_conversion(
    shared_conversions: SharedForkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = shared_conversions
    monkeypatch.setattr(server, "folder", tmp_path / "kept")
    before = server.started
    traced = [encoder_part("ppg", seeded(Ppg), spec()) for _ in range(2)]
    made = [convert_all("onnx", {"ppg": {"encode": part}}, lambda _: None, Tracer(), server) for part in traced]
    assert server.started == before + 1
    assert made[0] == made[1]
