"""The verdict on one sensor, hop by hop.

What one hop shows by itself counts only after several hops in a row, and is lifted after two good ones. What an IMU's
values show of each other over seconds (``Inertial``) has its own measure, and a wrong unit stays wrong until the values
show another one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmg.bundle import Modality
from mmg.engine.health.advice import ReadAs, advise
from mmg.engine.health.finding import Finding
from mmg.engine.health.inertial import FLAT_HOPS, Inertial
from mmg.engine.health.level import Level
from mmg.engine.health.rows import AT_END
from mmg.streams import Hop

SLOWEST_INPUT = {"signal": 0.22, "audio": 0.0, "video": 0.45}
"""An input slower than this part of the model's rate leaves too little to interpolate, or frames that are too old. A
quarter and a half are well: 12.5 Hz, which many IMUs have, are 6 samples in most hops of 0.5 s, and stamps jitter."""
MOST_LOST = 0.2
"""The part of a hop's samples that may be lost, failed reads, not finite, or off their time stamps."""
FLAT_PTP = 1e-9
CLIPPED_PART_SIGNAL, CLIPPED_LEVEL_M_S2 = 0.5, 15.0
QUIET_PEAK = 2e-5
"""Under one step of 16-bit sound (3.1e-5): a microphone that is on is never that quiet."""
CLIPPED_PART_AUDIO, CLIPPED_LEVEL_AUDIO = 0.05, 0.999
DARK_LEVEL = 8
GOOD_HOPS_TO_LIFT = 2
AXES = 3


@dataclass(frozen=True, slots=True)
class Fault:
    """kind: what is compared between hops; reason: what is shown; hops: how many in a row make the sensor faulty."""

    kind: str
    reason: str
    hops: int


class Verdict(NamedTuple):
    """state: what the sensor is; reason: why it is not ``live``, empty where it is."""

    state: Literal["live", "doubted", "faulty"]
    reason: str


WELL = Verdict("live", "")


class Health:
    """Looks at one modality's hops in order. ``read_as`` is how its source took the units, for what it advises."""

    def __init__(self, modality: Modality) -> None:
        self._modality = modality
        self.read_as = ReadAs()
        checks: dict[str, Callable[[NDArray[Any], Hop], Fault | None]] = {
            "signal": self._check_signal,
            "audio": self._check_audio,
            "video": self._check_video,
        }
        self._check = checks[modality.kind]
        units = [channel.unit for channel in modality.channels]
        self._accelerations = [index for index, unit in enumerate(units) if unit == "m/s^2"]
        rotations = [index for index, unit in enumerate(units) if unit == "rad/s"]
        self._inertial: Inertial | None = None
        if modality.kind == "signal" and len(self._accelerations) == AXES:
            axes = self._accelerations + (rotations if len(rotations) == AXES else [])
            self._inertial = Inertial(axes, modality.rate_hz)
        self._level = Level(modality.rate_hz) if modality.kind == "audio" else None
        self._frame = b""
        self._kind, self._bad, self._good = "", 0, 0
        self._dropped, self._next_hop = 0, 0
        self._reason = ""

    def judge(self, hop: Hop) -> Verdict:
        """What the sensor is as of this hop. One that is not whole can show a wrong rate, and is no sign of health."""
        if hop.index != self._next_hop:
            self._bad = 0  # nothing came between: the edges of two gaps do not add up
        if self._inertial is not None and (hop.index != self._next_hop or hop.samples is None):
            self._inertial.break_off()
        self._next_hop = hop.index + 1
        fault = self._check_rate(hop)
        if hop.samples is not None:
            shown = self._check(hop.samples, hop)
            fault = fault or shown
        if fault is None and hop.samples is None:
            return self._verdict("")
        if fault is None:
            self._good, self._bad = self._good + 1, 0
            if self._good >= GOOD_HOPS_TO_LIFT:
                self._reason = ""
        else:
            self._bad = self._bad + 1 if fault.kind == self._kind else 1
            self._good, self._kind = 0, fault.kind
            if self._bad >= fault.hops or self._reason:
                self._reason = fault.reason
        return self._verdict(self._reason)

    def presume(self, findings: Iterable[Finding]) -> None:
        """Begin with what ``lasting`` told of the same sensor: nothing is decided from it until it is another."""
        if self._inertial is not None:
            self._inertial.presume(findings)

    def lasting(self) -> tuple[Finding, ...]:
        """What is wrong with this sensor, was from the first hop on, and will be unless it changes."""
        return () if self._inertial is None else self._inertial.lasting()

    @property
    def is_settled(self) -> bool:
        """Whether more hops would tell nothing new of its units."""
        return self._inertial is None or self._inertial.is_settled

    def _verdict(self, reason: str) -> Verdict:
        findings = () if self._inertial is None else self._inertial.findings
        if self._level is not None and self._level.finding is not None:
            findings = (self._level.finding,)
        if not (reason or findings):
            return WELL
        faults = [advise(finding, self.read_as) for finding in findings if finding.is_fault]
        if reason or faults:
            return Verdict("faulty", "; ".join(([reason] if reason else []) + faults))
        return Verdict("doubted", "; ".join(advise(finding, self.read_as) for finding in findings))

    def _check_rate(self, hop: Hop) -> Fault | None:
        rate_hz = self._modality.rate_hz
        if hop.input_hz < rate_hz * SLOWEST_INPUT[self._modality.kind]:
            # The two edges of a gap look like this too: three hops in a row do not.
            return Fault("rate", f"wrong rate: {hop.input_hz:.2g} Hz, the model wants {rate_hz:g}", 3)
        lost, self._dropped = hop.dropped - self._dropped, hop.dropped
        if hop.samples is not None:
            came = hop.input_hz * len(hop.samples) / rate_hz
            if lost > MOST_LOST * (came + lost):
                part = lost / (came + lost)
                return Fault(
                    "lost", f"{part:.0%} of its samples are lost, zeros, not finite or off their time stamps", 2
                )
        return None

    def _check_signal(self, samples: NDArray[Any], hop: Hop) -> Fault | None:
        highest, lowest = np.maximum.reduce(samples).tolist(), np.minimum.reduce(samples).tolist()
        if self._inertial is not None:
            self._inertial.gives_gyro = self.read_as.gives_gyro
            rows = hop.input_hz * len(samples) / self._modality.rate_hz
            if problem := self._inertial.take(samples, lowest, highest, rows):
                return Fault("impossible", problem, 1)
        # Of nearly every hop the first channel tells it.
        is_flat = highest[0] - lowest[0] <= FLAT_PTP
        if is_flat and all(high - low <= FLAT_PTP for high, low in zip(highest, lowest, strict=True)):
            return Fault("flat", "flat line", FLAT_HOPS if self._inertial is None else self._inertial.flat_hops)
        if len(self._accelerations) == AXES:
            return self._check_range(samples, [max(highest[axis], -lowest[axis]) for axis in self._accelerations])
        return None

    def _check_range(self, samples: NDArray[Any], peaks: list[float]) -> Fault | None:
        if max(peaks) <= CLIPPED_LEVEL_M_S2:
            return None
        for axis, peak in zip(self._accelerations, peaks, strict=True):
            if peak > CLIPPED_LEVEL_M_S2:
                at_end = np.abs(samples[:, axis].astype(np.float64)) >= peak * AT_END
                if np.count_nonzero(at_end) > CLIPPED_PART_SIGNAL * len(samples):
                    return Fault("clipped", f"clipped at {max(peaks):.0f} m/s^2", 2)
        return None

    def _check_audio(self, samples: NDArray[Any], _: Hop) -> Fault | None:
        highest, lowest = float(np.maximum.reduce(samples[:, 0])), float(np.minimum.reduce(samples[:, 0]))
        peak = max(highest, -lowest)
        if self._level is not None and peak > QUIET_PEAK:
            self._level.take(samples)
        if peak <= QUIET_PEAK:
            return Fault("silent", "silent: muted or unplugged?", 4)
        if highest - lowest <= QUIET_PEAK:
            return Fault("flat", "flat line", 2)
        if peak >= CLIPPED_LEVEL_AUDIO and float((np.abs(samples) >= CLIPPED_LEVEL_AUDIO).mean()) > CLIPPED_PART_AUDIO:
            return Fault("clipped", "clipped: lower the gain", 2)
        return None

    def _check_video(self, samples: NDArray[Any], _: Hop) -> Fault | None:
        # As bytes: most frames differ within the first few, where the comparison ends.
        frames = [frame.tobytes() for frame in samples]
        before, self._frame = self._frame, frames[-1]
        if int(np.maximum.reduce(samples, axis=None)) < DARK_LEVEL:
            return Fault("dark", "dark: is the lens covered?", 2)
        if all(frame == before for frame in frames):
            return Fault("frozen", "frozen picture", 10)
        return None
