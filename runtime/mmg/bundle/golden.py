"""Golden inputs and outputs, stored in the bundle as ``golden.npz``: what the trained model gave where it was exported.

For each modality ``M/samples`` ``(K, *input shape)`` and ``M/tokens`` ``(K, tokens_per_hop, token_dim)``: K runs, one
after another, through which a streaming encoder carries its states; a window encoder sees a whole window at each. For
the fusion contexts of several sizes, ``fusion/0/tokens`` and so on: the fields of ``Context``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmg.backends import Session
from mmg.bounded_zip import ZIP_ERRORS
from mmg.bundle.arrays import Arrays, read_arrays, take, write_arrays
from mmg.bundle.manifest import Manifest, Modality
from mmg.engine.encoder import Encoder
from mmg.errors import BundleError, ShapeMismatch

GOLDEN = "golden.npz"


@dataclass(frozen=True, slots=True)
class Context:
    """One run of the fusion.

    tokens: ``(1, N, token_dim)`` float32; modality, age: ``(1, N)`` int32; logits: ``(1, labels)`` float32;
    embedding: ``(1, embedding_dim)`` float32.
    """

    tokens: NDArray[np.float32]
    modality: NDArray[np.int32]
    age: NDArray[np.int32]
    logits: NDArray[np.float32]
    embedding: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Golden:
    """encoders: samples and tokens of each modality; contexts: what the fusion was given, and gave."""

    encoders: dict[str, tuple[NDArray[Any], NDArray[np.float32]]]
    contexts: tuple[Context, ...]


def pack(golden: Golden) -> bytes:
    """The bytes of ``golden.npz``, the same for the same arrays."""
    arrays: Arrays = {}
    for name, (samples, tokens) in golden.encoders.items():
        arrays |= {f"{name}/samples": samples, f"{name}/tokens": tokens}
    for number, context in enumerate(golden.contexts):
        arrays |= {f"fusion/{number}/{field.name}": getattr(context, field.name) for field in fields(Context)}
    return write_arrays(arrays)


def unpack(data: bytes, manifest: Manifest, path: str) -> Golden:
    """What ``pack`` gave. path: the bundle, for the error.

    Raises BundleError for what is compressed, pickled, missing, there but unasked for, or of another shape or type
    than the manifest's.
    """
    name = manifest.golden.path if manifest.golden else GOLDEN
    try:
        arrays = read_arrays(data)
        encoders = {modality.name: _take_runs(arrays, manifest, modality) for modality in manifest.modalities}
        contexts = [_take_context(arrays, manifest, 0)]
        while f"fusion/{len(contexts)}/tokens" in arrays:
            contexts.append(_take_context(arrays, manifest, len(contexts)))
        if arrays:
            raise ValueError(f"holds {min(arrays)!r}, which does not belong to this bundle")
    except ZIP_ERRORS as error:
        raise BundleError(path, name, str(error)) from error
    return Golden(encoders, tuple(contexts))


def encoder_error(modality: Modality, manifest: Manifest, session: Session, golden: Golden) -> float:
    """The largest difference of any token from the golden one, infinite where one is not finite.

    Runs the modality's golden hops through the engine's encoder. Raises ModelError, ShapeMismatch.
    """
    encoder, largest = Encoder(modality, manifest, session), 0.0
    samples, tokens = golden.encoders[modality.name]
    window = modality.encoder.kind == "window"
    hops = round(modality.encoder.window_s / manifest.hop_s) if window else 1
    runs = samples.reshape(len(samples), hops, modality.samples_in(manifest.hop_s), *modality.sample_shape)
    for run, expected in zip(runs, tokens, strict=True):
        if window:
            encoder.reset()  # or it would run at every hop, on what is left of the window before too
        *_, got = [encoder.encode(hop) for hop in run]
        assert got is not None  # a window is full after its last hop
        largest = max(largest, difference(got, expected))
    return largest


def fusion_error(manifest: Manifest, session: Session, golden: Golden) -> float:
    """The largest difference of any logit or embedding from the golden one, infinite where one is not finite.

    Raises ModelError, ShapeMismatch.
    """
    spec, largest = manifest.fusion, 0.0
    for context in golden.contexts:
        feeds: Arrays = {spec.tokens: context.tokens, spec.modality: context.modality, spec.age: context.age}
        if spec.present in session.inputs:
            feeds[spec.present] = np.ones(context.age.shape, np.float32)
        outputs = session.run([spec.logits, spec.embedding], feeds)
        for name, got, expected in zip(
            (spec.logits, spec.embedding), outputs, (context.logits, context.embedding), strict=True
        ):
            if got.shape != expected.shape:
                raise ShapeMismatch(f"fusion, output {name}", list(expected.shape), list(got.shape))
            largest = max(largest, difference(got, expected))
    return largest


def difference(got: NDArray[Any], expected: NDArray[Any]) -> float:
    """The largest difference, infinite where a value is not finite or the shapes differ."""
    if got.shape != expected.shape or not (np.isfinite(got).all() and np.isfinite(expected).all()):
        return math.inf
    return float(np.abs(got.astype(np.float64) - expected).max())


def _take_runs(arrays: Arrays, manifest: Manifest, modality: Modality) -> tuple[NDArray[Any], NDArray[np.float32]]:
    encoder, name = modality.encoder, modality.name
    samples = take(arrays, f"{name}/samples", (None, *encoder.input.shape), encoder.input.dtype)
    shape = (len(samples), encoder.tokens_per_hop, manifest.fusion.token_dim)
    return samples, take(arrays, f"{name}/tokens", shape, "float32")


def _take_context(arrays: Arrays, manifest: Manifest, number: int) -> Context:
    spec, place = manifest.fusion, f"fusion/{number}"
    tokens = take(arrays, f"{place}/tokens", (1, None, spec.token_dim), "float32")
    count = tokens.shape[1]
    indices = {}
    for name, end in (("modality", len(manifest.modalities)), ("age", manifest.context_hops)):
        indices[name] = take(arrays, f"{place}/{name}", (1, count), "int32")
        # They choose rows of a table inside the model, and not every library looks that the row is there.
        if indices[name].min() < 0 or indices[name].max() >= end:
            raise ValueError(f"'{place}/{name}' must be 0 to {end - 1}")
    logits = take(arrays, f"{place}/logits", (1, len(manifest.labels)), "float32")
    embedding = take(arrays, f"{place}/embedding", (1, spec.embedding_dim), "float32")
    return Context(tokens, indices["modality"], indices["age"], logits, embedding)
