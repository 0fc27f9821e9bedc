"""Which lines of mmg an input reaches: for the plain loop, and to choose the inputs that are kept."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

Line = tuple[str, int]


class Lines:
    """Watches those of the modules below these folders."""

    def __init__(self, *folders: Path) -> None:
        self._folders = tuple(f"{folder}/" for folder in folders)
        self._is_own: dict[CodeType, bool] = {}
        self._reached: set[Line] = set()

    def of(self, call: Callable[[], object]) -> frozenset[Line]:
        """The lines that this call reaches. What it raises is passed on."""
        self._reached = set()
        before = sys.gettrace()
        sys.settrace(self._enter)
        try:
            call()
        finally:
            sys.settrace(before)
        return frozenset(self._reached)

    def _enter(self, frame: FrameType, _event: str, _given: Any) -> Callable[[FrameType, str, Any], Any] | None:
        code = frame.f_code
        if code not in self._is_own:
            self._is_own[code] = code.co_filename.startswith(self._folders)
        return self._step if self._is_own[code] else None

    def _step(self, frame: FrameType, event: str, _given: Any) -> Callable[[FrameType, str, Any], Any]:
        if event == "line":
            self._reached.add((frame.f_code.co_filename, frame.f_lineno))
        return self._step


def of_mmg() -> Lines:
    """Those of the runtime, the device profiles and the fleet."""
    import mmg
    import mmg_device_profiles
    import mmg_fleet

    return Lines(*(Path(str(package.__file__)).parent for package in (mmg, mmg_device_profiles, mmg_fleet)))
