"""What was exported, measured: each file against its module, each variant on labelled data; what fails is left out."""

from __future__ import annotations

import math
import platform
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
from mmg.backends import open_session
from mmg.bundle import Bundle, Manifest, write_bundle
from mmg.bundle.golden import GOLDEN, Golden, encoder_error, fusion_error, pack
from mmg.bundle.manifest import Subset
from mmg.bundle.unknown import UNKNOWN_FILE
from mmg.bundle.unknown import pack as pack_unknown
from mmg.cli.reporting import Reporter
from mmg.errors import ConfigError, ModelError

from mmg_export import parity
from mmg_export.describe import Cost, MadeFile, describe
from mmg_export.parts import FUSION, Part
from mmg_export.report import FileFigures, Report, VariantFigures
from mmg_export.spec import Spec
from mmg_export.streams import Stream

Evaluate = Callable[[Bundle, str, str], Mapping[tuple[str, ...], float]]
Variant = tuple[str, str]
# The share of decisions that int8 must share with fp32, where no accuracy is measured.
AGREEMENT = 0.95
TOOLS = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "litert": ("litert-torch", "litert-converter", "ai-edge-litert", "ai-edge-quantizer"),
}


@dataclass(frozen=True)
class Made:
    """Everything that was exported, and what the modules gave. streams: of random hops, and of recorded ones.
    streaming: by encoder, how far hops one by one differ from the same in one go; None where that is not compared.
    half: whether the weights of the fp32 files are stored as float16."""

    spec: Spec
    parts: Mapping[str, Part]
    costs: Mapping[str, Cost]
    files: tuple[MadeFile, ...]
    streams: tuple[Stream, ...]
    golden: Golden
    streaming: Mapping[str, float | None]
    half: bool = False

    @property
    def variants(self) -> tuple[Variant, ...]:
        """Each backend and precision."""
        return tuple(dict.fromkeys((file.backend, file.precision) for file in self.files))

    def of(self, variant: Variant) -> list[MadeFile]:
        """The files of one backend and precision."""
        return [file for file in self.files if (file.backend, file.precision) == variant]


@dataclass(frozen=True)
class Measured:
    """One variant's errors, over random hops and recorded ones, and its accuracy."""

    errors: tuple[parity.Errors, ...]
    accuracy: Mapping[tuple[str, ...], float]
    refused: str = ""


def finish(
    made: Made, evaluate: Evaluate | None, limit: float, progress: Reporter
) -> tuple[Manifest, dict[str, bytes], Report]:
    """The manifest, the files that go into the bundle by path, and the report. Raises ModelError where an fp32 file
    differs from its module by more than the backend's tolerance, or decides otherwise where its weights are float16."""
    measured = {variant: _measure(made, variant, progress) for variant in made.variants}
    for variant, one in measured.items():
        if made.half:
            _require_decisions(variant, one)
        else:
            _require_same(variant, one)
    made = _with_golden_errors(made)
    measured = _refuse_odd(measured, evaluate is not None, progress)
    if evaluate is not None:
        measured = _evaluate(made, measured, evaluate, limit, progress)
    kept = replace(made, files=tuple(f for f in made.files if not measured[f.backend, f.precision].refused))
    manifest = _manifest(kept, measured)
    contents = _contents(kept)
    return manifest, contents, _report(made, measured)


def prove(made: Made, progress: Reporter) -> None:
    """Raises ModelError where an fp32 file differs from its module by more than the backend's tolerance."""
    for variant in made.variants:
        if variant[1] == "fp32":
            _require_same(variant, _measure(made, variant, progress))


def streaming_error(part: Part, spec: Spec, streams: Sequence[Stream], progress: Reporter) -> float | None:
    """How far the module's tokens of hops one by one are from those of the same hops in one go, in any of the streams:
    what was recorded may be silent, or one hop. None where that cannot be compared. Raises ModelError where its states
    do not carry what the next hop needs."""
    sensor = spec.sensors[part.name]
    errors = [parity.whole_error(part, spec, stream) for stream in streams]
    error = max((one for one in errors if one is not None), default=None)
    hops = min(parity.WHOLE, max(len(stream.runs[part.name]) for stream in streams))
    if error is None and sensor.states:
        why = "takes one hop at a time" if hops > 1 else "there is but one hop"
        progress(f"{part.name}: {why}, so streaming is not compared with offline")
    if error is None:
        return None
    progress(f"{part.name}: {hops} hops one by one against the same in one go: {error:.1e}")
    if not error <= parity.TOLERANCES["onnx"]:
        raise ModelError(
            f"{part.name}: hops one by one give other tokens than the same hops in one go, by {error:.1e}: its states "
            "do not carry what the next hop needs"
        )
    return error


def _measure(made: Made, variant: Variant, progress: Reporter) -> Measured:
    backend, precision = variant
    sessions = {file.part: open_session(backend, file.data, file.path) for file in made.of(variant)}
    found = []
    for what, stream in zip(("random", "recorded"), made.streams, strict=False):
        errors = parity.measure(sessions, made.spec, stream, progress)
        progress(
            f"{backend} {precision}: {errors.hops} {what} hops, largest error of a logit {errors.logits:.1e}, "
            f"{errors.agreement:.1%} the same decision"
        )
        found.append(errors)
    return Measured(tuple(found), {})


def _require_same(variant: Variant, measured: Measured) -> None:
    """Raises ModelError where fp32 is further from the modules than the backend's tolerance."""
    for errors in measured.errors if variant[1] == "fp32" else ():
        for name, error in {**errors.tokens, FUSION: max(errors.logits, errors.embedding)}.items():
            parity.require(f"{name}, {variant[0]}", error, parity.TOLERANCES[variant[0]])


def _require_decisions(variant: Variant, measured: Measured) -> None:
    """Raises ModelError where fp32 with its weights as float16 decides otherwise too often."""
    agreement = measured.errors[-1].agreement
    if variant[1] == "fp32" and not agreement >= AGREEMENT:
        raise ModelError(
            f"{variant[0]}: with weights as float16 only {agreement:.1%} of the decisions are the same, below "
            f"{AGREEMENT:.0%}: leave out --half"
        )


def _with_golden_errors(made: Made) -> Made:
    """The files with the error that each has on the golden inputs."""
    manifest = _manifest(made, {})
    files = []
    for file in made.files:
        session = open_session(file.backend, file.data, file.path)
        if file.part == FUSION:
            error = fusion_error(manifest, session, made.golden)
        else:
            error = encoder_error(manifest.modality(file.part), manifest, session, made.golden)
        if file.precision == "fp32" and not made.half:
            parity.require(f"{file.part}, {file.backend}, golden runs", error, parity.TOLERANCES[file.backend])
        files.append(replace(file, error=float(f"{error:.2e}")))
    return replace(made, files=tuple(files))


def _evaluate(
    made: Made, measured: Mapping[Variant, Measured], evaluate: Evaluate, limit: float, progress: Reporter
) -> dict[Variant, Measured]:
    """Each variant's accuracy; int8 that loses more than the limit against its own backend in fp32 is refused."""
    found: dict[Variant, Measured] = {}
    with tempfile.TemporaryDirectory(prefix="mmg-export-") as folder:
        contents = _contents(made)
        write_bundle(Path(folder) / "all", _manifest(made, {}), contents)
        with Bundle.open(Path(folder) / "all") as bundle:
            for variant, one in measured.items():
                if one.refused:
                    found[variant] = one
                    continue
                progress(f"{' '.join(variant)}: accuracy of each subset by the engine")
                found[variant] = replace(one, accuracy=_accuracy(evaluate(bundle, *variant), made.spec))
                if variant[1] == "fp32" and not all(map(math.isfinite, found[variant].accuracy.values())):
                    raise ConfigError(f"evaluate gave an accuracy that is not a number for {' '.join(variant)}")
    for variant, one in found.items():
        whole = found[variant[0], "fp32"].accuracy
        if not one.refused and set(one.accuracy) != set(whole):
            raise ConfigError(f"evaluate gave other subsets for {' '.join(variant)} than for fp32")
        for names, accuracy in one.accuracy.items():
            loss = whole[names] - accuracy
            if not loss <= limit + 1e-9 and variant[1] != "fp32":  # a loss that is not a number is none that is allowed
                found[variant] = _refuse(
                    found[variant], variant, f"loses {loss:.3f} on {'+'.join(names)}, above {limit:g}", progress
                )
                break
    return found


def _accuracy(given: object, spec: Spec) -> dict[tuple[str, ...], float]:
    """What ``evaluate`` gave, if it is what it should be. Raises ConfigError."""
    known = list(spec.sensors)
    try:
        # float: of numpy's numbers and of torch's.
        found = {names: float(value) for names, value in given.items()}  # type: ignore[attr-defined]
        is_right = all(
            isinstance(names, tuple) and names and set(names) <= set(known) and len(set(names)) == len(names)
            for names in found
        ) and not any(value < 0 or value > 1 for value in found.values())
    except (AttributeError, TypeError, ValueError):
        is_right = False
    if not is_right:
        raise ConfigError(f"evaluate must give a mapping such as {{('{known[0]}',): 0.9}}, not {given!r:.80}")
    return found


def _refuse_odd(measured: Mapping[Variant, Measured], evaluated: bool, progress: Reporter) -> dict[Variant, Measured]:
    """int8 that is not finite is refused, and where no accuracy is measured one that decides otherwise too often."""
    found = dict(measured)
    for variant, one in measured.items():
        agreement = one.errors[-1].agreement
        if variant[1] == "fp32":
            continue
        if not all(math.isfinite(value) for e in one.errors for value in (*e.tokens.values(), e.logits, e.embedding)):
            found[variant] = _refuse(one, variant, "gives values that are not finite", progress)
        elif not evaluated and agreement < AGREEMENT:
            problem = f"decides like fp32 on only {agreement:.1%} of the hops, below {AGREEMENT:.0%}"
            found[variant] = _refuse(one, variant, problem, progress)
    return found


def _refuse(one: Measured, variant: Variant, problem: str, progress: Reporter) -> Measured:
    progress(f"{' '.join(variant)} is left out: {problem}")
    return replace(one, refused=problem)


def _contents(made: Made) -> dict[str, bytes]:
    """Every file of the bundle but the manifest."""
    contents = {file.path: file.data for file in made.files} | {GOLDEN: pack(made.golden)}
    return contents | ({UNKNOWN_FILE: pack_unknown(made.spec.unknown)} if made.spec.unknown else {})


def _manifest(made: Made, measured: Mapping[Variant, Measured]) -> Manifest:
    kept = {f"{backend}-{precision}": one for (backend, precision), one in measured.items() if not one.refused}
    spec = replace(
        made.spec,
        subsets=tuple(
            msgspec.structs.replace(
                subset,
                variants={
                    name: round(one.accuracy[subset.modalities], 4)
                    for name, one in kept.items()
                    if subset.modalities in one.accuracy
                },
            )
            for subset in _subsets(made.spec, measured)
        ),
    )
    return describe(spec, made.files, made.costs, pack(made.golden), _tools(made.files), half=made.half)


def _subsets(spec: Spec, measured: Mapping[Variant, Measured]) -> Sequence[Subset]:
    """Those of the spec, and those that were measured here only, uncalibrated."""
    known = {subset.modalities for subset in spec.subsets}
    found = dict.fromkeys(names for one in measured.values() for names in one.accuracy)
    return (*spec.subsets, *(Subset(modalities=names, temperature=1.0) for names in found if names not in known))


def _tools(files: Sequence[MadeFile]) -> dict[str, str]:
    found = {}
    for name in (name for backend in dict.fromkeys(file.backend for file in files) for name in TOOLS[backend]):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _report(made: Made, measured: Mapping[Variant, Measured]) -> Report:
    spec = made.spec
    return Report(
        bundle=spec.name,
        version=spec.version,
        machine=f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        tools=_tools(made.files),
        parameters={name: cost.parameters for name, cost in made.costs.items()},
        macs={name: cost.macs for name, cost in made.costs.items()},
        streaming=dict(made.streaming),
        half=made.half,
        files=tuple(
            FileFigures(
                part=file.part,
                backend=file.backend,
                precision=file.precision,
                bytes=len(file.data),
                run_us=round(errors[-1].run_us[file.part], 1),
                error=max(one.logits if file.part == FUSION else one.tokens[file.part] for one in errors),
            )
            for file in made.files
            for errors in (measured[file.backend, file.precision].errors,)
        ),
        variants=tuple(_variant(made, variant, one) for variant, one in measured.items()),
    )


def _variant(made: Made, variant: Variant, one: Measured) -> VariantFigures:
    random, *recorded = one.errors
    return VariantFigures(
        backend=variant[0],
        precision=variant[1],
        bytes=sum(len(file.data) for file in made.of(variant)),
        random_error=random.logits,
        random_hops=random.hops,
        recorded_error=recorded[0].logits if recorded else None,
        recorded_hops=recorded[0].hops if recorded else 0,
        agreement=recorded[0].agreement if recorded else None,
        accuracy={"+".join(names): accuracy for names, accuracy in one.accuracy.items()},
        refused=one.refused,
    )
