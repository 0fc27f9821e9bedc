"""Let a real systemd run what mmg-service writes: in a Debian root, in namespaces, as root. ``make service`` runs it.

The root is that of deploy/Containerfile, with systemd in it and mmg in somebody's closed home. A virtual IMU plays on
this machine; ``mmg-service install`` is typed inside. Then decisions have to come, a camera has to stay closed, and the
run has to come back after it was killed, and after it stood still. It needs control groups of version 1, debootstrap.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from container import HERE, ROOT, Stage, build

GROUPS = [Path("/sys/fs/cgroup") / name / "mmg-service" for name in ("systemd", "devices", "unified")]
MASKED = "getty.target console-getty.service systemd-logind.service systemd-sysctl.service timers.target"
HOME = "/home/pi/mmg"
PATIENCE_S, WATCHDOG_S = 30.0, 60.0
UNSHARE = ("unshare", "--cgroup", "--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--kill-child")
SAYS = "import os; os.open('/dev/null', os.O_RDWR); os.open('/dev/video0', os.O_RDWR)"


def main() -> int:
    """Try, and return the exit code: 0 all of it held, 1 it did not, 2 it could not be tried."""
    if os.geteuid() != 0 or not shutil.which("debootstrap") or not all(one.parent.is_dir() for one in GROUPS):
        print("make service: needs root, debootstrap and control groups of version 1", file=sys.stderr)
        return 2
    ROOT.mkdir(parents=True, exist_ok=True)
    stage = build((HERE / "deploy/Containerfile").read_text())
    prepare(stage)
    play = [sys.executable, "-m", "mmg_tools.virtual.cli", "--no-audio", "--seconds", "60", "--loop", "--dir"]
    with subprocess.Popen([*play, str(ROOT)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as wearable:
        until(lambda: (ROOT / "imu").exists())
        port = os.path.realpath(ROOT / "imu")
        os.chmod(port, 0o666)  # noqa: PTH101
        booted = boot(stage)
        try:
            held = all(told(what, check()) for what, check in checks(System(booted.pid, stage), port).items())
        finally:
            booted.kill()
            booted.wait()
            wearable.send_signal(signal.SIGTERM)
            forget_groups()
    print("all of it held" if held else "not all of it held")
    return 0 if held else 1


def prepare(stage: Stage) -> None:
    """systemd, without what a container has no use for; and mmg below a home that only its owner may enter."""
    stage.run(["sh", "-c", "apt-get update && apt-get install -y --no-install-recommends systemd dbus"], network=True)
    for unit in MASKED.split():
        (stage.folder / "etc/systemd/system" / unit).symlink_to("/dev/null")
    home = stage.folder / HOME.lstrip("/")
    home.parent.mkdir(parents=True)
    shutil.move(stage.folder / "opt/mmg", home)
    for script in (home / "bin").glob("mmg-*"):
        script.write_text(script.read_text().replace("#!/opt/mmg", f"#!{HOME}"))
    home.parent.chmod(0o700)


def boot(stage: Stage) -> subprocess.Popen[bytes]:
    """Start systemd there, in groups of its own."""
    enter = ""
    for group in GROUPS:
        group.mkdir(exist_ok=True)
        enter += f"echo $$ > {group}/cgroup.procs; "
    script = f'{enter}exec {" ".join(UNSHARE)} sh {HERE}/.ci/boot.sh "$1"'
    return subprocess.Popen(
        ["sh", "-c", script, "sh", str(stage.folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


class System:
    """What runs there, seen from here."""

    def __init__(self, parent: int, stage: Stage) -> None:
        self.folder = stage.folder
        children = Path(f"/proc/{parent}/task/{parent}/children")
        until(lambda: bool(children.read_text().split()))
        self._pid = children.read_text().split()[0]
        until(lambda: self.type("systemctl", "is-system-running").stdout.strip() in ("running", "degraded"))

    def type(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside."""
        inside = ["nsenter", "-t", self._pid, "-m", "-p", "-n", "-C", "-i", "-u", "env", "-i", "LC_ALL=C.UTF-8"]
        command = [*inside, "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def service(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Type mmg-service."""
        return self.type(f"{HOME}/bin/mmg-service", *words)

    def show(self, name: str) -> str:
        """One of the service's properties."""
        return self.type("systemctl", "show", "mmg", f"--property={name}", "--value").stdout.strip()

    @property
    def decisions(self) -> int:
        """How many there are in its file."""
        path = self.folder / "var/lib/private/mmg/day.jsonl"
        return len(path.read_text().splitlines()) if path.exists() else 0


def checks(system: System, port: str) -> dict[str, Callable[[], bool]]:
    """What has to hold, in this order."""
    flags = ("--sensors", "imu", "--imu", f"serial://{port}?protocol=witmotion", "--to", "jsonl:day.jsonl")

    def restarts(count: int, patience_s: float) -> bool:
        before = system.decisions
        return until(lambda: system.show("NRestarts") == str(count), patience_s) and until(
            lambda: system.decisions > before + 2
        )

    def still() -> bool:
        system.type("systemctl", "kill", "--signal=STOP", "--kill-who=main", "mmg")
        return restarts(2, WATCHDOG_S)

    def killed() -> bool:
        system.type("systemctl", "kill", "--signal=KILL", "mmg")
        return restarts(1, PATIENCE_S)

    return {
        "mmg-service install ends well": lambda: system.service("install", *flags).returncode == 0,
        "decisions come, from a closed home": lambda: until(lambda: system.decisions > 4),
        "status tells the newest one": lambda: " from imu" in system.service("status").stdout,
        "the user has no rights": lambda: rights(system),
        "a made camera node is closed": lambda: camera(system),
        "killed, it comes back": killed,
        "standing still, it is killed and comes back": still,
        "mmg-service remove ends well": lambda: system.service("remove").returncode == 0,
        "and nothing is left": lambda: system.service("status").returncode == 1 and not system.show("FragmentPath"),
    }


def rights(system: System) -> bool:
    """Whether the kernel says so of the running process."""
    told = system.type("cat", f"/proc/{system.show('MainPID')}/status").stdout
    return bool(
        re.search(r"^CapBnd:\s0+$", told, re.M) and re.search(r"^NoNewPrivs:\s1$", told, re.M)
    ) and not re.search(r"^Uid:\s0\s", told, re.M)


def camera(system: System) -> bool:
    """The same unit with another command: it opens /dev/null, and then must not open a camera."""
    path = system.folder / "etc/systemd/system/mmg.service"
    unit = re.sub(r"^ExecStart=.*", f'ExecStart=/usr/bin/python3 -c "{SAYS}"', path.read_text(), flags=re.M)
    unit = re.sub(r"^(Restart|WatchdogSec|Type)=.*\n", "", unit, flags=re.M).replace("lib/mmg", "lib/probe")
    unit = unit.replace("StateDirectory=mmg", "StateDirectory=probe").replace("[Service]", "[Service]\nType=oneshot")
    path.with_name("probe.service").write_text(unit)
    system.type("systemctl", "daemon-reload")
    system.type("systemctl", "start", "probe")
    return until(lambda: "Operation not permitted: '/dev/video0'" in system.type("journalctl", "-u", "probe").stdout)


def told(what: str, held: bool) -> bool:
    """Print it."""
    print(f"{'ok' if held else 'NO':3} {what}", flush=True)
    return held


def until(happened: Callable[[], bool], patience_s: float = PATIENCE_S) -> bool:
    """Whether it happened in time."""
    end_s = time.monotonic() + patience_s
    while not happened():
        if time.monotonic() > end_s:
            return False
        time.sleep(0.2)
    return True


def forget_groups() -> None:
    """Remove the groups that were made, once they are empty."""
    for group in GROUPS:
        for folder in sorted({group, *group.glob("**/")}, reverse=True):
            until(lambda members=folder / "cgroup.procs": not members.read_text())
            folder.rmdir()


if __name__ == "__main__":
    sys.exit(main())
