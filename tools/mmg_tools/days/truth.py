"""What a decision must have been made of: the numbers in its embedding against what the sensors measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mmg_tools.days.bundle import PLACES, SOUND_HZ, VIDEO_HZ

if TYPE_CHECKING:
    from mmg.types import Decision

    from mmg_tools.days.world import World

STAMPED_NS = 12_000_000
"""How far a stamp may be off: the latency that nobody sees, and the clock's fit."""
SLIP_NS = 10_000_000
"""How far the count of a sound's samples may be from their stamps."""
FRAME_NS = 280_000_000
NONE = "there is none"
ROUNDING = np.array([0.05, 0.05, 0.05, 0.01, 0.01, 0.01])


class Truth:
    """For the bundle of ``mmg_tools.days.bundle``."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.compared = dict.fromkeys(PLACES, 0)

    def compare(self, decision: Decision, begin_ns: int, end_ns: int) -> dict[str, str]:
        """By modality, what is wrong with the numbers of those that are in this hop; nothing where all is right."""
        wrong = {}
        for name, place in PLACES.items():
            sensor = self._world.sensors[name]
            is_in = decision.sensors[name].state in ("live", "doubted")
            if is_in and sensor.pace.since_ns < begin_ns - STAMPED_NS - SLIP_NS:
                self.compared[name] += 1
                numbers = decision.embedding[place]
                if not any(numbers):
                    wrong[name] = NONE
                    continue
                problem = getattr(self, f"_{name}")(numbers, begin_ns, end_ns)
                if problem:
                    wrong[name] = problem
        return wrong

    def _imu(self, numbers: tuple[float, ...], begin_ns: int, end_ns: int) -> str:
        imu, got = self._world.imu, np.array(numbers[:6])
        wanted = imu.mean(begin_ns, end_ns)
        # A mean of other samples at its ends changes by what these differ.
        spare = ROUNDING + imu.span(begin_ns, end_ns) * (STAMPED_NS / (end_ns - begin_ns))
        off = np.abs(got - wanted)
        return "" if (off <= spare).all() else f"means {got.round(2)}, not {wanted.round(2)}"

    def _audio(self, numbers: tuple[float, ...], begin_ns: int, end_ns: int) -> str:
        for value, stamp_ns in ((numbers[0], begin_ns), (numbers[1], end_ns - round(1e9 / SOUND_HZ))):
            late_ns = self._world.microphone.stamp_late_ns(value, stamp_ns)
            if late_ns is None or abs(late_ns) > STAMPED_NS + SLIP_NS:
                how = "none of it" if late_ns is None else f"{late_ns / 1e6:.1f} ms off"
                return f"a sample at its {'begin' if stamp_ns == begin_ns else 'end'} is {how}"
        return ""

    def _video(self, numbers: tuple[float, ...], begin_ns: int, _: int) -> str:
        for at, number in enumerate(numbers[:2]):
            late_ns = self._world.camera.stamp_late_ns(round(number), begin_ns + round((at + 0.5) * 1e9 / VIDEO_HZ))
            if late_ns is None or not -STAMPED_NS <= late_ns <= FRAME_NS:
                return f"frame {at} is {'none of it' if late_ns is None else f'{late_ns / 1e6:.0f} ms old'}"
        return ""

    def carried(self, name: str, before: Decision, after: Decision) -> str:
        """What is wrong with the number of hops that the encoder's state was carried through."""
        at = PLACES[name].stop - 1
        was, now = before.embedding[at], after.embedding[at]
        if not any(before.embedding[PLACES[name]]) or not any(after.embedding[PLACES[name]]):
            return ""
        return "" if now == was + 1 else f"{was:g} hops, then {now:g}"
