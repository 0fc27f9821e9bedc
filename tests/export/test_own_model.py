"""Models that nobody made for mmg decide in mmg-run as they do in torch: a GRU, a transformer that somebody else wrote,
a sensor that mmg has never heard of; all from docs/bring-your-own-model.md."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmg.bundle import Bundle
from mmg.bundle.verify import check_files
from mmg.sources import open_source
from mmg.streams import HopGrid, open_stream
from mmg_export import export_bundle
from own_model_page import Page
from torch import Tensor

FORMS = ("ppg", "window", "streaming")
RECORDINGS = {"ppg": "pulse.csv", "imu": "walk.csv", "audio": "sound.wav"}
WORKSTATION = {"torch", "onnx", "onnxscript", "transformers", "litert_torch", "jax", "mmg_training", "mmg_export"}
RUN = """
import sys
from mmg.cli.run import main
code = main(sys.argv[1:])
print(*{name.partition(".")[0] for name in sys.modules}, file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture(scope="session", params=["onnx", "litert"])
def bundles(request: pytest.FixtureRequest, page: Page, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page's three bundles, for one backend; those for ONNX the page itself has made."""
    if request.param == "onnx":
        return {form: page.folder / f"{'mine' if form == 'ppg' else form}.mmg" for form in FORMS}
    made = {form: tmp_path_factory.mktemp("litert") / f"{form}.mmg" for form in FORMS}
    for form, path in made.items():
        export_bundle(path, **parts(form), backends=("litert",), hops=20)
    return made


def parts(form: str) -> dict[str, Any]:
    """The encoders, the fusion and the spec, as the page has them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of transformers and what it imports
        if form == "ppg":
            ppg = import_module("ppg")
            return {"encoders": ppg.encoders, "fusion": ppg.fusion, "spec": ppg.spec}
        return dict(import_module("wrist").build(form))


@cache
def mmg_run(bundle: Path, recordings: Path) -> tuple[list[dict[str, Any]], set[str]]:
    """The decisions on the page's recordings, and the packages that the process has loaded."""
    with Bundle.open(bundle) as opened:
        names = [modality.name for modality in opened.manifest.modalities]
    sources = [f"--source={name}={recordings / RECORDINGS[name]}" for name in names]
    command = [sys.executable, "-c", RUN, "--bundle", str(bundle), "--format", "jsonl", *sources]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], set(done.stderr.splitlines()[-1].split())


def hops_of(bundle: Path, page: Page) -> dict[str, Tensor]:
    """Each recording as its encoder is fed it: (hops, samples, channels)."""
    hops = {}
    with Bundle.open(bundle) as opened:
        for modality in opened.manifest.modalities:
            recording = open_source(str(page.folder / RECORDINGS[modality.name]), modality)
            stream = open_stream(modality, HopGrid(0, opened.manifest.hop_ns))
            cut = [hop.samples for chunk in recording.chunks(0) for hop in stream.push(chunk)]
            hops[modality.name] = torch.from_numpy(np.stack([samples for samples in cut if samples is not None]))
    return hops


@torch.no_grad()
def offline(form: str, encoders: Mapping[str, Any], hops: Mapping[str, Tensor]) -> dict[str, dict[int, Tensor]]:
    """The token of each hop, from the whole recording in one go and not hop by hop."""
    tokens: dict[str, dict[int, Tensor]] = {}
    for name, samples in hops.items():
        whole, encoder = samples.flatten(0, 1)[None], encoders[name]
        if form == "window":
            ends = range(3, len(samples))
            tokens[name] = {end: encoder(samples[end - 3 : end + 1].flatten(0, 1)[None])[0, 0] for end in ends}
        elif name == "ppg":
            tokens[name] = dict(enumerate(encoder(samples)[:, 0]))
        elif name == "imu":
            made, _ = encoder(whole, torch.zeros(1, 1, 32))
            tokens[name] = dict(enumerate(made[0]))
        else:
            frames = encoder.log_mel(torch.cat((torch.zeros(1, 160, 1), whole), dim=1))
            frames = torch.cat((torch.zeros(1, 149, 32), frames), dim=1)
            starts = range(0, 50 * len(samples), 50)
            tokens[name] = {hop: encoder.read(frames[:, at : at + 199])[0, 0] for hop, at in enumerate(starts)}
    return tokens


@torch.no_grad()
def decide(fusion: Any, tokens: Mapping[str, Mapping[int, Tensor]], hop: int) -> list[float]:
    """The score of each label from the tokens of the last eight hops."""
    seen = [
        (made[hop - age], index, age)
        for index, made in enumerate(tokens.values())
        for age in range(8)
        if hop - age in made
    ]
    modality, age = (torch.tensor([[one[place] for one in seen]], dtype=torch.int32) for place in (1, 2))
    logits, _ = fusion(torch.stack([token for token, _, _ in seen])[None], modality, age)
    return [float(score) for score in logits[0].softmax(dim=0)]


@pytest.mark.parametrize("form", FORMS)
def test_mmg_run_decides_as_torch_does_offline(form: str, bundles: dict[str, Path], page: Page) -> None:
    decisions, _ = mmg_run(bundles[form], page.folder)
    given, hops = parts(form), hops_of(bundles[form], page)
    tokens = offline(form, given["encoders"], hops)
    assert len(decisions) == {"ppg": 59, "window": 57, "streaming": 60}[form]
    for decision in decisions:
        wanted = decide(given["fusion"], tokens, round(2 * decision["t"]) - 1)
        assert list(decision["scores"].values()) == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_the_device_loads_nothing_of_the_workstation(form: str, bundles: dict[str, Path], page: Page) -> None:
    _, loaded = mmg_run(bundles[form], page.folder)
    assert "mmg" in loaded
    assert not loaded & WORKSTATION
    assert len(loaded & {"onnxruntime", "ai_edge_litert"}) == 1


@pytest.mark.parametrize("form", FORMS)
def test_the_golden_inputs_give_the_golden_outputs(form: str, bundles: dict[str, Path]) -> None:
    with Bundle.open(bundles[form]) as bundle:
        assert {one.result for one in check_files(bundle, lambda _: None)} == {"ok"}


@torch.no_grad()
def test_the_streaming_forms_give_the_window_forms_tokens_once_a_window_is_full(page: Page) -> None:
    """As the page says of the spectrogram, and of a GRU that begins with each window."""
    hops, tokens = hops_of(page.folder / "window.mmg", page), {}
    for form in ("window", "streaming"):
        tokens[form] = offline(form, parts(form)["encoders"], hops)["audio"]
    for hop, token in tokens["window"].items():
        torch.testing.assert_close(tokens["streaming"][hop], token, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["imu", "audio"])
def test_any_subset_decides(name: str, bundles: dict[str, Path], page: Page) -> None:
    with Bundle.open(bundles["streaming"]) as bundle:
        assert bundle.manifest.modality(name).encoder.states
    source = f"--source={name}={page.folder / RECORDINGS[name]}"
    command = [sys.executable, "-m", "mmg.cli.run", "--bundle", str(bundles["streaming"]), source]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert f"decisions from {name}" in done.stderr
