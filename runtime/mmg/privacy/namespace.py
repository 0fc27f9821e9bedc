"""Namespaces of its own: a file system in which no device can be opened but those of the run, and no network.

Every mount is made one whose nodes cannot be opened (nodev) and whose files cannot be written; then what the run uses
is left out of that. A node that is made later, anywhere, cannot be opened either, and neither can a driver be read by
plain read(2). See mount_namespaces(7), user_namespaces(7) and network_namespaces(7).
"""

from __future__ import annotations

import ctypes
import os
import re
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mmg.privacy.kernel import (
    PR_CAP_AMBIENT,
    PR_CAP_AMBIENT_CLEAR_ALL,
    PR_CAPBSET_DROP,
    Unavailable,
    answer_of,
    call,
    keep_privileges_from_growing,
    prctl,
    require_one_thread,
)
from mmg.privacy.uses import Uses

NEW_MOUNTS, NEW_MEMORY, NEW_USER, NEW_NETWORK = 0x20000, 0x8000000, 0x10000000, 0x40000000
"""NEW_MEMORY: of System V, which ALSA's mixer shares with other programs."""
READ_ONLY, NO_DEVICES, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 4, 32, 4096, 16384, 1 << 18
"""linux/mount.h; MOUNT_ATTR_RDONLY and MOUNT_ATTR_NODEV of mount_setattr(2) have the first two's values."""
OPTIONS = {"ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8, "noatime": 1024, "nodiratime": 2048, "relatime": 1 << 21}
SEEN = os.ST_RDONLY | os.ST_NODEV
"""Both have the values of the flags above."""
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
ACCELERATORS = (
    *("nvidia*", "nvmap", "nvgpu*", "nvhost-*gpu*", "nvhost-ctrl", "nvhost-ctrl-nvdla*", "host1x-fence"),
    *("dri", "kfd", "galcore", "apex_*"),
)
"""Nodes of what may run models: never a Jetson's nvhost-vi, nvhost-ctrl-vi and the like, which are of its cameras."""
FIRMWARE = ("vcio", "vcio_gencmd")
"""By which vcgencmd asks a Raspberry Pi's."""
TERMINALS = Path("/dev/pts")
CAMERA_DAEMONS = ("tmp/argus_socket", "tmp/nvcamera*")
"""Sockets at which a board's daemon hands out pictures."""
DAEMONS = (
    "run/dbus/system_bus_socket",
    "run/user/*/bus",
    "tmp/dbus-*",
    "run/systemd/private",
    "run/user/*/systemd/private",
    "run/docker.sock",
    "run/user/*/docker.sock",
    "run/containerd/containerd.sock",
    "run/podman/podman.sock",
    "run/user/*/podman/podman.sock",
    *("var/snap/lxd/common/lxd/unix.socket", "var/lib/lxd/unix.socket", "var/lib/incus/unix.socket"),
    "tmp/tmux-*/*",
    "run/screen",
    "tmp/.X11-unix/*",
    "run/user/*/wayland-*",
)
"""Sockets at which others can be made to do what this process may not. Sound servers are asked without them."""
SOUND_SERVERS = (
    "run/user/*/pipewire-*",
    "run/user/*/pulse",
    "run/pipewire",
    "run/pulse",
    "tmp/pulse-*/*",
    "dev/shm/jack*",
    "dev/shm/jack*/*/*",
)
"""Where they are asked for sound, and PipeWire for pictures too."""
SYS_ADMIN = 21
KEPT = {"CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "FSETID": 4, "NET_BIND_SERVICE": 10, "IPC_LOCK": 14, "SYS_NICE": 23}
"""What root keeps of capabilities(7): it may read files of other users, and listen at low ports. With another, such as
to become another user, it could reach a process outside and undo what is closed."""
ALL = (1 << 64) - 1
VERSION_3 = 0x20080522


def close(uses: Uses, before_closing: Callable[[], object] = lambda: None) -> None:
    """Move this process into namespaces in which what it does not use is not there. It cannot be undone.

    before_closing: called inside of them, while all is still open. Raises Unavailable: for a process with threads, for
    a kernel or a machine that does not let its users do that.
    """
    require_one_thread()
    kinds = NEW_MOUNTS | (NEW_NETWORK if closes_network(uses) else 0) | (0 if uses.sound else NEW_MEMORY)
    try:
        is_root = bool(_capabilities() >> SYS_ADMIN & 1)
        if is_root:
            call("unshare", kinds)
        else:
            _try_first()
            _enter_user_namespace(kinds)
        try:
            _mount(None, "/", RECURSIVE | PRIVATE)
            before_closing()
            _close_mounts(uses)
        finally:
            _give_up(ALL & ~sum(1 << number for number in KEPT.values()) if is_root else ALL)
    except OSError as error:
        raise Unavailable(f"{error.filename or 'a call'}: {answer_of(error)}") from error


def closes_network(uses: Uses) -> bool:
    """Whether the network is gone as a whole. Daemons may listen at an abstract socket, which would go with it."""
    return not (uses.network or uses.daemons)


def _try_first() -> None:
    """Some systems give a user namespace in which nothing may be done (AppArmor): there would be no way back."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _enter_user_namespace(NEW_MOUNTS)
            _mount(None, "/", RECURSIVE | PRIVATE)
            code = 0
        finally:
            os._exit(code)
    if os.waitpid(child, 0)[1]:
        raise Unavailable("this machine lets its users make no namespaces")


def _enter_user_namespace(kinds: int) -> None:
    user, group = os.geteuid(), os.getegid()
    call("unshare", NEW_USER | kinds)
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    except OSError as error:
        raise Unavailable(f"uid_map: {error.strerror}") from error


def _close_mounts(uses: Uses) -> None:
    nodes = [node for node in _own_nodes(uses) if node.exists()]
    wanted = {place.resolve() for place in uses.writes or () if place.is_dir() or place.is_file()}
    writable = sorted(place for place in wanted if not _is_read_only(place))
    fixed = [Path(place) for place, options in dict(_mounts()).items() if options & READ_ONLY]
    here = _here()
    for place in (*writable, *nodes):  # one that lies in another comes after it, or it would be hidden
        if place != place.parent:
            _mount(str(place), str(place), BIND | RECURSIVE)
    if uses.sysfs and not _is_read_only(Path("/sys")):
        writable.append(Path("/sys"))
    if here:
        with suppress(OSError):  # one that this user may not enter: it stays in what is closed
            os.chdir(here)  # into what is mounted there now
    _hide((*DAEMONS, *(() if uses.camera else CAMERA_DAEMONS), *(() if uses.sound else SOUND_SERVERS)))
    closed = (0 if uses.camera else NO_DEVICES) | (0 if uses.writes is None else READ_ONLY)
    _set_all(closed)
    for node in (*nodes, *([TERMINALS] if uses.terminals else [])):
        _set_one(node, off=NO_DEVICES)
    for place in writable:  # what is mounted below a folder can be written too, where it could be before
        _set_one(place, off=READ_ONLY, with_below=place not in (Path("/"), Path("/sys")))
    for place in fixed:
        if any(one in place.parents for one in writable):
            _set_one(place, on=READ_ONLY)


def _is_read_only(place: Path) -> bool:
    """Root could make a mount writable that was made read-only on purpose: a volume of a container, for example."""
    try:
        return bool(os.statvfs(place).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _here() -> str:
    """The working directory, empty where it is gone."""
    try:
        return os.getcwd()  # noqa: PTH109
    except OSError:
        return ""


def _own_nodes(uses: Uses) -> list[Path]:
    dev = Path("/dev")
    patterns = (*DEVICES, *(("snd",) if uses.sound else ()), *(ACCELERATORS if uses.accelerator else ()))
    patterns += FIRMWARE if uses.firmware else ()
    return [path for pattern in patterns for path in sorted(dev.glob(pattern))]


def _hide(patterns: tuple[str, ...]) -> None:
    """Folders where the system has them. Elsewhere sockets alone: a recording may have such a name too."""
    for pattern in patterns:
        for path in Path("/").glob(pattern):
            with suppress(Unavailable, OSError):  # gone meanwhile
                if path.is_socket():
                    _mount("/dev/null", str(path), BIND)
                elif pattern.startswith("run/") and path.is_dir():
                    _mount("tmpfs", str(path), 0, "tmpfs")


def _set_all(flags: int) -> None:
    if not flags:
        return
    try:
        _set_attributes("/", AT_RECURSIVE, on=flags)
    except Unavailable:  # before Linux 5.12: one by one
        for place, options in _mounts():
            with suppress(Unavailable):  # covered by another, or of another user
                _mount(None, place, REMOUNT | BIND | options | flags)
        for place in ("/", "/dev"):
            if os.statvfs(place).f_flag & flags & SEEN != flags & SEEN:
                raise Unavailable(f"{place} could not be closed") from None


def _set_one(place: Path, on: int = 0, off: int = 0, *, with_below: bool = False) -> None:
    for below in (*([AT_RECURSIVE] if with_below else []), 0):
        with suppress(Unavailable):
            _set_attributes(str(place), below, on=on, off=off)
            return
    with suppress(Unavailable):
        options = dict(_mounts()).get(str(place), 0)
        # Where it fails it was so before, and stays so.
        _mount(None, str(place), REMOUNT | BIND | (options & ~off) | on)


def _set_attributes(place: str, flags: int, on: int = 0, off: int = 0) -> None:
    attributes = ctypes.create_string_buffer(struct.pack("QQQQ", on, off, 0, 0), 32)
    call("mount_setattr", AT_FDCWD, os.fsencode(place), flags, attributes, 32)


def _mounts() -> list[tuple[str, int]]:
    """Where each is, and its flags: proc_pid_mountinfo(5)."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        words = line.split(" ")
        place = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), words[4])
        found.append((place, sum(OPTIONS.get(option, 0) for option in words[5].split(","))))
    return found


def _mount(source: str | None, target: str, flags: int, kind: str | None = None) -> None:
    name, of_kind = (None if text is None else os.fsencode(text) for text in (source, kind))
    call("mount", name, os.fsencode(target), of_kind, flags, None)


def _capabilities() -> int:
    """Those that are in effect."""
    found = re.search(r"^CapEff:\s*([0-9a-f]+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1], 16) if found else 0


def _give_up(given_up: int) -> None:
    """For good: a program that is started has them as little."""
    for number in range(64):
        if given_up >> number & 1:
            with suppress(Unavailable):  # the kernel has no such one, or it was given up before
                prctl(PR_CAPBSET_DROP, number)
    keep_privileges_from_growing()
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    kept = _capabilities() & ~given_up
    low, high = kept & 0xFFFFFFFF, kept >> 32
    header = ctypes.create_string_buffer(struct.pack("Ii", VERSION_3, 0))
    call("capset", header, ctypes.create_string_buffer(struct.pack("6I", low, low, 0, high, high, 0), 24))
