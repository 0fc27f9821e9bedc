"""What was found about a sensor, with its evidence in words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """What cannot be right about a sensor, or hardly.

    kind: which check found it. text: the evidence, in a few words.
    is_fault: it cannot be right, so nothing may be decided from it; else it is only doubted.
    option: the URL option that tells the unit of these values, ``acc_unit`` or ``gyro_unit``, or ``gain``; empty where
        none would help. factor: what the values would have to be multiplied by, in dB for ``gain``; 0 where that is not
        known; is_rough: where it is known to a third or so.
    """

    kind: str
    text: str
    is_fault: bool = True
    option: str = ""
    factor: float = 0.0
    is_rough: bool = False
