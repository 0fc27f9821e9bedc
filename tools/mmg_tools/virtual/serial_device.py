"""A serial IMU: a pseudo terminal under a fixed name that speaks any protocol of ``mmg.sources.protocols``."""

from __future__ import annotations

import contextlib
import os
import select
import time
import tty
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmg.errors import ConfigError
from mmg.sources.protocols import PROTOCOLS, encode_sample
from numpy.typing import NDArray

from mmg_tools.virtual.device import VirtualDevice

RATE_HZ = 100
LATE_NS = 200_000_000
"""What could not be sent for so long, because this machine was busy, is lost."""
POWERED_NS = 7_200_000_000_000
"""The device's clock at scenario time 0: it was switched on two hours before, so that its clock can jump back."""


@dataclass(frozen=True, slots=True)
class DeviceClock:
    """A clock that runs ``ppm`` faster than the host's; at ``host_ns`` (monotonic) it had run for ``ran_ns``."""

    host_ns: int
    ran_ns: int = 0
    ppm: float = 0.0

    def ran_at(self, host_ns: int) -> int:
        """How long it has run at this moment of the host, in its own ns."""
        return self.ran_ns + round((host_ns - self.host_ns) * (1 + self.ppm * 1e-6))

    def host_at(self, ran_ns: int) -> int:
        """The host's time at which it has run for so long."""
        return self.host_ns + round((ran_ns - self.ran_ns) / (1 + self.ppm * 1e-6))

    def drifting(self, ppm: float, host_ns: int) -> DeviceClock:
        """The same clock with another drift from this moment of the host on."""
        return DeviceClock(host_ns, self.ran_at(host_ns), ppm)


class VirtualSerial(VirtualDevice):
    """A serial IMU at ``link``; it appears with ``plug``, which also begins its time if ``begin`` did not.

    It plays ``imu``, once or in a loop, by the time that has passed since the beginning: unplugged or stalled it
    misses what happens, as on a body. Like a UART it waits for nobody: what is not read is lost, and counted.
    sent_bytes, lost_bytes: what was taken and what was not. missed_samples: those that this machine was too late for.
    """

    def __init__(
        self,
        link: Path,
        imu: NDArray[np.float32],
        protocol: str = "witmotion",
        *,
        rate_hz: int = RATE_HZ,
        loop: bool = False,
        seed: int = 0,
    ) -> None:
        """imu: ``(T, 6)`` m/s^2 and rad/s at ``rate_hz``. seed: of corruption and jitter.

        Raises ConfigError for an unknown protocol.
        """
        if protocol not in PROTOCOLS:
            raise ConfigError(f"{protocol}: unknown protocol: choose {', '.join(PROTOCOLS)}")
        super().__init__(link.name)
        self.link, self.protocol = link, protocol
        self.sent_bytes = self.lost_bytes = self.missed_samples = 0
        self._imu, self._period_ns, self._loop = imu, 1_000_000_000 // rate_hz, loop
        self._rng = np.random.default_rng(seed)
        self._master, self._heard, self._stalled = -1, select.poll(), False
        self._corrupted_part, self._jitter_ns, self._jump_ns = 0.0, 0.0, 0
        self._clock = DeviceClock(0)

    @property
    def plugged(self) -> bool:
        """Whether it is there."""
        return self._master >= 0

    def begin(self, start_ns: int) -> None:
        """Scenario time 0 is at ``start_ns``, host monotonic. To be called once; else ``plug`` begins."""
        self._clock = DeviceClock(start_ns)
        super().begin(start_ns)

    def _appear(self) -> None:
        """A new pseudo terminal under the same name."""
        master, slave = os.openpty()
        tty.setraw(slave)
        made = self.link.with_name(f".{self.link.name}.new")
        made.unlink(missing_ok=True)
        made.symlink_to(os.ttyname(slave))
        os.close(slave)  # the master then hangs up while nobody else has it open, which is how a reader is noticed
        os.set_blocking(master, False)
        self._heard = select.poll()
        self._heard.register(master, 0)
        made.rename(self.link)
        self._master = master

    def _vanish(self) -> None:
        """Who reads gets an error."""
        self.link.unlink(missing_ok=True)
        os.close(self._master)
        self._master = -1

    def play(self, imu: NDArray[np.float32]) -> None:
        """From now on this is what the body does, at the same rate."""
        with self._change:
            self._imu = imu

    def stall(self) -> None:
        """It stays, but no byte comes."""
        with self._change:
            self._stalled = True

    def resume(self) -> None:
        """It goes on after a stall."""
        with self._change:
            self._stalled = False

    def corrupt(self, part: float) -> None:
        """From now on so many of the bytes, 0 to 1, come altered; 0 ends it."""
        with self._change:
            self._corrupted_part = part

    def set_jitter(self, jitter_ms: float) -> None:
        """From now on samples come late, in their order, by the size of a Gaussian number of this deviation."""
        with self._change:
            self._jitter_ns = jitter_ms * 1e6

    def set_drift(self, ppm: float) -> None:
        """From now on its clock, and so its pace, runs so much faster than the host's; 0 ends it."""
        with self._change:
            self._clock = self._clock.drifting(ppm, time.monotonic_ns())

    def jump_clock(self, seconds: float) -> None:
        """Its clock, where the protocol tells it, jumps; its pace does not change."""
        with self._change:
            self._jump_ns += round(seconds * 1e9)

    def _run(self) -> None:
        number, sent_ns = 0, 0
        with self._change:
            while not self._closing:
                due_ns = self._clock.host_at(number * self._period_ns)
                delay_ns = abs(self._rng.normal(0, self._jitter_ns)) if self._jitter_ns else 0
                sent_ns = max(due_ns + round(delay_ns), sent_ns)
                now_ns = time.monotonic_ns()
                if now_ns - sent_ns > LATE_NS:
                    behind = self._clock.ran_at(now_ns) // self._period_ns + 1 - number
                    self.missed_samples += behind
                    number += behind
                    continue
                if self._change.wait_for(lambda: self._closing, max(sent_ns - now_ns, 0) / 1e9):
                    return
                self._sample(number, due_ns)
                number += 1

    def _sample(self, number: int, due_ns: int) -> None:
        """What the body does at ``due_ns``, as the device's sample ``number``."""
        place = (due_ns - self._start_ns + self._period_ns // 2) // self._period_ns
        if not self.plugged or self._stalled or (place >= len(self._imu) and not self._loop):
            return
        told_ns = max(POWERED_NS + number * self._period_ns + self._jump_ns, 0)
        self._send(encode_sample(self.protocol, self._imu[place % len(self._imu)].tolist(), number, told_ns))

    def _send(self, data: bytes) -> None:
        if self._corrupted_part:
            altered = self._rng.random(len(data)) < self._corrupted_part
            noise = self._rng.integers(1, 256, len(data)).astype(np.uint8)
            data = (np.frombuffer(data, np.uint8) ^ (noise * altered)).tobytes()
        taken = 0
        if not self._heard.poll(0):
            with contextlib.suppress(BlockingIOError):  # the reader does not read
                taken = os.write(self._master, data)
        self.sent_bytes += taken
        self.lost_bytes += len(data) - taken
