"""The live pipeline: ports run by themselves, one thread runs the engine, and decisions come at their time."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from mmg.bundle import Bundle, Manifest
from mmg.engine import Engine
from mmg.runs.deciding import Decider
from mmg.runs.listening import Listening
from mmg.runs.recorded import open_each
from mmg.runs.settings import Settings
from mmg.runs.step import Step
from mmg.sources import open_port
from mmg.sources.ports.port import Port
from mmg.types import Decision

LONGEST_WAIT_S = 0.25
"""How long a change of a port's status may wait to be told while nothing comes."""


class LivePipeline:
    """Ports in, decisions out. Iterate over it once; then ``close`` it.

    bundle: an open bundle. ports: one a modality, not started. report: called with each line that is worth reading.
    record: called with each step before it is decided on. origin_ns: from when ``t_s`` counts; from now without it.

    A sensor's ``reason`` is what its port knows (unplugged, stalled),
    its ``clock`` how the device's clock runs; ``latency_ms["event_to_decision"]`` is the time from the hop's end, when
    its last sample was captured, to the moment the decision is handed out. A port that is not there is waited for as
    long as the run lasts. Raises RequiredSensorLost, NoSensorError where nothing ever decided until the duration was
    over, ConfigError, BundleError, ModelError.
    """

    def __init__(
        self,
        bundle: Bundle,
        ports: Sequence[Port],
        settings: Settings,
        *,
        report: Callable[[str], None] = lambda _: None,
        record: Callable[[Step], None] = lambda _: None,
        origin_ns: int | None = None,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._settings, self._record, self._monotonic_ns = settings, record, monotonic_ns
        self._listening = Listening(ports, monotonic_ns)
        self._started = self._closing = False
        self.beat: Callable[[], None] = lambda: None
        """Called by the thread that iterates, at each of its turns: a few times a second, for as long as it goes on."""
        self.origin_ns = monotonic_ns() if origin_ns is None else origin_ns
        urls = {port.modality: port.url for port in ports}
        self._decider = Decider(bundle, urls, settings, origin_ns=self.origin_ns, report=report)

    @property
    def engine(self) -> Engine:
        """The engine that decides."""
        return self._decider.engine

    def __iter__(self) -> Iterator[Decision]:
        self.start()
        end_ns = None
        if self._settings.duration_s is not None:
            end_ns = self.origin_ns + round((self._settings.duration_s + self._settings.grace_s) * 1e9)
        while not self._closing and (end_ns is None or self._monotonic_ns() < end_ns):
            self.beat()
            deadline_ns = self.engine.deadline_ns if end_ns is None else min(self.engine.deadline_ns, end_ns)
            wait_s = (deadline_ns - self._monotonic_ns()) / 1e9
            self._listening.wait(self.engine.hop_end_ns, min(max(wait_s, 0.0), LONGEST_WAIT_S))
            for decision in self.step():
                if self._settings.duration_s is None or decision.t_s <= self._settings.duration_s:
                    yield decision
            self._decider.check_required()
        if not self._closing:
            self._decider.check_decided()

    def start(self) -> None:
        """Begin to listen to the ports. Twice is fine."""
        if not self._started:
            self._started = True
            self._listening.start()

    def step(self) -> list[Decision]:
        """Take what has come, decide what is due, and tell what changed. Never waits."""
        step = self._listening.step()
        if not self.engine.kept:
            self._record(step)
            return [self._timed(decision) for decision in self._decider.take(step)]
        try:
            decisions = self._decider.take(step)
        finally:
            self._record(self._as_tokens(step))
        return [self._timed(decision) for decision in decisions]

    def keep_tokens(self, names: Collection[str]) -> None:
        """Give ``record`` of these modalities their tokens, and no samples."""
        self.engine.kept = {name: [] for name in names}

    def _as_tokens(self, step: Step) -> Step:
        kept = self.engine.kept
        chunks = tuple(chunk for chunk in step.chunks if chunk.modality not in kept)
        encoded = tuple(one for made in kept.values() for one in made)
        for made in kept.values():
            made.clear()
        return replace(step, chunks=chunks, encoded=encoded)

    def check_required(self) -> None:
        """Raises RequiredSensorLost where a required sensor is away for longer than is waited for, or faulty."""
        self._decider.check_required()

    def _timed(self, decision: Decision) -> Decision:
        late_ms = (self._monotonic_ns() - self.origin_ns) / 1e6 - decision.t_s * 1e3
        return replace(decision, latency_ms={**decision.latency_ms, "event_to_decision": late_ms})

    def close(self) -> None:
        """Stop every port, and tell what was lost and how each sensor ended. Twice is fine."""
        if not self._closing:
            self._closing = True
            self._listening.close()
            self._decider.report_ends(self._listening.statuses())


def open_ports(
    manifest: Manifest, urls: Mapping[str, str], settings: Settings, report: Callable[[str], None]
) -> list[Port]:
    """A port for each URL, not started. One that cannot be, as a library is missing, is left out with a note.

    Raises ConfigError, RequiredSensorLost, NoSensorError.
    """
    return open_each(manifest, urls, settings, report, partial(open_port, allow_video=settings.allow_video))
