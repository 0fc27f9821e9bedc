"""IMU chips on the board's own I2C or SPI bus, through the Linux kernel's IIO drivers."""

from __future__ import annotations

import select
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from mmg_device_profiles.regular_file import read_text

from mmg.errors import ConfigError, SourceError, SourceLost, SourceNotFound
from mmg.sources.axes import parse_axes
from mmg.sources.clock.clock_map import ClockMap
from mmg.sources.clock.device_time import DeviceTime
from mmg.sources.columns import Column
from mmg.sources.ports.iio.device import IioDevice, Scans, scan_elements
from mmg.sources.ports.iio.mounting import Mounting, plan_mounting
from mmg.sources.ports.port import PortStatus, PortThread
from mmg.sources.units import canonical, quantity
from mmg.types import Chunk

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mmg.bundle.manifest import Channel, Modality
    from mmg.sources.url import SourceUrl

SYSFS, DEV = Path("/sys/bus/iio/devices"), Path("/dev")
OPTIONS = ("sysfs", "dev", "rate", "buffer", "axes")
KINDS = {"acceleration": "accel", "gyro": "anglvel"}
PAIRS = (("_accel", "_gyro"), ("-accel", "-gyro"))
"""How drivers name the two halves of one chip: st_lsm6dsx writes lsm6dsox_accel, inv_icm42600 icm42605-accel."""
POLL_MS = 100
SILENT_S, SILENT_PERIODS = 2.0, 10
"""A buffer that gives nothing for so long is started anew."""
NEWEST_NS, OLDEST_NS = 20_000_000, 1_000_000_000
"""A first read whose newest stamp is from the future, or older than this, was not stamped by the monotonic clock."""
JUMP_NS = 2_000_000_000
"""Later stamps that are further from their arrival, or halves that are further from each other, are of another time."""
OSCILLATOR_ERROR = 1e-2
"""An IMU paces its samples by an oscillator of its own, trimmed to about one percent."""


@dataclass(frozen=True, slots=True)
class IioListing:
    """An inertial device that is there: ``iio:device0``, its name, what its buffer can hold, its rate, and its URL.

    The two halves of a chip have one URL. channels is empty where the driver has no buffer, rate_hz 0 where unknown.
    """

    device: str
    name: str
    channels: tuple[str, ...]
    rate_hz: float
    url: str


class IioPort(PortThread):
    """``iio://NAME``: that device, or ``iio://iio:device0``; ``iio://lsm6dsox`` is both halves of that chip.

    Options: ``rate`` in Hz in place of the model's, ``buffer`` in samples, ``axes`` as ``parse_axes`` reads them, and
    ``sysfs`` and ``dev``, folders in place of ``/sys/bus/iio/devices`` and ``/dev``. Of two halves the gyro is
    interpolated at the times of the acceleration. A gyro that is missing is zeros where the bundle has it as optional.
    The device tree's mount matrix is applied, and ``axes`` to what it gives.
    """

    def __init__(self, url: SourceUrl, modality: Modality) -> None:
        """Raises ConfigError for options that cannot be, or a modality that is no IMU; opens nothing."""
        super().__init__(str(url), modality.name)
        for option in url.options:
            if option not in OPTIONS:
                raise ConfigError(f"{url}: unknown option {option!r}: choose from {', '.join(OPTIONS)}")
        self._name = url.path.strip("/")
        self._sysfs, self._dev = Path(url.options.get("sysfs", SYSFS)), Path(url.options.get("dev", DEV))
        self._rate_hz = float(url.number("rate", 0.1, 100_000) or modality.rate_hz)
        length = url.number("buffer", 2, 1_000_000)
        self._length = None if length is None else int(length)
        self._channels, self._newest_ns = modality.channels, 0
        self._elements = [_element(channel) for channel in modality.channels]
        unknown = [c.name for c, element in zip(self._channels, self._elements, strict=True) if not element]
        if unknown:
            raise ConfigError(f"{url}: an IMU does not give {', '.join(unknown)}")
        self._per_si = np.array([_per_si(channel) for channel in modality.channels])
        self._axes = parse_axes(url.options["axes"], str(url)) if "axes" in url.options else None

    def _session(self) -> None:
        shares = self._shares(find_devices(self._sysfs, self._name, self.url))
        with ExitStack() as stack:
            halves: list[_Half] = []
            for folder, columns in shares.items():
                wanted = [self._elements[column] for column in columns]
                mounting = plan_mounting(folder, wanted, self._axes, self.url)
                device = IioDevice(self.url, folder, self._dev / folder.name, mounting.names)
                stack.callback(device.stop)
                device.start(self._rate_hz, self._length)
                halves.append(_Half(device, columns, mounting))
            name = " and ".join(f"{read_text(folder / 'name')} ({folder.name})" for folder in shares)
            if any(half.mounting.has_matrix for half in halves):
                name += ", turned by its mount matrix"
            self._read_all(halves, name)

    def _read_all(self, halves: list[_Half], name: str) -> None:
        self.status = PortStatus(connected=True, reason="waiting for samples", device=name)
        poll = select.poll()
        for half in halves:
            poll.register(half.device.fd, select.POLLIN)
        while not self._stopping.is_set():
            self._leave(halves)
            poll.poll(POLL_MS)
            # Also after a poll in vain: some kernels do not wake the reader of a device that went away.
            for half in halves:
                half.read()
                if half.silent_s > max(SILENT_S, SILENT_PERIODS / (half.device.rate_hz or self._rate_hz)):
                    raise SourceLost(self.url, f"silent for {half.silent_s:.0f} s: restarting it")
            times_ns, rows = _join(halves)
            if len(times_ns):
                self._give(times_ns, rows, halves, name)
            elif halves[0].held_ns > JUMP_NS:
                raise SourceLost(self.url, "its two halves are out of step: restarting them")

    def _leave(self, halves: list[_Half]) -> None:
        """Leave the chip alone until samples are wanted. Those that the kernel stamps may wait in its buffer."""
        if all(half.is_exact for half in halves):
            self._rest(self._newest_ns, min(half.device.held_s / 2 for half in halves))

    def _give(self, times_ns: NDArray[np.int64], rows: NDArray[np.float64], halves: list[_Half], name: str) -> None:
        samples = np.zeros((len(times_ns), len(self._channels)), np.float32)
        columns = [column for half in halves for column in half.columns]
        samples[:, columns] = rows * self._per_si[columns]
        first = halves[0]
        quality, exact = first.clock.quality, first.is_exact and not first.device_time.doubt
        notes = dict.fromkeys(
            each for half in halves for each in (half.mounting.problem, half.device_time.doubt) if each
        )
        self.status = PortStatus(
            connected=True,
            reason="",
            device=name if exact else f"{name}, times estimated from arrival",
            drift_ppm=0.0 if exact else quality.drift_ppm,
            jitter_ms=0.0 if exact else quality.jitter_ms,
            uncertainty_ms=0.0 if exact else quality.uncertainty_ms,
            note="; ".join(notes),
        )
        self._newest_ns = int(times_ns[-1])
        self._deliver(Chunk(self.modality, samples, times_ns, rate_hz=first.device.rate_hz))

    def _shares(self, folders: Sequence[Path]) -> Mapping[Path, list[int]]:
        """Which of the model's columns each device gives; those that none gives and that are optional are left out."""
        shares: dict[Path, list[int]] = {}
        present = {folder: scan_elements(folder) for folder in folders}
        if not any(present.values()):
            raise SourceError(
                self.url, f"{folders[0]} has no buffer: the device tree gives the chip no interrupt, or the driver none"
            )
        for column, (channel, element) in enumerate(zip(self._channels, self._elements, strict=True)):
            folder = next((folder for folder in folders if element in present[folder]), None)
            if folder is not None:
                shares.setdefault(folder, []).append(column)
            elif not channel.optional:
                raise SourceError(self.url, f"this chip does not give in_{element}, which this bundle needs")
        if not shares:
            raise SourceError(self.url, "this chip gives nothing that this bundle reads")
        return shares


class _Half:
    """One device, the columns of the sample that it gives, and the rows that were read and not yet given on."""

    def __init__(self, device: IioDevice, columns: list[int], mounting: Mounting) -> None:
        self.device, self.columns, self.mounting = device, columns, mounting
        self.times_ns: NDArray[np.int64] = np.empty(0, np.int64)
        self.rows: NDArray[np.float64] = np.empty((0, len(columns)))
        self.is_exact: bool | None = None
        self.clock, self.device_time = ClockMap(), DeviceTime()
        self._count = 0
        self._heard_ns = time.monotonic_ns()

    @property
    def silent_s(self) -> float:
        return (time.monotonic_ns() - self._heard_ns) / 1e9

    @property
    def held_ns(self) -> int:
        """From the oldest to the newest sample that was not given on."""
        return int(self.times_ns[-1] - self.times_ns[0]) if len(self.times_ns) else 0

    def read(self) -> None:
        scans = self.device.read()
        if len(scans.values):
            self._heard_ns = time.monotonic_ns()
            self.times_ns = np.append(self.times_ns, self._stamp(scans, self._heard_ns))
            self.rows = np.concatenate((self.rows, self.mounting.turn(scans.values)))

    def drop(self, count: int) -> None:
        self.times_ns, self.rows = self.times_ns[count:], self.rows[count:]

    def _stamp(self, scans: Scans, arrival_ns: int) -> NDArray[np.int64]:
        """Capture times: as stamped by the kernel, or by a clock fitted to the stamps, or to the samples' numbers."""
        numbers = self._count + np.arange(len(scans.values), dtype=np.int64)
        self._count += len(numbers)
        was_doubted, stamps_ns = bool(self.device_time.doubt), scans.stamps_ns
        ticks = None if stamps_ns is None else self.device_time.take(stamps_ns.tolist(), arrival_ns)
        if self.is_exact is None or was_doubted != bool(self.device_time.doubt):
            self.is_exact = ticks is not None and self.device.monotonic and _fits(ticks[-1], arrival_ns)
            self.clock = ClockMap() if ticks is not None else self._clock_of_numbers()
        if stamps_ns is None or ticks is None:
            return self.clock.stamp(numbers, arrival_ns)
        if not self.is_exact:
            return self.clock.stamp(np.array(ticks, np.int64), arrival_ns)
        if abs(arrival_ns - int(stamps_ns[-1])) > JUMP_NS:
            raise SourceLost(self.device.url, "its time stamps jumped: restarting it")
        return stamps_ns

    def _clock_of_numbers(self) -> ClockMap:
        rate_hz = self.device.rate_hz
        return ClockMap(1e9 / rate_hz if rate_hz else None, rate_error=OSCILLATOR_ERROR)


def _fits(newest_ns: int, arrival_ns: int) -> bool:
    """Some drivers stamp by a clock of their own, whatever they were told."""
    return -NEWEST_NS <= arrival_ns - newest_ns <= OLDEST_NS


def _join(halves: list[_Half]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The rows of the first half up to the newest of the others, which are interpolated at its times."""
    first, *others = halves
    ready = len(first.times_ns)
    for other in others:
        newest = other.times_ns[-1:]
        ready = min(ready, int(np.searchsorted(first.times_ns, newest[0], "right")) if len(newest) else 0)
    times_ns, parts = first.times_ns[:ready], [first.rows[:ready]]
    first.drop(ready)
    if ready:
        for other in others:
            columns = [np.interp(times_ns, other.times_ns, column) for column in other.rows.T]
            parts.append(np.stack(columns, axis=1))
            other.drop(max(int(np.searchsorted(other.times_ns, times_ns[-1], "right")) - 1, 0))
    return times_ns, np.concatenate(parts, axis=1)


def find_devices(sysfs: Path, name: str, url: str) -> list[Path]:
    """The folder of the device of that name, or of the two halves of the chip. Raises SourceNotFound, SourceError."""
    folders = _folders(sysfs)
    if not folders:
        raise SourceNotFound(url, f"there is no IIO device in {sysfs}: is the driver loaded, the device tree right?")
    if name in (folder.name for folder in folders):
        return [sysfs / name]
    for wanted in ((name,), *((name + first, name + second) for first, second in PAIRS)):
        found = [folder for part in wanted for folder, called in folders.items() if called == part]
        if len({folders[folder] for folder in found}) < len(found):
            urls = " or ".join(f"iio://{folder.name}" for folder in found)
            raise SourceError(url, f"there is more than one: name it by its number, {urls}")
        if found:
            return found
    raise SourceNotFound(url, f"there is no IIO device {name!r}: there are {', '.join(folders.values())}")


def list_iio(sysfs: Path = SYSFS) -> list[IioListing]:
    """The inertial devices that are there now, in the kernel's order. Never raises."""
    folders = _folders(sysfs)
    names = list(folders.values())
    stems = {name + end: name for ends in PAIRS for name in _stems(names, ends) for end in ends}
    listings = []
    for folder, name in folders.items():
        files = [*folder.glob("in_*"), *folder.glob("scan_elements/in_*")]
        if any(file.name.startswith(tuple(f"in_{kind}_" for kind in KINDS.values())) for file in files):
            path = stems.get(name, name) if names.count(name) == 1 and name else folder.name
            rates = (read_text(each) for each in sorted(folder.glob("*sampling_frequency")))
            rate_hz = next((float(rate) for rate in rates if _is_number(rate)), 0.0)
            listings.append(IioListing(folder.name, name, tuple(scan_elements(folder)), rate_hz, f"iio://{path}"))
    return listings


def _folders(sysfs: Path) -> dict[Path, str]:
    """The devices that are there, by number, and their names."""
    found = [folder for folder in sysfs.glob("iio:device*") if folder.name.removeprefix("iio:device").isdecimal()]
    found.sort(key=lambda folder: int(folder.name.removeprefix("iio:device")))
    return {folder: read_text(folder / "name") for folder in found}


def _stems(names: Sequence[str], ends: tuple[str, str]) -> list[str]:
    """What is before ``_accel`` and ``_gyro``, where both are there."""
    stems = (name.removesuffix(ends[0]) for name in names if name.endswith(ends[0]))
    return [stem for stem in stems if names.count(stem + ends[0]) == names.count(stem + ends[1]) == 1]


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal()


def _element(channel: Channel) -> str:
    """The name in IIO of what the model calls ``ax`` or ``gyro_z``: ``accel_x``, ``anglvel_z``; empty if none."""
    role = Column.of(0, channel.name).role()
    return f"{KINDS[role[0]]}_{role[1]}" if role else ""


def _per_si(channel: Channel) -> float:
    """How many of the channel's units are one SI unit."""
    table, unit = quantity(channel.unit), canonical(channel.unit)
    return 1 / table[unit] if table and unit else 1.0
