"""What the wearer really did, to print beside the decisions."""

from __future__ import annotations

from pathlib import Path

from mmg.labels import read_labels


class Truth:
    """Labelled ``spans`` of a recording, by their start, from a file of labels. Raises ConfigError."""

    def __init__(self, path: str | Path) -> None:
        self.spans = read_labels(path)

    def label_at(self, t_s: float) -> str | None:
        """The label of the span that holds this second, if any; of several, of the one that began first."""
        for one in self.spans:
            if one.start_s <= t_s < one.end_s:
                return one.label
        return None
