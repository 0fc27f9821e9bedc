"""The flag ``--taught``: a file of activities that mmg-teach made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mmg.errors import ConfigError

if TYPE_CHECKING:
    from mmg.bundle import Manifest
    from mmg.teaching.scorer import Scorer


def open_taught(path: Path | None, manifest: Manifest) -> Scorer | None:
    """What knows the activities of this file. Raises ConfigError where it is of other encoders, or none is in it."""
    if path is None:
        return None
    from mmg.teaching.scorer import Scorer
    from mmg.teaching.store import read_taught
    from mmg.teaching.taught import check_encoders

    taught = read_taught(path)
    try:
        check_encoders(taught, manifest)
    except ConfigError as error:
        raise ConfigError(f"--taught {path}: {error}") from error
    if not taught.names:
        raise ConfigError(f"--taught {path}: nothing is taught in it")
    return Scorer(taught, manifest.hop_s)
