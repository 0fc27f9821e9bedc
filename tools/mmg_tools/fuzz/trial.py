"""One input: given to a reader, within limits of time and memory."""

from __future__ import annotations

import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from mmg_tools.fuzz.target import Reader

LIMIT_S = 1.0
"""Of processor time: what else the machine does does not count."""
LIMIT_BYTES = 200 << 20
"""That an input may take at its peak."""
ROOMS = ("/mmg/", "/mmg_device_profiles/", "/mmg_tools/")


class TooSlow(BaseException):
    """Beyond the limit of time. No reader catches it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """kind: ``error``, ``slow``, ``memory``, ``died`` or ``hung``. what: the same for the same cause. told: what the
    error says of this input."""

    kind: str
    what: str
    told: str = field(default="", compare=False)

    def line(self) -> str:
        """For a person."""
        return f"{self.kind}: {self.what}{f': {self.told}' if self.told else ''}"


def attempt(read: Reader, data: bytes, limit_bytes: int = LIMIT_BYTES) -> Fault | None:
    """What is wrong with how the reader takes this input; None where nothing is. Within ``timed`` its time is limited
    too."""
    before = _peak_bytes()
    fault = _fault_of(read, data)
    taken = _peak_bytes() - before
    if taken > limit_bytes:
        _forget_peak()
        fault = fault or Fault("memory", f"more than {limit_bytes >> 20} MiB")
    return fault


def _fault_of(read: Reader, data: bytes) -> Fault | None:
    try:
        signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
        read(data)
        signal.setitimer(signal.ITIMER_PROF, 0)
    except TooSlow as late:
        return Fault("slow", f"more than {LIMIT_S:g} s in {_place(late).partition(':')[0]}")
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        kind = "memory" if isinstance(error, MemoryError) else "error"
        return Fault(kind, f"{type(error).__name__} at {_place(error)}", _shown(error))
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return None


@contextmanager
def timed() -> Iterator[None]:
    """In this block an input has ``LIMIT_S`` of processor time. In the main thread."""

    def late(_number: int, _frame: object) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGPROF, late)
    try:
        yield
    finally:
        signal.signal(signal.SIGPROF, before)


def _place(error: BaseException) -> str:
    """The innermost line of this project's."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if any(r in frame.filename for r in ROOMS)]
    own = [frame for frame in frames if not frame.filename.endswith("fuzz/trial.py")]
    if not own:
        return "no line of mmg"
    path = own[-1].filename
    short = next(path[path.rindex(room) + 1 :] for room in reversed(ROOMS) if room in path)
    return f"{short}:{own[-1].lineno}"


def _shown(error: BaseException) -> str:
    lines = str(error).splitlines() or [""]
    return ascii(lines[0][:80])[1:-1]


def _peak_bytes() -> int:
    lines = Path("/proc/self/status").read_text("ascii", "replace").splitlines()  # getrusage has its parent's peak too
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) << 10


def _forget_peak() -> None:
    """Begin anew from what is held now (proc(5), clear_refs)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
