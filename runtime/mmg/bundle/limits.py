"""How much a manifest may ask for: its lists are checked at once, and its sizes multiply to nothing beyond memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmg.bundle.manifest import CarriedState, Encoder, Manifest, Modality

MOST_NUMBERS = 1 << 25
"""In all inputs, states and tokens of the context together: 128 MiB as float32, on boards of 512 MiB."""
MOST_MODALITIES = 32
MOST_LABELS = 4096
"""Every decision scores each of them."""
MOST_SUBSETS = 4096
"""All those of twelve modalities."""
MOST_CHANNELS = MOST_STATES = 256
MOST_AXES = 8
LARGEST_SIZE = 1 << 31
"""Of one axis of a tensor."""
LARGEST_WIDTH = 1 << 16
"""Of a token and of an embedding."""
LARGEST_COUNT = 1 << 62
"""Of parameters, multiply-accumulates and measured samples: any float holds it."""
LONGEST_NAME = 200
LONGEST_PATH = 255
MOST_WORDS = 256
"""Of the tools, of what was trained with, and of the files that a subset was measured with."""
MOST_POINTS = 256
"""Of the curve of a gate."""
MOST_ARRAY_BYTES = 256 << 20
"""Of a file of golden arrays or of statistics, which is held whole."""

Problem = tuple[str, str]
"""The field, and what is wrong with it."""


def excess_in(manifest: Manifest) -> Problem | None:
    """The first field that asks for too much, None where none does. All else about it may still be wrong."""
    return next(_excesses(manifest), None)


def _excesses(manifest: Manifest) -> Iterator[Problem]:
    yield from _too_long("labels", len(manifest.labels), MOST_LABELS)
    yield from _too_long("modalities", len(manifest.modalities), MOST_MODALITIES)
    yield from _too_long("subsets", len(manifest.subsets), MOST_SUBSETS)
    texts = [("name", manifest.name), ("version", manifest.version), *(("labels", one) for one in manifest.labels)]
    fusion = manifest.fusion
    texts += [("fusion", name) for name in (fusion.tokens, fusion.modality, fusion.age, fusion.present)]
    texts += [("fusion", name) for name in (fusion.logits, fusion.embedding)]
    for field, text in texts:
        yield from _too_long(field, len(text), LONGEST_NAME, "characters")
    if manifest.gate:
        yield from _too_long("gate.curve", len(manifest.gate.curve), MOST_POINTS)
        for point in manifest.gate.curve:
            yield from _too_long("gate.curve", len(point.policy), LONGEST_NAME, "characters")
            yield from _too_long("gate.curve", len(point.awake), MOST_MODALITIES)
    for index, modality in enumerate(manifest.modalities):
        yield from _in_modality(modality, f"modalities[{index}]")
    for index, subset in enumerate(manifest.subsets):
        field = f"subsets[{index}]"
        yield from _too_long(f"{field}.modalities", len(subset.modalities), MOST_MODALITIES)
        yield from _too_long(f"{field}.variants", len(subset.variants), MOST_WORDS)
        for name in (*subset.modalities, *subset.variants):
            yield from _too_long(field, len(name), LONGEST_NAME, "characters")
        yield from _no_count(f"{field}.samples", subset.samples)
    for field, words in (("tools", manifest.provenance.tools), ("training", manifest.provenance.training)):
        yield from _too_long(f"provenance.{field}", len(words), MOST_WORDS)
    for field, count in (("parameters", fusion.parameters), ("macs", fusion.macs)):
        yield from _no_count(f"fusion.{field}", count)
    for field, width in (("token_dim", fusion.token_dim), ("embedding_dim", fusion.embedding_dim)):
        if width > LARGEST_WIDTH:
            yield f"fusion.{field}", f"must be at most {LARGEST_WIDTH}"
    for file in manifest.stored():
        yield from _too_long("files", len(file.path), LONGEST_PATH, "characters")
    for field, stored in (("golden", manifest.golden), ("unknown", manifest.unknown)):
        if stored and stored.bytes > MOST_ARRAY_BYTES:
            yield f"{field}.bytes", f"must be at most {MOST_ARRAY_BYTES >> 20} MiB"


def _in_modality(modality: Modality, field: str) -> Iterator[Problem]:
    encoder = modality.encoder
    yield from _too_long(f"{field}.channels", len(modality.channels), MOST_CHANNELS)
    yield from _too_long(f"{field}.encoder.states", len(encoder.states), MOST_STATES)
    for channel in modality.channels:
        yield from _too_long(f"{field}.channels", max(len(channel.name), len(channel.unit)), LONGEST_NAME, "characters")
    for count in ("parameters", "macs"):
        yield from _no_count(f"{field}.encoder.{count}", getattr(encoder, count))
    for place, name, shape in _tensors(encoder):
        yield from _too_long(f"{field}.encoder.{place}", len(name), LONGEST_NAME, "characters")
        yield from _too_long(f"{field}.encoder.{place}.shape", len(shape), MOST_AXES, "axes")
        if any(abs(size) > LARGEST_SIZE for size in shape):
            yield f"{field}.encoder.{place}.shape", f"{list(map(_short, shape))} has a size beyond {LARGEST_SIZE}"


def _tensors(encoder: Encoder) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    yield "input", encoder.input.name, encoder.input.shape
    yield "output", encoder.output.name, encoder.output.shape
    for index, state in enumerate(encoder.states):
        for name in (state.input, state.output):
            yield f"states[{index}]", name, state.shape


def _too_long(field: str, count: int, most: int, what: str = "entries") -> Iterator[Problem]:
    if count > most:
        yield field, f"has {count} {what}, and {most} can be"


def _no_count(field: str, count: int | None) -> Iterator[Problem]:
    if count is not None and not 0 <= count <= LARGEST_COUNT:
        yield field, "is no count of anything"


def _short(size: int) -> int | str:
    return size if abs(size) <= LARGEST_SIZE else "..."


def memory_problem(manifest: Manifest) -> Problem | None:
    """The field with which a checked manifest asks for more memory than there is, None where it does not."""
    total = 0
    for index, modality in enumerate(manifest.modalities):
        field, encoder = f"modalities[{index}].encoder", modality.encoder
        seconds = encoder.window_s if encoder.kind == "window" else manifest.hop_s
        tokens = encoder.tokens_per_hop * manifest.fusion.token_dim * manifest.context_hops
        for place, numbers in (
            ("input", modality.samples_in(seconds) * math.prod(modality.sample_shape)),
            ("states", sum(_size(state) for state in encoder.states)),
            ("tokens_per_hop", tokens),
        ):
            total += numbers
            if total > MOST_NUMBERS:
                needed = f"needs {numbers:,} numbers at once"
                return f"{field}.{place}", f"{needed}, and the whole bundle may need {MOST_NUMBERS:,}"
    return None


def _size(state: CarriedState) -> int:
    return math.prod(state.shape)
