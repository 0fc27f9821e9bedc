"""Health: does what a sensor delivers look like a working sensor?

Each check looks at one hop; a fault counts only after several hops in a row, and is lifted only after two good ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmg.bundle import Modality
from mmg.streams import Hop

SLOWEST_INPUT = {"signal": 0.25, "audio": 0.0, "video": 0.5}
"""An input slower than this part of the model's rate leaves too little to interpolate, or frames that are too old."""
MOST_LOST = 0.2
"""The part of a hop's samples that may be lost, not finite, or off their time stamps."""
FLAT_PTP = 1e-9
GRAVITY_LOW_M_S2, GRAVITY_HIGH_M_S2 = 3.0, 80.0
"""The mean of |acceleration| over two seconds on a living wearer is near 9.8, and about 30 in a sprint."""
IMPOSSIBLE_M_S2 = 1e5
"""More than gravity in mg: no unit explains it."""
GYRO_HIGH_RAD_S = 36.0
"""Just above the 2000 deg/s (34.9 rad/s) full scale of wearable gyroscopes."""
CLIPPED_PART_SIGNAL, CLIPPED_LEVEL_M_S2 = 0.5, 15.0
QUIET_PEAK = 2e-5
"""Under one step of 16-bit sound (3.1e-5): a microphone that is on is never that quiet."""
CLIPPED_PART_AUDIO, CLIPPED_LEVEL_AUDIO = 0.05, 0.999
DARK_LEVEL = 8
GOOD_HOPS_TO_LIFT = 2


@dataclass(frozen=True, slots=True)
class Fault:
    """kind: what is compared between hops; reason: what is shown; hops: how many in a row make the sensor faulty."""

    kind: str
    reason: str
    hops: int


class Health:
    """The verdict on one modality, hop by hop."""

    def __init__(self, modality: Modality) -> None:
        self._modality = modality
        checks: dict[str, Callable[[NDArray[Any]], Fault | None]] = {
            "signal": self._check_signal,
            "audio": self._check_audio,
            "video": self._check_video,
        }
        self._check = checks[modality.kind]
        units = [channel.unit for channel in modality.channels]
        self._accelerations = [index for index, unit in enumerate(units) if unit == "m/s^2"]
        self._rotations = [index for index, unit in enumerate(units) if unit == "rad/s"]
        self._frame = b""
        self._kind, self._bad, self._good = "", 0, 0
        self._dropped, self._next_hop = 0, 0
        self._reason = ""

    def judge(self, hop: Hop) -> str:
        """The reason why the sensor is faulty as of this hop, or an empty string.

        A hop that is not whole can show a wrong rate, and is no sign of health.
        """
        if hop.index != self._next_hop:
            self._bad = 0  # nothing came between: the edges of two gaps do not add up
        self._next_hop = hop.index + 1
        fault = self._check_rate(hop)
        if fault is None and hop.samples is not None:
            fault = self._check(hop.samples)
        if fault is None and hop.samples is None:
            return ""
        if fault is None:
            self._good, self._bad = self._good + 1, 0
            if self._good >= GOOD_HOPS_TO_LIFT:
                self._reason = ""
        else:
            self._bad = self._bad + 1 if fault.kind == self._kind else 1
            self._good, self._kind = 0, fault.kind
            if self._bad >= fault.hops or self._reason:
                self._reason = fault.reason
        return self._reason

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
                return Fault("lost", f"{part:.0%} of its samples are lost, not finite or off their time stamps", 2)
        return None

    def _check_signal(self, samples: NDArray[Any]) -> Fault | None:
        highest, lowest = np.maximum.reduce(samples).tolist(), np.minimum.reduce(samples).tolist()
        peaks, flat = [], True
        for high, low in zip(highest, lowest, strict=True):
            peaks.append(max(high, -low))
            flat = flat and high - low <= FLAT_PTP
        if flat:
            return Fault("flat", "flat line", 2)
        if len(self._accelerations) == 3:
            # Every length is between that of the box's nearest face and that of its farthest corner.
            least = max(max(lowest[index], -highest[index]) for index in self._accelerations)
            if fault := self._check_acceleration(samples, least, [peaks[index] for index in self._accelerations]):
                return fault
        # The mean of the largest is at most the largest of all.
        if self._rotations and max(peaks[index] for index in self._rotations) > GYRO_HIGH_RAD_S:
            turn = float(np.abs(samples[:, self._rotations]).max(axis=1).mean())
            if turn > GYRO_HIGH_RAD_S:
                return Fault("unit", f"turns at {turn:.0f} rad/s: wrong unit? (gyro_unit=deg/s)", 4)
        return None

    def _check_acceleration(self, samples: NDArray[Any], least: float, peaks: list[float]) -> Fault | None:
        most = math.hypot(*peaks)
        if least < GRAVITY_LOW_M_S2 or most > GRAVITY_HIGH_M_S2:
            mean = float(np.sqrt((samples[:, self._accelerations].astype(np.float64) ** 2).sum(axis=1)).mean())
            if mean < GRAVITY_LOW_M_S2:
                return Fault("unit", f"gravity reads {mean:.2f} m/s^2: wrong unit? (acc_unit=g)", 4)
            if mean > IMPOSSIBLE_M_S2:
                return Fault("unit", f"acceleration reads {mean:.1e} m/s^2", 2)
            if mean > GRAVITY_HIGH_M_S2:
                return Fault("unit", f"gravity reads {mean:.0f} m/s^2: wrong unit? (acc_unit=mg)", 4)
        if most > CLIPPED_LEVEL_M_S2:
            limits = np.array(peaks)
            clipped = (np.abs(samples[:, self._accelerations]) >= limits * 0.999).mean(axis=0)
            if bool(((clipped > CLIPPED_PART_SIGNAL) & (limits > CLIPPED_LEVEL_M_S2)).any()):
                return Fault("clipped", f"clipped at {limits.max():.0f} m/s^2", 2)
        return None

    def _check_audio(self, samples: NDArray[Any]) -> Fault | None:
        highest, lowest = float(np.maximum.reduce(samples[:, 0])), float(np.minimum.reduce(samples[:, 0]))
        peak = max(highest, -lowest)
        if peak <= QUIET_PEAK:
            return Fault("silent", "silent: muted or unplugged?", 4)
        if highest - lowest <= QUIET_PEAK:
            return Fault("flat", "flat line", 2)
        if peak >= CLIPPED_LEVEL_AUDIO and float((np.abs(samples) >= CLIPPED_LEVEL_AUDIO).mean()) > CLIPPED_PART_AUDIO:
            return Fault("clipped", "clipped: lower the gain", 2)
        return None

    def _check_video(self, samples: NDArray[Any]) -> Fault | None:
        # As bytes: most frames differ within the first few, where the comparison ends.
        frames = [frame.tobytes() for frame in samples]
        before, self._frame = self._frame, frames[-1]
        if int(np.maximum.reduce(samples, axis=None)) < DARK_LEVEL:
            return Fault("dark", "dark: is the lens covered?", 2)
        if all(frame == before for frame in frames):
            return Fault("frozen", "frozen picture", 10)
        return None
