"""``export_bundle``: anyone's encoders and fusion to a verified bundle, step by step."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from mmg.atomic_write import real_path
from mmg.bundle import Bundle, Manifest, write_bundle
from mmg.bundle.golden import Context, Golden
from mmg.bundle.manifest import Backend, Precision
from mmg.bundle.reader import CARD
from mmg.cli.reporting import Reporter
from mmg.errors import ConfigError
from torch import nn

from mmg_export import report
from mmg_export.convert import convert_all, halve_all, quantise_all
from mmg_export.describe import Cost, MadeFile, costs_of
from mmg_export.fork_server import ForkServer
from mmg_export.litert_file import strip_litert
from mmg_export.parts import EMBEDDING, FUSION, LOGITS, Part, encoder_part, fusion_part, token_counts
from mmg_export.probe import probe_encoder, probe_filled, probe_fusion, require_evaluation
from mmg_export.proof import Evaluate, Made, finish, prove, streaming_error
from mmg_export.request import Request, require
from mmg_export.spec import Spec
from mmg_export.streams import RECORDED_HOPS, Array, Stream, cut_runs, follow, random_runs
from mmg_export.trace import Tracer

RANDOM_HOPS = 1000
# Of samples in the bundle, for each sensor: golden hops are few, so that a bundle stays small.
GOLDEN_BYTES, GOLDEN_HOPS = 70_000, 6
LIMIT = 0.01


def export_bundle(
    out: str | Path,
    *,
    encoders: Mapping[str, nn.Module],
    fusion: nn.Module,
    spec: Spec,
    backends: Sequence[Backend] = ("onnx",),
    precisions: Sequence[Precision] = ("fp32",),
    half: bool = False,
    recorded: Mapping[str, Array] | None = None,
    evaluate: Evaluate | None = None,
    limit: float = LIMIT,
    hops: int = RANDOM_HOPS,
    card: Callable[[Manifest], str] | None = None,
    progress: Reporter = lambda _: None,
) -> report.Report:
    """Convert each module, prove that nothing changed, and write the bundle ``out`` (a folder, or a ``.mmg`` file) with
    ``NAME.report.json`` and ``NAME.report.md`` beside it.

    encoders: a module for each sensor of ``spec``, in evaluation mode; ``Sensor`` says how it is called. fusion: called
        as ``module(tokens, modality, age)``, (1, N, D) float32 and twice (1, N) int32, N free, returns logits
        (1, labels) and embedding (1, E); for LiteRT also with a fourth, ``present`` (1, N) bool, False for tokens that
        only fill up.
    precisions: ``int8`` besides fp32 needs ``recorded`` for ONNX, to calibrate with.
    half: store the weights of fp32 as float16, half the size, once the fp32 files were proven as they are. What that
        changed is measured as it is of int8; weights with which a twentieth of the decisions are others are refused.
    recorded: a recording of each sensor, (T, C) float32 or frames (T, height, width, 3) uint8, all of the same time.
    evaluate: called with the bundle, a backend and a precision, gives the accuracy of each subset of the sensors. An
        int8 variant that loses more than ``limit`` of it is refused, and the report says so; without ``evaluate`` one
        that decides otherwise on more than a twentieth of the recorded hops.
    hops: hops of random input that are compared. card: makes the text of MODEL_CARD.md.

    Raises ConfigError for what cannot be asked, ModelError for a module that cannot be exported, and for a file that
    differs or that a device would not run.
    """
    if not isinstance(encoders, Mapping | nn.ModuleDict):
        raise ConfigError("encoders is a mapping of sensors' names to modules, as in {'imu': module}")
    recordings = {} if recorded is None else recorded
    asked = Request(real_path(Path(out)), backends, precisions, half, recordings, limit, hops, progress)
    require(asked, tuple(encoders), spec)
    if evaluate is not None and not callable(evaluate):
        raise ConfigError("evaluate must be a function of (bundle, backend, precision)")
    parts, free, costs = _check(encoders, fusion, spec, asked)
    streams = _follow_streams(parts, free, spec, asked)
    streaming = {name: streaming_error(part, spec, streams, progress) for name, part in parts.items()}
    with ForkServer() as server:
        files = _make_files(parts, fusion, free, spec, asked, streams[-1], server)
        made = Made(spec, parts, costs, files, tuple(streams), _golden(streams[0], spec), streaming)
        if half:
            prove(made, progress)
            made = replace(made, files=_halve(files, asked, server), half=True)
    made = replace(made, files=tuple(_strip(file) for file in made.files))
    manifest, contents, told = finish(made, evaluate, limit, progress)
    progress(f"write {asked.out}")
    if card is not None:
        contents[CARD] = card(manifest).encode()
    _try_models(asked, manifest, contents)
    try:
        write_bundle(asked.out, manifest, contents)
    except OSError as error:
        raise ConfigError(f"{asked.out}: cannot be written: {error.strerror}") from error
    for path in report.write(told, asked.out):
        progress(f"write {path}")
    return told


def _try_models(asked: Request, manifest: Manifest, contents: Mapping[str, bytes]) -> None:
    """As a device does with a bundle that nobody vouches for. Raises ModelError for what it would not run."""
    with tempfile.TemporaryDirectory(prefix="mmg-export-") as folder:
        write_bundle(Path(folder) / "bundle", manifest, contents)
        with Bundle.open(Path(folder) / "bundle", tell=asked.progress) as bundle:
            bundle.path = asked.out  # as messages are to call it
            bundle.require_tried(manifest.files())


def _check(
    encoders: Mapping[str, nn.Module], fusion: nn.Module, spec: Spec, asked: Request
) -> tuple[dict[str, Part], Part, dict[str, Cost]]:
    """The encoders' parts, the fusion's, and what each costs. Raises ModelError."""
    for name, module in {**encoders, FUSION: fusion}.items():
        if not isinstance(module, nn.Module):
            raise ConfigError(f"{name}: must be a torch.nn.Module, made with its arguments; it is {module!r:.60}")
        require_evaluation(name, module)
    asked.progress(f"check {', '.join(encoders)} and {FUSION}")
    parts = {name: encoder_part(name, encoders[name], spec) for name in spec.sensors}
    free = fusion_part(fusion, spec)
    for part in parts.values():
        probe_encoder(part, spec, asked.progress)
    probe_fusion(free, spec)
    if "litert" in asked.backends:
        probe_filled(free, {count: fusion_part(fusion, spec, count=count) for count in token_counts(spec)}, spec)
    return parts, free, costs_of(parts, fusion, spec)


def _follow_streams(parts: Mapping[str, Part], fusion: Part, spec: Spec, asked: Request) -> list[Stream]:
    """Random hops, then recorded ones where there are any."""
    asked.progress(f"run the modules over {asked.hops} random hops")
    runs = {name: random_runs(name, spec, asked.hops, seed) for seed, name in enumerate(spec.sensors)}
    streams = [follow(parts, fusion, spec, runs, asked.progress)]
    recorded = {name: cut_runs(name, spec, samples)[:RECORDED_HOPS] for name, samples in asked.recorded.items()}
    if recorded:
        asked.progress(f"run the modules over {max(map(len, recorded.values()))} recorded hops")
        recorded = {name: recorded[name] for name in spec.sensors}
        streams.append(follow(parts, fusion, spec, recorded, asked.progress, keep_feeds="int8" in asked.precisions))
    return streams


def _make_files(
    parts: Mapping[str, Part],
    fusion: nn.Module,
    free: Part,
    spec: Spec,
    asked: Request,
    stream: Stream,
    server: ForkServer,
) -> tuple[MadeFile, ...]:
    """Every file of every backend and precision. stream: what int8 is calibrated with."""
    tracer, files = Tracer(), list[MadeFile]()
    for backend in asked.backends:
        files += _convert(backend, parts, fusion, free, spec, asked.progress, tracer, server)
    if "int8" in asked.precisions:
        everything = {**parts, FUSION: free}
        for backend in asked.backends:
            files += _quantise(backend, files, everything, stream, asked.progress, server)
    return tuple(files)


def _convert(
    backend: Backend,
    parts: Mapping[str, Part],
    module: nn.Module,
    free: Part,
    spec: Spec,
    progress: Reporter,
    tracer: Tracer,
    server: ForkServer,
) -> list[MadeFile]:
    progress(f"convert {', '.join(parts)} and {FUSION} to {backend}")
    forms: dict[str, dict[str, Part]] = {FUSION: {"fuse": free}}
    if backend == "litert":
        forms[FUSION] = {f"fuse_{count}": fusion_part(module, spec, count=count) for count in token_counts(spec)}
    # The fusion takes the longest.
    forms |= {name: {"encode": part} for name, part in parts.items()}
    made = convert_all(backend, forms, progress, tracer, server)
    return [MadeFile(name, backend, "fp32", data) for name, data in made.items()]


def _quantise(
    backend: Backend,
    files: Sequence[MadeFile],
    parts: Mapping[str, Part],
    stream: Stream,
    progress: Reporter,
    server: ForkServer,
) -> list[MadeFile]:
    feeds: Mapping[str, Sequence[Mapping[str, Array]]] = dict.fromkeys(parts, ())
    if backend == "onnx":
        progress(f"quantise for {backend}, calibrated with {len(stream.contexts)} hops")
        feeds = {**stream.feeds, FUSION: stream.contexts}
    else:
        progress(f"quantise for {backend}")
    data = {file.part: file.data for file in files if file.backend == backend}
    fixed = {name: [buffer.numpy() for buffer in part.module.buffers()] for name, part in parts.items()}
    made = quantise_all(backend, data, feeds, fixed, progress, server)
    return [MadeFile(name, backend, "int8", file) for name, file in made.items()]


def _halve(files: Sequence[MadeFile], asked: Request, server: ForkServer) -> tuple[MadeFile, ...]:
    """The same files in the same order, those of fp32 with their weights as float16."""
    halved: dict[tuple[str, str], bytes] = {}
    for backend in asked.backends:
        asked.progress(f"store weights as float16 for {backend}")
        whole = {file.part: file.data for file in files if (file.backend, file.precision) == (backend, "fp32")}
        halved |= {(backend, name): data for name, data in halve_all(backend, whole, asked.progress, server).items()}
    return tuple(
        replace(file, data=halved[file.backend, file.part]) if file.precision == "fp32" else file for file in files
    )


def _strip(file: MadeFile) -> MadeFile:
    return replace(file, data=strip_litert(file.data)) if file.backend == "litert" else file


def _golden(stream: Stream, spec: Spec) -> Golden:
    """The first hops of the random stream, never of a recording: a bundle travels. Contexts of its beginning, which are
    not full yet, and of its end, each subset once."""
    encoders = {}
    for name, runs in stream.runs.items():
        count = max(1, min(GOLDEN_HOPS, len(runs), GOLDEN_BYTES // runs[0].nbytes))
        encoders[name] = (np.stack(runs[:count]), np.concatenate(stream.tokens[name][:count]))
    subsets, total = (1 << len(spec.sensors)) - 1, len(stream.contexts)
    chosen = sorted({*range(min(subsets, total)), *range(max(total - subsets, 0), total)})
    contexts = tuple(
        Context(**stream.contexts[at], logits=stream.decided[at][LOGITS], embedding=stream.decided[at][EMBEDDING])
        for at in chosen
    )
    return Golden(encoders, contexts)
