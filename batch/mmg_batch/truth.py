"""What was really done in a recording, hop after hop."""

from __future__ import annotations

from collections.abc import Sequence

from mmg.labels import Label


class TruthLine:
    """Labels to be asked for in the order of time; the answers are those of ``mmg.truth.Truth``."""

    def __init__(self, spans: Sequence[Label]) -> None:
        """spans: by their start."""
        self._spans, self._first = list(spans), 0

    def at(self, t_s: float) -> str | None:
        """The label of the span that holds this second; of several, of the one that began first."""
        while self._first < len(self._spans) and self._spans[self._first].end_s <= t_s:
            self._first += 1
        for one in self._spans[self._first :]:
            if one.start_s > t_s:
                break
            if t_s < one.end_s:
                return one.label
        return None
