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
IN_USE, OVERFLOWED = -9985, -9981  # paDeviceUnavailable, paInputOverflowed
WAITED_NS = 500_000
"""A read that took longer may have had to wait, so that its newest sample has just come; or this thread had to."""
LIKE_WAITING, READS = 0.15, 3
"""Reads of a block that take its time, give or take so much of it, so many in a row, had to wait: where the thread is
only kept from running, they take as long as they like."""
STEP_NS = 1_000_000
"""How soon to look again where a block is due. By so much it may come later than the last one said."""
OVERDUE_NS = 100_000_000
"""A block that is later than that follows a silence, or a gap. An overrun may also have halted the stream: only a read
starts it again."""
LONGEST_S = 2.0
"""So much sound is taken at once at most: no driver holds more, but a virtual one whose feed has ended."""


class Block(NamedTuple):
    """``(T, C)`` float32. end: samples given so far, with these. arrival_ns: when the newest of them came, in host ns.
    overrun: the driver lost some before them."""

    sound: Samples
    end: int
    arrival_ns: int
    overrun: bool


class _Piece(NamedTuple):
    """What one read gave. has_lost: whether the driver lost some before it."""

    sound: Any
    blocks: int
    has_lost: bool


class Capture:
    """An open stream, for one thread to read in blocks of ``block`` samples.

    Most drivers tell how much they hold. ALSA's virtual devices tell the same number at any time: of these only a read
    that had to wait tells that nothing was held, and one that is slow for another reason looks the same.
    """

    def __init__(self, device: str, rate_hz: float, block: int, *, columns: slice | None = None) -> None:
        """columns: the channels that are wanted, if not all that the stream has."""
        self.device, self.rate_hz, self.block, self._columns = device, rate_hz, block, columns
        self._block_ns = round(block * 1e9 / rate_hz)
        self.stream: Any = None
        self.heard_ns = time.monotonic_ns()
        """When the newest sample that was taken came, as far as is known; until one has, when the stream was made."""
        self._period_ns = self._block_ns  # so much comes at once
        self._away_ns = 0  # when a block was last seen not to be there
        self._end = 0
        self._tells = False  # whether the driver tells how much it holds
        self._waited_reads = 0  # so many in a row took as long as a block
        self._was_quick = False  # whether the last one took no time
        self._seems_new = False  # whether the newest block was waited for, as far as the count tells
        self._at_once = 1  # blocks that the next read may ask for
        self._has_lost = False  # before the next block
        self._next: _Piece | None = None  # read, and not given yet

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

        What came before a gap is given without what comes after it. ``pause`` sleeps so many seconds, and says whether
        it is over: then what there is, or None. In a silence the driver holds the thread, for as long as it likes.
        Raises PortAudioError where the device is gone.
        """
        pieces, has_waited, self._waited_reads, self._at_once = [self._next] if self._next else [], False, 0, 1
        self._next, most = None, round(LONGEST_S * self.rate_hz / self.block)
        while True:
            held = self._wait(pause, is_patient=not pieces)
            if held is None:
                return self._joined(pieces, self.heard_ns) if pieces else None
            came_ns, taken = self.heard_ns, sum(piece.blocks for piece in pieces)
            piece, is_gap = self._read(min(self._blocks_there(held), most - taken), is_first=not pieces)
            if is_gap and pieces:
                self._next = piece
                return self._joined(pieces, came_ns)
            pieces.append(piece)
            has_waited |= self._away_ns > 0
            left, now_ns = self._held(), time.monotonic_ns()
            if taken + piece.blocks >= most:
                return self._joined(pieces, now_ns)
            has_just_come = has_waited and left < self.block if self._tells else self._seems_new
            if has_just_come and now_ns >= wanted_ns:
                return self._joined(pieces, now_ns - round(left * 1e9 / self.rate_hz) * self._tells)

    def _wait(self, pause: Callable[[float], bool], *, is_patient: bool) -> int | None:
        """How much the driver holds where it is time to read: a block is there, or it is long overdue, so that the
        driver may wait for it. None where it is not.

        is_patient: whether to read in the second case.
        """
        self._away_ns = 0
        while (held := self._held()) < self.block:
            self._tells, self._away_ns = True, time.monotonic_ns()
            left_ns = self.heard_ns + self._period_ns - self._away_ns
            if left_ns < -OVERDUE_NS:
                return held if is_patient else None
            if pause(min(max(left_ns - STEP_NS, STEP_NS), self._block_ns) / 1e9):
                return None
        return held

    def _blocks_there(self, held: int) -> int:
        """How many blocks to read at once: ever more, while reads are quick, of those that came in a rest.

        Of a driver that does not tell how much it ``held``, at most half of those that must have come by the clock.
        """
        if self._tells:
            there = 1 if self._away_ns else held // self.block
        else:
            there = (time.monotonic_ns() - self.heard_ns) // (2 * self._block_ns)
        return max(min(self._at_once, there), 1)

    def _read(self, blocks: int, *, is_first: bool) -> tuple[_Piece, bool]:
        """So many blocks, and whether a gap is before them. Notes when the newest came.

        is_first: whether they are the first of a take.
        """
        began_ns, before_ns = time.monotonic_ns(), self.heard_ns
        sound, has_lost = self.stream.read(blocks * self.block)
        now_ns, due_ns = time.monotonic_ns(), before_ns + blocks * self._block_ns
        took_ns = now_ns - began_ns
        silent_ns = max(self._away_ns - before_ns - self._block_ns, 0) + took_ns
        # After so long a silence the samples do not go on where they ended.
        has_lost |= self._has_lost or (self._end > 0 and silent_ns > STALL_S * 1e9)
        is_gap, self._has_lost = has_lost or silent_ns > max(OVERDUE_NS, 2 * self._period_ns), False
        is_seen = took_ns > WAITED_NS or began_ns - self._away_ns <= 2 * STEP_NS
        is_waiting = blocks == 1 and abs(took_ns - self._block_ns) < LIKE_WAITING * self._block_ns
        self._waited_reads = self._waited_reads + 1 if is_waiting else 0
        # Those had to be waited for, whatever the count of samples says.
        is_fresh = is_gap or (is_first and not self._end) or (self._waited_reads >= READS and not self._tells)
        if is_fresh:
            self.heard_ns = now_ns
        else:
            # A slow read after a quick one waited; where all are slow, this thread is kept from running.
            has_waited = self._was_quick and took_ns > self._block_ns / 2
            late_ns = STEP_NS if has_waited and now_ns < due_ns + self._block_ns else 0
            early_ns = self._block_ns // 4 if self._away_ns and not is_seen else 0
            self.heard_ns = max(min(due_ns + late_ns, now_ns) - early_ns, self._away_ns)
        self._seems_new = took_ns > WAITED_NS and now_ns < self.heard_ns + self._block_ns and not is_gap
        self._was_quick = took_ns < WAITED_NS
        self._at_once = 2 * blocks if took_ns < (1 - LIKE_WAITING) * blocks * self._block_ns else 1
        if self._away_ns and not has_lost:
            came_ns = self._block_ns * (1 + self._held() // self.block)
            self._period_ns = came_ns if is_seen else min(came_ns, self._period_ns)
        return _Piece(sound, blocks, has_lost), is_gap

    def _held(self) -> int:
        """Samples that wait to be read, as the driver tells."""
        try:
            return int(self.stream.read_available)
        except sys.modules["sounddevice"].PortAudioError as error:
            if OVERFLOWED not in error.args:
                raise
            self._has_lost = True
            return 0

    def _joined(self, pieces: list[_Piece], arrival_ns: int) -> Block:
        samples = sum(piece.blocks for piece in pieces) * self.block
        self._end += samples
        joined = bytearray().join([piece.sound for piece in pieces])
        heard = np.frombuffer(joined, np.float32).reshape(samples, -1)
        sound = heard if self._columns is None else np.ascontiguousarray(heard[:, self._columns])
        return Block(sound, self._end, arrival_ns, any(piece.has_lost for piece in pieces))


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
