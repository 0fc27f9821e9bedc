"""What a bundle's gate saves, as mmg-profile shows it."""

from __future__ import annotations

import msgspec
from fakes import audio_modality, signal_modality, tiny_manifest
from mmg.board.profiling.gate import gate_costs
from mmg.board.profiling.markdown import format_markdown
from mmg.board.profiling.page import format_page
from mmg.board.profiling.result import encode
from mmg.board.profiling.table import format_table
from mmg.bundle import Bundle, Manifest
from mmg.bundle.gate import Gate, GatePoint
from mmg_device_profiles.gate import GatePolicy, Wake
from profile_reports import made_report


def gated() -> Manifest:
    """A bundle in which half of the microphone's time is worth nine points."""
    points = [
        GatePoint(policy=f"audio <{part}>", awake={"audio": part}, accuracy=0.8 + part / 10) for part in (0.5, 1.0)
    ]
    gate = Gate(policy=GatePolicy(watch=("imu",), wake={"audio": Wake()}), chosen=points[0], curve=tuple(points))
    return msgspec.structs.replace(tiny_manifest(signal_modality(), audio_modality()), gate=gate)


def test_the_leanest_comes_first_and_the_power_is_called_an_estimate() -> None:
    costs = gate_costs(gated())
    assert [one.awake["audio"] for one in costs] == [0.5, 0.5, 1.0]
    assert costs[0].estimated_mw < costs[-1].estimated_mw
    report = msgspec.structs.replace(made_report(), gate=costs)
    table, page, markdown = format_table(report, width=200), format_page(report), format_markdown(report)
    assert "audio <0.5>: 85.0 % right, audio awake 50.0%" in table
    for text in (table, page, markdown):
        assert "estimate" in text.lower()
    assert "audio &lt;0.5&gt;" in page, "what a bundle says is text"
    assert "Accuracy against estimated power" in page
    assert msgspec.json.decode(encode(report), type=type(report)) == report


def test_without_a_gate_nothing_is_said() -> None:
    assert gate_costs(tiny_manifest(signal_modality())) == ()
    report = made_report()
    assert "gate" not in format_table(report)
    assert "What a gate saves" not in format_page(report)


def test_the_starter_saves_what_its_page_says() -> None:
    with Bundle.open("starter") as starter:
        gate = starter.manifest.gate
    assert gate is not None
    assert gate.chosen is not None
    full = gate.curve[-1]
    assert full.policy == "all awake"
    assert gate.chosen.accuracy >= full.accuracy - 0.01
    assert gate.chosen.awake["audio"] <= 0.4
    assert gate.chosen.awake["video"] <= 0.2
