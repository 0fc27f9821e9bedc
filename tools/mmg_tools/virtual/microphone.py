"""A microphone that PortAudio takes for a real one: ALSA's file plugin, fed through a FIFO at the true pace."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from array import array
from pathlib import Path
from termios import FIONREAD

import numpy as np
from numpy.typing import NDArray

from mmg_tools.virtual.device import VirtualDevice

BLOCK_MS = 10
NAME, CONFIG = "wrist_mic", "asound.conf"
_UNREAD_MS = 1000  # nothing was read while so much was written: nobody records
_STALE_MS = 100  # the most that is there for who begins to record
_MOST_BYTES = 1 << 20  # of a FIFO, for those without privileges (pipe(7))

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


class AlsaMicrophone(VirtualDevice):
    """A virtual microphone; ``config`` is for ALSA_CONFIG_PATH. It appears with ``plug``, which also begins its time
    if ``begin`` did not.

    It plays ``sound``, once and then silence or in a loop, by the time that has passed since the beginning: unplugged
    or stalled it misses what sounds, as on a body. Like a real one it waits for nobody: what is not recorded is lost.
    """

    def __init__(
        self,
        folder: Path,
        sound: NDArray[np.int16],
        rate_hz: int = 16000,
        *,
        name: str = NAME,
        loop: bool = False,
        block_ms: int = BLOCK_MS,
    ) -> None:
        """sound: ``(T,)`` or ``(T, C)`` int16, which comes in blocks of so many ms."""
        super().__init__("microphone")
        assert rate_hz * block_ms % 1000 == 0, "a block is no whole number of samples"
        self.block, self.block_ns = rate_hz * block_ms // 1000, block_ms * 1_000_000
        self._unread_blocks, self._stale_blocks = _UNREAD_MS // block_ms, _STALE_MS // block_ms
        self.config, self._fifo = folder / CONFIG, folder / name
        self._sound, self._loop = sound.reshape(len(sound), -1), loop
        channels = self._sound.shape[1]
        self.config.write_text(_CONFIG.format(name=name, fifo=self._fifo, rate_hz=rate_hz, channels=channels))
        self._pipe, self._stalled = -1, False
        self._gain, self._to_skip = 1.0, 0
        self._blocks, self._read_at, self._held = 0, 0, 0

    @property
    def due_ns(self) -> range:
        """The moment at which the last sample of each block was captured: of ``sound``'s first block, its second and
        so on up to now, those included that nobody could hear."""
        first_ns = self._start_ns + self.block_ns
        with self._change:
            return range(first_ns, first_ns + self._blocks * self.block_ns, self.block_ns)

    @property
    def plugged(self) -> bool:
        """Whether it is there."""
        return self._pipe >= 0

    def _appear(self) -> None:
        pipe = self._fifo.with_name("being made")
        pipe.unlink(missing_ok=True)
        os.mkfifo(pipe)
        self._pipe, self._held = os.open(pipe, os.O_RDWR | os.O_NONBLOCK), 0
        block = len(self._block_at(0))
        fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, min(2 * self._unread_blocks * block, _MOST_BYTES))
        pipe.rename(self._fifo)  # without a writer, opening it would wait for one

    def _vanish(self) -> None:
        """In the middle of the sound: who still reads gets rubbish at full speed, as ALSA does it."""
        self._fifo.unlink(missing_ok=True)
        os.close(self._pipe)
        self._pipe = -1

    def play(self, sound: NDArray[np.int16]) -> None:
        """From now on this sounds, at the same rate and of as many channels."""
        with self._change:
            self._sound = sound.reshape(len(sound), -1)

    def stall(self) -> None:
        """It stays, but nothing comes, and whoever reads is held."""
        with self._change:
            self._stalled = True

    def resume(self) -> None:
        """It goes on after a stall."""
        with self._change:
            self._stalled = False

    def overrun(self, seconds: float) -> None:
        """The sound of the next so many seconds, a block at least, is lost, and nobody is told."""
        with self._change:
            self._to_skip = max(round(seconds * 1e9 / self.block_ns), 1)

    def clip(self, gain: float) -> None:
        """From now on everything is so much louder, and cut off at full scale; 1 ends it."""
        with self._change:
            self._gain = gain

    def _run(self) -> None:
        with self._change:
            while not self._closing:
                wait_ns = self._start_ns + (self._blocks + 1) * self.block_ns - time.monotonic_ns()
                if self._change.wait_for(lambda: self._closing, max(wait_ns, 0) / 1e9):
                    return
                if self._to_skip:
                    self._to_skip -= 1
                elif self.plugged and not self._stalled:
                    self._write()
                self._blocks += 1

    def _write(self) -> None:
        pending = array("i", [0])
        fcntl.ioctl(self._pipe, FIONREAD, pending)
        block = self._block_at(self._blocks * self.block)
        if pending[0] < self._held:
            self._read_at = self._blocks
        elif self._blocks - self._read_at >= self._unread_blocks and pending[0] >= self._stale_blocks * len(block):
            with contextlib.suppress(BlockingIOError):  # somebody has read it meanwhile
                os.read(self._pipe, pending[0])
            pending[0] = 0
        with contextlib.suppress(BlockingIOError):  # who reads so late loses it
            self._held = pending[0] + os.write(self._pipe, block)

    def _block_at(self, place: int) -> bytes:
        """The float32 samples of the block that begins at sample ``place`` of the play."""
        samples = place + np.arange(self.block)
        sound = self._sound[samples % len(self._sound)] / 32768 * self._gain
        if not self._loop:
            sound[samples >= len(self._sound)] = 0
        return sound.clip(-1, 32767 / 32768).astype("<f4").tobytes()


def processes_with(**environment: str) -> list[int]:
    """The ids of this user's processes that were started with these variables.

    PortAudio aborts a process that looks for microphones after its ALSA_CONFIG_PATH has vanished.
    """
    wanted = {f"{name}={value}".encode() for name, value in environment.items()}
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is somebody else's
            if wanted <= set((process / "environ").read_bytes().split(b"\0")):
                found.append(int(process.name))
    return sorted(found)
