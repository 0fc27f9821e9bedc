"""The flag ``--taught``: a file of activities that mmg-teach made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mmg.errors import ConfigError

if TYPE_CHECKING:
    from mmg.bundle import Manifest
    from mmg.teaching.taught import Taught


def open_taught(path: Path | None, manifest: Manifest, *, may_begin: bool = False) -> Taught | None:
    """The activities of this file. may_begin: whether there may be none yet, nor a file, as the run itself teaches.

    Raises ConfigError where it is of other encoders, or none is in it.
    """
    if path is None:
        return None
    from mmg.teaching.store import read_taught
    from mmg.teaching.taught import for_bundle, nothing_taught

    if may_begin and not path.exists():
        if not path.parent.is_dir():
            raise ConfigError(f"--taught {path}: there is no folder {path.parent}")
        return nothing_taught(manifest)
    taught = read_taught(path)
    try:
        taught = for_bundle(taught, manifest)
    except ConfigError as error:
        raise ConfigError(f"--taught {path}: {error}") from error
    if not (taught.names or may_begin):
        raise ConfigError(f"--taught {path}: nothing is taught in it")
    return taught
