"""An IMU's values against each other and against gravity: all that is known of one, piece by piece."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mmg.engine.health.finding import Finding
from mmg.engine.health.gravity import Gravity
from mmg.engine.health.held import Held, held_finding
from mmg.engine.health.offset import Offset
from mmg.engine.health.piece import AXES, Piece, make_piece
from mmg.engine.health.rows import Clipped, Spikes, impossible
from mmg.engine.health.stuck import STILL, Stuck
from mmg.engine.health.turning import Turning

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

LEAST_S, PIECE_S = 0.4, 0.5
"""Shorter hops are looked at together until they are as long; those of twice that and more in parts."""
CALM_M_S2 = 0.5
"""Where the acceleration moves no more than that, a sensor's last bit is seen."""
JUMPS = (1.0, 0.3)
"""By how much values change when they are let go, in m/s^2 and rad/s: more than the noise of any sensor."""
EVENLY_RAD_S = 0.5
MOVES = 0.9
"""Rows that differ from the one before, of a piece that is held against those around it."""
ZEROS = 2
"""Pieces without any rate of turn in which the acceleration moves, of a gyroscope that is there. The sets have none."""
FLAT_HOPS, UNKNOWN_FLAT_HOPS, COARSE_FLAT_HOPS = 2, 10, 60
"""So long may a sensor give the same values. One of few bits does where it is still: ClassyGlass, rounded to 1/64 g,
for 37 hops. An accelerometer alone that has not moved yet may be one."""


class Inertial:
    """Bounded, and the same for the same hops, however their samples came."""

    def __init__(self, channels: Sequence[int], rate_hz: float) -> None:
        """channels: the places of three accelerations in m/s^2, and of three rates of turn in rad/s or none."""
        self._channels = list(channels)
        self._in_order = self._channels == list(range(len(channels)))
        self._rate_hz, self._least = rate_hz, LEAST_S * rate_hz
        self._waiting: list[NDArray[np.float64]] = []
        self._waiting_rows = 0.0
        self._has_gyro = False
        self._gravity, self._turning, self._stuck = Gravity(), Turning(), Stuck()
        self._held = (Held(0, JUMPS[0], rate_hz), Held(AXES, JUMPS[1], rate_hz))
        self._offset, self._zeros = Offset(), 0
        self._spikes, self._clipped = Spikes(), Clipped()
        self.gives_gyro = False
        """Whether the source said that it gives rates of turn."""
        self.findings: tuple[Finding, ...] = ()
        """What is found now, the faults first."""

    @property
    def flat_hops(self) -> int:
        """After how many hops of the same values this sensor is dead and not only still."""
        is_coarse = self._held[0].is_coarse
        if is_coarse is None and not self._has_gyro:
            return UNKNOWN_FLAT_HOPS
        return COARSE_FLAT_HOPS if is_coarse else FLAT_HOPS

    @property
    def is_settled(self) -> bool:
        """Whether the units and every axis are known to be right or wrong."""
        gravity, turning, stuck = self._gravity, self._turning, self._stuck
        if stuck.finding is not None:
            return True
        if not self._has_gyro:
            return gravity.is_settled and stuck.is_settled and (not self.gives_gyro or self._zeros >= ZEROS)
        return gravity.is_settled and stuck.is_settled and turning.is_settled

    def lasting(self) -> tuple[Finding, ...]:
        """Of what is found now, what was so from the beginning, and will be unless the sensor changes."""
        gravity, turning, stuck = self._of_units()
        found = (
            gravity if not self._gravity.was_right or (gravity and not gravity.is_fault) else None,
            turning if not self._turning.was_right or (turning and turning.kind == "offset") else None,
            stuck if not self._stuck.was_right else None,
            self._zeros_finding() if not self._has_gyro else None,
        )
        return tuple(finding for finding in found if finding)

    def presume(self, findings: Iterable[Finding]) -> None:
        """Begin with what ``lasting`` told of the same sensor."""
        units: dict[str, Gravity | Turning | Stuck | Offset] = {
            "turning": self._turning,
            "stuck": self._stuck,
            "offset": self._offset,
        }
        for finding in findings:
            if finding.kind == "zeros":
                self._zeros = ZEROS
                continue
            units.get(finding.kind, self._gravity).presume(finding)
        self._sum_up()

    def break_off(self) -> None:
        """What comes next does not follow what came before: nobody saw how the sensor turned in between."""
        self._waiting, self._waiting_rows = [], 0.0
        self._turning.break_off()

    def take(self, samples: NDArray[np.float32], lowest: list[float], highest: list[float], input_rows: float) -> str:
        """Look at a whole hop ``(T, C)`` and the least and greatest value of each channel.

        input_rows: of how many of the sensor's own samples it was made.
        Returns why nothing of this hop can be used, in a few words; mostly nothing.
        """
        values = samples.astype(np.float64)
        if not self._in_order:
            values = values[:, self._channels]
            lowest, highest = [lowest[at] for at in self._channels], [highest[at] for at in self._channels]
        if problem := impossible(values, lowest, highest):
            return problem
        if self._least <= len(values) < 2 * self._least:
            self._look_at(make_piece(values, lowest, highest, self._rate_hz, input_rows))
            return ""
        self._waiting.append(values)
        self._waiting_rows += input_rows
        rows = sum(map(len, self._waiting))
        if rows < self._least:
            return ""
        parts = np.array_split(np.concatenate(self._waiting), max(round(rows / (PIECE_S * self._rate_hz)), 1))
        for part in parts:
            ends = np.minimum.reduce(part).tolist(), np.maximum.reduce(part).tolist()
            self._look_at(make_piece(part, *ends, self._rate_hz, self._waiting_rows / len(parts)))
        self._waiting, self._waiting_rows = [], 0.0
        return ""

    def _look_at(self, piece: Piece) -> None:
        self._has_gyro = self._has_gyro or piece.has_gyro
        was_stuck = self._stuck.finding is not None
        self._stuck.take(piece)
        if piece.has_gyro:
            self._zeros = 0
        elif (self._has_gyro or self.gives_gyro) and max(piece.spans[:AXES]) > JUMPS[0]:
            self._zeros += 1
        held, gyro_held = self._held
        held.take(piece, is_calm=0 < max(piece.spans[:AXES]) < CALM_M_S2)
        if piece.has_gyro:
            gyro_held.take(piece)
        self._spikes.take(piece)
        self._clipped.take(piece)
        if was_stuck or self._stuck.finding is not None:
            # What the others say of a sensor with a stuck axis follows from that, as of a piece in which it comes free.
            self._gravity, self._turning = Gravity(), Turning()
        elif not self._spikes.is_hit and any(piece.spans[:AXES]):
            # Blows to the signal, and values that stand still, say nothing of units.
            self._gravity.take(piece)
            is_held = held.is_held or gyro_held.is_held
            if _stands(piece):
                self._turning.break_off()
            elif piece.has_gyro and not is_held and not self._offset.take(piece) and not _turns_evenly(piece):
                self._turning.take(piece)
        else:
            self._turning.break_off()
        self._sum_up()

    def _of_units(self) -> tuple[Finding | None, Finding | None, Finding | None]:
        """What is wrong with gravity, turning and single axes. What follows from another one is left out."""
        if self._stuck.finding is not None:
            return None, None, self._stuck.finding
        gravity = self._gravity.finding
        has_direction = gravity is None or gravity.option
        turning = (self._turning.finding or self._offset.finding or self._turning.doubt) if has_direction else None
        return gravity or self._gravity.doubt, turning, None

    def _sum_up(self) -> None:
        found = (
            *self._of_units(),
            held_finding(self._held),
            self._zeros_finding(),
            self._spikes.finding,
            self._clipped.finding,
        )
        there = [finding for finding in found if finding is not None]
        self.findings = tuple(sorted(there, key=lambda finding: not finding.is_fault)) if there else ()

    def _zeros_finding(self) -> Finding | None:
        if self._zeros < ZEROS:
            return None
        return Finding("zeros", "its gyroscope reads nothing but zeros", is_fault=False)


def _stands(piece: Piece) -> bool:
    """Whether all values stand still for a part of it: nobody saw how the sensor turned meanwhile."""
    if not piece.repeats:
        return False
    steps = np.count_nonzero(piece.steps.any(axis=1))
    return bool(steps < MOVES * len(piece.steps))


def _turns_evenly(piece: Piece) -> bool:
    """Whether an axis of the gyroscope gives one rate of turn, as none does that is worn."""
    spans = piece.spans[AXES:]
    if min(spans) >= STILL[1]:
        return False
    pairs = zip(spans, piece.lowest[AXES:], strict=True)
    return any(span < STILL[1] and abs(low) > EVENLY_RAD_S for span, low in pairs)
