"""``mmg-train``: from settings to metrics, and every way to end."""

from __future__ import annotations

import errno
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mmg.errors import NO_MEMORY, ConfigError
from mmg.folder_lock import folder_lock
from mmg_training import checkpoint
from mmg_training import metrics as metrics_file
from mmg_training.cli import entry
from mmg_training.cli.train import main, run
from mmg_training.config import DataConfig
from mmg_training.config import load as load_config
from mmg_training.data import load as load_data
from mmg_training.data.sounds import read_sound
from mmg_training.own import STARTER_RUN


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


def test_two_trainings_into_one_folder_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MMG_DATA", str(tmp_path / "none"))
    settings = tmp_path / "tiny.toml"
    settings.write_text("[data]\nsubjects = 1\nheld_out = 2\nsessions = 1\nsession_s = 6.0\nmodalities = ['imu']\n")
    with folder_lock(tmp_path / "run", "mmg-train"):
        assert main([str(settings), "--out", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.endswith(f"mmg-train: {tmp_path / 'run'}: another mmg-train is at work in it\n")
    assert not (tmp_path / "run" / checkpoint.LOGS).exists()
    # A second process, of two on one machine, learns it from the first.
    second: Any = SimpleNamespace(is_global_zero=False, broadcast=lambda _: "another mmg-train is at work in it")
    with pytest.raises(ConfigError, match="another mmg-train is at work in it"):
        run(load_config(settings), tmp_path / "run", second)


def test_a_disk_without_locks_is_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    monkeypatch.setenv("MMG_DATA", str(tmp_path / "none"))
    settings = tmp_path / "tiny.toml"
    settings.write_text(
        "steps = 1\nbatch = 2\nsequence_hops = 4\n[data]\nsubjects = 1\nheld_out = 2\nsessions = 1\nsession_s = 6.0\n"
        "modalities = ['imu']\n"
    )
    assert main([str(settings), "--out", str(tmp_path / "run")]) == 0


def test_a_folder_whose_name_is_no_utf_8_is_told_before_it_trains_and_is_read_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / os.fsdecode(b"\xff")
    assert main(["--data", str(tmp_path), "--out", str(out)]) == 2
    assert "is no UTF-8, as a run's folder must be: choose another --out" in capsys.readouterr().err
    shutil.copytree(STARTER_RUN, out)
    assert checkpoint.load(out)[1] == checkpoint.load(STARTER_RUN)[1]


def arrays(kind: str) -> bytes:
    """A file of numbers: one array, or named ones that lost some bytes of what they hold."""
    file = io.BytesIO()
    if kind == "one":
        np.save(file, np.zeros(3))
        return file.getvalue()
    numbers = np.random.default_rng(0).integers(0, 9, 4000)
    named: dict[str, Any] = dict.fromkeys(("a1_s1_t1", "s01_sw/time_ms", "s01_sw/imu", "s01_sw/label"), numbers)
    np.savez_compressed(file, **named)
    made = bytearray(file.getvalue())
    for begin in range(200, len(made) - 1000, 1000):
        made[begin : begin + 60] = bytes(60)
    return bytes(made)


@pytest.mark.parametrize("content", [None, b"", b"PK damaged", b"text", arrays("one"), arrays("flipped")])
@pytest.mark.parametrize(
    ("name", "place"),
    [("utd-mhad", "utd-mhad/inertial_odd_subjects.npz"), ("paired", "sp-sw-har/recordings.npz")],
)
def test_damaged_recordings_end_in_one_line(tmp_path: Path, content: bytes | None, name: str, place: str) -> None:
    (tmp_path / place).parent.mkdir()
    for beside in ("footsteps", "esc10"):
        (tmp_path / beside).mkdir()
    if content is not None:
        (tmp_path / place).write_bytes(content)
        (tmp_path / "utd-mhad").mkdir(exist_ok=True)
        (tmp_path / "utd-mhad" / "depth_odd_subjects.npz").write_bytes((tmp_path / place).read_bytes())
    with pytest.raises(ConfigError, match=r"cannot be read|damaged|one array"):
        load_data(DataConfig(set=name, root=str(tmp_path)), print)


def test_damaged_sound_ends_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "key.flac").write_bytes(b"fLaC" + bytes(400))
    with pytest.raises(ConfigError, match=r"key.flac is damaged or not a sound file"):
        read_sound(tmp_path / "key.flac")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"set": "starter", "split": 0}, "data.split: is for utd-mhad and benchmark and ego4d"),
        ({"set": "starter", "reverse": True}, "data.reverse: is for utd-mhad"),
        ({"set": "paired", "leave_out": 3}, "data.leave_out: is for utd-mhad"),
        ({"set": "benchmark", "split": 1}, "data.split: 1 is neither 0"),
    ],
)
def test_a_setting_that_a_set_has_no_use_for_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_data(DataConfig(**settings), print)


@pytest.mark.parametrize(
    ("raised", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "stopped"),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), 4, NO_MEMORY),
    ],
)
def test_what_ends_the_loading_of_torch_is_one_line(
    raised: BaseException, code: int, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(_module: str) -> None:
        raise raised

    monkeypatch.setattr(entry, "import_module", load)
    assert entry.train() == code
    assert capsys.readouterr().err == f"mmg-train: {line}\n"


@pytest.mark.parametrize("module", ["train", "evaluate", "study"])
def test_without_torch_a_command_says_what_to_install(module: str) -> None:
    code = f"import sys; sys.modules['torch'] = None\nfrom mmg_training.cli import entry; sys.exit(entry.{module}())"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert ended.stderr.endswith("torch is not installed; in the project's folder: pip install -e '.[train,export]'\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "data.set=nothing"], "'nothing' is not one of"),
        (["--set", "steps"], "is not KEY=VALUE"),
        (["--set", "data.set=utd-mhad"], "no utd-mhad in"),
        (["--devices", "many"], "--devices many"),
        (["--accelerator", "tpu"], "--accelerator tpu --devices 1: "),
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
