"""Golden inputs and outputs of the tiny models in ``fakes``, worked out with numpy, and bundles that hold them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from fakes import LABELS, TOKEN_DIM, matrix, tiny_files, tiny_manifest
from mmg.bundle import Manifest, Modality, write_bundle
from mmg.bundle.golden import GOLDEN, Context, Golden, pack
from mmg.bundle.writer import describe_stored
from msgspec.structs import replace
from numpy.typing import NDArray

RUNS = 5


def tiny_golden(manifest: Manifest, seed: int = 0) -> Golden:
    """Five runs of each encoder and contexts of one, four and seven tokens."""
    random = np.random.default_rng(seed)
    encoders = {modality.name: _runs(modality, random) for modality in manifest.modalities}
    return Golden(encoders, tuple(_context(manifest, count, random) for count in (1, 4, 7)))


def golden_manifest(*modalities: Modality, golden: bytes | None = None) -> tuple[Manifest, dict[str, bytes]]:
    """A tiny manifest that names golden arrays, by default the right ones, and its files."""
    manifest = tiny_manifest(*modalities)
    data = golden or pack(tiny_golden(manifest))
    named = replace(manifest, golden=describe_stored(GOLDEN, data))
    return named, tiny_files(manifest) | {GOLDEN: data}


def write_golden_bundle(path: Path, *modalities: Modality, golden: bytes | None = None) -> Path:
    """A tiny valid bundle with golden arrays."""
    manifest, files = golden_manifest(*modalities, golden=golden)
    write_bundle(path, manifest, files)
    return path


def _runs(modality: Modality, random: np.random.Generator) -> tuple[NDArray[Any], NDArray[np.float32]]:
    shape = (RUNS, *modality.encoder.input.shape)
    if modality.kind == "video":
        pictures = random.integers(0, 256, shape, np.uint8)
        means = pictures.reshape(RUNS, -1, 3).mean(axis=1) / 255
        return pictures, (means @ matrix(3, TOKEN_DIM)).astype(np.float32)[:, None]
    samples = random.normal(size=shape).astype(np.float32)
    count, channels = shape[2:]
    # A streaming encoder with a state takes the mean over some hops, the first of them zeros.
    hops = 1 + sum(state.shape[1] for state in modality.encoder.states) // count
    padded = np.concatenate([np.zeros((hops - 1, count, channels)), samples[:, 0]])
    means = np.stack([padded[run : run + hops].reshape(-1, channels).mean(axis=0) for run in range(RUNS)])
    return samples, (means @ matrix(channels, TOKEN_DIM)).astype(np.float32)[:, None]


def _context(manifest: Manifest, count: int, random: np.random.Generator) -> Context:
    tokens = random.normal(size=(1, count, TOKEN_DIM)).astype(np.float32)
    modality = random.integers(0, len(manifest.modalities), (1, count)).astype(np.int32)
    age = random.integers(0, manifest.context_hops, (1, count)).astype(np.int32)
    embedding = (tokens / (1 + age[..., None]) + modality[..., None] / 10).mean(axis=1)
    logits = embedding @ matrix(TOKEN_DIM, len(LABELS))
    return Context(tokens, modality, age, logits.astype(np.float32), embedding.astype(np.float32))


def arrays_of(data: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of a file as numpy reads them."""
    with np.load(io.BytesIO(data)) as loaded:
        return dict(loaded)


def saved(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """A file as numpy writes it."""
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()
