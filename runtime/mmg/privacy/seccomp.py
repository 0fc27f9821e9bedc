"""A filter of system calls: without privileges, on every kernel since 4.14, for all threads of the process at once.

It looks at numbers only, never at a path: what it refuses, it refuses of any file, made or plugged in at any time. See
the kernel's Documentation/userspace-api/seccomp_filter.rst; the program is classic BPF.
"""

from __future__ import annotations

import ctypes
import errno
import struct

from mmg.privacy.kernel import NUMBERS, Unavailable, call, keep_privileges_from_growing, machine
from mmg.privacy.uses import Uses

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""linux/audit.h. A program of another kind, such as a 32-bit one, has other numbers: all of its calls are refused."""
X32 = 512
"""From here on x86-64's numbers are those of its second set of calls: with the bit 0x40000000 and, before Linux 5.4, as
seccomp(2) says, without it too."""
NEVER = (
    # Devices and sockets by another way than the calls below: io_uring makes calls that no filter sees.
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    # The memory and the open files of another process.
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "pidfd_getfd",
    # A file by its number, past what is mounted over it; nodes; what is mounted; other namespaces.
    "open_by_handle_at",
    "mknod",
    "mknodat",
    "mount",
    "umount2",
    "pivot_root",
    "open_tree",
    "open_tree_attr",
    "move_mount",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "mount_setattr",
    "setns",
    "unshare",
    # The kernel itself.
    "init_module",
    "finit_module",
    "delete_module",
    "kexec_load",
    "kexec_file_load",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "iopl",
    "ioperm",
    "add_key",
    "request_key",
    "keyctl",
)
NEW_NAMESPACES = 0x7E020080
"""clone(2)'s flags that begin with CLONE_NEW."""
CAMERA_KINDS = {
    "V": "V4L2, and a Jetson's nvhost-ctrl-vi",
    "|": "media controller",
    "#": "FireWire",
    "I": "a Jetson's capture-vi-channel and capture-isp-channel",
    "\xc4": "the Raspberry Pi's older VCHIQ",
}
"""The kinds (_IOC_TYPE) of a camera's ioctls; the kernel's Documentation/userspace-api/ioctl/ioctl-number.rst, and
capture-vi-channel.c of NVIDIA's kernel."""
SOUND_KINDS = {"U": "ALSA's control", "P": "OSS"}
PCM_KIND, SETS_UP = "A", 0xF0
"""ALSA's PCM shares its kind with the address spaces of a Jetson's GPU, whose numbers end at 14 (nvgpu-as.h). Its own
below 16 tell what it is and choose a clock; without a later one it is never set up, and neither read nor mapped
(sound/asound.h)."""
USB_REQUESTS = (
    0xC0185500,  # USBDEVFS_CONTROL
    0xC0105500,  # USBDEVFS_CONTROL32
    0xC0185502,  # USBDEVFS_BULK
    0xC0105502,  # USBDEVFS_BULK32
    0x80085504,  # USBDEVFS_SETINTERFACE
    0x8038550A,  # USBDEVFS_SUBMITURB
    0x802A550A,  # USBDEVFS_SUBMITURB32
    0x8004550F,  # USBDEVFS_CLAIMINTERFACE
    0xC0105512,  # USBDEVFS_IOCTL
    0xC00C5512,  # USBDEVFS_IOCTL32
    0x8108551B,  # USBDEVFS_DISCONNECT_CLAIM
)
"""linux/usbdevice_fs.h: a USB camera needs no driver where a program talks to it by itself. The kernel takes those for
32 bits from every program. They share their kind with ALSA's control, so that each is named."""
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
"""linux/socket.h: the module that knows them takes longer to load than all of this."""
TERMINAL_REQUESTS = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX: what they put into a terminal, its next reader takes for typed, such as a shell outside."""
STREAM, IN_ORDER = 1, 5
"""The kinds of a pair of sockets that reach nobody but each other. Those of datagrams can be sent anywhere."""
TSYNC, SPEC_ALLOW = 1, 4
"""For all threads; and without the slower branches that old kernels add for filtered programs, which are for code that
shares a process with secrets of its neighbour."""
SET_MODE_FILTER = 1
LOAD, JUMP_EQUAL, JUMP_AT_LEAST, JUMP_ANY_BIT, AND, RIGHT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x74, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050000
NUMBER, ARCH, FIRST, SECOND = 0, 4, 16, 24
"""Where struct seccomp_data has them; of an argument the lower half, on processors that begin with it."""


def close(uses: Uses) -> None:
    """Refuse with EPERM, from now on and in every thread, each call that this does not use. It cannot be undone.

    Raises Unavailable.
    """
    program = filter_of(uses, machine())
    keep_privileges_from_growing()
    code = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(code)))
    try:
        thread = call("seccomp", SET_MODE_FILTER, TSYNC | SPEC_ALLOW, header)
    except Unavailable:  # SPEC_ALLOW is of Linux 4.17
        thread = call("seccomp", SET_MODE_FILTER, TSYNC, header)
    if thread:
        raise Unavailable(f"thread {thread} has a filter of its own")


def families_of(uses: Uses) -> tuple[int, ...]:
    """The socket families that are left."""
    local = (AF_UNIX,) if uses.daemons or uses.sound else ()
    # getaddrinfo(3) asks the kernel over netlink which addresses this machine has.
    return (*local, *((AF_INET, AF_INET6, AF_NETLINK) if uses.network else ()))


def filter_of(uses: Uses, processor: str) -> bytes:
    """The BPF program, 8 bytes an instruction. Raises Unavailable for a processor that mmg has no numbers of."""
    if processor not in NUMBERS:
        raise Unavailable("mmg knows the calls of 64-bit x86 and ARM only")
    numbers = NUMBERS[processor]
    rules = [_load(ARCH), *_unless(AUDIT_ARCH[processor], _refuse()), _load(NUMBER)]
    if processor == "x86_64":
        rules += _if(JUMP_AT_LEAST, X32, _refuse())
    for name in NEVER:
        if name in numbers:
            rules += _if(JUMP_EQUAL, numbers[name], _refuse())
    # What cannot be looked into: the C library takes clone instead.
    rules += _if(JUMP_EQUAL, numbers["clone3"], _refuse(errno.ENOSYS))
    rules += _if(JUMP_EQUAL, numbers["clone"], [_load(FIRST), *_if(JUMP_ANY_BIT, NEW_NAMESPACES, _refuse()), *_allow()])
    allowed = [rule for family in families_of(uses) for rule in _if(JUMP_EQUAL, family, _allow())]
    rules += _if(JUMP_EQUAL, numbers["socket"], [_load(FIRST), *allowed, *_refuse()])
    pairs = [rule for kind in (STREAM, IN_ORDER) for rule in _if(JUMP_EQUAL, kind, _allow())]
    of_pair = struct.pack("HBBI", AND, 0, 0, 0xF)
    rules += _if(JUMP_EQUAL, numbers["socketpair"], [_load(SECOND), of_pair, *pairs, *_refuse()])
    kinds = [*([] if uses.camera else CAMERA_KINDS), *([] if uses.sound else SOUND_KINDS)]
    asked = (*TERMINAL_REQUESTS, *([] if uses.camera else USB_REQUESTS))
    requests = [rule for request in asked for rule in _if(JUMP_EQUAL, request, _refuse())]
    refused = [rule for kind in kinds for rule in _if(JUMP_EQUAL, ord(kind), _refuse())]
    if not uses.sound:
        of_pcm = [_load(SECOND), *_if(JUMP_ANY_BIT, SETS_UP, _refuse()), *_allow()]
        refused += _if(JUMP_EQUAL, ord(PCM_KIND), of_pcm)
    of_kind = [struct.pack("HBBI", RIGHT, 0, 0, 8), struct.pack("HBBI", AND, 0, 0, 0xFF)]
    rules += _if(JUMP_EQUAL, numbers["ioctl"], [_load(SECOND), *requests, *of_kind, *refused, *_allow()])
    return b"".join([*rules, *_allow()])


def _load(offset: int) -> bytes:
    return struct.pack("HBBI", LOAD, 0, 0, offset)


def _if(how: int, value: int, then: list[bytes]) -> list[bytes]:
    return [struct.pack("HBBI", how, 0, len(then), value), *then]


def _unless(value: int, then: list[bytes]) -> list[bytes]:
    return [struct.pack("HBBI", JUMP_EQUAL, len(then), 0, value), *then]


def _refuse(number: int = errno.EPERM) -> list[bytes]:
    return [struct.pack("HBBI", RETURN, 0, 0, REFUSE | number)]


def _allow() -> list[bytes]:
    return [struct.pack("HBBI", RETURN, 0, 0, ALLOW)]
