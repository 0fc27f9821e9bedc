"""mmg: decides what a wearer is doing from whichever of their sensors are present."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmg.bundle import Bundle as Bundle
    from mmg.engine import Engine as Engine
    from mmg.runs.recorded import Pipeline as Pipeline
    from mmg.sources import open_source as open_source
    from mmg.types import Chunk as Chunk
    from mmg.types import Decision as Decision

_HOMES = {
    "Bundle": "mmg.bundle",
    "Chunk": "mmg.types",
    "Decision": "mmg.types",
    "Engine": "mmg.engine",
    "Pipeline": "mmg.runs.recorded",
    "open_source": "mmg.sources",
}
__all__ = ["Bundle", "Chunk", "Decision", "Engine", "Pipeline", "open_source"]


def __getattr__(name: str) -> Any:
    """Import a public name where it is first used, so that ``import mmg`` loads neither numpy nor onnxruntime."""
    if name not in _HOMES:
        raise AttributeError(f"module 'mmg' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
