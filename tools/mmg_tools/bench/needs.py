"""What the figures that compare with PyTorch need besides the device part."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from mmg.backends import is_installed
from mmg.bundle.manifest import Backend
from mmg.errors import BackendUnavailable, ConfigError

STARTER_RUN = Path(__file__).resolve().parents[3] / "training" / "mmg_training" / "starter"
"""The checkpoint that the starter bundle was exported from; of a checkout."""


def run_backends() -> tuple[Backend, ...]:
    """The backends that can run here, whose models are compared."""
    packages: dict[Backend, str] = {"onnx": "onnxruntime", "litert": "ai_edge_litert"}
    return tuple(backend for backend, package in packages.items() if find_spec(package) is not None)


def export_backends() -> tuple[Backend, ...]:
    """Those of them that the exporter can write for here."""
    return tuple(one for one in run_backends() if one == "onnx" or find_spec("litert_torch") is not None)


def require_onnxruntime() -> None:
    """Raises BackendUnavailable where it is not installed."""
    if not is_installed("onnx"):
        raise BackendUnavailable("onnxruntime", "onnxruntime")


def require_ports() -> None:
    """Raises ConfigError where a library is missing that reads the virtual ports."""
    for package, extra in (("serial", "serial"), ("sounddevice", "audio")):
        if find_spec(package) is None:
            raise ConfigError(
                f"{package} is not installed, which the figure live needs; in the project's folder: "
                f"pip install -e '.[{extra}]', or leave it out with --only"
            )


def require_training() -> None:
    """Raises ConfigError where the training packages or the checkpoint are missing."""
    for package in ("torch", "onnx", "onnxscript", "safetensors"):
        if find_spec(package) is None:
            raise ConfigError(
                f"{package} is not installed, which the figures window, eager and sizes need; in the project's folder: "
                "pip install -e '.[train,export]', or leave them out with --only"
            )
    if not STARTER_RUN.is_dir():
        raise ConfigError(
            f"no checkpoint in {STARTER_RUN}: the figures window, eager and sizes need a checkout of the sources"
        )
