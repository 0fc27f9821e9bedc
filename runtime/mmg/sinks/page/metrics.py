"""The same figures for Prometheus. Its library is loaded when somebody first asks."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING

from mmg.errors import BackendUnavailable
from mmg.sinks.page.vitals import resident_bytes

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from mmg.sinks.page.state import State

BOUNDS_S = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Of the latency's histogram."""
STATES = ("absent", "warming", "live", "doubted", "stale", "faulty", "asleep")


class Totals:
    """Counts since the run began."""

    def __init__(self) -> None:
        self.labels: Counter[str] = Counter()
        self.buckets = [0] * (len(BOUNDS_S) + 1)
        self.latency_s = 0.0

    @property
    def decisions(self) -> int:
        """All of them."""
        return sum(self.labels.values())

    def count(self, label: str, latency_ms: float | None) -> None:
        """One decision more. latency_ms: from the hop's end to it, of a live run."""
        self.labels[label] += 1
        if latency_ms is not None:
            self.buckets[bisect_left(BOUNDS_S, latency_ms / 1e3)] += 1
            self.latency_s += latency_ms / 1e3


def load_library() -> None:
    """Takes its time, once. Raises BackendUnavailable."""
    try:
        import prometheus_client.core  # noqa: F401
    except ImportError as error:
        raise BackendUnavailable("prometheus-client, which /metrics needs,", "prometheus-client") from error


def metrics_text(state: State) -> bytes:
    """All metrics in Prometheus' text format; after ``load_library``."""
    from prometheus_client import CollectorRegistry, generate_latest

    class Figures:
        def collect(self) -> list[Metric]:
            return [*_of_run(state), *_of_sensors(state), *_of_page(state)]

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Figures())
    return generate_latest(registry)


def _of_run(state: State) -> list[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    totals = state.totals
    decisions = CounterMetricFamily("mmg_decisions", "Decisions by label.", labels=["label"])
    for label in dict.fromkeys((*state.about.labels, *totals.labels)):  # some may be taught meanwhile
        decisions.add_metric([label], totals.labels[label])
    counts = [sum(totals.buckets[: place + 1]) for place in range(len(totals.buckets))]
    bounds = [*map(str, BOUNDS_S), "+Inf"]
    latency = HistogramMetricFamily("mmg_hop_latency_seconds", "From a hop's end to its decision, of a live run.")
    latency.add_metric([], list(zip(bounds, counts, strict=True)), totals.latency_s)
    return [
        decisions,
        latency,
        GaugeMetricFamily("mmg_paused", "1 while the run listens to no sensor.", value=state.is_paused),
        GaugeMetricFamily("mmg_unwell", "1 while /health answers 503.", value=bool(state.ills())),
        CounterMetricFamily("mmg_process_cpu_seconds", "Processor time of mmg-run.", value=time.process_time()),
        GaugeMetricFamily("mmg_process_resident_bytes", "Resident memory of mmg-run.", value=resident_bytes()),
    ]


def _of_sensors(state: State) -> list[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    states = GaugeMetricFamily("mmg_sensor_state", "1 for the state that a sensor is in.", labels=["sensor", "state"])
    age = GaugeMetricFamily("mmg_sensor_age_seconds", "Age of the newest sample at the hop's end.", labels=["sensor"])
    dropped = CounterMetricFamily("mmg_sensor_dropped_samples", "Samples lost since the start.", labels=["sensor"])
    drift = GaugeMetricFamily("mmg_sensor_clock_drift_ppm", "How its clock runs against the host's.", labels=["sensor"])
    for name, sensor in state.sensors.items():
        for one in STATES:
            states.add_metric([name, one], one == state.word_of(sensor)[0])
        age.add_metric([name], state.age_ms(sensor) / 1e3)
        dropped.add_metric([name], sensor.dropped)
        if sensor.clock and not state.is_paused:
            drift.add_metric([name], sensor.clock.drift_ppm)
    return [states, age, dropped, drift]


def _of_page(state: State) -> list[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    written = CounterMetricFamily("mmg_sink_written_events", "Events that a sink has taken.", labels=["sink"])
    lost = CounterMetricFamily("mmg_sink_lost_events", "Events that a sink has lost.", labels=["sink"])
    for sink in state.about.sinks:
        written.add_metric([sink.name], sink.written)
        lost.add_metric([sink.name], sink.lost)
    return [
        written,
        lost,
        GaugeMetricFamily("mmg_page_viewers", "Open event streams.", value=state.viewers),
        CounterMetricFamily("mmg_page_refused_requests", "Requests that were refused.", value=state.refused),
        CounterMetricFamily("mmg_page_dropped_viewers", "Viewers that did not read.", value=state.dropped),
    ]
