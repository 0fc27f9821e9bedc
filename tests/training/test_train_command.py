"""``mmg-train``: from settings to metrics, and every way to end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from mmg.errors import ConfigError
from mmg_training import checkpoint
from mmg_training import metrics as metrics_file
from mmg_training.cli.train import main
from mmg_training.config import (
    DataConfig,
)
from mmg_training.data import load as load_data


def test_the_command_trains_measures_and_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMG_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    settings = tmp_path / "tiny.toml"
    settings.write_text(
        "steps = 4\nbatch = 2\nsequence_hops = 4\ncontexts = 2\nwarmup_steps = 1\n"
        "[model]\nvideo_widths = [4, 4, 4]\n"
        "[data]\nsubjects = 2\nheld_out = 2\nsessions = 1\nsession_s = 6.0\n"
    )
    assert main([str(settings), "--out", str(tmp_path / "run"), "--set", "steps=2"]) == 0
    model, config = checkpoint.load(tmp_path / "run")
    assert config.steps == 2
    assert not model.training
    metrics = metrics_file.load(tmp_path / "run" / checkpoint.METRICS)
    assert metrics.created == "1970-01-01T00:00:00Z"
    assert [score.samples for score in metrics.subsets] == [12] * 7
    assert metrics.extra == ()
    assert metrics.weights_sha256 == checkpoint.sha256(tmp_path / "run")
    assert metrics.device == "1 x cpu, 1 thread each"
    assert any("simulation" in one for one in metrics.limits)
    assert any((tmp_path / "run" / checkpoint.LOGS).iterdir())


def test_a_finished_run_has_nothing_to_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MMG_DATA", str(tmp_path / "none"))
    settings = tmp_path / "tiny.toml"
    settings.write_text(
        "steps = 2\nbatch = 2\nsequence_hops = 4\nsave_every = 1\n[data]\nsubjects = 1\nheld_out = 2\n"
        "sessions = 1\nsession_s = 6.0\nmodalities = ['imu']\n"
    )
    command = [str(settings), "--out", str(tmp_path / "run")]
    assert main(command) == 0
    assert not (tmp_path / "run" / checkpoint.RESUME).exists()
    written = (tmp_path / "run" / checkpoint.WEIGHTS).stat().st_mtime_ns
    assert checkpoint.load(tmp_path / "run")[0].task.modalities == ("imu",)
    assert main([*command, "--resume"]) == 0
    assert "is done already" in capsys.readouterr().err
    assert main([*command, "--set", "steps=3"]) == 2
    assert "has a finished run; choose another --out, or give --overwrite" in capsys.readouterr().err
    assert main([*command, "--resume", "--set", "steps=3"]) == 2
    assert "has a run with other settings; choose another --out" in capsys.readouterr().err
    assert (tmp_path / "run" / checkpoint.WEIGHTS).stat().st_mtime_ns == written
    # Metrics of other weights are none: it is trained and measured once more.
    metrics = (tmp_path / "run" / checkpoint.METRICS).read_text()
    (tmp_path / "run" / checkpoint.METRICS).write_text(metrics.replace('"weights_sha256": "', '"weights_sha256": "0'))
    assert main([*command, "--resume"]) == 0
    assert metrics_file.load(tmp_path / "run" / checkpoint.METRICS).weights_sha256 == checkpoint.sha256(
        tmp_path / "run"
    )
    assert main([*command, "--overwrite", "--set", "steps=3"]) == 0
    assert checkpoint.load(tmp_path / "run")[1].steps == 3


@pytest.mark.parametrize("content", [None, b"PK damaged", b"text"])
def test_damaged_recordings_end_in_one_line(tmp_path: Path, content: bytes | None) -> None:
    (tmp_path / "utd-mhad").mkdir()
    if content is not None:
        (tmp_path / "utd-mhad" / "inertial_odd_subjects.npz").write_bytes(content)
    with pytest.raises(ConfigError, match=r"cannot be read|damaged"):
        load_data(DataConfig(set="utd-mhad", root=str(tmp_path)), print)


@pytest.mark.parametrize("module", ["train", "evaluate", "study"])
def test_without_torch_a_command_says_what_to_install(module: str) -> None:
    code = f"import sys; sys.modules['torch'] = None\nfrom mmg_training.cli import entry; sys.exit(entry.{module}())"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert ended.stderr.endswith("torch is not installed; in the project's folder: pip install -e '.[train,export]'\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "data.set=nothing"], "'nothing' is none of"),
        (["--set", "steps"], "is not KEY=VALUE"),
        (["--set", "data.set=utd-mhad"], "no utd-mhad in"),
        (["--devices", "many"], "--devices many"),
    ],
)
def test_wrong_use_ends_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.setenv("MMG_DATA", str(tmp_path / "none"))
    settings = tmp_path / "tiny.toml"
    settings.write_text("steps = 2\n")
    assert main([str(settings), "--out", str(tmp_path / "run"), *arguments]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert message in said[-1]
    assert not (tmp_path / "run").exists()
