"""The parent's side: a process that tries models, fed and watched."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import IO, BinaryIO, cast

import msgspec

from mmg.backends import NAMES, TELEMETRY_OFF
from mmg.errors import ModelError, ShapeMismatch
from mmg.printable import printable
from mmg.trial import frames
from mmg.trial.memory import memory_bytes

LEAST_S, PACE = 2.5, 5.0
"""Processor time that a file has, at least, and in what it took to load the libraries, so that a slow board has more:
on a computer that is half a second."""
START_S, WALL = 60.0, 4
"""How long the child may take to load its libraries, and how much longer than a file's processor time it may take by
the clock: it may have to wait for a processor that others use."""
TEXT_LIMIT = 400
CODE = "import sys; sys.path[:] = sys.argv[2:]; from mmg.trial.child import main; main(int(sys.argv[1]))"
KEPT = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ")
"""Of our environment; no model has a use for the rest."""


class Ended(Exception):
    """The child has ended, or was ended. ``how``: what that says of the model, as the end of a sentence."""

    def __init__(self, how: str) -> None:
        self.how = how
        super().__init__(how)


class TrialProcess:
    """One child, for one file after another. Raises ModelError where it cannot be started."""

    def __init__(self, backends: tuple[str, ...], files: int, manifest: bytes, golden: bytes) -> None:
        self._memory_bytes = memory_bytes()
        task = frames.Task(backends, files, self._memory_bytes, LEAST_S, PACE)
        self._limit_s = LEAST_S
        self._process = _start()
        try:
            ready = self._ask(START_S, msgspec.json.encode(task))
            self._send(START_S, manifest, golden)  # more than a pipe holds: only now does the child read
        except Ended as end:
            self.close()
            names = " and ".join(NAMES[backend] for backend in backends)
            raise ModelError(f"models cannot be tried here: loading {names} in a child {end.how}") from end
        except BaseException:
            self.close()
            raise
        if isinstance(ready, frames.Ready):
            self._limit_s = ready.limit_s

    def run(self, file: frames.File, data: bytes) -> bool:
        """Have it tried; False where its library cannot be loaded.

        Raises ModelError, ShapeMismatch for what the child said of the file, Ended where it said nothing any more.
        """
        answer = self._ask(self._limit_s * WALL, msgspec.json.encode(file), data)
        if isinstance(answer, frames.TooMuch):
            raise ModelError(f"{file.name}: asks for more than {self._memory_bytes >> 20} MiB of memory")
        if isinstance(answer, frames.Misfit):
            raise ShapeMismatch(_shown(answer.name), _safe(answer.expected), _safe(answer.got), place=file.name)
        if isinstance(answer, frames.Failed):
            raise ModelError(_shown(answer.problem))
        return isinstance(answer, frames.Ran)

    def close(self) -> None:
        """End the child, whatever it does."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):  # what it did not read any more
                    stream.close()

    def _ask(self, seconds: float, *parts: bytes) -> frames.Answer:
        """What it answers within so many seconds of the clock. Raises Ended, as ``_send`` does."""
        self._send(seconds, *parts)
        line = _line(cast("IO[bytes]", self._process.stdout), time.monotonic() + seconds)
        try:
            answer: frames.Answer = msgspec.json.decode(line, type=frames.Answer)
            return answer
        except msgspec.DecodeError:
            raise self._ended(seconds) from None

    def _send(self, seconds: float, *parts: bytes) -> None:
        stream = cast("BinaryIO", self._process.stdin)
        try:
            for part in parts:
                frames.write_frame(stream, part)
            stream.flush()
        except OSError:  # it has ended, and its end says why
            raise self._ended(seconds) from None

    def _ended(self, seconds: float) -> Ended:
        try:
            code = self._process.wait(0.5)  # it closes its streams before it has ended
        except subprocess.TimeoutExpired:
            return Ended(f"did not end within {seconds:.2g} s")
        if code in (-signal.SIGPROF, -signal.SIGXCPU):
            return Ended(f"did not end within {self._limit_s:.2g} s of processor time")
        if code == -signal.SIGKILL:  # not ours, which comes later
            return Ended("was killed by the kernel: there is not the memory for it")
        return Ended(f"crashes what runs it (signal {-code})" if code < 0 else f"ends what runs it (exit code {code})")


def _start() -> subprocess.Popen[bytes]:
    paths = [os.path.abspath(path) for path in sys.path if path]  # noqa: PTH100 (what no Path may have read yet)
    command = [sys.executable or "python3", "-I", "-B", "-c", CODE, str(os.getpid()), *paths]
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    environment |= TELEMETRY_OFF | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,  # Ctrl-C is ours to act on
        )
    except OSError as error:
        raise ModelError(f"models cannot be tried here: {command[0]} cannot be started: {error.strerror}") from error


def _line(stream: IO[bytes], until_s: float) -> bytes:
    """The next line; less where it ends or the time is up. ``until_s`` is of ``time.monotonic``."""
    poll, gathered = select.poll(), b""
    poll.register(stream, select.POLLIN)
    while not gathered.endswith(b"\n") and len(gathered) < 1 << 16:
        if not poll.poll(max(0.0, until_s - time.monotonic()) * 1e3):
            break
        block = os.read(stream.fileno(), 4096)
        if not block:
            break
        gathered += block
    return gathered


def _safe(what: str | list[int | str | None]) -> object:
    if isinstance(what, list):
        return [_shown(one) if isinstance(one, str) else one for one in what]
    return _shown(what)


def _shown(text: str) -> str:
    return printable(text)[:TEXT_LIMIT]
