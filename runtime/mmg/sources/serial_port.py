"""Serial IMUs: whatever pyserial can open, in whichever protocol the device speaks."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from mmg.errors import BackendUnavailable, ConfigError, SourceError, SourceLost, SourceNotFound
from mmg.sources.port import PortStatus, PortThread
from mmg.sources.protocols import UNTIMED, Parser, Samples, open_parser
from mmg.timing import ClockMap
from mmg.types import Chunk

if TYPE_CHECKING:
    from mmg.bundle.manifest import Modality
    from mmg.sources.url import SourceUrl

COLUMNS = ("ax", "ay", "az", "gx", "gy", "gz")
BAUD_RATES = (115200, 921600, 460800, 230400, 9600)
"""Tried in turn with ``protocol=auto`` until one makes sense; the first is what most devices leave the factory with."""
TRY_S = 1.5
"""How long a baud rate is listened to before the next one is tried."""
STALL_S = 1.0
"""A device that says nothing for so long is shown as stalled."""
POLL_S = 0.1
BITS_PER_BYTE = 10
CLOCK_BREAK_NS = 10_000_000_000
OPTIONS = ("protocol", "baud", "columns", "acc_unit", "gyro_unit")
TEXT_OPTIONS = ("columns", "acc_unit", "gyro_unit")


class SerialPort(PortThread):
    """``serial:///dev/ttyUSB0?protocol=witmotion&baud=115200``: an IMU on a serial port.

    Any URL that pyserial opens works beneath: ``serial://socket://host:port``, ``serial://rfc2217://...``. Without
    ``protocol`` it is found out; without ``baud`` the usual rates are tried. The device is looked for again for ever.
    """

    def __init__(self, url: SourceUrl, modality: Modality) -> None:
        """Raises ConfigError for options that cannot be, or a modality that is no IMU; opens nothing."""
        super().__init__(str(url), modality.name)
        for option in url.options:
            if option not in OPTIONS:
                raise ConfigError(f"{url}: unknown option {option!r}: known here are {', '.join(OPTIONS)}")
        unknown = [channel.name for channel in modality.channels if channel.name not in COLUMNS]
        if unknown:
            raise ConfigError(f"{url}: an IMU does not give {', '.join(unknown)}")
        self._columns = [COLUMNS.index(channel.name) for channel in modality.channels]
        self._needs_gyro = any(c.name in COLUMNS[3:] and not c.optional for c in modality.channels)
        self._device = url.path
        self._protocol = url.options.get("protocol", "auto")
        self._text_options = {name: url.options[name] for name in TEXT_OPTIONS if name in url.options}
        baud = url.number("baud", 1200, 12_000_000)
        self._bauds = (int(baud),) if baud is not None else BAUD_RATES
        self._tried = 0
        self._dropped = 0
        self._new_parser()

    def _new_parser(self) -> Parser:
        return open_parser(self._protocol, **self._text_options)

    def _session(self) -> None:
        baud = self._bauds[self._tried % len(self._bauds)]
        with _open_serial(self._device, baud, self.url) as port:
            self.status = PortStatus(connected=True, reason="waiting for valid frames", device=self._device)
            parser, clock = self._new_parser(), _SampleClock()
            opened_s = heard_s = time.monotonic()
            while not self._stopping.is_set():
                data = self._read(port)
                arrival_ns = time.monotonic_ns()
                if data:
                    heard_s = arrival_ns / 1e9
                    self._handle(parser, clock, data, arrival_ns, baud)
                elif arrival_ns / 1e9 - heard_s > STALL_S:
                    self._tell(parser, clock, f"stalled: nothing for {arrival_ns / 1e9 - heard_s:.0f} s")
                if not parser.counters.samples and arrival_ns / 1e9 - opened_s > TRY_S and len(self._bauds) > 1:
                    self._tried += 1
                    return

    def _read(self, port: Any) -> bytes:
        """All bytes that are pending; waits for the first one, for ``POLL_S`` at most."""
        try:
            first: bytes = port.read(1)
            return first + bytes(port.read(port.in_waiting)) if first else b""
        except (OSError, TypeError) as error:  # pyserial: TypeError where another thread has closed the port
            raise SourceLost(self.url, "unplugged") from error

    def _handle(self, parser: Parser, clock: _SampleClock, data: bytes, arrival_ns: int, baud: int) -> None:
        samples = parser.feed(data)
        if not len(samples):
            return
        if self._needs_gyro and not samples.has_gyro:
            raise SourceError(self.url, "this IMU has no gyroscope, which this bundle needs")
        # A byte that came after a sample in the same read left the device later, by the time it takes on the wire.
        after = parser.counters.bytes_fed - 1 - samples.last_byte
        arrivals_ns = arrival_ns - np.round(after * (BITS_PER_BYTE * 1e9 / baud)).astype(np.int64)
        times_ns = clock.stamp(samples, arrivals_ns)
        lost = parser.counters.gaps + parser.counters.checksum_errors + parser.counters.malformed
        lost, self._dropped = lost - self._dropped, lost
        self._deliver(Chunk(self.modality, samples.values[:, self._columns], times_ns, dropped=max(lost, 0)))
        self._tell(parser, clock, "")

    def _tell(self, parser: Parser, clock: _SampleClock, reason: str) -> None:
        quality = clock.quality
        counted = asdict(parser.counters)
        losses = tuple((kind, counted[kind]) for kind in ("checksum_errors", "malformed", "gaps", "duplicates"))
        self.status = PortStatus(
            connected=True,
            reason=reason,
            device=f"{parser.name} on {self._device}",
            drift_ppm=quality.drift_ppm,
            jitter_ms=quality.jitter_ms,
            uncertainty_ms=quality.uncertainty_ms,
            losses=losses,
        )


class _SampleClock:
    """Host capture times of an IMU's samples: by the device's own clock where it has one, by their number otherwise."""

    def __init__(self) -> None:
        self._by_device = ClockMap(1)
        self._by_number = ClockMap(None)
        self._count = 0
        self._timed: bool | None = None

    @property
    def quality(self) -> Any:
        return (self._by_device if self._timed else self._by_number).quality

    def stamp(self, samples: Samples, arrivals_ns: np.typing.NDArray[np.int64]) -> np.typing.NDArray[np.int64]:
        """Capture times ``(T,)`` in host ns. Which clock is used is settled by the first samples."""
        ticks = samples.device_time_ns
        if self._timed is None:
            self._timed = ticks is not None and bool((ticks != UNTIMED).all())
        numbers = self._count + np.arange(len(samples), dtype=np.int64)
        self._count += len(samples)
        # One read is one observation: the arrival of its newest sample.
        if not self._timed or ticks is None:
            return self._by_number.stamp(numbers, int(arrivals_ns[-1]))
        timed = ticks != UNTIMED
        if not timed.all():
            known = np.flatnonzero(timed)
            if not len(known):
                return arrivals_ns
            ticks = np.interp(numbers, numbers[known], ticks[known]).astype(np.int64)
        return self._by_device.stamp(ticks, int(arrivals_ns[-1]))


def _open_serial(device: str, baud: int, url: str) -> Any:
    try:
        import serial
    except ImportError as error:
        raise BackendUnavailable("pyserial", "mmg[serial]") from error
    try:
        port = serial.serial_for_url(device, baudrate=baud, timeout=POLL_S, exclusive=True)
    except (OSError, ValueError) as error:
        if isinstance(error, ValueError):
            raise SourceError(url, f"cannot be opened: {error}") from error
        if "://" not in device and not os.path.exists(device):  # noqa: PTH110 - device nodes are not files to Path users
            raise SourceNotFound(url, "there is no such device") from error
        if isinstance(error, PermissionError) or getattr(error, "errno", None) == 13:
            raise SourceError(url, "no permission: sudo usermod -aG dialout $USER, then log in again") from error
        raise SourceError(url, f"cannot be opened: {error}") from error
    try:
        port.set_low_latency_mode(True)
    except (AttributeError, OSError, ValueError, NotImplementedError):
        pass
    return port
