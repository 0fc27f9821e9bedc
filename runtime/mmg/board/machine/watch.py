"""What holds the processor's clock down, looked at now and then by a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from mmg.board.machine.throttling import HEAT, find_cooling, read_firmware, reasons_of
from mmg.board.machine.tools import Tool, tool_under

EVERY_S = 5.0
FAILURES = 3
"""A processor that is hot and busy may keep a tool from its answer once."""


class Throttling(NamedTuple):
    """heat: what slows the processor as it is hot, in a few words. others: what else does, such as a weak supply."""

    heat: str = ""
    others: str = ""


def read_throttling(root: Path = Path("/"), tool: Tool | None = None) -> Throttling:
    """What it is now; empty where nothing does. A limit that somebody set does not count."""
    found = reasons_of(read_firmware(root, tool or tool_under(root)) or 0)
    heat = (*(one for one in found if one in HEAT), *find_cooling(root))
    return Throttling(", ".join(heat), ", ".join(one for one in found if one not in HEAT))


def until_it_fails(tool: Tool) -> Tool:
    """A tool that is run no more once it failed FAILURES times in a row: a run may not reach it, and each try would be
    a process."""
    failures = 0

    def run(command: Sequence[str]) -> str | None:
        nonlocal failures
        if failures >= FAILURES:
            return None
        printed = tool(command)
        failures = failures + 1 if printed is None else 0
        return printed

    return run


def watch_throttling(
    report: Callable[[str], None],
    read: Callable[[], Throttling] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Callable[[], str]:
    """The heat that ``read`` gave last, without waiting for it; it goes on for as long as the process.

    What else slows the processor is told once. It may last for ever, and fewer sensors would not end it.
    """
    read = read or partial(read_throttling, tool=until_it_fails(tool_under(Path("/"))))
    newest, told = [""], set[str]()

    def watch() -> None:
        while True:
            try:
                found = read()
            except Exception as error:  # whatever it was, the last word must not hold for ever
                found = Throttling(others=f"it cannot be known: {type(error).__name__}: {error}")
            newest[0] = found.heat
            if found.others and found.others not in told:
                told.add(found.others)
                report(f"the processor may be slowed: {found.others}")
            sleep(EVERY_S)

    threading.Thread(target=watch, name="mmg throttling", daemon=True).start()
    return lambda: newest[0]
