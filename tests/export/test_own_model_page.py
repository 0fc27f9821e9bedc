"""docs/bring-your-own-model.md does what it says: its blocks run in order, and print what it shows."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from mmg.errors import ConfigError, ModelError
from mmg_export import Sensor, export_bundle, parity
from own_model_page import PAGE, Page, without_numbers
from own_modules import PPG, MeanFusion, Ppg, seeded, spec
from torch import Tensor, nn


def test_the_commands_print_what_the_page_shows(page: Page) -> None:
    assert len(page.shown) >= 15
    printed = {without_numbers(line) for text in page.printed.values() for line in text.splitlines()}
    assert {without_numbers(line) for line in page.shown} - printed == {"..."}


def test_mmg_run_decides_at_every_hop(page: Page) -> None:
    runs = {command: text for command, text in page.printed.items() if command.startswith("mmg-run")}
    # Of 30 s. A CSV's last hop is not whole, as nothing lies beyond it; a window of 2 s begins with the fourth hop.
    for (command, text), (first_s, last_s) in zip(runs.items(), ((0.5, 29.5), (2.0, 30.0), (0.5, 30.0)), strict=True):
        hops = re.findall(r"^ *(\S+) s  \w+ +[█░]{10} +\d+%", text, re.MULTILINE)
        count = round(2 * (last_s - first_s)) + 1
        assert [float(hop) for hop in hops] == [first_s + 0.5 * index for index in range(count)], command


class Changed(nn.Module):
    """The PPG encoder with something done to its token; ``change(token, samples, *states)``."""

    def __init__(self, change: Callable[..., object]) -> None:
        super().__init__()
        self.ppg, self.change = Ppg(), change

    def forward(self, samples: Tensor, *states: Tensor) -> object:
        return self.change(self.ppg(samples), samples, *states)


class Odd(nn.Module):
    """An operator that ONNX lacks."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.special.bessel_j0(x)  # type: ignore[no-any-return]


class Coarse(nn.Module):
    """Its token is computed with bfloat16."""

    def __init__(self) -> None:
        super().__init__()
        self.ppg = Ppg()

    def forward(self, samples: Tensor) -> Tensor:
        return (self.ppg(samples).bfloat16() * 2).float()  # type: ignore[no-any-return]


class Voiced(nn.Module):
    """For a batch of one only, so that it is judged by what it does to that."""

    def forward(self, samples: Tensor) -> Tensor:
        return samples.new_zeros(1, 1, 6) + samples[samples > 0].sum() * 1e-3


class Forgetful(nn.Module):
    """The sum of all samples so far, which begins anew at every hop."""

    def forward(self, samples: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        return (past + samples.cumsum(dim=1))[:, 31::32].expand(-1, -1, 6), torch.zeros_like(past)


REFUSED: dict[str, tuple[Callable[[], nn.Module], Sensor]] = {
    "training mode": (lambda: nn.Sequential(Ppg(), nn.Dropout()), PPG),
    "the batch matters": (lambda: Changed(lambda token, _: token - token.mean(dim=0) / 2), PPG),
    "random numbers, or a state kept inside": (lambda: Changed(lambda token, _: token + torch.rand(6)), PPG),
    "not finite": (lambda: Changed(lambda token, _: token / 0), PPG),
    "weights in float16": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(32, 6)).half(), PPG),
    "bfloat16 inside the module": (Coarse, PPG),
    "a scripted module": (lambda: torch.jit.script(Ppg()), PPG),
    "a branch on values": (lambda: Changed(lambda token, samples: token if samples.mean() > 0 else -token), PPG),
    "a shape that depends on values": (Voiced, PPG),
    "a state that changes shape": (
        lambda: Changed(lambda token, _, past: (token, torch.cat((past, token), dim=1))),
        replace(PPG, states=((1, 4, 6),)),
    ),
    "states that are not named, or not given back": (lambda: nn.GRU(1, 6, batch_first=True), PPG),
    "states that forget": (Forgetful, replace(PPG, states=((1, 1, 1),))),
    "another width": (lambda: Ppg(8), PPG),
    "another count of tokens": (Ppg, replace(PPG, tokens_per_hop=2)),
    "another count of samples": (Ppg, replace(PPG, rate_hz=100.0)),
    "an operator that the converter lacks": (lambda: nn.Sequential(Ppg(), Odd()), PPG),
}


NOT_EXPORTED_HERE = {"more weights than a file holds"}  # gigabytes: tests/export/test_refusals.py makes the limit small


class Lone(nn.Module):
    """Logits alone."""

    def forward(self, tokens: Tensor, modality: Tensor, age: Tensor) -> Tensor:
        return tokens.mean(1)[:, :3] + (modality + age).float().mean(1, keepdim=True)


class Branching(nn.Module):
    """Another result for more than four tokens."""

    def forward(self, tokens: Tensor, modality: Tensor, age: Tensor) -> tuple[Tensor, Tensor]:
        mean = tokens.mean(1) if tokens.shape[1] > 4 else tokens.sum(1)
        return mean[:, :3] + (modality + age).float().mean(1, keepdim=True), mean[:, :4]


REFUSED_FUSIONS: dict[str, type[nn.Module]] = {
    "a fusion with other outputs": Lone,
    "a fusion for some `N` only": Branching,
}


def rows() -> dict[str, str]:
    """The table of refusals on the page: what, and the line."""
    lines = re.findall(r"^\| (.+?) \| (`+)((?:ppg|fusion|Sensor)\b.+?)\2 \|", PAGE.read_text("utf-8"), re.MULTILINE)
    return {what: line for what, _, line in lines}


def masked(line: str) -> str:
    """Without numbers and folders, which the page makes up."""
    return without_numbers(re.sub(r"at \S+\.py:", "at mine.py:", line))


def test_the_table_is_complete() -> None:
    alone = ("a value of the wrong type", "`present` ignored, for LiteRT", "parity")
    assert rows().keys() == {*REFUSED, *REFUSED_FUSIONS, *alone, *NOT_EXPORTED_HERE}


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
@pytest.mark.parametrize("what", REFUSED)
def test_a_refusal_is_the_line_of_the_table(what: str, tmp_path: Path) -> None:
    make, sensor = REFUSED[what]
    module = make().train(what == "training mode")
    with pytest.raises(ModelError) as caught:
        export_bundle(
            tmp_path / "out",
            encoders={"ppg": module},
            fusion=seeded(MeanFusion),
            spec=spec(sensor),
            hops=5,
        )
    assert masked(str(caught.value)) == masked(rows()[what])


@pytest.mark.parametrize("what", REFUSED_FUSIONS)
def test_a_refusal_of_a_fusion_is_the_line_of_the_table(what: str, tmp_path: Path) -> None:
    fusion = REFUSED_FUSIONS[what]().eval()
    with pytest.raises(ModelError) as caught:
        export_bundle(tmp_path / "out", encoders={"ppg": seeded(Ppg)}, fusion=fusion, spec=spec(), hops=5)
    assert masked(str(caught.value)) == masked(rows()[what])


def test_a_value_of_the_wrong_type_is_refused_with_the_line_of_the_table() -> None:
    with pytest.raises(ConfigError) as caught:
        replace(PPG, states=(1, 1, 8))  # type: ignore[arg-type]
    assert masked(str(caught.value)) == masked(rows()["a value of the wrong type"])


class Heedless(MeanFusion):
    """Takes ``present`` and gives it no thought."""

    def forward(
        self, tokens: Tensor, modality: Tensor, age: Tensor, present: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return super().forward(tokens, modality, age, None if present is None else torch.ones_like(present))


def test_a_fusion_that_ignores_present_is_refused_with_the_line_of_the_table(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        export_bundle(
            tmp_path / "out",
            encoders={"ppg": seeded(Ppg)},
            fusion=seeded(Heedless),
            spec=spec(),
            backends=("litert",),
            hops=5,
        )
    assert masked(str(caught.value)) == masked(rows()["`present` ignored, for LiteRT"])


def test_parity_is_refused_with_the_line_of_the_table() -> None:
    with pytest.raises(ModelError) as caught:
        parity.require("ppg, onnx", 0.0213, parity.TOLERANCES["onnx"])
    assert masked(str(caught.value)) == masked(rows()["parity"])
