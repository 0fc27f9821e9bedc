"""PortAudio: the one thread that calls it, and what its callbacks leave for the port's thread.

A callback copies the block and leaves. All calls into PortAudio are made by a thread of their own: they are not safe
from two, and may not return, for a stop waits for the thread that a driver holds. So closing a port never hangs. It is
not called before ``lookout`` has seen, in a process of its own, that it neither aborts nor hangs where it starts.
"""

from __future__ import annotations

import atexit
import importlib
import importlib.util
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from mmg.errors import SOUND, BackendUnavailable, SourceError

if TYPE_CHECKING:
    from mmg.types import Samples

T = TypeVar("T")

QUEUED_BLOCKS = 250
STALL_S = 1.0
"""A running device that gives nothing for so long is closed and opened again."""
IN_USE = -9985  # paDeviceUnavailable


class Block(NamedTuple):
    """``(T, C)`` float32. end: samples given so far, with these. overrun: the driver lost some before them."""

    sound: Samples
    end: int
    arrival_ns: int
    overrun: bool


class Capture:
    """A stream, and what its callback has left for the port's thread; when that is late the oldest block goes."""

    def __init__(self, device: str, rate_hz: float, wake: threading.Event, *, columns: slice | None = None) -> None:
        """columns: the channels that are wanted, if not all that the stream has."""
        self.device, self.rate_hz, self._wake, self._columns = device, rate_hz, wake, columns
        self.blocks: deque[Block] = deque(maxlen=QUEUED_BLOCKS)
        self.stream: Any = None
        self.heard_ns, self.ended, self._end = 0, False, 0

    def take(self, sound: Any, samples: int, _time: object, flags: Any) -> None:
        """PortAudio's callback; ``sound`` is its own buffer, which it uses again."""
        self.heard_ns = time.monotonic_ns()
        self._end += samples
        heard = np.frombuffer(sound, np.float32).reshape(samples, -1)
        wanted = heard if self._columns is None else heard[:, self._columns]
        self.blocks.append(Block(wanted.copy(), self._end, self.heard_ns, flags.input_overflow))
        self._wake.set()

    def end(self) -> None:
        """PortAudio calls it when its thread ends: it was told to, or the device is gone."""
        self.ended = True
        self._wake.set()


class PortAudio:
    """The library, and the one thread that calls it: ``library``, ``open`` and ``close`` run there, through ``ask``."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="mmg portaudio", daemon=True)
        self._starting = threading.Lock()
        self._streams = 0

    def ask(self, call: Callable[[], T]) -> Future[T]:
        """Have it called after all that was asked before."""
        with self._starting:
            if self._thread.ident is None:
                self._thread.start()
        future: Future[T] = Future()
        self._calls.put((future, call))
        return future

    def give_time_to_close(self, seconds: float) -> None:
        """Wait for what was asked. A PortAudio that hangs would hang the interpreter's exit: it is left out there."""
        # Twice, for what is opened too late asks to be closed only once it is open. A call that goes on while the
        # interpreter ends crashes it.
        until_s = time.monotonic() + seconds
        if not all(wait([self.ask(lambda: None)], max(until_s - time.monotonic(), 0)).done for _ in range(2)):
            with suppress(KeyError, AttributeError):  # not even imported yet
                atexit.unregister(sys.modules["sounddevice"]._exit_handler)

    def _serve(self) -> None:
        while True:
            future, call = self._calls.get()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except Exception as error:  # as every executor does: it is raised where the result is wanted
                    future.set_exception(error)
            del future, call

    def library(self, url: str) -> Any:
        """sounddevice, with the devices that are there now: PortAudio lists them only when it starts."""
        known = "sounddevice" in sys.modules
        try:
            sounddevice: Any = importlib.import_module("sounddevice")
            if known and not self._streams:
                while sounddevice._initialized:
                    sounddevice._terminate()
                sounddevice._initialize()
        except OSError as error:
            raise SourceError(url, "PortAudio is missing: sudo apt-get install libportaudio2") from error
        except Exception as error:  # PortAudioError cannot be named where the import itself raises it
            raise SourceError(url, f"PortAudio does not start: {error}") from error
        return sounddevice

    def open(self, capture: Capture, **settings: Any) -> None:
        """Start a stream of float32 into ``capture``. Raises PortAudioError.

        A raw stream: in others sounddevice shapes the array in a way that NumPy 2.5 warns of.
        """
        capture.stream = sys.modules["sounddevice"].RawInputStream(
            dtype="float32", callback=capture.take, finished_callback=capture.end, **settings
        )
        self._streams += 1
        capture.heard_ns = time.monotonic_ns()  # one that is closed before its first sound is not silent yet
        try:
            capture.stream.start()
        except Exception:
            self.close(capture)
            raise

    def close(self, capture: Capture) -> None:
        """End a stream. Aborting cancels PortAudio's thread, which must not happen inside Python: only a silent one."""
        if time.monotonic_ns() - capture.heard_ns < STALL_S * 1e9:
            capture.stream.stop()
        capture.stream.close()
        self._streams -= 1


PORTAUDIO = PortAudio()


def require_sounddevice() -> None:
    """Raises BackendUnavailable where the library is not installed; loads nothing."""
    if importlib.util.find_spec("sounddevice") is None:
        raise BackendUnavailable("sounddevice", *SOUND)
