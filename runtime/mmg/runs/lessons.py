"""Teaching while a run goes on: an example of what is asked for, and the run decides among it from then on."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from mmg.bundle import Manifest
from mmg.engine.encoded import Encoded
from mmg.errors import ConfigError, MmgError
from mmg.runs.live import LivePipeline
from mmg.runs.teaching import (
    KEPT_HOPS,
    LATE_S,
    NEWEST_S,
    Heard,
    Taken,
    background_in,
    done_in,
    example_in,
    judged,
    well_in,
)
from mmg.teaching.check import little_background
from mmg.teaching.kept import Kept
from mmg.teaching.scorer import Scorer
from mmg.teaching.taught import Taught, check_case, check_name

READY_S = 3
"""From the asking to the begin."""
WANTED_EXAMPLES = 5
LEAST_HEARD_S = 5.0
"""So much must have been heard before the first example: it is what else the wearer does."""

Phase = Literal["get_ready", "now", "kept", "bad"]


@dataclass(frozen=True, slots=True)
class Teaching:
    """How teaching goes. example: its number, of its activity. of: how many are wanted. text: a line for a person."""

    phase: Phase
    name: str
    example: int
    of: int
    text: str


class Lessons:
    """Examples for one file. Everything but ``ask`` is called on the run's thread.

    pipeline: live, and not begun. taught: what the file has. path: of the file, which is written after each example.
    names: modalities that may be taught with. tell: called, from any thread, with how it goes.
    """

    def __init__(
        self,
        pipeline: LivePipeline,
        manifest: Manifest,
        taught: Taught,
        path: Path,
        names: Collection[str],
        *,
        tell: Callable[[Teaching], None],
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._pipeline, self._manifest, self._kept = pipeline, manifest, Kept(path, manifest, taught)
        self._names, self._tell, self._monotonic_ns = frozenset(names), tell, monotonic_ns
        self._heard = Heard(manifest.hop_s)
        self._length = manifest.context_hops
        self._lock = threading.Lock()
        self._asked: str | None = None
        """The name that is taught just now."""
        self._is_judging = False
        """Whether an example is with the thread that judges it: until that says how it went, nothing else begins."""
        self._begin_s: float | None = None
        self._span: range | None = None
        self._wanted: tuple[str, ...] = ()
        self._spans: list[range] = []
        self._given: list[range] = []
        """Hops that were examples, and those that are background in the file already."""
        self._scorer: Scorer | None = None
        self._known: Scorer | None = None
        """The newest, which the run takes from ``_scorer``, and the same once it was taken."""
        pipeline.hear(self.take)

    def ask(self, name: object) -> str:
        """From any thread: an example of this activity is to come. Returns its name. Raises ConfigError."""
        if not isinstance(name, str):
            raise ConfigError("teach: name is a text")
        name = check_name(name)
        check_case(name, (*self._manifest.labels, *self._kept.taught.names))
        if name in self._manifest.labels:
            raise ConfigError(f"{name}: bundle {self._manifest.name} knows this already; choose another name")
        with self._lock:
            if self._asked is not None:
                raise ConfigError(f"{self._asked} is being taught: wait until that example is over")
            self._asked = name
        return name

    def take(self, encoded: Sequence[Encoded]) -> None:
        """What a step of the run became; does what is due."""
        self._heard.take(encoded)
        if any(len(known) > 2 * KEPT_HOPS for known in self._heard.hops.values()):
            self._heard.forget(self._heard.end - KEPT_HOPS)
        scorer, self._scorer = self._scorer, None
        if scorer:
            self._pipeline.engine.teach(scorer)
        if self._asked is not None and not self._is_judging:
            self._go_on(self._asked, (self._monotonic_ns() - self._pipeline.origin_ns) / 1e9)

    def _go_on(self, name: str, now_s: float) -> None:
        if self._begin_s is None:
            self._begin(name, now_s)
        elif self._span is None:
            if now_s >= self._begin_s:
                first = math.ceil(now_s / self._heard.hop_s)
                self._span = range(first, first + self._length)
                seconds = self._length * self._heard.hop_s
                self._say("now", name, f"{name}: begin now, and go on for {seconds:g} s")
        elif self._is_here(self._span, now_s):
            self._judge(name, self._span)

    def _begin(self, name: str, now_s: float) -> None:
        told = well_in(self._heard, self._pipeline.engine.states(), math.ceil(NEWEST_S / self._heard.hop_s))
        self._wanted = tuple(one for one, why in told.items() if not why and one in self._names)
        if (self._heard.end - self._heard.begin) * self._heard.hop_s < LEAST_HEARD_S:
            self._end("bad", name, f"{name}: too little was heard so far: ask again in {LEAST_HEARD_S:g} s")
        elif not self._wanted:
            why = "; ".join(f"{one}: {why or 'may not be taught with'}" for one, why in told.items())
            self._end("bad", name, f"{name}: no sensor to teach with ({why})")
        else:
            self._begin_s = now_s + READY_S
            self._say("get_ready", name, f"{name}: get ready, {READY_S} s")

    def _is_here(self, span: range, now_s: float) -> bool:
        """Whether all of it has come, or nothing more can."""
        newest = (max(self._heard.hops.get(one, {}), default=-1) for one in self._wanted)
        return all(hop >= span.stop - 1 for hop in newest) or now_s > span.stop * self._heard.hop_s + LATE_S

    def _judge(self, name: str, span: range) -> None:
        """What the run's thread has is copied here; the rest takes a while, on a thread of its own."""
        heard = Heard(self._heard.hop_s, {one: dict(known) for one, known in self._heard.hops.items()})
        self._spans.append(span)
        self._begin_s = self._span = None
        self._is_judging = True
        work = partial(self._keep, name, example_in(heard, span, self._wanted), heard)
        threading.Thread(target=work, name="mmg teaching", daemon=True).start()

    def _keep(self, name: str, taken: Taken, heard: Heard) -> None:
        try:
            context, kinds = self._manifest.context_hops, {one.name: one.kind for one in self._manifest.modalities}
            before = background_in(heard, self._spans, context)
            sounds = {one: traces for one, traces in before.items() if kinds[one] == "audio"}
            taken = judged(taken, self._kept.taught, name, sounds)
            if taken.problem:
                self._end("bad", name, f"{name}: {taken.problem}: once more")
                return
            done = done_in(heard, self._known or Scorer(self._kept.taught))
            fresh = background_in(heard, [*self._spans, *self._given, *done], context)
            background = {modality: traces for modality, traces in fresh.items() if modality in self._wanted}
            note = self._kept.keep(name, [taken.example], background)
            self._scorer = self._known = Scorer(self._kept.taught)
            self._given.append(range(heard.begin, heard.end))
            silent = f", though {', '.join(taken.silent)} gave nothing new" if taken.silent else ""
            little = little_background(self._kept.taught)
            has = ", ".join(f"{seconds:g} s of {one}" for one, seconds in little.items())
            notes = [note, f"too little background ({has}): wait before the next, and do else" if little else ""]
            self._end("kept", name, "; ".join([f"{name}: recorded{silent}", *filter(None, notes)]))
        except MmgError as error:
            self._end("bad", name, str(error))
        except Exception as error:  # else nothing could be taught any more, and nobody would know why
            self._end("bad", name, f"{name}: {type(error).__name__}: {error}")

    def _end(self, phase: Phase, name: str, text: str) -> None:
        self._say(phase, name, text)
        with self._lock:
            self._asked, self._is_judging = None, False

    def _say(self, phase: Phase, name: str, text: str) -> None:
        known = next((len(one.examples) for one in self._kept.taught.activities if one.name == name), 0)
        example = known if phase == "kept" else known + 1
        self._tell(Teaching(phase, name, example, max(WANTED_EXAMPLES, example), text))
