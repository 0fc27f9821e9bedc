"""One case, measured in a process of its own: ``python -m mmg.board.profiling.measure``, a task on standard input."""

from __future__ import annotations

import time

BEGUN_NS = time.monotonic_ns()
"""When this process came to mmg's first line: what is imported below counts as the import."""

import sys  # noqa: E402
from typing import TYPE_CHECKING  # noqa: E402

import msgspec  # noqa: E402

from mmg.board.profiling.result import Case, Cold  # noqa: E402
from mmg.board.profiling.task import Task  # noqa: E402
from mmg.errors import MmgError, OutOfMemory, shortage  # noqa: E402
from mmg.runs.process import set_up_process  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    from mmg.board.profiling.energy import Meter
    from mmg.board.profiling.judge import Seen
    from mmg.bundle import Bundle, Manifest
    from mmg.runs.settings import Settings
    from mmg.sinks.jsonl import JsonLines
    from mmg.types import Decision

WARM_HOPS = 2
"""Whole decisions that are not counted once the context is full: the first ones still fill the caches."""


def main() -> int:
    """Measure the task and print the case as JSON."""
    import os

    try:
        set_up_process()
    except OutOfMemory as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=Task)
    # What a library may print is no result.
    with os.fdopen(os.dup(1), "wb") as result:
        os.dup2(2, 1)
        try:
            case = measure(task)
        except MmgError as error:
            sys.stderr.write(f"{error}\n")
            return error.exit_code
        except Exception as error:
            lacking = shortage(error)
            if not lacking:
                raise
            sys.stderr.write(f"{lacking}\n")
            return OutOfMemory.exit_code
        result.write(msgspec.json.encode(case))
    return 0


def measure(task: Task) -> Case:
    """The case of this task. Raises MmgError."""
    import gc
    import importlib
    import os
    from pathlib import Path

    from mmg.backends import load_library

    # What a run imports, and its library, which a session would import only now.
    for module in ("mmg.bundle", "mmg.engine", "mmg.runs.live", "mmg.sinks.jsonl"):
        importlib.import_module(module)
    load_library(task.backend)
    imported_ns, base_mib = time.monotonic_ns(), resident_mib("VmRSS")
    from mmg.bundle import Bundle

    with Bundle.open(os.fsdecode(task.bundle)) as bundle:
        bundle.trusted = bundle.trusted or bundle.digest == task.tried
        cold = _measure_cold(task, bundle, imported_ns)
        gc.freeze()
        from mmg.board.machine import read_condition
        from mmg.board.profiling.judge import Seen, judge

        root, seen = Path(os.fsdecode(task.root)), Seen(cold=cold, base_mib=base_mib, room=task.hops)
        before = read_condition(root)
        _measure_warm(task, bundle, seen)
        return judge(task, bundle.manifest, seen, before, read_condition(root))


def uncounted_hops(manifest: Manifest) -> int:
    """How many come first. While the context fills, the fusion is bound anew to each number of tokens."""
    return manifest.context_hops + WARM_HOPS


def _measure_warm(task: Task, bundle: Bundle, seen: Seen) -> None:
    import os
    from pathlib import Path

    from mmg.board.profiling.energy import Meter, open_meter

    meter = open_meter(task.meter, Path(os.fsdecode(task.root)))
    window = _Window(seen, meter if isinstance(meter, Meter) else None)
    if task.mode == "paced":
        _run_paced(task, bundle, seen, window)
    else:
        _run_backtoback(task, bundle, seen, window)
    seen.peak_mib = resident_mib("VmHWM")


class _Window:
    """The time of the counted hops: processor time of this process without some threads, time, and energy."""

    def __init__(self, seen: Seen, meter: Meter | None) -> None:
        self._seen, self._meter = seen, meter
        self._cpu_s = self._begin_s = 0.0

    def begin(self, others_cpu_s: float) -> None:
        """others_cpu_s: processor time of threads that do not count, up to now."""
        if self._meter is not None:
            self._meter.start()
        self._cpu_s, self._begin_s = time.process_time() - others_cpu_s, time.monotonic()

    def end(self, others_cpu_s: float) -> None:
        """To be called once all is counted."""
        if self._meter is not None:
            others_cpu_s += self._meter.cpu_s
        self._seen.cpu_s = time.process_time() - others_cpu_s - self._cpu_s
        self._seen.took_s = time.monotonic() - self._begin_s
        if self._meter is not None:
            self._seen.energy = self._meter.stop()


def _measure_cold(task: Task, bundle: Bundle, imported_ns: int) -> Cold:
    """From the start of the process on to what a first decision needs, each model loaded and run once."""
    from mmg.backends import open_session
    from mmg.engine.encoder import Encoder
    from mmg.engine.fusion import Fusion
    from mmg.engine.variant import Variant, choose_file

    manifest, variant = bundle.manifest, Variant(task.backend, task.precision)
    modalities = [manifest.modality(name) for name in task.modalities]
    files = [choose_file(bundle, one.encoder.files, f"{one.name} encoder", variant) for one in modalities]
    files.append(choose_file(bundle, manifest.fusion.files, "fusion", variant))
    data = [bundle.read(file) for file in files]
    bundle.require_tried(files)
    verified_ns = time.monotonic_ns()
    sessions = [
        open_session(task.backend, content, bundle.place_of(file), threads=task.threads, providers=task.providers)
        for file, content in zip(files, data, strict=True)
    ]
    loaded_ns = time.monotonic_ns()
    encoders = [Encoder(one, manifest, session) for one, session in zip(modalities, sessions, strict=False)]
    fusion = Fusion(manifest, sessions[-1])
    ran_ns = time.monotonic_ns()
    del encoders, fusion, sessions
    return Cold(
        start_s=(BEGUN_NS - task.spawned_ns) / 1e9,
        import_s=(imported_ns - BEGUN_NS) / 1e9,
        verify_s=(verified_ns - imported_ns) / 1e9,
        sessions_s=(loaded_ns - verified_ns) / 1e9,
        first_inference_s=(ran_ns - loaded_ns) / 1e9,
        first_decision_s=(ran_ns - task.spawned_ns) / 1e9,
    )


def _run_paced(task: Task, bundle: Bundle, seen: Seen, window: _Window) -> None:
    """Live, from ports that bring synthetic samples at their own pace."""
    from pathlib import Path

    from mmg.board.profiling.stalls import StallWatch, waited_s
    from mmg.board.profiling.synthetic import SyntheticPort
    from mmg.runs.live import LivePipeline
    from mmg.sinks.jsonl import JsonLines

    manifest = bundle.manifest
    uncounted = uncounted_hops(manifest)
    ports = [SyntheticPort(manifest.modality(name), manifest.hop_s) for name in task.modalities]
    watch = seen.stalls = StallWatch()
    with Path("/dev/null").open("w", encoding="utf-8") as nowhere:
        sink, pipeline = JsonLines(nowhere), LivePipeline(bundle, ports, _settings(task))
        for port in ports:
            # Blocks that end with the hops: by chance they would end up to a block later, another time in each case.
            port.begin_ns = pipeline.origin_ns
        whole, noted_s, begun_s, waited_before_s = 0, 0.0, time.thread_time(), waited_s()

        def others_cpu_s() -> float:
            return watch.cpu_s + sum(port.cpu_s for port in ports) + noted_s

        try:
            for decision in pipeline:
                written_ms = _write(sink, decision, time.perf_counter_ns)
                done_s, waited_now_s = time.thread_time(), waited_s()
                is_whole, is_counted = len(decision.modalities) == len(task.modalities), whole >= uncounted
                if is_whole and is_counted:
                    spent_ms, waited_ms = (done_s - begun_s) * 1e3, (waited_now_s - waited_before_s) * 1e3
                    _add_paced(seen, decision, pipeline.origin_ns, written_ms, spent_ms)
                    idle_ms = max(decision.latency_ms["event_to_decision"] - spent_ms, 0.0)
                    seen.waited_ms += min(waited_ms, idle_ms)  # the rest of the waiting was before the hop's end
                seen.lacking += is_counted and not is_whole
                whole, waited_before_s = whole + is_whole, waited_now_s
                noted_s += time.thread_time() - done_s
                if whole == task.hops + uncounted:
                    window.end(others_cpu_s())
                    break
                if is_whole and whole == uncounted:
                    window.begin(others_cpu_s())
                begun_s = time.thread_time()
        finally:
            pipeline.close()
            watch.close()


def _add_paced(seen: Seen, decision: Decision, origin_ns: int, written_ms: float, spent_ms: float) -> None:
    late_ms = decision.latency_ms["event_to_decision"]
    age_ms = max(state.age_ms for state in decision.sensors.values()) + late_ms
    stages = {**decision.latency_ms, "sink": written_ms, "capture_age": age_ms, "hop": spent_ms}
    seen.add(stages, time.monotonic(), resident_mib("VmRSS"))
    end_s = origin_ns / 1e9 + decision.t_s
    seen.spans_s.append((end_s, end_s + late_ms / 1e3))


def _settings(task: Task) -> Settings:
    from mmg.runs.settings import Settings

    return Settings(
        grace_s=task.grace_s,
        unknown=task.unknown,
        backend=task.backend,
        precision=task.precision,
        threads=task.threads,
        providers=task.providers,
    )


def _run_backtoback(task: Task, bundle: Bundle, seen: Seen, window: _Window) -> None:
    """As fast as it goes, one hop after another, with a whole context from the first counted hop on.

    Each stage is processor time, as the hop is, so that they add up on a machine that does other work too.
    """
    from pathlib import Path

    from mmg.board.profiling.synthetic import make_chunks
    from mmg.runs.settings import make_engine
    from mmg.sinks.jsonl import JsonLines

    manifest = bundle.manifest
    engine = make_engine(bundle, task.modalities, _settings(task), clock=time.thread_time_ns)
    streams = [make_chunks(manifest.modality(name), manifest.hop_s) for name in engine.modalities]
    uncounted, others_s = uncounted_hops(manifest), 0.0  # processor time of what feeds and notes
    with Path("/dev/null").open("w", encoding="utf-8") as nowhere:
        sink = JsonLines(nowhere)
        for hop in range(task.hops + uncounted):
            if hop == uncounted:
                window.begin(others_s)
            fed_s, chunks, cpu_s = time.thread_time(), [next(stream) for stream in streams], time.thread_time()
            others_s += cpu_s - fed_s
            decisions = [decision for chunk in chunks for decision in engine.push(chunk)]
            spent_ms = (time.thread_time() - cpu_s) * 1e3
            for decision in decisions:
                written_ms, done_s = _write(sink, decision, time.thread_time_ns), time.thread_time()
                if hop >= uncounted:
                    stages = {**decision.latency_ms, "sink": written_ms, "hop": spent_ms + written_ms}
                    seen.add(stages, time.monotonic(), resident_mib("VmRSS"))
                others_s += time.thread_time() - done_s
        window.end(others_s)


def _write(sink: JsonLines, decision: Decision, clock: Callable[[], int]) -> float:
    """Write a decision as mmg-run does; the milliseconds that it took."""
    begin_ns = clock()
    sink.write(decision, None)
    return (clock() - begin_ns) / 1e6


def resident_mib(which: str) -> float:
    """Of this process: ``VmRSS`` now, ``VmHWM`` the most ever."""
    from pathlib import Path

    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(which):
            return int(line.split()[1]) / 1024
    return 0.0


if __name__ == "__main__":
    sys.exit(main())
