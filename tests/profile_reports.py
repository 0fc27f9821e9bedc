"""Made reports of ``mmg-profile``, for tests of what shows and judges them. No figure here was measured."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import combinations

from mmg.board.profiling.result import (
    Bundle,
    Case,
    Cold,
    Conditions,
    Distribution,
    Energy,
    Histogram,
    Machine,
    Memory,
    Mode,
    Report,
)
from msgspec.structs import replace

MODALITIES = ("imu", "audio", "video")
SUBSETS = tuple(chosen for count in (1, 2, 3) for chosen in combinations(MODALITIES, count))
ENCODER_MS = {"imu": 0.9, "audio": 3.1, "video": 8.4}
ENCODER_MIB = {"imu": 3.0, "audio": 9.0, "video": 21.0}
ACCURACY = {"imu": 0.825, "audio": 0.638, "video": 0.606}
HOP_S = 0.5
HOPS = 240
NO_LITERT = "ai-edge-litert is not installed: pip install ai-edge-litert"


def distribution(samples: Sequence[float], bins: int = 24) -> Distribution:
    """Of samples in milliseconds, with ``bins`` bins of equal width in the histogram."""
    ordered = sorted(samples)
    low, high = ordered[0], ordered[-1]
    width = (high - low) / bins or 1e-3
    counts = [0] * bins
    for sample in ordered:
        counts[min(bins - 1, int((sample - low) / width))] += 1
    return Distribution(
        n=len(ordered),
        mean_ms=sum(ordered) / len(ordered),
        min_ms=low,
        p50_ms=_percentile(ordered, 0.50),
        p90_ms=_percentile(ordered, 0.90),
        p95_ms=_percentile(ordered, 0.95),
        p99_ms=_percentile(ordered, 0.99),
        max_ms=high,
        histogram=Histogram(edges_ms=tuple(low + width * edge for edge in range(bins + 1)), counts=tuple(counts)),
    )


def times(middle_ms: float, *, seed: int = 0, spread: float = 0.08, n: int = HOPS) -> Distribution:
    """Log-normal around a median, with now and then a hop of twice that: what a board's stages look like."""
    chance = random.Random(f"{seed} {middle_ms}")
    samples = [middle_ms * chance.lognormvariate(0, spread) * (2 if chance.random() < 0.02 else 1) for _ in range(n)]
    return distribution(samples)


def made_case(
    modalities: Sequence[str] = ("imu", "audio"),
    backend: str = "onnx",
    precision: str = "fp32",
    threads: int = 1,
    *,
    slower: float = 1.0,
    seed: int = 0,
    mode: Mode = "paced",
) -> Case:
    """A valid case. slower: every time, and with it the processor's share, is so many times as long."""
    factor = slower * {"fp32": 1.0, "int8": 0.7}[precision] * {"onnx": 1.0, "litert": 1.15}[backend]
    work = {"resample": 0.3, **{name: ENCODER_MS.get(name, 2.0) for name in modalities}, "fusion": 1.4, "post": 0.1}
    stages = {name: times(factor * middle, seed=seed) for name, middle in {**work, "sink": 0.05}.items()}
    hop_ms = factor * sum(work.values())
    stages["hop"] = times(hop_ms, seed=seed)
    if mode == "paced":
        stages["capture_age"] = times(4.0, seed=seed, spread=0.3)
        stages["event_to_decision"] = times(4.0 + 1.3 * hop_ms, seed=seed, spread=0.15)
    held = 71.0 + sum(ENCODER_MIB.get(name, 5.0) for name in modalities) * {"fp32": 1.0, "int8": 0.55}[precision]
    mean_w = 3.5 * hop_ms / 1e3 / HOP_S
    wrong = 1.0
    for name in modalities:
        wrong *= 1 - ACCURACY.get(name, 0.5)
    return Case(
        modalities=tuple(modalities),
        backend=backend,
        precision=precision,
        threads=threads,
        outcome="measured",
        cold=Cold(
            start_s=0.05, import_s=0.4, verify_s=0.48, sessions_s=0.9, first_inference_s=0.95, first_decision_s=1.02
        ),
        stages=stages,
        hops=HOPS,
        deadline_ms=200.0 if mode == "paced" else 1e3 * HOP_S,
        real_time_factor=hop_ms / 1e3 / HOP_S,
        cpu_percent=100 * hop_ms / 1e3 / HOP_S + 1.2 if mode == "paced" else None,
        memory=Memory(base_mib=60.0, steady_mib=held, peak_mib=held + 6, slope_mib_per_hour=0.2),
        macs_per_s=4.2e6,
        model_bytes=1_200_000,
        energy=Energy(measured=False, meter="core_w", joules=mean_w * 120, mean_w=mean_w, mj_per_decision=500 * mean_w),
        accuracy=1 - wrong - (0.004 if precision == "int8" else 0.0),
        halves_differ=0.01,
        before=conditions(),
        after=conditions(temperature_c=55.5, frequency_mhz=2388.0),
        valid=True,
    )


def invalid(case: Case, *reasons: str) -> Case:
    """The same case, not reliable."""
    return replace(case, valid=False, reasons=reasons or ("the clock was held down while it ran: too hot",))


def unavailable(case: Case, reason: str = NO_LITERT) -> Case:
    """The same case where the bundle or the machine does not have it."""
    return Case(
        modalities=case.modalities,
        backend=case.backend,
        precision=case.precision,
        threads=case.threads,
        outcome="unavailable",
        reason=reason,
    )


def conditions(
    *, governor: str | None = "performance", frequency_mhz: float = 2400.0, temperature_c: float = 48.0
) -> Conditions:
    """A board that is cool and has little else to do."""
    return Conditions(
        governor=governor,
        frequency_mhz=frequency_mhz,
        temperature_c=temperature_c,
        throttled=(),
        free_mib=6900,
        load=0.4,
    )


def made_cases(
    variants: Sequence[tuple[str, str]] = (("onnx", "fp32"), ("onnx", "int8")),
    subsets: Sequence[Sequence[str]] = SUBSETS,
    *,
    slower: float = 1.0,
    seed: int = 0,
    mode: Mode = "paced",
) -> tuple[Case, ...]:
    """Every subset on every backend and precision, in the order that mmg-profile has them."""
    return tuple(
        made_case(modalities, backend, precision, slower=slower, seed=seed, mode=mode)
        for backend, precision in variants
        for modalities in subsets
    )


def made_report(
    cases: Sequence[Case] | None = None,
    *,
    mode: Mode = "paced",
    budget: Mapping[str, float] | None = None,
    machine: Machine | None = None,
    bundle: Bundle | None = None,
) -> Report:
    """A report of these cases, by default of all seven subsets in fp32 and int8."""
    return Report(
        schema="mmg-profile/1",
        made="2026-03-04T05:06:07Z",
        command=("--backend", "all", "--precision", "all"),
        took_s=3723.0,
        mode=mode,
        signal="demo recording, 120 s",
        profile="raspberry-pi-5",
        budget=dict(budget or {}),
        bundle=bundle
        or Bundle(path="starter", name="starter", version="0.3.0", manifest_sha256="ab" * 32, hop_s=HOP_S),
        machine=machine or made_machine(),
        cases=tuple(made_cases(mode=mode) if cases is None else cases),
    )


def made_machine(model: str = "Made Board 5", *, numpy: str = "2.1.0", commit: str | None = "0123456789ab") -> Machine:
    """A board that does not exist."""
    return Machine(
        model=model,
        cpu="Cortex-A76",
        cores=4,
        memory_mib=8063,
        architecture="aarch64",
        features=("asimd", "asimddp"),
        versions={"python": "3.11.7", "kernel": "6.6.31", "mmg": "0.1.0", "numpy": numpy, "onnxruntime": "1.20.0"},
        commit=commit,
    )


def _percentile(ordered: Sequence[float], level: float) -> float:
    """Interpolated between samples, as numpy's default."""
    place = level * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])
