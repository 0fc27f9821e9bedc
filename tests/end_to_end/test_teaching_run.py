"""Teaching on virtual ports, a pty and an ALSA device: two chores by five examples each, and then they are known."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chores import REST, TAUGHT, UNTAUGHT, imu, sound
from mmg.teaching.store import read_taught
from mmg.types import UNKNOWN
from mmg_tools.virtual.scenario import Scenario, render
from mmg_tools.virtual.wearable import VirtualWearable

pytestmark = pytest.mark.realtime
TEACH = (sys.executable, "-m", "mmg.cli.teach")
RUN = (sys.executable, "-m", "mmg.cli.run")
LOOP_S = 20.0
EXAMPLE_S, DONE_S = 3.0, 6.0
HEARD_S = 0.6
"""Until the sensors give what is done: no example begins with rest."""


class Wearer:
    """Somebody who does a chore until another one is asked for."""

    def __init__(self, wearable: VirtualWearable) -> None:
        self.wearable = wearable
        self._turns = 0

    def do(self, chore: str) -> None:
        self._turns += 1
        self.wearable.devices["imu"].play(imu(chore, LOOP_S, self._turns))
        self.wearable.devices["audio"].play(sound(chore, LOOP_S, self._turns))

    def words(self, *sensors: str) -> list[str]:
        return [word for name in sensors for word in (f"--{name}", self.wearable.urls[name])]

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | dict(self.wearable.environment)


@contextmanager
def worn(folder: Path) -> Iterator[Wearer]:
    (folder / "ports").mkdir()
    scenario: Scenario = replace(render(seconds=1.0), imu=imu(REST, LOOP_S, 0), sound=sound(REST, LOOP_S, 0))
    with VirtualWearable(scenario, folder / "ports", loop=True) as wearable:
        yield Wearer(wearable)


def teach(wearer: Wearer, chore: str, path: Path, shots: int, hear: Callable[[str, int], bool]) -> tuple[int, str]:
    """Teach as a person does, who presses Enter and begins. hear: gets each line that tells of the next example to
    begin, and the terminal; whether to press Enter."""
    ours, theirs = pty.openpty()
    command = [*TEACH, chore, "--shots", str(shots), "-o", str(path), "--json", *wearer.words("imu", "audio")]
    command += ["--listen", "2", "--seconds", str(EXAMPLE_S)]
    process = subprocess.Popen(
        ["env", "--default-signal=INT", *command],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=wearer.environment,
    )
    assert process.stderr is not None
    said = ""
    with process:
        for line in process.stderr:
            said += line
            if "press Enter, then" in line:
                if hear(line, process.pid):
                    if "example 1 " in line:
                        wearer.do(chore)
                        time.sleep(HEARD_S)
                    os.write(ours, b"\n")
            elif "recorded" in line:
                wearer.do(chore)  # a little differently
        wearer.do(REST)
        shown = process.stdout.read() if process.stdout else ""
    os.close(ours)
    os.close(theirs)
    return process.returncode, shown or said


def decisions(wearer: Wearer, path: Path, sensor: str) -> subprocess.Popen[str]:
    command = [*RUN, "--taught", str(path), "--sensors", sensor, "--format", "jsonl", *wearer.words(sensor)]
    command += ["--duration", "27"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=wearer.environment)


def told(folder: Path) -> dict[str, list[str]]:
    """Two chores taught with both sensors, then done, and a third that nobody taught: the labels that each sensor by
    itself gives, hop by hop."""
    path = folder / "mine.taught"
    with worn(folder) as wearer:
        for chore in TAUGHT:
            code, shown = teach(wearer, chore, path, 5, lambda _line, _process: True)
            assert code == 0, shown
            made: dict[str, Any] = json.loads(shown)
            assert (made["name"], made["added"], made["near"]) == (chore, 5, [])
        runs = {sensor: decisions(wearer, path, sensor) for sensor in ("imu", "audio")}
        chores = (REST, 4.0), (TAUGHT[0], DONE_S), (REST, 3.0), (TAUGHT[1], DONE_S), (REST, 3.0), (UNTAUGHT, DONE_S)
        for chore, seconds in chores:
            wearer.do(chore)
            time.sleep(seconds)  # how long it is done is what is measured
        found: dict[str, list[str]] = {}
        for sensor, process in runs.items():
            with process:
                found[sensor] = [json.loads(line)["label"] for line in process.stdout or ()]
            assert process.returncode == 0
    return found


def stretches_of(names: list[str]) -> list[str]:
    return [name for place, name in enumerate(names) if place == 0 or names[place - 1] != name]


def test_chores_taught_with_both_sensors_are_known_with_either_and_a_third_is_none_of_these(tmp_path: Path) -> None:
    # One test, as workers would do all of it again for each part.
    for sensor, names in told(tmp_path).items():
        stretches = stretches_of(names)
        for chore in TAUGHT:
            # What came before is in the first hops' context.
            assert stretches.count(chore) == 1, (sensor, names)
            assert names.count(chore) >= 0.9 * (2 * DONE_S - 4), (sensor, names)
        assert not set(names[-10:]) & set(TAUGHT), (sensor, names)
        # None of the bundle's labels either, once what came before is no longer in the context.
        assert names[-6:].count(UNKNOWN) >= 4, (sensor, names)


def test_what_was_taught_stays_whole_where_teaching_is_stopped(tmp_path: Path) -> None:
    path = tmp_path / "mine.taught"

    def until_the_second(line: str, process: int) -> bool:
        if "example 2" in line:
            os.kill(process, signal.SIGINT)
            return False
        return True

    with worn(tmp_path) as wearer:
        code, said = teach(wearer, TAUGHT[0], path, 3, until_the_second)
    assert code == 130, said
    assert f"1 of 3 examples of {TAUGHT[0]} are in {path}" in said
    assert said.endswith("mmg-teach: stopped\n")
    [activity] = read_taught(path).activities
    assert set(activity.examples[0].traces) == {"imu", "audio"}
