"""The pipeline around the engine: recordings are paired by time, merged, paced and pushed."""

from __future__ import annotations

import heapq
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, Protocol, TypeVar

from mmg.bundle import Bundle, Manifest, Modality
from mmg.engine.health import advise
from mmg.errors import BackendUnavailable, ConfigError, NoSensorError, RequiredSensorLost, SourceError
from mmg.runs.look_ahead import look_ahead, read_as
from mmg.runs.settings import Settings, make_engine
from mmg.sources import CHUNK_NS, Recording, open_source
from mmg.streams import HopGrid
from mmg.types import Chunk, Decision, SensorState

if TYPE_CHECKING:
    from mmg.runs.gating import Gating


class Closable(Protocol):
    """What must be closed."""

    def close(self) -> None: ...


Opened = TypeVar("Opened", bound=Closable)


class Pipeline:
    """Recordings in, decisions out. Iterate over it once; then ``close`` it.

    bundle: an open bundle. urls: modality -> URL of its recording. report: called with each line that is worth reading.

    A recording that cannot be opened is left out with a note, and the rest decide. Raises ConfigError where the
    request itself is wrong, NoSensorError where nothing is left, RequiredSensorLost, BundleError, ModelError.
    """

    def __init__(
        self,
        bundle: Bundle,
        urls: Mapping[str, str],
        settings: Settings,
        *,
        report: Callable[[str], None] = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._settings, self._report, self._sleep, self._monotonic_ns = settings, report, sleep, monotonic_ns
        self.recordings: list[Recording] = open_each(
            bundle.manifest, urls, settings, report, partial(open_source, allow_video=settings.allow_video)
        )
        self._reported: set[str] = set()
        try:
            self._report_notes()
            starts_ns = pair(self.recordings)
            self._starts_ns = dict(zip((one.modality for one in self.recordings), starts_ns, strict=True))
            self.origin_ns = min(starts_ns)
            self._ends_ns = [
                start_ns + round(recording.duration_s * 1e9)
                for start_ns, recording in zip(starts_ns, self.recordings, strict=True)
            ]
            self._check_length(bundle.manifest)
            # A hop at a time is the least work; at their own pace, or with a gate, recordings come as sensors do.
            is_coarse = settings.pace == "fast" and settings.gate is None
            every_ns = bundle.manifest.hop_ns if is_coarse else CHUNK_NS
            self._streams = [
                recording.chunks(start_ns, every_ns)
                for start_ns, recording in zip(starts_ns, self.recordings, strict=True)
            ]
            modalities = [recording.modality for recording in self.recordings]
            self.engine = make_engine(bundle, modalities, settings, origin_ns=self.origin_ns)
            self.gating: Gating | None = None
            """The gate, where there is one."""
            if settings.gate is not None:
                from mmg.runs.gating import open_gating

                self.gating = open_gating(settings, bundle.manifest, self.engine, self.origin_ns, report)
            self._look_ahead(bundle.manifest)
        except BaseException:
            self.close()
            raise

    @property
    def duration_s(self) -> float:
        """What there is to decide, as far as the files tell: from the first sample of any to the last of all, or to the
        end that was asked for."""
        whole_s = (max(self._ends_ns) - self.origin_ns) / 1e9
        return whole_s if self._settings.duration_s is None else min(whole_s, self._settings.duration_s)

    def _look_ahead(self, manifest: Manifest) -> None:
        """What is wrong with a recording from its start is told now, and nothing is decided from it."""
        grid = HopGrid(self.origin_ns, manifest.hop_ns)
        for recording in self.recordings:
            name, how = recording.modality, read_as(recording)
            self.engine.read_as(name, how)
            if self._settings.look_ahead_s:
                start_ns, seconds = self._starts_ns[name], self._settings.look_ahead_s
                findings = look_ahead(recording, manifest.modality(name), start_ns, grid, seconds)
                self.engine.doubt(name, findings)
                self._report_once(name, "; ".join(advise(finding, how) for finding in findings))
        self._report_notes()

    def __iter__(self) -> Iterator[Decision]:
        """The decisions as they are made. Raises RequiredSensorLost, ConfigError, ModelError."""
        begin_ns, last_ns = self._monotonic_ns(), self.origin_ns
        # A recording may go on beyond what its file promises: only --duration ends it early.
        asked_s = self._settings.duration_s
        until_ns = None if asked_s is None else self.origin_ns + round(asked_s * 1e9)
        until_s = math.inf if until_ns is None else (until_ns - self.origin_ns) / 1e9
        grace_ns = round(self._settings.grace_s * 1e9)
        hop_end_ns = None
        for chunk, now_ns in _with_times(heapq.merge(*self._streams, key=_first_ns)):
            last_ns = max(last_ns, _last_ns(chunk))
            if self._settings.pace == "realtime":
                ahead_ns = (_last_ns(chunk) - self.origin_ns) - (self._monotonic_ns() - begin_ns)
                if ahead_ns > 0:
                    self._sleep(ahead_ns / 1e9)
            for decision in self._take(chunk, now_ns):
                if decision.t_s <= until_s:
                    yield decision
                    self._check_required(decision.sensors, self.origin_ns + round(decision.t_s * 1e9))
            if self.engine.hop_end_ns != hop_end_ns:  # states are those of a hop, and cost as much as one
                hop_end_ns, states = self.engine.hop_end_ns, self.engine.states()
                self._report_doubts(states, now_ns)
                self._check_required(states, now_ns)
            # A little more than what is asked for, so that the last hop has all its sensors.
            if until_ns is not None and now_ns > until_ns + grace_ns:
                break
        ends_ns = [self._starts_ns[one.modality] + round(one.duration_s * 1e9) for one in self.recordings]
        end_ns = max(last_ns, *ends_ns)  # those that were read to their end know better now
        end_ns = end_ns if until_ns is None else min(end_ns, until_ns)
        last = self.engine.advance(end_ns + grace_ns)
        for decision in self.gating.follow(last, end_ns) if self.gating else last:
            if decision.t_s <= until_s:
                yield decision
        if self.gating:
            self._report(self.gating.report())
        self._report_ends(end_ns)

    def _take(self, chunk: Chunk, now_ns: int) -> list[Decision]:
        """What is decided by this chunk, of which a gate may let nothing through, and by that time."""
        admitted = self.gating.admit(chunk) if self.gating else chunk
        decisions = [*(self.engine.push(admitted) if admitted else ()), *self.engine.advance(now_ns)]
        return self.gating.follow(decisions, now_ns) if self.gating else decisions

    def _report_doubts(self, states: Mapping[str, SensorState], now_ns: int) -> None:
        for name, state in states.items():
            if state.state in ("faulty", "doubted"):
                when = f"{state.state} from {(now_ns - self.origin_ns) / 1e9:.1f} s on"
                self._report_once(name, state.reason, when)

    def _report_once(self, name: str, text: str, when: str = "") -> None:
        """Numbers change from hop to hop: only another text is news."""
        kind = re.sub(r"[\d.]+", "", f"{name}: {text}")
        if text and kind not in self._reported:
            self._reported.add(kind)
            self._report(f"{name}: {when}: {text}" if when else f"{name}: {text}")

    def _report_notes(self) -> None:
        """What a recording has to say, each line once: it is read more often."""
        for recording in self.recordings:
            for line in recording.notes:
                if (told := f"{recording.modality}: {line}") not in self._reported:
                    self._reported.add(told)
                    self._report(told)

    def _report_ends(self, end_ns: int) -> None:
        """Say which sensors were not well when the recordings ended, or ended before; raise where none ever was."""
        ends_ns = {one.modality: self._starts_ns[one.modality] + round(one.duration_s * 1e9) for one in self.recordings}
        states = self.engine.states()
        reasons = {name: f"{state.state}{': ' * bool(state.reason)}{state.reason}" for name, state in states.items()}
        if not self.engine.decided:
            raise NoSensorError(reasons)
        for name, state in states.items():
            if state.dropped:
                self._report(f"{name}: {state.dropped} samples dropped")
            # The last hop of a recording that simply ends is seldom whole.
            ends_too = state.state == "stale" and not state.reason and end_ns - ends_ns[name] <= self.engine.hop_s * 1e9
            ends_waking = self.gating is not None and state.state == "warming"
            if state.state not in ("live", "asleep") and not ends_too and not ends_waking:
                self._report(f"{name} ended {reasons[name]}")

    def _check_required(self, states: Mapping[str, SensorState], now_ns: int) -> None:
        for name in self._settings.required:
            state = states[name]
            if self.gating and state.state in ("asleep", "warming") and state.age_ms:
                continue
            # A recording that begins later than the others is not lost, only not there yet.
            due_ns = self._starts_ns[name] + round((2 * self.engine.hop_s + self._settings.grace_s) * 1e9)
            is_well = state.state in ("live", "doubted")
            if state.state in ("stale", "faulty") or (not is_well and now_ns > due_ns):
                seconds = (now_ns - self.origin_ns) / 1e9
                raise RequiredSensorLost({name: f"{state.reason or state.state} at {seconds:.1f} s"})

    def _check_length(self, manifest: Manifest) -> None:
        if max(self._ends_ns) - self.origin_ns < manifest.hop_ns:
            raise NoSensorError(
                {
                    recording.modality: f"{recording.duration_s:.3g} s is too short for a hop of {manifest.hop_s:g} s"
                    for recording in self.recordings
                }
            )

    def close(self) -> None:
        """Let go of the recordings, and tell what was lost in reading them."""
        self._report_notes()
        for recording in self.recordings:
            recording.close()
            losses = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in recording.losses.items() if count)
            if losses:
                self._report(f"{recording.modality}: {losses} samples")


def _with_times(chunks: Iterator[Chunk]) -> Iterator[tuple[Chunk, int]]:
    """Chunks in the order of their first samples, each with the time before which nothing more comes after it."""
    following = next(chunks, None)
    while (chunk := following) is not None:
        following = next(chunks, None)
        yield chunk, _last_ns(chunk) if following is None else _first_ns(following)


def _first_ns(chunk: Chunk) -> int:
    return int(chunk.times_ns[0])


def _last_ns(chunk: Chunk) -> int:
    return int(chunk.times_ns[-1])


def open_each(
    manifest: Manifest,
    urls: Mapping[str, str],
    settings: Settings,
    report: Callable[[str], None],
    open_one: Callable[[str, Modality], Opened],
) -> list[Opened]:
    """Open every URL with ``open_one``. What cannot be opened is left out with a note, and the rest goes on.

    Raises ConfigError for a sensor that the bundle does not have or an option that cannot be, RequiredSensorLost,
    NoSensorError where nothing could be opened.
    """
    known = [modality.name for modality in manifest.modalities]
    for name in (*urls, *settings.required):
        if name not in known:
            raise ConfigError(f"bundle {manifest.name} has no sensor {name!r}; it has {', '.join(known)}")
    for name in settings.required:
        if name not in urls:
            raise ConfigError(f"--require {name}: this run does not use that sensor")
    return open_present(urls, lambda name, url: open_one(url, manifest.modality(name)), report, settings.required)


def open_present(
    urls: Mapping[str, str],
    open_one: Callable[[str, str], Opened],
    report: Callable[[str], None],
    required: Sequence[str] = (),
) -> list[Opened]:
    """What ``open_one`` makes of each name and URL; ``report`` gets why one is left out.

    Raises RequiredSensorLost, NoSensorError where nothing could be opened, and whatever is no fault of a source.
    """
    opened: list[Opened] = []
    skipped: dict[str, str] = {}
    try:
        for name, url in urls.items():
            try:
                opened.append(open_one(name, url))
            except (SourceError, BackendUnavailable) as error:
                if name in required:
                    raise RequiredSensorLost({name: str(error)}) from error
                skipped[name] = str(error)
        if not opened:
            raise NoSensorError(skipped)
    except BaseException:
        for one in opened:
            one.close()
        raise
    for name, why in skipped.items():
        report(f"{name} is left out: {why}")
    return opened


def pair(recordings: Sequence[Recording]) -> list[int]:
    """When each recording begins, on the clock they share.

    One without a clock of its own (a WAV) begins with the earliest that has one. Raises ConfigError where two never
    overlap, for then their clocks are not the same.
    """
    clocks = [recording.start_ns for recording in recordings if recording.start_ns is not None]
    common_ns = min(clocks, default=0)
    starts = [
        common_ns + recording.offset_ns if recording.start_ns is None else recording.start_ns
        for recording in recordings
    ]
    spans = [
        (recording, (start_ns - common_ns) / 1e9, (start_ns - common_ns) / 1e9 + recording.duration_s)
        for recording, start_ns in zip(recordings, starts, strict=True)
    ]
    for (one, one_start, one_end), (two, two_start, two_end) in combinations(spans, 2):
        if one_end <= two_start or two_end <= one_start:
            raise ConfigError(
                f"{one.modality} covers {one_start:.1f} to {one_end:.1f} s and {two.modality} {two_start:.1f} to "
                f"{two_end:.1f} s: they never overlap; shift one with ?offset=SECONDS in its URL"
            )
    return starts
