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
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import NoReturn

LIBRARIES = ("numpy", "onnxruntime", "ai_edge_litert.interpreter", "soundfile", "soxr", "av", "serial", "sounddevice")
MESSAGE_BYTES = 1 << 20
ROOT = Path(__file__).resolve().parent.parent


def mmg(
    command: str,
    *words: object,
    timeout_s: float = 60,
    cwd: Path | None = None,
    environment: Mapping[str, str] = os.environ,
    stdout: Path | None = None,
    memory: int | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run ``mmg-COMMAND``, as ``python -m mmg.cli.COMMAND`` would, or the module of a command that has a dot.

    cwd: the current folder where there is none. stdout: takes what it prints. memory: the bytes of addresses that it
    may map besides the libraries. Raises TimeoutExpired.
    """
    wire = _start_server()
    ours, theirs = zip(os.pipe(), os.pipe(), strict=True)
    arguments = [os.fsdecode(word) if isinstance(word, bytes) else str(word) for word in words]
    asked = {
        "module": command if "." in command else f"mmg.cli.{command}",
        "words": arguments,
        "cwd": str(cwd or Path.cwd()),
        "environment": dict(environment),
        "stdout": stdout and str(stdout),
        "memory": memory,
    }
    socket.send_fds(wire, [json.dumps(asked).encode()], theirs)
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
    with open(descriptor, encoding="utf-8", newline="") as file:
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
    _open_streams(asked["stdout"])
    if asked["memory"]:
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + asked["memory"]
        resource.setrlimit(resource.RLIMIT_AS, (mapped, mapped))
    module = import_module(asked["module"])
    sys.path[0], sys.argv = asked["cwd"], [str(module.__file__), *asked["words"]]
    _end_after(module.main)


def _open_streams(stdout: str | None) -> None:
    """As Python does at a start."""
    if stdout:
        os.dup2(os.open(stdout, os.O_WRONLY), 1)
    encoding = os.environ.get("PYTHONIOENCODING", "utf-8")
    sys.stdout = open(1, "w", encoding=encoding, closefd=False)  # noqa: SIM115
    sys.stdout.reconfigure(write_through=bool(os.environ.get("PYTHONUNBUFFERED")))
    sys.stderr = open(2, "w", 1, encoding=encoding, errors="backslashreplace", closefd=False)  # noqa: SIM115


def _end_after(main: Callable[[], int]) -> NoReturn:
    """Run it, and end as Python does but for what it has imported: to take that apart would copy it all."""
    code: object = 1
    try:
        code = main()
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if stream:  # a command that cannot write leaves none
            stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    _import_all()
    _fork_for_each(socket.socket(fileno=0))
