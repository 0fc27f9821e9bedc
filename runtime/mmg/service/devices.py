"""Which device nodes a run's sensors need, as systemd names them, and which groups open them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mmg.errors import ConfigError
from mmg.sources import check_scheme
from mmg.sources.ports.iio.port import find_devices
from mmg.sources.ports.serial.line import NETWORK, check_device
from mmg.sources.url import SourceUrl, parse_url

USB_SERIAL = ("char-ttyUSB", "char-ttyACM")
CLASSES = {"ttyUSB": "char-ttyUSB", "ttyACM": "char-ttyACM", "pts": "char-pts"}
"""Of terminals whose class, as /proc/devices names it, holds nothing else: a device that is plugged in again, under
whatever number, is still allowed. ttyS shares its class with the machine's consoles, and ttyAMA with other boards'."""
SOUND, CAMERA, CHIP = "char-alsa", "char-video4linux", "char-iio"


@dataclass(frozen=True, slots=True)
class Needs:
    """nodes: what systemd's DeviceAllow names. groups: whose members may open them.

    hosts: of sensors on the network. sysfs: folders of chips that are switched on by writing there.
    notes: what is worth telling about it.
    """

    nodes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    sysfs: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)

    def with_others(self, other: Needs) -> Needs:
        """Both, each thing once."""
        return Needs(
            *(
                tuple(dict.fromkeys(getattr(self, name) + getattr(other, name)))
                for name in ("nodes", "groups", "hosts", "sysfs", "notes")
            )
        )


def needs_of(
    sensors: Mapping[str, str], kinds: Mapping[str, str], *, allow_video: bool = False, root: Path = Path("/")
) -> Needs:
    """What these sensors need together.

    sensors: name -> URL, "" of one that the run looks for by itself. kinds: name -> the bundle's kind of it.
    root: where ``sys`` and ``dev`` lie. Raises ConfigError for a URL of no port, and for video without ``allow_video``.
    """
    needs = Needs()
    for name, url in sensors.items():
        parsed = parse_url(url) if url else None
        if (kinds[name] == "video" or (parsed and parsed.scheme == "camera")) and not allow_video:
            raise ConfigError(f"{name} is off: add --allow-video to open a camera, or leave it out of --sensors")
        one = _of_url(parsed, root) if parsed else _of_any(name, kinds[name], root)
        needs = needs.with_others(one)
    return needs


def _of_any(name: str, kind: str, root: Path) -> Needs:
    """What a run may take that looks for the sensor at each start."""
    if kind == "video":
        return Needs((CAMERA,), ("video",), notes=(f"{name}: any camera may be opened; --{name} URL names one",))
    if kind == "audio":
        return Needs((SOUND,), ("audio",))
    chips = sorted(_chip_folder(link) for link in (root / "sys/bus/iio/devices").glob("iio:device*"))
    told = f"{name}: looked for at each start, on USB" + (" and among the chips of this board" if chips else "")
    return Needs((*USB_SERIAL, *[CHIP] * bool(chips)), ("dialout",), sysfs=tuple(dict.fromkeys(chips)), notes=(told,))


def _of_url(url: SourceUrl, root: Path) -> Needs:
    check_scheme(str(url))
    if url.scheme == "serial":
        return _of_serial(url, root)
    if url.scheme == "mic":
        return Needs((SOUND,), ("audio",))
    if url.scheme == "iio":
        chips = find_devices(root / "sys/bus/iio/devices", url.path.strip("/"), str(url))
        return Needs((CHIP,), ("dialout",), sysfs=tuple(dict.fromkeys(_chip_folder(chip) for chip in chips)))
    if url.scheme == "camera" and url.path.startswith("/dev/"):
        return Needs((CAMERA,), ("video",))
    raise ConfigError(f"{url}: is a recording: a service decides on sensors that are plugged in")


def _of_serial(url: SourceUrl, root: Path) -> Needs:
    check_device(url.path, str(url))
    if match := NETWORK.fullmatch(url.path):
        return Needs(hosts=(match[1] or match[2],))
    # A link of udev's, such as one below by-id, leads to what it is plugged in as now.
    real = Path(os.path.realpath(root / url.path.lstrip("/"))).relative_to(os.path.realpath(root))
    folder, name = str(real.parent), real.name
    if folder == "dev/pts":
        return Needs((CLASSES["pts"],), ("dialout",))
    kind = match[1] if (match := re.fullmatch(r"([A-Za-z]+)\d+", name)) and folder == "dev" else ""
    if kind in CLASSES:
        return Needs((CLASSES[kind],), ("dialout",))
    if kind.startswith("tty"):
        return Needs((f"/{real}",), ("dialout",))
    if not (root / real).exists() and real.is_relative_to("dev"):
        note = f"{url}: is not plugged in, so both kinds of USB serial ports are allowed: plug it in to allow its own"
        return Needs(USB_SERIAL, ("dialout",), notes=(note,))
    raise ConfigError(f"{url}: is no serial port: mmg-devices shows those that are there")


def _chip_folder(link: Path) -> str:
    """The folder of the chip itself: its iio:deviceN below may have another number after the next start."""
    return os.path.dirname(os.path.realpath(link))  # noqa: PTH120
