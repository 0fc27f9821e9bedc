"""A folder of bundles as it is offered to devices: ``index.json``, signed with the key that signed the bundles.

What is signed is ``DOMAIN`` and the SHA-256 of the value of ``index`` in the file, byte for byte. A device compares
versions, which are numbers that only grow, and never puts an older bundle in the place of a newer one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote

import msgspec
from mmg_device_profiles.regular_file import read_within

from mmg.atomic_write import atomic_write
from mmg.bundle.keys import PrivateKey, PublicKey
from mmg.bundle.reader import Bundle
from mmg.errors import BundleError, ConfigError

INDEX, SCHEMA = "index.json", "mmg-index/1"
DOMAIN = b"mmg-index/1 signature\n"
LARGEST_INDEX_BYTES = 1 << 20
LARGEST_BUNDLE_BYTES = 1 << 30
LARGEST_VERSION = (1 << 53) - 1
"""The largest that every reader of JSON holds exactly."""
Hex64 = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """One bundle. digest: of its manifest (``Bundle.digest``). sha256, bytes: of its file. url: absolute, or relative
    to the index's own."""

    name: Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")]
    version: Annotated[int, msgspec.Meta(ge=1, le=LARGEST_VERSION)]
    digest: Hex64
    sha256: Hex64
    bytes: Annotated[int, msgspec.Meta(ge=1, le=LARGEST_BUNDLE_BYTES)]
    url: Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """All that is offered, each name once. newest: the highest version that was ever given, whatever its name.

    Keys that it does not know are left alone: a device may be older than the index.
    """

    schema: Literal["mmg-index/1"] = "mmg-index/1"
    newest: Annotated[int, msgspec.Meta(ge=0, le=LARGEST_VERSION)] = 0
    bundles: Annotated[tuple[Offer, ...], msgspec.Meta(max_length=1000)] = ()

    def __post_init__(self) -> None:
        names = [offer.name for offer in self.bundles]
        if len(set(names)) < len(names):
            raise ValueError("a name is offered twice")

    def of(self, name: str) -> Offer | None:
        """The offer of this name."""
        return next((offer for offer in self.bundles if offer.name == name), None)


class _Signed(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file."""

    index: msgspec.Raw
    public_key: Hex64
    signature: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{128}\Z")]


def encode(index: Index, key: PrivateKey) -> bytes:
    """The signed file, the same for the same index and key. Raises BackendUnavailable."""
    body = msgspec.json.encode(index)
    signature = key.sign(_message(body)).hex()
    signed = _Signed(index=msgspec.Raw(body), public_key=key.public.data.hex(), signature=signature)
    return msgspec.json.encode(signed) + b"\n"


def decode(data: bytes, place: str, key: PublicKey) -> Index:
    """What the file says, once its signature holds. place: for the BundleError that this raises where it does not."""
    try:
        signed = msgspec.json.decode(data, type=_Signed)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(place, "", f"is not an index of bundles: {error}") from error
    signer = PublicKey(bytes.fromhex(signed.public_key))
    if signer != key:
        problem = f"is signed by key {signer.fingerprint}, but only key {key.fingerprint} is trusted"
        raise BundleError(place, "", problem)
    if not key.verifies(_message(bytes(signed.index)), bytes.fromhex(signed.signature)):
        raise BundleError(place, "", f"was altered since key {key.fingerprint} signed it")
    try:
        return msgspec.json.decode(signed.index, type=Index)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(place, "", f"is not an index that this mmg understands: {error}") from error


def write_index(folder: Path, key: PrivateKey, tell: Callable[[str], object], version: int | None = None) -> Index:
    """Offer every ``.mmg`` in the folder, each verified and signed by this key, in ``folder/index.json``.

    What the index had already keeps its version; what is new or changed gets the next one, or this one, which must be
    higher than any before. tell: called with a line for each. Raises ConfigError, BundleError, BackendUnavailable,
    OSError.
    """
    before = _before(folder, key.public)
    if version is not None and version <= before.newest:
        raise ConfigError(f"--new-version {version}: version {before.newest} was given already: choose a higher one")
    following = before.newest + 1 if version is None else version
    offers: dict[str, Offer] = {}
    for path in sorted(folder.glob("*.mmg")):
        offer = _offer(path, key.public, before, following)
        if offer.name in offers:
            raise BundleError(
                str(path), "", f"is called {offer.name}, as {offers[offer.name].url} is: offer one of them"
            )
        offers[offer.name] = offer
        tell(f"{offer.url}: {offer.name}, version {offer.version}, digest {offer.digest[:12]}")
    if not offers:
        raise ConfigError(f"{folder}: has no .mmg file to offer: mmg-bundle pack makes one of a folder")
    newest = max(before.newest, *(offer.version for offer in offers.values()))
    index = Index(newest=newest, bundles=tuple(offers[name] for name in sorted(offers)))
    is_first = not (folder / INDEX).exists()
    with atomic_write(folder / INDEX) as stream:
        stream.write(encode(index, key))
    if is_first and version is None:
        tell(f"{folder / INDEX}: is the first one here: devices that have fetched before need a higher --new-version")
    return index


def _before(folder: Path, key: PublicKey) -> Index:
    """The index so far. Raises BundleError for one that cannot be gone on with, and BackendUnavailable."""
    if not (folder / INDEX).exists():
        return Index()
    try:
        return read_index(folder, key)
    except BundleError as error:
        way_out = "put a copy in its place, or remove it and give a --new-version higher than any before"
        raise BundleError(error.path, error.field, f"{error.problem}: {way_out}") from error


def read_index(folder: Path, key: PublicKey) -> Index:
    """That of a folder. Raises BundleError, BackendUnavailable."""
    place = folder / INDEX
    try:
        return decode(read_within(str(place), LARGEST_INDEX_BYTES), str(place), key)
    except OSError as error:
        raise BundleError(str(place), "", f"cannot be read: {error.strerror or error}") from error


def _offer(path: Path, key: PublicKey, before: Index, following: int) -> Offer:
    with Bundle.open(path, trust=key) as bundle:
        for file in bundle.manifest.stored():
            bundle.read(file)
        name, digest = bundle.manifest.name, bundle.digest
    try:
        url = quote(path.name)
    except UnicodeEncodeError as error:
        raise BundleError(str(path), "", "cannot be offered: its name is no UTF-8: rename it") from error
    sha256, size = _hash(path)
    old = before.of(name)
    version = old.version if old and old.sha256 == sha256 else following
    offer = {
        "name": name,
        "version": version,
        "digest": digest,
        "sha256": sha256,
        "bytes": size,
        "url": url,
    }
    try:
        return msgspec.convert(offer, Offer)
    except msgspec.ValidationError as error:
        raise BundleError(str(path), "", f"cannot be offered: {error}") from error


def _hash(path: Path) -> tuple[str, int]:
    """The SHA-256 of a file, and its bytes."""
    found, size = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            found.update(block)
            size += len(block)
    return found.hexdigest(), size


def _message(body: bytes) -> bytes:
    return DOMAIN + hashlib.sha256(body).digest()
