"""What holds the processor's clock down, looked at now and then by a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from mmg.board.machine.throttling import find_cooling, read_firmware, reasons_of
from mmg.board.machine.tools import tool_under

EVERY_S = 5.0


def read_throttling(root: Path = Path("/")) -> str:
    """In a few words; empty where nothing does. A limit that somebody set is not heat, and does not count."""
    return ", ".join((*reasons_of(read_firmware(root, tool_under(root)) or 0), *find_cooling(root)))


def watch_throttling(
    read: Callable[[], str] = read_throttling, sleep: Callable[[float], None] = time.sleep
) -> Callable[[], str]:
    """What ``read`` gave last, without waiting for it; it goes on for as long as the process."""
    newest = [""]

    def watch() -> None:
        while True:
            newest[0] = read()
            sleep(EVERY_S)

    threading.Thread(target=watch, name="mmg throttling", daemon=True).start()
    return lambda: newest[0]
