"""A microphone: blocks that the port's own count of samples places in time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mmg_tools.days.pace import RETRY_NS, Pace, latencies
from mmg_tools.days.ports import BLOCK_MS

if TYPE_CHECKING:
    from mmg.types import Chunk, Samples

    from mmg_tools.days.body import Sound
    from mmg_tools.days.faults import Fault
    from mmg_tools.days.ports import WornMicrophone

START_NS, STALL_NS = 3_000_000_000, 1_000_000_000
LIES = ("silent", "flat", "clipped")


class Microphone:
    """Counts its samples. lost: samples of blocks that the port's own queue dropped, and told."""

    def __init__(self, port: WornMicrophone, sound: Sound, rate_hz: float, seed: int, now_ns: int) -> None:
        self.port, self._sound, self._usual_ns = port, sound, 1e9 / rate_hz
        self._random, self._latency = np.random.default_rng((seed, 2)), latencies(seed + 1)
        self._block = round(rate_hz * BLOCK_MS / 1000)
        self._number = self._given = self._skipped = self.lost = 0
        self._is_out, self._is_stalled, self._is_held, self._loses = False, False, False, ""
        self._waiting: list[Samples] = []
        self._lie, self._broken, self._was_overrun = "", 0.0, False
        self._heard_ns = self._arrived_ns = self.due_ns = now_ns
        self._patience_ns = START_NS
        self.pace = Pace(0, now_ns, self._usual_ns, now_ns)

    def fire(self) -> None:
        """The next block, or the next look for the device."""
        now_ns = self.due_ns
        if not self.port.is_open:
            self._look_for_it()
            return
        sound = self._say()
        self._number += self._block
        if self._is_held:
            self._waiting.append(sound)
        elif not self._is_stalled:
            self._hand_over(sound)
        if now_ns - self._heard_ns >= self._patience_ns and not self._is_held:
            self.port.lose(f"stalled: no sound for {self._patience_ns / 1e9} s")
            self.due_ns = now_ns + RETRY_NS
        else:
            self._wait()

    def _look_for_it(self) -> None:
        """A device that stays silent is there, and gives nothing after it was opened."""
        now_ns = self.due_ns
        if self._is_out:
            self.port.lose("not plugged in")
            self.due_ns += RETRY_NS
            return
        self.port.open()
        self._patience_ns = START_NS
        self._given, self._skipped, self._waiting, self._was_overrun = 0, 0, [], False
        self._number += int(self._random.integers(1, len(self._sound.order)))
        self.pace = Pace(self._number, now_ns, self._usual_ns, now_ns)
        self._heard_ns = now_ns
        self._wait()

    def _wait(self) -> None:
        self.due_ns = max(self.pace.at(self._number + self._block - 1) + next(self._latency), self._arrived_ns + 1)

    def _say(self) -> Samples:
        loop, first = self._sound.loop, self._number % len(self._sound.loop)
        sound = loop[first : first + self._block]
        if len(sound) < self._block:
            sound = np.concatenate([sound, loop[: self._block - len(sound)]])
        if self._lie == "silent":
            return np.zeros_like(sound)
        if self._lie == "flat":
            return np.full_like(sound, 0.25)
        if self._lie == "clipped":
            return np.sign(sound)
        if self._broken:
            return np.where(self._random.random(sound.shape) < self._broken, np.float32(np.nan), sound)
        return sound

    def _hand_over(self, sound: Samples) -> None:
        """With the blocks that were held before it, as the driver or our own queue has them."""
        for block in (*self._waiting, sound):
            if self._loses == "skip":
                self._given += len(block)
                self._skipped += len(block)
            elif self._loses == "overrun":
                self._was_overrun = True
            else:
                self._given += len(block)
                if self.port.is_open:
                    self.port.hear(block, self._given, self.due_ns, overrun=self._was_overrun)
                    self.lost += self._skipped
                self._was_overrun, self._skipped = False, 0
        self._waiting = []
        self._heard_ns = self._arrived_ns = self.due_ns
        self._patience_ns = STALL_NS

    def begin(self, fault: Fault) -> None:
        """A fault begins."""
        name = fault.name
        if name in LIES:
            self._lie = name
        elif name == "unplug":
            if self.port.is_open:
                self.port.lose("unplugged")
                self.due_ns = fault.begin_ns + RETRY_NS
            self._is_out = True
        elif name == "stall":
            self._is_stalled = True
        elif name == "hold":
            self._is_held = True
        elif name in ("overrun", "skip"):
            self._loses = name
        elif name == "nan":
            self._broken = 10 ** (-3 + 3 * fault.amount)
        else:
            self.pace = self.pace.drifting(self._number, fault.amount, self._usual_ns)

    def end(self, fault: Fault) -> None:
        """It is over."""
        if fault.name == "drift":
            self.pace = self.pace.drifting(self._number, 0.5, self._usual_ns)
        self._is_out, self._is_stalled, self._is_held, self._loses = False, False, False, ""
        self._lie, self._broken = "", 0.0

    def late_ns(self, chunk: Chunk) -> int | None:
        """By the newest sample, of which there is one in a loop."""
        return self.stamp_late_ns(float(chunk.samples[-1, 0]), int(chunk.times_ns[-1]))

    def stamp_late_ns(self, value: float, stamp_ns: int) -> int | None:
        """Of a sample of this value."""
        place, count = self._sound.place(value), len(self._sound.order)
        if place < 0:
            return None
        number = self._number + self._block
        number -= (number - place) % count
        taken_ns = self.pace.at(number)
        return stamp_ns - taken_ns if taken_ns >= self.pace.since_ns else None
