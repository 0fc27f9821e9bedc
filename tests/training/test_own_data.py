"""From one's own recordings to a model that decides: labelled, looked at, trained, exported and run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from forked import mmg_run
from mmg.cli.label import main as mmg_label
from mmg_export.cli import main as mmg_export
from mmg_training import checkpoint
from mmg_training import metrics as metrics_file
from mmg_training.cli.data import main as mmg_data
from mmg_training.cli.evaluate import main as mmg_eval
from mmg_training.cli.train import main as mmg_train
from mmg_training.metrics import NOTHING_HELD_OUT
from mmg_training.wearer import EVERYDAY
from training.own_activities import ACTIVITIES, record, record_live

PEOPLE = ("ann", "bob", "cat")
EACH_S = 20.0
LEAST_RIGHT = 0.9


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three people who recorded and marked a session each; bob's microphone was off in a second one, ann's has two
    files."""
    folder = tmp_path_factory.mktemp("own") / "workshop"
    folder.mkdir()
    record_live(folder / "ann.mcap", 0, EACH_S, split_s=EACH_S)
    record_live(folder / "bob.mcap", 1, EACH_S)
    record_live(folder / "bob2.mcap", 1, EACH_S, seed=1, sound=False)
    record_live(folder / "cat.mcap", 2, EACH_S)
    (folder / "sessions.csv").write_text("session,person\nann-0000,ann\nbob,bob\nbob2,bob\ncat,cat\n")
    return folder


@pytest.mark.usefixtures("shared_conversions")
def test_three_people_do_what_the_starter_does_not_know_and_the_third_is_decided_right(
    sessions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mmg_data([str(sessions), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in told["sessions"]] == ["ann-0000", "bob", "bob2", "cat"]
    assert told["split_by"] == "people"
    assert set(told["seconds"]["labels"]) == set(ACTIVITIES)
    assert set(told["seconds"]["people"]) == set(PEOPLE)
    assert [line for row in told["sessions"] for line in row["problems"]] == []

    run, bundle = tmp_path / "run", tmp_path / "workshop.mmg"
    assert mmg_train(["--data", str(sessions), "--out", str(run), "--set", "steps=40", "--set", "batch=16"]) == 0
    said = capsys.readouterr().err.strip().splitlines()
    assert {"mmg-train: Trained on: ann and bob.", "mmg-train: Test: people: cat."} <= set(said)
    assert said[-1].endswith(f"next: mmg-export {run} -o workshop.mmg")
    model, config = checkpoint.load(run)
    assert (model.task.labels, model.task.modalities) == (ACTIVITIES, ("imu", "audio"))
    assert config.start == "starter"
    metrics = metrics_file.load(run / checkpoint.METRICS)
    assert {one.modalities for one in metrics.subsets} == {("imu",), ("audio",), ("imu", "audio")}

    assert mmg_export([str(run), "-o", str(bundle), "--backends", "onnx", "--hops", "16"]) == 0
    truth = tmp_path / "cat.csv"
    assert mmg_label([str(sessions / "cat.mcap"), "-o", str(truth)]) == 0
    ran = mmg_run(sessions / "cat.mcap", "--bundle", bundle, "--truth", truth)
    assert ran.returncode == 0, ran.stderr
    share = float(ran.stderr.rsplit("(", 1)[1].rstrip("%)\n")) / 100
    assert share >= LEAST_RIGHT, ran.stderr


QUICK = ("--set", "steps=2", "--set", "batch=4", "--set", "warmup_steps=1")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One session of one person."""
    folder = tmp_path_factory.mktemp("alone") / "alone"
    track = record(folder / "day1", 3, 8.0)
    assert mmg_label([str(folder / "day1"), str(track)]) == 0
    return folder


def test_a_run_that_holds_nobody_out_says_so_and_can_be_measured_on_another_folder(
    alone: Path, sessions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert mmg_train(["--data", str(alone), "--out", str(run), *QUICK]) == 0
    said = capsys.readouterr().err
    assert said.count(NOTHING_HELD_OUT) == 1
    assert "nothing was measured: record another session (mmg-data says which), or measure it on another" in said
    metrics = metrics_file.load(run / checkpoint.METRICS)
    assert metrics.subsets == ()
    assert metrics.limits == ()
    assert metrics.split is not None
    assert metrics.split.measured == NOTHING_HELD_OUT
    other = ["--data", f"root={sessions}", "--data", 'hold_out=["all"]', "--tables", "subsets"]
    assert mmg_eval([str(run), *other]) == 0
    assert "all 4 sessions of this folder" in capsys.readouterr().out
    shutil.copytree(alone / "day1", tmp_path / "others" / "day1")
    (tmp_path / "others" / "day1" / "labels.csv").write_text("start_s,end_s,label\n0,8,sawing\n8,16,dozing\n")
    other[1] = f"root={tmp_path / 'others'}"
    assert mmg_eval([str(run), *other]) == 0
    assert "Shared labels: sawing; 1 of the model's 3, of the set's 2." in capsys.readouterr().out
    silent = tmp_path / "silent"
    shutil.copytree(alone / "day1", silent / "day1")
    (silent / "day1" / "sound.wav").unlink()
    other[1] = f"root={silent}"
    assert mmg_eval([str(run), *other]) == 0
    assert "Shared sensors: imu.\n" in capsys.readouterr().out


def test_a_subset_whose_confidence_nobody_could_fit_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, run = tmp_path / "people", tmp_path / "run"
    for number in range(6):
        track = record(folder / f"p{number}" / "day", number, 6.0)
        assert mmg_label([str(track.with_suffix("")), str(track)]) == 0
        track.unlink()
        (track.with_suffix("") / ("imu.csv" if number == 3 else "nothing.csv")).unlink(missing_ok=True)
    assert mmg_train(["--data", str(folder), "--out", str(run), *QUICK]) == 0
    told = "The confidence of imu, imu + audio was fitted on nobody apart: it is as training left it."
    metrics = metrics_file.load(run / checkpoint.METRICS)
    assert metrics.split is not None
    assert metrics.split.validation == "p3"
    assert told in metrics.limits
    assert mmg_eval([str(run), "--tables", "subsets"]) == 0
    assert "ECE of imu, imu + audio: of the scores as they come" in capsys.readouterr().out


def test_a_run_whose_recordings_have_changed_since_does_not_call_them_held_out(
    sessions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, run = tmp_path / "workshop", tmp_path / "run"
    shutil.copytree(sessions, folder)
    train = ["--data", str(folder), "--sensors", "imu", "--out", str(run), *QUICK]
    assert mmg_train(train) == mmg_train([*train, "--resume"]) == 0
    assert mmg_eval([str(run), "--tables", "subsets"]) == 0
    assert "Trained on: ann and bob.\n" in capsys.readouterr().out
    (folder / "cat.mcap").unlink()
    (folder / "sessions.csv").write_text("session,person\nann-0000,ann\nbob,bob\nbob2,bob\n")
    assert mmg_eval([str(run), "--tables", "subsets"]) == 0
    told = capsys.readouterr().out
    assert "The recordings that it was trained on have changed since: it may have seen these sessions.\n" in told
    assert "Trained on" not in told
    assert mmg_train([*train, "--resume"]) == 2
    assert "was trained on other recordings than there are now; choose another --out" in capsys.readouterr().err
    assert mmg_export([str(run), "-o", str(tmp_path / "x.mmg"), "--evaluate"]) == 2
    assert "and may have seen who is held out now; leave it out, or train again" in capsys.readouterr().err


def test_the_starters_labels_are_kept_where_that_is_asked(
    alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMG_CACHE", str(tmp_path / "cache"))
    few = [word for key in ("subjects=3", "held_out=2", "session_s=6.0") for word in ("--set", f"data.{key}")]
    run = tmp_path / "run"
    command = ["--data", str(alone), "--labels", "keep", "--sensors", "imu", "--out", str(run)]
    assert mmg_train([*command, *QUICK, *few]) == 0
    model, config = checkpoint.load(run)
    assert model.task.labels == (*EVERYDAY, *ACTIVITIES)
    assert model.task.modalities == ("imu",)
    assert config.data.keep
    [extra] = metrics_file.load(run / checkpoint.METRICS).extra
    assert extra.kind == "simulated"
    assert extra.name == "the starter's labels, virtual wearers 1001 to 1001"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name --data FOLDER with your own sessions, or settings"),
        (["--labels", "keep"], "--labels, --sensors, --hold-out and --allow-video: go with --data FOLDER"),
        (["--data", "nowhere"], "--data nowhere: is no folder"),
        (["--data", "ALONE", "--sensors", "video"], "video stays closed"),
        (["--data", "ALONE", "--hold-out", "dan"], "dan: are not among day1"),
        (["--data", "ALONE", "--set", "start=nowhere"], "run nowhere"),
    ],
)
def test_wrong_use_ends_in_one_line(
    alone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    given = [word.replace("ALONE", str(alone)) for word in words]
    assert mmg_train([*given, "--out", str(tmp_path / "run"), *QUICK]) == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (tmp_path / "run" / checkpoint.WEIGHTS).exists()
