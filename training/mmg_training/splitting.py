"""Who is in which part of a data set, as the settings name them."""

from __future__ import annotations

from dataclasses import dataclass, fields

from mmg_training.ranges import Names

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class SplitConfig:
    """Who is trained on (train), fits the temperatures (validation) and is measured (test); what no setting names is in
    none of the three, but that without a ``train_`` setting everybody else is trained on.

    people: numbers or names, or ``odd`` or ``even``. trials: names of recordings, or numbers of repeats, ``odd`` or
    ``even`` too. list: a file with a name a line, from the data set's folder. A part with several settings is what all
    of them name.
    """

    train_people: Names = ()
    train_trials: Names = ()
    train_list: str = ""
    validation_people: Names = ()
    validation_trials: Names = ()
    validation_list: str = ""
    test_people: Names = ()
    test_trials: Names = ()
    test_list: str = ""

    @property
    def named(self) -> tuple[str, ...]:
        """The settings that are given."""
        return tuple(one.name for one in fields(SplitConfig) if getattr(self, one.name))
