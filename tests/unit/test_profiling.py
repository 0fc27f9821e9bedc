"""How mmg-profile measures: what samples become, what is judged of them, and cases that come to nothing."""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from fakes import HOP_S, audio_modality, signal_modality, tiny_manifest, video_modality, write_tiny_bundle
from fuzzing import times
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mmg.backends import BACKENDS
from mmg.board.machine import Condition
from mmg.board.profiling import campaign, energy, measure
from mmg.board.profiling.campaign import Plan, all_subsets, run_campaign
from mmg.board.profiling.judge import Seen, judge
from mmg.board.profiling.result import Case, Mode, Report, encode
from mmg.board.profiling.stalls import StallWatch, waited_s
from mmg.board.profiling.stats import distribution, halves_differ
from mmg.board.profiling.synthetic import SyntheticPort, make_chunks
from mmg.board.profiling.task import Task
from mmg.bundle import Bundle, Manifest, Modality, describe_file
from mmg.bundle.manifest import Channel, Subset
from mmg.engine import Engine
from mmg.engine.health import WELL, Health
from mmg.errors import BundleError, ConfigError
from mmg.streams import HopGrid, open_stream
from mmg.types import Chunk
from mmg_device_profiles import Profile, load_profile, read_board
from msgspec.structs import replace as with_fields

PATIENCE_S = 30.0

# --- distributions -------------------------------------------------------------------------------------------------


def test_percentiles_are_interpolated_between_the_samples() -> None:
    told = distribution([float(number) for number in range(100, -1, -1)])
    assert (told.n, told.mean_ms, told.min_ms, told.max_ms) == (101, 50.0, 0.0, 100.0)
    assert (told.p50_ms, told.p90_ms, told.p95_ms, told.p99_ms) == (50.0, 90.0, 95.0, 99.0)
    # Of two samples the percentile p lies at that part of the way.
    assert distribution([1.0, 3.0]).p95_ms == pytest.approx(2.9)


@settings(max_examples=times(100), deadline=None)
@given(st.lists(st.floats(0.0, 1e7), min_size=1, max_size=300))
@example([0.0])
@example([0.0, 0.0, 0.0, 7.5])
@example([1e-9, 2e-9])
@example([3.25] * 10)
@example([1.0, float(np.nextafter(1.0, 2.0))])
@example([5e-324, 1e7])
def test_a_histogram_holds_every_sample_and_clips_none(samples: list[float]) -> None:
    told = distribution(samples)
    edges, counts = told.histogram.edges_ms, told.histogram.counts
    assert sum(counts) == told.n == len(samples)
    assert len(edges) == len(counts) + 1
    assert list(edges) == sorted(set(edges))
    assert edges[0] <= min(samples)
    assert max(samples) < edges[-1]
    for low, high, count in zip(edges, edges[1:], counts, strict=False):
        assert sum(low <= sample < high for sample in samples) == count


def test_equal_samples_fall_into_one_bin() -> None:
    told = distribution([3.25] * 10)
    assert told.histogram.counts == (10,)
    assert {told.mean_ms, told.min_ms, told.p50_ms, told.p99_ms, told.max_ms} == {3.25}


def test_times_of_zero_are_counted_too() -> None:
    told = distribution([0.0] * 4)
    assert sum(told.histogram.counts) == 4
    assert told.histogram.edges_ms[0] == 0.0
    assert told.max_ms == 0.0


def test_the_tail_of_many_samples_has_bins_of_its_own() -> None:
    counts = distribution([1.0] * 999 + [100.0]).histogram.counts
    assert len(counts) == 40
    assert (counts[0], counts[-1]) == (999, 1)


def test_halves_are_the_first_samples_and_the_last() -> None:
    assert halves_differ([1.0, 1.0, 3.0, 3.0]) == (1.0, 1.0)
    assert halves_differ([1.0, 2.0, 1.0, 2.0]) == (0.0, 0.0)


def test_halves_differ_beyond_noise_where_the_intervals_of_their_medians_do_not_meet() -> None:
    # Of 16 samples the median lies between the 5th and the 13th: up to 112 in one half, from 114 on in the other.
    first, second = [float(number) for number in range(100, 116)], [float(number) for number in range(125, 109, -1)]
    repeat = halves_differ(first + second)
    assert repeat is not None
    assert (repeat.differ, repeat.beyond_noise) == pytest.approx((10 / 112.5, 2 / 112.5))
    # Of four the interval is all of them.
    repeat = halves_differ([1.0, 2.0, 3.0, 4.0, 4.0, 5.0, 6.0, 7.0])
    assert repeat is not None
    assert (repeat.differ, repeat.beyond_noise) == (0.75, 0.0)


def test_halves_of_few_samples_or_of_zeros_say_nothing() -> None:
    assert halves_differ([]) is None
    assert halves_differ([1.0, 2.0, 3.0]) is None
    assert halves_differ([0.0] * 8) is None


# --- synthetic samples ---------------------------------------------------------------------------------------------


def pulse_modality() -> Modality:
    """A signal that has nothing to do with gravity."""
    return with_fields(signal_modality(), name="pulse", channels=(Channel(name="green", unit="counts"),))


def modalities_of(bundle: str) -> tuple[Modality, ...]:
    with Bundle.open(bundle) as opened:
        return opened.manifest.modalities


MODALITIES = {
    **{f"tiny {one.name}": one for one in (*tiny_manifest().modalities, pulse_modality())},
    **{f"starter {one.name}": one for one in modalities_of("starter")},
}


@pytest.mark.parametrize("name", MODALITIES)
def test_each_made_chunk_ends_one_hop_which_is_healthy(name: str) -> None:
    modality = MODALITIES[name]
    stream, health = open_stream(modality, HopGrid(0, round(HOP_S * 1e9))), Health(modality)
    for number, chunk in enumerate(islice(make_chunks(modality, HOP_S), 14)):
        (hop,) = stream.push(chunk)
        assert hop.index == number
        assert hop.samples is not None
        assert hop.samples.shape == (modality.samples_in(HOP_S), *modality.sample_shape)
        assert health.judge(hop) == WELL
    assert stream.dropped == 0


@pytest.mark.parametrize("bundle", ["tiny", "starter"])
def test_an_engine_takes_made_samples_for_live_sensors_from_the_first_hop_on(bundle: str, tmp_path: Path) -> None:
    with Bundle.open(write_tiny_bundle(tmp_path / "tiny.mmg") if bundle == "tiny" else bundle) as opened:
        manifest = opened.manifest
        names = [modality.name for modality in manifest.modalities]
        engine = Engine(opened, names)
        streams = [make_chunks(modality, manifest.hop_s) for modality in manifest.modalities]
        for number in range(1, manifest.context_hops + 3):
            (decision,) = [decision for stream in streams for decision in engine.push(next(stream))]
            assert decision.t_s == number * manifest.hop_s
            assert decision.modalities == tuple(names)
            assert {(state.state, state.reason) for state in decision.sensors.values()} == {("live", "")}


@pytest.mark.parametrize("modality", [signal_modality(), audio_modality()], ids=["imu", "audio"])
def test_a_synthetic_port_brings_each_block_when_it_would_be_captured(modality: Modality) -> None:
    came: list[tuple[int, Chunk]] = []
    enough = threading.Event()

    def deliver(chunk: Chunk) -> None:
        came.append((time.monotonic_ns(), chunk))
        if len(came) == 4:
            enough.set()

    port, begin_ns = SyntheticPort(modality, HOP_S), time.monotonic_ns()
    port.start(deliver)
    assert enough.wait(PATIENCE_S)
    port.close()
    assert (port.modality, port.url, port.status.connected) == (modality.name, f"synthetic://{modality.name}", True)
    assert all(chunk.times_ns[-1] <= now_ns for now_ns, chunk in came)
    times_ns = np.concatenate([chunk.times_ns for _, chunk in came])
    assert times_ns[0] > begin_ns
    assert np.ptp(np.diff(times_ns)) <= 1
    assert np.diff(times_ns).mean() == pytest.approx(1e9 / modality.rate_hz, rel=1e-4)
    assert {chunk.samples.shape[1] for _, chunk in came} == {len(modality.channels)}
    assert port.cpu_s > 0
    ended = len(came)
    port.close()
    assert len(came) == ended


def test_a_synthetic_port_that_was_never_started_can_be_closed() -> None:
    SyntheticPort(video_modality(), HOP_S).close()


# --- stalls --------------------------------------------------------------------------------------------------------


@pytest.fixture
def stalls() -> StallWatch:
    """Two stalls that were made up, from 1 to 2 s and from 4 to 4.5 s."""
    watch = StallWatch()
    watch.close()
    watch.stalls = [(1.0, 2.0), (4.0, 4.5)]
    return watch


@pytest.mark.parametrize(
    ("begin_s", "end_s", "stalled_s"),
    [(0, 9, 1.5), (1.25, 1.75, 0.5), (0.5, 1.25, 0.25), (1.75, 4.125, 0.375), (2, 4, 0), (5, 9, 0), (1.5, 1.5, 0)],
)
def test_a_span_has_stalled_as_long_as_it_overlaps_with_stalls(
    stalls: StallWatch, begin_s: float, end_s: float, stalled_s: float
) -> None:
    assert stalls.stalled_s(begin_s, end_s) == stalled_s


def test_a_watch_counts_its_own_processor_time(stalls: StallWatch) -> None:
    assert 0 <= stalls.cpu_s < 1


# --- judging -------------------------------------------------------------------------------------------------------

QUIET = Condition(None, 2400.0, 2400.0, 50.0, (), None, 4000, 0.1)
TASK = Task(
    bundle=b"tiny",
    modalities=("imu", "audio"),
    backend="onnx",
    precision="fp32",
    threads=1,
    providers=("CPUExecutionProvider",),
    mode="paced",
    hops=12,
    grace_s=0.2,
    unknown=0.05,
    deadline_ms=100.0,
    spawned_ns=0,
    meter="none",
    core_w=None,
    root=b"/",
)
BACKTOBACK = with_fields(TASK, mode="backtoback")


def seen(hops_ms: Sequence[float], *, paced: bool = True, every_s: float = HOP_S, **given: Any) -> Seen:
    """Hops of which the engine's thread spent these, decided 10 ms later than that where it was paced."""
    made = Seen(took_s=len(hops_ms) * every_s, **given)
    for number, spent_ms in enumerate(hops_ms, 1):
        stages = {"imu": spent_ms * 0.5, "fusion": spent_ms * 0.25, "sink": spent_ms * 0.25, "hop": spent_ms}
        if paced:
            stages |= {"event_to_decision": spent_ms + 10, "capture_age": spent_ms + 20}
            made.spans_s.append((number * every_s, number * every_s + (spent_ms + 10) / 1e3))
        made.add(stages, number * every_s, 80.0 + number / 4)
    return made


def judged(made: Seen, task: Task = TASK, manifest: Manifest | None = None) -> Case:
    return judge(task, manifest or tiny_manifest(), made, QUIET, QUIET)


def test_enough_even_hops_on_a_quiet_machine_are_valid() -> None:
    case = judged(seen([5.0] * 12, base_mib=60.0, peak_mib=90.0, cpu_s=0.3))
    assert (case.outcome, case.valid, case.reasons, case.warnings) == ("measured", True, (), ())
    assert (case.hops, case.misses, case.missed_by_stalls, case.deadline_ms) == (12, 0, 0, 100.0)
    assert case.name == "imu+audio onnx fp32 1t"
    assert case.stages["event_to_decision"].p50_ms == 15.0
    assert case.halves_differ == 0.0
    # Of what the steps take, and not of what the decision waits for.
    assert case.real_time_factor == pytest.approx(0.01)
    assert case.cpu_percent == pytest.approx(5.0)
    assert case.memory is not None
    assert (case.memory.base_mib, case.memory.peak_mib) == (60.0, 90.0)
    assert case.memory.steady_mib == pytest.approx(81.625)
    assert case.memory.slope_mib_per_hour is None
    assert case.before == case.after
    assert case.before is not None
    assert (case.before.temperature_c, case.before.free_mib) == (50.0, 4000)


def test_the_peak_is_never_under_what_was_seen() -> None:
    memory = judged(seen([5.0] * 12, peak_mib=70.0)).memory
    assert memory is not None
    assert memory.peak_mib == 83.0


def test_memory_has_a_slope_where_it_was_seen_for_a_minute() -> None:
    memory = judged(seen([5.0] * 12, every_s=6.0)).memory
    assert memory is not None
    assert memory.slope_mib_per_hour == pytest.approx(0.25 * 600)


def test_what_is_noted_of_a_hop_takes_no_memory_while_a_case_runs() -> None:
    made, hops_ms = Seen(room=5000), np.random.default_rng(0).random(5000).tolist()
    made.add({"hop": hops_ms[0]}, 0.0, 80.0)
    tracemalloc.start()
    try:
        for number, spent_ms in enumerate(hops_ms[1:], 1):
            made.add({"hop": spent_ms}, number * 0.1, 80.0 + spent_ms)
            made.spans_s.append((number * 0.1, number * 0.2))
        assert tracemalloc.get_traced_memory()[0] < 4096
    finally:
        tracemalloc.stop()
    assert made.stages_ms["hop"].rows.tolist() == hops_ms


def test_more_hops_than_there_was_room_for_are_kept_too() -> None:
    made = Seen(room=2)
    for number in range(5):
        made.add({"hop": float(number)}, number, 80.0)
    assert made.stages_ms["hop"].rows.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert made.resident.rows.tolist() == [[number, 80.0] for number in range(5)]


def test_no_hop_is_counted_before_the_context_is_full(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    # While it fills, the fusion has another number of tokens in each hop, and is bound anew.
    made, task = Seen(room=3), with_fields(TASK, modalities=("imu",), hops=3)
    measure_decisions(task, plan, made, monkeypatch)
    assert made.stages_ms["event_to_decision"].rows.tolist() == [7.0, 8.0, 9.0]


def measure_decisions(task: Task, plan: Plan, made: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run paced, with decisions that are there at once; each took as many milliseconds as it has a number."""
    decided = [
        Mock(
            modalities=("imu",),
            t_s=0.0,
            sensors={"imu": Mock(age_ms=0.0)},
            latency_ms={"event_to_decision": float(hop)},
        )
        for hop in range(1, 20)
    ]
    live = Mock(__iter__=lambda _: iter(decided), origin_ns=0)
    monkeypatch.setattr("mmg.runs.live.LivePipeline", lambda *_: live)
    monkeypatch.setattr(measure, "_write", lambda *_: 0.0)
    with Bundle.open(plan.bundle) as bundle:
        assert bundle.manifest.context_hops == 4
        measure._run_paced(task, bundle, made, measure._Window(made, None))


@pytest.mark.parametrize("mode", ["paced", "backtoback"])
def test_what_it_costs_to_note_a_hop_is_not_the_runs(mode: Mode, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    def resident_mib(_which: str) -> float:
        end_s = time.thread_time() + 0.05
        while time.thread_time() < end_s:
            pass
        return 80.0

    monkeypatch.setattr(measure, "resident_mib", resident_mib)
    made, task = Seen(), with_fields(TASK, modalities=("imu",), hops=8, mode=mode)
    if mode == "paced":
        measure_decisions(task, plan, made, monkeypatch)
    else:
        with Bundle.open(plan.bundle) as bundle:
            measure._run_backtoback(task, bundle, made, measure._Window(made, None))
    assert len(made.resident.rows) == 8
    assert made.stages_ms["hop"].rows.max() < 50
    assert made.cpu_s < 0.2


def test_how_long_the_counted_decisions_waited_for_a_processor_is_noted(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = iter(np.arange(100) * 0.004)  # 4 ms more with each decision
    monkeypatch.setattr("mmg.board.profiling.stalls.waited_s", lambda: next(waited))
    made, task = Seen(), with_fields(TASK, modalities=("imu",), hops=10)
    measure_decisions(task, plan, made, monkeypatch)
    assert made.waited_ms == pytest.approx(40)


def test_decisions_that_waited_for_a_processor_are_not_to_be_relied_on() -> None:
    (reason,) = judged(seen([5.0] * 12, waited_ms=63.0)).reasons
    assert reason.endswith("35% of the time to the decisions was waiting for one")
    assert judged(seen([5.0] * 12, waited_ms=45.0)).valid


def test_a_thread_that_ran_has_waited_for_no_longer_than_time_has_passed() -> None:
    before_s = time.monotonic()
    waited_before_s = waited_s()
    assert 0 <= waited_s() - waited_before_s <= time.monotonic() - before_s


def test_what_it_costs_to_read_the_meter_is_not_the_runs() -> None:
    has_read, end_s = threading.Semaphore(0), [0.0]

    def power_w() -> float:
        if threading.current_thread() is not threading.main_thread():
            while time.thread_time() < end_s[0]:
                pass
            end_s[0] += 0.1
            has_read.release()
        return 2.0

    end_s[0] = 0.1
    meter = energy.Meter(energy.PowerGauge("pmic", "a dear rail", 0.001, power_w))
    made = Seen()
    window = measure._Window(made, meter)
    window.begin(0.0)
    for _ in range(4):
        assert has_read.acquire(timeout=PATIENCE_S)
    window.end(0.0)
    # The fourth reading may not be noted yet, and a fifth may have begun.
    assert meter.cpu_s >= 0.3
    assert made.cpu_s < 0.25


def test_too_few_hops_are_not_to_be_relied_on() -> None:
    assert judged(seen([5.0] * 9)).reasons == ("9 samples are fewer than 10: give more --hops",)
    assert judged(seen([5.0] * 10)).valid
    backtoback = judged(seen([5.0] * 49, paced=False), BACKTOBACK)
    assert backtoback.reasons == ("49 samples are fewer than 50: give more --hops",)


def test_what_does_not_repeat_is_not_to_be_relied_on() -> None:
    case = judged(seen([5.0] * 6 + [6.0] * 6))
    assert not case.valid
    assert case.halves_differ == pytest.approx(1 / 5.5)
    (reason,) = case.reasons
    assert reason.startswith("does not repeat: the medians of its first and second half differ by 18%, ")
    assert judged(seen([5.0, 6.0] * 6)).valid


def test_a_throttled_machine_is_not_to_be_relied_on() -> None:
    hot = replace(QUIET, throttled=("frequency capped", "soft temperature limit"))
    case = judge(TASK, tiny_manifest(), seen([5.0] * 12), QUIET, hot)
    assert (case.valid, case.reasons) == (False, ("throttled: frequency capped, soft temperature limit",))
    assert case.after is not None
    assert case.after.throttled == hot.throttled


def test_what_happened_meanwhile_counts_and_every_reason_is_told() -> None:
    before, after = replace(QUIET, throttle_count=3), replace(QUIET, throttle_count=4)
    case = judge(TASK, tiny_manifest(), seen([5.0] * 3 + [6.0] * 3), before, after)
    assert [reason.split(":")[0] for reason in case.reasons] == [
        "throttled",
        "6 samples are fewer than 10",
        "does not repeat",
    ]
    assert case.reasons[0] == "throttled: too hot 1 time"


def test_a_clock_that_was_limited_all_the_time_is_how_the_board_is_set() -> None:
    limited = replace(QUIET, throttled=("clock limited to 1200 of 1500 MHz",))
    case = judge(TASK, tiny_manifest(), seen([5.0] * 12), limited, limited)
    assert (case.valid, case.reasons, case.warnings) == (True, (), limited.throttled)
    for before, after in ((QUIET, limited), (limited, QUIET)):
        case = judge(TASK, tiny_manifest(), seen([5.0] * 12), before, after)
        assert (case.valid, case.reasons) == (False, ("throttled: clock limited to 1200 of 1500 MHz",))


def test_late_decisions_are_warned_of_and_do_not_make_a_case_invalid() -> None:
    case = judged(seen([5.0] * 10 + [90.5, 190.0]))
    assert case.valid
    assert (case.misses, case.missed_by_stalls) == (2, 0)
    assert case.warnings == ("2 of 12 decisions came later than 100 ms, the latest after 200.0 ms",)


def test_decisions_without_one_of_the_modalities_are_misses() -> None:
    case = judged(seen([5.0] * 12, lacking=3))
    assert (case.valid, case.hops, case.misses, case.missed_by_stalls) == (True, 12, 3, 0)
    assert case.warnings[0].startswith("3 decisions were made without one of the modalities")


def test_on_time_to_the_millisecond_is_not_late() -> None:
    assert judged(seen([90.0] * 12)).misses == 0


def test_a_late_decision_is_excused_where_the_machine_stalled_for_what_it_was_late(stalls: StallWatch) -> None:
    # Hop 11 ends at 5.5 s and is 50 ms too late, hop 12 at 6 s and 100 ms; hop 1 was in time all the same.
    made = seen([5.0] * 10 + [140.0, 190.0])
    stalls.stalls = [(0.5, 0.515), (5.5, 5.56), (6.0, 6.09)]
    made.stalls = stalls
    case = judged(made)
    assert (case.misses, case.missed_by_stalls) == (2, 1)
    assert case.warnings[0].endswith("; stalls of the machine explain 1 of them")
    assert case.reasons == ("the machine stalled, and 1 of 12 decisions were late because of that: run it again",)
    stalls.stalls = [(5.0, 5.5), (6.3, 9.0)]
    assert judged(made).missed_by_stalls == 0


def test_back_to_back_is_held_to_the_hop_and_has_no_share_of_the_processor() -> None:
    case = judged(seen([5.0] * 59 + [500.5], paced=False, cpu_s=0.3), BACKTOBACK)
    assert (case.valid, case.cpu_percent, case.deadline_ms) == (True, None, 500.0)
    assert (case.misses, case.missed_by_stalls) == (1, 0)
    assert "event_to_decision" not in case.stages


def test_accuracy_is_that_of_the_subset_and_of_the_variant() -> None:
    variants = {"onnx-int8": 0.875}
    subsets = (
        Subset(modalities=("imu",), temperature=1.0, accuracy=0.5),
        Subset(modalities=("audio", "imu"), temperature=1.0, accuracy=0.9, variants=variants),
    )
    manifest, made = with_fields(tiny_manifest(), subsets=subsets), seen([5.0] * 12)

    def accuracy(**changed: Any) -> float | None:
        return judged(made, with_fields(TASK, **changed), manifest).accuracy

    assert accuracy(precision="int8") == 0.875
    # Where files were measured one by one, those of another kind were not.
    assert accuracy() is None
    assert accuracy(backend="litert", precision="int8") is None
    # What was measured of the subset alone holds for fp32.
    assert accuracy(modalities=("imu",)) == 0.5
    assert accuracy(modalities=("imu",), precision="int8") is None
    assert accuracy(modalities=("video",)) is None


def with_macs(imu: int | None, audio: int | None, video: int | None, fusion: int | None) -> Manifest:
    manifest = tiny_manifest()
    modalities = [
        with_fields(one, encoder=with_fields(one.encoder, macs=macs))
        for one, macs in zip(manifest.modalities, (imu, audio, video), strict=True)
    ]
    return with_fields(manifest, modalities=tuple(modalities), fusion=with_fields(manifest.fusion, macs=fusion))


def test_macs_are_of_the_subset_and_of_the_fusions_part_for_its_tokens() -> None:
    made = seen([5.0] * 12)
    # Each of the three modalities gives one token: two of them are two thirds of the fusion.
    assert judged(made, manifest=with_macs(100, 200, 400, 30)).macs_per_s == pytest.approx((300 + 20) / HOP_S)
    assert judged(made, manifest=with_macs(100, 200, None, 30)).macs_per_s == pytest.approx((300 + 20) / HOP_S)
    assert judged(made, manifest=with_macs(100, None, 400, 30)).macs_per_s is None
    assert judged(made, manifest=with_macs(100, 200, 400, None)).macs_per_s is None


def test_the_models_size_is_of_the_files_that_ran() -> None:
    manifest = tiny_manifest()
    imu, audio, _ = manifest.modalities
    files = (*imu.encoder.files, describe_file("onnx", "int8", "imu.int8.onnx", b"int8"))
    imu = with_fields(imu, encoder=with_fields(imu.encoder, files=files))
    manifest = with_fields(manifest, modalities=(imu, *manifest.modalities[1:]))
    sizes = [file.bytes for file in (files[0], *audio.encoder.files, *manifest.fusion.files)]
    assert judged(seen([5.0] * 12), manifest=manifest).model_bytes == sum(sizes)


def test_an_estimate_of_energy_says_that_it_is_one() -> None:
    told = judged(seen([5.0] * 12, cpu_s=0.6), with_fields(TASK, core_w=3.0)).energy
    assert told is not None
    assert not told.measured
    assert told.meter == "estimate: processor time at 3 W a core"
    assert told.joules == pytest.approx(1.8)
    assert told.mean_w == pytest.approx(0.3)
    assert told.mj_per_decision == pytest.approx(150.0)


def test_a_meter_goes_before_an_estimate() -> None:
    metered = energy.Energy(joules=12.0, seconds=6.0, meter="rapl", samples=7)
    told = judged(seen([5.0] * 12, cpu_s=0.6, energy=metered), with_fields(TASK, core_w=3.0)).energy
    assert told is not None
    assert (told.measured, told.meter, told.joules, told.mean_w) == (True, "rapl", 12.0, 2.0)
    # Back to back a decision costs what was used, at the sensors' pace what the board uses in a hop.
    assert told.mj_per_decision == pytest.approx(1000.0)
    told = judged(seen([5.0] * 60, paced=False, energy=metered), BACKTOBACK).energy
    assert told is not None
    assert told.mj_per_decision == pytest.approx(200.0)


def test_without_a_meter_and_watts_nothing_is_said_about_energy() -> None:
    assert judged(seen([5.0] * 12, cpu_s=0.6)).energy is None


def test_a_case_in_which_nothing_was_decided_has_failed() -> None:
    case = judged(Seen())
    assert (case.outcome, case.reason, case.valid) == ("failed", "no hop was decided", False)
    assert (case.modalities, case.stages, case.memory) == (("imu", "audio"), {}, None)


# --- campaigns -----------------------------------------------------------------------------------------------------


@pytest.fixture
def profile() -> Profile:
    return load_profile("generic-x86-64", ["energy.meter=none"])


@pytest.fixture
def plan(tmp_path: Path, profile: Profile) -> Plan:
    """One case that can be measured: the tiny bundle's IMU."""
    path = str(write_tiny_bundle(tmp_path / "tiny.mmg"))
    return Plan(path, profile, subsets=(("imu",),), backends=("onnx",), precisions=("fp32",))


def run(plan: Plan, told: list[str] | None = None) -> Report:
    said = [] if told is None else told
    return run_campaign(plan, read_board(), [], lambda done, of, name: said.append(f"{done:g} of {of:g}: {name}"))


def test_all_subsets_are_told_the_small_ones_first() -> None:
    expected = [("a",), ("b",), ("c",), ("a", "b"), ("a", "c"), ("b", "c"), ("a", "b", "c")]
    assert list(all_subsets("abc")) == expected
    assert all_subsets(()) == ()


def test_what_the_bundle_does_not_have_is_unavailable_and_starts_no_process(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaign, "COMMAND", ("mmg-no-such-command",))
    told: list[str] = []
    plan = replace(plan, subsets=None, backends=BACKENDS, precisions=("int8",), threads=(1, 2))
    report = run(plan, told)
    assert told == []
    assert [case.outcome for case in report.cases] == ["unavailable"] * (2 * 2 * 7)
    reasons = {(case.backend, case.reason) for case in report.cases}
    assert reasons == {(backend, f"the bundle has no {backend} files in int8") for backend in BACKENDS}
    assert len({case.name for case in report.cases}) == len(report.cases)


def test_a_library_that_is_missing_is_told_with_the_way_to_get_it(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "is_installed", lambda _backend: False)
    (case,) = run(plan).cases
    assert case.outcome == "unavailable"
    assert case.reason.startswith("onnxruntime is not installed: ")
    assert case.budget == ()


def test_a_measurement_leaves_nothing_in_the_home_directory_but_what_was_tried(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """onnxruntime 1.32 would keep a device number at home and ask for a host of its maker's."""
    for name in [name for name in os.environ if name.startswith(("ORT_", "XDG_"))]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    (case,) = run(replace(plan, mode="backtoback", hops=2)).cases
    assert case.outcome == "measured", case.reason
    files = [path.relative_to(home) for path in home.rglob("*") if path.is_file()]
    assert {str(path.parent) for path in files} == {".cache/mmg/tried"}
    assert sum((home / path).stat().st_size for path in files) == 0


def test_a_sensor_that_the_bundle_does_not_have_is_refused(plan: Plan) -> None:
    with pytest.raises(ConfigError, match=r"bundle tiny has no sensor 'radar'; it has imu, audio, video"):
        run(replace(plan, subsets=(("imu", "radar"),)))


def test_no_bundle_is_refused(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        run(replace(plan, bundle=str(tmp_path / "nowhere.mmg")))


NO_CORE = "import os, resource, signal, sys; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); "
CRASHES = {
    "a segmentation fault": (NO_CORE + "os.kill(os.getpid(), signal.SIGSEGV)", "signal 11: it printed nothing"),
    "out of memory": (NO_CORE + "os.kill(os.getpid(), signal.SIGKILL)", "signal 9: it printed nothing"),
    "an error": ("raise SystemExit('first line\\nno model here')", "exit code 1: no model here"),
    "odd bytes": (NO_CORE + "os.write(2, b'\\xff!'); sys.exit(3)", "exit code 3: \N{REPLACEMENT CHARACTER}!"),
}


@pytest.mark.parametrize("what", CRASHES)
def test_a_process_that_crashes_is_a_failed_case_with_its_last_words(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    code, how = CRASHES[what]
    monkeypatch.setattr(campaign, "COMMAND", (sys.executable, "-I", "-S", "-c", code))
    told: list[str] = []
    report = run(plan, told)
    (case,) = report.cases
    assert told == ["0 of 1: imu onnx fp32 1t"]
    assert (case.outcome, case.reason) == ("failed", f"its process ended with {how}")
    assert not case.valid
    assert encode(report)


def test_a_process_that_gives_something_else_is_a_failed_case(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "COMMAND", (sys.executable, "-I", "-S", "-c", "print('a library says hello')"))
    (case,) = run(plan).cases
    assert case.outcome == "failed"
    assert case.reason.startswith("its process gave no result: ")


def test_a_process_that_cannot_be_started_is_a_failed_case(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
    monkeypatch.setattr("mmg.board.profiling.campaign.subprocess.run", Mock(side_effect=refused))
    (case,) = run(plan).cases
    assert (case.outcome, case.valid) == ("failed", False)
    assert case.reason == f"{sys.executable} cannot be started: Resource temporarily unavailable"


def test_a_process_that_hangs_is_given_up(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import threading; threading.Event().wait()"
    monkeypatch.setattr(campaign, "COMMAND", (sys.executable, "-I", "-S", "-c", code))
    monkeypatch.setattr(campaign, "START_S", 0.1)
    monkeypatch.setattr(campaign, "SLOWEST", 0.0)
    (case,) = run(plan).cases
    assert (case.outcome, case.reason) == ("failed", "gave nothing within 0 s")


def test_one_crash_does_not_end_the_others(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "COMMAND", (sys.executable, "-I", "-S", "-c", "raise SystemExit(5)"))
    told: list[str] = []
    report = run(replace(plan, subsets=(("imu",), ("audio", "imu"))), told)
    assert [case.modalities for case in report.cases] == [("imu",), ("imu", "audio")]
    assert [line.split(":")[0] for line in told] == ["0 of 2", "1 of 2"]


def test_the_budget_needs_limits_that_the_mode_can_measure(plan: Plan, tmp_path: Path) -> None:
    text = 'name = "bare"\ndescription = "no limits"\n'
    (tmp_path / "bare.toml").write_text(text)
    (tmp_path / "paced.toml").write_text(f"{text}[budget]\ncpu_percent = 10\npower_mw = 900\n")
    bare, paced = (load_profile(str(tmp_path / name)) for name in ("bare.toml", "paced.toml"))
    plan = replace(plan, precisions=("int8",))
    with pytest.raises(ConfigError, match=r"profile bare has no budget: give one, as in --set budget\.memory_mib=80"):
        run(replace(plan, profile=bare, keep_budget=True))
    with pytest.raises(
        ConfigError, match="budget of profile bare applies to the real pace: leave out --mode backtoback"
    ):
        run(replace(plan, profile=paced, keep_budget=True, mode="backtoback"))
    assert run(replace(plan, profile=paced, keep_budget=True)).budget == {"cpu_percent": 10.0, "power_mw": 900.0}
    assert run(replace(plan, profile=paced)).budget == {}
