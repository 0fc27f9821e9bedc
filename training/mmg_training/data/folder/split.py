"""Who is trained on and who is held out: people where all are named, else sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mmg.errors import ConfigError

from mmg_training.data.folder.found import UNKNOWN

EVERYONE = "all"
"""What ``hold_out`` says to measure on a whole folder, and train on nothing."""
ENOUGH_TO_CALIBRATE = 5
"""With fewer, one more to fit temperatures on would cost more than it brings."""


@dataclass(frozen=True)
class Described:
    """A session for the split: ``seconds`` of each label."""

    name: str
    person: str
    seconds: Mapping[str, float]


@dataclass(frozen=True)
class Split:
    """Names of sessions. by: ``person``, ``session``, or ``nothing`` where none could be held out. held_out: who is in
    ``test``, in words. notes: lines for the user. limits: for the model card."""

    by: str
    training: tuple[str, ...]
    calibration: tuple[str, ...]
    test: tuple[str, ...]
    held_out: str
    notes: tuple[str, ...]
    limits: tuple[str, ...]


def split(sessions: Sequence[Described], hold_out: Sequence[str] = ()) -> Split:
    """Every label stays in training. Raises ConfigError where ``hold_out`` names nobody, or leaves a label to none."""
    people = sorted({one.person for one in sessions})
    by = "person" if len(people) > 1 and UNKNOWN not in people else "session"
    if tuple(hold_out) == (EVERYONE,):
        names = tuple(one.name for one in sessions)
        return Split("nothing", (), (), names, f"all {len(names)} sessions of this folder", (), ())
    units = _units(sessions, by)
    if hold_out:
        by, units, test = _asked(sessions, by, hold_out)
    else:
        test = _take(units, (), max(1, round(len(units) / 4))) if len(units) > 1 else []
    is_enough = test and len(units) >= ENOUGH_TO_CALIBRATE
    calibration = _take(units, test, len(test) // 2 or 1) if is_enough else []
    rest = [unit for unit in units if unit not in test and unit not in calibration]
    _require_labels(units, rest, test)
    notes, limits = _told(people, by, test, calibration, rest, units)

    def of(chosen: Sequence[str]) -> tuple[str, ...]:
        return tuple(one.name for unit in chosen for one in units[unit])

    held_out = f"{'people' if by == 'person' else 'sessions'}: {', '.join(test)}" if test else ""
    return Split(by if test else "nothing", of(rest), of(calibration), of(test), held_out, notes, limits)


Units = dict[str, list[Described]]


def _units(sessions: Sequence[Described], by: str) -> Units:
    units: Units = {}
    for one in sessions:
        units.setdefault(one.person if by == "person" else one.name, []).append(one)
    return dict(sorted(units.items()))


def _asked(sessions: Sequence[Described], by: str, hold_out: Sequence[str]) -> tuple[str, Units, list[str]]:
    """People, or else sessions, of these names."""
    for kind in dict.fromkeys((by, "person", "session")):
        units = _units(sessions, kind)
        if set(hold_out) <= set(units):
            return kind, units, sorted(hold_out)
    raise ConfigError(f"data.hold_out: {', '.join(hold_out)}: are not among {', '.join(_units(sessions, by))}")


def _labels(units: Units, names: Sequence[str]) -> set[str]:
    return {label for name in names for one in units[name] for label, seconds in one.seconds.items() if seconds}


def _take(units: Units, taken: Sequence[str], count: int) -> list[str]:
    """The last ones by name that leave every label to the others, those with the most labels first."""
    every, chosen = _labels(units, list(units)), list[str]()
    left = sorted((name for name in units if name not in taken), reverse=True)
    for name in sorted(left, key=lambda unit: -len(_labels(units, [unit]))):
        rest = [one for one in left if one not in (*chosen, name)]
        if len(chosen) < count and rest and _labels(units, rest) == every:
            chosen.append(name)
    return sorted(chosen)


def _require_labels(units: Units, rest: Sequence[str], test: Sequence[str]) -> None:
    lost = _labels(units, list(units)) - _labels(units, rest)
    if test and lost:
        raise ConfigError(
            f"data.hold_out: without {', '.join(test)} nobody shows {', '.join(sorted(lost))}: hold out others"
        )


def _told(
    people: Sequence[str], by: str, test: Sequence[str], calibration: Sequence[str], rest: Sequence[str], units: Units
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if not test:
        why = "there is one session" if len(units) == 1 else f"each {by} has a label that no other has"
        note = f"nothing is held out, as {why}: how well this does is not measured; record it once more"
        return (note,), ("Nothing was held out: how well it does was not measured.",)
    notes, limits = [], []
    if by == "person":
        notes.append(f"split by person: trained on {', '.join(rest)}; measured on {', '.join(test)}")
    else:
        named = "" if UNKNOWN not in people else ", as not every session says who it is of (session.toml)"
        notes.append(f"split by session{named}: trained on {len(rest)}, measured on {', '.join(test)}")
        limits.append("Measured on other sessions of the same people: other people were not tried.")
    if calibration:
        notes.append(f"confidence is fitted on {', '.join(calibration)}")
    else:
        limits.append("Too few were recorded to fit the confidence on anyone apart: it is as training left it.")
    return tuple(notes), tuple(limits)
