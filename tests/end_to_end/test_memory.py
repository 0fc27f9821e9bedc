"""Want of memory is told as that, in one line and an exit code, wherever it is met."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest
from mmg.backends import litert, onnx
from mmg.cli.exit_codes import run_command
from mmg.errors import NO_MEMORY, NO_THREAD, BackendUnavailable, OutOfMemory, shortage, wants_memory
from recordings import ROOT

LIMITED = """
import resource, runpy, sys
limit = int(sys.argv.pop(1)) << 20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
sys.argv[0] = sys.argv.pop(1)
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
RUN = ("mmg.cli.run", "--demo", "--duration", "1")
VERIFY = ("mmg.cli.bundle", "verify", "starter")


def limited(mib: int, *words: str) -> subprocess.CompletedProcess[str]:
    """A command that may take so much address space, which numpy, its matrices and a runtime need 100 to 250 of."""
    command = [sys.executable, "-c", LIMITED, str(mib), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)


@pytest.mark.parametrize("mib", [60, 90, 110, 130])
@pytest.mark.parametrize("words", [RUN, VERIFY], ids=["mmg-run", "mmg-bundle verify"])
def test_a_command_without_memory_for_numpy_says_so(words: tuple[str, ...], mib: int) -> None:
    done = limited(mib, *words)
    assert (done.returncode, done.stdout) == (4, ""), done.stderr
    assert done.stderr.endswith(f"numpy needs 160 MiB: {NO_MEMORY}\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("mib", [150, 160, 170, 180, 200])
@pytest.mark.parametrize("words", [RUN, VERIFY], ids=["mmg-run", "mmg-bundle verify"])
def test_with_a_little_more_it_works_or_says_what_it_lacks(words: tuple[str, ...], mib: int) -> None:
    done = limited(mib, *words)
    assert done.returncode in (0, 4), done.stderr
    assert "Traceback" not in done.stderr
    assert "not installed" not in done.stderr
    if done.returncode:
        # A thread's stack is memory too.
        assert "not enough memory" in done.stderr or NO_THREAD in done.stderr
        # A library may have printed a line of its own before.
        assert len([line for line in done.stderr.splitlines() if line.startswith("mmg-")]) == 1


PRODUCT = """
import os, pathlib, resource, sys
os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy
from mmg.errors import OutOfMemory
from mmg.runs.process import take_buffer
if "before" in sys.argv:
    take_buffer()
pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + (20 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    take_buffer()
except OutOfMemory as error:
    print(error)
"""


@pytest.mark.parametrize(("when", "told"), [("now", f"numpy needs 34 MiB: {NO_MEMORY}\n"), ("before", "")])
def test_numpy_without_memory_for_a_product_does_not_end_the_process(when: str, told: str) -> None:
    """OpenBLAS does, with an exit code of 1 and a line of its own. What it took before it still has."""
    command = [sys.executable, "-c", PRODUCT, when]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", told)


ENDING = """
import pathlib, resource, sys, threading, time
from itertools import count
from mmg.cli.exit_codes import handle_signals, raise_interrupt
from mmg.cli.watchdog import WATCHDOG
handle_signals(raise_interrupt)
WATCHDOG.start("mmg-run")
threading.Thread(target=lambda: [time.sleep(1e-4) for _ in count()], daemon=True).start()
mapped = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (mapped, mapped))
"""


def test_a_thread_that_meets_the_interpreters_end_needs_no_more_memory() -> None:
    """glibc aborts the process where it cannot load libgcc then."""
    done = subprocess.run(
        [sys.executable, "-c", ENDING], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )
    assert (done.returncode, done.stderr) == (0, "")


ERRORS: list[BaseException] = [
    MemoryError(),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    OSError("libportaudio.so.2: failed to map segment from shared object"),
    ImportError("libonnxruntime.so.1: cannot allocate memory in static TLS block"),
    RuntimeError("std::bad_alloc"),
]
NO_MORE_THREADS = RuntimeError("can't start new thread")


@pytest.mark.parametrize("error", [*ERRORS, NO_MORE_THREADS], ids=lambda error: f"{type(error).__name__} {error}")
def test_what_is_left_for_the_edge_is_one_line_and_exit_code_4(error: BaseException) -> None:
    def run() -> int:
        raise error

    told: list[str] = []
    assert run_command(run, told.append) == OutOfMemory.exit_code == 4
    assert told == [NO_THREAD if error is NO_MORE_THREADS else NO_MEMORY]


def test_want_of_a_thread_names_the_limit_of_processes_and_is_no_want_of_memory() -> None:
    wrapped = ImportError("it could not be imported")
    wrapped.__cause__ = NO_MORE_THREADS
    assert shortage(wrapped) == NO_THREAD
    assert "ulimit -u" in NO_THREAD
    assert not wants_memory(wrapped)


def test_an_error_that_came_of_it_is_it_too_and_no_other() -> None:
    wrapped = ImportError("numpy could not be imported")
    wrapped.__cause__ = ImportError("libopenblas.so: failed to map segment from shared object")
    assert wants_memory(wrapped)
    for error in (None, ValueError("12 samples"), OSError(errno.ENOSPC, "No space left"), ImportError("no module")):
        assert not wants_memory(error)


def test_an_error_of_another_kind_is_raised_as_before() -> None:
    def run() -> int:
        raise ValueError("something else")

    with pytest.raises(ValueError, match="something else"):
        run_command(run, lambda _: None)


def no_memory(name: str) -> ImportError:
    return ImportError(f"{name}.so: failed to map segment from shared object")


def test_a_library_that_has_no_memory_to_be_loaded_is_not_called_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Finder:
        def find_spec(self, name: str, _path: object = None, _target: object = None) -> None:
            if name.partition(".")[0] in ("onnxruntime", "ai_edge_litert", "tflite_runtime"):
                raise no_memory(name)

    for name in [*sys.modules]:
        if name.partition(".")[0] in ("onnxruntime", "ai_edge_litert", "tflite_runtime"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    for load, called in ((onnx.load_onnxruntime, "onnxruntime"), (litert.load_interpreter, "LiteRT")):
        with pytest.raises(BackendUnavailable) as caught:
            load()
        assert str(caught.value) == f"{called} cannot be loaded: {NO_MEMORY}"
        assert caught.value.wants_memory


def test_one_that_is_missing_still_names_what_to_install() -> None:
    error = BackendUnavailable("onnxruntime", "onnxruntime")
    assert "onnxruntime is not installed: " in str(error)
    assert not error.wants_memory


def test_a_case_of_a_profile_without_memory_fails_with_that_reason() -> None:
    words = ("--subsets", "imu", "--precisions", "fp32", "--mode", "backtoback", "--hops", "2", "--json")
    done = limited(110, "mmg.cli.profile", *words)
    assert done.returncode in (1, 4), done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "not enough memory" in done.stdout + done.stderr
