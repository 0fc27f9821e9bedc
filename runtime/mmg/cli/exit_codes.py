"""How a command ends: what it raises becomes one line and an exit code."""

from __future__ import annotations

import atexit
import errno
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import NoReturn

from mmg.backends import TELEMETRY_OFF
from mmg.cli.output import drop, let_output_wait, say_last
from mmg.cli.reporting import calm_stderr, hurry_stderr, release_stderr
from mmg.cli.watchdog import watched
from mmg.errors import RAISE_LIMITS, REFUSED, MmgError, OutOfMemory, shortage

OF_WRITING = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EBADF),
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ELOOP, errno.ENAMETOOLONG),
    *(errno.EINVAL, errno.ENXIO, errno.ETXTBSY, errno.EBUSY, errno.ESTALE),
)
"""What a system says of an output that it does not take."""


def run_command(run: Callable[[], int], report: Callable[[str], None], *, stopped: int = 0) -> int:
    """Run a command and return its exit code. Whatever ends it is told in one line.

    stopped: the exit code after Ctrl-C.
    """
    let_output_wait()
    os.environ.update(TELEMETRY_OFF)  # also of what other libraries load, and of children
    calm_stderr()
    try:
        return _run_and_tell(run, report)
    except KeyboardInterrupt:
        atexit.register(_let_one_pass)
        say_last(lambda: report("stopped"))
        return stopped
    finally:
        with suppress(KeyboardInterrupt):
            release_stderr()


def _run_and_tell(run: Callable[[], int], report: Callable[[str], None]) -> int:
    try:
        code = run()
        if sys.stdout is not None:
            sys.stdout.flush()  # at exit Python would, and tell what fails in many lines
        return code
    except MmgError as error:
        with suppress(KeyboardInterrupt):  # whoever does not wait for it to be read
            report(str(error))
        return error.exit_code
    except BrokenPipeError:
        # The reader has left, as `head` does; without this Python complains once more at exit.
        drop(sys.stdout)
        sys.stdout = None
        return 0
    except Exception as error:
        if lacking := shortage(error):  # also where a library says so in an error of its own, such as that of an import
            _clear_frames(error.__traceback__)  # what failed holds the memory still
            try:
                with suppress(KeyboardInterrupt):
                    report(lacking)
            except MemoryError:
                os.write(2, f"{lacking}\n".encode())
            return OutOfMemory.exit_code
        if not isinstance(error, OSError):
            raise
        with suppress(KeyboardInterrupt):
            report(_line_of(error))
        drop(sys.stdout)
        sys.stdout = None
        return 2


def _line_of(error: OSError) -> str:
    """What is read is translated where it is read: what comes here is mostly the output, on a full disk for example."""
    said, place = error.strerror or str(error), error.filename
    if error.errno in REFUSED:
        return f"the system refuses another process, thread or file: {said}: {RAISE_LIMITS}"
    if error.errno == errno.ENOENT and not (place and os.path.isabs(place)) and _has_no_folder():  # noqa: PTH117
        return "the working directory is gone: go to one that is there"
    if error.errno in OF_WRITING:
        return f"cannot write {place}: {said}" if place else f"cannot write: {said}"
    return f"{place}: {said}" if place else said


def _has_no_folder() -> bool:
    """Whether the working directory was deleted."""
    try:
        os.getcwd()  # noqa: PTH109
    except FileNotFoundError:
        return True
    return False


def _clear_frames(traceback: TracebackType | None) -> None:
    """``traceback.clear_frames``, whose module takes longer to load than this, and memory that there is none of."""
    while traceback is not None:
        with suppress(RuntimeError):  # one that still runs
            traceback.tb_frame.clear()
        traceback = traceback.tb_next


class Reason:
    """Around a block that cleans up at its end: it raises the error that ``note`` saw though Ctrl-C comes meanwhile."""

    def __init__(self) -> None:
        self._error: Exception | None = None

    def __enter__(self) -> Reason:
        return self

    def note(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """To be called before anything is cleaned up: pushed last on an ExitStack."""
        if isinstance(error, Exception):
            self._error = error

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if self._error and isinstance(error, KeyboardInterrupt):
            raise self._error


def run_printing_command(run: Callable[[], int], report: Callable[[str], None]) -> int:
    """``run_command`` for a command whose result is what it prints; Ctrl-C and the like end it with 130."""
    if sys.stdout is None:
        report("standard output is closed: there is nowhere to write")
        return 2
    handle_signals(raise_interrupt)
    return run_command(run, report, stopped=130)


def handle_signals(handle: Callable[[int, object], object]) -> None:
    """Call ``handle`` for the signals that ask a process to end. What the caller ignores, as nohup does, stays so."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, watched(handle, number))


def raise_interrupt(_number: int, _frame: object) -> NoReturn:
    """As Ctrl-C does; for ``handle_signals``. From now on no message waits for its reader for long."""
    hurry_stderr()
    raise KeyboardInterrupt


def _let_one_pass() -> None:
    """At exit: the next of these signals cuts nothing of what is done there, and the one after it ends the process."""

    def pass_once(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)

    handle_signals(pass_once)
