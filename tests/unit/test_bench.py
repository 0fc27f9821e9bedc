"""The benchmark: its pieces work, and what it prints is whole and plausible. Speed itself is not tested."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tty
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmg import Bundle, Chunk, Engine
from mmg.errors import ConfigError, MmgError
from mmg.sources.protocols import encode_sample
from mmg_tools.bench import eager, fast, live, memory, needs, push, sizes, start, throughput, window
from mmg_tools.bench.__main__ import describe_machine, main
from mmg_tools.bench.bare import Bare, BareEncoders, whole_context
from mmg_tools.bench.hops import SUBSETS, Pushed, Recording, noise, take_turns
from mmg_tools.bench.table import Figure, Row, as_json, describe

FIGURE = Figure(
    "cost", "CPU time over CPU time", 1.25, True, (Row("imu", 1.2, {"push_us": 12}), Row("audio", 1.2504, {"it_us": 1}))
)


def silent(_: str) -> None:
    pass


@pytest.mark.parametrize("names", SUBSETS)
def test_each_push_of_a_hop_completes_it_with_every_sensor_live(names: tuple[str, ...]) -> None:
    with Bundle.open("starter") as bundle:
        recording, engine = Recording(bundle.manifest, names, 30), Engine(bundle, names)
        for hop in range(30):
            made = [decision for chunk in recording.chunks(hop) for decision in engine.push(chunk)]
            assert [decision.hop for decision in made] == [hop]
            assert made[0].modalities == names
            assert {state.state for state in made[0].sensors.values()} == {"live"}


def test_the_bare_runs_are_those_of_the_engine() -> None:
    names = ("imu", "audio", "video")
    with Bundle.open("starter") as bundle:
        recording = Recording(bundle.manifest, names, 3)
        bare, seen = Bare(bundle, recording), []
        for hop in range(3):
            bare(hop)
            seen.append(bare.encoders["audio"](hop))
        assert np.isfinite(seen).all()
        context = whole_context(bundle.manifest, names)
    assert context["tokens"].shape == (1, 32, 64)
    assert context["age"][0, :8].tolist() == [7, 6, 5, 4, 3, 2, 1, 0]
    assert context["modality"][0].tolist() == [0] * 8 + [1] * 16 + [2] * 8


def test_both_libraries_run_the_same_encoders() -> None:
    pytest.importorskip("ai_edge_litert")
    with Bundle.open("starter") as bundle:
        recording = Recording(bundle.manifest, ("imu", "audio", "video"), 10)
        ways = [BareEncoders(bundle, recording, backend) for backend in ("onnx", "litert")]
        for hop in range(10):
            for name in recording.samples:
                onnx, litert = (way.encoders[name](hop) for way in ways)
                np.testing.assert_allclose(litert, onnx, atol=1e-3)


def test_two_ways_take_turns_on_the_same_hops() -> None:
    order: list[tuple[str, int]] = []
    took = take_turns(lambda hop: order.append(("a", hop)), lambda hop: order.append(("b", hop)), 45, block=20)
    assert order[:21] == [("a", hop) for hop in range(20)] + [("b", 0)]
    assert {hop for way, hop in order if way == "b"} == set(range(45))
    assert min(took) >= 0


def test_noise_is_even_and_without_a_pattern() -> None:
    values = noise(8000)
    assert abs(values.mean()) < 0.02
    assert np.ptp(values) > 0.99
    assert abs(np.corrcoef(values[1:], values[:-1])[0, 1]) < 0.05


def test_a_goal_is_compared_as_measured_and_not_as_printed() -> None:
    assert FIGURE.missed == ("audio",)
    text = describe([FIGURE], {"machine": "a board"})
    assert text[0] == "machine: a board"
    assert text[2] == "cost: CPU time over CPU time; goal at most 1.25"
    assert text[3].split() == ["imu", "1.20", "reached", "push", "12", "us"]
    assert text[4].split()[:3] == ["audio", "1.25", "MISSED"]
    assert text[-1] == "missed: cost (audio)"
    told = json.loads(json.dumps(as_json([FIGURE], {})))
    assert told["reached"] is False
    assert [row["reached"] for row in told["figures"]["cost"]["rows"]] == [True, False]


def test_a_row_that_is_held_to_no_goal_misses_none() -> None:
    figure = Figure("x", "y", 3.0, False, (Row("whole", 1.0, {}, held=False), Row("part", 3.0, {})))
    assert not figure.missed
    assert describe([figure], {})[-1] == "every goal is reached"


def test_the_machine_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmg_tools.bench.__main__.measure_rest", lambda: (0.5, 9.0))
    machine = describe_machine()
    assert machine["the models of a hop"] == "0.50 ms back to back, 9.00 ms after a rest of 0.5 s"
    assert "cores" in machine["machine"]
    assert "onnxruntime" in machine["versions"]


def test_what_is_unknown_or_missing_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["--only", "speed"]) == 2
    assert "--only speed: the figures are push, memory" in capsys.readouterr().err
    monkeypatch.setattr(needs, "find_spec", lambda name: None if name == "onnx" else name)
    assert main(["--only", "eager"]) == 2
    assert "onnx is not installed" in capsys.readouterr().err
    monkeypatch.setattr(needs, "find_spec", lambda name: None if name == "sounddevice" else name)
    assert main(["--only", "live"]) == 2
    assert "pip install -e '.[audio]'" in capsys.readouterr().err
    monkeypatch.setattr(needs, "find_spec", lambda name: name)
    monkeypatch.setattr(needs, "STARTER_RUN", tmp_path / "none")
    with pytest.raises(ConfigError, match="need a checkout"):
        needs.require_training()


def test_start_waits_for_a_line() -> None:
    [figure] = start.measure(silent, quick=True)
    assert [row.what for row in figure.rows] == ["first decision", "--help"]
    assert all(0 < row.value < 60 for row in figure.rows)


def cost(percent: float, *latencies_ms: float) -> live.Cost:
    return live.Cost(
        percent, 12.0, 70.0, tuple(json.dumps({"latency_ms": {"event_to_decision": ms}}) for ms in latencies_ms)
    )


def test_live_compares_medians_of_turns_that_were_taken_side_by_side() -> None:
    both, sound = live.SUBSETS
    measured = {
        (both, "mmg, onnx"): [cost(9.0, 4), cost(2.0, 5), cost(3.0, 30)],
        (both, "loop, onnx"): [cost(2.0), cost(1.0), cost(1.5)],
        (both, "C"): [cost(0.5)] * 3,
        (sound, "mmg, onnx"): [cost(2.0, 1)] * 3,
        (sound, "loop, onnx"): [cost(1.0)] * 3,
    }
    loop, floor, late, wakes = live.figures(measured)
    assert [(row.what, row.value, row.held) for row in loop.rows] == [
        ("imu+audio, onnx", 2.0, True),
        ("audio, onnx", 2.0, False),
    ]
    assert [row.value for row in floor.rows] == [6.0]
    assert late.missed == ("imu+audio, onnx",)
    assert late.rows[0].measured["p50_ms"] == 5
    assert not wakes.missed
    without_compiler = {key: costs for key, costs in measured.items() if key[1] != "C"}
    assert [figure.name for figure in live.figures(without_compiler)] == ["live", "live lateness", "live wakes"]


def test_live_does_without_the_program_that_cannot_be_compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told: list[str] = []
    has_compiler = shutil.which("cc") is not None
    monkeypatch.setattr(live, "FLOOR", tmp_path / "none.c")
    assert live.build_floor(tmp_path, told.append) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert live.build_floor(tmp_path, told.append) is None
    assert "none.c" in told[0] or not has_compiler
    assert "no compiler" in told[1]


def test_a_side_that_ends_by_itself_is_told() -> None:
    code = "import sys; print(1); sys.exit('no such device')"
    with pytest.raises(MmgError, match="ended or fell silent: no such device"):
        live.run_side((sys.executable, "-c", code), {}, 1)


def test_usage_counts_what_a_process_does() -> None:
    code = "import time\nwhile True:\n  print('x', flush=True); time.sleep(0.001); sum(range(20000))"
    cost = live.run_side((sys.executable, "-c", code), {}, 200)
    assert len(cost.lines) == 200
    assert 1 < cost.percent < 101
    assert cost.wakes_hz > 1
    assert 5 < cost.resident_mib < 100


def test_the_loop_reads_an_imu_whose_bytes_come_in_pieces() -> None:
    pytest.importorskip("serial")
    from mmg_tools.bench.live_loop import Imu

    samples = np.random.default_rng(4).uniform(-1, 1, (60, 6))
    sent = b"".join(encode_sample("witmotion", sample.tolist(), 0, 0) for sample in samples)
    master, slave = os.openpty()
    try:
        tty.setraw(slave)
        imu = Imu(os.ttyname(slave))
        for piece in (sent[13:500], sent[500:]):  # the first sample is not whole
            os.write(master, piece)
            got = imu.next()
        np.testing.assert_allclose(got, samples[11::2], atol=3e-3)
        os.write(master, bytes((sent[0], sent[1], *sent[2:9], sent[9] ^ 1)) + sent[10:22])
        np.testing.assert_array_equal(imu.next(), got)  # damaged, and passed over
    finally:
        os.close(master)
        os.close(slave)


@pytest.mark.parametrize("backend", ["onnx", "litert"])
def test_the_loop_decides_what_the_engine_decides(backend: str) -> None:
    for package in ("serial", "sounddevice", "onnxruntime" if backend == "onnx" else "ai_edge_litert"):
        pytest.importorskip(package)
    from mmg_tools.bench import live_loop

    with Bundle.open("starter") as bundle:
        audio = bundle.manifest.modality("audio")
        engine = Engine(bundle, ["audio"], backend=backend, unknown=0)
        encode, fuse = live_loop.Encoder(bundle, audio, backend), live_loop.Fusion(bundle, ["audio"], backend)
        loud = np.arange(1, 25)[:, None] / 24 * noise(24 * 8000).reshape(24, 8000)
        compared = 0
        for hop, samples in enumerate(loud.astype(np.float32)):
            times_ns = (hop * 8000 + np.arange(8000)) * 62_500
            [decision] = engine.push(Chunk("audio", samples[:, None], times_ns, 16_000))
            label = fuse([encode(samples)])
            if hop >= bundle.manifest.context_hops - 1:
                assert label == decision.label
                compared += 1
    assert compared == 17


@pytest.mark.realtime
def test_live_runs_all_sides_on_virtual_ports() -> None:
    figures = live.measure(silent, quick=True)
    names = ["live", *(["live over C"] if shutil.which("cc") else []), "live lateness", "live wakes"]
    assert [figure.name for figure in figures] == names
    rows = [f"{'+'.join(names)}, {backend}" for names in live.SUBSETS for backend in needs.run_backends()]
    for figure in figures:
        assert [row.what for row in figure.rows] == rows
        assert all(row.value > 0 for row in figure.rows)


def test_resident_memory_grows_with_what_is_loaded() -> None:
    bare_mib = memory.resident_mib(1, "bare")
    assert 10 < bare_mib < memory.resident_mib(1, "sessions", "imu") < 500
    assert memory.resident_mib(1, "engine", "imu,audio") > bare_mib


def test_the_command_prints_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "push,throughput", "--quick", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told["figures"]) == ["push", "throughput"]
    rows = told["figures"]["push"]["rows"]
    assert len(rows) == 2 * len(SUBSETS)
    assert all(0.5 < row["value"] < 20 for row in rows)
    ways = len(needs.run_backends())
    assert [row["reached"] is None for row in told["figures"]["throughput"]["rows"]] == [False, True, True, True] * ways


def test_fast_compares_each_backend_with_its_models() -> None:
    [figure] = fast.measure(silent, quick=True)
    assert [row.what for row in figure.rows] == [f"imu+audio, {backend}" for backend in needs.run_backends()]
    assert all(0.5 < row.value < 20 for row in figure.rows)


def test_memory_tells_every_subset_and_every_modality() -> None:
    [figure] = memory.measure(silent, quick=True)
    assert sum(not row.held for row in figure.rows) == 7 + 3
    assert [row.what for row in figure.rows if row.held] == [f"{name} left out, %" for name in memory.ALL]


@pytest.mark.torch
def test_eager_decides_what_the_engine_decides() -> None:
    from mmg_export.trained import TrainedRun

    # Sound reaches the encoder as it is; the others are resampled on the engine's grid first.
    names = ("audio",)
    with Bundle.open("starter") as bundle:
        recording, engine = Recording(bundle.manifest, names, 12), Engine(bundle, names, unknown=0)
        one = eager.eager_hop(TrainedRun(needs.STARTER_RUN), bundle, recording)
        temperature = bundle.manifest.temperature(names)
        for hop in range(12):
            [decision] = [made for chunk in recording.chunks(hop) for made in engine.push(chunk)]
            logits = one(hop)
            assert (logits is None) == (hop < bundle.manifest.context_hops - 1)
            if logits is not None:
                scores = (logits[0] / temperature).softmax(0).tolist()
                np.testing.assert_allclose(list(decision.scores.values()), scores, atol=1e-3)


@pytest.mark.torch
@pytest.mark.usefixtures("shared_conversions")
def test_window_encoders_are_compared_on_the_same_hops(monkeypatch: pytest.MonkeyPatch) -> None:
    # By LiteRT too in `make bench`: these encoders take the longest of all to be converted.
    monkeypatch.setattr(window, "export_backends", lambda: ("onnx",))
    cost, accuracy = window.measure(silent, quick=True, accuracy=True)
    assert len(cost.rows) == 2 * len(window.SUBSETS)
    # A window computes eight hops where streaming computes one; a run's fixed cost is the same.
    assert all(row.value > 1 for row in cost.rows if "encoders" in row.what)
    assert len(accuracy.rows) == 7
    assert all(row.measured["of_hops"] > 100 and row.value < 10 for row in accuracy.rows)


@pytest.mark.torch
@pytest.mark.usefixtures("shared_conversions")
def test_each_ratio_is_told_for_each_size(monkeypatch: pytest.MonkeyPatch) -> None:
    import mmg_export
    from mmg_training.models import sizes as widths

    def export_once(out: Path, **given: Any) -> None:
        if "small" in out.name:
            export_bundle(out, **given)
        else:
            shutil.copy(out.with_name(out.name.replace("base", "small")), out)

    # The base size is the starter's, whose files others convert: here it has the small one's models, made only once.
    export_bundle = mmg_export.export_bundle
    monkeypatch.setattr(mmg_export, "export_bundle", export_once)
    monkeypatch.setattr(sizes, "SIZES", ("small", "base"))
    monkeypatch.setitem(widths.SIZES, "base", widths.SIZES["small"])
    figures = sizes.measure(silent, quick=True)
    assert [figure.name for figure in figures] == ["push by size", "window by size", "eager by size"]
    pushes = figures[0]
    assert [row.what for row in pushes.rows] == [
        f"{size}: {names}" for size in ("small", "base") for names in ("imu", "imu+audio+video")
    ]
    assert not any(row.held for figure in figures for row in figure.rows)


def test_pushed_notices_hops_that_were_not_decided() -> None:
    with Bundle.open("starter") as bundle:
        pushed = Pushed(bundle, Recording(bundle.manifest, ("imu",), 3))
        pushed(0)
        pushed.require(1)
        with pytest.raises(Exception, match="decided 1 of 2 hops"):
            pushed.require(2)


def test_goals_are_those_that_were_set() -> None:
    assert (push.GOAL, window.GOAL, eager.GOAL) == (1.25, 6.0, 3.0)
    assert (live.GOAL_LOOP, live.GOAL_FLOOR, live.GOAL_P95_MS, live.GOAL_WAKES_HZ) == (1.0, 3.5, 20.0, 12.0)
    assert fast.GOAL == 1.4
    assert (memory.GOAL_PERCENT, throughput.GOAL, start.GOAL_S) == (80.0, 300.0, 1.0)
