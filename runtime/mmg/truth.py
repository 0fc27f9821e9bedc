"""What the wearer really did, to print beside the decisions."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

from mmg.errors import ConfigError


class Span(NamedTuple):
    """What was done from ``start_s`` until ``end_s``."""

    start_s: float
    end_s: float
    label: str


class Truth:
    """Labelled ``spans`` of a recording, from a CSV with the columns ``start_s, end_s, label``."""

    def __init__(self, path: str | Path) -> None:
        if Path(path).exists() and not Path(path).is_file():
            raise ConfigError(f"{path}: is not a regular file")
        try:
            with Path(path).open(newline="", encoding="utf-8") as stream:
                rows = csv.DictReader(stream)
                self.spans = [Span(float(row["start_s"]), float(row["end_s"]), row["label"]) for row in rows]
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from error
        except (KeyError, ValueError, TypeError, csv.Error) as error:
            raise ConfigError(f"{path}: needs the columns start_s, end_s (seconds) and label ({error})") from error
        if not self.spans:
            raise ConfigError(f"{path}: has no row with start_s, end_s and label")

    def label_at(self, t_s: float) -> str | None:
        """The label of the span that holds this second, if any."""
        for start_s, end_s, label in self.spans:
            if start_s <= t_s < end_s:
                return label
        return None
