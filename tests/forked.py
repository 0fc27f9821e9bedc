"""mmg's commands as processes, forked from one that has imported all that they load.

A start takes a quarter of a second of a processor and more, a fork a hundredth. How a process starts, what it imports
and what a shell gives it is tested with real starts: ``recordings.mmg_run`` and others.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache, partial
from importlib import import_module
from pathlib import Path

LIBRARIES = ("numpy", "onnxruntime", "ai_edge_litert.interpreter", "soundfile", "soxr", "av", "serial", "sounddevice")
MESSAGE_BYTES = 1 << 20
ROOT = Path(__file__).resolve().parent.parent


def mmg(
    command: str,
    *words: object,
    timeout_s: float = 60,
    cwd: Path | None = None,
    environment: Mapping[str, str] = os.environ,
) -> subprocess.CompletedProcess[str]:
    """Run ``mmg-COMMAND``, as ``python -m mmg.cli.COMMAND`` would. cwd: the current folder where there is none. Raises
    TimeoutExpired."""
    wire = _start_server()
    ours, theirs = zip(os.pipe(), os.pipe(), strict=True)
    arguments = [os.fsdecode(word) if isinstance(word, bytes) else str(word) for word in words]
    asked = json.dumps(
        {"command": command, "words": arguments, "cwd": str(cwd or Path.cwd()), "environment": dict(environment)}
    )
    socket.send_fds(wire, [asked.encode()], theirs)
    for descriptor in theirs:
        os.close(descriptor)
    pid = int(wire.recv(MESSAGE_BYTES))
    with ThreadPoolExecutor(2) as pool:
        told = [pool.submit(_read, descriptor) for descriptor in ours]
        wire.settimeout(timeout_s)
        try:
            code = int(wire.recv(MESSAGE_BYTES))
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            wire.settimeout(None)
            wire.recv(MESSAGE_BYTES)
            raise subprocess.TimeoutExpired([command, *arguments], timeout_s) from None
    return subprocess.CompletedProcess([command, *arguments], code, *(one.result() for one in told))


mmg_run = partial(mmg, "run", cwd=ROOT)


def _read(descriptor: int) -> str:
    with open(descriptor, encoding="utf-8") as file:
        return file.read()


@cache
def _start_server() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # A thread of a library would be lost in a fork.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen([sys.executable, __file__], stdin=theirs.fileno(), env=environment)
    theirs.close()

    def end() -> None:
        ours.close()
        server.wait()

    atexit.register(end)
    return ours


def _import_all() -> None:
    import mmg
    from mmg.backends import TELEMETRY_OFF

    os.environ.update(TELEMETRY_OFF)
    names = [module.name for module in pkgutil.walk_packages(mmg.__path__, "mmg.")]
    for name in (*LIBRARIES, *names):
        with suppress(ImportError):  # of what is not installed
            import_module(name)
    assert len(list(Path("/proc/self/task").iterdir())) == 1
    gc.freeze()  # what a collection in a child would touch would be copied


def _fork_for_each(wire: socket.socket) -> None:
    """Return in each child, where its command is then run; the process itself ends when nobody asks any more."""
    while True:
        data, descriptors, _, _ = socket.recv_fds(wire, MESSAGE_BYTES, 2)
        if not data:
            os._exit(0)
        if not (child := os.fork()):
            break
        for descriptor in descriptors:
            os.close(descriptor)
        wire.send(str(child).encode())
        wire.send(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())
    wire.detach()
    for place, descriptor in enumerate((os.open(os.devnull, os.O_RDONLY), *descriptors)):
        os.dup2(descriptor, place)
        os.close(descriptor)
    asked = json.loads(data)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    module = import_module(f"mmg.cli.{asked['command']}")
    sys.path[0], sys.argv = asked["cwd"], [str(module.__file__), *asked["words"]]
    sys.exit(module.main())


if __name__ == "__main__":
    _import_all()
    _fork_for_each(socket.socket(fileno=0))
