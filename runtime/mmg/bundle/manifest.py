"""The manifest of a bundle, schema ``mmg-bundle/1``: what a model needs, states and promises."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import msgspec
from mmg_device_profiles.gate import GatePolicy
from mmg_device_profiles.gate import problem_in as gate_problem_in

from mmg.bundle.limits import excess_in, memory_problem
from mmg.bundle.unknown_fit import UnknownFit, problem_in
from mmg.types import UNKNOWN

SCHEMA = "mmg-bundle/1"
HOP_TOLERANCE = 1e-6
LONGEST_PROBLEM = 300
"""Characters: a stranger's key may be of a million."""


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Every part is immutable and refuses keys it does not know."""


class Channel(_Part, frozen=True):
    """One column of a sensor's samples. An optional channel is filled with zeros where the sensor lacks it."""

    name: str
    unit: str
    optional: bool = False


class Tensor(_Part, frozen=True):
    """A named input or output with a fixed shape."""

    name: str
    shape: tuple[int, ...]
    dtype: Literal["float32", "uint8"] = "float32"


class CarriedState(_Part, frozen=True):
    """What a streaming encoder remembers between hops: read from ``input``, written to ``output``, zeros at first."""

    input: str
    output: str
    shape: tuple[int, ...]


Backend = Literal["onnx", "litert"]
Precision = Literal["fp32", "int8"]


class StoredFile(_Part, frozen=True):
    """A file of the bundle: where it lies, and what it must hash to."""

    path: str
    bytes: int
    sha256: str


class ModelFile(StoredFile, frozen=True):
    """One model file, for one backend at one precision.

    error: the largest difference of any output from the golden one, where it was exported.
    """

    backend: Backend
    precision: Precision
    error: float | None = None


class Encoder(_Part, frozen=True):
    """Turns one modality's samples into ``tokens_per_hop`` tokens at each hop.

    A streaming encoder sees each hop once and carries ``states``; a window encoder sees the last ``window_s``
    seconds at every hop and carries nothing. macs: multiply-accumulates of one run, which is one hop's.
    """

    kind: Literal["streaming", "window"]
    tokens_per_hop: int
    input: Tensor
    output: Tensor
    files: tuple[ModelFile, ...]
    states: tuple[CarriedState, ...] = ()
    window_s: float = 0.0
    parameters: int | None = None
    macs: int | None = None


class Modality(_Part, frozen=True):
    """One sensor as the model wants it.

    kind: ``signal`` is resampled by its time stamps (IMU, PPG), ``audio`` by its sample count, ``video`` is frames.
    rate_hz: samples a second, or frames a second.
    frame: ``(height, width)`` in pixels, for video only.
    """

    name: str
    kind: Literal["signal", "audio", "video"]
    rate_hz: float
    channels: tuple[Channel, ...]
    encoder: Encoder
    frame: tuple[int, int] | None = None

    def samples_in(self, seconds: float) -> int:
        """How many samples this modality has in a span of whole samples."""
        return round(self.rate_hz * seconds)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of one sample: ``(C,)``, or ``(H, W, 3)`` for video."""
        return (*self.frame, 3) if self.frame else (len(self.channels),)


class Fusion(_Part, frozen=True):
    """One transformer over the tokens that are present.

    tokens: input ``(1, N, token_dim)`` float32; modality and age: inputs ``(1, N)`` int32, N free. ``modality`` is the
    index in the manifest's list, ``age`` the hops since the token was made (0 is the newest).
    present: input ``(1, N)`` float32 of a file whose N is not free, as LiteRT's: 1 for a token, 0 for what fills up.
    logits: output ``(1, labels)``; embedding: output ``(1, embedding_dim)``.
    macs: multiply-accumulates of one run with the whole context of every modality.
    """

    token_dim: int
    embedding_dim: int
    files: tuple[ModelFile, ...]
    tokens: str = "tokens"
    modality: str = "modality"
    age: str = "age"
    present: str = "present"
    logits: str = "logits"
    embedding: str = "embedding"
    parameters: int | None = None
    macs: int | None = None


class Subset(_Part, frozen=True):
    """What was measured with exactly these modalities present, and the temperature that calibrates them.

    variants: the accuracy that the files of one backend and precision had, ``onnx-int8`` for example.
    unknown: how these modalities tell what is none of the labels, where they can.
    """

    modalities: tuple[str, ...]
    temperature: float
    accuracy: float | None = None
    ece: float | None = None
    samples: int | None = None
    variants: dict[str, float] = {}
    unknown: UnknownFit | None = None


class GatePoint(_Part, frozen=True):
    """What one policy gave on people who are in no training.

    policy: its name, such as ``confidence 0.5``. awake: of each sensor that may sleep, the part of the time that it was
    awake, 0 to 1. accuracy: of all hops.
    """

    policy: str
    awake: dict[str, float]
    accuracy: float


class Gate(_Part, frozen=True):
    """Which sensors watch and what wakes the others, with what it and others gave: ``mmg-eval --gate``."""

    policy: GatePolicy
    chosen: GatePoint | None = None
    curve: tuple[GatePoint, ...] = ()


class Provenance(_Part, frozen=True):
    """Where the bundle comes from."""

    exporter: str
    created: str
    tools: dict[str, str]
    training: dict[str, str]
    data: str
    licence: str


class Manifest(_Part, frozen=True):
    """The whole of ``manifest.json``."""

    schema: Literal["mmg-bundle/1"]
    name: str
    version: str
    labels: tuple[str, ...]
    hop_s: float
    context_hops: int
    modalities: tuple[Modality, ...]
    fusion: Fusion
    subsets: tuple[Subset, ...]
    provenance: Provenance
    golden: StoredFile | None = None
    """Inputs and what the trained model gave for them, to test the files with where they run: ``mmg.bundle.golden``."""
    gate: Gate | None = None
    unknown: StoredFile | None = None
    """Statistics of what is known and of other life, which the subsets' fits are of: ``mmg.bundle.unknown``."""

    @property
    def hop_ns(self) -> int:
        """The hop in nanoseconds."""
        return round(self.hop_s * 1e9)

    def modality(self, name: str) -> Modality:
        """The modality of that name; KeyError where the bundle has none."""
        for modality in self.modalities:
            if modality.name == name:
                return modality
        raise KeyError(name)

    def index(self, name: str) -> int:
        """Its position in the list, which is its number in the fusion's embedding."""
        return [modality.name for modality in self.modalities].index(name)

    def temperature(self, names: tuple[str, ...]) -> float:
        """The temperature that calibrates this subset, 1 where none was measured."""
        for subset in self.subsets:
            if set(subset.modalities) == set(names):
                return subset.temperature
        return 1.0

    def files(self, names: tuple[str, ...] | None = None) -> tuple[ModelFile, ...]:
        """The files of the named modalities (all of them by default) and of the fusion."""
        chosen = [m for m in self.modalities if names is None or m.name in names]
        return tuple(itertools.chain.from_iterable(m.encoder.files for m in chosen)) + self.fusion.files

    def stored(self) -> tuple[StoredFile, ...]:
        """Every file that the manifest names."""
        return (*self.files(), *(file for file in (self.golden, self.unknown) if file is not None))


class ManifestError(ValueError):
    """A manifest that decodes but cannot be: ``field`` names the place."""

    def __init__(self, field: str, problem: str) -> None:
        problem = problem if len(problem) <= LONGEST_PROBLEM else f"{problem[:LONGEST_PROBLEM]}..."
        self.field, self.problem = field, problem
        super().__init__(f"{field}: {problem}")


def decode(data: bytes) -> Manifest:
    """Parse and check a manifest. Raises ManifestError naming the field."""
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.ValidationError as error:
        text, _, where = str(error).partition(" - at `")
        raise ManifestError(where.rstrip("`").removeprefix("$").lstrip(".") or "manifest.json", text) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ManifestError("manifest.json", f"not JSON: {error}") from error
    check(manifest)
    return manifest


def encode(manifest: Manifest) -> bytes:
    """The manifest as indented JSON, checked."""
    check(manifest)
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def check(manifest: Manifest) -> None:
    """Everything that the types alone cannot say. Raises ManifestError naming the field."""
    if excess := excess_in(manifest):
        raise ManifestError(*excess)
    _require(len(manifest.labels) >= 2, "labels", "a decision needs at least two labels")
    _require(len(set(manifest.labels)) == len(manifest.labels), "labels", "a label appears twice")
    texts = [("name", manifest.name), ("version", manifest.version)]
    for field, text in [*texts, *(("labels", label) for label in manifest.labels)]:
        _require(text.isprintable() and text.strip() != "", field, f"{text!r} is not a printable name")
    _require(_finite(manifest.hop_s) and 0.01 <= manifest.hop_s <= 60, "hop_s", "must be 0.01 to 60 seconds")
    _require(1 <= manifest.context_hops <= 1000, "context_hops", "must be 1 to 1000")
    _require(len(manifest.modalities) >= 1, "modalities", "is empty")
    names = [modality.name for modality in manifest.modalities]
    _require(len(set(names)) == len(names), "modalities", "a modality appears twice")
    _require(manifest.fusion.token_dim >= 1, "fusion.token_dim", "must be at least 1")
    _require(manifest.fusion.embedding_dim >= 1, "fusion.embedding_dim", "must be at least 1")
    for index, modality in enumerate(manifest.modalities):
        _check_modality(manifest, modality, f"modalities[{index}]")
    _check_files(manifest.fusion.files, "fusion.files")
    _check_tensor_names(manifest)
    if manifest.golden:
        _check_stored(manifest.golden, "golden")
    _check_unknown(manifest)
    if manifest.gate:
        _check_gate(manifest.gate, names)
    paths = [file.path for file in manifest.stored()]
    for path, count in Counter(paths).items():
        _require(count == 1, "files", f"{path} is named twice")
    for index, subset in enumerate(manifest.subsets):
        field = f"subsets[{index}]"
        _require(bool(subset.modalities), f"{field}.modalities", "is empty")
        _require(_distinct(subset.modalities), f"{field}.modalities", "names one twice")
        for name in subset.modalities:
            _require(name in names, f"{field}.modalities", f"the bundle has no {name}")
        _require(
            _finite(subset.temperature) and 0.01 <= subset.temperature <= 100,
            f"{field}.temperature",
            "must be 0.01 to 100",
        )
        if subset.unknown and (problem := problem_in(subset.unknown, subset.modalities)):
            raise ManifestError(f"{field}.unknown.{problem[0]}", problem[1])
    if excess := memory_problem(manifest):
        raise ManifestError(*excess)


def _check_tensor_names(manifest: Manifest) -> None:
    fusion = manifest.fusion
    entries = (fusion.tokens, fusion.modality, fusion.age, fusion.present)
    _require(_distinct(entries), "fusion", "two of its inputs have one name")
    _require(_distinct((fusion.logits, fusion.embedding)), "fusion", "its two outputs have one name")
    for index, modality in enumerate(manifest.modalities):
        encoder, field = modality.encoder, f"modalities[{index}].encoder.states"
        inputs = (encoder.input.name, *(state.input for state in encoder.states))
        outputs = (encoder.output.name, *(state.output for state in encoder.states))
        _require(_distinct(inputs), field, "two inputs of the encoder have one name")
        _require(_distinct(outputs), field, "two outputs of the encoder have one name")


def _check_unknown(manifest: Manifest) -> None:
    has_fit = any(subset.unknown is not None for subset in manifest.subsets)
    if manifest.unknown is None:
        _require(not has_fit, "unknown", "is missing: a subset has a fit of its statistics")
        return
    _check_stored(manifest.unknown, "unknown")
    _require(has_fit, "unknown", "is of no use: no subset has a fit of its statistics")
    _require(UNKNOWN not in manifest.labels, "labels", f"{UNKNOWN!r} is what is none of them in this bundle")


def _check_gate(gate: Gate, names: Sequence[str]) -> None:
    if problem := gate_problem_in(gate.policy, names):
        raise ManifestError(f"gate.policy.{problem[0]}", problem[1])
    for name in (*gate.policy.watch, *gate.policy.wake):
        _require(name in names, "gate.policy", f"the bundle has no {name}")
    points = {f"gate.curve[{index}]": point for index, point in enumerate(gate.curve)}
    for field, point in (points | ({"gate.chosen": gate.chosen} if gate.chosen else {})).items():
        figures = (point.accuracy, *point.awake.values())
        _require(all(0 <= one <= 1 for one in figures), field, "has a share that is not 0 to 1")
        for name in point.awake:
            _require(name in names, f"{field}.awake", f"the bundle has no {name}")


def _check_modality(manifest: Manifest, modality: Modality, field: str) -> None:
    encoder, hop_s = modality.encoder, manifest.hop_s
    _require(re.fullmatch(r"[a-z][a-z0-9_]{0,31}", modality.name) is not None, f"{field}.name", "use a-z, 0-9 and _")
    _require(_finite(modality.rate_hz) and 0.1 <= modality.rate_hz <= 1e6, f"{field}.rate_hz", "must be 0.1 to 1e6")
    _require(
        _whole(modality.rate_hz * hop_s), f"{field}.rate_hz", f"a hop of {hop_s} s is not a whole number of samples"
    )
    _require(
        (modality.kind == "video") == (modality.frame is not None), f"{field}.frame", "is for video, and video only"
    )
    _require(modality.kind == "video" or len(modality.channels) >= 1, f"{field}.channels", "is empty")
    if modality.frame:
        _require(all(1 <= side <= 4096 for side in modality.frame), f"{field}.frame", "must be 1 to 4096 pixels")
    seconds = hop_s
    if encoder.kind == "window":
        _require(
            _finite(encoder.window_s) and hop_s <= encoder.window_s <= 3600 and _whole(encoder.window_s / hop_s),
            f"{field}.encoder.window_s",
            f"must be a whole number of hops of {hop_s} s, an hour at most",
        )
        _require(not encoder.states, f"{field}.encoder.states", "a window encoder carries none")
        seconds = encoder.window_s
    else:
        _require(encoder.window_s == 0, f"{field}.encoder.window_s", "is for window encoders")
    wanted = (modality.samples_in(seconds), *modality.sample_shape)
    _require(
        _squeezed(encoder.input.shape) == _squeezed(wanted),
        f"{field}.encoder.input.shape",
        f"{list(encoder.input.shape)} does not hold {list(wanted)}",
    )
    tokens = (encoder.tokens_per_hop, manifest.fusion.token_dim)
    _require(encoder.tokens_per_hop >= 1, f"{field}.encoder.tokens_per_hop", "must be at least 1")
    _require(
        _squeezed(encoder.output.shape) == _squeezed(tokens),
        f"{field}.encoder.output.shape",
        f"{list(encoder.output.shape)} does not hold {list(tokens)} tokens",
    )
    for index, state in enumerate(encoder.states):
        sizes_fit = all(size >= 1 for size in state.shape) and math.prod(state.shape) <= 10_000_000
        _require(sizes_fit, f"{field}.encoder.states[{index}].shape", "must be 1 to 10 million numbers")
    _check_files(encoder.files, f"{field}.encoder.files")


def _check_files(files: tuple[ModelFile, ...], field: str) -> None:
    _require(bool(files), field, "is empty")
    kinds = [(file.backend, file.precision) for file in files]
    _require(len(set(kinds)) == len(kinds), field, "one backend and precision appears twice")
    for index, file in enumerate(files):
        _check_stored(file, f"{field}[{index}]")


def _check_stored(file: StoredFile, field: str) -> None:
    _require(safe_path(file.path), f"{field}.path", f"{file.path!r} must stay inside the bundle")
    _require(1 <= file.bytes <= 1 << 31, f"{field}.bytes", "must be 1 byte to 2 GiB")
    _require(re.fullmatch(r"[0-9a-f]{64}", file.sha256) is not None, f"{field}.sha256", "is not a SHA-256")


def safe_path(path: str) -> bool:
    """Relative, forward slashes, no parent, no hidden or empty part: the same on every system."""
    return all(re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*", part) for part in path.split("/"))


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _whole(value: float) -> bool:
    return round(value) >= 1 and abs(value - round(value)) < HOP_TOLERANCE


def _distinct(names: Sequence[str]) -> bool:
    return len(set(names)) == len(names)


def _finite(value: float) -> bool:
    return math.isfinite(value)


def _require(condition: bool, field: str, problem: str) -> None:
    if not condition:
        raise ManifestError(field, problem)
