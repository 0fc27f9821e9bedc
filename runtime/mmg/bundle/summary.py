"""A bundle on one screen: what its manifest says, for a person and for a program."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from mmg.bundle.manifest import Encoder, Manifest, Modality, ModelFile
from mmg.bundle.reader import Bundle
from mmg.counts import count_of
from mmg.printable import encodable

WIDTH = 80
INDENT = 11


def summarize(bundle: Bundle) -> list[str]:
    """Lines of 80 columns at most, save for a long name. Raises BundleError where the signature cannot be read."""
    manifest, signature = bundle.manifest, bundle.read_signature()
    signed = f"by key {signature.signer.fingerprint}, not checked here" if signature else "no"
    context_s = manifest.hop_s * manifest.context_hops
    lines = [
        f"{manifest.name} {manifest.version}",
        *_field("size", f"{_size(total_bytes(manifest))} in {count_of(len(manifest.stored()), 'file')}"),
        *_field("signed", signed),
        *_field("labels", f"{len(manifest.labels)}: {', '.join(manifest.labels)}"),
        *_field("decides", f"every {manifest.hop_s:g} s over {context_s:g} s, {manifest.context_hops} hops"),
    ]
    for modality in manifest.modalities:
        lines += ["", *_field(modality.name, _sensor(modality)), *_encoder(modality.encoder, manifest.hop_s)]
    return [*lines, "", *_fusion(manifest), "", *_measured(manifest), "", *_origin(manifest)]


def describe(bundle: Bundle) -> dict[str, Any]:
    """The same for JSON: the manifest, and what follows from it. Raises BundleError as ``summarize``."""
    manifest, signature = bundle.manifest, bundle.read_signature()
    costs = {modality.name: modality.encoder.macs for modality in manifest.modalities} | {
        "fusion": manifest.fusion.macs
    }
    return {
        "path": encodable(str(bundle.path)),
        "bytes": total_bytes(manifest),
        "signed_by": signature.signer.fingerprint if signature else None,
        "macs_per_s": {name: macs / manifest.hop_s for name, macs in costs.items() if macs is not None},
        "manifest": manifest,
    }


def total_bytes(manifest: Manifest) -> int:
    """The size of all files that the manifest names."""
    return sum(file.bytes for file in manifest.stored())


def _sensor(modality: Modality) -> str:
    if modality.frame:
        height, width = modality.frame
        return f"{modality.kind}, {modality.rate_hz:g} frames/s of {width} x {height}"
    groups = [
        f"{', '.join(channel.name for channel in channels)} in {unit}{' (optional)' * optional}"
        for (unit, optional), channels in groupby(modality.channels, lambda one: (one.unit, one.optional))
    ]
    return f"{modality.kind}, {modality.rate_hz:g} Hz: {'; '.join(groups)}"


def _encoder(encoder: Encoder, hop_s: float) -> Iterator[str]:
    window = f" over {encoder.window_s:g} s" if encoder.kind == "window" else ""
    tokens = f"{count_of(encoder.tokens_per_hop, 'token')} a hop"
    yield from _field("", f"{encoder.kind} encoder{window}, {tokens}{_cost(encoder.parameters, encoder.macs, hop_s)}")
    yield from _files(encoder.files)


def _fusion(manifest: Manifest) -> Iterator[str]:
    fusion = manifest.fusion
    sizes = f"tokens of {fusion.token_dim}, embedding of {fusion.embedding_dim}"
    yield from _field("fusion", sizes + _cost(fusion.parameters, fusion.macs, manifest.hop_s))
    yield from _files(fusion.files)


def _cost(parameters: int | None, macs: int | None, hop_s: float) -> str:
    """Every part runs once a hop."""
    texts = [f"{parameters:,} parameters"] if parameters is not None else []
    if macs is not None:
        texts.append(f"{macs / hop_s / 1e6:.3g} M multiply-accumulates/s")
    return "".join(f", {text}" for text in texts)


def _files(files: tuple[ModelFile, ...]) -> Iterator[str]:
    for file in files:
        yield f"{'':{INDENT}}{file.backend:<7}{file.precision:<6}{_size(file.bytes):>9}  {file.path}"


def _measured(manifest: Manifest) -> Iterator[str]:
    if not manifest.subsets:
        yield from _field("measured", "nothing")
        return
    tells = manifest.unknown is not None
    rows = [["measured", "accuracy", "ECE", "temperature", "decisions", *(["unknown"] if tells else [])]]
    for subset in manifest.subsets:
        figures = (subset.accuracy, subset.ece, subset.temperature)
        samples = "-" if subset.samples is None else f"{subset.samples}"
        can = ["told" if subset.unknown else "-"] if tells else []
        rows.append([" + ".join(subset.modalities), *map(_figure, figures), samples, *can])
    yield from _aligned(rows)
    variants = sorted({name for subset in manifest.subsets for name in subset.variants})
    if variants:
        yield ""
        rows = [["accuracy of", *variants]]
        for subset in manifest.subsets:
            rows.append([" + ".join(subset.modalities), *(_figure(subset.variants.get(name)) for name in variants)])
        yield from _aligned(rows)


def _aligned(rows: list[list[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *cells in rows:
        padded = (f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))
        yield f"{first:<{widths[0]}}  {'  '.join(padded)}"


def _origin(manifest: Manifest) -> Iterator[str]:
    made, golden = manifest.provenance, manifest.golden
    yield from _field("golden", f"{golden.path}, {_size(golden.bytes)}" if golden else "none")
    if manifest.unknown:
        yield from _field("unknown", f"{manifest.unknown.path}, {_size(manifest.unknown.bytes)}")
    tools = _pairs(made.tools.items())
    by = ", ".join(filter(None, (made.created, made.exporter)))
    yield from _field("made", by + (f" with {tools}" if tools else ""))
    yield from _field("trained", _pairs(made.training.items()) or "-")
    yield from _field("data", made.data or "-")
    yield from _field("licence", made.licence or "-")


def _pairs(items: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{key} {value}" for key, value in items)


def _field(name: str, text: str) -> list[str]:
    """The text under one another in a column, and its name before it."""
    lines = textwrap.wrap(text, WIDTH - INDENT, break_long_words=False, break_on_hyphens=False) or [""]
    return [f"{name if not index else '':<{INDENT - 1}} {line}" for index, line in enumerate(lines)]


def _size(size: int) -> str:
    return f"{size / 1e6:.2f} MB" if size >= 1e6 else f"{size / 1e3:.1f} KB"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
