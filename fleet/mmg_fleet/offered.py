"""The bundles that this fleet offers, and all that it ever did: a wearable says which one it runs by its digest."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import msgspec
from mmg.bundle.index import INDEX, LARGEST_INDEX_BYTES, Index
from mmg.errors import ConfigError
from mmg_device_profiles.regular_file import read_within


class Known(NamedTuple):
    """A bundle that is or was offered."""

    name: str
    version: int


class _Signed(msgspec.Struct):
    index: Index


def read_offers(folder: Path) -> Index:
    """What a folder's index offers. Its signature is for devices: here the folder's owner says what is offered.

    Raises OSError, and ValueError for one that is none.
    """
    try:
        return msgspec.json.decode(read_within(folder / INDEX, LARGEST_INDEX_BYTES), type=_Signed).index
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(str(error)) from error


def files_of(index: Index) -> set[str]:
    """The names of what is offered from the index's own folder."""
    return {unquote(offer.url) for offer in index.bundles}


class Offered:
    """known: digest -> what it is. newest: name -> the version that is offered now. Both are empty where nothing is."""

    def __init__(self, folder: Path | None = None, known: dict[str, Known] | None = None) -> None:
        self.folder, self.known = folder, known or {}
        self.newest: dict[str, int] = {}
        self._seen: tuple[int, int] | None = None

    def reread(self) -> bool:
        """Look whether the folder's index is another one, and take it. Raises ConfigError for one that is none."""
        if self.folder is None:
            return False
        place = self.folder / INDEX
        try:
            found = place.stat()
            seen = found.st_mtime_ns, found.st_ino
            if seen == self._seen:
                return False
            index = read_offers(self.folder)
        except OSError as error:
            raise ConfigError(f"{place}: cannot be read: {error.strerror}: mmg-bundle index makes it") from error
        except ValueError as error:
            raise ConfigError(f"{place}: is not an index of bundles: {error}") from error
        self._seen = seen
        self.newest = {offer.name: offer.version for offer in index.bundles}
        self.known |= {offer.digest: Known(offer.name, offer.version) for offer in index.bundles}
        return True

    def problem(self, bundle: str, digest: str) -> str:
        """What is wrong with a wearable that says it runs this bundle; empty where nothing is, or nothing is known."""
        if not self.newest or not digest:
            return ""
        known = self.known.get(digest)
        if known is None:
            return f"runs a bundle {bundle} that was never offered here, digest {digest[:12]}"
        if known.name != bundle:
            return f"calls its bundle {bundle}, and its digest is that of {known.name}"
        return ""
