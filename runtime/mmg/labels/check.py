"""What may be wrong with labels of one recording."""

from __future__ import annotations

from collections.abc import Sequence

from mmg.labels.label import Label

ROUNDING_S = 0.001
"""Tools round times: neighbours that share less do not overlap."""
TOLD_S = 0.1
"""What a label may go past the last sample without a word."""
BEYOND_S = 1.0
"""By how much the last label may go past the end of a recording, which tools show longer than it is."""


def overlaps(labels: Sequence[Label]) -> list[tuple[Label, Label]]:
    """Pairs of labels, by their start, that share time; one for each label that begins before an earlier one ends."""
    found: list[tuple[Label, Label]] = []
    latest: Label | None = None
    for one in sorted(label for label in labels if label.seconds):
        if latest is not None and one.start_s < latest.end_s - ROUNDING_S:
            found.append((latest, one))
        if latest is None or one.end_s > latest.end_s:
            latest = one
    return found


def against_recording(labels: Sequence[Label], duration_s: float) -> tuple[tuple[Label, ...], list[str]]:
    """The labels cut to a recording of this length, and lines about what is odd.

    Raises ValueError where one lies past the end: then they are of another recording, or of another clock.
    """
    kept, lines = [], []
    for one in labels:
        # At the end itself there is nothing to label, but a point may stand there.
        past_s = max(one.end_s - duration_s, one.start_s - duration_s)
        if past_s > BEYOND_S or one.start_s >= duration_s + (0.0 if one.seconds else ROUNDING_S):
            raise ValueError(
                f"{one.label!r} from {one.start_s:g} to {one.end_s:g} s is past the end of the recording, which lasts "
                f"{duration_s:.1f} s: are they labels of another one?"
            )
        if past_s > TOLD_S:
            lines.append(f"{one.label!r} goes {past_s:.2f} s past the end and is cut there")
        kept.append(Label(one.start_s, min(one.end_s, max(duration_s, one.start_s)), one.label))
    for first, second in overlaps(kept):
        lines.append(
            f"{first.label!r} ({first.start_s:g} to {first.end_s:g} s) and {second.label!r} ({second.start_s:g} to "
            f"{second.end_s:g} s) overlap: what they share counts as not labelled in training"
        )
    if points := sum(not one.seconds for one in kept):
        lines.append(
            f"{points} of {len(kept)} are points, which have no length and label nothing: draw them as regions, or "
            "give --points until-next"
        )
    return tuple(kept), lines


def until_next(labels: Sequence[Label], duration_s: float) -> tuple[Label, ...]:
    """Each point as a span that ends where the next label begins, or with the recording."""
    ordered = sorted(labels)
    ends_s = [*(one.start_s for one in ordered[1:]), duration_s]
    return tuple(
        one if one.seconds else Label(one.start_s, max(end_s, one.start_s), one.label)
        for one, end_s in zip(ordered, ends_s, strict=True)
    )
