"""How far a run of recordings is: that they are being opened, and then what is decided, where nothing else shows it."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from mmg.cli.progress import Progress
from mmg.cli.reporting import Reporter

if TYPE_CHECKING:
    from mmg.runs.live import LivePipeline
    from mmg.runs.recorded import Pipeline
    from mmg.runs.replay import Replay


class RunProgress:
    """Shows nothing of a live run. ``close`` it at the end."""

    def __init__(self, report: Reporter, urls: Iterable[str]) -> None:
        from mmg.sources import is_live

        self._goes_to_file, self._length_s = _goes_to_file(), 0.0
        self._progress: Progress | None = None
        if not any(map(is_live, urls)):
            progress = Progress(report, "opening", unit="s", lines=self._goes_to_file)
            self._progress = progress.__enter__()

    def opened(self, pipeline: Pipeline | LivePipeline | Replay) -> None:
        """What is to be decided is known from now on."""
        if self._progress is not None and self._goes_to_file:
            self._length_s = cast("Pipeline | Replay", pipeline).duration_s  # no port is open

    def decided(self, t_s: float) -> None:
        """A decision was made, and is written next."""
        if self._goes_to_file and self._progress is not None:
            self._progress.at(t_s, self._length_s, "decided")
        else:
            self.close()

    def close(self) -> None:
        """Show nothing more. Twice is fine."""
        if self._progress is not None:
            self._progress.close()
            self._progress = None


def _goes_to_file() -> bool:
    """Whether decisions go where nobody reads them yet. On a terminal they themselves show how far a run is, and a
    program that reads them knows by their times, and may write to the same terminal."""
    try:
        kind = os.fstat(sys.stdout.fileno()).st_mode
    except (AttributeError, OSError, ValueError):
        return False  # closed, or no file
    return stat.S_ISREG(kind) or (stat.S_ISCHR(kind) and not sys.stdout.isatty())
