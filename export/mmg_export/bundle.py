"""``export_bundle``: anyone's encoders and fusion to a verified bundle, step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from mmg.bundle import Manifest, write_bundle
from mmg.bundle.golden import Context, Golden
from mmg.bundle.manifest import Backend, Precision
from mmg.bundle.reader import CARD
from mmg.errors import ConfigError
from torch import nn

from mmg_export import report
from mmg_export.convert import Say, convert_all, quantise_all
from mmg_export.describe import MadeFile, costs_of
from mmg_export.litert_file import strip_litert
from mmg_export.parts import EMBEDDING, FUSION, LOGITS, Part, encoder_part, fusion_part, token_counts
from mmg_export.probe import probe_encoder, probe_fusion, require_evaluation
from mmg_export.proof import Evaluate, Made, finish
from mmg_export.spec import Spec
from mmg_export.streams import RECORDED_HOPS, Array, Stream, cut_runs, follow, random_runs

RANDOM_HOPS = 1000
# Of samples in the bundle, for each sensor: golden hops are few, so that a bundle stays small.
GOLDEN_BYTES, GOLDEN_HOPS = 150_000, 6
LIMIT = 0.01


@dataclass(frozen=True)
class Request:
    """What is asked for; see ``export_bundle``."""

    out: Path
    backends: Sequence[Backend]
    precisions: Sequence[Precision]
    recorded: Mapping[str, Array]
    hops: int
    say: Say


def export_bundle(
    out: str | Path,
    *,
    encoders: Mapping[str, nn.Module],
    fusion: nn.Module,
    spec: Spec,
    backends: Sequence[Backend] = ("onnx",),
    precisions: Sequence[Precision] = ("fp32",),
    recorded: Mapping[str, Array] | None = None,
    evaluate: Evaluate | None = None,
    limit: float = LIMIT,
    hops: int = RANDOM_HOPS,
    card: Callable[[Manifest], str] | None = None,
    say: Say = lambda _: None,
) -> report.Report:
    """Convert each module, prove that nothing changed, and write the bundle ``out`` (a folder, or a ``.mmg`` file) with
    ``NAME.report.json`` and ``NAME.report.md`` beside it.

    encoders: a module for each sensor of ``spec``, in evaluation mode; ``Sensor`` says how it is called. fusion: called
        as ``module(tokens, modality, age)``, (1, N, D) float32 and twice (1, N) int32, N free, returns logits
        (1, labels) and embedding (1, E); for LiteRT also with a fourth, ``present`` (1, N) bool, False for tokens that
        only fill up.
    precisions: ``int8`` besides fp32 needs ``recorded``, to calibrate with.
    recorded: a recording of each sensor, (T, C) float32 or frames (T, height, width, 3) uint8, all of the same time.
    evaluate: called with the bundle, a backend and a precision, gives the accuracy of each subset of the sensors. An
        int8 variant that loses more than ``limit`` of it is refused, and the report says so.
    hops: hops of random input that are compared. card: makes the text of MODEL_CARD.md.

    Raises ConfigError for what cannot be asked, ModelError for a module that cannot be exported or a file that differs.
    """
    asked = Request(Path(out), backends, precisions, recorded or {}, hops, say)
    _require_request(asked, encoders, spec)
    for name, module in {**encoders, FUSION: fusion}.items():
        require_evaluation(name, module)
    say(f"check {', '.join(encoders)} and fusion")
    parts = {name: encoder_part(name, encoders[name], spec) for name in spec.sensors}
    free = fusion_part(fusion, spec)
    with torch.no_grad():
        for part in parts.values():
            probe_encoder(part, spec)
        probe_fusion(free, spec)
        costs = costs_of(parts, fusion, spec)
    streams = _follow_streams(parts, free, spec, asked)
    files = [file for backend in backends for file in _convert(backend, parts, fusion, free, spec, say)]
    if "int8" in precisions:
        everything = {**parts, FUSION: free}
        files += [file for backend in backends for file in _quantise(backend, files, everything, streams[-1], say)]
    if "litert" in backends:
        files = [replace(file, data=strip_litert(file.data)) if file.backend == "litert" else file for file in files]
    made = Made(spec, parts, costs, tuple(files), tuple(streams), _golden(streams[-1], spec))
    manifest, contents, told = finish(made, evaluate, limit, say)
    say(f"write {asked.out}")
    if card is not None:
        contents[CARD] = card(manifest).encode()
    write_bundle(asked.out, manifest, contents)
    for path in report.write(told, asked.out):
        say(f"write {path}")
    return told


def _require_request(asked: Request, encoders: Mapping[str, nn.Module], spec: Spec) -> None:
    for given, allowed in ((asked.backends, get_args(Backend)), (asked.precisions, get_args(Precision))):
        for one in given:
            if one not in allowed:
                raise ConfigError(f"{one!r} is not one of {', '.join(allowed)}")
    if not asked.backends or "fp32" not in asked.precisions:
        raise ConfigError("fp32 of one backend at least is exported: int8 is measured against it")
    if set(encoders) != set(spec.sensors):
        raise ConfigError(f"the spec has the sensors {', '.join(spec.sensors)}, the encoders are {', '.join(encoders)}")
    if "litert" in asked.backends and find_spec("litert_torch") is None:
        raise ConfigError("litert needs litert-torch: pip install 'mmg[export-litert]', or export --backends onnx")
    if not asked.out.absolute().parent.is_dir():
        raise ConfigError(f"{asked.out}: there is no folder {asked.out.parent}")
    lacking = [name for name in spec.sensors if name not in asked.recorded]
    if "int8" in asked.precisions and lacking:
        raise ConfigError(f"int8 is calibrated with recordings: there is none of {', '.join(lacking)}")


def _follow_streams(parts: Mapping[str, Part], fusion: Part, spec: Spec, asked: Request) -> list[Stream]:
    """Random hops, then recorded ones where there are any."""
    asked.say(f"run the modules over {asked.hops} random hops")
    runs = {name: random_runs(name, spec, asked.hops, seed) for seed, name in enumerate(spec.sensors)}
    streams = [follow(parts, fusion, spec, runs)]
    recorded = {
        name: cut_runs(name, spec, asked.recorded[name])[:RECORDED_HOPS]
        for name in spec.sensors
        if name in asked.recorded
    }
    if set(recorded) == set(spec.sensors) and all(recorded.values()):
        asked.say(f"run the modules over {max(map(len, recorded.values()))} recorded hops")
        streams.append(follow(parts, fusion, spec, recorded))
    return streams


def _convert(
    backend: Backend, parts: Mapping[str, Part], module: nn.Module, free: Part, spec: Spec, say: Say
) -> list[MadeFile]:
    say(f"convert {', '.join(parts)} and {FUSION} to {backend}")
    forms: dict[str, dict[str, Part]] = {FUSION: {"fuse": free}}
    if backend == "litert":
        forms[FUSION] = {f"fuse_{count}": fusion_part(module, spec, count=count) for count in token_counts(spec)}
    # The fusion takes the longest.
    forms |= {name: {"encode": part} for name, part in parts.items()}
    return [MadeFile(name, backend, "fp32", data) for name, data in convert_all(backend, forms, say).items()]


def _quantise(
    backend: Backend, files: Sequence[MadeFile], parts: Mapping[str, Part], stream: Stream, say: Say
) -> list[MadeFile]:
    say(f"quantise for {backend}, calibrated with {len(stream.contexts)} hops")
    data = {file.part: file.data for file in files if file.backend == backend}
    feeds = {**stream.feeds, FUSION: stream.contexts}
    fixed = {name: [buffer.numpy() for buffer in part.module.buffers()] for name, part in parts.items()}
    made = quantise_all(backend, data, feeds, fixed, say)
    return [MadeFile(name, backend, "int8", file) for name, file in made.items()]


def _golden(stream: Stream, spec: Spec) -> Golden:
    """The first hops of the stream; contexts as many as there are subsets, the last ones, as they are the fullest."""
    encoders = {}
    for name, runs in stream.runs.items():
        count = max(1, min(GOLDEN_HOPS, len(runs), GOLDEN_BYTES // runs[0].nbytes))
        encoders[name] = (np.stack(runs[:count]), np.concatenate(stream.tokens[name][:count]))
    last = slice(-((1 << len(spec.sensors)) - 1), None)
    contexts = tuple(
        Context(**feeds, logits=made[LOGITS], embedding=made[EMBEDDING])
        for feeds, made in zip(stream.contexts[last], stream.decided[last], strict=True)
    )
    return Golden(encoders, contexts)
