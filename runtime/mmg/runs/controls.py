"""What may be asked of a run while it goes on, from any thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mmg.errors import ConfigError

if TYPE_CHECKING:
    from mmg.recording.marks import Marker
    from mmg.recording.recorder import Recorder


class Controls:
    """Marks in the recording that is made, recording on and off, and listening on and off.

    can_record, can_pause: what this run will let be asked.
    """

    def __init__(
        self, *, can_record: bool, can_pause: bool, monotonic_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._can_record, self._can_pause, self._monotonic_ns = can_record, can_pause, monotonic_ns
        self._lock = threading.Lock()
        self._recorder: Recorder | None = None
        self._marker: Marker | None = None
        self.is_paused = False

    def attach(self, recorder: Recorder | None) -> None:
        """Once the run is there."""
        if recorder:
            from mmg.recording.marks import Marker

            self._recorder, self._marker = recorder, Marker((), recorder.mark)

    def offered(self, labels: Sequence[str]) -> dict[str, Any]:
        """What may be asked, of a run that decides among these labels."""
        return {"mark": list(labels) if self._can_record else False, "record": False, "pause": False}

    def do(self, name: str, asked: object) -> dict[str, Any]:
        """Do what was asked, and say how it is now. Raises ConfigError for what cannot be."""
        if not isinstance(asked, dict):
            raise ConfigError(f"{name}: send a JSON object")
        if name == "mark":
            return self._mark(asked.get("label"))
        raise ConfigError(f"{name}: this run cannot")

    def _mark(self, label: object) -> dict[str, Any]:
        if self._marker is None:
            raise ConfigError("mark: nothing is recorded: start mmg-run with --record DAY.mcap")
        if label is not None and not (isinstance(label, str) and 0 < len(label) <= 100):
            raise ConfigError("mark: label is a text of up to 100 characters, or null")
        with self._lock:
            self._marker.hold(label, self._monotonic_ns())
        return {"mark": label}

    @property
    def problem(self) -> str:
        """Why nothing is recorded any more; empty while it is, or never was."""
        return self._recorder.problem if self._recorder else ""

    def recording(self) -> dict[str, Any] | None:
        """Of the recording its file, size and the label that holds; None where there is none."""
        recorder, marker = self._recorder, self._marker
        if recorder is None or marker is None or recorder.problem:
            return None
        return {"path": str(recorder.newest), "bytes": recorder.bytes, "mark": marker.present}
