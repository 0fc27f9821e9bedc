"""A manifest of a megabyte, of any kind, is refused or taken at once, and asks for no more memory than a board has."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from fakes import tiny_files, tiny_manifest, write_tiny_bundle
from hostile import peak_bytes
from mmg.bundle import Bundle, write_bundle
from mmg.bundle.compare import compare
from mmg.bundle.manifest import ManifestError, decode, encode
from mmg.errors import BundleError
from msgspec.structs import replace

VALID: dict[str, Any] = json.loads(encode(tiny_manifest()))
IMU: dict[str, Any] = VALID["modalities"][0]
FILE: dict[str, Any] = VALID["fusion"]["files"][0]
LARGEST = 9223372036854775807
FIT = {"weights": {"imu": 1}, "thresholds": [0] * 7}

Document = dict[str, Any]


def imus(count: int, **changed: object) -> list[Document]:
    """So many modalities that differ by name and file."""
    numbered = (
        {"name": f"a{number}", "encoder": {**IMU["encoder"], "files": [{**FILE, "path": f"a{number}"}]}}
        for number in range(count)
    )
    return [{**IMU, **one, **changed} for one in numbered]


def with_subset(document: Document, **fields: object) -> None:
    document["subsets"] = [{"modalities": ["imu"], "temperature": 1, **fields}]


def with_imu(document: Document, **fields: object) -> None:
    document["modalities"][0] |= fields


def with_encoder(document: Document, **fields: object) -> None:
    document["modalities"][0]["encoder"] |= fields


STATE = {"input": "a", "output": "b", "shape": [1]}
# What each makes of a valid document, with so many entries or characters.
LONG: dict[str, Callable[[Document, int], object]] = {
    "labels": lambda d, n: d.update(labels=[f"{number:x}" for number in range(n)]),
    "one label": lambda d, n: d.update(labels=["a", "b" * n]),
    "the name": lambda d, n: d.update(name="a" * n),
    "modalities": lambda d, n: d.update(modalities=imus(n // 100)),
    "modalities in every subset": lambda d, n: d.update(
        modalities=imus(n // 200),
        subsets=[{"modalities": [f"a{n // 200 - 1}"] * (n // 3), "temperature": 1}],
    ),
    "a modality's name": lambda d, n: with_imu(d, name="a" * n),
    "channels": lambda d, n: with_imu(d, channels=[{"name": "a", "unit": "b"}] * n),
    "states": lambda d, n: with_encoder(d, states=[STATE] * n),
    "a state's axes": lambda d, n: with_encoder(d, states=[{**STATE, "shape": [LARGEST] * n}]),
    "the input's axes": lambda d, n: with_encoder(d, input={"name": "a", "shape": [1] * n}),
    "the output's axes": lambda d, n: with_encoder(d, output={"name": "a", "shape": [LARGEST] * n}),
    "files": lambda d, n: d["fusion"].update(files=[{**FILE, "path": f"a{number}"} for number in range(n // 100)]),
    "a path": lambda d, n: d["fusion"]["files"][0].update(path="a" * n),
    "a path's folders": lambda d, n: d["fusion"]["files"][0].update(path="a/" * n),
    "subsets": lambda d, n: d.update(subsets=[{"modalities": ["imu"], "temperature": 1}] * (n // 50)),
    "a subset's modalities": lambda d, n: with_subset(d, modalities=["video"] * n),
    "a subset's one modality": lambda d, n: with_subset(d, modalities=["a" * n]),
    "variants": lambda d, n: with_subset(d, variants={f"{number}": 0 for number in range(n)}),
    "weights": lambda d, n: with_subset(d, unknown={**FIT, "weights": {f"{number}": 0 for number in range(n)}}),
    "thresholds": lambda d, n: with_subset(d, unknown={**FIT, "thresholds": [0] * n}),
    "tools": lambda d, n: d["provenance"].update(tools={f"{number}": "" for number in range(n)}),
    "a key": lambda d, n: d.update({"a" * n: 1}),
    "a licence": lambda d, n: d["provenance"].update(licence="a " * (n // 2)),
}


def nearly_a_megabyte(change: Callable[[Document, int], object]) -> bytes:
    """The manifest with as many as go into a megabyte."""

    def made(count: int) -> bytes:
        document = copy.deepcopy(VALID)
        change(document, count)
        return json.dumps(document, separators=(",", ":")).encode()

    count = 1 << 12
    while len(data := made(count)) <= 1 << 19:
        count *= 2
    count = count * (1 << 20) // len(data)
    while len(data := made(count)) > 1 << 20:  # longer numbers and names
        count = count * 19 // 20
    return data


@pytest.mark.parametrize("what", LONG)
def test_a_manifest_of_a_megabyte_is_read_in_under_a_second(tmp_path: Path, what: str) -> None:
    data = nearly_a_megabyte(LONG[what])
    assert (1 << 20) * 3 // 4 < len(data) <= 1 << 20
    bundle = write_tiny_bundle(tmp_path / "bundle")
    (bundle / "manifest.json").write_bytes(data)
    told: list[str] = []

    def open_it() -> None:
        try:
            Bundle.open(bundle).close()
        except BundleError as error:
            told.append(str(error))

    began_s = time.process_time()
    open_it()
    assert time.process_time() - began_s < 1  # the states' axes took 7 s
    assert all(len(text) < 1000 and "\n" not in text for text in told)
    assert peak_bytes(open_it) < 32 << 20


def complaint(change: Callable[[Document], object]) -> ManifestError:
    document = copy.deepcopy(VALID)
    change(document)
    data = json.dumps(document).encode()
    assert peak_bytes(lambda: suppressed(data)) < 1 << 20
    with pytest.raises(ManifestError) as caught:
        decode(data)
    return caught.value


def suppressed(data: bytes) -> None:
    with suppress(ManifestError):
        decode(data)


def an_hour_of_samples(document: Document) -> None:
    """3600 s at 1 MHz of 250 channels: 3.6 TB as float32."""
    channels = [{"name": f"c{number}", "unit": "V"} for number in range(250)]
    shape = [1, 3_600_000_000 // 2, 250]
    with_imu(document, rate_hz=500_000, channels=channels)
    with_encoder(document, kind="window", window_s=3600, states=[], input={"name": "samples", "shape": shape})


def a_minute_of_pictures(document: Document) -> None:
    """60 frames a second of 4096 x 4096, for a minute: 181 GB."""
    video = document["modalities"][2]
    video |= {"rate_hz": 60, "frame": [4096, 4096]}
    video["encoder"] |= {"kind": "window", "window_s": 60}
    video["encoder"]["input"] |= {"shape": [1, 3600, 4096, 4096, 3]}


def a_thousand_hops_of_tokens(document: Document) -> None:
    """1000 hops of 1000 tokens of 65,536 numbers: 262 GB."""
    document["context_hops"] = 1000
    document["fusion"]["token_dim"] = 1 << 16
    for modality in document["modalities"]:
        modality["encoder"] |= {"tokens_per_hop": 1000}
        modality["encoder"]["output"]["shape"] = [1, 1000, 1 << 16]


def many_states(document: Document) -> None:
    """200 states of ten million numbers each: 8 GB."""
    states = [{"input": f"i{one}", "output": f"o{one}", "shape": [10_000_000]} for one in range(200)]
    with_encoder(document, states=states)


TOO_MUCH: dict[Callable[[Document], object], str] = {
    an_hour_of_samples: "modalities[0].encoder.input",
    a_minute_of_pictures: "modalities[2].encoder.input",
    a_thousand_hops_of_tokens: "modalities[0].encoder.tokens_per_hop",
    many_states: "modalities[0].encoder.states",
}


@pytest.mark.parametrize("change", TOO_MUCH)
def test_sizes_that_multiply_beyond_memory_are_refused_before_anything_is_allocated(
    change: Callable[[Document], object],
) -> None:
    error = complaint(change)
    assert error.field == TOO_MUCH[change]
    assert "numbers at once, and the whole bundle may need 33,554,432" in error.problem


def test_many_modalities_may_not_need_together_what_none_may_alone() -> None:
    def change(document: Document) -> None:
        shape = [1, 500_000, 6]  # 12 MB
        document["subsets"], document["modalities"] = [], imus(32, rate_hz=2000)
        for modality in document["modalities"]:
            modality["encoder"] |= {"kind": "window", "window_s": 250, "states": []}
            modality["encoder"]["input"] = {"name": "samples", "shape": shape}

    assert complaint(change).field == "modalities[11].encoder.input"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda d: d["fusion"].update(embedding_dim=1 << 40), "fusion.embedding_dim"),
        (lambda d: d["fusion"].update(token_dim=1 << 40), "fusion.token_dim"),
        (lambda d: d["fusion"].update(macs=-1), "fusion.macs"),
        (lambda d: d["fusion"].update(parameters=1 << 63), "fusion.parameters"),
        (lambda d: d.update(golden={"path": "golden.npz", "bytes": 1 << 30, "sha256": "0" * 64}), "golden.bytes"),
    ],
)
def test_other_sizes_have_limits_too(change: Callable[[Document], object], field: str) -> None:
    assert complaint(change).field == field


# --- names that are there twice -----------------------------------------------------------------------------------


def test_two_bundles_are_compared_whatever_their_parts_are_called(tmp_path: Path) -> None:
    manifests = [tiny_manifest() for _ in range(2)]
    made = []
    for number, manifest in enumerate(manifests):
        [subset] = manifest.subsets
        changed = replace(manifest, subsets=(replace(subset, variants={"(order)": 0.1 * number}),))
        write_bundle(tmp_path / f"{number}", changed, tiny_files(changed))
        made.append(Bundle.open(tmp_path / f"{number}"))
    [change] = compare(*made)
    assert (change.what, change.a, change.b) == ("subsets.imu.variants.(order)", 0, 0.1)


def twice(place: str) -> Callable[[Document], object]:
    """Two states that share the name of an input or an output."""
    states = [{"input": f"i{one}", "output": f"o{one}", "shape": [1, 75, 6]} for one in range(2)]
    states[1] |= {place: states[0][place]}
    return lambda document: with_encoder(document, states=states)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (twice("input"), "modalities[0].encoder.states"),
        (twice("output"), "modalities[0].encoder.states"),
        (
            lambda d: d["modalities"][0]["encoder"]["states"][0].update(
                output=d["modalities"][0]["encoder"]["output"]["name"]
            ),
            "modalities[0].encoder.states",
        ),
        (
            lambda d: d["modalities"][0]["encoder"]["states"][0].update(
                input=d["modalities"][0]["encoder"]["input"]["name"]
            ),
            "modalities[0].encoder.states",
        ),
        (lambda d: d["fusion"].update(logits="same", embedding="same"), "fusion"),
        (lambda d: d["fusion"].update(tokens="same", age="same"), "fusion"),
        (lambda d: with_subset(d, modalities=["imu", "imu"]), "subsets[0].modalities"),
    ],
)
def test_a_tensor_or_a_modality_that_is_named_twice_is_refused(
    change: Callable[[Document], object], field: str
) -> None:
    error = complaint(change)
    assert error.field == field
    assert "one name" in error.problem or "twice" in error.problem
