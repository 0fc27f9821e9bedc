"""A bundle that a device asks for: fetched whole, from a signed index, never older than what it has.

``PATH.version`` beside the bundle remembers the newest version that was checked here. Without it nobody knows how old
the bundle is: it stays, unless it is the one that is offered or the caller says otherwise.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO, TypeAlias
from urllib.parse import urljoin

import msgspec
from mmg_device_profiles.regular_file import read_within

from mmg.atomic_write import atomic_write, real_path
from mmg.bundle.download import check_url, download
from mmg.bundle.index import INDEX, LARGEST_INDEX_BYTES, LARGEST_VERSION, Hex64, Index, Offer, decode
from mmg.bundle.keys import PublicKey
from mmg.bundle.reader import Bundle
from mmg.errors import BundleError, ConfigError, FetchError

INDEX_WITHIN_S, BUNDLE_WITHIN_S = 60.0, 1800.0
MOST_VERSION_BYTES = 4096
Told: TypeAlias = Callable[[int, int], object]
"""Called with the bytes that have come, and all that will."""


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """What ``PATH.version`` holds."""

    name: str
    version: Annotated[int, msgspec.Meta(ge=1, le=LARGEST_VERSION)]
    digest: Hex64


def fetch(
    url: str,
    key: PublicKey,
    path: Path | None,
    name: str | None = None,
    told: Told = lambda _done, _of: None,
    *,
    may_replace: bool = False,
) -> tuple[Path, Offer, bool]:
    """Put the newest bundle of an index at a path, unless it is there. Returns where, what, and whether it is new.

    url: of ``index.json``, or of its folder, ending in a slash. path: by default ``NAME.mmg`` in the current folder.
    name: which one; by default that of the bundle at the path, or else the only one. may_replace: also a bundle
    whose age is not known.

    Whatever goes wrong, what was at the path stays. Raises FetchError, ConfigError, BackendUnavailable.
    """
    check_url(url)
    url = url + INDEX if url.endswith("/") else url
    path = _behind_links(path) if path else None
    known, here = (_read_version(path), _bundle_at(path)) if path else (None, None)
    try:
        index = _fetch_index(url, key)
        offer = _choose(url, index, name or (here[0] if here else known.name if known else None))
        path = path or _behind_links(Path(f"{offer.name}.mmg"))
        with _alone(path):
            known, here = _read_version(path), _bundle_at(path)
            if known is None and not may_replace:
                _refuse_unknown(path, offer, here)
            is_new = not _is_there(url, path, offer, known, here)
            if is_new:
                _replace(url, path, offer, key, told)
    except FetchError as error:
        raise FetchError(error.url, error.problem, _kept(path, known, here)) from error
    except BundleError as error:
        raise FetchError(error.path, error.problem, _kept(path, known, here)) from error
    except OSError as error:
        problem = f"cannot be written: {error.strerror or error}"
        raise FetchError(str(path), problem, _kept(path, known, here)) from error
    return path, offer, is_new


def _fetch_index(url: str, key: PublicKey) -> Index:
    data = io.BytesIO()
    download(url, data, most_bytes=LARGEST_INDEX_BYTES, within_s=INDEX_WITHIN_S)
    return decode(data.getvalue(), url, key)


def _choose(url: str, index: Index, name: str | None) -> Offer:
    names = ", ".join(offer.name for offer in index.bundles) or "nothing"
    if name is None:
        if len(index.bundles) != 1:
            raise FetchError(url, f"offers {names}: choose one with --name")
        return index.bundles[0]
    offer = index.of(name)
    if offer is None:
        raise FetchError(url, f"does not offer {name}, but {names}")
    return offer


def _is_there(url: str, path: Path, offer: Offer, known: Version | None, here: tuple[str, str] | None) -> bool:
    """Whether the offer is what is here. Raises FetchError for one that must not take its place."""
    for name in (here[0] if here else None, known.name if known else None):
        if name not in (None, offer.name):
            raise FetchError(url, f"offers {offer.name}, and {path} is for {name}: choose another place with -o")
    if known is None or offer.version > known.version:
        return False
    if offer.version < known.version:
        raise FetchError(url, f"offers version {offer.version} of {offer.name}, older than version {known.version}")
    if offer.digest != known.digest:
        raise FetchError(url, f"offers another bundle as version {offer.version} than the one that was fetched")
    return here is not None and here[1] == offer.digest  # else it was removed or altered: fetch it again


def _refuse_unknown(path: Path, offer: Offer, here: tuple[str, str] | None) -> None:
    """Raises FetchError where a bundle is here that is another one."""
    if here is not None and here[1] != offer.digest:
        problem = f"was not fetched, and may be newer than version {offer.version}: --force replaces it"
        raise FetchError(str(path), problem)


def _replace(url: str, path: Path, offer: Offer, key: PublicKey, told: Told) -> None:
    try:
        place = urljoin(url, offer.url)
        check_url(place)
    except (ConfigError, ValueError) as error:
        raise FetchError(url, f"names a place that is not fetched from: {error}") from error
    if url.startswith("https:") and not place.startswith("https:"):
        raise FetchError(url, f"leads from https to {place}, which is not followed")
    with atomic_write(path) as stream:
        hashed = _Hashed(stream, offer.bytes, told)
        size = download(place, hashed, most_bytes=offer.bytes, within_s=BUNDLE_WITHIN_S)
        if size < offer.bytes:
            raise FetchError(place, f"was cut off after {size} of {offer.bytes} bytes")
        if hashed.sha256 != offer.sha256:
            raise FetchError(place, "its SHA-256 is not the index's: it is damaged, or another file")
        stream.flush()
        _check(Path(stream.name), place, offer, key)
        _note(path, offer)  # before the bundle: who is killed in between fetches it again, and nothing older


def _note(path: Path, offer: Offer) -> None:
    version = Version(name=offer.name, version=offer.version, digest=offer.digest)
    with atomic_write(_version_path(path)) as stream:
        stream.write(msgspec.json.encode(version) + b"\n")


class _Hashed:
    """A file that is hashed as it is written."""

    def __init__(self, stream: BinaryIO, total: int, told: Told) -> None:
        self._stream, self._total, self._told = stream, total, told
        self._hash, self._size = hashlib.sha256(), 0

    @property
    def sha256(self) -> str:
        """Of what was written."""
        return self._hash.hexdigest()

    def write(self, block: bytes, /) -> int:
        """Raises OSError."""
        self._hash.update(block)
        self._size += len(block)
        self._told(self._size, self._total)
        return self._stream.write(block)


def _check(path: Path, place: str, offer: Offer, key: PublicKey) -> None:
    """Raises FetchError unless it is the bundle that is offered, signed as a run with ``--trust`` wants it."""
    try:
        with Bundle.open(path, trust=key) as bundle:
            found = bundle.manifest.name, bundle.digest
            for file in bundle.manifest.stored():
                bundle.read(file)
    except BundleError as error:
        problem = f"{error.field}: {error.problem}" if error.field else error.problem
        raise FetchError(place, problem) from error
    if found != (offer.name, offer.digest):
        raise FetchError(place, f"is {found[0]} {found[1][:12]}, and not {offer.name} {offer.digest[:12]} of the index")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Raises FetchError while another process fetches into this folder."""
    folder = os.open(path.absolute().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise FetchError(str(path), "another mmg-bundle fetches into this folder just now") from error
    finally:
        os.close(folder)


def _bundle_at(path: Path) -> tuple[str, str] | None:
    """The name and digest of the bundle that is here; None where there is none, or one that was fetched and is damaged.

    Raises ConfigError for what is something else.
    """
    if path.is_dir():
        raise ConfigError(f"{path}: is a folder; what is fetched is one file: choose another place with -o")
    try:
        with Bundle.open(path) as bundle:
            return bundle.manifest.name, bundle.digest
    except BundleError as error:
        if path.exists() and not _version_path(path).exists():
            raise ConfigError(f"{path}: is there, and is no bundle: choose another place with -o") from error
        return None


def _behind_links(path: Path) -> Path:
    """What is replaced, so that a link stays one."""
    return real_path(path) if path.is_symlink() else path


def _version_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.version")


def _read_version(path: Path) -> Version | None:
    """Raises ConfigError for one that cannot be read: without it an older bundle could be taken for a newer one."""
    place = _version_path(path)
    try:
        return msgspec.json.decode(read_within(place, MOST_VERSION_BYTES), type=Version)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"{place}: cannot be read: {why}: remove it to take any version") from error


def _kept(path: Path | None, known: Version | None, here: tuple[str, str] | None) -> str:
    """What is told of what was here."""
    if path is None or here is None:
        return "nothing was fetched"
    is_known = known is not None and known.digest == here[1]
    return f"{path} stays as it was" + (f", version {known.version}" if known and is_known else "")
