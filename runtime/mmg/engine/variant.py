"""Which of a bundle's files a run takes: one backend and one precision for all of its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mmg.backends import BACKENDS, INSTALL, PACKAGES, is_installed
from mmg.bundle import Bundle, ModelFile
from mmg.errors import BackendUnavailable, BundleError, ConfigError

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Variant:
    """backend: ``onnx`` or ``litert``; precision: ``fp32`` or ``int8``."""

    backend: str
    precision: str


def choose_variant(bundle: Bundle, names: Sequence[str], backend: str, precision: str) -> Variant:
    """The backend asked for, or with ``auto`` the first that is installed and that each part has a file for.

    Raises ConfigError, BundleError, BackendUnavailable.
    """
    if backend != AUTO:
        if backend not in BACKENDS:
            raise ConfigError(f"backend {backend!r} is not one of {', '.join((AUTO, *BACKENDS))}")
        return Variant(backend, precision)
    manifest = bundle.manifest
    parts = [manifest.modality(name).encoder.files for name in names] + [manifest.fusion.files]
    there = [
        one
        for one in BACKENDS
        if all(any((f.backend, f.precision) == (one, precision) for f in part) for part in parts)
    ]
    if not there:
        has = ", ".join(sorted({f"{file.backend} {file.precision}" for file in manifest.files(tuple(names))}))
        raise BundleError(str(bundle.path), "", f"has not all of {', '.join(names)} and fusion in {precision}: {has}")
    for one in there:
        if is_installed(one):
            return Variant(one, precision)
    raise BackendUnavailable(" or ".join(PACKAGES[one][0] for one in there), INSTALL[there[0]])


def choose_file(bundle: Bundle, files: tuple[ModelFile, ...], name: str, variant: Variant) -> ModelFile:
    """The file of this variant. Raises BundleError where the bundle has none."""
    for file in files:
        if (file.backend, file.precision) == (variant.backend, variant.precision):
            return file
    has = ", ".join(f"{file.backend} {file.precision}" for file in files)
    problem = f"has no {variant.precision} file for backend {variant.backend}; it has {has}"
    raise BundleError(str(bundle.path), name, problem)
