"""Who of a folder is trained on and who is held out, and what is to be said of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mmg.errors import ConfigError

from mmg_training.data.folder.found import UNKNOWN
from mmg_training.data.split import Named, Parts, hold_out
from mmg_training.data.split import split as split_as_named
from mmg_training.splitting import SplitConfig

EVERYONE = "all"
"""What ``data.hold_out`` says to measure on a whole folder, and train on nothing."""
ENOUGH_TO_CALIBRATE = 5
"""With fewer, one more to fit temperatures on would cost more than it brings."""
NOT_FITTED = "The confidence was fitted on nobody apart: it is as training left it."


@dataclass(frozen=True)
class Described:
    """A session for the split: ``seconds`` of each label."""

    name: str
    person: str
    seconds: Mapping[str, float]

    @property
    def shown(self) -> set[str]:
        """The labels that last."""
        return {label for label, seconds in self.seconds.items() if seconds}


def shown(sessions: Iterable[Described]) -> set[str]:
    """The labels that last in any of them."""
    return set[str]().union(*(one.shown for one in sessions))


@dataclass(frozen=True)
class Split:
    """Names of sessions. by: as ``Parts`` has it. held_out: who is in ``test``, in words. notes: lines for the user.
    limits: for the model card."""

    by: str
    training: tuple[str, ...]
    calibration: tuple[str, ...]
    test: tuple[str, ...]
    held_out: str
    notes: tuple[str, ...]
    limits: tuple[str, ...]


def split(
    sessions: Sequence[Described],
    held: Sequence[str] = (),
    wanted: SplitConfig | None = None,
    folder: Path = Path(),
    report: Callable[[str], None] = lambda _: None,
) -> Split:
    """As ``wanted`` names the parts, or with the people, or else the sessions, of ``held`` in the test, or by
    themselves. folder, report: as ``data.split`` takes them.

    Raises ConfigError where somebody is named who is not there, or a label is left to none who is trained on.
    """
    if tuple(held) == (EVERYONE,):
        names = tuple(one.name for one in sessions)
        return Split("nothing", (), (), names, f"all {len(names)} sessions of this folder", (), ())
    named = wanted or SplitConfig()
    if held and named.named:
        raise ConfigError(f"data.hold_out: goes without data.{named.named[0]}: say once whom to measure on")
    asked = _asked(sessions, held) if held else named
    if asked.named:
        parts = split_as_named(sessions, _called, asked, folder, report)
        _require_labels(sessions, parts, "hold_out" if held else asked.named[0])
    else:
        parts = hold_out(sessions, _called, lambda one: one.shown)
    if not named.named:
        parts = _calibrated(sessions, parts)
    notes, limits = _told(sessions, parts, bool(asked.named))
    held_out = f"{_kind(parts.by)}: {', '.join(_units(parts.test, parts.by))}" if parts.test else ""
    training, calibration, test = (
        tuple(one.name for one in part) for part in (parts.training, parts.validation, parts.test)
    )
    return Split(parts.by if test else "nothing", training, calibration, test, held_out, notes, limits)


def _called(one: Described) -> Named:
    return Named("" if one.person == UNKNOWN else one.person, (one.name, one.name.rpartition("/")[2]))


def _kind(by: str) -> str:
    return by if by == "people" else "sessions"


def _units(sessions: Sequence[Described], by: str) -> list[str]:
    """The people, or else the sessions."""
    return sorted({one.person if by == "people" else one.name for one in sessions})


def _asked(sessions: Sequence[Described], held: Sequence[str]) -> SplitConfig:
    """These people, or else these sessions."""
    people = set(_units(sessions, "people"))
    if set(held) <= people - {UNKNOWN}:
        return SplitConfig(test_people=tuple(held))
    if set(held) <= {one.name for one in sessions}:
        return SplitConfig(test_trials=tuple(held))
    by = "people" if len(people) > 1 and UNKNOWN not in people else "sessions"
    raise ConfigError(f"data.hold_out: {', '.join(held)}: are not among {', '.join(_units(sessions, by))}")


def _calibrated(sessions: Sequence[Described], parts: Parts[Described]) -> Parts[Described]:
    """With half as many to fit temperatures on as there are in the test, where there are enough."""
    if not parts.test or len(_units(sessions, parts.by)) < ENOUGH_TO_CALIBRATE:
        return parts
    tested, left = len(_units(parts.test, parts.by)), len(_units(parts.training, parts.by))
    rest = hold_out(parts.training, _called, lambda one: one.shown, tested / 2 / left)
    if rest.by not in ("people", _kind(parts.by)):
        return parts
    return replace(parts, training=rest.training, validation=rest.test)


def _require_labels(sessions: Sequence[Described], parts: Parts[Described], setting: str) -> None:
    every, learnt = shown(sessions), shown(parts.training)
    if parts.test and every - learnt:
        tested = ", ".join(_units(parts.test, parts.by))
        raise ConfigError(
            f"data.{setting}: without {tested} nobody shows {', '.join(sorted(every - learnt))}: hold out others"
        )


def _told(
    sessions: Sequence[Described], parts: Parts[Described], is_named: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    people = {one.person for one in sessions}
    if not parts.test:
        alone = "there is one session" if len(sessions) == 1 else "each session has a label that no other has"
        why = "no test is named" if is_named else f"{alone}: record it once more"
        return (f"nothing is held out, so that nothing will be measured, as {why}",), ()
    notes, limits = [], []
    trained, tested = _units(parts.training, parts.by), ", ".join(_units(parts.test, parts.by))
    if parts.by == "people":
        notes.append(f"split by person: trained on {', '.join(trained)}; measured on {tested}")
    else:
        named = "" if UNKNOWN not in people else ", as not every session says who it is of (session.toml)"
        notes.append(f"split by session{named}: trained on {len(trained)}, measured on {tested}")
        if UNKNOWN in people or {one.person for one in parts.test} & {one.person for one in parts.training}:
            limits.append("Measured on other sessions of the same people: other people were not tried.")
    if parts.validation:
        notes.append(f"confidence is fitted on {', '.join(_units(parts.validation, parts.by))}")
    else:
        limits.append(NOT_FITTED)
    return tuple(notes), tuple(limits)
