"""Which virtual people are for what: nobody that a model is measured on is one that it was trained on."""

from __future__ import annotations

HELD_OUT_FROM = 1000
DEMO_SUBJECT = 9002


def training_subjects(count: int) -> range:
    """The virtual wearers to train on."""
    return range(count)


def held_out_subjects(count: int) -> range:
    """The virtual wearers to measure on: never among those trained on, and never the one of the demo."""
    return range(HELD_OUT_FROM, HELD_OUT_FROM + count)
