"""The manifest: strict, and every complaint names its field."""

from __future__ import annotations

import contextlib
import copy
import json
from pathlib import Path
from typing import Any

import pytest
from fakes import tiny_manifest, write_tiny_bundle
from fuzzing import times
from hypothesis import given, settings
from hypothesis import strategies as st
from mmg.bundle import Bundle
from mmg.bundle.manifest import ManifestError, decode, encode
from mmg.errors import BundleError

VALID: dict[str, Any] = json.loads(encode(tiny_manifest()))
DELETE = object()

Steps = tuple[str | int, ...]


def altered(steps: Steps, value: object) -> bytes:
    """The valid manifest with one place set to another value, or taken out."""
    document = copy.deepcopy(VALID)
    place: Any = document
    for step in steps[:-1]:
        place = place[step]
    if value is DELETE:
        del place[steps[-1]]
    else:
        place[steps[-1]] = value
    return json.dumps(document).encode()


def complaint(data: bytes) -> ManifestError:
    with pytest.raises(ManifestError) as caught:
        decode(data)
    return caught.value


IMU: Steps = ("modalities", 0)
AUDIO: Steps = ("modalities", 1)
VIDEO: Steps = ("modalities", 2)
FILE: Steps = (*IMU, "encoder", "files", 0)
LONE_FILE = VALID["fusion"]["files"][0]

SMALLEST: list[tuple[Steps, object]] = [
    (("labels",), ["still", "moving"]),
    (("context_hops",), 1),
    (("fusion", "embedding_dim"), 1),
]


@pytest.mark.parametrize(("steps", "value"), SMALLEST)
def test_the_least_that_a_bundle_may_have_is_taken(steps: Steps, value: object) -> None:
    decode(altered(steps, value))


def test_a_token_may_be_a_single_number() -> None:
    document = copy.deepcopy(VALID)
    document["fusion"]["token_dim"] = 1
    for modality in document["modalities"]:
        modality["encoder"]["output"]["shape"][-1] = 1
    assert decode(json.dumps(document).encode()).fusion.token_dim == 1


WRONG_TYPES: list[tuple[Steps, object, str]] = [
    (("schema",), "mmg-bundle/2", "schema"),
    (("schema",), 1, "schema"),
    (("name",), 7, "name"),
    (("labels",), "still", "labels"),
    (("labels", 1), None, "labels[1]"),
    (("hop_s",), "0.5", "hop_s"),
    (("hop_s",), None, "hop_s"),
    (("context_hops",), 4.5, "context_hops"),
    (("context_hops",), True, "context_hops"),
    (("modalities",), {}, "modalities"),
    ((*IMU, "kind"), "smell", "modalities[0].kind"),
    ((*IMU, "rate_hz"), [50], "modalities[0].rate_hz"),
    ((*IMU, "channels", 2), "az", "modalities[0].channels[2]"),
    ((*IMU, "encoder", "kind"), "batch", "modalities[0].encoder.kind"),
    ((*IMU, "encoder", "input", "dtype"), "float64", "modalities[0].encoder.input.dtype"),
    ((*IMU, "encoder", "input", "shape"), [1, 25.5, 6], "modalities[0].encoder.input.shape[1]"),
    ((*IMU, "encoder", "input", "shape"), ["N", 25, 6], "modalities[0].encoder.input.shape[0]"),
    ((*FILE, "backend"), "tensorrt", "modalities[0].encoder.files[0].backend"),
    ((*FILE, "precision"), "fp16", "modalities[0].encoder.files[0].precision"),
    ((*FILE, "bytes"), "many", "modalities[0].encoder.files[0].bytes"),
    ((*VIDEO, "frame"), [6], "modalities[2].frame"),
    ((*VIDEO, "frame"), [6, 8, 3], "modalities[2].frame"),
    (("fusion",), [], "fusion"),
    (("subsets", 0, "temperature"), "warm", "subsets[0].temperature"),
    (("provenance", "tools"), {"onnx": 1}, "provenance.tools[...]"),
]


@pytest.mark.parametrize(("steps", "value", "field"), WRONG_TYPES)
def test_a_wrong_type_names_its_field(steps: Steps, value: object, field: str) -> None:
    assert complaint(altered(steps, value)).field == field


KEYED_PARTS: list[tuple[Steps, str]] = [
    ((), "manifest.json"),
    (IMU, "modalities[0]"),
    ((*IMU, "channels", 0), "modalities[0].channels[0]"),
    ((*IMU, "encoder"), "modalities[0].encoder"),
    ((*IMU, "encoder", "input"), "modalities[0].encoder.input"),
    ((*IMU, "encoder", "states", 0), "modalities[0].encoder.states[0]"),
    (FILE, "modalities[0].encoder.files[0]"),
    (("fusion",), "fusion"),
    (("fusion", "files", 0), "fusion.files[0]"),
    (("subsets", 0), "subsets[0]"),
    (("provenance",), "provenance"),
]


@pytest.mark.parametrize(("steps", "field"), KEYED_PARTS)
def test_an_unknown_key_is_refused_at_every_depth(steps: Steps, field: str) -> None:
    error = complaint(altered((*steps, "surprise"), 1))
    assert error.field == field
    assert "`surprise`" in error.problem


MISSING: list[tuple[Steps, str]] = [
    *((((key,)), "manifest.json") for key in VALID),
    *(((*IMU, key), "modalities[0]") for key in ("name", "kind", "rate_hz", "channels", "encoder")),
    *(((*IMU, "encoder", key), "modalities[0].encoder") for key in ("kind", "tokens_per_hop", "input", "output")),
    *(((*FILE, key), "modalities[0].encoder.files[0]") for key in ("backend", "path", "bytes", "sha256")),
    *((("fusion", key), "fusion") for key in ("token_dim", "embedding_dim", "files")),
    (("subsets", 0, "temperature"), "subsets[0]"),
    *((("provenance", key), "provenance") for key in VALID["provenance"]),
]


@pytest.mark.parametrize(("steps", "field"), MISSING)
def test_a_missing_key_is_named(steps: Steps, field: str) -> None:
    error = complaint(altered(steps, DELETE))
    assert error.field == field
    assert f"`{steps[-1]}`" in error.problem


IMPOSSIBLE: list[tuple[Steps, object, str]] = [
    (("labels",), ["still"], "labels"),
    (("labels",), ["still", "walking", "still"], "labels"),
    (("labels",), ["still", ""], "labels"),
    (("labels",), ["still", "walking\nrunning"], "labels"),
    (("labels",), ["still", "\x1b[2J"], "labels"),
    (("hop_s",), 0, "hop_s"),
    (("hop_s",), -0.5, "hop_s"),
    (("hop_s",), 61, "hop_s"),
    (("hop_s",), 1e308, "hop_s"),
    (("hop_s",), 0.51, "modalities[0].rate_hz"),
    (("context_hops",), 0, "context_hops"),
    (("context_hops",), 10**30, "context_hops"),
    (("modalities",), [], "modalities"),
    (("modalities",), [VALID["modalities"][0]] * 2, "modalities"),
    ((*IMU, "name"), "IMU", "modalities[0].name"),
    ((*IMU, "name"), "../imu", "modalities[0].name"),
    ((*IMU, "name"), "", "modalities[0].name"),
    ((*IMU, "rate_hz"), 0, "modalities[0].rate_hz"),
    ((*IMU, "rate_hz"), -50, "modalities[0].rate_hz"),
    ((*IMU, "rate_hz"), 51, "modalities[0].rate_hz"),
    ((*IMU, "rate_hz"), 1e300, "modalities[0].rate_hz"),
    ((*IMU, "channels"), [], "modalities[0].channels"),
    ((*IMU, "frame"), [6, 8], "modalities[0].frame"),
    ((*VIDEO, "frame"), DELETE, "modalities[2].frame"),
    ((*VIDEO, "frame"), [0, 8], "modalities[2].frame"),
    ((*VIDEO, "frame"), [6, 5000], "modalities[2].frame"),
    ((*IMU, "encoder", "window_s"), 0.5, "modalities[0].encoder.window_s"),
    ((*IMU, "encoder", "kind"), "window", "modalities[0].encoder.window_s"),
    ((*IMU, "encoder", "tokens_per_hop"), 0, "modalities[0].encoder.tokens_per_hop"),
    ((*IMU, "encoder", "tokens_per_hop"), 2, "modalities[0].encoder.output.shape"),
    ((*IMU, "encoder", "input", "shape"), [1, 24, 6], "modalities[0].encoder.input.shape"),
    ((*IMU, "encoder", "input", "shape"), [1, 6, 25], "modalities[0].encoder.input.shape"),
    ((*IMU, "encoder", "input", "shape"), [1, -25, -6], "modalities[0].encoder.input.shape"),
    ((*IMU, "encoder", "input", "shape"), [10**30, 25, 6], "modalities[0].encoder.input.shape"),
    ((*IMU, "encoder", "input", "shape"), [], "modalities[0].encoder.input.shape"),
    ((*AUDIO, "encoder", "input", "shape"), [1, 4000, 2], "modalities[1].encoder.input.shape"),
    ((*VIDEO, "encoder", "input", "shape"), [1, 2, 3, 6, 8], "modalities[2].encoder.input.shape"),
    ((*IMU, "encoder", "output", "shape"), [1, 1, 5], "modalities[0].encoder.output.shape"),
    ((*IMU, "encoder", "states", 0, "shape"), [1, 0, 6], "modalities[0].encoder.states[0].shape"),
    ((*IMU, "encoder", "states", 0, "shape"), [-1, -75, 6], "modalities[0].encoder.states[0].shape"),
    ((*IMU, "encoder", "states", 0, "shape"), [10**30], "modalities[0].encoder.states[0].shape"),
    ((*IMU, "encoder", "files"), [], "modalities[0].encoder.files"),
    (("fusion", "token_dim"), 0, "fusion.token_dim"),
    (("fusion", "token_dim"), 5, "modalities[0].encoder.output.shape"),
    (("fusion", "embedding_dim"), 0, "fusion.embedding_dim"),
    (("fusion", "files"), [], "fusion.files"),
    (("fusion", "files"), [LONE_FILE, {**LONE_FILE, "path": "other.onnx"}], "fusion.files"),
    (("fusion", "files"), [LONE_FILE, {**LONE_FILE, "precision": "int8"}], "files"),
    ((*FILE, "path"), "fusion.onnx", "files"),
    ((*FILE, "bytes"), 0, "modalities[0].encoder.files[0].bytes"),
    ((*FILE, "bytes"), -1, "modalities[0].encoder.files[0].bytes"),
    ((*FILE, "bytes"), 10**30, "modalities[0].encoder.files[0].bytes"),
    (("subsets", 0, "modalities"), ["radar"], "subsets[0].modalities"),
    (("subsets", 0, "modalities"), [], "subsets[0].modalities"),
    (("subsets", 0, "temperature"), 0, "subsets[0].temperature"),
    (("subsets", 0, "temperature"), 1e300, "subsets[0].temperature"),
]


@pytest.mark.parametrize(("steps", "value", "field"), IMPOSSIBLE)
def test_what_cannot_be_names_its_field(steps: Steps, value: object, field: str) -> None:
    assert complaint(altered(steps, value)).field == field


def test_a_gate_s_curve_names_sensors_of_the_bundle() -> None:
    gate: dict[str, Any] = {"policy": {"watch": ["imu"], "wake": {"audio": {"confidence": 0.5}}}}
    curve = [{"policy": "a", "awake": {"audio": 0.5}, "accuracy": 0.9}]
    assert decode(altered(("gate",), gate | {"curve": curve})).gate
    curve.append({"policy": "b", "awake": {"nose": 0.5}, "accuracy": 0.9})
    assert complaint(altered(("gate",), gate | {"curve": curve})).field == "gate.curve[1].awake"
    assert complaint(altered(("gate",), gate | {"chosen": curve[1]})).field == "gate.chosen.awake"


@pytest.mark.parametrize("window_s", [0, 0.25, 0.75, -1, 1e300, 1.7e308])
def test_a_window_is_whole_hops(window_s: float) -> None:
    document = copy.deepcopy(VALID)
    document["modalities"][0]["encoder"] |= {"kind": "window", "window_s": window_s, "states": []}
    assert complaint(json.dumps(document).encode()).field == "modalities[0].encoder.window_s"


def test_a_window_encoder_carries_no_state() -> None:
    document = copy.deepcopy(VALID)
    document["modalities"][0]["encoder"] |= {"kind": "window", "window_s": 1.0}
    assert complaint(json.dumps(document).encode()).field == "modalities[0].encoder.states"


ESCAPES = [
    "../imu.onnx",
    "models/../../imu.onnx",
    "/etc/passwd",
    "C:\\imu.onnx",
    "models\\imu.onnx",
    ".hidden",
    "models/.hidden",
    "",
    "models//imu.onnx",
    "models/",
    ".",
    "imu\0.onnx",
    "imu.onnx\n",
    "~/imu.onnx",
    "ïmu.onnx",
]


@pytest.mark.parametrize("path", ESCAPES)
def test_a_path_stays_inside_the_bundle(path: str) -> None:
    error = complaint(altered((*FILE, "path"), path))
    assert error.field == "modalities[0].encoder.files[0].path"


@pytest.mark.parametrize("sha256", ["", "0" * 63, "0" * 65, "g" * 64, "A" * 64, "0" * 64 + "\n"])
def test_a_hash_is_64_hex_digits(sha256: str) -> None:
    error = complaint(altered((*FILE, "sha256"), sha256))
    assert error.field == "modalities[0].encoder.files[0].sha256"


NOT_MANIFESTS = {
    "empty": b"",
    "not JSON": b"PK\x03\x04",
    "cut JSON": encode(tiny_manifest())[:-20],
    "a list": b"[]",
    "null": b"null",
    "NaN": altered(("hop_s",), float("nan")),
    "Infinity": altered(("hop_s",), float("inf")),
    "a number without end": altered(("hop_s",), 0).replace(b'"hop_s": 0', b'"hop_s": 1e99999'),
    "an integer without end": altered(("context_hops",), 0).replace(b'_hops": 0', b'_hops": ' + b"9" * 10_000),
    "not UTF-8": altered(("name",), "NAME").replace(b"NAME", b"\xff\xfe"),
    "half a character": altered(("name",), "NAME").replace(b"NAME", b"\\ud800"),
    "nested too deep": b"[" * 500_000,
    "nested too deep inside": b'{"schema": ' * 500_000,
    "nested too deep in an unknown key": b'{"surprise": ' + b"[" * 500_000 + b"]" * 500_000 + b"}",
}


@pytest.mark.parametrize("data", NOT_MANIFESTS.values(), ids=NOT_MANIFESTS.keys())
def test_what_is_not_a_manifest_is_refused(data: bytes) -> None:
    assert complaint(data).problem


def test_the_error_of_an_opened_bundle_names_the_bundle_and_the_field(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "bundle")
    (bundle / "manifest.json").write_bytes(altered(("labels",), ["still", "still"]))
    with pytest.raises(BundleError) as caught:
        Bundle.open(bundle)
    assert (caught.value.path, caught.value.field) == (str(bundle), "labels")
    assert str(bundle) in str(caught.value)


def test_encoding_and_decoding_gives_the_same_manifest() -> None:
    manifest = tiny_manifest()
    assert decode(encode(manifest)) == manifest


def test_encoding_refuses_what_decoding_would_refuse() -> None:
    manifest = tiny_manifest()
    with pytest.raises(ManifestError, match="context_hops"):
        encode(type(manifest)(**{name: getattr(manifest, name) for name in VALID} | {"context_hops": 0}))


@settings(max_examples=times(300), deadline=None)
@given(st.data())
def test_a_damaged_manifest_is_accepted_or_refused_but_never_crashes(data: st.DataObject) -> None:
    damaged = bytearray(encode(tiny_manifest()))
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ManifestError):
        assert decode(bytes(damaged)).labels
