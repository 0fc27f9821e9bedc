"""A camera: frames, each with its number in its first pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mmg_tools.days.body import make_frame
from mmg_tools.days.pace import RETRY_NS, Pace, latencies
from mmg_tools.days.ports import Frame

if TYPE_CHECKING:
    from mmg.types import Chunk, Samples

    from mmg_tools.days.faults import Fault
    from mmg_tools.days.ports import WornCamera

HOUR_NS = 3600 * 10**9
SILENT_NS = 2_000_000_000
LIES = ("dark", "frozen")


class Camera:
    """Gives as many frames as the model takes."""

    def __init__(self, port: WornCamera, rate_hz: float, size: tuple[int, ...], seed: int, now_ns: int) -> None:
        self.port, self._size = port, size
        self._usual_ns = 1e9 / rate_hz
        self._random, self._latency = np.random.default_rng((seed, 3)), latencies(seed + 2)
        self._number, self._is_open = 0, False
        self._is_out, self._is_stalled, self._is_held, self._lost = False, False, False, 0.0
        self._waiting: list[Frame] = []
        self._lie, self._shift_ns, self._last = "", 0, make_frame(0, size)
        self._heard_ns = self._arrived_ns = self.due_ns = now_ns
        self.pace = Pace(0, now_ns, self._usual_ns, now_ns)

    def fire(self) -> None:
        """The next frame, or the next look for the device."""
        now_ns = self.due_ns
        if not self._is_open:
            self._look_for_it()
            return
        taken_ns = self.pace.at(self._number)
        frame = self._say()
        self._number += 1
        if self._is_held:
            self._waiting.append(Frame(taken_ns + self._shift_ns, frame))
        elif not self._is_stalled and not (self._lost and self._random.random() < self._lost):
            self.port.see([*self._waiting, Frame(taken_ns + self._shift_ns, frame)], now_ns)
            self._waiting, self._heard_ns, self._arrived_ns = [], now_ns, now_ns
        if now_ns - self._heard_ns >= SILENT_NS and not self._is_held:
            self._lose("no picture for 2 s: reopening it", now_ns)
        else:
            self._wait()

    def _lose(self, reason: str, now_ns: int) -> None:
        self.port.lose(reason)
        self._is_open, self.due_ns = False, now_ns + RETRY_NS

    def _look_for_it(self) -> None:
        now_ns = self.due_ns
        if self._is_out:
            self._lose("there is no /dev/video0", now_ns)
            return
        self.port.open()
        self._is_open, self._waiting = True, []
        self._number += 1
        self.pace = Pace(self._number, now_ns, self._usual_ns, now_ns)
        self._heard_ns = now_ns
        self._wait()

    def _wait(self) -> None:
        self.due_ns = max(self.pace.at(self._number) + next(self._latency), self._arrived_ns + 1)

    def _say(self) -> Samples:
        if self._lie != "frozen":
            self._last = make_frame(self._number, self._size)
        return np.zeros_like(self._last) if self._lie == "dark" else self._last

    def begin(self, fault: Fault) -> None:
        """A fault begins."""
        name = fault.name
        if name in LIES:
            self._lie = name
        elif name == "unplug":
            if self._is_open:
                self._lose("unplugged", fault.begin_ns)
            self._is_out = True
        elif name == "stall":
            self._is_stalled = True
        elif name == "hold":
            self._is_held = True
        elif name == "lose":
            self._lost = fault.amount
        else:
            self._shift_ns = HOUR_NS if name == "ahead" else -HOUR_NS

    def end(self, _: Fault) -> None:
        """It is over."""
        self._is_out, self._is_stalled, self._is_held, self._lost = False, False, False, 0.0
        self._lie, self._shift_ns = "", 0

    def late_ns(self, chunk: Chunk) -> int | None:
        """By the number in its pixel."""
        red, green, blue = chunk.samples[-1, 0, 0].tolist()
        return self.stamp_late_ns(red | green << 8 | blue << 16, int(chunk.times_ns[-1]))

    def stamp_late_ns(self, number: int, stamp_ns: int) -> int | None:
        """Of the frame of this number."""
        taken_ns = self.pace.at(number)
        return stamp_ns - taken_ns if number <= self._number and taken_ns >= self.pace.since_ns else None
