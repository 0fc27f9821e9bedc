"""Signed bundles: what the trusted key did not sign, or what was altered since, is refused in one line."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import tiny_files, tiny_manifest, write_tiny_bundle
from goldens import write_golden_bundle
from mmg.bundle import Bundle, write_bundle
from mmg.bundle.keys import PrivateKey, PublicKey, make_keys, read_private_key, read_public_key
from mmg.bundle.manifest import encode
from mmg.bundle.writer import sign_bundle
from mmg.bundle.zip_form import write_zip
from mmg.errors import BackendUnavailable, BundleError, ConfigError
from msgspec.structs import replace
from nacl.signing import SigningKey, VerifyKey

CARD = b"# tiny\n"
SIGNATURE = "manifest.sig"

Files = dict[str, bytes]


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A folder with two pairs: ours and theirs."""
    folder = tmp_path / "keys"
    folder.mkdir()
    for name in ("ours", "theirs"):
        make_keys(str(folder / name))
    return folder


@pytest.fixture(params=["bundle", "bundle.mmg"])
def signed(request: pytest.FixtureRequest, tmp_path: Path, keys: Path) -> Path:
    """A bundle that our key signed, as a directory and as a zip."""
    manifest = tiny_manifest()
    path: Path = tmp_path / request.param
    write_bundle(path, manifest, tiny_files(manifest) | {"MODEL_CARD.md": CARD})
    sign_bundle(path, read_private_key(keys / "ours.key"))
    return path


def contents(path: Path) -> Files:
    if path.is_dir():
        return {place.relative_to(path).as_posix(): place.read_bytes() for place in path.rglob("*") if place.is_file()}
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def alter(path: Path, change: Callable[[Files], object]) -> None:
    """Change the files inside a bundle of either form, as someone who knows the form of a zip would."""
    files = contents(path)
    change(files)
    if path.is_dir():
        shutil.rmtree(path)
        for name, data in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
    else:
        with path.open("wb") as stream:
            write_zip(stream, files)


def refusal(path: Path, key: Path) -> str:
    with pytest.raises(BundleError) as caught:
        Bundle.open(path, trust=key)
    assert caught.value.path == str(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- what is right -------------------------------------------------------------------------------------------------


def test_a_signed_bundle_opens_with_its_key_and_without_any(signed: Path, keys: Path) -> None:
    for trust in (keys / "ours.pub", str(keys / "ours.pub"), None):
        with Bundle.open(signed, trust=trust) as bundle:
            assert bundle.read(bundle.manifest.fusion.files[0]) == tiny_files(tiny_manifest())["fusion.onnx"]
            signature = bundle.read_signature()
            assert signature is not None
            assert signature.signer == read_public_key(keys / "ours.pub")


@pytest.mark.parametrize("name", ["bundle", "bundle.mmg"])
def test_a_bundle_without_a_card_and_one_with_golden_arrays_are_signed_too(
    tmp_path: Path, keys: Path, name: str
) -> None:
    path = write_golden_bundle(tmp_path / name)
    sign_bundle(path, read_private_key(keys / "ours.key"))
    with Bundle.open(path, trust=keys / "ours.pub") as bundle:
        assert bundle.read_card() is None
        assert bundle.manifest.golden
        assert bundle.read(bundle.manifest.golden)


def test_what_is_signed_is_a_line_and_two_hashes(signed: Path) -> None:
    files = contents(signed)
    stored = json.loads(files[SIGNATURE])
    assert set(stored) == {"public_key", "signature"}
    hashes = [hashlib.sha256(data).digest() for data in (files["manifest.json"], CARD)]
    key = VerifyKey(bytes.fromhex(stored["public_key"]))
    key.verify(b"mmg-bundle/1 signature\n" + b"".join(hashes), bytes.fromhex(stored["signature"]))


def test_signing_changes_no_other_file(signed: Path) -> None:
    manifest = tiny_manifest()
    files = contents(signed)
    del files[SIGNATURE]
    assert files == tiny_files(manifest) | {"manifest.json": encode(manifest), "MODEL_CARD.md": CARD}


@pytest.mark.parametrize("name", ["bundle", "bundle.mmg"])
def test_a_manifest_that_another_program_wrote_is_signed_as_it_is(tmp_path: Path, keys: Path, name: str) -> None:
    path = write_tiny_bundle(tmp_path / name)
    compact = json.dumps(json.loads(contents(path)["manifest.json"])).encode()
    alter(path, lambda files: files.update({"manifest.json": compact}))
    sign_bundle(path, read_private_key(keys / "ours.key"))
    assert contents(path)["manifest.json"] == compact
    Bundle.open(path, trust=keys / "ours.pub").close()


def test_signing_twice_gives_the_same_bytes(tmp_path: Path, keys: Path) -> None:
    first, second = (write_tiny_bundle(tmp_path / name) for name in ("first.mmg", "second.mmg"))
    key = read_private_key(keys / "ours.key")
    sign_bundle(first, key)
    sign_bundle(second, key)
    sign_bundle(second, key)
    assert first.read_bytes() == second.read_bytes()


def test_another_signature_takes_the_place_of_the_first(signed: Path, keys: Path) -> None:
    sign_bundle(signed, read_private_key(keys / "theirs.key"))
    Bundle.open(signed, trust=keys / "theirs.pub").close()
    assert refusal(signed, keys / "ours.pub")


def test_signing_keeps_the_mode_of_a_file_and_goes_through_a_link(tmp_path: Path, keys: Path) -> None:
    path = write_tiny_bundle(tmp_path / "bundle.mmg")
    path.chmod(0o640)
    (tmp_path / "link.mmg").symlink_to(path)
    sign_bundle(tmp_path / "link.mmg", read_private_key(keys / "ours.key"))
    assert (tmp_path / "link.mmg").is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    Bundle.open(path, trust=keys / "ours.pub").close()


# --- what is not trusted -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bundle", "bundle.mmg"])
def test_an_unsigned_bundle_is_refused(tmp_path: Path, keys: Path, name: str) -> None:
    assert "is not signed" in refusal(write_tiny_bundle(tmp_path / name), keys / "ours.pub")


def test_removing_the_signature_makes_it_unsigned(signed: Path, keys: Path) -> None:
    alter(signed, lambda files: files.pop(SIGNATURE))
    assert "is not signed" in refusal(signed, keys / "ours.pub")
    Bundle.open(signed).close()


def test_another_key_is_refused_and_both_are_named(signed: Path, keys: Path) -> None:
    text = refusal(signed, keys / "theirs.pub")
    for name in ("ours", "theirs"):
        assert read_public_key(keys / f"{name}.pub").fingerprint in text


def version_up(files: Files) -> None:
    files["manifest.json"] = files["manifest.json"].replace(b'"0.0.1"', b'"0.0.2"')


ALTERED: dict[str, Callable[[Files], object]] = {
    "the manifest's text": version_up,
    "the manifest's spaces": lambda files: files.update({"manifest.json": files["manifest.json"] + b" "}),
    "a manifest that does not decode": lambda files: files.update({"manifest.json": b"["}),
    "an empty manifest": lambda files: files.update({"manifest.json": b""}),
    "the card": lambda files: files.update({"MODEL_CARD.md": b"# Tiny\n"}),
    "the card removed": lambda files: files.pop("MODEL_CARD.md"),
    "the signature": lambda files: files.update({SIGNATURE: turn_digit(files[SIGNATURE])}),
}


def turn_digit(data: bytes) -> bytes:
    stored = json.loads(data)
    digits = stored["signature"]
    return json.dumps(stored | {"signature": ("0" if digits[0] != "0" else "1") + digits[1:]}).encode()


@pytest.mark.parametrize("change", ALTERED.values(), ids=ALTERED.keys())
def test_what_was_altered_since_is_refused_before_it_is_decoded(
    signed: Path, keys: Path, change: Callable[[Files], object]
) -> None:
    alter(signed, change)
    assert "was altered since" in refusal(signed, keys / "ours.pub")


@pytest.mark.parametrize("name", ["bundle", "bundle.mmg"])
def test_a_card_that_was_added_is_refused(tmp_path: Path, keys: Path, name: str) -> None:
    path = write_tiny_bundle(tmp_path / name)
    sign_bundle(path, read_private_key(keys / "ours.key"))
    alter(path, lambda files: files.update({"MODEL_CARD.md": CARD}))
    assert "was altered since" in refusal(path, keys / "ours.pub")


def test_someone_elses_signature_under_our_name_is_refused(signed: Path, keys: Path) -> None:
    ours = json.loads(contents(signed)[SIGNATURE])["public_key"]
    alter(signed, version_up)
    sign_bundle(signed, read_private_key(keys / "theirs.key"))
    theirs = json.loads(contents(signed)[SIGNATURE])
    forged = json.dumps(theirs | {"public_key": ours}).encode()
    alter(signed, lambda files: files.update({SIGNATURE: forged}))
    assert "was altered since" in refusal(signed, keys / "ours.pub")


def test_a_signature_of_another_bundle_is_refused(signed: Path, keys: Path, tmp_path: Path) -> None:
    manifest = replace(tiny_manifest(), version="0.0.2")
    write_bundle(tmp_path / "other", manifest, tiny_files(manifest))
    sign_bundle(tmp_path / "other", read_private_key(keys / "ours.key"))
    other = (tmp_path / "other" / SIGNATURE).read_bytes()
    alter(signed, lambda files: files.update({SIGNATURE: other}))
    assert "was altered since" in refusal(signed, keys / "ours.pub")


def test_an_altered_model_file_is_refused_when_it_is_read(signed: Path, keys: Path) -> None:
    model = contents(signed)["imu.onnx"]
    alter(signed, lambda files: files.update({"imu.onnx": model[:-1] + bytes([model[-1] ^ 1])}))
    with Bundle.open(signed, trust=keys / "ours.pub") as bundle, pytest.raises(BundleError, match="SHA-256"):
        bundle.read(bundle.manifest.modality("imu").encoder.files[0])


def test_a_file_that_was_added_is_refused(signed: Path, keys: Path) -> None:
    alter(signed, lambda files: files.update({"more.onnx": b"?"}))
    assert "more.onnx" in refusal(signed, keys / "ours.pub")


def test_a_cut_zip_is_refused(tmp_path: Path, keys: Path) -> None:
    path = write_tiny_bundle(tmp_path / "bundle.mmg")
    sign_bundle(path, read_private_key(keys / "ours.key"))
    whole = path.read_bytes()
    for length in range(0, len(whole), 211):
        path.write_bytes(whole[:length])
        assert refusal(path, keys / "ours.pub")


NO_SIGNATURES = {
    "nothing": b"",
    "no JSON": b"signed",
    "not text": b"\xff\xfe",
    "deep": b"[" * 4000,
    "another key": b'{"public_key": "%s", "signature": "%s", "more": 1}' % (b"0" * 64, b"0" * 128),
    "short": b'{"public_key": "00", "signature": "00"}',
    "no hexadecimal": b'{"public_key": "%s", "signature": "%s"}' % (b"g" * 64, b"0" * 128),
    "a line break": b'{"public_key": "%s\\n", "signature": "%s"}' % (b"0" * 64, b"0" * 128),
    "long": b" " * 5000,
}


@pytest.mark.parametrize("data", NO_SIGNATURES.values(), ids=NO_SIGNATURES.keys())
def test_what_is_no_signature_is_named(signed: Path, keys: Path, data: bytes) -> None:
    alter(signed, lambda files: files.update({SIGNATURE: data}))
    assert f"{SIGNATURE}: " in refusal(signed, keys / "ours.pub")


def test_a_model_file_may_not_have_the_name_of_the_signature(tmp_path: Path) -> None:
    text = encode(tiny_manifest()).replace(b'"imu.onnx"', b'"manifest.sig"')
    path = write_tiny_bundle(tmp_path / "bundle.mmg")
    alter(path, lambda files: files.update({"manifest.json": text, SIGNATURE: files.pop("imu.onnx")}))
    with pytest.raises(BundleError) as caught:
        Bundle.open(path)
    assert caught.value.field == SIGNATURE


# --- signing what cannot be signed ---------------------------------------------------------------------------------


def test_an_altered_bundle_is_not_signed(signed: Path, keys: Path) -> None:
    alter(signed, lambda files: files.update({"audio.onnx": files["audio.onnx"] + b"?"}))
    before = contents(signed)
    with pytest.raises(BundleError) as caught:
        sign_bundle(signed, read_private_key(keys / "theirs.key"))
    assert caught.value.field == "audio.onnx"
    assert contents(signed) == before


@pytest.mark.parametrize("name", ["bundle", "bundle.mmg"])
def test_a_full_disk_leaves_the_bundle_as_it_was(
    tmp_path: Path, keys: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tiny_bundle(tmp_path / "made" / name)
    before = contents(path)

    def fill_up(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fill_up)
    with pytest.raises(OSError, match="No space left"):
        sign_bundle(path, read_private_key(keys / "ours.key"))
    assert contents(path) == before
    assert [place.name for place in path.parent.iterdir()] == [name]


# --- keys ----------------------------------------------------------------------------------------------------------


def test_a_private_key_is_for_its_owner_alone(keys: Path) -> None:
    assert stat.S_IMODE((keys / "ours.key").stat().st_mode) == 0o600
    seed = read_private_key(keys / "ours.key").seed
    assert seed.hex() in (keys / "ours.key").read_text()
    assert seed.hex() not in (keys / "ours.pub").read_text()
    assert "seed" not in repr(read_private_key(keys / "ours.key"))


def test_both_keys_are_one_line_that_says_which_it_is(keys: Path) -> None:
    private, public = ((keys / name).read_text() for name in ("ours.key", "ours.pub"))
    assert (private.count("\n"), private.split()[0]) == (1, "mmg-private-key")
    assert (public.count("\n"), public.split()[0]) == (1, "mmg-public-key")
    derived = SigningKey(bytes.fromhex(private.split()[1])).verify_key
    assert bytes(derived).hex() == public.split()[1]


def test_no_two_keys_are_alike(keys: Path) -> None:
    ours, theirs = (read_public_key(keys / f"{name}.pub") for name in ("ours", "theirs"))
    assert ours != theirs
    assert ours.fingerprint != theirs.fingerprint


@pytest.mark.parametrize("name", ["new.key", "new.pub"])
@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_key_is_never_written_over(keys: Path, name: str, kind: str) -> None:
    place = keys / name
    if kind == "file":
        place.write_text("precious")
    else:
        place.symlink_to(keys / "nowhere")
    with pytest.raises(ConfigError, match=f"{name}: already exists"):
        make_keys(str(keys / "new"))
    assert [path.name for path in keys.iterdir() if path.name.startswith("new")] == [name]
    assert not (keys / "nowhere").exists()


def test_a_pair_of_which_one_cannot_be_written_is_not_left_half(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = os.open

    def fill_up(path: Path, flags: int, mode: int = 0o777) -> int:
        if path.suffix == ".pub":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return original(path, flags, mode)

    monkeypatch.setattr(os, "open", fill_up)
    with pytest.raises(OSError, match="No space left"):
        make_keys(str(keys / "new"))
    monkeypatch.undo()
    assert not list(keys.glob("new*"))


def test_the_private_key_in_place_of_the_public_one_is_told(signed: Path, keys: Path) -> None:
    with pytest.raises(ConfigError, match=r"ours\.key: is the private key.* give the \.pub"):
        Bundle.open(signed, trust=keys / "ours.key")


def test_the_public_key_in_place_of_the_private_one_is_told(keys: Path) -> None:
    with pytest.raises(ConfigError, match=r"ours\.pub: is the public key.* give the \.key"):
        read_private_key(keys / "ours.pub")


NO_KEYS = {
    "nothing": b"",
    "bytes": b"\x00\xff" * 40,
    "another program's": b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO someone@somewhere\n",
    "short": b"mmg-public-key " + b"0" * 63 + b"\n",
    "long": b"mmg-public-key " + b"0" * 65 + b"\n",
    "two": (b"mmg-public-key " + b"0" * 64 + b"\n") * 2,
    "capitals": b"mmg-public-key " + b"A" * 64 + b"\n",
}


@pytest.mark.parametrize("data", NO_KEYS.values(), ids=NO_KEYS.keys())
def test_what_is_no_key_is_told(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "some.pub").write_bytes(data)
    with pytest.raises(ConfigError, match=r"some\.pub: is not an mmg key"):
        read_public_key(tmp_path / "some.pub")


@pytest.mark.parametrize("name", ["missing.pub", ".", "nul\0.pub"])
def test_a_key_that_cannot_be_read_is_told(signed: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        Bundle.open(signed, trust=tmp_path / name)


def test_a_key_with_which_anyone_can_sign_verifies_nothing() -> None:
    # The neutral element of the curve: without libsodium's check R = neutral, s = 0 would be right for any message.
    neutral = bytes([1]) + bytes(31)
    assert not PublicKey(neutral).verifies(b"any", neutral + bytes(32))


# --- without PyNaCl ------------------------------------------------------------------------------------------------


def test_without_pynacl_the_extra_to_install_is_named(
    signed: Path, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nacl", None)
    for needs in (
        lambda: Bundle.open(signed, trust=keys / "ours.pub"),
        lambda: sign_bundle(signed, PrivateKey(bytes(32))),
        lambda: make_keys(str(tmp_path / "new")),
    ):
        with pytest.raises(BackendUnavailable, match=r"pip install pynacl"):
            needs()
    assert not list(tmp_path.glob("new*"))
    Bundle.open(signed).close()
