"""Where the labels of a recording are: beside it, so that the recording itself is never changed, or marked in it."""

from __future__ import annotations

import os
from pathlib import Path

from mmg.labels.label import Label
from mmg.labels.reader import read_labels

IN_FOLDER, BESIDE = "labels.csv", ".labels.csv"


def labels_file(recording: Path) -> Path:
    """``labels.csv`` in a folder; ``day.labels.csv`` beside ``day.mcap``. It need not be there."""
    is_folder = os.path.isdir(recording)  # noqa: PTH112 (which raises nothing where a folder is closed)
    return recording / IN_FOLDER if is_folder else recording.with_name(f"{recording.stem}{BESIDE}")


def labels_of(recording: Path) -> tuple[Label, ...]:
    """The labels that lie beside a recording, else those of the marks in it; none where there are neither.

    Raises ConfigError where they cannot be, SourceError, BackendUnavailable where a recording of mmg cannot be read.
    """
    beside = labels_file(recording)
    if beside.exists():
        return read_labels(beside)
    if not recording.is_file():
        return ()
    from mmg.sources.files.contents import container_of

    if container_of(recording) != "mcap":
        return ()
    from mmg.recording.marks import marked

    return tuple(marked(recording))


def is_labels_file(path: Path) -> bool:
    """Whether a file's name says that it holds labels, and so no sensor."""
    return path.name == IN_FOLDER or path.name.endswith(BESIDE)
