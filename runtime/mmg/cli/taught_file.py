"""The file of what was taught: shown, and changed without any sensor."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmg.cli.progress import Progress
from mmg.errors import ConfigError

if TYPE_CHECKING:
    from mmg.teaching.check import Estimate
    from mmg.teaching.taught import Taught

MINE = Path("mine.taught")
"""The file where none is named."""
MOST_ESTIMATED = 150
"""Examples that are estimated without being asked to: about a second."""


def change(options: argparse.Namespace, report: Callable[[str], None]) -> int:
    """``--list``, ``--delete`` and ``--merge``. Raises ConfigError, OSError; returns the exit code."""
    from mmg.teaching.store import read_taught, write_taught

    path: Path = options.output
    if options.merge is not None and not path.exists():
        raise ConfigError(f"{path}: is not there: copy {options.merge} to it, or name another with -o FILE")
    taught = read_taught(path)
    if options.delete is not None:
        taught = taught.remove(options.delete)
        write_taught(path, taught)
        report(f"{options.delete}: taken out of {path}")
    elif options.merge is not None:
        other = read_taught(options.merge)
        both = [name for name in other.names if name in taught.names]
        try:
            taught = taught.merge(other)
        except ConfigError as error:
            raise ConfigError(f"{options.merge}: {error}") from error
        write_taught(path, taught)
        for name in both:
            report(f"{name}: is in both; the examples of {options.merge} are added")
    _show(options, taught, None, report)
    return 0


def told_of(
    options: argparse.Namespace, name: str, before: Taught, taught: Taught, report: Callable[[str], None]
) -> None:
    """Print what teaching gave, with an estimate of how often it is known."""
    count = len(_examples(taught, name)) - len(_examples(before, name))
    _show(options, taught, (name, count), report)


def _examples(taught: Taught, name: str) -> tuple[Any, ...]:
    return next((one.examples for one in taught.activities if one.name == name), ())


def _show(
    options: argparse.Namespace, taught: Taught, lesson: tuple[str, int] | None, report: Callable[[str], None]
) -> None:
    from mmg.teaching.check import Estimate, estimate

    count = sum(len(one.examples) for one in taught.activities)
    is_estimated = options.estimate or count <= MOST_ESTIMATED
    with Progress(report, "estimated", unit="examples") as progress:
        found = estimate(taught, progress=progress.at) if is_estimated else Estimate({}, ())
    if not is_estimated:
        where = "" if options.output == MINE else f" -o {shlex.quote(str(options.output))}"
        report(f"{options.output}: {count} examples take a while to estimate: mmg-teach --list --estimate{where} does")
    if options.json:
        print(json.dumps(_as_json(options, taught, found, lesson)))
        return
    width = max((len(name) for name in taught.names), default=0)
    for one in taught.activities:
        line = f"{one.name:{width}}  {_counted(len(one.examples))}  {', '.join(one.modalities)}"
        known = found.recall.get(one.name)
        told = "too few to tell how well" if known is None else f"{known:.0%} known, leaving one out"
        print(f"{line}  {told}" if is_estimated else line)
    if not taught.activities:
        print(f"{options.output}: nothing is taught in it")
    for sentence in found.near:
        print(sentence)


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
    return told | {"near": list(found.near)}
