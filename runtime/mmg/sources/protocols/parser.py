"""What every protocol parser takes and gives: bytes in, samples and counters out. No parser does any I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

STANDARD_GRAVITY = 9.80665  # m/s^2 in one g, exact by definition (CGPM 1901)
VALID_FRAMES = 4
"""So many good frames, or lines, are no chance: the protocol and the baud rate are right."""
UNTIMED = int(np.iinfo(np.int64).min)  # in device_time_ns: the device gave no time for this one sample


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """The samples that became complete, in the device's order.

    values: ``(T, 6)`` float32: acceleration x y z in m/s^2, then angular rate x y z in rad/s.
    device_time_ns: ``(T,)`` int64, the device's own clock with its counter unwrapped, from an origin of the
        device's choosing; it goes back where the device restarted. None where no sample here has one; UNTIMED
        marks single samples without one (their time message was lost).
    last_byte: ``(T,)`` int64, where in the stream each sample's last byte was, counted from the first byte
        ever fed. With ``Counters.bytes_fed`` it tells how many bytes of the last read came after the sample.
    has_gyro: False where the device has no gyro, as known after the last of these samples: its columns are 0.
    """

    values: NDArray[np.float32]
    device_time_ns: NDArray[np.int64] | None
    last_byte: NDArray[np.int64]
    has_gyro: bool

    def __len__(self) -> int:
        return len(self.last_byte)

    def since(self, start: int) -> Samples:
        """The samples from index ``start`` on."""
        times = None if self.device_time_ns is None else self.device_time_ns[start:]
        return Samples(self.values[start:], times, self.last_byte[start:], self.has_gyro)


def join(parts: Sequence[Samples]) -> Samples:
    """One Samples out of at least one, in order."""
    if len(parts) == 1:
        return parts[0]
    times = np.concatenate(
        [np.full(len(p), UNTIMED, np.int64) if p.device_time_ns is None else p.device_time_ns for p in parts]
    )
    return Samples(
        np.concatenate([part.values for part in parts]),
        times if bool((times != UNTIMED).any()) else None,
        np.concatenate([part.last_byte for part in parts]),
        parts[-1].has_gyro,
    )


@dataclass(slots=True)
class Counters:
    """What a parser has seen since it was opened. Loss is data: nothing here raises.

    bytes_fed: all bytes.
    frames: whole frames (or lines) that passed their checksum, with an IMU sample in them or not.
    samples: samples given out.
    checksum_errors: places that began like a frame and failed its checksum or its structure.
    malformed: good frames, or lines, whose content cannot be used: not a number, not UTF-8, over-long,
        impossible.
    other: lines of another kind, between samples: what a board prints besides them, or a sample cut short.
    incomplete: half samples let go because the other half never came (acceleration without gyro or the
        reverse).
    gaps: samples missing by the device's own counter.
    duplicates: samples let go because the device's counter, or clock, had not moved.
    skipped_bytes: bytes passed over to find the next frame.
    """

    bytes_fed: int = 0
    frames: int = 0
    samples: int = 0
    checksum_errors: int = 0
    malformed: int = 0
    other: int = 0
    incomplete: int = 0
    gaps: int = 0
    duplicates: int = 0
    skipped_bytes: int = 0

    def copy(self) -> Counters:
        """As they are now. (``dataclasses.replace`` takes ten times as long, and this is done at every sample.)"""
        return Counters(
            self.bytes_fed,
            self.frames,
            self.samples,
            self.checksum_errors,
            self.malformed,
            self.other,
            self.incomplete,
            self.gaps,
            self.duplicates,
            self.skipped_bytes,
        )


@dataclass(frozen=True, slots=True)
class Finding:
    """What a device speaks that gives no samples: the protocol, and why it is of no use so far."""

    protocol: str
    problem: str

    def at(self, baud: int) -> str:
        """In one line, for who looks at the port."""
        return f"{self.protocol} at {baud} baud: {self.problem}"


class Parser(Protocol):
    """Turns the bytes of one device into samples. However the bytes are split, the samples are the same."""

    @property
    def name(self) -> str:
        """The protocol spoken; ``auto`` while that is not known yet."""

    @property
    def counters(self) -> Counters:
        """The live counters: copy them to keep them."""

    @property
    def finding(self) -> Finding | None:
        """What is known of a stream that gives no samples; None while it gives some, or nothing is known."""

    def feed(self, data: bytes) -> Samples:
        """Takes the next bytes and returns the samples that they completed, often none. Never raises."""
