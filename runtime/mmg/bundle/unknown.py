"""What tells the unknown, stored in the bundle as ``unknown.npz``: how each modality's tokens lie in what is known, and
in other life.

For each modality M that a subset has a fit of: ``M/center`` ``(D,)``, ``M/basis`` ``(r, D)`` and ``M/lean`` ``(1,)``,
and of two mixtures, ``M/known/...`` of K kinds and ``M/other/...`` of J: ``whiten`` ``(K, r, r)``, ``shift`` and
``reading`` ``(K, r)``, ``log`` and ``bias`` ``(K,)``. All are float32. ``mmg.engine.unknown`` says what they mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from mmg.bounded_zip import ZIP_ERRORS
from mmg.bundle.arrays import Arrays, read_arrays, take, write_arrays
from mmg.bundle.manifest import Manifest
from mmg.errors import BundleError

UNKNOWN_FILE = "unknown.npz"


@dataclass(frozen=True, slots=True)
class Mixture:
    """K kinds. whiten: ``(K, r, r)``; shift: ``(K, r)``; log: ``(K,)``, of each kind the logarithm of its weight plus
    that of its density's height, up to a constant that all kinds share. reading: ``(K, r)`` and bias: ``(K,)``, of each
    kind's logit among all kinds, known and other. float32."""

    whiten: NDArray[np.float32]
    shift: NDArray[np.float32]
    log: NDArray[np.float32]
    reading: NDArray[np.float32]
    bias: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of one modality. center: ``(token_dim,)``, basis: ``(r, token_dim)`` float32: what of a mean token is looked at.

    lean: ``(1,)``, how much the readings count beside the densities. known: of the bundle's labels; other: of other
    life.
    """

    center: NDArray[np.float32]
    basis: NDArray[np.float32]
    lean: NDArray[np.float32]
    known: Mixture
    other: Mixture


def pack(statistics: Mapping[str, Statistics]) -> bytes:
    """The bytes of ``unknown.npz``, the same for the same arrays. statistics: modality -> its own."""
    arrays: Arrays = {}
    for name, one in statistics.items():
        arrays |= {f"{name}/center": one.center, f"{name}/basis": one.basis, f"{name}/lean": one.lean}
        for which, mixture in (("known", one.known), ("other", one.other)):
            arrays |= {f"{name}/{which}/{field.name}": getattr(mixture, field.name) for field in fields(Mixture)}
    return write_arrays({name: array.astype(np.float32) for name, array in arrays.items()})


def unpack(data: bytes, manifest: Manifest, path: str) -> dict[str, Statistics]:
    """Modality -> its statistics, as ``pack`` took them. path: the bundle, for the error.

    Raises BundleError for what is compressed, pickled, missing, there but unasked for, not finite, or of another shape
    or type than the manifest's.
    """
    name = manifest.unknown.path if manifest.unknown else UNKNOWN_FILE
    return read(data, fitted(manifest), manifest.fusion.token_dim, path, name)


def read(
    data: bytes, names: Sequence[str], token_dim: int, path: str, file: str = UNKNOWN_FILE
) -> dict[str, Statistics]:
    """What ``pack`` took of these modalities, and nothing else. path and file: where it is, for the error. Raises
    BundleError."""
    try:
        arrays = read_arrays(data)
        found = {one: _take_statistics(arrays, one, token_dim) for one in names}
        if arrays:
            raise ValueError(f"holds {min(arrays)!r}, which does not belong here")
    except ZIP_ERRORS as error:
        raise BundleError(path, file, str(error)) from error
    return found


def fitted(manifest: Manifest) -> tuple[str, ...]:
    """The modalities that some subset has a fit of, in the bundle's order."""
    named = {name for subset in manifest.subsets if subset.unknown for name in subset.modalities}
    return tuple(modality.name for modality in manifest.modalities if modality.name in named)


def _take_statistics(arrays: Arrays, name: str, token_dim: int) -> Statistics:
    center = _take(arrays, f"{name}/center", (token_dim,))
    basis = _take(arrays, f"{name}/basis", (None, token_dim))
    lean = _take(arrays, f"{name}/lean", (1,))
    known, other = (_take_mixture(arrays, f"{name}/{which}", len(basis)) for which in ("known", "other"))
    return Statistics(center, basis, lean, known, other)


def _take_mixture(arrays: Arrays, place: str, rank: int) -> Mixture:
    whiten = _take(arrays, f"{place}/whiten", (None, rank, rank))
    kinds = len(whiten)
    wide = {name: _take(arrays, f"{place}/{name}", (kinds, rank)) for name in ("shift", "reading")}
    one_each = {name: _take(arrays, f"{place}/{name}", (kinds,)) for name in ("log", "bias")}
    return Mixture(whiten=whiten, **wide, **one_each)


def _take(arrays: Arrays, name: str, shape: tuple[int | None, ...]) -> NDArray[np.float32]:
    array = take(arrays, name, shape, "float32")
    if not np.isfinite(array).all():
        raise ValueError(f"{name!r} holds a number that is not finite")
    return array
