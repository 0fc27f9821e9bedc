"""The process that looks for microphones before this one touches PortAudio: what ends or holds it there ends no run."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from mmg.errors import SourceError
from mmg.sources.ports.microphone.device import Microphone

LOOK = Path(__file__).with_name("look.py")
PATIENCE_S, PATIENCE_MOST_S = 5.0, 40.0
"""How long a look may take; after each that took longer, twice as long: a board that has just started is slow."""
PAUSE_S, PAUSE_MOST_S = 0.5, 30.0
"""How long PortAudio is left alone after it has crashed or hung, and then twice as long: each try costs a process."""
DOUBLINGS = 6
POLL_S, LONGEST_READ, KILLED_S = 0.1, 65536, 1.0
NO_ANSWER = "no sound: the sound system does not answer"


class Sight(NamedTuple):
    """What records now, and the number of the system's default device, if there is one."""

    microphones: list[Microphone]
    default: int | None


class Lookout:
    """``look.py`` in a process of its own, kept until ``rest``: to start one costs ten times as much as a look."""

    def __init__(self, command: tuple[str, ...] = (sys.executable, str(LOOK))) -> None:
        self._command, self._turn = command, threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._heard = b""
        self._failures, self._again_s = 0, 0.0

    def look(self, url: str, is_over: Callable[[], bool] = lambda: False) -> Sight | None:
        """What is there; None as soon as ``is_over``. Raises SourceError; url: how it names what is looked for."""
        while not self._turn.acquire(timeout=POLL_S):
            if is_over():
                return None
        try:
            answer = self._ask_in_time(url, is_over)
        finally:
            self._turn.release()
        if answer is None:
            return None
        if "missing" in answer:
            raise SourceError(url, "PortAudio is missing: sudo apt-get install libportaudio2")
        if "problem" in answer and answer["alsa"]:
            raise SourceError(url, f"no sound: {': '.join(why_no_sound(0, answer['alsa']))}")
        if "problem" in answer:
            raise SourceError(url, f"PortAudio does not start: {answer['problem']}")
        return Sight([Microphone(*device) for device in answer["devices"]], answer["default"])

    def rest(self) -> None:
        """End the process, unless somebody else looks; the next look starts another, at once."""
        if self._turn.acquire(blocking=False):
            self._end()
            self._failures, self._again_s = 0, 0.0
            self._turn.release()

    def _ask_in_time(self, url: str, is_over: Callable[[], bool]) -> dict[str, Any] | None:
        while (wait_s := self._again_s - time.monotonic()) > 0:
            if is_over():
                return None
            time.sleep(min(POLL_S, wait_s))
        try:
            answer = self._ask(url, is_over)
        except SourceError:
            self._end()
            self._again_s = time.monotonic() + min(PAUSE_S * 2**self._failures, PAUSE_MOST_S)
            self._failures = min(self._failures + 1, DOUBLINGS)
            raise
        self._failures = 0
        return answer

    def _ask(self, url: str, is_over: Callable[[], bool]) -> dict[str, Any] | None:
        process = self._process = self._process or self._start(url)
        lacks = ""
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # it has died since: its status says why
            process.stdin.write(b"\n")
        ends_s = time.monotonic() + min(PATIENCE_S * 2**self._failures, PATIENCE_MOST_S)
        while not is_over():
            line = self._read_line(process)
            if line is None:
                raise SourceError(url, f"no sound: {': '.join(why_no_sound(_status(process), lacks))}")
            if not line and time.monotonic() > ends_s:
                raise SourceError(url, NO_ANSWER)
            answer = json.loads(line or "{}")
            lacks = answer.get("alsa", lacks)
            if answer.keys() - {"alsa"}:
                return {**answer, "alsa": lacks}
        self._end()
        return None

    def _read_line(self, process: subprocess.Popen[bytes]) -> bytes | None:
        """Empty where none comes within POLL_S, None where none will."""
        assert process.stdout is not None
        if b"\n" not in self._heard:
            watch = select.poll()
            watch.register(process.stdout, select.POLLIN)
            if watch.poll(POLL_S * 1e3):
                data = process.stdout.read(LONGEST_READ)
                if not data:
                    return None
                self._heard += data
        line, end, rest = self._heard.partition(b"\n")
        if not end:
            return b""
        self._heard = rest
        return line

    def _start(self, url: str) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                self._command,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                start_new_session=True,  # Ctrl-C is ours to answer
            )
        except OSError as error:
            raise SourceError(url, f"no process can be started to look for microphones: {error.strerror}") from error

    def _end(self) -> None:
        process, self._process, self._heard = self._process, None, b""
        if process is not None:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
            with suppress(subprocess.TimeoutExpired):  # a driver may hold even one that was killed
                process.wait(KILLED_S)


LOOKOUT = Lookout()


def why_no_sound(status: int, lacks: str) -> tuple[str, str]:
    """Why PortAudio ended its process, and what to do. status: minus the signal. lacks: what ``look.lacks`` says."""
    if lacks:
        path = os.environ.get("ALSA_CONFIG_PATH")
        if path:
            return f"ALSA has no {lacks} in {path}, which ALSA_CONFIG_PATH names", "unset ALSA_CONFIG_PATH"
        return f"ALSA has no {lacks}", "sudo apt-get install --reinstall libasound2-data"
    try:
        how = signal.Signals(-status).name
    except ValueError:
        how = f"exit code {status}"
    return f"PortAudio ended with {how}", "sudo apt-get install --reinstall libportaudio2"


def _status(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(POLL_S)
    except subprocess.TimeoutExpired:
        return 0
