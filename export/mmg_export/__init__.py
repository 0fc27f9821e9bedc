"""Trained models to verified bundles: ``mmg-export`` for a run of mmg-train, ``export_bundle`` for anyone's modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmg_export.bundle import export_bundle as export_bundle
    from mmg_export.spec import Sensor as Sensor
    from mmg_export.spec import Spec as Spec

_HOMES = {"Sensor": "mmg_export.spec", "Spec": "mmg_export.spec", "export_bundle": "mmg_export.bundle"}
__all__ = ["Sensor", "Spec", "export_bundle"]


def __getattr__(name: str) -> Any:
    """Import a public name where it is first used: the command must start, and say what to install, without torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'mmg_export' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
