"""Who is trained on, who fits the temperatures and who is tested: as the settings name them, or by themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Generic, TypeVar

from mmg.errors import ConfigError
from mmg_device_profiles.regular_file import read_within

from mmg_training.splitting import PARTS, SplitConfig

T = TypeVar("T")
PARITY = {"even": 0, "odd": 1}
TOLD_AT_MOST = 12
LONGEST_LIST_BYTES = 16 << 20
TEST_SHARE = 0.25


@dataclass(frozen=True)
class Named:
    """What a recording is called. person: who is in it, empty where nobody knows. names: what a list or a setting may
    call it, its own name first: its file or session, then the number of the repeat."""

    person: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Parts(Generic[T]):
    """Nothing is in two of the three. by: what keeps them apart: people, trials or lists."""

    training: tuple[T, ...]
    validation: tuple[T, ...]
    test: tuple[T, ...]
    by: str


def split(
    recordings: Sequence[T],
    called: Callable[[T], Named],
    wanted: SplitConfig,
    folder: Path,
    report: Callable[[str], None],
) -> Parts[T]:
    """The parts that ``wanted`` names, each in the order of ``recordings``; ``report`` gets what a list names that is
    not there. folder: the data set's, where lists are looked for.

    Raises ConfigError, naming the setting, for somebody who is not there, for what is in two parts, and for a part
    that stays empty.
    """
    names = [called(one) for one in recordings]
    chosen: dict[str, set[int]] = {}
    for part in PARTS:
        found = [_select(names, wanted, key, folder, report) for key in wanted.named if key.partition("_")[0] == part]
        if found:
            chosen[part] = set.intersection(*found)
            if not chosen[part]:
                raise ConfigError(f"{_keys(wanted, part)}: no recording is all of this")
    for place, part in enumerate(PARTS):
        for other in PARTS[:place]:
            if both := sorted(chosen.get(part, set()) & chosen.get(other, set())):
                what = _told(names[both[0]], wanted, part, other)
                raise ConfigError(
                    f"{_keys(wanted, part)}: {what} is named in {_keys(wanted, other)} too; nobody is in two parts"
                )
    rest = set(range(len(names))).difference(*chosen.values())
    parts = {part: chosen.get(part, rest if part == "train" else set()) for part in PARTS}
    training, validation, test = (tuple(recordings[at] for at in sorted(parts[part])) for part in PARTS)
    kinds = dict.fromkeys(key.partition("_")[2] for key in wanted.named)
    return Parts(training, validation, test, " and ".join({"list": "lists"}.get(kind, kind) for kind in kinds))


def hold_out(
    recordings: Sequence[T],
    called: Callable[[T], Named],
    labels: Callable[[T], Collection[str]],
    share: float = TEST_SHARE,
) -> Parts[T]:
    """Parts where nobody named any: a share of the people is held out, one at least, or of the sessions (each by its
    own name) where people cannot be; the same at every call.

    No label loses its last recording to the test, so that there may be nothing left to hold out: then ``by`` is
    ``nothing`` and the test is empty.
    """
    names, shown = [called(one) for one in recordings], [set(labels(one)) for one in recordings]
    people = [name.person for name in names]
    kinds = {"people": people} if all(people) and len(set(people)) > 1 else {}
    for by, group_of in {**kinds, "sessions": [name.names[0] for name in names]}.items():
        if held := _spare(group_of, shown, share):
            training, test = (
                tuple(one for one, group in zip(recordings, group_of, strict=True) if (group in held) == is_held)
                for is_held in (False, True)
            )
            return Parts(training, (), test, by)
    return Parts(tuple(recordings), (), (), "nothing")


def _spare(group_of: Sequence[str], shown: Sequence[Collection[str]], share: float) -> set[str]:
    """The last groups by name, those with the most labels first, that leave every label to the others."""
    own: dict[str, Counter[str]] = {}
    for group, labels in zip(group_of, shown, strict=True):
        own.setdefault(group, Counter()).update(labels)
    left, held = sum(own.values(), Counter[str]()), set[str]()
    wanted = min(max(1, round(share * len(own))), len(own) - 1)
    for group in sorted(sorted(own, reverse=True), key=lambda one: -len(own[one])):
        if len(held) < wanted and all(left[label] > count for label, count in own[group].items()):
            left -= own[group]
            held.add(group)
    return held


def counted(names: Collection[str]) -> str:
    """Some names as they are told: numbers in their order, too many by their number alone."""
    ordered = sorted(set(names), key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name))
    if len(ordered) > TOLD_AT_MOST:
        return f"{len(ordered)} from {ordered[0]} to {ordered[-1]}"
    return " and ".join((", ".join(ordered[:-1]), ordered[-1])) if len(ordered) > 1 else "".join(ordered)


def _select(
    names: Sequence[Named], wanted: SplitConfig, key: str, folder: Path, report: Callable[[str], None]
) -> set[int]:
    """The places of the recordings that one setting names."""
    kind, given = key.partition("_")[2], getattr(wanted, key)
    if kind == "list":
        return _listed(names, key, folder / str(given), report)
    found: set[int] = set()
    for word in given:
        if kind == "people":
            own = {at for at, name in enumerate(names) if _is(name.person, word)}
        else:
            own = {at for at, name in enumerate(names) if any(_is(one, word) for one in name.names)}
        if not own:
            there = [name.person for name in names if name.person] if kind == "people" else [n.names[0] for n in names]
            raise ConfigError(f"data.{key}: {word} is not in {folder}; there are {counted(there) or 'none'}")
        found |= own
    return found


def _is(name: str, word: str) -> bool:
    if word in PARITY:
        return name.isdecimal() and int(name) % 2 == PARITY[word]
    return name == word or (name.isdecimal() and word.isdecimal() and int(name) == int(word))


def _listed(names: Sequence[Named], key: str, path: Path, report: Callable[[str], None]) -> set[int]:
    """What a list names: a name a line, with or without folders and ending; ``#`` begins a remark."""
    try:
        text = read_within(path, LONGEST_LIST_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"data.{key}: {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"data.{key}: {path}: is not text: {error}") from error
    lines = dict.fromkeys(line for row in text.splitlines() if (line := row.partition("#")[0].strip()))
    if not lines:
        raise ConfigError(f"data.{key}: {path}: names nothing")
    places: dict[str, set[int]] = {}
    for at, name in enumerate(names):
        for one in name.names:
            places.setdefault(one, set()).add(at)
    found: set[int] = set()
    lacking = []
    for line in lines:
        file = PurePosixPath(line.replace("\\", "/"))
        own = next((places[one] for one in (line, file.name, file.stem) if one in places), set())
        lacking += [] if own else [line]
        found |= own
    if not found:
        raise ConfigError(f"data.{key}: {path}: nothing that it names is in {path.parent}, as {lacking[0]!r}")
    if lacking:
        report(f"data.{key}: {len(lacking)} of {len(lines)} names are not there; the first is {lacking[0]!r}")
    return found


def _keys(wanted: SplitConfig, part: str) -> str:
    return " with ".join(f"data.{key}" for key in wanted.named if key.partition("_")[0] == part)


def _told(name: Named, wanted: SplitConfig, *parts: str) -> str:
    kinds = {key.partition("_")[2] for key in wanted.named if key.partition("_")[0] in parts}
    return f"person {name.person}" if kinds == {"people"} else name.names[0]
