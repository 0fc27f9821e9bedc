"""``--gate``: decisions that tell who was asked, and one line where a policy cannot be."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from fakes import audio_modality, imu_chunk, signal_modality, tiny_files, tiny_manifest
from forked import mmg_run
from mmg.bundle import Bundle, write_bundle
from mmg.bundle.gate import Gate, GatePoint
from mmg.cli.run import build_parser
from mmg_device_profiles.gate import GatePolicy, Wake

DEMO = ("--demo", "--sensors", "imu,audio")


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "own.toml"
    lines = ['name = "own"', 'description = "own"', "[gate]", 'watch = ["imu"]', "[gate.wake.audio]", "look_s = 5"]
    path.write_text("\n".join([*lines, "[gate.wake.video]", "confidence = 0.4"]))
    return path


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return mmg_run("--format", "jsonl", *arguments)


def lines_of(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_each_decision_says_who_was_asked_and_who_slept(policy: Path) -> None:
    done = run(*DEMO, "--gate", "--profile", policy)
    lines = lines_of(done)
    for line in lines:
        gate = line["gate"]
        assert sorted(gate["awake"] + gate["asleep"]) == ["audio", "imu"]
        assert list(gate["why"]) == (["audio"] if "audio" in gate["awake"] else [])
    assert {tuple(line["gate"]["asleep"]) for line in lines} == {(), ("audio",)}
    assert "gate: video is never woken: a camera must be named, and allowed with --allow-video" in done.stderr
    assert "gate: audio was awake 1" in done.stderr


def test_without_the_flag_a_policy_changes_nothing(policy: Path) -> None:
    with_it, without = (lines_of(run(*DEMO, "--duration", "10", *more)) for more in (["--profile", policy], []))
    for one, other in zip(with_it, without, strict=True):
        assert one | {"latency_ms": {}} == other | {"latency_ms": {}}
        assert "gate" not in one


def test_a_person_sees_who_sleeps(policy: Path) -> None:
    done = mmg_run(*DEMO, "--gate", "--profile", policy)
    assert "audio z asleep" in done.stdout


def test_the_bundle_has_a_policy_of_its_own_and_the_profile_s_goes_before(tmp_path: Path) -> None:
    manifest = tiny_manifest(signal_modality(), audio_modality())
    gate = Gate(
        policy=GatePolicy(watch=("imu",), wake={"audio": Wake(confidence=0.5)}),
        chosen=GatePoint(policy="as learnt", awake={"audio": 0.2}, accuracy=0.8),
    )
    write_bundle(tmp_path / "tiny", msgspec.structs.replace(manifest, gate=gate), tiny_files(manifest))
    with Bundle.open(tmp_path / "tiny") as bundle:
        assert bundle.manifest.gate == gate
    chunk = imu_chunk(0.0, 10.0)
    rows = np.column_stack([chunk.times_ns / 1e6, chunk.samples])
    path = tmp_path / "walk.csv"
    np.savetxt(path, rows, delimiter=",", header="t_ms,ax,ay,az,gx,gy,gz", comments="", fmt="%.6f")
    done = run("--bundle", tmp_path / "tiny", "--imu", path, "--gate")
    assert "gate: nothing sleeps: this run has no sensor that its policy wakes" in done.stderr
    assert lines_of(done)
    other = run("--bundle", tmp_path / "tiny", "--imu", path, "--gate", "--set", 'gate.watch=["audio"]')
    assert "gate: nothing sleeps: this run does not have audio to watch" in other.stderr


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (['gate.watch=["nose"]'], "mmg-run: gate.watch: names no sensor of the bundle, which has imu, audio, video\n"),
        (
            ['gate.watch=["imu"]', "gate.wake.audio.look_s=0"],
            "mmg-run: gate.wake.audio: can never wake: give it confidence, unknown, motion or look_s\n",
        ),
        (
            ['gate.watch=["imu"]', "gate.wake.audio.confidence=2"],
            "mmg-run: --set: gate.wake.audio.confidence: must be a number above 0, at most 1, not 2\n",
        ),
    ],
)
def test_a_policy_that_cannot_be_is_one_line_and_exit_code_2(more: list[str], line: str) -> None:
    done = run(*DEMO, "--gate", *(word for text in more for word in ("--set", text)))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == line


def test_no_policy_anywhere_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    manifest = tiny_manifest(signal_modality())
    write_bundle(tmp_path / "tiny", manifest, tiny_files(manifest))
    done = run("--bundle", tmp_path / "tiny", "--imu", tmp_path / "walk.csv", "--gate", "--profile", "generic-x86-64")
    assert done.returncode == 2
    lacks = "neither bundle tiny nor profile generic-x86-64 says which sensors may sleep: docs/gate.md shows how to"
    assert done.stderr == f"mmg-run: --gate: {lacks}\n"


@pytest.mark.parametrize("text", ["0", "-5", "soon", "nan", "600001"])
def test_a_deadline_that_cannot_be_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        build_parser().parse_args([f"--deadline={text}"])
    assert caught.value.code == 2
    assert f"{text!r} is not a number of milliseconds" in capsys.readouterr().err
