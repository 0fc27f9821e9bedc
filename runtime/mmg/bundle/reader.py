"""Opening a bundle: nothing in it is believed before it is checked, and nothing is read that is not asked for."""

from __future__ import annotations

import hashlib
import io
import stat
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol

from mmg.backends import CPU_ONLY, Session, open_session
from mmg.bounded_zip import ZIP_ERRORS, BoundedZip
from mmg.bundle.keys import PublicKey, read_public_key
from mmg.bundle.manifest import Manifest, ManifestError, ModelFile, StoredFile, decode
from mmg.bundle.signature import SIGNATURE_LIMIT_BYTES, Signature, check_signature, parse_signature
from mmg.bundle.zip_form import Entry, has_form
from mmg.errors import BundleError, MmgError
from mmg.printable import printable

STARTER = Path(__file__).resolve().parent.parent / "starter"
MANIFEST = "manifest.json"
CARD = "MODEL_CARD.md"
SIGNATURE = "manifest.sig"
MANIFEST_LIMIT_BYTES = CARD_LIMIT_BYTES = 1 << 20
ENTRY_LIMIT = 256
LIST_LIMIT_BYTES = 128 << 10
"""Of a zip: twice what so many entries need, with names and extra fields."""
LARGEST_RATIO, SMALL_BYTES = 20, 16 << 20
"""More than so many bytes from one are no weights, where it is more than the second in all: these hardly deflate,
and to a seventh where nine of ten are zero."""


class Bundle:
    """A verified manifest and the way to its files.

    Opening reads ``manifest.json`` and the list of names only. ``read`` gives the bytes of one model file after its
    size and SHA-256 were compared: those bytes, and not the file, go to the model library.
    """

    def __init__(
        self, path: Path, manifest: Manifest, manifest_bytes: bytes, container: _Container, *, trusted: bool
    ) -> None:
        self.path, self.manifest, self.manifest_bytes = path, manifest, manifest_bytes
        self._container = container
        self.trusted = trusted
        """Whether somebody vouches for its models, so that they run here without a trial."""
        self.tell: Callable[[str], object] = lambda _line: None
        """Called with a line that is worth reading."""

    @classmethod
    def open(
        cls,
        path: str | Path,
        trust: str | Path | PublicKey | None = None,
        tell: Callable[[str], object] | None = None,
    ) -> Bundle:
        """Open a directory or a ``.mmg`` file; ``starter`` is the one that mmg carries.

        trust: a public key, or its file. A bundle that its owner did not sign, or that was altered since, is refused
        before its manifest is decoded. The models of one without are tried before they run, but for the starter's.
        tell: called with a line that is worth reading, as that models were tried.

        Raises BundleError; with ``trust`` also ConfigError and BackendUnavailable.
        """
        where = STARTER if str(path) == "starter" else Path(path)
        key = read_public_key(trust) if isinstance(trust, str | Path) else trust
        container = _open_container(where)
        try:
            data = container.read(MANIFEST, MANIFEST_LIMIT_BYTES)
            if key is not None:
                _check_trust(where, container, data, key)
            manifest = decode(data)
            _check_names(where, manifest, container.names(), whole=key is not None)
            if key is not None:
                container.check_form()
        except ManifestError as problem:
            container.close()
            raise BundleError(str(where), problem.field, problem.problem) from problem
        except MmgError:
            container.close()
            raise
        bundle = cls(where, manifest, data, container, trusted=key is not None or where.resolve() == STARTER)
        bundle.tell = tell or bundle.tell
        return bundle

    @property
    def digest(self) -> str:
        """The SHA-256 of the manifest, which names those of all files: what is decided depends on nothing else."""
        return hashlib.sha256(self.manifest_bytes).hexdigest()

    def names(self) -> set[str]:
        """The paths of all its files."""
        return set(self._container.names())

    def place_of(self, file: StoredFile) -> str:
        """How messages name a file of this bundle."""
        return printable(f"bundle {self.path}: {file.path}")

    def read(self, file: StoredFile) -> bytes:
        """The bytes of one file that the manifest names, verified. Raises BundleError."""
        data = self._container.read(file.path, file.bytes)
        if len(data) != file.bytes:
            problem = f"has {len(data)} bytes, the manifest says {file.bytes}: the bundle is cut or altered"
            raise BundleError(str(self.path), file.path, problem)
        if hashlib.sha256(data).hexdigest() != file.sha256:
            raise BundleError(str(self.path), file.path, "its SHA-256 is not the manifest's: the bundle is altered")
        return data

    def open_session(self, file: ModelFile, *, threads: int = 1, providers: tuple[str, ...] = CPU_ONLY) -> Session:
        """The model in a file that was tried, verified once more; ``providers`` as ``mmg.backends`` takes them.

        Raises BundleError, ModelError, BackendUnavailable.
        """
        data = self.read(file)
        return open_session(file.backend, data, self.place_of(file), threads=threads, providers=providers)

    def require_tried(self, files: Sequence[ModelFile]) -> None:
        """Have these models tried in a process of their own, where nobody vouches for them and none was here before.

        To be called before a library sees the first one. Raises BundleError, ModelError, ShapeMismatch.
        """
        if not self.trusted:
            from mmg.trial import require_models

            require_models(self, files)

    def read_card(self) -> bytes | None:
        """The model card as it is, None where there is none. Raises BundleError."""
        return _read_card(self.path, self._container)

    def read_signature(self) -> Signature | None:
        """The signature, not checked, None where there is none. Raises BundleError."""
        return _read_signature(self.path, self._container)

    def close(self) -> None:
        """Let go of the file."""
        self._container.close()

    def __enter__(self) -> Bundle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Container(Protocol):
    def names(self) -> list[str]: ...
    def check_form(self) -> None: ...
    def read(self, name: str, limit_bytes: int) -> bytes: ...
    def close(self) -> None: ...


def _check_trust(path: Path, container: _Container, manifest: bytes, key: PublicKey) -> None:
    check_signature(str(path), manifest, _read_card(path, container), _read_signature(path, container), key)


def _check_names(path: Path, manifest: Manifest, names: list[str], *, whole: bool) -> None:
    named, beside = {file.path for file in manifest.stored()}, {MANIFEST, CARD, SIGNATURE}
    for name in sorted(named & beside):
        raise BundleError(str(path), name, "is a reserved name, which a model file cannot have")
    for name in names:
        if name not in named | beside:
            raise BundleError(str(path), name, "is in the bundle, but the manifest does not name it")
    for name in sorted(named - set(names)) if whole else ():
        raise BundleError(str(path), name, "is missing: it was taken out after the bundle was signed")


def _read_card(path: Path, container: _Container) -> bytes | None:
    card = _read_optional(container, CARD, CARD_LIMIT_BYTES)
    if card == b"":
        # A signature is the same for an empty card and for none: it could be added afterwards.
        raise BundleError(str(path), CARD, "is empty: write one, or remove it")
    return card


def _read_signature(path: Path, container: _Container) -> Signature | None:
    stored = _read_optional(container, SIGNATURE, SIGNATURE_LIMIT_BYTES)
    return None if stored is None else parse_signature(stored, str(path), SIGNATURE)


def _read_optional(container: _Container, name: str, limit_bytes: int) -> bytes | None:
    return container.read(name, limit_bytes) if name in container.names() else None


def _open_container(path: Path) -> _Container:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise BundleError(str(path), "", "there is no such file or directory") from error
    except (OSError, ValueError) as error:  # ValueError for a path with a null character
        raise BundleError(str(path), "", f"cannot be opened: {error}") from error
    if stat.S_ISDIR(mode):
        return _Directory(path)
    if stat.S_ISREG(mode):
        return _Zip(path)
    raise BundleError(str(path), "", "is neither a directory nor a regular file")


class _Directory:
    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> list[str]:
        found: list[str] = []
        pending = [self._path]
        while pending:
            folder = pending.pop()
            inside = self._entries(folder)
            if not inside and folder != self._path:
                found.append(f"{folder.relative_to(self._path).as_posix()}/")  # an empty folder has a name too
            for entry in inside:
                name = entry.relative_to(self._path).as_posix()
                if entry.is_symlink():
                    raise BundleError(str(self._path), name, "is a symbolic link, which a bundle may not contain")
                if entry.is_dir():
                    pending.append(entry)
                else:
                    found.append(name)
                if len(found) + len(pending) > ENTRY_LIMIT:
                    raise BundleError(str(self._path), "", f"holds more than {ENTRY_LIMIT} files")
        return found

    def check_form(self) -> None:
        """A folder has one form."""

    def _entries(self, folder: Path) -> list[Path]:
        try:
            return sorted(folder.iterdir())
        except OSError as error:
            raise BundleError(str(self._path), folder.name, f"cannot be listed: {error.strerror}") from error

    def read(self, name: str, limit_bytes: int) -> bytes:
        place = self._path / name
        try:
            for part in (place, *place.parents[: name.count("/")]):
                if part.is_symlink():
                    raise BundleError(str(self._path), name, "is a symbolic link, which a bundle may not contain")
            if not stat.S_ISREG(place.stat().st_mode):
                raise BundleError(str(self._path), name, "is not a regular file")
            with place.open("rb") as stream:
                return _bounded(stream, limit_bytes, str(self._path), name)
        except OSError as error:
            raise BundleError(str(self._path), name, f"cannot be read: {error.strerror}") from error

    def close(self) -> None:
        pass


class _Zip:
    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._zip = BoundedZip(path, LIST_LIMIT_BYTES)
        except OSError as error:
            raise BundleError(str(path), "", f"cannot be read: {error.strerror or error}") from error
        except ZIP_ERRORS as error:
            raise BundleError(str(path), "", f"is not a whole .mmg file: {error}") from error
        try:
            self._check()
        except BundleError:
            self._zip.close()
            raise

    def _check(self) -> None:
        entries = self._zip.infolist()
        if len(entries) > ENTRY_LIMIT:
            raise BundleError(str(self._path), "", f"holds more than {ENTRY_LIMIT} files")
        seen: set[str] = set()
        for entry in entries:
            if stat.S_ISLNK(entry.external_attr >> 16):
                raise BundleError(str(self._path), entry.filename, "is a symbolic link, which a bundle may not contain")
            if not entry.filename:
                raise BundleError(str(self._path), "", "holds a file without a name")
            if entry.filename in seen:
                raise BundleError(str(self._path), entry.filename, "appears twice")
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                # zipfile unpacks a whole block of the other methods at once, whatever the limit.
                raise BundleError(str(self._path), entry.filename, "is neither stored nor deflated")
            if entry.file_size > max(SMALL_BYTES, LARGEST_RATIO * entry.compress_size):
                problem = (
                    f"holds more than can be: {entry.file_size >> 20} MiB, over {LARGEST_RATIO} times what it takes"
                )
                raise BundleError(str(self._path), entry.filename, problem)
            seen.add(entry.filename)

    def names(self) -> list[str]:
        return [entry.filename for entry in self._zip.infolist() if not entry.is_dir()]

    def check_form(self) -> None:
        """Raises BundleError unless each byte of the archive follows from its files."""
        entries = [Entry(entry.orig_filename.encode(), entry.CRC, entry.file_size) for entry in self._zip.infolist()]
        try:
            is_whole = has_form(self._zip.stream, entries)
        except OSError as error:
            raise BundleError(str(self._path), "", f"cannot be read: {error.strerror}") from error
        if not is_whole:
            problem = "was packed anew or altered since it was signed: sign it again, or fetch it again from its owner"
            raise BundleError(str(self._path), "", problem)

    def read(self, name: str, limit_bytes: int) -> bytes:
        try:
            with self._zip.open(name) as stream:
                return _bounded(stream, limit_bytes, str(self._path), name)
        except KeyError as error:
            raise BundleError(str(self._path), name, "is missing") from error
        except ZIP_ERRORS as error:
            raise BundleError(str(self._path), name, f"cannot be read: {error}") from error

    def close(self) -> None:
        self._zip.close()


def _bounded(stream: IO[bytes], limit_bytes: int, path: str, name: str) -> bytes:
    # One byte more than allowed is all that a zip bomb gets to unpack.
    gathered = io.BytesIO()
    while block := stream.read(min(1 << 20, limit_bytes + 1 - gathered.tell())):
        gathered.write(block)
        if gathered.tell() > limit_bytes:
            raise BundleError(path, name, f"holds more than the {limit_bytes} bytes that are allowed")
    return gathered.getvalue()
