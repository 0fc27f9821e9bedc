"""A recorded run again: the steps of its ports, decided as they were live."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from mmg_device_profiles.gate import GatePolicy

from mmg.backends import AUTO
from mmg.bundle import Bundle, Manifest
from mmg.engine import Engine
from mmg.engine.encoded import Encoded
from mmg.engine.unknown import MOST_UNKNOWN
from mmg.engine.variant import choose_variant
from mmg.errors import ConfigError, NoSensorError, SourceError
from mmg.recording.reader import RecordingFile
from mmg.runs.deciding import Decider
from mmg.runs.gating import from_json
from mmg.runs.settings import Settings
from mmg.runs.step import Step
from mmg.streams.grid import all_finite
from mmg.teaching.trace import POINTS
from mmg.types import Decision
from mmg.version import installed_version

MOST_S = 1e9
"""No number of a recording's metadata is larger; it fits the clock's nanoseconds."""


def as_recorded(
    recording: RecordingFile,
    bundle: Bundle,
    settings: Settings,
    report: Callable[[str], None],
    modalities: tuple[str, ...],
    *,
    grace: float | None,
    precision: str | None,
    unknown: float | None,
) -> Settings:
    """The settings with those of the live run, where the user names no other. Tells what else may decide otherwise.

    Raises SourceError where the recording's sensors are not those of the bundle.
    """
    names = _recorded_names(recording, bundle, modalities)
    live = recording.metadata.get("backend", AUTO)
    if settings.backend == AUTO and live != AUTO:
        # Each library rounds in its own way: the one that ran live decides again, where it is installed.
        settings = replace(settings, preferred_backend=live)
    precision = precision or recording.metadata.get("precision", settings.precision)
    variant = choose_variant(bundle, names, settings.backend, precision, settings.preferred_backend)
    _tell_differences(recording, bundle, variant.backend, report)
    recorded_s, recorded = _told_number(recording, "grace_s"), _told_number(recording, "unknown")
    if recorded is not None and not 0 <= recorded <= MOST_UNKNOWN:
        raise SourceError(str(recording.parts[0]), f"its metadata is damaged: unknown is {recorded:g}")
    duration_s = settings.duration_s
    return replace(
        settings,
        grace_s=(settings.grace_s if recorded_s is None else recorded_s) if grace is None else grace,
        # What a clock that runs ahead let decide beyond it was not told live either.
        duration_s=_told_number(recording, "duration_s") if duration_s is None else duration_s,
        precision=precision,
        unknown=(settings.unknown if recorded is None else recorded) if unknown is None else unknown,
        deadline_s=_told_number(recording, "deadline_s") or None,
        gate=settings.gate or _told_gate(recording),
    )


def _tell_differences(recording: RecordingFile, bundle: Bundle, backend: str, report: Callable[[str], None]) -> None:
    told, version = recording.metadata, installed_version()
    if left_out := told.get("not_recorded", ""):
        report(f"{left_out} took part in the live run and is not recorded: decisions differ from those of the live run")
    if told.get("part", "0") != "0":
        report(f"{recording.parts[0].name} begins amid a run: decisions may differ until its sensors are known again")
    if told.get("mmg", version) != version:
        report(f"recorded by mmg {told['mmg']}, and this is {version}: decisions may differ from those of the live run")
    if (live := told.get("backend", AUTO)) not in (AUTO, backend):
        report(f"decided live by {live}, and here by {backend}: decisions may differ in their last digits")
    if told.get("bundle_digest", bundle.digest) != bundle.digest:
        report(
            f"recorded with another bundle ({told.get('bundle', '?')}): decisions may differ from those of the live run"
        )


def _told_number(recording: RecordingFile, key: str) -> float | None:
    text = recording.metadata.get(key, "null")
    try:
        number = None if text == "null" else float(text)
    except ValueError as error:
        raise SourceError(str(recording.parts[0]), f"its metadata is damaged: {key} is {text!r}") from error
    if number is not None and not (math.isfinite(number) and 0 <= number <= MOST_S):
        raise SourceError(str(recording.parts[0]), f"its metadata is damaged: {key} is {number:g}")
    return number


def _told_gate(recording: RecordingFile) -> GatePolicy | None:
    try:
        return from_json(recording.metadata.get("gate", "null"))
    except ValueError as error:
        raise SourceError(str(recording.parts[0]), f"its metadata is damaged: gate: {error}") from error


def _recorded_names(recording: RecordingFile, bundle: Bundle, modalities: tuple[str, ...]) -> tuple[str, ...]:
    url, manifest = str(recording.parts[0]), bundle.manifest
    as_tokens = [sensor.modality for sensor in recording.sensors if sensor.form == "tokens"]
    if set(as_tokens) & set(modalities) and recording.metadata.get("bundle_digest") != bundle.digest:
        name = recording.metadata.get("bundle", "?")
        told = f"{', '.join(as_tokens)}: recorded as tokens of bundle {name}"
        raise ConfigError(f"{told}: only that one can decide on them, or --sensors without them")
    sensors = [sensor for sensor in recording.sensors if sensor.modality in modalities]
    for sensor in sensors:
        modality = manifest.modality(sensor.modality)
        wanted = tuple(channel.name for channel in modality.channels)
        if sensor.kind != modality.kind or (sensor.kind == "signal" and sensor.channels != wanted):
            has = ", ".join(sensor.channels) or sensor.kind
            wants = ", ".join(wanted) or modality.kind
            raise SourceError(url, f"{sensor.modality} is {has}, and bundle {manifest.name} wants {wants}")
    if not sensors:
        holds = ", ".join(sensor.modality for sensor in recording.sensors)
        name = modalities[0]
        raise SourceError(url, f"holds {holds}, and no {name}: --source {name}={url} takes what is alike")
    return tuple(sensor.modality for sensor in sensors)


def _odd_tokens(encoded: Encoded, manifest: Manifest) -> str:
    """Why no encoder of this bundle gave them; empty where one can have."""
    modality = manifest.modality(encoded.modality)
    wanted = modality.encoder.tokens_per_hop, manifest.fusion.token_dim
    points = POINTS, len(modality.channels)
    for hop in encoded.hops:
        if hop.tokens is not None and hop.tokens.shape != wanted:
            return f"a hop has tokens of {_size(hop.tokens.shape)}, and bundle {manifest.name} gives {_size(wanted)}"
        if hop.shape is not None and (modality.kind != "signal" or hop.shape.shape != points):
            return f"a hop has a shape of {_size(hop.shape.shape)}, which bundle {manifest.name} does not give"
        if hop.tokens is not None and not all_finite(hop.tokens):
            return "a hop has tokens that are not finite"
    return ""


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


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
        self._manifest = bundle.manifest
        self._report, self._sleep, self._monotonic_ns = report, sleep, monotonic_ns
        urls = {sensor.modality: sensor.url for sensor in recording.sensors if sensor.modality in modalities}
        never_slept = settings.gate is not None and _told_gate(recording) is None
        self._decider = Decider(
            bundle, urls, settings, origin_ns=recording.origin_ns, report=report, never_slept=never_slept
        )

    @property
    def engine(self) -> Engine:
        """The engine that decides."""
        return self._decider.engine

    @property
    def duration_s(self) -> float:
        """Of the recording, or until the end that was asked for."""
        whole_s, asked_s = self._recording.duration_s(), self._settings.duration_s
        return whole_s if asked_s is None else min(whole_s, asked_s)

    def steps(self) -> Iterator[Step]:
        """What the recording tells of its modalities. Raises SourceError where tokens are not as the bundle's."""
        for step in self._recording.steps():
            step = step.only(self._modalities)
            for encoded in step.encoded:
                if problem := _odd_tokens(encoded, self._manifest):
                    raise SourceError(str(self._recording.parts[0]), f"{encoded.modality}: {problem}")
            yield step

    def __iter__(self) -> Iterator[Decision]:
        origin_ns, until_s = self._recording.origin_ns, self._settings.duration_s
        begin_ns, first_ns = self._monotonic_ns(), None
        for step in self.steps():
            if first_ns is None:
                first_ns = step.now_ns
            if self._settings.pace == "realtime":
                ahead_ns = (step.now_ns - first_ns) - (self._monotonic_ns() - begin_ns)
                self._sleep(max(ahead_ns, 0) / 1e9)
            for decision in self._decider.take(step):
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
