"""Writing a bundle: the same input gives the same bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from mmg.atomic_write import atomic_write, real_path, write_folder
from mmg.bundle.keys import PrivateKey
from mmg.bundle.manifest import (
    Backend,
    Manifest,
    ManifestError,
    ModelFile,
    Precision,
    StoredFile,
    encode,
    safe_path,
)
from mmg.bundle.reader import CARD, MANIFEST, SIGNATURE, Bundle
from mmg.bundle.signature import make_signature
from mmg.bundle.zip_form import write_zip
from mmg.errors import BundleError, ConfigError


def describe_file(
    backend: Backend, precision: Precision, path: str, data: bytes, error: float | None = None
) -> ModelFile:
    """The manifest's entry for a model file with these bytes."""
    digest = hashlib.sha256(data).hexdigest()
    return ModelFile(backend=backend, precision=precision, path=path, bytes=len(data), sha256=digest, error=error)


def describe_stored(path: str, data: bytes) -> StoredFile:
    """The manifest's entry for another file with these bytes."""
    return StoredFile(path=path, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def write_bundle(path: Path, manifest: Manifest, files: Mapping[str, bytes]) -> None:
    """Write ``manifest`` and ``files`` (path in the bundle -> bytes) to a directory, or a zip where path ends in .mmg.

    It takes the place of a bundle that is there, signature included; a folder of other things is refused.
    ``files`` holds every file that the manifest names, and may hold ``MODEL_CARD.md``. Raises BundleError where the
    manifest is wrong or does not describe the files.
    """
    try:
        contents = {MANIFEST: encode(manifest), **files}
    except ManifestError as problem:
        raise BundleError(str(path), problem.field, problem.problem) from problem
    named = {file.path: file for file in manifest.stored()}
    for name in set(named) ^ (set(files) - {CARD}):
        raise BundleError(str(path), name, "is in only one of the manifest and the files")
    for name, file in named.items():
        if (len(files[name]), hashlib.sha256(files[name]).hexdigest()) != (file.bytes, file.sha256):
            raise BundleError(str(path), name, "its size or SHA-256 is not the manifest's")
    if files.get(CARD) == b"":
        raise BundleError(str(path), CARD, "is empty: write one, or leave it out")
    for name in contents:
        if not safe_path(name):
            raise BundleError(str(path), name, "must stay inside the bundle")
    require_place(path)
    if path.suffix == ".mmg":
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_zip(path, contents)
    else:
        write_folder(real_path(path), contents)


def pack_bundle(path: str | Path, to: Path, *, overwrite: bool = False) -> None:
    """Write a bundle, every file of it verified, as one ``.mmg`` file, without its signature.

    Raises BundleError, ConfigError for another name, or a file that is there and is not to be replaced, and OSError
    where it cannot be written.
    """
    if to.suffix != ".mmg":
        raise ConfigError(f"{to}: a bundle in one file has a name that ends in .mmg")
    require_place(to)
    if to.exists() and not overwrite:
        raise ConfigError(f"{to}: is there already: add --overwrite to replace it")
    with Bundle.open(path) as bundle:
        contents = {file.path: bundle.read(file) for file in bundle.manifest.stored()}
        contents[MANIFEST] = bundle.manifest_bytes
        if card := bundle.read_card():
            contents[CARD] = card
    to.parent.mkdir(parents=True, exist_ok=True)
    _write_zip(to, contents)


def require_place(path: Path) -> None:
    """Raises BundleError where something else than a bundle is at the path, which ``write_bundle`` leaves alone."""
    if path.suffix == ".mmg":
        if path.exists() and not path.is_file():
            raise BundleError(str(path), "", "is there already, and is not a file")
        return
    if path.exists() and not path.is_dir():
        raise BundleError(str(path), "", "is a file; a bundle is a folder, or a file whose name ends in .mmg")
    if path.is_dir() and any(path.iterdir()):
        try:
            Bundle.open(path).close()
        except BundleError as error:
            why = error.problem if (path / MANIFEST).exists() else f"there is no {MANIFEST}"
            problem = f"is a folder with other things in it, not a bundle: {why}"
            raise BundleError(str(path), "", problem) from error


def sign_bundle(path: str | Path, key: PrivateKey, tell: Callable[[str], object] | None = None) -> None:
    """Verify every file of a bundle, try its models, and put ``manifest.sig`` into it, in place of one that is there.

    The same bundle and key give the same bytes. What fails leaves the bundle as it was. A model that no library here
    runs is only looked through. tell: see ``Bundle.open``. Raises BundleError, ModelError, BackendUnavailable, and
    OSError where it cannot be written.
    """
    with Bundle.open(path, tell=tell) as bundle:
        bundle.require_tried(bundle.manifest.files())
    put_signature(path, key)


def put_signature(path: str | Path, key: PrivateKey) -> None:
    """The same without a trial of its models. Raises BundleError, BackendUnavailable, OSError."""
    with Bundle.open(path) as bundle:
        contents = {file.path: bundle.read(file) for file in bundle.manifest.stored()}
        card = bundle.read_card()
        signature = make_signature(bundle.manifest_bytes, card, key)
        # Through a link to the bundle, and not in the link's place.
        where = bundle.path.resolve()
        contents |= {MANIFEST: bundle.manifest_bytes, SIGNATURE: signature}
    if where.is_dir():
        # What is left in the folder by who is killed would be a file that the manifest does not name.
        with atomic_write(where / SIGNATURE, beside=where) as stream:
            stream.write(signature)
    else:
        _write_zip(where, contents if card is None else contents | {CARD: card})


def _write_zip(path: Path, contents: Mapping[str, bytes]) -> None:
    try:
        with atomic_write(path) as stream:
            write_zip(stream, contents)
    except ValueError as error:
        raise BundleError(str(path), "", str(error)) from error
