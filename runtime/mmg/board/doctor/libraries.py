"""Whether the libraries that mmg may use can be used here: each is imported in a process of its own.

A wheel that was built for a newer processor ends its process by a signal at import or at the first product of two
matrices, so the three libraries that compute do a little work too.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from mmg.board.doctor.finding import Finding
from mmg.errors import pip_install

PREPARE = """\
import importlib.util, resource, sys
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is looked for: it leaves no core file
sys.path[:] = [path for path in sys.path if path]  # the current folder is not where libraries are
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
NUMPY_CODE = """\
import numpy
ones = numpy.ones((64, 64), "float32")
assert (ones @ ones).sum() == 64**3, "computes wrongly"
"""
SOUND_CODE = """\
try:
    import sounddevice
except OSError as error:
    if "PortAudio" not in str(error):
        raise
    print("no PortAudio")
else:
    try:
        devices = sounddevice.query_devices()
    except sounddevice.PortAudioError:
        devices = []
    print("inputs", sum(device["max_input_channels"] > 0 for device in devices))
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
    Library("onnxruntime", "onnxruntime", "ONNX models", code=ONNX_CODE),
    Library("ai_edge_litert", "ai-edge-litert", "TFLite models", True, "import ai_edge_litert.interpreter"),
    Library("tflite_runtime", "tflite-runtime", "TFLite models", True, "import tflite_runtime.interpreter"),
    Library("serial", "pyserial", "IMUs on a serial port", True),
    Library("sounddevice", "sounddevice", "microphones", True, SOUND_CODE),
    Library("soundfile", "soundfile", "sound files", True),
    Library("soxr", "soxr", "sound", True),
    Library("av", "av", "cameras and video files", True),
)
SOUND = "sounddevice"
LAST_READ_S = 0.2
RUNNERS = ("onnxruntime", "ai_edge_litert", "tflite_runtime")


@dataclass(frozen=True, slots=True)
class Trial:
    """How the process of one library ended. status: its exit status, minus the signal's number; None where it hung."""

    library: Library
    status: int | None
    printed: str
    complaint: str

    @property
    def absent(self) -> bool:
        return self.status == 0 and self.printed == "absent"


def try_libraries(timeout_s: float = 30.0, libraries: Sequence[Library] = LIBRARIES) -> list[Trial]:
    """Import each, as many at a time as there are processors: a small board has no memory for all at once."""
    trials: list[Trial] = []
    rest = iter(libraries)
    while batch := list(islice(rest, os.cpu_count() or 1)):
        running: list[subprocess.Popen[str]] = []
        try:
            running += map(_start, batch)
            ends_s = time.monotonic() + timeout_s
            trials += [_wait(*pair, ends_s) for pair in zip(batch, running, strict=True)]
        finally:
            for process in running:
                process.kill()
                process.communicate()
    return trials


def _start(library: Library) -> subprocess.Popen[str]:
    code = PREPARE.format(module=library.module) + (library.code or f"import {library.module}")
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={"ORT_DISABLE_TELEMETRY": "1", **os.environ},
    )


def _wait(library: Library, process: subprocess.Popen[str], ends_s: float) -> Trial:
    try:
        # One that ended while another hung is still to be read.
        printed, complaints = process.communicate(timeout=max(ends_s - time.monotonic(), LAST_READ_S))
    except subprocess.TimeoutExpired:
        return Trial(library, None, "", "")
    last = (complaints.strip().splitlines() or [""])[-1]
    return Trial(library, process.returncode, printed.strip(), last)


def judge_libraries(trials: Sequence[Trial], timeout_s: float = 30.0) -> list[Finding]:
    """One finding a library; tflite-runtime, which few boards have, only where it is."""
    findings = [
        _judge(trial, timeout_s) for trial in trials if not (trial.absent and trial.library.module == "tflite_runtime")
    ]
    if all(trial.absent for trial in trials if trial.library.module in RUNNERS):
        findings.append(Finding("models", "problem", "no library that runs models", pip_install("onnxruntime")))
    return findings


def _judge(trial: Trial, timeout_s: float) -> Finding:
    name, package = trial.library.module, trial.library.package
    if trial.absent:
        return _judge_absent(trial.library)
    version = _version_of(package)
    if trial.status == 0:
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
        if name == "onnxruntime":
            advice += f"\nor use LiteRT: {pip_install('ai-edge-litert')}, then mmg-run --backend litert"
    return Finding(name, "problem", f"{version} crashes: {_name_signal(number)}".strip(), advice)


def _judge_absent(library: Library) -> Finding:
    if library.module in RUNNERS:  # one of them is enough
        return Finding(
            library.module, "ok", f"not installed; {library.purpose} need it: {pip_install(library.package)}"
        )
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
