"""The service manager's policy of devices, for a whole service: DevicePolicy of systemd.resource-control(5).

It is not ours to put on; it is recognised. ``mmg-service`` writes a unit that has it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

ANSWER_S = 2.0
NO_CAMERA = (
    r"char-(alsa|iio|ttyUSB|ttyACM|ttyS|ttyAMA|pts|rtc)|/dev/(null|zero|full|random|urandom|rtc\w*|tty\w*|iio:\w+)"
)
"""What a policy may allow: a device of another name may be a camera's."""
NO_CAMERAS = r"mem|tty\w*|/dev/(tty|console|ptmx|vc/0)|ptm|pts|alsa|iio|rtc"
"""The same, as /proc/devices names them."""


def closes_cameras(root: Path = Path("/")) -> bool:
    """Whether this process is a service's, whose policy leaves cameras out.

    root: where ``proc`` and ``sys`` lie.
    """
    try:
        groups = (root / "proc/self/cgroup").read_text()
    except OSError:
        return False
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        if "devices" in controllers.split(","):
            return _closed_by_list(root / "sys/fs/cgroup/devices" / path.lstrip("/") / "devices.list", root)
    return "INVOCATION_ID" in os.environ and _closed_by_unit(groups)


def _closed_by_list(path: Path, root: Path) -> bool:
    """cgroup v1 tells it: ``c 81:* rwm`` allows what /proc/devices names 81, and ``a *:* rwm`` all."""
    try:
        allowed = [line.split() for line in path.read_text().splitlines()]
        characters = (root / "proc/devices").read_text().partition("Block devices:")[0]
    except OSError:
        return False
    names: dict[str, list[str]] = {}
    for major, name in re.findall(r"^ *(\d+) (\S+)$", characters, re.MULTILINE):
        names.setdefault(major, []).append(name)
    majors = [number.split(":")[0] for kind, number, _ in allowed if kind in "ac"]
    return all(re.fullmatch(NO_CAMERAS, name) for major in majors for name in names.get(major, [""]))


def _closed_by_unit(groups: str) -> bool:
    """cgroup v2 does not: its policy is a program of the kernel's. systemd says what it put on."""
    import shutil
    import subprocess

    unit = re.search(r"([^/]+\.service)(/|$)", groups, re.MULTILINE)
    if unit is None or shutil.which("systemctl") is None:
        return False
    command = ["systemctl", "show", "--property=DevicePolicy,DeviceAllow", unit[1]]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return False
    policy = re.search(r"^DevicePolicy=(closed|strict)$", done.stdout, re.MULTILINE)
    allowed = re.findall(r"^DeviceAllow=(\S+)", done.stdout, re.MULTILINE)
    return policy is not None and all(re.fullmatch(NO_CAMERA, device) for device in allowed)
