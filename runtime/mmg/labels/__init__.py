"""Labels of a recording: spans of seconds and what was done in them, as the tools that people label with write them."""

from mmg.labels.beside import is_labels_file, labels_file, labels_of
from mmg.labels.check import against_recording, overlaps, until_next
from mmg.labels.label import Label
from mmg.labels.reader import read_labels
from mmg.labels.summary import as_time, labelled_seconds, seconds_by_label
from mmg.labels.writer import FORMATS, write_labels

__all__ = [
    "FORMATS",
    "Label",
    "against_recording",
    "as_time",
    "is_labels_file",
    "labelled_seconds",
    "labels_file",
    "labels_of",
    "overlaps",
    "read_labels",
    "seconds_by_label",
    "until_next",
    "write_labels",
]
