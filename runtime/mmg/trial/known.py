"""What ran well here before: an empty file for each, in a folder of this user's."""

from __future__ import annotations

import hashlib
import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mmg.backends import INSTALL, PACKAGES

TRIAL = "mmg-trial/1"
"""To be counted up where a trial asks more of a model than it did: what was known is tried again."""


def key_of(backend: str, model_sha256: str, inputs: bytes) -> str:
    """Of a model's bytes, what it was run on, and the library that ran it."""
    parts = (TRIAL, backend, library_version(backend), model_sha256, hashlib.sha256(inputs).hexdigest())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def library_version(backend: str) -> str:
    """Which package runs it here, and which version of it; without its metadata just the package."""
    for name in dict.fromkeys((INSTALL[backend], *PACKAGES[backend])):
        try:
            return f"{name} {version(name)}"
        except PackageNotFoundError:
            continue
    return PACKAGES[backend][0]


class Known:
    """The folder: a service's own where systemd names one, else below the user's caches.

    place: None where there is none.
    """

    def __init__(self) -> None:
        self.place = _place()

    def has(self, key: str) -> bool:
        """Whether it was noted, by this user and not by another who may write there."""
        if self.place is None:
            return False
        try:
            return (self.place / key).lstat().st_uid == os.geteuid()
        except OSError:
            return False

    def add(self, key: str) -> str:
        """Note it; why that cannot be, or nothing."""
        if self.place is None:
            return "there is no folder for caches"
        try:
            self.place.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.place / key, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600))
        except OSError as error:
            return f"{self.place} cannot be written: {error.strerror}"
        return ""


def _place() -> Path | None:
    for name in ("CACHE_DIRECTORY", "STATE_DIRECTORY"):
        if given := os.environ.get(name, "").partition(":")[0]:  # systemd lists several with colons
            return Path(given) / "tried"
    caches = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(caches):  # noqa: PTH117 (the specification has relative ones ignored)
        home = os.path.expanduser("~")  # noqa: PTH111 (Path.home raises where there is none)
        if not os.path.isabs(home):  # noqa: PTH117
            return None
        caches = f"{home}/.cache"
    return Path(caches) / "mmg" / "tried"
