"""A microphone that PortAudio takes for a real one: ALSA's file plugin, fed through a FIFO at the true pace."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from array import array
from pathlib import Path
from termios import FIONREAD

import numpy as np
from numpy.typing import NDArray

_UNREAD_BLOCKS = 5  # not read so often in a row: nobody records

# The parts have no names of their own, or PortAudio would list them as devices too. The file plugin reads what it is
# asked for in one go, and makes up what is missing: blocks must be those that PortAudio asks for. It also makes up
# sound where a format is converted above it: FLOAT_LE is what the port asks for. Where ALSA has no default device
# PortAudio 19.6 aborts the process (assertion in BuildDeviceList).
_CONFIG = """
pcm.{name} {{
    type plug
    slave {{
        pcm {{ type file  slave.pcm {{ type null }}  file "/dev/null"  infile "{fifo}"  format "raw" }}
        format FLOAT_LE
        rate {rate_hz}
        channels {channels}
    }}
}}
pcm.!default {{ type plug  slave.pcm "{name}" }}
"""


class AlsaMicrophone:
    """A virtual microphone; ``config`` is for ALSA_CONFIG_PATH. It appears with ``plug``.

    It plays ``sound`` once, then silence. Like a real one it waits for nobody: what is not recorded is lost.
    ``due_ns`` has the moment at which the last sample of each block was captured: of ``sound``'s first block, its
    second and so on.
    """

    def __init__(
        self, folder: Path, sound: NDArray[np.int16], rate_hz: int = 16000, *, name: str = "wrist_mic"
    ) -> None:
        """sound: ``(T,)`` or ``(T, C)`` int16, cut into blocks of 20 ms."""
        self.block, self.config, self._fifo = rate_hz // 50, folder / "asound.conf", folder / name
        channels = 1 if sound.ndim == 1 else sound.shape[1]
        self.config.write_text(_CONFIG.format(name=name, fifo=self._fifo, rate_hz=rate_hz, channels=channels))
        self.due_ns: list[int] = []
        self._sound, self._block_bytes = (sound / 32768).astype("<f4").tobytes(), self.block * channels * 4
        self._change = threading.Condition()
        self._pipe, self._talking, self._closing = -1, False, False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def plug(self) -> None:
        """It appears, and hears."""
        with self._change:
            pipe = self._fifo.with_name("being made")
            os.mkfifo(pipe)
            self._pipe = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
            pipe.rename(self._fifo)  # without a writer, opening it would wait for one
            self._talking = True
            self._change.notify()

    def stall(self) -> None:
        """It stays, but nothing comes, and whoever reads is held."""
        with self._change:
            self._talking = False
            self._change.notify()

    def resume(self) -> None:
        """It goes on after a stall."""
        with self._change:
            self._talking = True
            self._change.notify()

    def unplug(self) -> None:
        """It is gone, in the middle of the sound: who still reads gets rubbish at full speed, as ALSA does it."""
        with self._change:
            self._talking = False
            self._fifo.unlink()
            os.close(self._pipe)
            self._pipe = -1

    def close(self) -> None:
        """End it, and its thread. Readers are released."""
        with self._change:
            self._closing = True
            self._change.notify()
        self._thread.join()
        if self._pipe >= 0:
            self.unplug()

    def _run(self) -> None:
        with self._change:
            while not self._closing:
                self._change.wait_for(lambda: self._talking or self._closing)
                self._talk()

    def _talk(self) -> None:
        due_ns, unread = time.monotonic_ns(), 0
        while self._talking and not self._closing:
            due_ns += 20_000_000
            stopped = self._change.wait_for(
                lambda: self._closing or not self._talking, max(due_ns - time.monotonic_ns(), 0) / 1e9
            )
            if stopped:
                return
            unread = unread + 1 if self._pending() else 0
            if unread >= _UNREAD_BLOCKS:
                os.read(self._pipe, self._pending())
            self._write(due_ns)

    def _pending(self) -> int:
        count = array("i", [0])
        fcntl.ioctl(self._pipe, FIONREAD, count)
        return count[0]

    def _write(self, due_ns: int) -> None:
        place = len(self.due_ns) * self._block_bytes
        os.write(self._pipe, self._sound[place : place + self._block_bytes].ljust(self._block_bytes, b"\0"))
        self.due_ns.append(due_ns)
