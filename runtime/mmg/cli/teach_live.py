"""Teaching on live sensors: listen, say when to begin, count, and ask again for an example that is none."""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from mmg.cli.keys import keys
from mmg.cli.privacy import tell_closed
from mmg.cli.watchdog import WATCHDOG
from mmg.errors import ConfigError, NoSensorError

if TYPE_CHECKING:
    from mmg.bundle import Bundle, Manifest
    from mmg.runs.live import LivePipeline
    from mmg.runs.settings import Settings
    from mmg.runs.step import Step
    from mmg.runs.teaching import Ear, Taken
    from mmg.teaching.kept import Kept
    from mmg.teaching.trace import Trace

SHOTS, LISTEN_S = 5, 20.0
PATIENCE_S = 15.0
"""How long it may take until every sensor gives something."""
LEAST_LISTEN_S = 2.0
"""For how long it listens, however soon Enter is pressed."""
TELL_S = 5.0
"""It tells how long it goes on listening no more often than that."""
COUNT_S = 3
"""From where it counts down without a terminal."""
MOST_BAD = 5
"""Examples that are none, one after the other, before it gives up."""
ENTER = "\r\n"


def teach_live(
    options: argparse.Namespace,
    bundle: Bundle,
    urls: dict[str, str],
    settings: Settings,
    lesson: tuple[str, Kept, int],
    report: Callable[[str], None],
) -> None:
    """The file is written after each example.

    lesson: the activity, the file, and the hops of an example. Raises ConfigError, NoSensorError.
    """
    from mmg.runs.live import LivePipeline, open_ports
    from mmg.runs.teaching import Ear

    ports = open_ports(bundle.manifest, urls, settings, report)

    def open_pipeline(record: Callable[[Step], None]) -> LivePipeline:
        return LivePipeline(bundle, ports, settings, report=report, record=record)

    ear = Ear(open_pipeline, time.monotonic_ns, time.sleep)
    WATCHDOG.look_at(ear.engine, report)
    pressed = threading.Event()
    try:
        with keys(lambda key: pressed.set() if key in ENTER else None) as has_keys:
            teach_by(ear, options, lesson, bundle.manifest, pressed if has_keys else None, report)
    finally:
        ear.close()


def teach_by(
    ear: Ear,
    options: argparse.Namespace,
    lesson: tuple[str, Kept, int],
    manifest: Manifest,
    pressed: threading.Event | None,
    report: Callable[[str], None],
) -> None:
    """The same by an ear that was not started. pressed: is set when Enter is; None where there are no keys."""
    from mmg.runs.teaching import background_in, done_in
    from mmg.teaching.scorer import Scorer

    tell_closed(report)
    ear.start()
    wanted = _listen(ear, LISTEN_S if options.listen is None else options.listen, lesson[0], pressed, report)
    _tell_missing(ear, wanted, report)
    done = done_in(ear.heard, Scorer(lesson[1].taught))
    if done:
        report("what is taught already was done meanwhile: that is no background")
    before = background_in(ear.heard, done, manifest.context_hops)
    # How far a sound must stand out was measured on sounds: of pictures it says nothing.
    sounds = {one: traces for one, traces in before.items() if manifest.modality(one).kind == "audio"}
    begin = _Begin(ear, None if options.auto else pressed, report)
    _shots(options, ear, begin, lesson, (wanted, before, sounds), report)


def _listen(
    ear: Ear, seconds: float, name: str, pressed: threading.Event | None, report: Callable[[str], None]
) -> tuple[str, ...]:
    """Listen to what is none of it, and return the sensors that are well. Raises NoSensorError."""
    end = "" if pressed is None else ", or until you press Enter"
    report(f"listening for {seconds:g} s{end}: do anything but {name}")
    ear.await_all(PATIENCE_S)
    begin_s = ear.now_s()

    def is_over() -> bool:
        return pressed is not None and pressed.is_set() and ear.now_s() >= begin_s + LEAST_LISTEN_S

    step_s = max(TELL_S, seconds / 4)
    left_s = seconds
    while left_s > 0 and not is_over():
        if left_s < seconds:
            report(f"listening: {left_s:g} s more")
        left_s = max(left_s - step_s, 0.0)
        ear.listen(begin_s + seconds - left_s, is_over)
    return ear.those_well(ear.now_s() - begin_s)


def _tell_missing(ear: Ear, wanted: tuple[str, ...], report: Callable[[str], None]) -> None:
    told = ear.well(1)
    for modality in ear.engine.modalities:
        if modality not in wanted:
            why = told[modality] or "it came too late"
            report(f"{modality} is not well ({why}): it is taught with {', '.join(wanted)} alone")


class _Begin:
    """Says when to begin: after Enter, or after a countdown where there are no keys."""

    def __init__(self, ear: Ear, pressed: threading.Event | None, report: Callable[[str], None]) -> None:
        self._ear, self._pressed, self._report = ear, pressed, report

    def wait(self, which: str) -> None:
        if self._pressed is not None:
            self._pressed.clear()
            self._report(f"{which}: press Enter, then begin")
            self._ear.listen(float("inf"), self._pressed.is_set)
        else:
            for left in range(COUNT_S, 0, -1):
                self._report(f"{which}: {left}")
                self._ear.listen(self._ear.now_s() + 1)


def _shots(
    options: argparse.Namespace,
    ear: Ear,
    begin: _Begin,
    lesson: tuple[str, Kept, int],
    heard: tuple[tuple[str, ...], Mapping[str, Sequence[Trace]], Mapping[str, Sequence[Trace]]],
    report: Callable[[str], None],
) -> None:
    """heard: the sensors that are taught with, what each gave before, and of that the sounds."""
    from mmg.runs.teaching import judged

    (name, kept, length), (wanted, before, sounds) = lesson, heard
    shots = options.shots or SHOTS
    seconds, done, bad = length * ear.heard.hop_s, 0, 0
    try:
        while done < shots:
            which = f"example {done + 1} of {shots}"
            begin.wait(which)
            report(f"{which}: begin now, and go on for {seconds:g} s")
            taken = judged(ear.example(seconds, wanted)[0], kept.taught, name, sounds)
            if taken.problem:
                bad += 1
                _give_up(bad, taken)
                report(f"{which}: {taken.problem}: once more")
                continue
            note = kept.keep(name, [taken.example], before)
            before, bad, done = {}, 0, done + 1
            silent = (
                f", though {', '.join(taken.silent)} gave nothing but what was there before" if taken.silent else ""
            )
            report(f"{which}: recorded{silent}")
            if note:
                report(note)
    except KeyboardInterrupt:
        report(f"{done} of {shots} examples of {name} are in {options.output}")
        raise


def _give_up(bad: int, taken: Taken) -> None:
    if bad < MOST_BAD:
        return
    told = f"{bad} examples in a row were none, the last as {taken.problem}"
    raise NoSensorError({"teaching": told}) if taken.is_fault else ConfigError(told)
