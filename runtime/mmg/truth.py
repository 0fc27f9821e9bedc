"""What the wearer really did, to print beside the decisions."""

from __future__ import annotations

import csv
from pathlib import Path

from mmg.errors import ConfigError


class Truth:
    """Labelled spans of a recording, from a CSV with the columns ``start_s, end_s, label``."""

    def __init__(self, path: str | Path) -> None:
        if Path(path).exists() and not Path(path).is_file():
            raise ConfigError(f"{path}: is not a regular file")
        try:
            with Path(path).open(newline="", encoding="utf-8") as stream:
                rows = csv.DictReader(stream)
                self._spans = [(float(row["start_s"]), float(row["end_s"]), row["label"]) for row in rows]
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from error
        except (KeyError, ValueError, TypeError, csv.Error) as error:
            raise ConfigError(f"{path}: needs the columns start_s, end_s (seconds) and label ({error})") from error
        if not self._spans:
            raise ConfigError(f"{path}: has no row with start_s, end_s and label")

    def label_at(self, t_s: float) -> str | None:
        """The label of the span that holds this second, if any."""
        for start_s, end_s, label in self._spans:
            if start_s <= t_s < end_s:
                return label
        return None
