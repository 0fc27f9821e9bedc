"""How much of what there is, in words."""

from __future__ import annotations

from collections.abc import Sequence

from mmg.labels.label import Label


def seconds_by_label(labels: Sequence[Label]) -> dict[str, tuple[float, int]]:
    """Label -> its seconds and how many times it is there, the longest first."""
    found: dict[str, tuple[float, int]] = {}
    for one in labels:
        seconds, times = found.get(one.label, (0.0, 0))
        found[one.label] = (seconds + one.seconds, times + 1)
    return dict(sorted(found.items(), key=lambda item: (-item[1][0], item[0])))


def labelled_seconds(labels: Sequence[Label]) -> float:
    """The time that has a label; what two share counts once."""
    total_s, until_s = 0.0, 0.0
    for one in sorted(labels):
        total_s += max(0.0, one.end_s - max(one.start_s, until_s))
        until_s = max(until_s, one.end_s)
    return total_s


def as_time(seconds: float) -> str:
    """Such as ``45 s``, ``12.5 min`` or ``1.20 h``."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3570 else f"{seconds / 3600:.2f} h"
