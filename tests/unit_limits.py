"""A unit's limits without systemd, as far as the kernel lends them to root: for tests of what a service may do.

Run as a program with the unit's path and a command, it puts on what the unit says and becomes the command: a user
without rights; the kernel's device policy, where version 1 of that cgroup controller is there; a /dev with no device
but terminals of its own and a made camera node; a read-only system with its own folder to write to and hidden homes; a
network of its own; the filter of system calls and socket families, by libseccomp; no memory that is written and run.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from units import settings_of, words_of

CGROUP = Path("/sys/fs/cgroup/devices")
USER = 61_200
"""One of those that systemd takes for DynamicUser."""
ALWAYS = ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2))
"""null, zero, full, random, urandom, tty, ptmx: what DevicePolicy=closed leaves open (systemd.resource-control(5))."""
NAMES = ("null", "zero", "full", "random", "urandom", "tty", "ptmx")
MAJORS = {"alsa": 116, "video4linux": 81, "ttyUSB": 188, "ttyACM": 166, "pts": 136}
"""Of drivers that may not be loaded here; the kernel's Documentation/admin-guide/devices.txt."""
CAMERA = (81, 0)
STASH = Path("/mnt")
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_MOVE, MS_REC, MS_PRIVATE = 1, 32, 4096, 8192, 16384, 1 << 18
CLONE_NEWNS, CLONE_NEWNET = 0x20000, 0x40000000
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_SET_MDWE = 24, 38, 65
ALLOW, REFUSE, EQUAL = 0x7FFF0000, 0x00050000 | 1, 4  # libseccomp's SCMP_ACT_ALLOW, SCMP_ACT_ERRNO(EPERM), SCMP_CMP_EQ
_libc = ctypes.CDLL(None, use_errno=True)


def need_limits() -> None:
    """Skips where this process may not have them."""
    if os.geteuid() != 0:
        pytest.skip("only root may make namespaces and device nodes here")
    if shutil.which("systemd-analyze") is None or ctypes.util.find_library("seccomp") is None:
        pytest.skip("systemd-analyze or libseccomp, which know the filter of system calls, is not installed")
    trial = f"mount -t tmpfs tmpfs {STASH} && mknod {STASH}/null c 1 3 && : > {STASH}/null"
    tried = subprocess.run(["unshare", "--mount", "sh", "-c", trial], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"this machine gives no mount namespace with devices: {tried.stderr.strip()}")


def has_device_policy() -> bool:
    """Whether the kernel's own policy of devices is put on too, beside a /dev without them."""
    return os.access(CGROUP / "devices.list", os.R_OK) and os.access(CGROUP, os.W_OK)


def under(unit: Path, *command: str) -> list[str]:
    """The command line that runs a command under a unit's limits."""
    return [sys.executable, __file__, str(unit), *command]


def main(unit: Path, command: list[str]) -> None:
    """Put the limits on and become the command."""
    settings = settings_of(unit.read_text())
    filters = _calls(settings)
    seccomp = ctypes.CDLL(ctypes.util.find_library("seccomp"), use_errno=True)
    assert settings["DevicePolicy"] == ["closed"]
    devices = [value.split()[0] for value in settings.get("DeviceAllow", [])]
    entrance = _device_group([_number(device) for device in devices]) if has_device_policy() else None
    is_alone = settings.get("PrivateNetwork") == ["yes"]
    _call("unshare", CLONE_NEWNS | (CLONE_NEWNET if is_alone else 0))
    _mount_all(settings)
    if entrance is not None:
        os.write(entrance, str(os.getpid()).encode())
        os.close(entrance)
    _drop_rights(settings)
    families = settings["RestrictAddressFamilies"][-1].split()
    _load(seccomp, filters, [int(getattr(socket, family)) for family in families])
    os.chdir("/")
    os.execvp(command[0], command)


# --- devices -------------------------------------------------------------------------------------------------------


def _number(device: str) -> tuple[int, int | None]:
    """Major and minor; None for all of a class."""
    if device.startswith("/"):
        number = Path(device).stat().st_rdev
        return os.major(number), os.minor(number)
    name = device.removeprefix("char-")
    lines = Path("/proc/devices").read_text().partition("Block")[0].splitlines()
    known = {words[1]: int(words[0]) for line in lines if len(words := line.split()) == 2 and words[0].isdecimal()}
    return {**MAJORS, **known}[name], None


def _device_group(devices: list[tuple[int, int | None]]) -> int:
    """The open door of a cgroup that lets these be opened, and nothing be made: whoever writes its number is in it."""
    group = CGROUP / f"mmg-test-{os.getpid()}"
    group.mkdir()
    (group / "devices.deny").write_text("a")
    allowed = [*ALWAYS, (MAJORS["pts"], None), *devices]
    for major, minor in allowed:
        (group / "devices.allow").write_text(f"c {major}:{'*' if minor is None else minor} rw")
    return os.open(group / "cgroup.procs", os.O_WRONLY)


def forget_groups() -> None:
    """Remove the cgroups of commands that have ended."""
    for group in CGROUP.glob("mmg-test-*"):
        if not (group / "cgroup.procs").read_text():
            group.rmdir()


# --- files ---------------------------------------------------------------------------------------------------------


def _mount_all(settings: dict[str, list[str]]) -> None:
    assert settings["ProtectSystem"] == ["strict"]
    assert settings["ProtectHome"] == ["tmpfs"]
    assert settings["PrivateTmp"] == ["yes"]
    _mount("none", "/", None, MS_REC | MS_PRIVATE)
    _mount("tmpfs", str(STASH), "tmpfs", 0)
    shown = [word for value in settings.get("BindReadOnlyPaths", []) for word in words_of(value)]
    for number, path in enumerate(shown):
        _bind(path, STASH / str(number))
    _fill_dev(STASH / "dev")
    for hidden in ("/home", "/root", "/run/user", "/tmp", "/var/tmp"):
        if Path(hidden).is_dir():
            _mount("tmpfs", hidden, "tmpfs", 0, "mode=755")
    for number, path in enumerate(shown):
        _move(STASH / str(number), Path(path))
    _mount(str(STASH / "dev"), "/dev", None, MS_MOVE)
    _mount("tmpfs", str(STASH), "tmpfs", 0)
    _mount("proc", "/proc", "proc", 0, "hidepid=invisible")
    _mount("tmpfs", "/var/lib", "tmpfs", 0, "mode=755")
    own = [Path("/var/lib") / word for value in settings["StateDirectory"] for word in words_of(value)]
    for folder in own:
        folder.mkdir(parents=True, exist_ok=True)
        os.chown(folder, USER, USER)
    _make_read_only("/")
    for folder in (*own, Path("/tmp")):
        _mount(str(folder), str(folder), None, MS_BIND | MS_REC)
        _mount("none", str(folder), None, MS_REMOUNT | MS_BIND)


def _fill_dev(folder: Path) -> None:
    folder.mkdir()
    _mount("tmpfs", str(folder), "tmpfs", 0, "mode=755")
    (folder / "pts").mkdir()
    (folder / "shm").mkdir(mode=0o1777)
    _mount("/dev/pts", str(folder / "pts"), None, MS_BIND | MS_REC)
    os.umask(0)
    for name, (major, minor) in zip(NAMES, ALWAYS, strict=True):
        _make_node(folder / name, major, minor)
    _make_node(folder / "video0", *CAMERA)
    os.umask(0o022)


def _make_node(path: Path, major: int, minor: int) -> None:
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(major, minor))


def _bind(source: str, target: Path) -> None:
    _make_place(Path(source), target)
    _mount(source, str(target), None, MS_BIND | MS_REC)


def _move(source: Path, target: Path) -> None:
    _make_place(source, target)
    _mount(str(source), str(target), None, MS_MOVE)


def _make_place(like: Path, target: Path) -> None:
    if like.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()


def _make_read_only(path: str) -> None:
    """All that is mounted there and below: mount_setattr(2), AT_RECURSIVE, MOUNT_ATTR_RDONLY."""
    attributes = (ctypes.c_uint64 * 4)(1, 0, 0, 0)
    _check(_libc.syscall(442, -100, path.encode(), 0x8000, attributes, ctypes.sizeof(attributes)), "mount_setattr")


def _mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    _call("mount", source.encode(), target.encode(), kind.encode() if kind else None, flags, options.encode() or None)


# --- rights --------------------------------------------------------------------------------------------------------


def _drop_rights(settings: dict[str, list[str]]) -> None:
    assert settings["CapabilityBoundingSet"] == [""]
    assert settings["NoNewPrivileges"] == settings["DynamicUser"] == ["yes"]
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for capability in range(last + 1):
        _call("prctl", PR_CAPBSET_DROP, capability, 0, 0, 0)
    os.setgroups([])
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)
    _call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if settings.get("MemoryDenyWriteExecute") == ["yes"]:
        _libc.prctl(PR_SET_MDWE, 1, 0, 0, 0)  # before Linux 6.3 there is none


def _calls(settings: dict[str, list[str]]) -> set[str]:
    """The system calls that the unit leaves, by systemd's own groups."""
    calls: set[str] = set()
    for value in settings["SystemCallFilter"]:
        named = {call for group in value.removeprefix("~").split() for call in _group(group)}
        calls = calls - named if value.startswith("~") else calls | named
    return calls


def _group(name: str) -> set[str]:
    shown = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True)
    words = {line.strip() for line in shown.stdout.splitlines()[1:] if line.strip() and "#" not in line}
    return {call for word in words for call in (_group(word) if word.startswith("@") else {word})}


class _Argument(ctypes.Structure):
    _fields_ = (("number", ctypes.c_uint), ("how", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


def _load(seccomp: ctypes.CDLL, calls: set[str], families: list[int]) -> None:
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(REFUSE))
    for call in sorted(calls - {"socket"}):
        number = seccomp.seccomp_syscall_resolve_name(call.encode())
        if number >= 0:  # others are of other processors
            _check(seccomp.seccomp_rule_add(context, ALLOW, number, 0), call)
    number = seccomp.seccomp_syscall_resolve_name(b"socket")
    for family in families:
        first = (_Argument * 1)(_Argument(0, EQUAL, family, 0))
        _check(seccomp.seccomp_rule_add_array(context, ALLOW, number, 1, first), "socket")
    _check(seccomp.seccomp_load(context), "seccomp_load")


def _call(name: str, *arguments: object) -> None:
    _check(getattr(_libc, name)(*arguments), name)


def _check(result: int, what: str) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno() or -result, what)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
