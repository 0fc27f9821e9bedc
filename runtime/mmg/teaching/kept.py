"""The file of what is taught as a command knows it that adds to it, while others may write it too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from mmg.errors import ConfigError
from mmg.teaching.store import change_taught
from mmg.teaching.taught import Example, Taught, for_bundle
from mmg.teaching.trace import Trace

if TYPE_CHECKING:
    from mmg.bundle import Manifest


class Kept:
    """``taught``: what the file has, as far as is known; ``keep`` adds to what it has by then. ``added``: examples.

    path: of the file, which may not be there yet. manifest: of the bundle whose encoders it is taught with.
    """

    def __init__(self, path: Path, manifest: Manifest, taught: Taught) -> None:
        self.taught, self.added = taught, 0
        self._path, self._manifest = path, manifest
        self._was_there = path.exists()
        self._was_gone = False

    def keep(
        self,
        name: str,
        examples: Sequence[Example],
        background: Mapping[str, Sequence[Trace]],
        taken: Mapping[str, Sequence[Trace]] = MappingProxyType({}),
    ) -> str:
        """Add examples of this activity and background to the file. taken: what is no background any more, as it is
        labelled as what is taught. Returns a line where the file was gone meanwhile, and is written anew with all that
        is known; else an empty one. Raises ConfigError where it cannot be added: the file stays then as it is."""

        added = 0

        def change(now: Taught) -> Taught:
            nonlocal added
            whole = self._of_bundle(now)
            for example in examples:
                more = whole.add(name, example)
                added += more is not whole
                whole = more
            for modality, traces in taken.items():
                whole = whole.without_background(modality, traces)
            for modality, traces in background.items():
                whole = whole.with_background(modality, traces)
            return whole

        self._was_gone = False
        self.taught = change_taught(self._path, change, self._begin)
        self.added += added
        self._was_there = True
        return f"{self._path} was gone: it is written anew, with all that was taught here" if self._was_gone else ""

    def _begin(self) -> Taught:
        self._was_gone = self._was_there
        return self.taught

    def _of_bundle(self, now: Taught) -> Taught:
        try:
            return for_bundle(now, self._manifest)
        except ConfigError as error:
            raise ConfigError(f"{self._path}: {error}, in another file (-o FILE); nothing is added to it") from error
