"""The file of what was taught: shown, and changed without any sensor."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmg.cli.progress import Progress
from mmg.counts import count_of
from mmg.errors import ConfigError
from mmg.printable import as_lines

if TYPE_CHECKING:
    from mmg.teaching.check import Estimate
    from mmg.teaching.taught import Taught

MINE = Path("mine.taught")
"""The file where none is named."""
MOST_ESTIMATED = 150
"""Examples that are estimated without being asked to: about a second."""


def change(options: argparse.Namespace, report: Callable[[str], None]) -> int:
    """``--list``, ``--delete`` and ``--merge``. Raises ConfigError, OSError; returns the exit code."""
    from mmg.teaching.store import change_taught, read_taught

    path: Path = options.output
    if options.merge is not None and not path.exists():
        raise ConfigError(f"{path}: is not there: copy {options.merge} to it, or name another with -o FILE")
    if options.delete is not None:
        taught = change_taught(path, lambda now: now.remove(options.delete))
        report(f"{options.delete}: taken out of {path}")
    elif options.merge is not None:
        taught = _merge(path, options.merge, report)
        tell_background(options, taught, report)
    else:
        taught = read_taught(path)
    _show(options, taught, None, report)
    return 0


def _merge(path: Path, added: Path, report: Callable[[str], None]) -> Taught:
    from mmg.teaching.store import change_taught, read_taught

    other = read_taught(added)
    before: list[Taught] = []

    def change(now: Taught) -> Taught:
        before.append(now)
        try:
            return now.merge(other)
        except ConfigError as error:
            raise ConfigError(f"{added}: {error}") from error

    taught = change_taught(path, change)
    for one in other.activities:
        known, gained = _count(before[0], one.name), _count(taught, one.name) - _count(before[0], one.name)
        copies = len(one.examples) - gained
        if copies:
            report(f"{one.name}: {copies} of {len(one.examples)} examples of {added} are in {path} already: left out")
        if known and gained:
            report(f"{one.name}: is in both; {count_of(gained, 'example')} of {added} are added")
    return taught


def told_of(
    options: argparse.Namespace, name: str | None, added: int, taught: Taught, report: Callable[[str], None]
) -> None:
    """Print what teaching gave, with an estimate of how often it is known. name: None where there is background alone.
    added: how many examples."""
    tell_background(options, taught, report)
    _show(options, taught, None if name is None else (name, added), report)


def tell_background(options: argparse.Namespace, taught: Taught, report: Callable[[str], None]) -> None:
    """In a line, of which sensors too little background is known, and what adds some."""
    from mmg.teaching.check import little_background

    little = little_background(taught)
    if not little:
        return
    has = ", ".join(f"{seconds:g} s of {name}" if seconds else f"none of {name}" for name, seconds in little.items())
    words = f"mmg-teach --background RECORDING{_output(options)}"
    why = "much else may be taken for what is taught"
    report(f"{options.output}: too little background ({has}; 20 s are the least): {why}: {words} adds some")


def _count(taught: Taught, name: str) -> int:
    return len(_examples(taught, name))


def _output(options: argparse.Namespace) -> str:
    return "" if options.output == MINE else f" -o {shlex.quote(str(options.output))}"


def _examples(taught: Taught, name: str) -> tuple[Any, ...]:
    return next((one.examples for one in taught.activities if one.name == name), ())


def _show(
    options: argparse.Namespace, taught: Taught, lesson: tuple[str, int] | None, report: Callable[[str], None]
) -> None:
    from mmg.teaching.check import Estimate, estimate

    count = sum(len(one.examples) for one in taught.activities)
    is_estimated, found = options.estimate or count <= MOST_ESTIMATED, Estimate({}, ())
    if is_estimated:
        try:
            with Progress(report, "estimated", unit="examples") as progress:
                found = estimate(taught, progress=progress.at)
        except ConfigError as error:
            is_estimated = False
            report(f"{options.output}: {error}")
    else:
        words = f"mmg-teach --list --estimate{_output(options)}"
        report(f"{options.output}: {count} examples take a while to estimate: {words} does")
    if options.json:
        print(json.dumps(_as_json(options, taught, found, lesson)))
        return
    width = max((len(name) for name in taught.names), default=0)
    for one in taught.activities:
        line = f"{one.name:{width}}  {_counted(len(one.examples))}  {', '.join(one.modalities)}"
        known = found.recall.get(one.name)
        told = "too few to tell how well" if known is None else f"{known:.0%} known, leaving one out"
        print(as_lines(f"{line}  {told}" if is_estimated else line, sys.stdout.encoding))
    if not taught.activities:
        print(as_lines(f"{options.output}: nothing is taught in it", sys.stdout.encoding))
    for sentence in (*found.near, *found.unlike):
        print(as_lines(sentence, sys.stdout.encoding))


def _counted(count: int) -> str:
    return f"{count:3d} example{'s' if count != 1 else ' '}"


def _as_json(
    options: argparse.Namespace,
    taught: Taught,
    found: Estimate,
    lesson: tuple[str, int] | None,
) -> dict[str, Any]:
    told: dict[str, Any] = {"file": str(options.output)}
    if lesson is not None:
        told |= {"name": lesson[0], "added": lesson[1]}
    told["activities"] = [
        {
            "name": one.name,
            "examples": len(one.examples),
            "modalities": list(one.modalities),
            "recall": found.recall.get(one.name),
        }
        for one in taught.activities
    ]
    return told | {"near": list(found.near), "unlike": list(found.unlike)}
