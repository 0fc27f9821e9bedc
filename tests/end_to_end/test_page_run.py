"""``mmg-run --page`` as its users run it."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from forked import mmg_run
from mmg.types import UNKNOWN
from page_client import events

PATIENCE_S = 60.0
COMMAND = (sys.executable, "-m", "mmg.cli.run")


@contextmanager
def paced_run(*words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The demo at its own pace, with a page on a free port; the process and the page's address."""
    command = [*COMMAND, "--demo", "--pace", "realtime", "--format", "jsonl", "--page", ":0", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            line = process.stderr.readline()
            assert line.startswith("mmg-run: page: http://127.0.0.1:"), line
            yield process, line.split()[-1]
        finally:
            process.kill()


def read(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
        return json.load(answer)


def test_what_the_page_sends_is_what_standard_output_says() -> None:
    with paced_run("--duration", "2") as (process, url):
        came = list(events(url))
        assert process.stdout is not None
        lines = [json.loads(line) for line in process.stdout]
    hello, bye = came[0], came[-1]
    assert (hello[0], hello[1]["bundle"], UNKNOWN in hello[1]["labels"]) == ("hello", "starter", True)
    assert hello[1]["kinds"] == {"imu": "signal", "audio": "audio"}
    assert hello[1]["controls"] == {"mark": False, "record": False, "pause": False, "teach": False}
    assert bye == ("bye", {"why": "run ended"})
    sent = [{key: value for key, value in data.items() if key != "at"} for kind, data in came if kind == "decision"]
    assert sent == lines[-len(sent) :]
    assert len(sent) >= 2
    assert sent[-1]["truth"]


def test_a_run_that_is_stopped_ends_at_once_whoever_looks() -> None:
    with paced_run() as (process, url), ExitStack() as at_end:
        parts = url.removeprefix("http://").split(":")
        silent = [at_end.enter_context(socket.create_connection((parts[0], int(parts[1])))) for _ in range(3)]
        for one in silent[:2]:
            one.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        stream = events(url)
        while next(stream)[0] != "decision":
            pass
        begin_s = time.monotonic()
        process.send_signal(signal.SIGTERM)  # a shell in the background has SIGINT ignored
        assert process.wait(PATIENCE_S) == 0
        assert time.monotonic() - begin_s < 5.0
        assert [data for kind, data in stream if kind == "bye"] == [{"why": "run ended"}]
        assert process.stderr is not None
        assert process.stderr.read().splitlines()[-1] == "mmg-run: stopped"


def test_a_terminal_shows_the_link_with_its_token_and_a_code_to_scan() -> None:
    ours, theirs = pty.openpty()
    command = [*COMMAND, "--demo", "--duration", "1", "--page", "0.0.0.0:0"]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=theirs, check=False, timeout=PATIENCE_S)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:
        pass  # all of it is read
    os.close(ours)
    lines = shown.decode().splitlines()
    assert done.returncode == 0
    assert lines[0].startswith("mmg-run: page: http://")
    assert "/?token=" in lines[0]
    assert sum(any(block in line for block in "█▀▄") for line in lines) > 10


def test_where_standard_error_is_no_terminal_there_is_no_code() -> None:
    done = mmg_run("--demo", "--duration", "1", "--page", "0.0.0.0:0")
    assert done.returncode == 0
    assert len(done.stderr.splitlines()) == 3  # where the page is, what is closed, and how it ended


@pytest.mark.parametrize(
    ("address", "why"),
    [
        (
            "walk.zip",
            "--page walk.zip: is no address: write --page, --page :8421 or",
        ),
        ("http://0.0.0.0", "--page http://0.0.0.0: is no address"),
        (":port", "--page :port: is no address"),
        ("127.0.0.1:99999", "cannot be: Port out of range 0-65535"),
        (":0?token=mine", "unknown option 'token': choose from token_file, host"),
    ],
)
def test_an_address_that_is_none_is_one_line(address: str, why: str) -> None:
    done = mmg_run("--demo", "--duration", "1", "--page", address)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert why in line


def test_a_port_that_is_taken_ends_the_run_before_it_begins() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = mmg_run("--demo", "--duration", "1", "--page", f":{port}")
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert f"port {port} is taken" in line
    assert "--page :0" in line
