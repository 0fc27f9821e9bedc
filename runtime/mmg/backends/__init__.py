"""Model engines behind one small protocol; each is imported only where it is chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

from mmg.errors import ConfigError, NoRuntime

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The packages that can run each, the preferred one first; the backends in the order in which one is chosen.
PACKAGES = {"onnx": ("onnxruntime",), "litert": ("ai_edge_litert", "tflite_runtime")}
BACKENDS = tuple(PACKAGES)
INSTALL = {"onnx": "onnxruntime", "litert": "ai-edge-litert"}
NAMES = {"onnx": "onnxruntime", "litert": "LiteRT"}
"""What people call them."""

AUTO = "auto"
"""In place of a backend: one that is installed."""
CPU_ONLY = ("CPUExecutionProvider",)
TELEMETRY_OFF = {"ORT_DISABLE_TELEMETRY": "1"}
"""What the environment must hold before onnxruntime loads, whatever it held: from 1.29 on it keeps a device number at
home and sends events to a host of its maker's. 0, an empty value or a misspelt one leaves that on."""


class Session(Protocol):
    """One loaded model."""

    @property
    def inputs(self) -> Mapping[str, tuple[int | str, ...]]:
        """Each input's shape; a free dimension is a string."""

    @property
    def outputs(self) -> Mapping[str, tuple[int | str, ...]]:
        """Each output's shape; a free dimension is a string."""

    def run(self, names: Sequence[str], feeds: Mapping[str, NDArray]) -> list[NDArray]:  # type: ignore[type-arg]
        """Run once and return the named outputs. Raises ModelError."""

    def bind(self, feeds: Mapping[str, NDArray], results: Mapping[str, NDArray]) -> Callable[[], None]:  # type: ignore[type-arg]
        """A call that runs on what these arrays hold at that moment and writes into ``results``.

        The arrays are contiguous and of the model's shapes and types. Raises ModelError, the call too.
        """


def is_installed(backend: str) -> bool:
    """Whether a package that runs it can be found; nothing is imported."""
    return any(find_spec(package) is not None for package in PACKAGES[backend])


def usual_backends(preferred: str) -> tuple[str, ...]:
    """What a command that compares them takes where nobody says: all that are installed, or of those the preferred one.

    preferred: ``AUTO`` for none. Raises NoRuntime where none is installed.
    """
    installed = tuple(backend for backend in BACKENDS if is_installed(backend))
    if not installed:
        raise NoRuntime(tuple(INSTALL.values()))
    return (preferred,) if preferred in installed else installed


def require_whole(backend: str, data: bytes, name: str) -> None:
    """Raises ModelError for a file that refers to another one, or to what mmg does not know: no library has seen it
    then. ``name`` is used in errors."""
    if backend == "onnx":
        from mmg.backends.onnx_file import require_whole_onnx

        require_whole_onnx(data, name)
    elif backend == "litert":
        from mmg.backends.litert_file import require_whole_litert

        require_whole_litert(data, name)


def load_library(backend: str) -> None:
    """Import what runs it, as a first session would. Raises BackendUnavailable."""
    if backend == "onnx":
        from mmg.backends.onnx import load_onnxruntime

        load_onnxruntime()
    else:
        from mmg.backends.litert import load_interpreter

        load_interpreter()


def absent_providers(backend: str, providers: Sequence[str]) -> tuple[str, ...]:
    """Those of onnxruntime's execution providers that were asked for and that the installed one does not have."""
    if backend != "onnx" or not set(providers) - set(CPU_ONLY):
        return ()
    from mmg.backends.onnx import load_onnxruntime

    there = load_onnxruntime().get_available_providers()
    return tuple(name for name in providers if name not in there)


def open_session(
    backend: str, data: bytes, name: str, *, threads: int = 1, providers: tuple[str, ...] = CPU_ONLY
) -> Session:
    """Load verified model bytes; ``name`` is used in errors. Raises ModelError, BackendUnavailable.

    providers: onnxruntime's execution providers, the preferred one first; those that it does not have are left out.
    """
    require_whole(backend, data, name)
    if backend == "onnx":
        from mmg.backends.onnx import OnnxSession

        return OnnxSession(data, name, threads=threads, providers=providers)
    if backend == "litert":
        from mmg.backends.litert import LitertSession

        return LitertSession(data, name, threads=threads)
    raise ConfigError(f"backend {backend!r} is not one of {', '.join(BACKENDS)}")
