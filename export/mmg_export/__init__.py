"""Trained models to verified bundles: ``mmg-export`` for a run of mmg-train, ``export_bundle`` for anyone's modules."""

from mmg_export.bundle import export_bundle
from mmg_export.spec import Sensor, Spec

__all__ = ["Sensor", "Spec", "export_bundle"]
