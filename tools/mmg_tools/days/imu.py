"""An IMU on a serial port: bytes that the port's own parser and clock take."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np
from mmg.sources.protocols.text import encode_header

from mmg_tools.days.body import LIES, PROTOCOLS, WORN_HZ
from mmg_tools.days.pace import RETRY_NS, Pace, latencies

if TYPE_CHECKING:
    from mmg.types import Chunk

    from mmg_tools.days.body import Motion
    from mmg_tools.days.faults import Fault
    from mmg_tools.days.ports import WornSerial

READ = 4
"""Samples that an adapter hands over at once."""
USUAL_NS = 1e9 / WORN_HZ
STEP_US = round(USUAL_NS / 1000)
WRAP_US = 1 << 32
TIMED_PART = 0.3
MOST_JUMP_US = 3_600_000_000
MOST_HARMED = 2
"""So many letters of a header that is known may be lost or wrong."""
READ_AGAIN_NS = 12_000_000_000
FAR = 1 << 62


class Imu:
    """Each time that it is plugged in it may be another board, of either protocol."""

    def __init__(self, port: WornSerial, motion: Motion, seed: int, now_ns: int) -> None:
        self.port, self._motion = port, motion
        self._random, self._latency = np.random.default_rng((seed, 1)), latencies(seed)
        self._number = self._clock_us = 0
        self._is_plugged, self._is_out, self._is_stalled, self._is_held = False, False, False, False
        self._waiting: list[bytes] = []
        self._has_header = self._is_header_known = False
        self.unread: deque[list[int]] = deque(maxlen=8)
        """From when to when it sent rows under a header of which too little had come, the newest last."""
        self._flipped = self._eaten = 0.0
        self._lie, self.protocol = "", ""
        self._arrived_ns = self.due_ns = now_ns
        self.sent = 0
        """Samples that were handed over, damaged or not."""
        self.pace = Pace(0, now_ns, USUAL_NS, now_ns)

    def fire(self) -> None:
        """The next read, or the next look for the device."""
        if not self._is_plugged:
            self._look_for_it()
            return
        said = self._say()
        self._number += READ
        if self._is_held:
            self._waiting.append(said)
        if self._is_held or self._is_stalled:
            self.port.poll(self.due_ns)
        else:
            self._hand_over(b"".join([*self._waiting, said]) if self._waiting else said)
        self._wait()

    def _look_for_it(self) -> None:
        if self._is_out:
            self.port.miss()
            self.due_ns += RETRY_NS
            return
        now_ns = self.due_ns
        self.port.plug(now_ns)
        self._is_plugged = True
        self.protocol = PROTOCOLS[int(self._random.random() < TIMED_PART)]
        if self.protocol != "text":
            self._read_from(now_ns)
        self._number += int(self._random.integers(1, 4000))
        self.pace = Pace(self._number, now_ns, USUAL_NS, now_ns)
        self._boot(int(self._random.integers(WRAP_US)))
        self._wait()

    def _boot(self, clock_us: int) -> None:
        """The board begins, with this time on its clock."""
        self._clock_us = clock_us - self._number * STEP_US
        self._has_header = self.protocol == "text"
        self._waiting = [encode_header()] if self._has_header else []

    def _wait(self) -> None:
        self.due_ns = max(self.pace.at(self._number + READ - 1) + next(self._latency), self._arrived_ns + 1)

    def _say(self) -> bytes:
        lines, first = self._motion.lines[self.protocol, self._lie], self._number
        count, numbers = len(lines), range(first, first + READ)
        if self.protocol != "text":
            return b"".join([lines[number % count] for number in numbers])
        clock_us = self._clock_us
        return b"".join([b"%d,%s" % ((clock_us + n * STEP_US) % WRAP_US, lines[n % count]) for n in numbers])

    def _hand_over(self, said: bytes) -> None:
        self.sent += READ * (len(self._waiting) - self._has_header + 1)
        header, harmed = len(encode_header()) if self._has_header else 0, 0
        self._waiting, self._has_header = [], False
        if self._flipped or self._eaten:
            data = np.frombuffer(said, np.uint8)
            hit = self._random.random(len(data)) < self._flipped
            data = data ^ (hit * (1 << self._random.integers(0, 8, len(data)))).astype(np.uint8)
            is_left = self._random.random(len(data)) >= self._eaten
            harmed = int(np.count_nonzero((hit | ~is_left)[:header]))
            said = data[is_left].tobytes()
        self._arrived_ns = self.due_ns
        if header:
            self._print_header(harmed)
        if said:
            self.port.hear(said, self.due_ns)

    def _print_header(self, harmed: int) -> None:
        """So many of its letters are lost or wrong: its rows may be those of any table until a whole one comes."""
        is_read = harmed <= (MOST_HARMED if self._is_header_known else 0)
        if is_read:
            self._read_from(self.due_ns)
        elif self._is_header_known or not self.unread or self.unread[-1][1] < FAR:
            self.unread.append([self.due_ns, FAR])
        self._is_header_known = is_read

    def _read_from(self, now_ns: int) -> None:
        if self.unread and self.unread[-1][1] == FAR:
            self.unread[-1][1] = now_ns + READ_AGAIN_NS

    def begin(self, fault: Fault) -> None:
        """A fault begins."""
        name, part = fault.name, 10 ** (-3.5 + 2.5 * fault.amount)
        if name in LIES:
            self._lie = name
        elif name == "unplug":
            if self._is_plugged:
                self.port.unplug()
                self.due_ns = fault.begin_ns + RETRY_NS
            self._is_plugged, self._is_out = False, True
        elif name == "stall":
            self._is_stalled = True
        elif name == "hold":
            self._is_held = True
        elif name == "flip":
            self._flipped = part
        elif name == "eat":
            self._eaten = part
        elif name == "jump":
            self._clock_us += round((fault.amount - 0.5) * 2 * MOST_JUMP_US)
        elif name == "restart":
            self._boot(0)
        elif name == "wrap":
            self._clock_us = WRAP_US - 100_000 - self._number * STEP_US
        else:
            self.pace = self.pace.drifting(self._number, fault.amount, USUAL_NS)

    def end(self, fault: Fault) -> None:
        """It is over."""
        if fault.name == "drift":
            self.pace = self.pace.drifting(self._number, 0.5, USUAL_NS)
        self._is_out = self._is_stalled = self._is_held = False
        self._lie, self._flipped, self._eaten = "", 0.0, 0.0

    def late_ns(self, chunk: Chunk) -> int | None:
        """By the newest row, of which there is one in a loop."""
        places = self._motion.places[self.protocol]
        place = places.get(chunk.samples[-1].tobytes())
        if place is None:
            return None
        count = len(places)
        number = self._number + READ
        number -= (number - place) % count
        taken_ns = self.pace.at(number)
        return int(chunk.times_ns[-1]) - taken_ns if taken_ns > self.pace.since_ns else None

    def mean(self, begin_ns: int, end_ns: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        """Of each channel ``(6,)``, of what was measured in this time."""
        return self._motion.mean(self.protocol, self.pace.place(begin_ns), self.pace.place(end_ns))

    def span(self, begin_ns: int, end_ns: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        """From the least to the most of each channel ``(6,)`` around these two times."""
        return self._motion.span(self.protocol, self.pace.place(begin_ns), self.pace.place(end_ns))
