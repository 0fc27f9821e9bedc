"""The kernel's calls that Python has no name for: by their numbers, through libc's syscall(2)."""

from __future__ import annotations

import ctypes
import os
import platform
from pathlib import Path

BOTH = {
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "clone3": 435,
    "pidfd_getfd": 438,
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "mount_setattr": 442,
    "landlock_create_ruleset": 444,
    "landlock_add_rule": 445,
    "landlock_restrict_self": 446,
    "open_tree_attr": 467,
}
"""Calls since Linux 5.1 have one number on all processors."""
X86_64 = {
    "ioctl": 16,
    "socket": 41,
    "socketpair": 53,
    "clone": 56,
    "ptrace": 101,
    "capset": 126,
    "mknod": 133,
    "pivot_root": 155,
    "mount": 165,
    "umount2": 166,
    "iopl": 172,
    "ioperm": 173,
    "init_module": 175,
    "delete_module": 176,
    "kexec_load": 246,
    "add_key": 248,
    "request_key": 249,
    "keyctl": 250,
    "mknodat": 259,
    "unshare": 272,
    "perf_event_open": 298,
    "open_by_handle_at": 304,
    "setns": 308,
    "process_vm_readv": 310,
    "process_vm_writev": 311,
    "finit_module": 313,
    "seccomp": 317,
    "kexec_file_load": 320,
    "bpf": 321,
    "userfaultfd": 323,
}
AARCH64 = {
    "ioctl": 29,
    "mknodat": 33,
    "umount2": 39,
    "mount": 40,
    "pivot_root": 41,
    "capset": 91,
    "unshare": 97,
    "kexec_load": 104,
    "init_module": 105,
    "delete_module": 106,
    "ptrace": 117,
    "socket": 198,
    "socketpair": 199,
    "add_key": 217,
    "request_key": 218,
    "keyctl": 219,
    "clone": 220,
    "perf_event_open": 241,
    "open_by_handle_at": 265,
    "setns": 268,
    "process_vm_readv": 270,
    "process_vm_writev": 271,
    "finit_module": 273,
    "seccomp": 277,
    "bpf": 280,
    "userfaultfd": 282,
    "kexec_file_load": 294,
}
NUMBERS = {"x86_64": BOTH | X86_64, "aarch64": BOTH | AARCH64}
"""Of each processor that mmg knows, by Linux's arch/x86/entry/syscalls/syscall_64.tbl and scripts/syscall.tbl."""
PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_CAP_AMBIENT, PR_SET_NO_NEW_PRIVS = 4, 24, 47, 38
PR_CAP_AMBIENT_CLEAR_ALL = 4

_libc = ctypes.CDLL(None, use_errno=True)


class Unavailable(Exception):
    """The kernel, or what was set up on this machine, does not give it. The text says why."""


def machine() -> str:
    """The processor of this process, as NUMBERS has it; empty for a 32-bit process and for others."""
    name = platform.machine().replace("arm64", "aarch64")
    return name if name in NUMBERS and ctypes.sizeof(ctypes.c_void_p) == 8 else ""


def call(name: str, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | ctypes.Structure | None) -> int:
    """Make a call and return its result. Raises Unavailable with the kernel's answer, and for another processor."""
    number = NUMBERS.get(machine(), {}).get(name)
    if number is None:
        raise Unavailable(f"{name} is not known of {platform.machine()}")
    return _checked(name, _libc.syscall(ctypes.c_long(number), *map(_as_c, arguments)))


def prctl(option: int, argument: int, other: int = 0) -> int:
    """prctl(2). Raises Unavailable."""
    return _checked("prctl", _libc.prctl(*map(_as_c, (option, argument, other, 0, 0))))


def keep_privileges_from_growing() -> None:
    """What unprivileged filters ask for: no program that this one starts has rights that it has not."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def require_one_thread() -> None:
    """Namespaces and Landlock hold for the thread that asks. Raises Unavailable where there is another."""
    try:
        threads = len(list(Path("/proc/self/task").iterdir()))
    except OSError as error:
        raise Unavailable(f"/proc/self/task: {answer_of(error)}") from error
    if threads != 1:
        raise Unavailable("the process has threads already")


def answer_of(error: OSError) -> str:
    """The kernel's answer as it names it, such as ``EPERM``."""
    import errno

    return errno.errorcode.get(error.errno or 0, str(error.errno))


def _checked(name: str, result: int) -> int:
    if result < 0:
        error = OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        raise Unavailable(f"{name}: {answer_of(error)}") from error
    return int(result)


def _as_c(value: object) -> object:
    return ctypes.c_long(value) if isinstance(value, int) else value
