"""What the figures that compare with PyTorch need besides the device part."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from mmg.errors import ConfigError

STARTER_RUN = Path(__file__).resolve().parents[3] / "training" / "starter"
"""The checkpoint that the starter bundle was exported from; in a checkout only."""


def require_training() -> None:
    """Raises ConfigError where the training packages or the checkpoint are missing."""
    for package in ("torch", "onnx", "onnxscript", "safetensors"):
        if find_spec(package) is None:
            raise ConfigError(
                f"{package} is not installed, which the figures window and eager need; in the project's folder: "
                "pip install -e '.[train,export]', or leave them out with --only"
            )
    if not STARTER_RUN.is_dir():
        raise ConfigError(
            f"no checkpoint in {STARTER_RUN}: the figures window and eager need a checkout of the sources"
        )
