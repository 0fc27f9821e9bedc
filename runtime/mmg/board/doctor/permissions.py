"""Whether this user may open the devices that are plugged in. None is opened."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mmg_device_profiles.regular_file import read_text

from mmg.board.doctor.finding import Finding

WRITE = os.R_OK | os.W_OK
RULES = "/etc/udev/rules.d/60-mmg.rules"


@dataclass(frozen=True, slots=True)
class Devices:
    """Device nodes of one kind. needed: without them a run with the usual sensors fails; else they are of use to some.

    group: what Debian, Ubuntu and Raspberry Pi OS let use them.
    """

    name: str
    patterns: tuple[str, ...]
    mode: int
    group: str
    subsystem: str
    needed: bool


DEVICES = (
    Devices("serial ports", ("ttyUSB*", "ttyACM*", "serial*", "ttyAMA*"), WRITE, "dialout", "tty", True),
    Devices("sound", ("snd/*",), WRITE, "audio", "sound", True),
    Devices("cameras", ("video*",), WRITE, "video", "video4linux", False),
    Devices("IMU chips", ("iio:device*",), os.R_OK, "dialout", "iio", False),
)


@dataclass(frozen=True, slots=True)
class User:
    """Who asks. groups: the numbers of those in force in this session.

    access: whether a path may be opened so. group: a group's name and members by its number.
    """

    name: str
    groups: frozenset[int]
    access: Callable[[Path, int], bool]
    group: Callable[[int], tuple[str, tuple[str, ...]]]


def this_user() -> User:
    """The user that runs this process."""
    number = os.geteuid()
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:  # as in a container
        name = str(number)
    return User(name, frozenset((*os.getgroups(), os.getegid())), os.access, _group)


def check_permissions(root: Path, user: User) -> list[Finding]:
    """For each kind of devices, one finding a group and mode that is closed to the user, or that all are open."""
    findings = []
    consoles = read_text(root / "sys/class/tty/console/active").split()
    for devices in DEVICES:
        nodes = [node for node in _nodes_of(devices, root) if node.name not in consoles]
        closed: dict[tuple[int, int], list[Path]] = {}
        for node in nodes:
            with suppress(OSError):  # unplugged meanwhile
                status = node.stat()
                if not user.access(node, devices.mode):
                    closed.setdefault((status.st_gid, status.st_mode), []).append(node)
        findings += [_judge(devices, paths, owner, user, root) for owner, paths in closed.items()]
        if nodes and not closed:
            findings.append(Finding(devices.name, "ok", f"{_describe_nodes(nodes, root)} may be used"))
    return findings or [Finding("devices", "ok", "nothing is plugged in that needs permission")]


def _nodes_of(devices: Devices, root: Path) -> list[Path]:
    """Each once, though links lead to it: ``serial0`` is a link to ``ttyAMA0`` or ``ttyS0``."""
    real_root = root.resolve()
    found = {Path(os.path.realpath(path)) for pattern in devices.patterns for path in (root / "dev").glob(pattern)}
    there = sorted(path for path in found if path.is_relative_to(real_root) and path.exists() and not path.is_dir())
    return [path for path in there if devices.subsystem != "iio" or _is_imu(root / "sys/bus/iio/devices" / path.name)]


def _is_imu(folder: Path) -> bool:
    """A light sensor is no business of mmg's."""
    return any(
        any(folder.glob(f"{place}in_{kind}*")) for place in ("", "scan_elements/") for kind in ("accel", "anglvel")
    )


def _judge(devices: Devices, nodes: list[Path], owner: tuple[int, int], user: User, root: Path) -> Finding:
    """owner: the number of the nodes' group, and their mode."""
    number, mode = owner
    group, members = user.group(number)
    needed_bits = stat.S_IRGRP | (stat.S_IWGRP if devices.mode == WRITE else 0)
    lets_group = mode & needed_bits == needed_bits and number != 0
    found = f"{_describe_nodes(nodes, root)} may not be opened by {user.name}"
    if lets_group and user.name in members and number not in user.groups:
        found += f", whose group {group} is not active in this session"
        do = "log in again"
    elif lets_group and number not in user.groups:
        do = f"sudo usermod -aG {group} $USER\nlog in again"
    else:
        # The group of root is nobody's to join, and a mode that leaves the group out needs a rule.
        do = _rule(devices, nodes)
    return Finding(devices.name, "problem" if devices.needed else "warning", found, do)


def _rule(devices: Devices, nodes: list[Path]) -> str:
    """%p is the device's path in sysfs (man 7 udev): an IMU chip is switched on by a file there."""
    match = f'SUBSYSTEM=="{devices.subsystem}"'
    if devices.subsystem == "tty":  # to which terminals and consoles belong too
        match += f', KERNEL=="{"|".join(node.name for node in nodes)}"'
    rules = [f'{match}, GROUP="{devices.group}", MODE="0660"']
    if devices.subsystem == "iio":
        rules += [
            f'SUBSYSTEM=="iio", RUN+="/bin/{change} /sys%p"' for change in (f"chgrp -R {devices.group}", "chmod -R g=u")
        ]
    return "\n".join(
        [
            f"put into {RULES}:",
            *rules,
            "sudo udevadm control --reload && sudo udevadm trigger",
            f"sudo usermod -aG {devices.group} $USER",
            "log in again",
        ]
    )


def _describe_nodes(nodes: list[Path], root: Path) -> str:
    names = [f"/{node.relative_to(root.resolve())}" for node in nodes]
    return ", ".join(names) if len(names) < 4 else f"{names[0]} and {len(names) - 1} more"


def _group(number: int) -> tuple[str, tuple[str, ...]]:
    try:
        entry = grp.getgrgid(number)
    except KeyError:
        return str(number), ()
    return entry.gr_name, tuple(entry.gr_mem)
