"""Golden arrays: what is packed comes back, right models give them, wrong ones do not, and no damage gets through."""

from __future__ import annotations

import io
import math
import pickle
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fakes import (
    LABELS,
    TOKEN_DIM,
    audio_modality,
    fusion_model,
    mean_encoder,
    signal_modality,
    tiny_files,
    tiny_manifest,
    video_modality,
)
from fuzzing import times
from goldens import RUNS, arrays_of, golden_manifest, saved, tiny_golden
from hypothesis import given, settings
from hypothesis import strategies as st
from mmg.backends import Session, open_session
from mmg.bundle import Modality
from mmg.bundle.golden import GOLDEN, Golden, encoder_error, fusion_error, pack, unpack
from mmg.errors import BundleError, ModelError, ShapeMismatch
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
MODALITIES = {
    "streaming": signal_modality(state_hops=4),
    "without a state": signal_modality(),
    "window": signal_modality(window_hops=3),
    "window of one hop": signal_modality(window_hops=1),
    "audio": audio_modality(),
    "video": video_modality(),
}


def replay(modality: Modality, golden: Golden | None = None, data: bytes | None = None) -> float:
    manifest = tiny_manifest(modality)
    session = open_session("onnx", data or tiny_files(manifest)[f"{modality.name}.onnx"], modality.name)
    return encoder_error(modality, manifest, session, golden or tiny_golden(manifest))


# --- there and back ------------------------------------------------------------------------------------------------


def test_what_is_packed_comes_back() -> None:
    manifest, files = golden_manifest()
    golden, found = tiny_golden(manifest), unpack(files[GOLDEN], manifest, "bundle")
    assert list(found.encoders) == ["imu", "audio", "video"]
    for name, (samples, tokens) in golden.encoders.items():
        assert found.encoders[name][0].dtype == samples.dtype
        np.testing.assert_array_equal(found.encoders[name][0], samples)
        np.testing.assert_array_equal(found.encoders[name][1], tokens)
    assert [context.age.shape for context in found.contexts] == [(1, 1), (1, 4), (1, 7)]
    for context, original in zip(found.contexts, golden.contexts, strict=True):
        for name in ("tokens", "modality", "age", "logits", "embedding"):
            np.testing.assert_array_equal(getattr(context, name), getattr(original, name))


def test_packing_twice_gives_the_same_bytes_and_numpy_reads_them() -> None:
    golden = tiny_golden(tiny_manifest())
    data = pack(golden)
    assert pack(golden) == data
    names = {"samples": "imu/samples", "tokens": "video/tokens", "age": "fusion/2/age"}
    assert set(names.values()) < set(arrays_of(data))


def test_arrays_in_another_memory_order_are_packed_as_they_read() -> None:
    manifest = tiny_manifest(signal_modality())
    golden = tiny_golden(manifest)
    samples, tokens = golden.encoders["imu"]
    turned = Golden({"imu": (np.asfortranarray(samples), tokens)}, golden.contexts)
    np.testing.assert_array_equal(unpack(pack(turned), manifest, "bundle").encoders["imu"][0], samples)


# --- right and wrong models ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("modality", MODALITIES.values(), ids=MODALITIES.keys())
def test_a_right_encoder_gives_the_golden_tokens(modality: Modality) -> None:
    assert replay(modality) < 1e-6


def test_arrays_that_were_read_replay_as_well_as_those_that_were_made() -> None:
    manifest, files = golden_manifest()
    golden = unpack(files[GOLDEN], manifest, "bundle")
    for modality in manifest.modalities:
        assert replay(modality, golden) < 1e-6


def test_a_streaming_encoder_carries_its_states_from_run_to_run() -> None:
    modality = MODALITIES["streaming"]
    samples, tokens = tiny_golden(tiny_manifest(modality)).encoders["imu"]
    assert replay(modality, Golden({"imu": (samples[::-1], tokens[::-1])}, ())) > 0.01


def test_a_window_encoder_carries_nothing() -> None:
    modality = MODALITIES["window"]
    samples, tokens = tiny_golden(tiny_manifest(modality)).encoders["imu"]
    assert replay(modality, Golden({"imu": (samples[::-1], tokens[::-1])}, ())) < 1e-6


def test_a_window_encoder_runs_once_a_window() -> None:
    modality = MODALITIES["window"]
    manifest = tiny_manifest(modality)
    session = open_session("onnx", tiny_files(manifest)["imu.onnx"], "imu")
    counted = Counted(session)
    encoder_error(modality, manifest, counted, tiny_golden(manifest))
    assert counted.runs == RUNS + 1  # the first of all shows what the model gives


class Counted:
    """A session that counts its runs."""

    def __init__(self, session: Session) -> None:
        self.inputs, self.outputs, self._session, self.runs = session.inputs, session.outputs, session, 0

    def run(self, names: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        self.runs += 1
        return self._session.run(names, feeds)

    def bind(self, feeds: Mapping[str, NDArray[Any]], results: Mapping[str, NDArray[Any]]) -> Callable[[], None]:
        call = self._session.bind(feeds, results)

        def counted() -> None:
            self.runs += 1
            call()

        return counted


def test_the_error_is_the_largest_difference_of_any_run() -> None:
    modality = MODALITIES["without a state"]
    samples, tokens = tiny_golden(tiny_manifest(modality)).encoders["imu"]
    moved = tokens.copy()
    moved[3, 0, 2] -= 0.25
    assert replay(modality, Golden({"imu": (samples, moved)}, ())) == pytest.approx(0.25, abs=1e-6)


@pytest.mark.parametrize("scale", [math.nan, math.inf])
def test_what_is_not_finite_is_infinitely_wrong(scale: float) -> None:
    modality = MODALITIES["without a state"]
    assert replay(modality, data=mean_encoder(25, 6, scale=scale)) == math.inf
    samples, tokens = tiny_golden(tiny_manifest(modality)).encoders["imu"]
    assert replay(modality, Golden({"imu": (samples, tokens * np.float32(scale))}, ())) == math.inf


def test_an_encoder_of_another_shape_is_a_mismatch() -> None:
    with pytest.raises(ShapeMismatch):
        replay(MODALITIES["without a state"], data=mean_encoder(26, 6))


def test_a_right_fusion_gives_the_golden_outputs_for_every_context() -> None:
    manifest = tiny_manifest()
    session = open_session("onnx", fusion_model(), "fusion")
    assert fusion_error(manifest, session, tiny_golden(manifest)) < 1e-6


@pytest.mark.parametrize("name", ["tokens", "modality", "age", "logits", "embedding"])
@pytest.mark.parametrize("number", [0, 2])
def test_every_input_and_output_of_every_context_counts(name: str, number: int) -> None:
    manifest = tiny_manifest()
    contexts = list(tiny_golden(manifest).contexts)
    contexts[number] = replace(contexts[number], **{name: getattr(contexts[number], name) + 1})
    session = open_session("onnx", fusion_model(), "fusion")
    assert fusion_error(manifest, session, Golden({}, tuple(contexts))) > 0.001


class Masked:
    """A fusion whose N is not free: it asks which tokens are there, and answers with zeros of some size."""

    def __init__(self, labels: int) -> None:
        self.inputs: dict[str, tuple[int | str, ...]] = {"present": (1, "N")}
        self.outputs: dict[str, tuple[int | str, ...]] = {}
        self.masks: list[NDArray[Any]] = []
        self._labels = labels

    def run(self, names: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        assert list(names) == ["logits", "embedding"]
        self.masks.append(feeds["present"])
        return [np.zeros((1, self._labels), np.float32), np.zeros((1, TOKEN_DIM), np.float32)]

    def bind(self, feeds: Mapping[str, NDArray[Any]], results: Mapping[str, NDArray[Any]]) -> Callable[[], None]:
        raise AssertionError(f"contexts of several sizes are not bound: {list(feeds)}, {list(results)}")


def test_a_fusion_that_asks_which_tokens_are_present_is_told() -> None:
    manifest, session = tiny_manifest(), Masked(len(LABELS))
    fusion_error(manifest, session, tiny_golden(manifest))
    assert [mask.tolist() for mask in session.masks] == [[[1.0] * count] for count in (1, 4, 7)]
    assert {mask.dtype for mask in session.masks} == {np.dtype(np.float32)}


def test_a_fusion_with_other_labels_is_a_mismatch() -> None:
    manifest = tiny_manifest()
    with pytest.raises(ShapeMismatch, match="logits"):
        fusion_error(manifest, Masked(len(LABELS) + 1), tiny_golden(manifest))


def test_a_fusion_that_cannot_run_is_a_model_error() -> None:
    manifest = tiny_manifest()
    with pytest.raises(ModelError):
        fusion_error(manifest, open_session("onnx", mean_encoder(25, 6), "fusion"), tiny_golden(manifest))


# --- damage --------------------------------------------------------------------------------------------------------


def refusal(data: bytes) -> str:
    manifest, _ = golden_manifest()
    with pytest.raises(BundleError) as caught:
        unpack(data, manifest, "the bundle")
    assert (caught.value.path, caught.value.field) == ("the bundle", GOLDEN)
    assert str(caught.value).isprintable()
    return caught.value.problem


def changed(name: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> bytes:
    arrays = arrays_of(pack(tiny_golden(tiny_manifest())))
    arrays[name] = change(arrays[name])
    return saved(arrays)


@pytest.mark.parametrize("name", ["imu/samples", "audio/tokens", "fusion/0/tokens", "fusion/1/age", "fusion/2/logits"])
def test_a_missing_array_is_named(name: str) -> None:
    arrays = arrays_of(pack(tiny_golden(tiny_manifest())))
    del arrays[name]
    assert name in refusal(saved(arrays))


@pytest.mark.parametrize("name", ["radar/samples", "imu/more", "fusion/3/age", "../imu"])
def test_an_array_that_nothing_asks_for_is_named(name: str) -> None:
    arrays = arrays_of(pack(tiny_golden(tiny_manifest())))
    assert repr(name) in refusal(saved(arrays | {name: arrays["imu/tokens"]}))


WRONG: dict[str, tuple[str, Callable[[NDArray[Any]], NDArray[Any]]]] = {
    "a hop too short": ("imu/samples", lambda array: array[:, :, 1:]),
    "an axis too few": ("imu/samples", lambda array: array[0]),
    "no run": ("imu/samples", lambda array: array[:0]),
    "a run without tokens": ("imu/tokens", lambda array: array[1:]),
    "floats for pictures": ("video/samples", lambda array: array.astype(np.float32)),
    "doubles": ("audio/tokens", lambda array: array.astype(np.float64)),
    "long integers": ("fusion/0/age", lambda array: array.astype(np.int64)),
    "the other byte order": ("audio/tokens", lambda array: array.astype(">f4")),
    "the other memory order": ("fusion/1/tokens", lambda array: np.asfortranarray(array)),
    "another label": ("fusion/1/logits", lambda array: np.concatenate([array, array], axis=1)),
    "a modality that is not there": ("fusion/1/modality", lambda array: array * 0 + 3),
    "a modality before the first": ("fusion/1/modality", lambda array: array * 0 - 1),
    "an age beyond the context": ("fusion/2/age", lambda array: array * 0 + 4),
    "an age from the future": ("fusion/2/age", lambda array: array * 0 - 1),
    "no tokens": ("fusion/0/tokens", lambda array: array[:, :0]),
    "a token without an age": ("fusion/1/age", lambda array: array[:, 1:]),
    "a number": ("imu/tokens", lambda _: np.array(1, np.float32)),
    "text": ("imu/tokens", lambda _: np.array("tokens")),
}


@pytest.mark.parametrize(("name", "change"), WRONG.values(), ids=WRONG.keys())
def test_an_array_that_is_not_the_manifests_is_named(name: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    assert name in refusal(changed(name, change))


class Fuse:
    """What a pickle would do if it were loaded."""

    lit = False

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return (light, ())


def light() -> None:
    Fuse.lit = True


def test_a_pickle_is_never_loaded() -> None:
    harmful = np.array([[Fuse()]], dtype=object)
    pickle.loads(pickle.dumps(Fuse()))
    assert Fuse.lit
    Fuse.lit = False
    assert "imu/tokens" in refusal(changed("imu/tokens", lambda _: harmful))
    assert not Fuse.lit


def test_what_is_compressed_is_refused() -> None:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays_of(pack(tiny_golden(tiny_manifest()))))  # type: ignore[arg-type]
    assert "compressed" in refusal(stream.getvalue())


def with_member(name: str, data: bytes, compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO(pack(tiny_golden(tiny_manifest())))
    with zipfile.ZipFile(stream) as archive:
        members = {entry: archive.read(entry) for entry in archive.namelist()}
    with zipfile.ZipFile(stream := io.BytesIO(), "w") as archive:
        for entry, old in (members | {name: data}).items():
            archive.writestr(entry, data if entry == name else old, compression if entry == name else None)
    return stream.getvalue()


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_bomb_is_not_unpacked(compression: int) -> None:
    data = with_member("imu/tokens.npy", bytes(32 << 20), compression)
    tracemalloc.start()
    try:
        assert "compressed" in refusal(data)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


HEADERS = {
    "a shape that no memory holds": "{'descr': '<f4', 'fortran_order': False, 'shape': (999999999, 999999999), }",
    "a negative shape": "{'descr': '<f4', 'fortran_order': False, 'shape': (-5, -1, 4), }",
    "an object": "{'descr': '|O', 'fortran_order': False, 'shape': (5, 1, 4), }",
    "a call": "{'descr': '<f4', 'fortran_order': False, 'shape': (exit(), 1, 4), }",
    "deep brackets": "(" * 5000,
    "nothing": "",
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS.keys())
def test_a_header_that_is_made_to_harm_is_refused(header: str) -> None:
    line = f"{header}\n".encode()
    data = with_member("imu/tokens.npy", b"\x93NUMPY\x01\x00" + len(line).to_bytes(2, "little") + line + bytes(80))
    assert "imu/tokens" in refusal(data)


def test_a_cut_file_is_refused_wherever_it_is_cut() -> None:
    whole = pack(tiny_golden(tiny_manifest()))
    for length in [*range(0, len(whole), len(whole) // 97), len(whole) - 1]:
        assert refusal(whole[:length])


DAMAGE = st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=8)
WHOLE = pack(tiny_golden(tiny_manifest(signal_modality())))


@settings(max_examples=times(300), deadline=None)
@given(damage=DAMAGE, at_end=st.booleans())
def test_damaged_bytes_give_arrays_of_the_right_shapes_or_a_bundle_error(
    damage: list[tuple[int, int]], at_end: bool
) -> None:
    manifest, data = tiny_manifest(signal_modality()), bytearray(WHOLE)
    for place, value in damage:
        # The list of entries at the end is small and holds most of what can go wrong.
        data[-1 - place % 1200 if at_end else place % len(data)] = value
    try:
        golden = unpack(bytes(data), manifest, "bundle")
    except BundleError:
        return
    [(samples, tokens)] = golden.encoders.values()
    assert (samples.shape[1:], tokens.shape) == ((1, 25, 6), (len(samples), 1, TOKEN_DIM))
    # A list of entries that is damaged well has fewer of them.
    assert 1 <= len(golden.contexts) <= 3
    for one in golden.contexts:
        count = one.age.shape[1]
        assert (one.tokens.shape, one.modality.shape) == ((1, count, TOKEN_DIM), (1, count))
        assert (one.logits.shape, one.embedding.shape) == ((1, len(LABELS)), (1, TOKEN_DIM))


def test_a_manifest_without_golden_still_names_the_file() -> None:
    manifest = tiny_manifest()
    with pytest.raises(BundleError, match=GOLDEN):
        unpack(b"", manifest, "bundle")
