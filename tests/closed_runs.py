"""A run of mmg-run in which foreign code is at work: what it tries, and what the kernel answers."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from recordings import DEMO, ROOT

INJECTED = """
import ctypes, errno, fcntl, json, os, socket, sys, threading, time
import mmg.cli.run as command
from mmg.sinks import jsonl

QUERYCAP, CARD_INFO, LINE = 0x80685600, 0x81785501, jsonl.JsonLines.write
TRIES = json.loads(os.environ.pop("MMG_TEST_TRIES"))
libc = ctypes.CDLL(None, use_errno=True)

def said(call):
    try:
        call()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"

def ask(path, request):
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.ioctl(descriptor, request, bytearray(400))
    finally:
        os.close(descriptor)

def connect(port):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        one.settimeout(2)
        one.connect(("127.0.0.1", port))

def system(number, *arguments):
    if libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments)) < 0:
        raise OSError(ctypes.get_errno(), "")

def appeared(path):
    ends = time.monotonic() + 20
    while not os.path.exists(path) and time.monotonic() < ends:
        time.sleep(0.01)

def attack():
    if TRIES["late"]:
        appeared(TRIES["late"])
    tried = {name: said(lambda: ask(path, QUERYCAP)) for name, path in TRIES["cameras"].items()}
    if TRIES["late"]:
        tried["late"] = said(lambda: ask(TRIES["late"], QUERYCAP))
    tried["sound"] = said(lambda: ask(TRIES["sound"], CARD_INFO))
    tried["network"] = said(lambda: connect(TRIES["port"]))
    tried["file"] = said(lambda: open(TRIES["file"], "w").close())
    tried["raw"] = said(lambda: system(425, 8, 0))  # io_uring_setup
    tried["unmount"] = said(unmount)
    tried["outside"] = said(lambda: os.close(os.open("/proc/1/root" + TRIES["sound"], os.O_RDWR)))
    return tried

def unmount():
    if libc.umount2(b"/proc/self/task", 0) < 0:  # nothing is mounted there: EINVAL where it is let through
        raise OSError(ctypes.get_errno(), "")

def write(self, *arguments):
    LINE(self, *arguments)
    write.count += 1
    if write.count == 3:
        told = {"main": attack()}
        other = threading.Thread(target=lambda: told.__setitem__("thread", attack()))
        other.start()
        other.join()
        print("TRIED " + json.dumps(told), file=sys.stderr, flush=True)

write.count = 0
jsonl.JsonLines.write = write
sys.argv[0] = "mmg-run"
sys.exit(command.main())
"""


@dataclass(frozen=True, slots=True)
class Attacked:
    """code: the run's exit code. told: what each try in the main thread and in another gave. lines: of decisions.
    stderr: of mmg-run. calls: strace's."""

    code: int
    told: dict[str, dict[str, str]]
    lines: list[dict[str, object]]
    stderr: str
    calls: list[str]


def made_node(path: Path, major: int, minor: int) -> Path:
    """A device's node that everybody may open; the test skips where none can be made."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(major, minor))
    except PermissionError:
        pytest.skip("only root may make device nodes here")
    path.chmod(0o666)
    return path


def attacked_run(
    folder: Path, cameras: dict[str, Path], sound: Path, port: int, late: Path | None, *flags: str
) -> Attacked:
    """Run under strace, with the code above in it. late: a camera's node that is made when the first decision is out;
    it has the number of /dev/null, so that it can be opened where nothing stands before it."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    tries = {
        "cameras": {name: str(path) for name, path in cameras.items()},
        "late": None if late is None else str(late),
        "sound": str(sound),
        "port": port,
        "file": str(folder / "outside.txt"),
    }
    trace = folder / "calls.txt"
    words = ["--sensors", "imu", "--imu", str(DEMO / "imu.csv"), "--duration", "5", "--format", "jsonl", *flags]
    watched = "trace=open,openat,ioctl,socket,connect,io_uring_setup,umount2"
    errors: list[str] = []
    with subprocess.Popen(
        ["strace", "-f", "-o", str(trace), "-e", watched, sys.executable, "-c", INJECTED, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "MMG_TEST_TRIES": json.dumps(tries)},
    ) as process:
        assert process.stdout is not None
        reader = threading.Thread(target=lambda: errors.extend(process.stderr or ()))
        reader.start()
        lines = [process.stdout.readline()]
        if late is not None and lines[0]:
            made_node(late, 1, 3)
        lines += process.stdout.readlines()
        reader.join()
    found = [json.loads(line.removeprefix("TRIED ")) for line in errors if line.startswith("TRIED ")]
    return Attacked(
        process.returncode,
        found[0] if found else {},
        [json.loads(line) for line in lines if line.strip()],
        "".join(errors),
        trace.read_text(errors="replace").splitlines(),
    )
