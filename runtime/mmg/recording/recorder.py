"""Records a live run beside it: a thread of its own writes, so that no decision waits for a disk."""

from __future__ import annotations

import errno
import os
import re
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from mmg.engine.health import ReadAs
from mmg.errors import ConfigError
from mmg.recording.messages import START, Changes, MarkMessage
from mmg.recording.part import Part
from mmg.recording.schemas import SUFFIX
from mmg.recording.sensors import Sensor
from mmg.runs.step import Step
from mmg.streams.grid import LATEST_NS

SYNC_S = 1.0
"""So often all is brought to the disk: what a power cut takes is that, what waits meanwhile, and the sync itself."""
MOST_WAITING = 2000
"""Entries that a slow disk may leave waiting, minutes of them. What comes then is not recorded, and counted."""
MOST_HELD = 64 << 20
"""In bytes: what is brought to the disk at once is read at once, too, and a reader has a limit (``MOST_WAITING``)."""
LONGEST_PART_S = 4 * 3600.0
"""Without other limits: a file's index is in memory until the file ends, about 5 MB an hour."""
LET_GO_S = 60.0
"""So often, once nothing is recorded any more, it is looked whether older files are to go."""
SLOW_S = 5.0
"""Who waits longer for the end of a recording is told for what."""
YEAR_NS = 365.25 * 86_400e9
FULL_DISK = "what was recorded until then is whole"


@dataclass(frozen=True, slots=True)
class Limits:
    """How a recording is cut in files. Each of None is no limit.

    split_s, split_bytes: how long, or large, one file may be; LONGEST_PART_S where neither is given.
    keep_s: files whose last sample is older go.
    """

    split_s: float | None = None
    split_bytes: int | None = None
    keep_s: float | None = None

    @property
    def is_split(self) -> bool:
        """Whether all files are numbered; else the first has the name that was given."""
        return self.split_s is not None or self.split_bytes is not None


NO_LIMITS = Limits()


def part_path(path: Path, number: int) -> Path:
    """Where the part of a recording is that is cut: ``day-0003.mcap`` for ``day.mcap``."""
    return path.with_name(f"{path.stem}-{number:04d}{SUFFIX}")


def _refuse_parts_of_another(path: Path) -> None:
    """What an earlier recording of this name kept would end this one hours later. Raises FileExistsError."""
    numbered = re.compile(re.escape(path.stem) + r"-\d{4,}" + re.escape(SUFFIX))
    for other in sorted(path.parent.iterdir()):
        if numbered.fullmatch(other.name):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(other))


class Recorder:
    """A recording in the making. ``close`` it at the end.

    path: of its file, which must not be there yet. origin_ns: from when its seconds count. metadata: what else is to be
    known of the run. report: called, from any thread, with each line that is worth reading.

    A disk that is full or gone ends the recording, is told once, and ends nothing else. Raises ConfigError where the
    file is there already or cannot be made.
    """

    def __init__(
        self,
        path: Path,
        sensors: Sequence[Sensor],
        *,
        origin_ns: int,
        metadata: Mapping[str, str],
        limits: Limits = NO_LIMITS,
        sync_s: float = SYNC_S,
        report: Callable[[str], None] = lambda _: None,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.path, self._sensors, self._limits, self._report = path, tuple(sensors), limits, report
        self.origin_ns, self._sync_s, self._monotonic_ns = origin_ns, sync_s, monotonic_ns
        self._epoch_ns, now_ns = 0, wall_ns()
        if 0 <= now_ns < LATEST_NS:
            self._epoch_ns = now_ns - monotonic_ns()
        else:
            report(f"{path}: this machine's clock is {now_ns / YEAR_NS:.0f} years after 1970: times in it have no date")
        self._names = frozenset(sensor.modality for sensor in sensors)
        self._metadata = {"session": uuid.uuid4().hex, "origin_ns": str(origin_ns), **metadata}
        self._number = self._finished_bytes = 0
        self._held = ""
        self._old: deque[tuple[int, Path]] = deque()  # when each finished part ended, where they are not kept for ever
        self._unremoved: set[Path] = set()
        self._changes = Changes()
        self.bytes = 0
        """Of all files, the removed ones too, as they were at the last sync."""
        self.problem = ""
        """Why nothing is recorded any more; empty while it is."""
        self._lost = self._odd = 0
        self.is_off = False
        """Whether what comes is left out, as ``switch`` asked."""
        self._from_ns = 0
        """What was captured before is left out; 0 where nothing is."""
        self._read_as: dict[str, ReadAs] = {}
        self._waiting: deque[Callable[[Part], None]] = deque()
        self._changed = threading.Condition()
        self._closing = self._is_wanted = self._is_over = False
        try:
            _refuse_parts_of_another(path)
            self._part = self._open_part(0)
        except FileExistsError as error:
            raise ConfigError(f"{error.filename} is there already: choose another name for the recording") from error
        except OSError as error:
            raise ConfigError(f"{path}: cannot be recorded to: {error.strerror}") from error
        self._began_ns = monotonic_ns()
        self._thread = threading.Thread(target=self._live, name="mmg recorder", daemon=True)
        self._thread.start()

    def step(self, step: Step) -> None:
        """Record what came, of the sensors that are recorded. Returns at once."""
        step = step.only(self._names)
        if self.is_off:
            # How a device's values are taken is told once: it must not be missed.
            self._read_as.update(step.read_as)
            self._leave(partial(Part.lose, count=1))
            return
        if self._from_ns:
            step = step.since(self._from_ns)
        if self._read_as:
            step = replace(step, read_as={**self._read_as, **step.read_as})
            self._read_as.clear()
        self._leave(partial(Part.step, step=step))

    def switch(self, on: bool) -> None:
        """Leave out what is captured from now on, or record it again. The recording tells how much was left out."""
        if on and self.is_off:  # what a driver still holds is of before
            self._from_ns = self._monotonic_ns()
        self.is_off = not on

    def decision(self, line: str, now_ns: int) -> None:
        """Record a decision as its JSON line. Returns at once."""
        if self.is_off:
            self._leave(partial(Part.lose, count=1))
            return
        self._leave(partial(Part.decision, line=line, now_ns=now_ns))

    def mark(self, label: str, event: str, now_ns: int) -> None:
        """Record that a label begins or ends. Returns at once."""
        mark = MarkMessage(round((now_ns - self.origin_ns) / 1e9, 3), label, event)
        self._leave(partial(self._write_mark, mark=mark, now_ns=now_ns))

    def _write_mark(self, part: Part, mark: MarkMessage, now_ns: int) -> None:
        """In the thread that opens parts: what holds is what was written."""
        part.mark(mark, now_ns)
        self._held = mark.label if mark.event == START else ""

    @property
    def newest(self) -> Path:
        """The file that is written to, or was last."""
        return self._part.path

    def _leave(self, entry: Callable[[Part], None]) -> None:
        with self._changed:
            is_full = len(self._waiting) >= MOST_WAITING
            is_first = is_full and not (self._lost or self.problem)
            self._lost += is_full
            if not (is_full or self.problem):
                self._waiting.append(entry)
        if is_first:
            self._report(f"{self.path}: the disk is too slow: what comes now is not recorded")

    def flush(self) -> None:
        """Return when all that was left until now is on the disk, or nothing is recorded any more."""
        with self._changed:
            self._is_wanted = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not (self._is_wanted or self._waiting) or self._is_over)

    def close(self) -> None:
        """Write what waits and finish the file. Twice is fine."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        pressed, until_s = False, time.monotonic() + SLOW_S
        while not self._is_over and (left_s := until_s - time.monotonic()) > 0:
            try:
                self._wait(left_s)
            except KeyboardInterrupt:  # impatience must not cut a file that is nearly finished
                pressed = True
        if not self._is_over:
            self._report(f"{self.newest}: waiting for its disk; Ctrl-C gives up what it has not taken yet")
            self._wait()
        if pressed:
            raise KeyboardInterrupt

    def _wait(self, seconds: float | None = None) -> None:
        """For the thread's end; ``Thread.join`` takes a thread that goes on for ended once it was interrupted."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_over, seconds)

    @property
    def is_whole(self) -> bool:
        """Whether its file was finished."""
        return self._is_over and not self.problem

    def discard(self) -> None:
        """Of a run that did not begin, or heard nothing: end, and leave no file."""
        try:
            self.close()
        finally:
            for number in range(self._number + 1):
                self._path_of(number).unlink(missing_ok=True)

    def _live(self) -> None:
        try:
            self._record()
        finally:
            with self._changed:
                self._is_over = True
                self._changed.notify_all()

    def _record(self) -> None:
        told = 0  # of what was lost
        closing = False
        while not closing and (not self.problem or self._old):
            with self._changed:
                # Once a second is soon enough, and wakes the processor least.
                wait_s = LET_GO_S if self.problem else self._sync_s
                self._changed.wait_for(lambda: self._closing or self._is_wanted, wait_s)
                waiting, closing, lost = list(self._waiting), self._closing, self._lost - told
                self._waiting.clear()
            if not self.problem:
                self._bring_to_disk(waiting, lost, closing=closing)
                told += lost
            self._let_old_go()
            self._tell_synced()
        if (self._lost or self._odd) and not self.problem:
            why = "the disk was too slow" if self._lost else "some could not be written"
            lost = self._lost + self._odd
            self._report(f"{self.path}: {why}: {lost} steps, decisions or marks are not recorded")

    def _bring_to_disk(self, waiting: Sequence[Callable[[Part], None]], lost: int, *, closing: bool) -> None:
        try:
            if self._part.is_removed:
                removed = self._part.path
                self._begin_next()
                self._report(f"{removed}: was removed while it was recorded: {self._part.path.name} goes on from here")
            for entry in waiting:
                self._keep(entry)
                if self._part.held > MOST_HELD:  # pictures that waited for a slow disk
                    self._part.sync()
            self._part.lose(lost)
            self._part.sync()
            self.bytes = self._finished_bytes + self._part.size
            if closing:
                self._part.finish()
            elif self._is_long_enough():
                self._begin_next()
        except OSError as error:
            self._stop(f"{error.filename or self._part.path}: {error.strerror or error}")
        except Exception as error:
            # What cannot be written for another reason would end this thread unseen.
            self._stop(f"{self._part.path}: {type(error).__name__}: {error}")

    def _keep(self, entry: Callable[[Part], None]) -> None:
        """One that cannot be written, whatever a driver gave, costs no other."""
        try:
            entry(self._part)
        except Exception as error:
            self._part.lose(1)
            self._odd += 1
            if self._odd == 1:
                self._report(f"{self.path}: a step is not recorded: {type(error).__name__}: {error}")

    def _tell_synced(self) -> None:
        with self._changed:
            self._is_wanted = False
            self._changed.notify_all()

    def _stop(self, problem: str) -> None:
        self.problem = problem
        self._part.abandon()
        if self._limits.keep_s is not None:  # what is kept goes all the same when its time is over
            self._old.append((self._monotonic_ns(), self._part.path))
        self._report(f"recording stops: {problem}; {FULL_DISK}")

    def _is_long_enough(self) -> bool:
        limits = self._limits
        longest_s = limits.split_s if limits.is_split else LONGEST_PART_S
        too_long = longest_s is not None and self._monotonic_ns() - self._began_ns >= longest_s * 1e9
        return too_long or (limits.split_bytes is not None and self._part.size >= limits.split_bytes)

    def _begin_next(self) -> None:
        now_ns, ended = self._monotonic_ns(), self._part
        self._finished_bytes += ended.size
        ended.finish()
        self._part, self._began_ns = self._open_part(self._number + 1), now_ns
        self._number += 1
        self._part.lose(ended.lost)  # while recording is off no step tells it
        if self._limits.keep_s is not None:
            self._old.append((now_ns, ended.path))

    def _let_old_go(self) -> None:
        """Remove the files whose time is over. One that cannot be is told once, and tried again."""
        for one in tuple(self._old):
            ended_ns, path = one
            if self._monotonic_ns() - ended_ns <= (self._limits.keep_s or 0.0) * 1e9:
                break
            try:
                path.unlink(missing_ok=True)
            except OSError as error:  # no reason to keep nothing from now on
                if path not in self._unremoved:
                    self._unremoved.add(path)
                    self._report(f"{path}: cannot be removed: {error.strerror}")
            else:
                self._old.remove(one)

    def _path_of(self, number: int) -> Path:
        return part_path(self.path, number) if self._limits.is_split or number else self.path

    def _open_part(self, number: int) -> Part:
        metadata = {**self._metadata, "part": str(number)}
        part = Part(self._path_of(number), self._sensors, metadata, self._epoch_ns, self._changes)
        if number and self._held:
            # A part that is read without those before it knows the label that holds.
            now_ns = self._monotonic_ns()
            part.mark(MarkMessage(round((now_ns - self.origin_ns) / 1e9, 3), self._held, START), now_ns)
        return part
