"""The flag ``--taught``: a file of activities that mmg-teach made."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from mmg.errors import ConfigError

if TYPE_CHECKING:
    from mmg.bundle import Manifest
    from mmg.teaching.taught import Taught

MOST_TOLD = 3


def open_taught(path: Path | None, manifest: Manifest, *, may_begin: bool = False) -> Taught | None:
    """The activities of this file. may_begin: whether there may be none yet, nor a file, as the run itself teaches.

    Raises ConfigError where it is of other encoders, or none is in it, or more than can be compared in time.
    """
    if path is None:
        return None
    from mmg.teaching.store import read_taught
    from mmg.teaching.taught import check_comparable, for_bundle, nothing_taught

    if may_begin and not path.exists():
        if not path.parent.is_dir():
            raise ConfigError(f"--taught {path}: there is no folder {path.parent}")
        return nothing_taught(manifest)
    taught = read_taught(path)
    try:
        taught = for_bundle(taught, manifest)
        check_comparable(taught)
    except ConfigError as error:
        raise ConfigError(f"--taught {path}: {error}") from error
    if not (taught.names or may_begin):
        raise ConfigError(f"--taught {path}: nothing is taught in it")
    return taught


def tell_unheard(taught: Taught | None, sensors: Collection[str], report: Callable[[str], None]) -> None:
    """Say in a line which activities were taught with none of these sensors: the run never knows them."""
    unheard = [one for one in taught.activities if not set(one.modalities) & set(sensors)] if taught else []
    if unheard:
        names = ", ".join(one.name for one in unheard[:MOST_TOLD])
        more = f" and {len(unheard) - MOST_TOLD} more" if len(unheard) > MOST_TOLD else ""
        used = ", ".join(sorted({name for one in unheard for name in one.modalities}))
        report(f"{names}{more}: taught with {used}, and so never known from {', '.join(sensors)} alone")
