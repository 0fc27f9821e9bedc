"""What tells the unknown in a bundle: what is packed comes back, and no fit or file that cannot be gets through."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import TOKEN_DIM, audio_modality, signal_modality, tiny_files, tiny_manifest, write_tiny_bundle
from fuzzing import times
from goldens import arrays_of, golden_manifest, saved
from hypothesis import given, settings
from hypothesis import strategies as st
from mmg.bundle import Bundle, write_bundle
from mmg.bundle.compare import compare
from mmg.bundle.manifest import ManifestError, decode, encode
from mmg.bundle.summary import summarize
from mmg.bundle.unknown import UNKNOWN_FILE, pack, unpack
from mmg.bundle.unknown_fit import REFUSED, UnknownFit
from mmg.bundle.verify import check_files
from mmg.engine import Engine
from mmg.errors import BundleError
from msgspec.structs import replace
from numpy.typing import NDArray
from unknowns import RANK, THRESHOLDS, made_up, telling, write_telling_bundle

FITTED = [("imu",), ("imu", "audio")]
MODALITIES = (signal_modality(), audio_modality())
MANIFEST, FILES = telling(tiny_manifest(*MODALITIES), FITTED)
WHOLE = FILES[UNKNOWN_FILE]


def with_fit(**changes: Any) -> UnknownFit:
    fit = UnknownFit(weights={"imu": 1.0}, thresholds=THRESHOLDS)
    return replace(fit, **changes)


def complaint(**changes: Any) -> ManifestError:
    subset = replace(MANIFEST.subsets[0], unknown=with_fit(**changes))
    with pytest.raises(ManifestError) as caught:
        encode(replace(MANIFEST, subsets=(subset,)))
    return caught.value


# --- the manifest --------------------------------------------------------------------------------------------------


def test_a_manifest_that_tells_the_unknown_comes_back_and_names_its_file() -> None:
    assert decode(encode(MANIFEST)) == MANIFEST
    assert [file.path for file in MANIFEST.stored()] == ["imu.onnx", "audio.onnx", "fusion.onnx", UNKNOWN_FILE]
    assert UNKNOWN_FILE not in {file.path for file in MANIFEST.files()}


def test_a_manifest_that_does_not_is_written_as_it_was() -> None:
    assert b"unknown" not in encode(tiny_manifest())


@pytest.mark.parametrize(
    "weights",
    [{}, {"audio": 1.0}, {"imu": 1.0, "audio": 1.0}, {"imu": -0.1}, {"imu": float("nan")}, {"imu": float("inf")}],
    ids=str,
)
def test_weights_are_those_of_the_subset_and_not_negative(weights: dict[str, float]) -> None:
    assert complaint(weights=weights).field == "subsets[0].unknown.weights"


@pytest.mark.parametrize(
    "thresholds",
    [
        (),
        THRESHOLDS[1:],
        (*THRESHOLDS, -3.0),
        THRESHOLDS[::-1],
        (*THRESHOLDS[:-1], float("nan")),
        (*THRESHOLDS[:-1], float("-inf")),
        (1e300, *THRESHOLDS[1:]),
    ],
    ids=str,
)
def test_thresholds_are_one_for_each_rate_and_never_grow(thresholds: tuple[float, ...]) -> None:
    assert complaint(thresholds=thresholds).field == "subsets[0].unknown.thresholds"


def test_thresholds_that_stay_the_same_are_taken() -> None:
    subset = replace(MANIFEST.subsets[0], unknown=with_fit(thresholds=(1.0,) * len(REFUSED)))
    assert encode(replace(MANIFEST, subsets=(subset,)))


def test_a_file_without_a_fit_is_refused_and_a_fit_without_a_file() -> None:
    for manifest in (replace(MANIFEST, unknown=None), replace(MANIFEST, subsets=())):
        with pytest.raises(ManifestError) as caught:
            encode(manifest)
        assert caught.value.field == "unknown"


def test_the_label_unknown_is_refused_only_where_the_bundle_tells_the_unknown() -> None:
    labels = ("still", "walking", "unknown")
    with pytest.raises(ManifestError) as caught:
        encode(replace(MANIFEST, labels=labels))
    assert caught.value.field == "labels"
    assert encode(replace(tiny_manifest(), labels=labels))


def test_the_file_has_a_place_of_its_own_inside_the_bundle() -> None:
    assert MANIFEST.unknown is not None
    for path, field in (("../unknown.npz", "unknown.path"), ("fusion.onnx", "files")):
        with pytest.raises(ManifestError) as caught:
            encode(replace(MANIFEST, unknown=replace(MANIFEST.unknown, path=path)))
        assert caught.value.field == field


# --- the file ------------------------------------------------------------------------------------------------------


def refusal(data: bytes) -> str:
    with pytest.raises(BundleError) as caught:
        unpack(data, MANIFEST, "the bundle")
    assert (caught.value.path, caught.value.field) == ("the bundle", UNKNOWN_FILE)
    assert str(caught.value).isprintable()
    return caught.value.problem


def test_what_is_packed_comes_back() -> None:
    found = unpack(WHOLE, MANIFEST, "bundle")
    assert list(found) == ["imu", "audio"]
    for statistics, made in zip(found.values(), made_up(("imu", "audio"), TOKEN_DIM).values(), strict=True):
        for name in ("center", "basis"):
            np.testing.assert_array_equal(getattr(statistics, name), getattr(made, name))
        for mixture, packed in ((statistics.known, made.known), (statistics.other, made.other)):
            for name in ("whiten", "shift", "log"):
                np.testing.assert_array_equal(getattr(mixture, name), getattr(packed, name))


def test_numpy_reads_it_and_the_same_statistics_give_the_same_bytes() -> None:
    assert pack(made_up(("imu", "audio"), TOKEN_DIM)) == WHOLE
    assert set(arrays_of(WHOLE)) == {
        f"{name}/{array}"
        for name in ("imu", "audio")
        for array in (
            "center",
            "basis",
            "lean",
            *(
                f"{which}/{one}"
                for which in ("known", "other")
                for one in ("whiten", "shift", "log", "reading", "bias")
            ),
        )
    }


@pytest.mark.parametrize("name", sorted(arrays_of(WHOLE)))
def test_a_missing_array_is_named(name: str) -> None:
    arrays = arrays_of(WHOLE)
    del arrays[name]
    assert repr(name) in refusal(saved(arrays))


@pytest.mark.parametrize("name", ["video/center", "imu/more", "imu/known/more", "../imu"])
def test_an_array_that_nothing_asks_for_is_named(name: str) -> None:
    arrays = arrays_of(WHOLE)
    assert repr(name) in refusal(saved(arrays | {name: arrays["imu/center"]}))


@pytest.mark.parametrize("name", sorted(arrays_of(WHOLE)))
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_refused_wherever_it_is(name: str, value: float) -> None:
    arrays = arrays_of(WHOLE)
    arrays[name] = arrays[name].copy()
    arrays[name].flat[-1] = value
    assert f"{name!r} holds a number that is not finite" in refusal(saved(arrays))


WRONG: dict[str, tuple[str, Callable[[NDArray[Any]], NDArray[Any]]]] = {
    "a token of another size": ("imu/center", lambda array: array[1:]),
    "a basis of another token": ("audio/basis", lambda array: array[:, 1:]),
    "a basis of nothing": ("audio/basis", lambda array: array[:0]),
    "a rank that is not the basis's": ("imu/known/whiten", lambda array: array[:, 1:, 1:]),
    "what is not square": ("imu/known/whiten", lambda array: array[:, :, 1:]),
    "no kind": ("imu/known/whiten", lambda array: array[:0]),
    "a kind without a shift": ("imu/other/shift", lambda array: array[1:]),
    "a kind without a logarithm": ("audio/other/log", lambda array: array[1:]),
    "an axis too many": ("audio/other/log", lambda array: array[:, None]),
    "doubles": ("imu/center", lambda array: array.astype(np.float64)),
    "integers": ("imu/known/log", lambda array: array.astype(np.int32)),
    "objects": ("imu/known/log", lambda array: array.astype(object)),
}


@pytest.mark.parametrize(("name", "change"), WRONG.values(), ids=WRONG.keys())
def test_an_array_of_another_shape_or_type_is_named(name: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    arrays = arrays_of(WHOLE)
    arrays[name] = change(arrays[name])
    told = refusal(saved(arrays))
    assert name.rpartition("/")[0] in told


def test_a_cut_or_compressed_file_is_refused() -> None:
    for length in [*range(0, len(WHOLE), len(WHOLE) // 41), len(WHOLE) - 1]:
        assert refusal(WHOLE[:length])
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays_of(WHOLE))  # type: ignore[arg-type]
    assert "compressed" in refusal(stream.getvalue())


@settings(max_examples=times(200), deadline=None)
@given(
    damage=st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=8),
    at_end=st.booleans(),
)
def test_damaged_bytes_give_statistics_that_can_be_or_a_bundle_error(
    damage: list[tuple[int, int]], at_end: bool
) -> None:
    data = bytearray(WHOLE)
    for place, value in damage:
        data[-1 - place % 1200 if at_end else place % len(data)] = value
    try:
        found = unpack(bytes(data), MANIFEST, "bundle")
    except BundleError:
        return
    for statistics in found.values():
        assert statistics.basis.shape == (RANK, TOKEN_DIM)
        assert np.isfinite(statistics.known.whiten).all()


# --- the bundle ----------------------------------------------------------------------------------------------------


def test_a_damaged_file_ends_the_start_of_an_engine_that_needs_it_and_no_other(tmp_path: Path) -> None:
    arrays = arrays_of(WHOLE)
    del arrays["audio/known/log"]
    path = write_telling_bundle(tmp_path / "bundle", *MODALITIES, fitted=FITTED, data=saved(arrays))
    with Bundle.open(path) as bundle:
        with pytest.raises(BundleError, match="audio/known/log"):
            Engine(bundle, ["imu"])
        assert Engine(bundle, ["imu"], unknown=0)
        assert Engine(bundle, ["audio"])  # no subset of it has a fit
    data = (path / UNKNOWN_FILE).read_bytes()
    (path / UNKNOWN_FILE).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with Bundle.open(path) as bundle, pytest.raises(BundleError, match=r"unknown\.npz: .* altered"):
        Engine(bundle, ["imu"])


def test_verify_has_a_verdict_of_the_file(tmp_path: Path) -> None:
    manifest, files = golden_manifest(*MODALITIES)
    manifest, more = telling(manifest, FITTED)
    write_bundle(tmp_path / "right", manifest, files | more)
    arrays = arrays_of(WHOLE)
    del arrays["imu/center"]
    manifest, more = telling(manifest, FITTED, data=saved(arrays))
    write_bundle(tmp_path / "wrong", manifest, files | more)
    found = []
    for name in ("right", "wrong"):
        with Bundle.open(tmp_path / name) as bundle:
            checked = {one.path: one for one in check_files(bundle, lambda _: None)}
        found.append([one.result for one in checked.values()])
    assert list(checked) == ["golden.npz", UNKNOWN_FILE, "imu.onnx", "audio.onnx", "fusion.onnx"]
    assert found == [["ok"] * 5, ["ok", "failed", "ok", "ok", "ok"]]
    assert checked[UNKNOWN_FILE].reason == "'imu/center' is missing"


def test_the_summary_says_which_subsets_tell_the_unknown_and_only_where_one_does(tmp_path: Path) -> None:
    path = write_telling_bundle(tmp_path / "bundle", *MODALITIES, fitted=[("imu", "audio")])
    with Bundle.open(path) as bundle, Bundle.open(write_tiny_bundle(tmp_path / "plain", *MODALITIES)) as plain:
        lines, without = summarize(bundle), summarize(plain)
        changes = {change.what for change in compare(bundle, plain)}
    begin = next(place for place, line in enumerate(lines) if line.startswith("measured"))
    assert lines[begin].endswith("decisions  unknown")
    assert [line.split()[-1] for line in lines[begin + 1 : begin + 3]] == ["-", "told"]
    assert any(line.startswith("unknown    unknown.npz, ") for line in lines)
    assert max(map(len, lines)) <= 80
    assert not any("unknown" in line for line in without)
    assert {"unknown", "subsets.audio+imu"} <= changes


def test_a_bundle_that_tells_the_unknown_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"unknown\.npz: is in only one"):
        write_bundle(tmp_path / "bundle", MANIFEST, tiny_files(MANIFEST))
