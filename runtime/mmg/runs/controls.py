"""What may be asked of a run while it goes on, from any thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard, cast

from mmg.errors import ConfigError
from mmg.labels.label import LONGEST

if TYPE_CHECKING:
    from mmg.recording.marks import Marker
    from mmg.recording.recorder import Recorder
    from mmg.runs.lessons import Lessons
    from mmg.runs.live import LivePipeline
    from mmg.runs.recorded import Pipeline
    from mmg.runs.replay import Replay


class Controls:
    """Marks in the recording that is made, recording on and off, listening on and off, and examples to teach.

    can_record, can_pause, can_teach: what this run will let be asked.
    """

    def __init__(
        self,
        *,
        can_record: bool,
        can_pause: bool,
        can_teach: bool = False,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._can_record, self._can_pause, self._can_teach = can_record, can_pause, can_teach
        self._monotonic_ns = monotonic_ns
        self._lock = threading.Lock()
        self._recorder: Recorder | None = None
        self._marker: Marker | None = None
        self._pipeline: LivePipeline | None = None
        self._lessons: Lessons | None = None

    def attach(
        self, pipeline: LivePipeline | Pipeline | Replay, recorder: Recorder | None, lessons: Lessons | None = None
    ) -> None:
        """Once the run is there. Only a live one can be paused, or taught in."""
        self._pipeline = cast("LivePipeline", pipeline) if self._can_pause else None
        self._lessons = lessons
        if recorder:
            from mmg.recording.marks import Marker

            self._recorder, self._marker = recorder, Marker((), recorder.mark)

    def offered(self, labels: Sequence[str]) -> dict[str, Any]:
        """What may be asked, of a run that decides among these labels."""
        return {
            "mark": list(labels) if self._can_record else False,
            "record": self._can_record,
            "pause": self._can_pause,
            "teach": self._can_teach,
        }

    def do(self, name: str, asked: object) -> dict[str, Any]:
        """Do what was asked, and say how it is now. Raises ConfigError for what cannot be."""
        if not isinstance(asked, dict):
            raise ConfigError(f"{name}: send a JSON object")
        if name == "mark":
            return self._mark(asked.get("label", ""))
        if name == "record":
            return self._record(asked.get("on"))
        if name == "pause":
            return self._pause(asked.get("on"))
        if name == "teach":
            return self._teach(asked.get("name"))
        raise ConfigError(f"{name}: this run cannot")

    def _mark(self, label: object) -> dict[str, Any]:
        recorder = self._recorder_that("mark")
        if recorder.is_off or self._marker is None:
            raise ConfigError("mark: recording is off")
        if label is not None and not _is_label(label):
            known = f"mark: label is a text of up to {LONGEST} characters, or null"
            raise ConfigError(f"{known}; blanks alone, line breaks and other control characters are none")
        with self._lock:
            self._marker.hold(label, self._monotonic_ns())
        return {"mark": label}

    def _record(self, on: object) -> dict[str, Any]:
        recorder = self._recorder_that("record")
        with self._lock:
            if not _is_switch("record", on) and self._marker:
                self._marker.hold(None, self._monotonic_ns())  # no label goes on over what is left out
            recorder.switch(bool(on))
        return {"record": on}

    def _recorder_that(self, name: str) -> Recorder:
        """Raises ConfigError where there is none that records."""
        if self._recorder is None:
            raise ConfigError(f"{name}: nothing is recorded: start mmg-run with --record DAY.mcap")
        if self._recorder.problem:
            raise ConfigError(f"{name}: recording stopped: {self._recorder.problem}")
        return self._recorder

    def _pause(self, on: object) -> dict[str, Any]:
        if self._pipeline is None:
            raise ConfigError("pause: this run listens to no sensor")
        self._pipeline.listen(not _is_switch("pause", on))
        return {"pause": on}

    def _teach(self, name: object) -> dict[str, Any]:
        if self._lessons is None:
            raise ConfigError("teach: start mmg-run with --taught MINE.taught, which is where examples go")
        if self.is_paused:
            raise ConfigError("teach: the run is paused")
        return {"teach": self._lessons.ask(name)}

    @property
    def is_paused(self) -> bool:
        """Whether the run listens to none of its sensors."""
        return self._pipeline is not None and self._pipeline.is_paused

    @property
    def problem(self) -> str:
        """Why nothing is recorded any more; empty while it is, or never was."""
        return self._recorder.problem if self._recorder else ""

    def recording(self) -> dict[str, Any] | None:
        """Of the recording its file, size and the label that holds; None where there is none, or it is off."""
        recorder, marker = self._recorder, self._marker
        if recorder is None or marker is None or recorder.problem or recorder.is_off:
            return None
        return {"path": str(recorder.newest), "bytes": recorder.bytes, "mark": marker.present}


def _is_label(label: object) -> TypeGuard[str]:
    """Whether a file can hold it and a terminal show it; half of a surrogate pair is neither."""
    return isinstance(label, str) and bool(label.strip()) and len(label) <= LONGEST and label.isprintable()


def _is_switch(name: str, on: object) -> bool:
    """The value of ``on``. Raises ConfigError for what is neither true nor false."""
    if not isinstance(on, bool):
        raise ConfigError(f"{name}: on is true or false")
    return on
