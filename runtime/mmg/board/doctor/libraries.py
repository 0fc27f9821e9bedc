"""Whether the libraries that mmg may use can be used here: each is imported in a process of its own.

A wheel that was built for a newer processor ends its process by a signal at import or at the first product of two
matrices, so those that compute do a little work too.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from mmg.backends import AUTO, BACKENDS, INSTALL, NAMES, PACKAGES, TELEMETRY_OFF
from mmg.board.doctor.finding import Finding
from mmg.errors import RAISE_LIMITS, pip_install
from mmg.sources.ports.microphone.lookout import LOOK
from mmg.sources.ports.serial.library import TAKEN, ways_back

if TYPE_CHECKING:
    from mmg.types import Reached

PREPARE = """\
import importlib.util, os, resource, sys
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is looked for: it leaves no core file
sys.path[:] = [path for path in sys.path if path]  # the current folder is not where libraries are
try:  # what hangs here ends with who started it, however that ends (prctl(2), PR_SET_PDEATHSIG and SIGKILL)
    import ctypes
    ctypes.CDLL(None).prctl(1, 9)
except (ImportError, AttributeError):
    pass
if os.getppid() != {parent}:
    sys.exit()
if importlib.util.find_spec({module!r}) is None:
    print("absent")
    sys.exit()
"""
PRODUCT_ONNX = (  # y = x @ x of 4 x 4 float32, opset 13
    "08083a400a110a01780a017812017922064d61744d756c1201675a130a0178120e0a0c080112080a0208040a02080462130a0179120e0a0c"
    "080112080a0208040a02080442040a00100d"
)
ONNX_CODE = f"""\
import numpy, onnxruntime
session = onnxruntime.InferenceSession(bytes.fromhex("{PRODUCT_ONNX}"), providers=["CPUExecutionProvider"])
assert session.run(None, {{"x": numpy.ones((4, 4), "float32")}})[0].sum() == 64, "computes wrongly"
"""
PRODUCT_LITERT = (  # the same, BATCH_MATMUL of version 1
    "1800000054464c3300000e00140010000c000800000004000e0000001000000018000000d0000000030000000100000004000000a8ffffff"
    "01000000100000000c00140010000c00080004000c0000001000000054000000580000005c000000010000001400000000000e0014000000"
    "10000c000b0004000e0000001400000000000065100000001400000004000400040000000100000001000000020000000000000000000000"
    "01000000010000000100000000000000020000002400000004000000eaffffff040000000200000004000000040000000000060008000400"
    "060000000400000002000000040000000400000001000000100000000c000c000b000000000004000c0000007e0000000000007e"
)
LITERT_CODE = f"""\
import numpy
from {{package}}.interpreter import Interpreter
interpreter = Interpreter(model_content=bytes.fromhex("{PRODUCT_LITERT}"), num_threads=1)
interpreter.allocate_tensors()
interpreter.set_tensor(0, numpy.ones((4, 4), "float32"))
interpreter.invoke()
assert interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).sum() == 64, "computes wrongly"
"""
NUMPY_CODE = """\
import numpy
ones = numpy.ones((64, 64), "float32")
assert (ones @ ones).sum() == 64**3, "computes wrongly"
"""
SERIAL_CODE = """\
try:
    import serial
    place = "" if hasattr(serial, "serial_for_url") else serial.__file__
except ImportError:  # pyserial needs nothing: this is none
    place = importlib.util.find_spec("serial").origin
if place:
    print("taken by", place)
"""
SOUND_CODE = f"""\
import _cffi_backend, runpy  # the only part of sounddevice that is compiled: what ends the process later is PortAudio
look = runpy.run_path({str(LOOK)!r})
print("ALSA lacks", look["lacks"]() or "nothing", flush=True)
seen = look["see"]()
if "missing" in seen:
    print("no PortAudio")
elif "problem" in seen:
    sys.exit(seen["problem"])
else:
    print("inputs", len(seen["devices"]))
"""


@dataclass(frozen=True, slots=True)
class Library:
    """A module, the package that brings it, what it is for, whether mmg runs without it, and how it is tried."""

    module: str
    package: str
    purpose: str
    optional: bool = False
    code: str = ""


LIBRARIES = (
    Library("numpy", "numpy", "everything", code=NUMPY_CODE),
    Library("msgspec", "msgspec", "manifests and device profiles"),
    Library("tqdm", "tqdm", "bars of progress", True),
    Library("onnxruntime", "onnxruntime", "ONNX models", True, ONNX_CODE),
    Library("ai_edge_litert", "ai-edge-litert", "TFLite models", True, LITERT_CODE.format(package="ai_edge_litert")),
    Library("tflite_runtime", "tflite-runtime", "TFLite models", True, LITERT_CODE.format(package="tflite_runtime")),
    Library("serial", "pyserial", "IMUs on a serial port", True, SERIAL_CODE),
    Library("sounddevice", "sounddevice", "microphones", True, SOUND_CODE),
    Library("soundfile", "soundfile", "sound files", True),
    Library("soxr", "soxr", "sound", True),
    Library("av", "av", "cameras, films, sound of phones", True),
)
SOUND = "sounddevice"
IMPORTED = "libraries imported, each on its own"
LAST_READ_S = 0.2
RUNNERS = {package: backend for backend in BACKENDS for package in PACKAGES[backend]}
"""The libraries that run models: one is enough, so that one which is not there is no finding."""


@dataclass(frozen=True, slots=True)
class Trial:
    """How the process of one library ended. status: its exit status, minus the signal's number; None where it hung.

    printed: what it wrote until then. unstarted: why there was no process at all.
    """

    library: Library
    status: int | None
    printed: str
    complaint: str
    unstarted: str = ""

    @property
    def absent(self) -> bool:
        return self.status == 0 and self.printed == "absent"

    @property
    def reached_portaudio(self) -> bool:
        """What came of it is then PortAudio's, and no fault of the wheel."""
        return self.library.module == SOUND and self.printed.startswith("ALSA lacks")


def try_libraries(
    timeout_s: float = 30.0,
    libraries: Sequence[Library] = LIBRARIES,
    progress: Reached = lambda _done, _of, _what: None,
) -> list[Trial]:
    """Import each, as many at a time as there are processors: a small board has no memory for all at once."""
    trials: list[Trial] = []
    rest = iter(libraries)
    while batch := list(islice(rest, os.cpu_count() or 1)):
        running: list[subprocess.Popen[str] | OSError] = []
        try:
            running += map(_start, batch)
            ends_s = time.monotonic() + timeout_s
            for pair in zip(batch, running, strict=True):
                progress(len(trials), len(libraries), IMPORTED)
                trials.append(_wait(*pair, ends_s))
        finally:
            for process in running:
                if not isinstance(process, OSError):
                    process.kill()
                    process.communicate()
    return trials


def _start(library: Library) -> subprocess.Popen[str] | OSError:
    """Its process, or why the system does not start one."""
    code = PREPARE.format(module=library.module, parent=os.getpid()) + (library.code or f"import {library.module}")
    try:
        return subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, **TELEMETRY_OFF},
        )
    except OSError as error:
        return error


def _wait(library: Library, process: subprocess.Popen[str] | OSError, ends_s: float) -> Trial:
    if isinstance(process, OSError):
        return Trial(library, None, "", "", process.strerror or str(process))
    try:
        # One that ended while another hung is still to be read.
        printed, complaints = process.communicate(timeout=max(ends_s - time.monotonic(), LAST_READ_S))
    except subprocess.TimeoutExpired as error:
        return Trial(library, None, (error.stdout or b"").decode(errors="replace").strip(), "")
    last = (complaints.strip().splitlines() or [""])[-1]
    return Trial(library, process.returncode, printed.strip(), last)


def judge_libraries(trials: Sequence[Trial], timeout_s: float = 30.0, preferred: str = AUTO) -> list[Finding]:
    """One finding a library, but for those that run models and are not there; then which of these runs them.

    preferred: the backend that the device profile names, ``AUTO`` for none.
    """
    states = _states_of_backends(trials)
    findings = [
        _judge(trial, timeout_s, states) for trial in trials if not (trial.absent and trial.library.module in RUNNERS)
    ]
    return [*findings, *_judge_models(states, preferred)]


def _states_of_backends(trials: Sequence[Trial]) -> dict[str, bool]:
    """Whether each that is installed works; of two packages the first is taken."""
    by_module = {trial.library.module: trial for trial in trials}
    states: dict[str, bool] = {}
    for module, backend in RUNNERS.items():
        trial = by_module.get(module)
        if trial is not None and not trial.absent:
            states.setdefault(backend, trial.status == 0)
    return states


def _judge_models(states: Mapping[str, bool], preferred: str) -> list[Finding]:
    if not states:
        choices = "\n".join(pip_install(INSTALL[backend]) for backend in BACKENDS)
        return [Finding("models", "problem", "nothing that runs models is installed; choose one", choices)]
    chosen = preferred if preferred in states else next(iter(states))
    ways = [NAMES[chosen]] if states[chosen] else []
    ways += [
        f"{NAMES[backend]} with --backend {backend}" for backend, works in states.items() if works and backend != chosen
    ]
    # Where none works, each has a problem of its own.
    return [Finding("models", "ok", f"run by {', or by '.join(ways)}")] if ways else []


def _judge(trial: Trial, timeout_s: float, states: Mapping[str, bool]) -> Finding:
    name, package = trial.library.module, trial.library.package
    if trial.absent:
        return _judge_absent(trial.library)
    if trial.unstarted:
        return Finding(name, "problem", f"not tried: no process can be started: {trial.unstarted}", RAISE_LIMITS)
    version = _version_of(package)
    if trial.printed.startswith("taken by "):
        place = trial.printed.removeprefix("taken by ")
        return Finding(name, "problem", f"{TAKEN}: {place}", "\n".join(ways_back()))
    if trial.status == 0 or trial.reached_portaudio:
        return Finding(name, "ok", version or "can be imported")
    again = pip_install("--force-reinstall", "--no-cache-dir", package)
    if trial.status is None:
        return Finding(name, "problem", f"{version} was not imported within {timeout_s:g} s".strip(), again)
    if trial.status > 0:
        return Finding(name, "problem", f"{version} fails: {trial.complaint}".strip(), again)
    number = -trial.status
    if number == signal.SIGKILL:
        advice = "stop other programs: the kernel ended it, as it does when memory runs out"
    else:
        advice = pip_install(f"{package}<{version}") if version else again
        advice += "".join(f"\nor {way}" for way in _other_ways(name, states))
    return Finding(name, "problem", f"{version} crashes: {_name_signal(number)}".strip(), advice)


def _other_ways(module: str, states: Mapping[str, bool]) -> list[str]:
    """What may run the models in place of this library, if it is one that does."""
    if module not in RUNNERS:
        return []
    ways = []
    for backend in BACKENDS:
        if backend != RUNNERS[module] and states.get(backend, True):
            first = "" if backend in states else f"{pip_install(INSTALL[backend])}, then "
            ways.append(f"use {NAMES[backend]}: {first}mmg-run --backend {backend}")
    return ways


def _judge_absent(library: Library) -> Finding:
    if library.optional:
        return Finding(library.module, "ok", f"not installed; for {library.purpose}: {pip_install(library.package)}")
    return Finding(library.module, "problem", "not installed", pip_install(library.package))


def _version_of(package: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _name_signal(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    meaning = (signal.strsignal(number) or "").lower()
    return f"{name} ({meaning})" if meaning else name
