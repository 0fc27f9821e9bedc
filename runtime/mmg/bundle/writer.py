"""Writing a bundle: the same input gives the same bytes."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from mmg.atomic_write import atomic_write
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
from mmg.errors import BundleError

# The earliest date that a zip can hold: a bundle's bytes depend on what is in it, not on when it was written.
ZIP_DATE = (1980, 1, 1, 0, 0, 0)


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
    for name in contents:
        if not safe_path(name):
            raise BundleError(str(path), name, "must stay inside the bundle")
    require_place(path)
    if path.suffix == ".mmg":
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_zip(path, contents)
    else:
        _write_folder(path.resolve(), contents)


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
        contents = {file.path: bundle.read(file) for file in bundle.manifest.stored()}
        card = bundle.read_card()
        bundle.require_tried(bundle.manifest.files())
        signature = make_signature(bundle.manifest_bytes, card, key)
        # Through a link to the bundle, and not in the link's place.
        where = bundle.path.resolve()
        contents |= {MANIFEST: bundle.manifest_bytes, SIGNATURE: signature}
    if where.is_dir():
        with atomic_write(where / SIGNATURE) as stream:
            stream.write(signature)
    else:
        _write_zip(where, contents if card is None else contents | {CARD: card})


def _write_folder(path: Path, contents: Mapping[str, bytes]) -> None:
    """Beside the old one, which it then takes the place of: whoever opens it finds the old or the new."""
    beside, old = (path.with_name(f".{path.name}.{end}.{os.getpid()}") for end in ("new", "old"))
    try:
        for name, data in contents.items():
            (beside / name).parent.mkdir(parents=True, exist_ok=True)
            (beside / name).write_bytes(data)
        if path.exists():
            path.rename(old)
        beside.rename(path)
    except BaseException:
        if old.exists() and not path.exists():
            old.rename(path)
        shutil.rmtree(beside, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _write_zip(path: Path, contents: Mapping[str, bytes]) -> None:
    with atomic_write(path) as stream, zipfile.ZipFile(stream, "w") as archive:
        for name, data in sorted(contents.items()):
            entry = zipfile.ZipInfo(name, ZIP_DATE)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED)
