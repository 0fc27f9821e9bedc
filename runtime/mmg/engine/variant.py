"""Which of a bundle's files a run takes: one backend and one precision for all of its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mmg.backends import AUTO, BACKENDS, INSTALL, is_installed
from mmg.bundle import Bundle, ModelFile
from mmg.errors import BundleError, ConfigError, NoRuntime


@dataclass(frozen=True, slots=True)
class Variant:
    """backend: ``onnx`` or ``litert``; precision: ``fp32`` or ``int8``."""

    backend: str
    precision: str


def choose_variant(
    bundle: Bundle, names: Sequence[str], backend: str, precision: str, preferred: str = AUTO
) -> Variant:
    """The backend asked for, or with ``auto`` one that is installed and that each part has a file for.

    Where there are several, it is ``preferred``, or else the first of ``BACKENDS``.

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
        raise BundleError(
            str(bundle.path), "", f"does not have all of {', '.join(names)} and fusion in {precision}; it has {has}"
        )
    installed = [one for one in there if is_installed(one)]
    if not installed:
        raise NoRuntime(tuple(INSTALL[one] for one in there))
    return Variant(preferred if preferred in installed else installed[0], precision)


def choose_file(bundle: Bundle, files: tuple[ModelFile, ...], name: str, variant: Variant) -> ModelFile:
    """The file of this variant. Raises BundleError where the bundle has none."""
    for file in files:
        if (file.backend, file.precision) == (variant.backend, variant.precision):
            return file
    has = ", ".join(f"{file.backend} {file.precision}" for file in files)
    problem = f"has no {variant.precision} file for backend {variant.backend}; it has {has}"
    raise BundleError(str(bundle.path), name, problem)
