"""The live pipeline: ports run by themselves, one thread runs the engine, and decisions come at their time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from mmg.bundle import Bundle, Manifest
from mmg.engine import Engine
from mmg.engine.encoded import Encoded
from mmg.runs.deciding import TRYING_PATIENCE_S, Decider
from mmg.runs.listening import Listening
from mmg.runs.recorded import open_each
from mmg.runs.settings import Settings
from mmg.runs.step import Step
from mmg.sources import open_port
from mmg.sources.ports.port import Port
from mmg.streams.grid import HopGrid
from mmg.types import Decision, SensorState

SENSED_HOPS = 1.2
"""So late no decision is made any more for the hop before; then the sensors are told of by themselves."""
LONGEST_WAIT_S = 1.0
"""The longest between two turns. A port that is lost ends a wait."""


class LivePipeline:
    """Ports in, decisions out. Iterate over it once; then ``close`` it.

    bundle: an open bundle. ports: one a modality, not started. report: called with each line that is worth reading.
    record: called with each step before it is decided on. sensed: called with the sensors' states, once a hop
    while nothing is decided. origin_ns: from when ``t_s`` counts; from now without it.

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
        sensed: Callable[[Mapping[str, SensorState]], None] | None = None,
        held_down: Callable[[], str] = lambda: "",
        origin_ns: int | None = None,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._settings, self._record, self._sensed, self._monotonic_ns = settings, record, sensed, monotonic_ns
        self._held_down = held_down
        self._started = self._closing = False
        self.origin_ns = self._told_ns = monotonic_ns() if origin_ns is None else origin_ns
        self._listening = Listening(ports, monotonic_ns, HopGrid(self.origin_ns, bundle.manifest.hop_ns))
        self.beat: Callable[[], None] = lambda: None
        """Called by the thread that iterates, at each of its turns: once a second at least, while it goes on."""
        urls = {port.modality: port.url for port in ports}
        self._report = report
        self._is_wanted = threading.Event()
        self._is_wanted.set()
        self._resumed_ns: int | None = None
        self.is_paused = False
        """Whether every port is closed, as it was asked."""
        self._decider = Decider(bundle, urls, settings, origin_ns=self.origin_ns, report=report)
        self._as_tokens: frozenset[str] = frozenset()
        self._hear: Callable[[Sequence[Encoded]], None] | None = None

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
            if not self._is_listening():
                continue
            deadline_ns = self.engine.deadline_ns if end_ns is None else min(self.engine.deadline_ns, end_ns)
            wait_s = (deadline_ns - self._monotonic_ns()) / 1e9
            wanted, awaited = self.engine.wanted, self.engine.awaited
            awaited_ns = {name: wanted[name] for name in awaited or wanted}
            self._listening.wait(awaited_ns, min(max(wait_s, 0.0), LONGEST_WAIT_S), all if awaited else any)
            for decision in self.step():
                if self._settings.duration_s is None or decision.t_s <= self._settings.duration_s:
                    yield decision
            if not self._is_resuming():
                self._decider.check_required()
        if not self._closing:
            self._decider.check_decided()

    def start(self) -> None:
        """Begin to listen to the ports. Twice is fine."""
        if not self._started:
            self._started = True
            self._listening.start(self._asleep())

    def listen(self, on: bool) -> None:
        """From any thread: close every port, or open them again. It is done between two steps."""
        if on:
            self._is_wanted.set()
        else:
            self._is_wanted.clear()
            self._listening.wake()

    def _is_listening(self) -> bool:
        """Whether there are ports to wait for; does what ``listen`` asked, and while they are closed waits for it."""
        if self._is_wanted.is_set():
            if self.is_paused:
                self._listening.start(self._asleep())
                self.is_paused, self._resumed_ns = False, self._monotonic_ns()
                self._report("goes on: the sensors are listened to again")
            return True
        if not self.is_paused:
            self._listening.close()
            self._listening.drop()  # what came until the last port was closed is nobody's
            self.is_paused = True
            self._report("paused: no sensor is listened to")
        self._is_wanted.wait(LONGEST_WAIT_S)
        return False

    def _asleep(self) -> Collection[str]:
        """The sensors that a gate has closed."""
        return self._decider.gating.asleep if self._decider.gating else ()

    def _is_resuming(self) -> bool:
        """Whether a required sensor may still be on its way after a pause."""
        resumed_ns = self._resumed_ns
        return resumed_ns is not None and self._monotonic_ns() - resumed_ns < TRYING_PATIENCE_S * 1e9

    def step(self) -> list[Decision]:
        """Take what has come, decide what is due, and tell what changed. Never waits."""
        step = self._listening.step()
        if held_down := self._held_down():
            step = replace(step, held_down=held_down)
        if not self.engine.kept:
            self._record(step)
            decisions = self._decider.take(step)
        else:
            try:
                decisions = self._decider.take(step)
            finally:
                encoded = self._drain()
                self._record(self._in_tokens(step, encoded))
            if self._hear:
                self._hear(encoded)
        if gating := self._decider.gating:
            self._listening.listen_to(gating.awake)
        self._listening.want(self.engine.wanted)
        self._tell_sensed(step.now_ns, is_decided=bool(decisions))
        return [self._timed(decision) for decision in decisions]

    def _tell_sensed(self, now_ns: int, *, is_decided: bool) -> None:
        if is_decided:
            self._told_ns = now_ns
        elif self._sensed and now_ns - self._told_ns > self.engine.hop_s * SENSED_HOPS * 1e9:
            self._told_ns = now_ns
            self._sensed(self._decider.sensors())

    def keep_tokens(self, names: Collection[str]) -> None:
        """Give ``record`` of these modalities their tokens, and no samples."""
        self._as_tokens = frozenset(names)
        self.engine.kept |= {name: [] for name in names}

    def hear(self, heard: Callable[[Sequence[Encoded]], None]) -> None:
        """Give what each step's chunks became to ``heard`` too, after the step was decided on."""
        self._hear = heard
        self.engine.kept |= {name: [] for name in self.engine.modalities}

    def _drain(self) -> tuple[Encoded, ...]:
        encoded = tuple(one for made in self.engine.kept.values() for one in made)
        for made in self.engine.kept.values():
            made.clear()
        return encoded

    def _in_tokens(self, step: Step, encoded: Sequence[Encoded]) -> Step:
        if not self._as_tokens:
            return step
        chunks = tuple(chunk for chunk in step.chunks if chunk.modality not in self._as_tokens)
        return replace(step, chunks=chunks, encoded=tuple(one for one in encoded if one.modality in self._as_tokens))

    def check_required(self) -> None:
        """Raises RequiredSensorLost where a required sensor is away for longer than is waited for, or faulty."""
        self._decider.check_required()

    def _timed(self, decision: Decision) -> Decision:
        late_ms = (self._monotonic_ns() - self.origin_ns) / 1e6 - decision.t_s * 1e3
        return replace(decision, latency_ms={**decision.latency_ms, "event_to_decision": late_ms})

    def close(self) -> None:
        """Stop every port, record what they still held, and tell what was lost and how each sensor ended. Twice is
        fine."""
        if not self._closing:
            self._closing = True
            self._listening.close()
            if self._started:
                self._record(self._in_tokens(self._listening.step(), ()))
            self._decider.report_ends(self._listening.statuses())


def open_ports(
    manifest: Manifest, urls: Mapping[str, str], settings: Settings, report: Callable[[str], None]
) -> list[Port]:
    """A port for each URL, not started. One that cannot be, as a library is missing, is left out with a note.

    Raises ConfigError, RequiredSensorLost, NoSensorError.
    """
    return open_each(manifest, urls, settings, report, partial(open_port, allow_video=settings.allow_video))
