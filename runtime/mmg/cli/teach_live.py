"""Teaching on live sensors: listen, say when to begin, count, and ask again for an example that is none."""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from mmg.cli.keys import keys
from mmg.errors import ConfigError, NoSensorError

if TYPE_CHECKING:
    from mmg.bundle import Bundle
    from mmg.runs.live import LivePipeline
    from mmg.runs.settings import Settings
    from mmg.runs.step import Step
    from mmg.runs.teaching import Ear, Taken
    from mmg.teaching.taught import Taught

PATIENCE_S = 15.0
"""How long it may take until every sensor gives something."""
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
    lesson: tuple[str, Taught, int],
    report: Callable[[str], None],
) -> Taught:
    """What is taught in the end; the file is written after each example.

    lesson: the activity, what is taught so far, and the hops of an example. Raises ConfigError, NoSensorError.
    """
    from mmg.runs.live import LivePipeline, open_ports
    from mmg.runs.teaching import Ear, background_in

    name, taught, length = lesson
    ports = open_ports(bundle.manifest, urls, settings, report)

    def open_pipeline(record: Callable[[Step], None]) -> LivePipeline:
        return LivePipeline(bundle, ports, settings, report=report, record=record)

    ear = Ear(open_pipeline, time.monotonic_ns, time.sleep)
    pressed = threading.Event()
    try:
        with keys(lambda key: pressed.set() if key in ENTER else None) as has_keys:
            ear.start()
            report(f"listening for {options.listen:g} s: do anything but {name}")
            wanted = ear.hear_background(options.listen, PATIENCE_S)
            _tell_missing(ear, wanted, report)
            for modality, traces in background_in(ear.heard, (), bundle.manifest.context_hops).items():
                taught = taught.with_background(modality, traces)
            begin = _Begin(ear, pressed if has_keys and not options.auto else None, report)
            return _shots(options, ear, begin, (name, taught, length), wanted, report)
    finally:
        ear.close()


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
            self._report(f"{which}: press Enter, then begin")
            self._pressed.clear()
            self._ear.listen(float("inf"), self._pressed.is_set)
        else:
            for left in range(COUNT_S, 0, -1):
                self._report(f"{which}: {left}")
                self._ear.listen(self._ear.now_s() + 1)


def _shots(
    options: argparse.Namespace,
    ear: Ear,
    begin: _Begin,
    lesson: tuple[str, Taught, int],
    wanted: tuple[str, ...],
    report: Callable[[str], None],
) -> Taught:
    from mmg.runs.teaching import judged
    from mmg.teaching.store import write_taught

    name, taught, length = lesson
    seconds, done, bad = length * ear.heard.hop_s, 0, 0
    try:
        while done < options.shots:
            which = f"example {done + 1} of {options.shots}"
            begin.wait(which)
            report(f"{which}: begin now, and go on for {seconds:g} s")
            taken = judged(ear.example(seconds, wanted)[0], taught, name)
            if taken.problem:
                bad += 1
                _give_up(bad, taken)
                report(f"{which}: {taken.problem}: once more")
                continue
            taught, bad, done = taught.add(name, taken.example), 0, done + 1
            write_taught(options.output, taught)
            report(f"{which}: recorded")
    except KeyboardInterrupt:
        report(f"{done} of {options.shots} examples of {name} are in {options.output}")
        raise
    return taught


def _give_up(bad: int, taken: Taken) -> None:
    if bad < MOST_BAD:
        return
    told = f"{bad} examples in a row were none, the last as {taken.problem}"
    raise NoSensorError({"teaching": told}) if taken.is_fault else ConfigError(told)
