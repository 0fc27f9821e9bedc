"""Conversions are forked from one process: a job that crashes costs itself, and none outlives who asked for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from mmg.errors import ModelError
from mmg_export.convert import convert_all
from mmg_export.fork_server import LOG, ForkServer
from mmg_export.job import FLOAT, JOB, MODEL, PROBLEM
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


@pytest.fixture
def server() -> Iterator[ForkServer]:
    with closing(ForkServer()) as one:
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
    deadline_s = time.monotonic() + PATIENCE_S
    while (code := server.code(work)) is None:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    return code


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def pid_of(server: ForkServer) -> int:
    assert server._process is not None
    return server._process.pid


def wait_until_gone(pid: int) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while Path(f"/proc/{pid}/status").exists() and "\tZ" not in Path(f"/proc/{pid}/status").read_text():
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
    deadline_s = time.monotonic() + PATIENCE_S
    while len(children := children_of(pid_of(server))) < 2:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    os.kill(children[0], signal.SIGSEGV)
    assert code_of(server, crashes) == -signal.SIGSEGV
    assert server.code(goes_on) is None
    (goes_on / FLOAT).write_bytes(b"no model")
    assert code_of(server, goes_on) == 0


def test_a_server_that_crashes_is_reported_and_the_next_job_has_another(
    server: ForkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmg_export.convert.SERVER", server)
    monkeypatch.setattr("mmg_export.fork_server.COMMAND", ("-c", "import os; os.kill(os.getpid(), 11)"))
    part = encoder_part("ppg", seeded(Ppg), spec())
    with pytest.raises(ModelError, match=r"ppg to onnx: the converter crashed \(SIGSEGV\)"):
        convert_all("onnx", {"ppg": {"encode": part}}, lambda _: None, Tracer())
    monkeypatch.undo()
    work = job(tmp_path / "a")
    server.start(work)
    assert code_of(server, work) == 0


def test_closing_ends_every_job(server: ForkServer, tmp_path: Path) -> None:
    server.start(waiting_job(tmp_path / "a"))
    pid = pid_of(server)
    deadline_s = time.monotonic() + PATIENCE_S
    while not (children := children_of(pid)):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    server.close()
    for one in (pid, *children):
        wait_until_gone(one)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_job_outlives_who_asked_for_it(tmp_path: Path, number: int) -> None:
    command = [sys.executable, "-c", WAITS, str(waiting_job(tmp_path / "a"))]
    asker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert asker.stdout is not None
    pid = int(asker.stdout.readline())
    deadline_s = time.monotonic() + PATIENCE_S
    while not (children := children_of(pid)):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    asker.send_signal(number)
    asker.communicate()
    for one in (pid, *children):
        wait_until_gone(one)
