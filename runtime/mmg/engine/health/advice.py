"""From a finding to a line: the evidence, and what to type where physics leaves no doubt about it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from mmg.engine.health.finding import Finding
from mmg.sources.units import ACCELERATION, ANGULAR_RATE, STANDARD_GRAVITY

TABLES = {"acc_unit": ACCELERATION, "gyro_unit": ANGULAR_RATE}
USUAL = {"acc_unit": ("m/s2", "g", "mg"), "gyro_unit": ("rad/s", "deg/s")}
"""What the text protocol's options take. That 1 cm/s^2 is as good as 1 mg is no reason to ever name it."""
NEAR, ROUGHLY = math.log(1.2), math.log(1.4)
"""A unit explains a factor that is as close to it: at rest gravity is as long as it should be within a tenth. Where
the factor is only roughly known, a usual unit is named, and no other one and no scale."""
UNCALIBRATED = math.log(2)
"""What is off by less may be a scale that was never set right; more is no matter of calibration."""
SENSITIVITIES = tuple(2**power for power in range(8, 15))
"""Counts to 1 g of common IMUs."""


@dataclass(frozen=True, slots=True)
class ReadAs:
    """How a source took its numbers, and which of its options would change that.

    declared: the unit that its header or protocol tells, by option: never advised against.
    taken: the unit that its URL tells or that was assumed, by option; SI units where it is not there.
    options: the units that each option takes; none where it has no such option.
    has_scale: whether it has ``acc_scale``. has_gain: whether it has ``gain``.
    gives_gyro: whether it has columns of rates of turn, so that zeros are none.
    """

    declared: Mapping[str, str] = field(default_factory=dict)
    taken: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: USUAL)
    has_scale: bool = False
    gives_gyro: bool = False
    has_gain: bool = False


def advise(finding: Finding, read_as: ReadAs) -> str:
    """One line: what was found, and what to add to the sensor's URL where that is sure."""
    if not finding.option:
        return finding.text + (_calibration(finding, read_as) if finding.kind == "rest" else "")
    if finding.option == "gain":
        return finding.text + (
            f": add gain={finding.factor:.0f} to its URL" if read_as.has_gain else ": too low a gain?"
        )
    declared = read_as.declared.get(finding.option, "")
    remedy = _remedy(finding, read_as, declared) if finding.factor else ""
    if declared:
        # What the header says is not advised against: what would explain the values is told as the fact that it is.
        fact = f" ({remedy} would explain it)" if "_unit=" in remedy and not remedy.endswith(f"={declared}") else ""
        if finding.option == "acc_unit" and finding.factor and not fact and not finding.is_rough:
            fact = _calibration(finding, read_as)
        return f"{finding.text}, though its unit is given as {declared}{fact}"
    return f"{finding.text}: wrong unit?" + (f" Add {remedy} to its URL" if remedy else "")


def _calibration(finding: Finding, read_as: ReadAs) -> str:
    """The scale that would make gravity at rest as long as it is; empty where the source takes none."""
    if not (finding.factor and read_as.has_scale and _apart(finding.factor, 1.0) < UNCALIBRATED):
        return ""
    table = TABLES["acc_unit"]
    name = read_as.declared.get("acc_unit") or read_as.taken.get("acc_unit", next(iter(table)))
    return f" (acc_scale={table.get(name, 1.0) * finding.factor:.3g} would heal it)"


def _remedy(finding: Finding, read_as: ReadAs, declared: str) -> str:
    """Such as ``acc_unit=g``; empty where no option would do."""
    option, table = finding.option, TABLES[finding.option]
    own = table.get(declared or read_as.taken.get(option, next(iter(table))), 1.0)
    wanted = own * finding.factor
    names = read_as.options.get(option, ())
    near = ROUGHLY if finding.is_rough else NEAR
    close = [name for name in names if _apart(table[name], wanted) < near]
    nearest = min(close, key=lambda name: _apart(table[name], wanted), default="")
    if nearest and (nearest in USUAL[option] or not finding.is_rough):
        return f"{option}={nearest}"
    # How much a gyroscope is off is known to a factor of a few only: enough for a unit, not for a scale.
    if finding.is_rough or not read_as.has_scale or option != "acc_unit":
        return ""
    counts = min(SENSITIVITIES, key=lambda count: _apart(STANDARD_GRAVITY / count, wanted))
    is_count = _apart(STANDARD_GRAVITY / counts, wanted) < NEAR
    return f"acc_scale={STANDARD_GRAVITY / counts:.4g}" if is_count else f"acc_scale={wanted:.2g}"


def _apart(one: float, other: float) -> float:
    return abs(math.log(one / other))
