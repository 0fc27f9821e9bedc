"""Where the labels of a recording lie: beside it, so that the recording itself is never changed."""

from __future__ import annotations

from pathlib import Path

IN_FOLDER, BESIDE = "labels.csv", ".labels.csv"


def labels_file(recording: Path) -> Path:
    """``labels.csv`` in a folder; ``day.labels.csv`` beside ``day.mcap``. It need not be there."""
    return recording / IN_FOLDER if recording.is_dir() else recording.with_name(f"{recording.stem}{BESIDE}")


def is_labels_file(path: Path) -> bool:
    """Whether a file's name says that it holds labels, and so no sensor."""
    return path.name == IN_FOLDER or path.name.endswith(BESIDE)
