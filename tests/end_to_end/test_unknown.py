"""``--unknown``: decisions that say "none of these", and one line where that cannot be."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import audio_modality, imu_chunk, signal_modality, write_tiny_bundle
from forked import mmg, mmg_run
from mmg.bundle import Bundle
from mmg.bundle.unknown_fit import REFUSED
from mmg.cli.run import build_parser
from mmg.look.decided import collect
from unknowns import write_telling_bundle

MODALITIES = (signal_modality(), audio_modality())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A walk, a bundle that tells the unknown from the IMU, and one that does not."""
    path = tmp_path_factory.mktemp("unknown")
    chunk = imu_chunk(0.0, 10.0)
    rows = np.column_stack([chunk.times_ns / 1e6, chunk.samples])
    np.savetxt(path / "walk.csv", rows, delimiter=",", header="t_ms,ax,ay,az,gx,gy,gz", comments="", fmt="%.6f")
    write_telling_bundle(path / "telling", *MODALITIES, fitted=[("imu",)])
    write_tiny_bundle(path / "plain", *MODALITIES)
    return path


def run(folder: Path, bundle: str, *more: str, form: str = "jsonl") -> subprocess.CompletedProcess[str]:
    words = ("--bundle", folder / bundle, "--imu", folder / "walk.csv", "--format", form)
    return mmg_run("--profile", "generic-x86-64", *words, *more)


def lines_of(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    lines: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) > 15
    return [{key: value for key, value in line.items() if key != "latency_ms"} for line in lines]


def test_unknown_is_one_of_the_scores_and_the_more_may_be_refused_the_more_it_is(folder: Path) -> None:
    usual, often = (lines_of(run(folder, "telling", *more)) for more in ([], ["--unknown", "0.4"]))
    for line, other in zip(usual, often, strict=True):
        assert list(line["scores"]) == ["still", "walking", "running", "unknown"]
        assert sum(line["scores"].values()) == pytest.approx(1, abs=1e-5)
        assert line["scores"]["unknown"] < other["scores"]["unknown"]
    assert "unknown" in {line["label"] for line in often}


def test_the_usual_share_is_the_profile_s_which_the_flag_replaces(folder: Path) -> None:
    usual = lines_of(run(folder, "telling"))
    assert lines_of(run(folder, "telling", "--unknown", "0.05")) == usual
    changed = lines_of(run(folder, "telling", "--set", "unknown=0.4"))
    assert changed == lines_of(run(folder, "telling", "--unknown", "0.4")) != usual
    assert lines_of(run(folder, "telling", "--set", "unknown=0.4", "--unknown", "0.05")) == usual


def test_off_decides_as_a_bundle_that_does_not_tell_it(folder: Path) -> None:
    plain = lines_of(run(folder, "plain"))
    assert lines_of(run(folder, "telling", "--unknown", "0")) == plain
    assert lines_of(run(folder, "plain", "--unknown", "0")) == plain
    assert all("unknown" not in line["scores"] for line in plain)


def test_a_bundle_that_cannot_tell_it_is_named_in_one_line(folder: Path) -> None:
    done = run(folder, "plain", "--unknown", "0.1")
    assert (done.returncode, done.stdout) == (2, "")
    lacks = "bundle tiny has no statistics that tell the unknown from imu: leave the flag out"
    assert done.stderr == f"mmg-run: --unknown 0.1: {lacks}\n"
    assert run(folder, "plain", "--set", "unknown=0.1").returncode == 0, "a profile is for any bundle"


def test_sensors_that_cannot_tell_it_are_named_in_one_line(folder: Path) -> None:
    more = ("--bundle", folder / "telling", "--audio", folder / "walk.csv", "--unknown", "0.1")
    done = mmg_run("--profile", "generic-x86-64", *more)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "tell the unknown from audio: leave the flag out" in done.stderr


@pytest.mark.parametrize("share", ["-0.1", "0.41", "5", "nan", "inf", "some", ""])
def test_a_share_that_cannot_be_is_refused(share: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        build_parser().parse_args([f"--unknown={share}"])
    assert caught.value.code == 2
    assert f"{share!r} is not a share from 0 to 0.4" in capsys.readouterr().err


def test_the_largest_share_is_the_largest_that_fits_have_thresholds_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert build_parser().parse_args([f"--unknown={REFUSED[-1]}"]).unknown == REFUSED[-1]
    assert f"0 to {REFUSED[-1]:g};" in " ".join(build_parser().format_help().split())
    monkeypatch.setattr("mmg.bundle.unknown_fit.REFUSED", (*REFUSED, 0.5))
    assert build_parser().parse_args(["--unknown=0.5"]).unknown == 0.5


def test_a_damaged_file_is_named_in_one_line_and_costs_nothing_where_it_is_off(folder: Path, tmp_path: Path) -> None:
    write_telling_bundle(tmp_path / "telling", *MODALITIES, fitted=[("imu",)], data=b"cut")
    (tmp_path / "walk.csv").write_bytes((folder / "walk.csv").read_bytes())
    done = run(tmp_path, "telling")
    assert (done.returncode, done.stdout) == (4, "")
    assert "unknown.npz: File is not a zip file" in done.stderr.splitlines()[-1], done.stderr
    assert run(tmp_path, "telling", "--unknown", "0").returncode == 0


def test_a_person_and_a_page_are_shown_it_as_any_label(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_text("start_s,end_s,label\n0,10,unknown\n")
    done = run(folder, "telling", "--unknown", "0.4", "--truth", str(tmp_path / "truth.csv"), form="text")
    assert "unknown" in done.stdout
    assert "equal to the truth" in done.stderr
    words = ["--bundle", folder / "telling", "--imu", folder / "walk.csv", "-o", tmp_path / "page.html"]
    shown = mmg("look", *words, "--unknown", "0.4")
    assert shown.returncode == 0, shown.stderr
    assert "unknown" in (tmp_path / "page.html").read_text(encoding="utf-8")
    with Bundle.open(folder / "telling") as bundle:
        decided = collect(lines_of(run(folder, "telling", "--unknown", "0.4")), bundle.manifest.labels)
    assert decided.labels == ["still", "walking", "running", "unknown"]
