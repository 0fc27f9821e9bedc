"""PortAudio: the one thread that opens and closes, and streams that their port's own thread reads.

A stream has no thread and no callback: the driver's buffer holds the sound until the port wants it. Opening and closing
is done by one thread, because PortAudio allows no two at once and may not return. It is not called before ``lookout``
has seen, in a process of its own, that it neither aborts nor hangs where it starts.
"""

from __future__ import annotations

import atexit
import ctypes
import importlib
import importlib.util
import sys
import threading
import time
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

START_S = 3.0
"""How long a device may take to its first sound; Bluetooth takes a second or two."""
STALL_S = 1.0
"""A running device that gives nothing for so long is closed and opened again."""
IN_USE = -9985  # paDeviceUnavailable
WAITED_NS = 500_000
"""A read that took longer had to wait, so its newest sample has just come."""
STEP_NS = 1_000_000
"""How soon to look again where a block is due."""
LONGEST_S = 2.0
"""So much sound is taken at once at most: no driver holds more, but a virtual one whose feed has ended."""


class Block(NamedTuple):
    """``(T, C)`` float32. end: samples given so far, with these. arrival_ns: when the newest of them came, in host ns.
    overrun: the driver lost some before them."""

    sound: Samples
    end: int
    arrival_ns: int
    overrun: bool


class Capture:
    """An open stream, for one thread to read in blocks of ``block`` samples."""

    def __init__(self, device: str, rate_hz: float, block: int, *, columns: slice | None = None) -> None:
        """columns: the channels that are wanted, if not all that the stream has."""
        self.device, self.rate_hz, self.block, self._columns = device, rate_hz, block, columns
        self._block_ns = round(block * 1e9 / rate_hz)
        self.stream: Any = None
        self.heard_ns = time.monotonic_ns()
        """When the newest sample came that was waited for; until one has, when the stream was made."""
        self._end = 0

    @property
    def patience_s(self) -> float:
        """The longest that it may be silent now."""
        return STALL_S if self._end else START_S

    @property
    def held_s(self) -> float:
        """How much sound the driver holds while nobody reads."""
        return float(self.stream.latency)

    def take(self, wanted_ns: int, pause: Callable[[float], bool]) -> Block | None:
        """All that the driver holds, and on to a block that had to be waited for and came at ``wanted_ns`` or later.

        None after a silence of ``patience_s``, or where ``pause``, which sleeps so many seconds, says that it is over.
        A driver may hold the thread in here for as long as it likes. Raises PortAudioError where the device is gone.
        """
        pieces: list[Any] = []
        overrun, most = False, LONGEST_S * self.rate_hz / self.block
        while True:
            began_ns = time.monotonic_ns()
            while self.stream.read_available < self.block:
                due_ns = self.heard_ns + (len(pieces) + 1) * self._block_ns - STEP_NS
                now_ns = time.monotonic_ns()
                if pause(max(due_ns - now_ns, STEP_NS) / 1e9) or now_ns - self.heard_ns > self.patience_s * 1e9:
                    return self._joined(pieces, now_ns, overrun) if pieces else None
            piece, has_lost = self.stream.read(self.block)
            now_ns = time.monotonic_ns()
            pieces.append(piece)
            overrun |= has_lost
            if (now_ns - began_ns > WAITED_NS and now_ns >= wanted_ns) or len(pieces) > most:
                # After so long a silence the samples do not go on where they ended.
                overrun |= self._end > 0 and now_ns - self.heard_ns > STALL_S * 1e9
                self.heard_ns = now_ns
                return self._joined(pieces, now_ns, overrun)

    def _joined(self, pieces: list[Any], arrival_ns: int, overrun: bool) -> Block:
        samples = len(pieces) * self.block
        self._end += samples
        heard = np.frombuffer(bytearray().join(pieces), np.float32).reshape(samples, -1)
        sound = heard if self._columns is None else np.ascontiguousarray(heard[:, self._columns])
        return Block(sound, self._end, arrival_ns, overrun)


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

    def give_time_to_close(self, seconds: float, *, is_held: bool = False) -> None:
        """Wait for what was asked. A PortAudio that hangs would hang the interpreter's exit: it is left out there.

        is_held: whether a driver holds the thread that reads a stream.
        """
        # Twice, for what is opened too late asks to be closed only once it is open. A call that goes on while the
        # interpreter ends crashes it.
        until_s = time.monotonic() + seconds
        asked = all(wait([self.ask(lambda: None)], max(until_s - time.monotonic(), 0)).done for _ in range(2))
        if is_held or not asked:
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

    def open(self, capture: Capture, *, latency_s: float, **settings: Any) -> None:
        """Start a stream of float32 for ``capture``, whose driver holds about ``latency_s``. Raises PortAudioError.

        A raw stream: in others sounddevice shapes the array in a way that NumPy 2.5 warns of.
        """
        sounddevice = sys.modules["sounddevice"]
        with suppress(AttributeError, OSError):  # not on ALSA
            # It makes four periods of a buffer otherwise, and a sample is there only once its period is over.
            library = ctypes.CDLL(sounddevice._libname)
            library.PaAlsa_SetNumPeriods(round(latency_s * capture.rate_hz / capture.block) + 1)
        capture.stream = sounddevice.RawInputStream(
            dtype="float32", samplerate=capture.rate_hz, blocksize=capture.block, latency=latency_s, **settings
        )
        self._streams += 1
        try:
            capture.stream.start()
        except Exception:
            self.close(capture)
            raise
        capture.heard_ns = time.monotonic_ns()

    def close(self, capture: Capture) -> None:
        """End a stream that nobody reads any more."""
        capture.stream.close()
        self._streams -= 1


PORTAUDIO = PortAudio()


def require_sounddevice() -> None:
    """Raises BackendUnavailable where the library is not installed; loads nothing."""
    if importlib.util.find_spec("sounddevice") is None:
        raise BackendUnavailable("sounddevice", *SOUND)
