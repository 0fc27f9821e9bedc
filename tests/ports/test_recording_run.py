"""Runs on virtual ports, a pty and an ALSA device, that the commands themselves record, mark and replay."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mmg.recording.marks import spans
from mmg.recording.reader import open_recording
from mmg_tools.recording_check.kills import check_kills
from mmg_tools.recording_check.live import record_live, replay
from mmg_tools.virtual.scenario import render
from mmg_tools.virtual.wearable import VirtualWearable
from terminals import Terminal

pytestmark = pytest.mark.realtime
RECORD = (sys.executable, "-m", "mmg.cli.record")
RUN = (sys.executable, "-m", "mmg.cli.run")


@pytest.fixture
def wearable(tmp_path: Path) -> Iterator[VirtualWearable]:
    (tmp_path / "ports").mkdir()
    with VirtualWearable(render(seconds=60.0), tmp_path / "ports", loop=True) as plugged:
        yield plugged


def test_a_live_run_with_faults_replays_as_it_was(tmp_path: Path) -> None:
    live = record_live(tmp_path / "day.mcap", tmp_path, 14.0, 3)
    assert len(live.lines) > 10
    assert live.problems == []


def test_recorders_that_are_killed_lose_two_seconds_at_most(tmp_path: Path) -> None:
    kills = check_kills(tmp_path, 8, 0)
    assert kills.tried == 8
    assert kills.problems == []


def test_keys_mark_what_is_recorded_and_the_terminal_is_as_it_was(tmp_path: Path, wearable: VirtualWearable) -> None:
    ours, theirs = pty.openpty()
    before = subprocess.run(["stty", "-g"], stdin=theirs, capture_output=True, text=True, check=True).stdout
    command = [*RECORD, "-o", str(tmp_path / "day.mcap"), "--labels", "walk,knead"]
    command += [word for name, url in wearable.urls.items() for word in (f"--{name}", url)]
    process = subprocess.Popen(
        command, stdin=theirs, stderr=subprocess.PIPE, text=True, env=os.environ | dict(wearable.environment)
    )
    assert process.stderr is not None
    while "connected" not in process.stderr.readline():
        assert process.poll() is None
    for key in (b"1", b"2", b" "):
        os.write(ours, key)
        time.sleep(0.6)  # how long a label holds is what is measured
    process.send_signal(signal.SIGINT)
    with process:
        told = process.stderr.read()
    assert process.returncode == 0, told
    assert "stopped" in told
    assert "recorded" in told
    after = subprocess.run(["stty", "-g"], stdin=theirs, capture_output=True, text=True, check=True).stdout
    assert after == before
    recording = open_recording(tmp_path / "day.mcap")
    assert [span.label for span in spans(recording.marks(), 99.0)] == ["walk", "knead"]
    assert all(span.end_s - span.start_s == pytest.approx(0.6, abs=0.3) for span in spans(recording.marks(), 99.0))
    assert replay(tmp_path / "day.mcap")


def test_on_a_terminal_it_shows_that_it_records_and_how_long_it_will(tmp_path: Path, wearable: VirtualWearable) -> None:
    terminal = Terminal(120)
    command = [*RECORD, "-o", str(tmp_path / "day.mcap"), "--duration", "2"]
    command += [word for name, url in wearable.urls.items() for word in (f"--{name}", url)]
    environment = os.environ | dict(wearable.environment) | {"TERM": "xterm"}
    subprocess.run(command, stderr=terminal.theirs, check=True, env=environment)
    lines = terminal.screen()
    assert re.search(rb"mmg-record: recording:  50%\|.*\| 1/2 s \[00:01<00:0\d\], [\d.]+ MB, ", terminal.written)
    assert lines[-1] == ""
    assert not any("recording:" in line for line in lines)
    terminal.close()


def test_another_run_over_the_same_recording_is_compared(tmp_path: Path, wearable: VirtualWearable) -> None:
    command = [*RUN, "--record", str(tmp_path / "day.mcap"), "--duration", "6", "--format", "jsonl"]
    command += [word for name, url in wearable.urls.items() for word in (f"--{name}", url)]
    live = subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | dict(wearable.environment)
    )
    assert len(live.stdout.splitlines()) > 5
    again = [*RUN, str(tmp_path / "day.mcap"), "--format", "jsonl", "--compare", str(tmp_path / "day.mcap")]
    same = subprocess.run(again, capture_output=True, text=True, check=False)
    assert (same.returncode, "0 different" in same.stderr) == (0, True), same.stderr
    fewer = subprocess.run([*again, "--sensors", "imu"], capture_output=True, text=True, check=False)
    assert fewer.returncode == 1
    assert f"compared with {tmp_path / 'day.mcap'}: 0 decisions equal" in fewer.stderr
    assert all(json.loads(line)["modalities"] == ["imu"] for line in fewer.stdout.splitlines())
