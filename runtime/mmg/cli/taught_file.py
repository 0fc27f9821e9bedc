"""The file of what was taught: shown, and changed without any sensor."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmg.errors import ConfigError

if TYPE_CHECKING:
    from mmg.teaching.taught import Taught


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
    _show(options, taught, None)
    return 0


def told_of(options: argparse.Namespace, name: str, before: Taught, taught: Taught) -> None:
    """Print what teaching gave, with an estimate of how often it is known."""
    count = len(_examples(taught, name)) - len(_examples(before, name))
    _show(options, taught, (name, count))


def _examples(taught: Taught, name: str) -> tuple[Any, ...]:
    return next((one.examples for one in taught.activities if one.name == name), ())


def _show(options: argparse.Namespace, taught: Taught, lesson: tuple[str, int] | None) -> None:
    from mmg.teaching.check import leave_one_out, too_near

    recall, near = leave_one_out(taught), too_near(taught)
    if options.json:
        print(json.dumps(_as_json(options, taught, recall, near, lesson)))
        return
    width = max((len(name) for name in taught.names), default=0)
    for one in taught.activities:
        count = len(one.examples)
        line = f"{one.name:{width}}  {count:3d} example{'s' if count != 1 else ' '}  {', '.join(one.modalities)}"
        known = recall.get(one.name)
        estimate = "too few to tell how well" if known is None else f"{known:.0%} known, leaving one out"
        print(f"{line}  {estimate}")
    if not taught.activities:
        print(f"{options.output}: nothing is taught in it")
    for line in near:
        print(line)


def _as_json(
    options: argparse.Namespace,
    taught: Taught,
    recall: dict[str, float],
    near: list[str],
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
            "recall": recall.get(one.name),
        }
        for one in taught.activities
    ]
    return told | {"near": near}
