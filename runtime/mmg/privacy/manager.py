"""The service manager's policy of devices, for a whole service: DevicePolicy of systemd.resource-control(5).

It is not ours to put on; it is recognised. ``mmg-service`` writes a unit that has it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

ANSWER_S = 2.0
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
    policy = re.search(r"^DevicePolicy=(\w+)", done.stdout, re.MULTILINE)
    has_camera = re.search(r"video4linux|/dev/video|char-\*|block-\*", done.stdout)
    return policy is not None and policy[1] in ("closed", "strict") and has_camera is None
