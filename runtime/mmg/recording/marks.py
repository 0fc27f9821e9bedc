"""Marks: the wearer, or who watches, says while it is recorded that a label begins and ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from mmg.errors import ConfigError
from mmg.labels.label import LONGEST, Label
from mmg.recording.messages import END, START, MarkMessage
from mmg.recording.reader import open_recording

KEYS = "123456789"
"""Of a terminal: one for each label."""


class Marker:
    """Sets marks: one label at a time, and another one ends it. set_mark: such as ``Recorder.mark``.

    Raises ConfigError for more labels than there are keys, or one that is named twice or not at all.
    """

    def __init__(self, labels: Sequence[str], set_mark: Callable[[str, str, int], None]) -> None:
        check_labels(labels)
        self.labels, self._set_mark = tuple(labels), set_mark
        self.present: str | None = None
        """The label that holds now."""

    def press(self, key: str, now_ns: int) -> None:
        """A digit begins its label, and the same one again ends it; 0 and the space bar end whichever holds."""
        if key in KEYS and (place := KEYS.index(key)) < len(self.labels):
            label = self.labels[place]
            self.hold(None if label == self.present else label, now_ns)
        elif key in "0 ":
            self.hold(None, now_ns)

    def hold(self, label: str | None, now_ns: int) -> None:
        """From now on this label holds, or none."""
        if label == self.present:
            return
        if self.present is not None:
            self._set_mark(self.present, END, now_ns)
        if label is not None:
            self._set_mark(label, START, now_ns)
        self.present = label


def check_labels(labels: Sequence[str]) -> None:
    """Raises ConfigError for more labels than there are keys, or one that is named twice, not at all, unprintably or
    longer than a file of labels may have it."""
    if len(labels) > len(KEYS) or len(set(labels)) < len(labels) or not all(map(_is_name, labels)):
        up_to = f"up to {len(KEYS)} different labels of up to {LONGEST} characters"
        raise ConfigError(f"--labels {','.join(labels)}: name {up_to}, such as walk,knead")


def _is_name(label: str) -> bool:
    return 0 < len(label) <= LONGEST and label.isprintable()


def spans(marks: Iterable[MarkMessage], end_s: float) -> list[Label]:
    """The labels that these marks tell. One that is not ended holds until ``end_s``, the recording's end.

    A start while another label holds ends that one: a person does one thing at a time.
    """
    found: list[Label] = []
    label, since_s = "", 0.0
    for mark in marks:
        if label and label == mark.label and mark.event == START:
            continue  # a part of a recording begins with what holds
        if label and (mark.event == START or mark.label == label):
            found.append(Label(since_s, mark.t, label))
            label = ""
        if mark.event == START:
            label, since_s = mark.label, mark.t
    if label:
        found.append(Label(since_s, max(end_s, since_s), label))
    return [one for one in found if one.seconds > 0]


def marked(path: Path) -> list[Label]:
    """The labels that the marks of a recording tell. Raises as ``open_recording``."""
    recording = open_recording(path)
    return spans(recording.marks(), recording.duration_s())
