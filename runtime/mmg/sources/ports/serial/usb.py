"""Which USB device is behind a serial port: the same one is known under another name, and another one under its name.

``usb=1a86:7523:00:SERIAL``: vendor, product, interface and serial number as sysfs tells them (Linux,
Documentation/ABI/stable/sysfs-bus-usb). A device without a serial number is known by the socket that it is plugged
into, ``@1-1.2``: two boards of one kind are not told apart otherwise. What is left out may be anything.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from mmg_device_profiles.regular_file import read_text

from mmg.errors import ConfigError, SourceError, SourceNotFound

_TEXT = re.compile(r"([0-9a-f]{4}):([0-9a-f]{4})(?::([0-9a-f]{2})?(?::(?:@(.+)|(.+))?)?)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class UsbIdentity:
    """vendor, product: four hexadecimal digits; interface: two. socket: where it is plugged in, such as ``1-1.2``, of
    a device without a serial number. An empty text is not known, or of no matter."""

    vendor: str
    product: str
    interface: str = ""
    serial: str = ""
    socket: str = ""

    @classmethod
    def parse(cls, text: str, url: str) -> UsbIdentity:
        """Raises ConfigError."""
        match = _TEXT.fullmatch(text)
        if match is None:
            raise ConfigError(f"{url}: usb={text}: write VENDOR:PRODUCT[:INTERFACE[:SERIAL]], such as 1a86:7523")
        vendor, product, interface, socket, serial = match.groups(default="")
        return cls(vendor.lower(), product.lower(), interface.lower(), serial, socket)

    def __str__(self) -> str:
        last = self.serial or (f"@{self.socket}" if self.socket else "")
        return f"{self.vendor}:{self.product}:{self.interface}:{last}".rstrip(":")

    def fits(self, other: UsbIdentity) -> bool:
        """Whether ``other``, which was found, is the device that this one describes."""
        wanted = (self.vendor, self.product, self.interface, self.serial, self.socket)
        found = (other.vendor, other.product, other.interface, other.serial, other.socket)
        return all(not mine or mine == its for mine, its in zip(wanted, found, strict=True))


def identify(device: str, root: Path = Path("/")) -> UsbIdentity | None:
    """The USB device behind a serial port's path; None where it is none, or sysfs does not tell."""
    terminals = root / "sys/class/tty"
    names = (Path(device).name, Path(os.path.realpath(device)).name)
    links = [link for name in names if name and (link := terminals / name / "device").exists()]
    if not links:
        return None
    return usb_above(links[0].resolve())


def usb_above(place: Path) -> UsbIdentity | None:
    """The USB device that a folder of sysfs is a part of; None where it is of none."""
    interface = ""
    for folder in (place, *place.parents):
        interface = interface or read_text(folder / "bInterfaceNumber")
        if vendor := read_text(folder / "idVendor"):
            serial = read_text(folder / "serial")
            socket = "" if serial else folder.name
            return UsbIdentity(
                vendor.lower(), read_text(folder / "idProduct").lower(), interface.lower(), serial, socket
            )
    return None


def find_usb(wanted: UsbIdentity, path: str, root: Path, url: str) -> str:
    """The path of this device: ``path`` where it is that, else another name. Raises SourceNotFound, SourceError."""
    terminals = root / "sys/class/tty"
    here = identify(path, root)
    if (here is not None and wanted.fits(here)) or not terminals.is_dir():
        return path
    names = sorted(folder.name for folder in terminals.iterdir())
    found = {name: usb for name in names if (usb := identify(str(root / "dev" / name), root)) is not None}
    fitting = [str(root / "dev" / name) for name, usb in found.items() if wanted.fits(usb)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise SourceError(url, f"more than one USB device is {wanted}: {', '.join(fitting)}: name one without usb=")
    if here is not None:
        raise SourceNotFound(url, f"{wanted} is not plugged in: {path} is another device, {here}")
    raise SourceNotFound(url, f"there is no such device as {path}, nor any that is {wanted}")
