"""Audacity's label track: start, end and text between tabs, a label a line.

https://manual.audacityteam.org/man/importing_and_exporting_labels.html: a line that begins with a backslash is the
range of frequencies of the label before it; a point has its start as its end.
"""

from __future__ import annotations

from collections.abc import Iterable

from mmg.labels.label import Label, make_label, seconds_of


def is_track(text: str) -> bool:
    """Whether its first label has two numbers and a text."""
    fields = next((line.split("\t") for _, line in _lines(text)), [])
    try:
        seconds_of(fields[0]), seconds_of(fields[1])
    except (ValueError, IndexError):
        return False
    return True


def parse(text: str) -> list[Label]:
    """The labels and points, line by line. Raises ValueError."""
    labels = []
    for number, line in _lines(text):
        start, *rest = line.split("\t", 2)
        try:
            if len(rest) < 2:
                raise ValueError("is not start, end and text between tabs")
            labels.append(make_label(seconds_of(start), seconds_of(rest[0]), rest[1].replace("\t", " ")))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
    return labels


def written(labels: Iterable[Label]) -> str:
    """The same as text."""
    return "".join(f"{one.start_s:.6f}\t{one.end_s:.6f}\t{one.label}\n" for one in labels)


def _lines(text: str) -> list[tuple[int, str]]:
    lines = enumerate(text.splitlines(), 1)
    return [(number, line) for number, line in lines if line.strip() and not line.startswith("\\")]
