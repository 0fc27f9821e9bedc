"""Opening a bundle: a directory and a zip are the same, and nothing that was altered gets through."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import imu_chunk, signal_modality, tiny_files, tiny_manifest, write_tiny_bundle
from fuzzing import times
from hostile import peak_bytes
from hypothesis import given, settings
from hypothesis import strategies as st
from mmg.bundle import Bundle, Manifest, write_bundle
from mmg.bundle.manifest import encode
from mmg.engine import Engine
from mmg.errors import BundleError, ConfigError

MIB = 1 << 20


@pytest.fixture(params=["bundle", "bundle.mmg"])
def bundle(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A valid bundle, as a directory and as a zip."""
    return write_tiny_bundle(tmp_path / request.param)


def read_all(path: Path) -> dict[str, bytes]:
    with Bundle.open(path) as opened:
        return {file.path: opened.read(file) for file in opened.manifest.files()}


def refusal(path: Path) -> BundleError:
    """The error with which opening this bundle, or reading all its files, ends."""
    with pytest.raises(BundleError) as caught:
        read_all(path)
    assert caught.value.path == str(path)
    return caught.value


def rewrite(path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """Alter the files inside a bundle of either form, as someone without the writer would."""
    if path.is_dir():
        files = {place.relative_to(path).as_posix(): place.read_bytes() for place in path.rglob("*") if place.is_file()}
        shutil.rmtree(path)
    else:
        with zipfile.ZipFile(path) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    if path.suffix == ".mmg":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    else:
        for name, data in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
    return path


# --- what is right -------------------------------------------------------------------------------------------------


def test_a_bundle_reads_back_as_it_was_written(bundle: Path) -> None:
    manifest = tiny_manifest()
    with Bundle.open(bundle) as opened:
        assert opened.manifest == manifest
        assert {file.path: opened.read(file) for file in opened.manifest.files()} == tiny_files(manifest)


def test_a_model_card_may_lie_beside_the_models(tmp_path: Path) -> None:
    manifest = tiny_manifest()
    for path in (tmp_path / "bundle", tmp_path / "bundle.mmg"):
        write_bundle(path, manifest, tiny_files(manifest) | {"MODEL_CARD.md": b"# tiny\n"})
        Bundle.open(path).close()


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    manifest = tiny_manifest()
    files = tiny_files(manifest)
    write_bundle(tmp_path / "one.mmg", manifest, files)
    write_bundle(tmp_path / "two.mmg", manifest, dict(reversed(files.items())))
    assert (tmp_path / "one.mmg").read_bytes() == (tmp_path / "two.mmg").read_bytes()


def test_a_bundle_can_be_opened_by_a_relative_path_and_through_a_link(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(bundle)
    monkeypatch.chdir(tmp_path)
    for path in (bundle.name, "link"):
        with Bundle.open(path) as opened:
            assert opened.read(opened.manifest.fusion.files[0])


# --- the writer ----------------------------------------------------------------------------------------------------


def write_failure(path: Path, manifest: Manifest, files: dict[str, bytes]) -> BundleError:
    with pytest.raises(BundleError) as caught:
        write_bundle(path, manifest, files)
    assert not path.exists()
    return caught.value


@pytest.mark.parametrize("name", ["bundle", "bundle.mmg"])
def test_the_writer_refuses_files_that_the_manifest_does_not_describe(tmp_path: Path, name: str) -> None:
    manifest, path = tiny_manifest(), tmp_path / name
    files = tiny_files(manifest)
    without = {key: data for key, data in files.items() if key != "imu.onnx"}
    assert write_failure(path, manifest, without).field == "imu.onnx"
    assert write_failure(path, manifest, files | {"notes.txt": b"?"}).field == "notes.txt"
    assert write_failure(path, manifest, files | {"../notes.txt": b"?"}).field == "../notes.txt"
    assert write_failure(path, manifest, files | {"imu.onnx": files["imu.onnx"] + b"\0"}).field == "imu.onnx"
    assert write_failure(path, manifest, files | {"imu.onnx": bytes(len(files["imu.onnx"]))}).field == "imu.onnx"


def test_the_writer_refuses_a_manifest_that_the_reader_would(tmp_path: Path) -> None:
    manifest = tiny_manifest(context_hops=0)
    assert write_failure(tmp_path / "bundle.mmg", manifest, tiny_files(manifest)).field == "context_hops"


# --- what is altered -----------------------------------------------------------------------------------------------


def test_nothing_at_the_path(tmp_path: Path) -> None:
    assert "no such file" in str(refusal(tmp_path / "nothing.mmg"))


def test_a_path_that_no_system_can_hold(tmp_path: Path) -> None:
    assert refusal(tmp_path / ("x" * 5000))


@pytest.mark.parametrize("data", [b"", b"not a zip", b"\0" * 4096, b"PK\x05\x06" + bytes(18)])
def test_a_file_that_is_no_bundle(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "bundle.mmg"
    path.write_bytes(data)
    assert refusal(path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "bundle.mmg")
    assert "regular file" in str(refusal(tmp_path / "bundle.mmg"))


def test_a_pipe_in_a_directory_is_not_waited_for(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "bundle")
    (bundle / "imu.onnx").unlink()
    os.mkfifo(bundle / "imu.onnx")
    assert refusal(bundle).field == "imu.onnx"


@pytest.mark.parametrize("name", ["manifest.json", "imu.onnx", "fusion.onnx"])
def test_a_missing_file_is_named(bundle: Path, name: str) -> None:
    def remove(files: dict[str, bytes]) -> None:
        del files[name]

    assert refusal(rewrite(bundle, remove)).field == name


@pytest.mark.parametrize("name", ["manifest.json", "imu.onnx", "fusion.onnx"])
def test_an_empty_file_is_named(bundle: Path, name: str) -> None:
    assert refusal(rewrite(bundle, lambda files: files.update({name: b""}))).field == name


@pytest.mark.parametrize("name", ["imu.onnx", "audio.onnx", "fusion.onnx"])
def test_one_changed_bit_is_found(bundle: Path, name: str) -> None:
    def flip(files: dict[str, bytes]) -> None:
        files[name] = files[name][:-1] + bytes([files[name][-1] ^ 1])

    error = refusal(rewrite(bundle, flip))
    assert error.field == name
    assert "SHA-256" in str(error)


@pytest.mark.parametrize("change", [-1, 1], ids=["cut", "longer"])
def test_a_wrong_size_is_found(bundle: Path, change: int) -> None:
    def resize(files: dict[str, bytes]) -> None:
        files["imu.onnx"] = files["imu.onnx"][:-1] if change < 0 else files["imu.onnx"] + b"\0"

    error = refusal(rewrite(bundle, resize))
    assert error.field == "imu.onnx"
    assert "bytes" in str(error)


@pytest.mark.parametrize("name", ["more.onnx", "models/imu.onnx", ".hidden", "manifest.json.bak"])
def test_a_file_that_the_manifest_does_not_name_is_refused(bundle: Path, name: str) -> None:
    assert refusal(rewrite(bundle, lambda files: files.update({name: b"?"}))).field == name


@pytest.mark.parametrize("name", ["../evil.onnx", "/evil.onnx", "models/../../evil.onnx", "C:\\evil.onnx"])
def test_an_entry_that_leaves_the_zip_is_refused_and_written_nowhere(tmp_path: Path, name: str) -> None:
    bundle = write_tiny_bundle(tmp_path / "inside" / "bundle.mmg")
    with zipfile.ZipFile(bundle, "a") as archive:
        archive.writestr(name, b"?")
    assert refusal(bundle).field == name
    assert [place.name for place in tmp_path.rglob("*") if place.is_file()] == ["bundle.mmg"]


def test_too_many_files_are_refused(bundle: Path) -> None:
    error = refusal(rewrite(bundle, lambda files: files.update({f"{number}.onnx": b"?" for number in range(300)})))
    assert "256" in str(error) or "does not name it" in str(error)


def test_a_file_where_a_directory_must_be(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "bundle")
    (bundle / "manifest.json").unlink()
    (bundle / "manifest.json").mkdir()
    assert refusal(bundle).field == "manifest.json"


# --- links ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["manifest.json", "imu.onnx", "MODEL_CARD.md", "dangling.onnx"])
def test_a_link_to_a_file_is_refused(tmp_path: Path, name: str) -> None:
    bundle, outside = write_tiny_bundle(tmp_path / "bundle"), tmp_path / "outside"
    if (bundle / name).exists():
        (bundle / name).rename(outside)
    (bundle / name).symlink_to(outside)
    error = refusal(bundle)
    assert error.field == name
    assert "symbolic link" in str(error)


def test_a_link_to_a_directory_is_refused(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "bundle")
    (bundle / "models").symlink_to(tmp_path)
    error = refusal(bundle)
    assert error.field == "models"
    assert "symbolic link" in str(error)


def test_a_link_that_appears_after_opening_is_refused(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "bundle")
    with Bundle.open(bundle) as opened:
        (bundle / "imu.onnx").rename(tmp_path / "outside")
        (bundle / "imu.onnx").symlink_to(tmp_path / "outside")
        with pytest.raises(BundleError, match="symbolic link"):
            opened.read(opened.manifest.modality("imu").encoder.files[0])


@pytest.mark.parametrize("name", ["imu.onnx", "elsewhere"])
def test_a_link_in_a_zip_is_refused(tmp_path: Path, name: str) -> None:
    manifest = tiny_manifest()
    contents = {"manifest.json": encode(manifest), **tiny_files(manifest), name: b"/etc/passwd"}
    path = tmp_path / "bundle.mmg"
    with zipfile.ZipFile(path, "w") as archive:
        for entry_name, data in contents.items():
            entry = zipfile.ZipInfo(entry_name)
            entry.external_attr = ((stat.S_IFLNK if entry_name == name else stat.S_IFREG) | 0o644) << 16
            archive.writestr(entry, data)
    error = refusal(path)
    assert error.field == name
    assert "symbolic link" in str(error)


# --- zips that are made to harm ------------------------------------------------------------------------------------


def zip_with(path: Path, name: str, blocks: int, compression: int, block: bytes = bytes(MIB)) -> Path:
    """The tiny bundle with one file replaced by so many MiB that compress to almost nothing."""
    manifest = tiny_manifest()
    with zipfile.ZipFile(path, "w", compression) as archive:
        for entry, data in {"manifest.json": encode(manifest), **tiny_files(manifest)}.items():
            if entry == name:
                with archive.open(name, "w") as stream:
                    for _ in range(blocks):
                        stream.write(block)
            else:
                archive.writestr(entry, data)
    return path


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_bomb_is_not_unpacked(tmp_path: Path, compression: int) -> None:
    path = zip_with(tmp_path / "bundle.mmg", "imu.onnx", 32, compression)
    assert path.stat().st_size < MIB
    assert peak_bytes(lambda: refusal(path)) < 4 * MIB


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_bomb_in_place_of_the_manifest_is_not_unpacked(tmp_path: Path, compression: int) -> None:
    path = zip_with(tmp_path / "bundle.mmg", "manifest.json", 32, compression, b" " * MIB)
    error: list[BundleError] = []
    assert peak_bytes(lambda: error.append(refusal(path))) < 8 * MIB
    assert error[0].field == "manifest.json"


def test_a_bomb_that_declares_the_size_of_the_manifest_is_refused(tmp_path: Path) -> None:
    path = zip_with(tmp_path / "bundle.mmg", "imu.onnx", 64, zipfile.ZIP_DEFLATED)
    declared = tiny_manifest().modality("imu").encoder.files[0].bytes
    path.write_bytes(path.read_bytes().replace((64 * MIB).to_bytes(4, "little"), declared.to_bytes(4, "little")))
    assert peak_bytes(lambda: refusal(path)) < 4 * MIB


def test_a_file_of_a_directory_that_grew_is_read_no_further_than_its_size(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "bundle")
    with (bundle / "imu.onnx").open("r+b") as stream:
        stream.truncate(1 << 30)
    assert peak_bytes(lambda: refusal(bundle)) < 4 * MIB


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["manifest.json", "imu.onnx"])
def test_an_entry_that_is_there_twice_is_refused(tmp_path: Path, name: str) -> None:
    bundle = write_tiny_bundle(tmp_path / "bundle.mmg")
    with zipfile.ZipFile(bundle, "a") as archive:
        archive.writestr(name, archive.read(name))
    error = refusal(bundle)
    assert error.field == name
    assert "twice" in str(error)


def test_an_entry_without_a_name_is_refused(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "bundle.mmg")
    data = bytearray(bundle.read_bytes())
    last = data.rfind(b"PK\x01\x02")
    name = int.from_bytes(data[last + 28 : last + 30], "little")
    # The length of the name becomes that of a comment: every other field stays in place.
    data[last + 28 : last + 34] = bytes(4) + name.to_bytes(2, "little")
    bundle.write_bytes(bytes(data))
    assert "without a name" in str(refusal(bundle))


def test_an_encrypted_entry_is_refused(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "bundle.mmg")
    data = bytearray(bundle.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = data.find(signature)
        while place >= 0:
            data[place + flags] |= 1
            place = data.find(signature, place + 4)
    bundle.write_bytes(bytes(data))
    assert refusal(bundle)


def test_a_name_that_is_not_text_is_refused(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "bundle.mmg")
    data = bytearray(bundle.read_bytes())
    entry = data.find(b"PK\x01\x02")
    data[entry + 9] |= 0x08  # the list says that names are UTF-8, and the entry's own name is not
    data[data.find(b"PK\x03\x04") + 30] = 0xFF
    bundle.write_bytes(bytes(data))
    assert refusal(bundle)


def test_a_cut_zip_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    whole = write_tiny_bundle(tmp_path / "whole.mmg").read_bytes()
    path = tmp_path / "bundle.mmg"
    for length in range(0, len(whole), 17):
        path.write_bytes(whole[:length])
        assert refusal(path)


# The offset and the byte that each example writes; several at once reach what one alone does not.
DAMAGE = st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=8)


@settings(max_examples=times(200), deadline=None)
@given(damage=DAMAGE, at_end=st.booleans())
def test_a_damaged_zip_gives_the_right_files_or_a_bundle_error(
    tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, int]], at_end: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.mmg"
    if not path.exists():
        write_tiny_bundle(path.with_name("whole.mmg"))
    whole = path.with_name("whole.mmg").read_bytes()
    data = bytearray(whole)
    for place, value in damage:
        # The list of entries at the end is small and holds most of what can go wrong.
        data[-1 - place % 400 if at_end else place % len(data)] = value
    path.write_bytes(bytes(data))
    with contextlib.suppress(BundleError):
        assert read_all(path) == tiny_files(tiny_manifest())


# --- only what is asked for ----------------------------------------------------------------------------------------

WATCH = """
import sys
opened = []
sys.addaudithook(lambda event, arguments: opened.append(str(arguments[0])) if event == "open" else None)
import numpy as np
from mmg import Bundle, Chunk, Engine
engine = Engine(Bundle.open(sys.argv[1]), sys.argv[2:])
for name in sys.argv[2:]:
    engine.push(Chunk(name, np.zeros((0, 6 if name == "imu" else 1), np.float32), np.zeros(0, np.int64), 8000.0))
print(*sorted({path for path in opened if path.startswith(sys.argv[1])}), sep="\\n")
"""


@pytest.mark.parametrize("chosen", [("imu",), ("audio", "imu")])
def test_only_the_files_of_the_chosen_modalities_are_opened(tmp_path: Path, chosen: tuple[str, ...]) -> None:
    bundle = write_tiny_bundle(tmp_path / "bundle")
    output = subprocess.run(
        [sys.executable, "-c", WATCH, str(bundle), *chosen], check=True, capture_output=True, text=True
    ).stdout
    expected = {"manifest.json", "fusion.onnx", *(f"{name}.onnx" for name in chosen)}
    assert {Path(line).name for line in output.splitlines()} == expected


def test_a_bundle_without_the_files_of_other_modalities_works(bundle: Path) -> None:
    def strip(files: dict[str, bytes]) -> None:
        del files["audio.onnx"], files["video.onnx"]

    with Bundle.open(rewrite(bundle, strip)) as opened:
        assert Engine(opened, ["imu"]).push(imu_chunk(0, 3))
        with pytest.raises(BundleError) as caught:
            Engine(opened, ["audio"])
        assert caught.value.field == "audio.onnx"


def test_an_unknown_modality_is_named(bundle: Path) -> None:
    with Bundle.open(bundle) as opened, pytest.raises(ConfigError, match="radar"):
        Engine(opened, ["radar"])


# --- writing over what is there ------------------------------------------------------------------------------------


def test_a_bundle_takes_the_place_of_another(bundle: Path) -> None:
    smaller = tiny_manifest(signal_modality())
    write_bundle(bundle, smaller, tiny_files(smaller))
    with Bundle.open(bundle) as opened:
        assert opened.manifest == smaller
        assert opened.names() == {"manifest.json", "imu.onnx", "fusion.onnx"}


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(BundleError, match="is a folder with other things in it"):
        write_bundle(tmp_path, tiny_manifest(), tiny_files(tiny_manifest()))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
