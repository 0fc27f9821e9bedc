"""Streaming equals offline: the engine against the same models run by hand over the whole recording."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnxruntime
import pytest
from mmg.bundle import Bundle
from mmg.engine import Engine
from mmg.types import Chunk
from numpy.typing import NDArray

HOPS = 24
RATES_HZ = {"imu": 50, "audio": 16000, "video": 4}


def make_samples(name: str) -> NDArray[Any]:
    random = np.random.default_rng(11)
    count = RATES_HZ[name] * HOPS // 2
    if name == "imu":
        return (random.standard_normal((count, 6)) + [0, 0, 9.8, 0, 0, 0]).astype(np.float32)
    if name == "audio":
        return (random.standard_normal((count, 1)) * 0.1).astype(np.float32)
    return random.integers(0, 255, (count, 48, 64, 3), dtype=np.uint8)


def offline_tokens(bundle: Bundle, name: str, samples: NDArray[Any]) -> list[NDArray[Any]]:
    """Each hop's tokens, from bare onnxruntime calls."""
    spec = bundle.manifest.modality(name).encoder
    session = onnxruntime.InferenceSession(bundle.read(spec.files[0]))
    states = {state.input: np.zeros(state.shape, np.float32) for state in spec.states}
    tokens = []
    for hop in np.split(samples, HOPS):
        outputs = session.run(None, {spec.input.name: hop.reshape(spec.input.shape), **states})
        named = dict(zip([output.name for output in session.get_outputs()], outputs, strict=True))
        states = {state.input: named[state.output] for state in spec.states}
        tokens.append(named[spec.output.name].reshape(spec.tokens_per_hop, -1))
    return tokens


@pytest.mark.parametrize("names", [("imu",), ("audio",), ("video",), ("imu", "audio", "video")], ids="+".join)
def test_streamed_decisions_equal_the_models_run_offline_over_the_whole_recording(names: tuple[str, ...]) -> None:
    with Bundle.open("starter") as bundle:
        manifest = bundle.manifest
        engine = Engine(bundle, names, unknown=0)
        decisions = []
        tokens = {}
        for name in names:
            samples = make_samples(name)
            tokens[name] = offline_tokens(bundle, name, samples)
            # Captured in the middle of its interval, each sample is what the model's grid asks for.
            period_ns = 1e9 / RATES_HZ[name]
            shift_ns = 0 if name == "audio" else period_ns / 2
            times_ns = np.round(np.arange(len(samples)) * period_ns + shift_ns).astype(np.int64)
            if name == "imu":
                # Steps, so that the mean over each interval is the sample itself.
                samples, times_ns = np.repeat(samples, 2, axis=0), np.repeat(times_ns, 2)
                times_ns[0::2] -= round(period_ns / 2)
                times_ns[1::2] += round(period_ns / 2) - 1
            decisions += engine.push(Chunk(name, samples, times_ns, RATES_HZ[name] if name == "audio" else 0.0))
        written = json.loads((bundle.path / "manifest.json").read_text())["subsets"]
        temperatures = {frozenset(subset["modalities"]): subset["temperature"] for subset in written}
        assert any(temperature != 1 for temperature in temperatures.values())
        fusion = onnxruntime.InferenceSession(bundle.read(manifest.fusion.files[0]))
    assert len(decisions) >= HOPS - 1
    for decision in decisions:
        hops = range(max(decision.hop - manifest.context_hops + 1, 0), decision.hop + 1)
        rows = [(tokens[name][hop], manifest.index(name), decision.hop - hop) for name in names for hop in hops]
        counts = [len(row[0]) for row in rows]
        logits = (
            fusion.run(
                [manifest.fusion.logits],
                {
                    manifest.fusion.tokens: np.concatenate([row[0] for row in rows])[None],
                    manifest.fusion.modality: np.repeat(np.array([row[1] for row in rows], np.int32), counts)[None],
                    manifest.fusion.age: np.repeat(np.array([row[2] for row in rows], np.int32), counts)[None],
                },
            )[0][0]
            / temperatures[frozenset(names)]
        )
        offline = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        assert np.abs(offline - np.array(list(decision.scores.values()))).max() < 1e-5
