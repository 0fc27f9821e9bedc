"""Every error that mmg raises. Each carries its fields, and its text says what is wrong and what to do."""

from __future__ import annotations

import errno
import shlex
import sys
from collections.abc import Mapping

NO_MEMORY = "there is not enough memory: stop other programs, or raise the limit (ulimit -v)"
SAID_OF_MEMORY = (
    "cannot allocate memory",
    "failed to map segment",
    "bad_alloc",
    "bad allocation",
)
"""What the loader, C++ and Python say of it in errors that have no kind of their own."""
NO_THREAD = (
    "no further thread can be started: stop other programs, or raise the limit of processes"
    " (ulimit -u, or the container's) or of memory (ulimit -v)"
)
SAID_OF_THREADS = "can't start new thread"
"""By Python, whichever of the two it is."""


REFUSED = (errno.EAGAIN, errno.EMFILE, errno.ENFILE)
"""Of what the system has no more to give: a process, a thread or an open file."""
RAISE_LIMITS = "stop other programs, or raise the limits (ulimit -u, ulimit -n, or the container's)"


def shortage(error: BaseException | None) -> str:
    """``NO_MEMORY`` or ``NO_THREAD``, where this error, or what it came from, is that, whichever library says so; else
    empty."""
    while error is not None:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            return NO_MEMORY
        said = str(error).lower()
        if any(words in said for words in SAID_OF_MEMORY):
            return NO_MEMORY
        if SAID_OF_THREADS in said:
            return NO_THREAD
        error = error.__cause__ or error.__context__
    return ""


def wants_memory(error: BaseException | None) -> bool:
    """Whether this error, or what it came from, is want of memory, whichever library says so."""
    return shortage(error) == NO_MEMORY


class MmgError(Exception):
    """The root: catch this to catch everything that mmg raises on purpose."""

    exit_code = 2


class ConfigError(MmgError):
    """The request itself does not hold together: flags, URLs or options that cannot be."""


class ProfileError(ConfigError):
    """A device profile is wrong. ``path`` is the file, ``key`` the offending key."""

    def __init__(self, path: str, key: str, problem: str) -> None:
        self.path, self.key = path, key
        place = path if path.startswith("--") else f"profile {path}"  # a flag that changes one value, or a file
        super().__init__(f"{place}: {key}: {problem}" if key else f"{place}: {problem}")


class BundleError(MmgError):
    """A bundle is broken or altered. ``path`` is the bundle, ``field`` the manifest field or the file in it."""

    exit_code = 4

    def __init__(self, path: str, field: str, problem: str) -> None:
        self.path, self.field, self.problem = path, field, problem
        super().__init__(f"bundle {path}: {field}: {problem}" if field else f"bundle {path}: {problem}")


class SourceError(MmgError):
    """A sensor's port or file cannot be used. ``url`` is where."""

    exit_code = 3

    def __init__(self, url: str, problem: str) -> None:
        self.url = url
        super().__init__(f"{url}: {problem}")


class SourceNotFound(SourceError):
    """There is nothing at this URL."""


class SourceLost(SourceError):
    """The source worked and went away."""


class SinkError(MmgError):
    """Decisions cannot go where a sink's URL says. ``url`` is where, ``problem`` why."""

    def __init__(self, url: str, problem: str) -> None:
        self.url, self.problem = url, problem
        super().__init__(f"{url}: {problem}")


class FetchError(MmgError):
    """What a URL offers is not had. ``url`` is where, ``problem`` why, ``kept`` what stays as it was."""

    exit_code = 4

    def __init__(self, url: str, problem: str, kept: str = "") -> None:
        self.url, self.problem, self.kept = url, problem, kept
        super().__init__(f"{url}: {problem}; {kept}" if kept else f"{url}: {problem}")


class OutOfMemory(MmgError):
    """There is not enough memory. ``what`` is what needs it."""

    exit_code = 4

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(f"{what}: {NO_MEMORY}")


class ModelError(MmgError):
    """A model cannot be loaded or run."""

    exit_code = 4


def pip_install(*words: str) -> str:
    """The command that installs packages where this Python finds them.

    They go by their own names, so that the command is right for a checkout and for a wheel.
    """
    return shlex.join([sys.executable or "python3", "-m", "pip", "install", *words])


SOUND = ("soundfile", "soxr", "sounddevice")
"""What sound needs, from files or microphones: one without the others does not help."""


class BackendUnavailable(ModelError):
    """A library that this run needs is not installed, or has no memory to be loaded. ``packages`` bring it."""

    def __init__(self, backend: str, *packages: str) -> None:
        self.backend, self.packages = backend, packages
        lacking = shortage(sys.exc_info()[1])
        self.wants_memory = bool(lacking)
        """Whether it is there, and could not be loaded for want of memory, or of a thread: so says the error that this
        is told for."""
        if lacking:
            super().__init__(f"{backend} cannot be loaded: {lacking}")
            return
        super().__init__(f"{backend} is not installed: {pip_install(*packages)}")


class NoRuntime(BackendUnavailable):
    """No library that runs the bundle's models is installed. One of ``packages`` is enough."""

    def __init__(self, packages: tuple[str, ...]) -> None:
        self.backend, self.packages, self.wants_memory = " or ".join(packages), packages, False
        choices = ", or ".join(pip_install(package) for package in packages)
        ModelError.__init__(self, f"nothing that runs models is installed; choose one: {choices}")


class ShapeMismatch(ModelError):
    """A tensor is not what the manifest says it is. ``place`` names the file, where that is known."""

    def __init__(self, name: str, expected: object, got: object, place: str = "") -> None:
        self.name, self.expected, self.got, self.place = name, expected, got, place
        problem = f"{name}: the manifest says {expected}, the model has {got}"
        super().__init__(f"{place}: {problem}" if place else problem)


def list_reasons(reasons: Mapping[str, str]) -> str:
    """Of each sensor why it gives nothing."""
    return "; ".join(f"{name}: {why}" for name, why in reasons.items())


class NoSensorError(MmgError):
    """None of the requested sensors can be used. ``skipped`` maps each to the reason."""

    exit_code = 3

    def __init__(self, skipped: dict[str, str]) -> None:
        self.skipped = skipped
        super().__init__(f"no usable sensor ({list_reasons(skipped)})")


class RequiredSensorLost(MmgError):
    """A sensor that the run requires is missing or went away. ``lost`` maps each to the reason."""

    exit_code = 3

    def __init__(self, lost: dict[str, str]) -> None:
        self.lost = lost
        super().__init__("required sensor lost: " + "; ".join(f"{name}: {why}" for name, why in lost.items()))
