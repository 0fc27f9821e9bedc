"""Finding the sensors that are plugged in, and the URL of each.

Serial ports are opened and listened to; nothing is written to them. Microphones are listed and never recorded from.
Cameras are listed from the kernel's own names in sysfs: no camera is ever opened, and no camera library imported.
"""

from __future__ import annotations

import glob
import os
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from mmg_device_profiles.regular_file import read_text

from mmg.errors import MmgError

if TYPE_CHECKING:
    from mmg.sources.ports.serial.probe import Heard

KINDS = ("imu", "audio", "video")
ENVIRONMENT = "MMG_SERIAL"
"""Colon-separated paths or patterns of serial ports to listen to besides those that the system lists."""
DEFAULT_MICROPHONE = "mic://default"
NO_ANSWER_S = 2.0
"""How much longer than it may take a serial port is waited for."""
NO_CAMERAS = ("bcm2835-codec", "bcm2835-isp", "rpivid", "rpi-hevc", "pispbe")
"""How the names of a Raspberry Pi's video codecs and image processors begin, which look like cameras in sysfs."""


@dataclass(frozen=True, slots=True)
class Found:
    """A device that is there, or a problem that stands in the way of finding one.

    modality: ``imu``, ``audio`` or ``video``. url: what to give mmg-run; empty where a library is missing.
    device: its name for a person. detail: such as ``witmotion at 115200 baud, with gyro``.
    rate_hz: samples in a second: measured on a serial port, else as the driver says; 0 where unknown.
    has_gyro: whether an IMU has a gyroscope. problem: why it cannot be used and what to do; empty where it can.
    """

    modality: str
    url: str
    device: str
    detail: str = ""
    rate_hz: float = 0.0
    has_gyro: bool = False
    problem: str = ""


def find_devices(
    *,
    kinds: Collection[str] = KINDS,
    serial_paths: Sequence[str] = (),
    seconds: float = 3.0,
    root: Path = Path("/"),
    report: Callable[[str], None] = lambda _: None,
) -> list[Found]:
    """Everything of these kinds that is plugged in now, usable or not; the default microphone is the first of them.

    Serial ports are those that the system lists, save its consoles, and ``serial_paths`` and the environment's
    ``MMG_SERIAL``; all are listened to at once, for ``seconds`` at most until they are understood and one more to
    measure their rate. root: where ``sys`` and ``dev`` lie. report: called with a line about what takes long.

    Never raises: a device that fails is a Found with a problem. Of a kind that is not in KINDS nothing is found.
    """
    found: list[Found] = []
    if "imu" in kinds:
        found += _find_serial(serial_paths, seconds, root, report) + _find_iio(root)
    if "audio" in kinds:
        found += _find_microphones()
    if "video" in kinds:
        found += _find_cameras(root)
    return found


def choose(found: Sequence[Found], wanted: Sequence[str]) -> dict[str, Found]:
    """The best usable device of each wanted modality, in that order; a modality without one is left out.

    An IMU on a serial port that has a gyro comes before a chip on the board, and that before a serial one without.
    The default microphone comes before the others. A camera is chosen only where ``video`` is wanted.
    """
    chosen = {}
    for modality in wanted:
        usable = [one for one in found if one.modality == modality and one.url and not one.problem]
        if usable:
            chosen[modality] = min(usable, key=_place)
    return chosen


def _place(found: Found) -> int:
    if found.url.startswith("serial:"):
        return 0 if found.has_gyro else 2
    return 0 if found.url == DEFAULT_MICROPHONE else 1


def _find_serial(paths: Sequence[str], seconds: float, root: Path, report: Callable[[str], None]) -> list[Found]:
    from mmg.sources.ports.serial.library import load_pyserial

    try:
        load_pyserial("serial://")
        ports = _serial_ports(paths, root)
    except MmgError as error:
        return [Found("imu", "", "serial ports", problem=str(error).removeprefix("serial://: "))]
    if not ports:
        return []
    from mmg.sources.ports.serial.probe import MEASURE_S, Heard, listen

    heard: dict[str, Heard] = {}

    def probe(path: str) -> None:
        try:
            heard[path] = listen(path, _serial_url(path), seconds)
        except Exception as error:  # whatever a driver does to its port, the others are still told of
            heard[path] = Heard(problem=f"cannot be used: {error}")

    report(f"listening on {len(ports)} serial port{'s' * (len(ports) > 1)} for up to {seconds:g} s ...")
    ends_s = time.monotonic() + seconds + MEASURE_S + NO_ANSWER_S
    threads = [threading.Thread(target=probe, args=(path,), name=f"mmg {path}", daemon=True) for path in ports]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(ends_s - time.monotonic(), 0.0))
    hung = Heard(problem="its driver does not answer: unplug it and plug it in again")
    return [_serial_found(path, device, heard.get(path, hung), root) for path, device in ports.items()]


def _serial_found(path: str, device: str, heard: Heard, root: Path) -> Found:
    from mmg.sources.ports.serial.usb import identify

    url = _serial_url(path)
    if heard.problem:
        return Found("imu", url, device, problem=heard.problem)
    gyro = "with gyro" if heard.has_gyro else "no gyro"
    usb = identify(path, root)
    # A name below by-id that ends in a serial number follows the device by itself.
    is_stable = usb is None or (usb.serial and path.startswith(str(root / "dev/serial/by-id")))
    known_by = "" if is_stable else f"&usb={quote(str(usb), safe=':@')}"
    return Found(
        "imu",
        f"{url}?protocol={heard.protocol}&baud={heard.baud}{known_by}",
        device,
        f"{heard.protocol} at {heard.baud} baud, {gyro}",
        heard.rate_hz,
        heard.has_gyro,
    )


def _serial_url(path: str) -> str:
    return f"serial://{quote(os.fsencode(path), safe='/:')}"


def _serial_ports(paths: Sequence[str], root: Path) -> dict[str, str]:
    """The path of each port, below ``by-id`` where it has one, and its name for a person; those asked for first."""
    from serial.tools.list_ports import comports

    there = [port for port in comports() if not _is_taken_or_dead(port.device, root)]
    products = {os.path.realpath(port.device): port.product for port in there}
    stable = {os.path.realpath(link): str(link) for link in sorted((root / "dev/serial/by-id").glob("*"))}
    ports: dict[str, str] = {}
    seen = set()
    for path in [*paths, *_from_environment(), *(port.device for port in there)]:
        is_url = "://" in path
        real = path if is_url else os.path.realpath(path)
        if real not in seen:
            seen.add(real)
            name = stable.get(real, path if is_url else str(Path(path).absolute()))
            product = products.get(real)
            ports[name] = f"{product} ({path})" if product else path
    return ports


def _from_environment() -> list[str]:
    """A path that is not there is kept, to be told of; a pattern that fits nothing is not."""
    paths: list[str] = []
    for part in filter(None, os.environ.get(ENVIRONMENT, "").split(":")):
        there = sorted(glob.glob(part))  # noqa: PTH207 - the pattern may be absolute or not
        paths += there if there or set("*?[") & set(part) else [part]
    return paths


def _is_taken_or_dead(path: str, root: Path) -> bool:
    """Whether the system talks to a person there, or it is one of the 8250 driver's that have no hardware.

    pyserial lists both since Linux 6.5, which gave them a bus of their own.
    """
    name, terminals = Path(path).name, root / "sys/class/tty"
    return name in read_text(terminals / "console/active").split() or read_text(terminals / name / "type") == "0"


def _find_iio(root: Path) -> list[Found]:
    from mmg.sources.ports.iio.port import list_iio

    found: dict[str, Found] = {}
    sysfs = root / "sys/bus/iio/devices"
    for listing in list_iio(sysfs):
        before = found.get(listing.url)
        has_gyro = any(name.startswith("anglvel") for name in listing.channels)
        parts, problem = listing.device, _iio_problem(root, sysfs / listing.device, listing.channels)
        if before is not None:  # the other half of one chip
            has_gyro, parts = has_gyro or before.has_gyro, f"{before.detail.partition(',')[0]} and {parts}"
            problem = before.problem or problem
        detail = f"{parts}, {'with' if has_gyro else 'no'} gyro"
        rate_hz = listing.rate_hz if before is None else before.rate_hz
        device = listing.name or listing.device if before is None else listing.url.removeprefix("iio://")
        found[listing.url] = Found("imu", listing.url, device, detail, rate_hz, has_gyro, problem)
    return list(found.values())


def _iio_problem(root: Path, folder: Path, channels: Collection[str]) -> str:
    if not channels:
        return "has no buffer: the device tree gives the chip no interrupt, or the driver none"
    for path, mode in ((root / "dev" / folder.name, os.R_OK), (folder / "buffer/enable", os.W_OK)):
        if path.exists() and not os.access(path, mode):
            return f"no permission for {path}: run as root, or let a udev rule give it to your group"
    return ""


def _find_microphones() -> list[Found]:
    from mmg.sources.ports.microphone.device import address
    from mmg.sources.ports.microphone.port import list_microphones

    try:
        there, default = list_microphones()
    except MmgError as error:
        return [Found("audio", "", "microphones", problem=str(error).removeprefix("mic://: "))]
    found = []
    for device in there:
        path = "default" if device.number == default else address(device, there)
        url = f"mic://{quote(os.fsencode(path), safe='/:,')}"
        name = device.name or f"microphone {device.number}"
        found.append(Found("audio", url, name, f"{device.channels} ch", device.rate_hz))
    return sorted(found, key=_place)


def _find_cameras(root: Path) -> list[Found]:
    """From their names alone. A node whose ``index`` is not 0 has the metadata of the camera before it."""
    folders = [path for path in (root / "sys/class/video4linux").glob("video*") if path.name[5:].isdecimal()]
    return [
        Found("video", f"camera:///dev/{folder.name}", name or folder.name)
        for folder in sorted(folders, key=lambda folder: int(folder.name[5:]))
        if read_text(folder / "index") in ("", "0") and not (name := read_text(folder / "name")).startswith(NO_CAMERAS)
    ]
