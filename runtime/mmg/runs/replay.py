"""A recorded run again: the steps of its ports, decided as they were live."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import msgspec

from mmg.bundle import Bundle
from mmg.engine import Engine
from mmg.errors import ConfigError, NoSensorError
from mmg.recording.reader import RecordingFile
from mmg.runs.deciding import Decider
from mmg.runs.settings import Settings
from mmg.types import Decision


def as_recorded(
    recording: RecordingFile,
    bundle: Bundle,
    settings: Settings,
    report: Callable[[str], None],
    *,
    grace: float | None,
    precision: str | None,
) -> Settings:
    """The settings with those of the live run, where the user names no other. Tells where the bundle is another."""
    told = recording.metadata
    as_tokens = [sensor.modality for sensor in recording.sensors if sensor.form == "tokens"]
    if as_tokens and told.get("bundle_digest") != bundle.digest:
        name = told.get("bundle", "?")
        raise ConfigError(
            f"{', '.join(as_tokens)}: was recorded as tokens of bundle {name}: only that one can decide on it"
        )
    if told.get("bundle_digest", bundle.digest) != bundle.digest:
        report(
            f"recorded with another bundle ({told.get('bundle', '?')}): decisions may differ from those of the live run"
        )
    live = msgspec.json.decode(told.get("settings", "{}"))
    return replace(
        settings,
        grace_s=live.get("grace_s", settings.grace_s) if grace is None else grace,
        precision=precision or live.get("precision", settings.precision),
        # Each library rounds in its own way: the one that ran live decides again, where it is installed.
        preferred_backend=told.get("backend") or settings.preferred_backend,
    )


class Replay:
    """A recording in, decisions out. Iterate over it once; then ``close`` it.

    With the bundle and the settings of the live run, its decisions, states and reasons are those of the live run to
    the last bit; ``latency_ms["event_to_decision"]`` is the time at which it began to be made. Another bundle, or fewer
    modalities, decide on the same samples at the same times. Raises as LivePipeline does.
    """

    def __init__(
        self,
        bundle: Bundle,
        recording: RecordingFile,
        modalities: tuple[str, ...],
        settings: Settings,
        *,
        report: Callable[[str], None] = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._recording, self._modalities, self._settings = recording, modalities, settings
        self._report, self._sleep, self._monotonic_ns = report, sleep, monotonic_ns
        urls = {sensor.modality: sensor.url for sensor in recording.sensors if sensor.modality in modalities}
        self._decider = Decider(bundle, urls, settings, origin_ns=recording.origin_ns, report=report)

    @property
    def engine(self) -> Engine:
        """The engine that decides."""
        return self._decider.engine

    def __iter__(self) -> Iterator[Decision]:
        origin_ns, until_s = self._recording.origin_ns, self._settings.duration_s
        begin_ns, first_ns = self._monotonic_ns(), None
        for step in self._recording.steps():
            if first_ns is None:
                first_ns = step.now_ns
            if self._settings.pace == "realtime":
                ahead_ns = (step.now_ns - first_ns) - (self._monotonic_ns() - begin_ns)
                self._sleep(max(ahead_ns, 0) / 1e9)
            for decision in self._decider.take(step.only(self._modalities)):
                if until_s is None or decision.t_s <= until_s:
                    late_ms = (step.now_ns - origin_ns) / 1e6 - decision.t_s * 1e3
                    yield replace(decision, latency_ms={**decision.latency_ms, "event_to_decision": late_ms})
            self._decider.check_required()
            if until_s is not None and step.now_ns - origin_ns > (until_s + self._settings.grace_s) * 1e9:
                break
        if first_ns is None:
            raise NoSensorError({str(self._recording.parts[0]): "nothing was recorded"})
        self._decider.check_decided()

    def close(self) -> None:
        """Tell what was lost and how each sensor ended."""
        self._decider.report_ends()
        for line in self._recording.notes:
            self._report(line)
