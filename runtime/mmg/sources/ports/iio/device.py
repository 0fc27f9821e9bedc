"""One device of the kernel's IIO subsystem: what sysfs says of it, and its buffered scans as SI numbers.

The interface is that of Documentation/ABI/testing/sysfs-bus-iio. A scan holds the enabled elements in the order of
their index, each aligned to its own size, and is padded to a multiple of the largest (iio_compute_scan_bytes in
drivers/iio/industrialio-buffer.c). A value is ``(raw + offset) * scale``, in m/s^2 and rad/s.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from mmg_device_profiles.regular_file import read_text, read_within

from mmg.errors import SourceError, SourceLost, SourceNotFound
from mmg.privacy.doorkeeper import open_device

if TYPE_CHECKING:
    from numpy.typing import NDArray

TIMESTAMP = "timestamp"
READ_BYTES = FILE_BYTES = 65536
WATERMARK_S = 0.01
"""The kernel wakes the reader after so much data: less costs wake-ups, more is latency."""
RATE_SLACK = 0.99

_TYPE = re.compile(r"([bl]e):([su])(\d+)/(8|16|32|64)(?:>>(\d+))?")


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a scan, such as ``accel_x``: ``bits`` bits, ``shift`` above the lowest of ``storage_bits``."""

    name: str
    index: int
    big_endian: bool
    signed: bool
    bits: int
    storage_bits: int
    shift: int

    @classmethod
    def parse(cls, name: str, index: str, kind: str) -> Element:
        """From the texts of ``in_NAME_index`` and ``in_NAME_type``, such as ``le:s12/16>>4``. Raises ValueError."""
        match = _TYPE.fullmatch(kind)
        if match is None:
            raise ValueError(f"type {kind!r} is not one that mmg reads")
        order, sign, bits, storage_bits, shift = match.groups(default="0")
        element = cls(name, int(index), order == "be", sign == "s", int(bits), int(storage_bits), int(shift))
        if not 1 <= element.bits <= element.storage_bits - element.shift:
            raise ValueError(f"type {kind!r} has more bits than it stores")
        return element

    def decode(self, stored: NDArray[np.unsignedinteger]) -> NDArray[np.int64]:
        """``(T,)`` stored words to ``(T,)`` int64: the foreign bits around the value are cut off, the sign kept."""
        top = stored.astype(np.uint64) << np.uint64(64 - self.bits - self.shift)
        if self.signed:
            return top.view(np.int64) >> np.int64(64 - self.bits)
        return (top >> np.uint64(64 - self.bits)).view(np.int64)


class ScanLayout:
    """Where each element lies in a scan of ``scan_bytes`` bytes."""

    def __init__(self, elements: Sequence[Element]) -> None:
        self.elements = sorted(elements, key=lambda element: element.index)
        offsets, end = [], 0
        sizes = [element.storage_bits // 8 for element in self.elements]
        for size in sizes:
            offsets.append(_aligned(end, size))
            end = offsets[-1] + size
        self.scan_bytes = _aligned(end, max(sizes))
        formats = [f"{'>' if each.big_endian else '<'}u{each.storage_bits // 8}" for each in self.elements]
        names = [element.name for element in self.elements]
        self._dtype = np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": self.scan_bytes})

    def decode(self, scans: bytes) -> dict[str, NDArray[np.int64]]:
        """Whole scans to the ``(T,)`` raw values of each element."""
        stored = np.frombuffer(scans, self._dtype)
        return {element.name: element.decode(stored[element.name]) for element in self.elements}


@dataclass(frozen=True, slots=True, eq=False)
class Scans:
    """values: ``(T, C)`` float64 in SI units; stamps_ns: ``(T,)`` int64 by the device's clock, None without one."""

    values: NDArray[np.float64]
    stamps_ns: NDArray[np.int64] | None


class IioDevice:
    """A device whose buffer runs from ``start`` to ``stop``; stop it also where ``start`` failed.

    fd: the character device, to be polled. rate_hz: as the driver tells it, 0 where it does not. held_s: how much the
    buffer holds while nobody reads.
    monotonic: whether the driver was told to stamp by the host's monotonic clock.
    """

    def __init__(self, url: str, folder: Path, node: Path, names: Sequence[str]) -> None:
        """For the elements ``names`` of the device at ``folder``. Raises SourceError where sysfs makes no sense."""
        self.url, self._folder, self._node, self._names = url, folder, node, list(names)
        timed = [TIMESTAMP] if TIMESTAMP in scan_elements(folder) else []
        self._timed = bool(timed)
        self._layout = ScanLayout([self._element(name) for name in [*names, *timed]])
        self._scale = np.array([self._calibration(name, "scale", 1.0) for name in names])
        self._offset = np.array([self._calibration(name, "offset", 0.0) for name in names])
        self._rest = b""
        self.fd, self.rate_hz, self.held_s, self.monotonic = -1, 0.0, 0.0, False

    def start(self, rate_hz: float, length: int | None) -> None:
        """Take the device, set it to the lowest rate not under ``rate_hz``, and start its buffer of ``length`` scans.

        Raises SourceError: no permission, taken by another program, refused by the driver, gone.
        """
        with _translated(self.url, self._node):
            # First of all: the kernel lets one reader in, so what follows disturbs no other program.
            self.fd = open_device(str(self._node))
        self._write("buffer/enable", "0")
        # Off before on: a driver that knows only some combinations refuses others even on the way.
        for name in sorted(scan_elements(self._folder), key=self._is_wanted):
            self._write(f"scan_elements/in_{name}_en", "1" if self._is_wanted(name) else "0")
        self._set_clock()
        self._set_rate(rate_hz)
        self._set_trigger()
        length = length or max(128, round(2 * (self.rate_hz or rate_hz)))
        self._write("buffer/length", str(length))
        self.held_s = length / (self.rate_hz or rate_hz)
        if (self._folder / "buffer/watermark").exists():
            self._write("buffer/watermark", str(max(1, int(self.rate_hz * WATERMARK_S))))
        self._write("buffer/enable", "1")

    def stop(self) -> None:
        """Stop the buffer and let go of the device, be it still there or not."""
        if self.fd < 0:
            return
        with suppress(OSError):
            (self._folder / "buffer/enable").write_text("0")
        os.close(self.fd)
        self.fd = -1

    def read(self) -> Scans:
        """All scans that are there, often none; never waits. Raises SourceLost."""
        data = bytearray(self._rest)
        with _translated(self.url, self._node):
            while True:
                try:
                    part = os.read(self.fd, READ_BYTES)
                except BlockingIOError:
                    break
                if not part:
                    raise SourceLost(self.url, "went away")
                data += part
        whole = len(data) - len(data) % self._layout.scan_bytes
        self._rest = bytes(data[whole:])
        raw = self._layout.decode(bytes(data[:whole]))
        columns = np.stack([raw[name] for name in self._names], axis=1)
        return Scans((columns + self._offset) * self._scale, raw[TIMESTAMP] if self._timed else None)

    def _is_wanted(self, name: str) -> bool:
        return name in self._names or name == TIMESTAMP

    def _element(self, name: str) -> Element:
        index, kind = (self._read(f"scan_elements/in_{name}_{what}") for what in ("index", "type"))
        try:
            return Element.parse(name, index, kind)
        except ValueError as error:
            raise SourceError(self.url, f"{self._folder}/scan_elements/in_{name}: {error}") from error

    def _calibration(self, name: str, what: str, otherwise: float) -> float:
        """The channel's own, or that of its kind, or the device's."""
        for prefix in (f"in_{name}", f"in_{name.rpartition('_')[0]}", "in"):
            if (self._folder / f"{prefix}_{what}").exists():
                return self._number(f"{prefix}_{what}")
        return otherwise

    def _set_clock(self) -> None:
        clock = "current_timestamp_clock"
        if self._timed and (self._folder / clock).exists():
            with suppress(SourceError):  # an old kernel, or a driver that refuses: then times are found by arrival
                self._write(clock, "monotonic")
            self.monotonic = self._read(clock) == "monotonic"

    def _set_rate(self, rate_hz: float) -> None:
        kinds = sorted({name.rpartition("_")[0] for name in self._names})
        for prefix in ("", *(f"in_{kind}_" for kind in kinds)):
            name = f"{prefix}sampling_frequency"
            if not (self._folder / name).exists():
                continue
            available = self._folder / f"{name}_available"
            offered = self._read(available.name) if available.exists() else ""
            with suppress(SourceError):  # a rate that cannot be set is the rate that there is
                self._write(name, f"{choose_rate(offered, rate_hz):.6f}".rstrip("0").rstrip("."))
            self.rate_hz = self.rate_hz or self._number(name)

    def _set_trigger(self) -> None:
        """A driver that needs a trigger gets its own where it has none."""
        current = self._folder / "trigger/current_trigger"
        if not current.exists() or self._read("trigger/current_trigger"):
            return
        name, number = self._read("name"), self._folder.name.removeprefix("iio:device")
        for path in sorted(self._folder.parent.glob("trigger*/name")):
            trigger = read_text(path)
            if trigger in (f"{name}-dev{number}", f"{name}-trigger"):
                self._write("trigger/current_trigger", trigger)
                return

    def _read(self, name: str) -> str:
        with _translated(self.url, self._folder / name):
            return read_within(self._folder / name, FILE_BYTES).decode(errors="replace").strip()

    def _number(self, name: str) -> float:
        text = self._read(name)
        try:
            return float(text)
        except ValueError as error:
            raise SourceError(self.url, f"{self._folder / name} says {text!r}: should be a number") from error

    def _write(self, name: str, text: str) -> None:
        with _translated(self.url, self._folder / name):
            (self._folder / name).write_text(text)


def scan_elements(folder: Path) -> list[str]:
    """The names of what a device can put into its buffer, such as ``accel_x``; none where it has no buffer."""
    return sorted(path.name[3:-3] for path in folder.glob("scan_elements/in_*_en"))


def choose_rate(offered: str, rate_hz: float) -> float:
    """Of the rates that ``*_available`` lists (or the ``[min step max]``) the lowest that is enough, else the highest.

    ``rate_hz`` itself where nothing is offered or it cannot be read.
    """
    try:
        rates = [float(word) for word in offered.strip("[]").split()]
    except ValueError:
        return rate_hz
    if not rates:
        return rate_hz
    if offered.startswith("["):
        return min(max(rate_hz, rates[0]), rates[-1])
    return min((rate for rate in rates if rate >= rate_hz * RATE_SLACK), default=max(rates))


def _aligned(position: int, size: int) -> int:
    return -(-position // size) * size


@contextmanager
def _translated(url: str, path: Path) -> Iterator[None]:
    """Turns what the kernel answers into what to do."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise SourceError(url, f"{path} is not text") from error
    except OSError as error:
        raise explain(url, path, error) from error


def explain(url: str, path: Path, error: OSError) -> SourceError:
    """The error to raise for what the kernel answered, with what to do about it."""
    if error.errno in (errno.ENODEV, errno.ENXIO):
        return SourceLost(url, "went away")
    if error.errno == errno.ENOENT:
        return SourceNotFound(url, f"there is no {path}")
    if error.errno in (errno.EACCES, errno.EPERM):
        return SourceError(url, f"no permission for {path}: run as root, or let a udev rule give it to your group")
    if error.errno == errno.EROFS:
        return SourceError(url, f"{path} is read-only here: run outside the container, or give it /sys to write")
    if error.errno == errno.EBUSY:
        return SourceError(url, f"{path} is taken by another program: stop it (iiod, iio-sensor-proxy)")
    if path.name == "enable" and error.errno == errno.EINVAL:
        trigger = path.parent.parent / "trigger/current_trigger"
        return SourceError(url, f"the driver refused to start its buffer: does it need a trigger in {trigger}?")
    return SourceError(url, f"{path}: {error.strerror}")
