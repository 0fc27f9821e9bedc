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
CAMERAS = "81"
"""The major number of video4linux."""


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
            return _closed_by_list(root / "sys/fs/cgroup/devices" / path.lstrip("/") / "devices.list")
    return "INVOCATION_ID" in os.environ and _closed_by_unit(groups)


def _closed_by_list(path: Path) -> bool:
    """cgroup v1 tells it: ``c 81:* rwm`` allows, and so does ``a *:* rwm``."""
    try:
        allowed = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return False
    return not any(kind in "ac" and number.split(":")[0] in ("*", CAMERAS) for kind, number, _ in allowed)


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
