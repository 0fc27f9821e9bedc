"""A batch's folder for temporary files."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from mmg.folder_lock import held_folder

PREFIX, MARK = ".mmg-batch-", ".mmg-batch-held"


def workspace() -> AbstractContextManager[Path]:
    """See ``held_folder``."""
    return held_folder(PREFIX, MARK)
