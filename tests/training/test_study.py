"""Studies: what a file asks for is run once, and goes on where it stopped; its tables by hand."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmg.cli.reporting import stderr_reporter
from mmg.errors import ConfigError, MmgError
from mmg_training.cli.study import draw, main
from mmg_training.config import TrainConfig
from mmg_training.data.utd_mhad import novel_labels
from mmg_training.evaluation import study
from mmg_training.evaluation.late_fusion import late_fusion, save_predictions
from mmg_training.evaluation.study import FewshotFigures, Results, Run, Study, SubsetFigures
from mmg_training.evaluation.study_pool import run_all, start_process
from mmg_training.evaluation.study_run import prepare, work
from mmg_training.evaluation.study_tables import (
    Outcome,
    ablation_table,
    accuracy_table,
    all_tables,
    fewshot_table,
    train_test_table,
    zeroshot_table,
)
from mmg_training.evaluation.tables import Figure, text
from terminals import Terminal
from training.utd_tree import write_trials

BASE = """
steps = 2
batch = 4
sequence_hops = 8
contexts = 2
[data]
set = "utd-mhad"
root = "{root}"
split = 0
[model]
imu_width = 8
video_widths = [4, 4, 4]
video_width = 8
token_dim = 8
embedding_dim = 8
heads = 2
layers = 1
"""
STUDY = """
base = "base.toml"
seeds = [1, 2]
full = "all"
train_subsets = ["all", "imu", "video"]
late_fusion = ["imu", "video"]
ablations = ["no-dropout"]
[folds]
data.leave_out = [1, 7]
[evaluate.fewshot]
ways = 2
shots = [1]
episodes = 10
[variants.all]
[variants.imu]
data.modalities = ["imu"]
[variants.video]
"data.modalities" = ["video"]
[variants.no-dropout]
dropout.modality = 0.0
[variants.labels-imu]
data.labelled = ["imu"]
"""
IMU, VIDEO, BOTH = ("imu",), ("video",), ("imu", "video")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A study and its base, over a few synthetic recordings."""
    rng = np.random.default_rng(0)
    inertial, depth = dict[str, Any](), dict[str, Any]()
    novel = novel_labels(0)
    for action in (*novel[:2], *[label for label in range(27) if label not in novel][:2]):
        for subject in (1, 3, 5, 7):
            for trial in (1, 2):
                key = f"a{action + 1}_s{subject}_t{trial}"
                inertial[key] = rng.standard_normal((40, 6)).astype(np.float32)
                depth[key] = rng.integers(0, 256, (10, 60, 80), dtype=np.uint8)
    (tmp_path / "utd-mhad").mkdir()
    np.savez(tmp_path / "utd-mhad" / "inertial_odd_subjects.npz", **inertial)
    np.savez(tmp_path / "utd-mhad" / "depth_odd_subjects.npz", **depth)
    (tmp_path / "base.toml").write_text(BASE.format(root=tmp_path))
    (tmp_path / "study.toml").write_text(STUDY)
    return tmp_path / "study.toml"


@dataclass(eq=False)
class Ended:
    """A process that has done its work by the time it is asked."""

    code: int

    def poll(self) -> int | None:
        return self.code

    def terminate(self) -> None:
        raise AssertionError("it has ended")

    def wait(self) -> int:
        return self.code


class Here:
    """Starts runs in this very process, and remembers which."""

    def __init__(self, do: Callable[[Path], None] = work) -> None:
        self.do, self.started = do, list[str]()

    def __call__(self, run: Run) -> Ended:
        self.started.append(run.name)
        try:
            self.do(run.folder)
        except MmgError as error:
            (run.folder / study.LOG).write_text(f"mmg-study: {error}\n")
            return Ended(error.exit_code)
        return Ended(0)


# --- files ---------------------------------------------------------------------------------------------------------


def test_a_study_is_every_variant_in_every_fold_with_every_seed(file: Path, tmp_path: Path) -> None:
    read = study.read(file)
    runs = study.plan(read, tmp_path / "out", {"steps": 5})
    assert len(runs) == 5 * 2 * 2
    assert runs[0].name == "all, leave_out-1, seed 1"
    assert runs[0].folder == tmp_path / "out" / "all" / "leave_out-1" / "seed-1"
    last = runs[-1].config
    assert (last.seed, last.steps, last.data.leave_out, last.data.labelled) == (2, 5, 7, IMU)
    assert [run.config.data.modalities for run in runs[4:12:4]] == [IMU, VIDEO]
    assert len({run.folder for run in runs}) == len({run.config.sha256() for run in runs}) == 20


STUDIES = sorted((Path(study.__file__).parents[2] / "configs" / "studies").glob("*.toml"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_studies_that_come_with_mmg_can_be_planned(path: Path) -> None:
    assert len(STUDIES) >= 6
    runs = study.plan(study.read(path), Path("out"), {})
    assert len({run.config.sha256() for run in runs}) == len(runs)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("seeds = [1, 2]", "seeds = 1"), "seeds: 1 is not a list of int"),
        (("seeds = [1, 2]", "seeds = [1, 1]"), "seeds: one appears twice"),
        (("seeds = [1, 2]", "sedes = [1, 2]"), "sedes: is not a setting"),
        (('full = "all"', 'full = "everything"'), "'everything' is not one of its variants"),
        (('full = "all"', ""), "ablations: needs full"),
        (("data.leave_out = [1, 7]", "data.leave_out = 1"), "folds: must be one setting with a list"),
        (("dropout.modality = 0.0", "dropout.modalities = 0.0"), "modalities: is not a setting"),
        (('base = "base.toml"', 'base = "none.toml"'), "No such file"),
        (("[variants.labels-imu]", "[variants.'a/b']"), "letters, digits"),
        (("[folds]", "set.data.people = 3\n[folds]"), "set: data: people: is not a setting"),
        (("[folds]", "set = 3\n[folds]"), "set: must be a table of settings"),
        (("[folds]", "[folds"), "not TOML"),
        (("ways = 2", 'score = "sum"'), "score: is not one of embedding"),
        (("shots = [1]", "shots = [0]"), "at least 2 ways, 1 shot and 1 episode"),
        (("shots = [1]", "shots = []"), "at least 2 ways, 1 shot and 1 episode"),
        (("ways = 2", "seed = -1"), "seed: -1 is less than 0"),
        (("dropout.modality = 0.0", "seed = 9"), "variants.no-dropout: seed: the study's own seeds sets it"),
        (("dropout.modality = 0.0", "data.leave_out = 3"), "data.leave_out: the study's own folds sets it"),
    ],
)
def test_a_wrong_study_is_told_in_one_line(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: tuple[str, str], told: str
) -> None:
    file.write_text(STUDY.replace(*change))
    assert main([str(file), "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mmg-study: ")
    assert told in line


@pytest.mark.parametrize(
    ("key", "place"), [("seed", "seeds"), ("data.leave_out", "folds"), ("dropout.modality", "variants.no-dropout")]
)
def test_what_a_study_varies_is_not_set_beside_it(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str, place: str
) -> None:
    assert main([str(file), "--out", str(tmp_path / "out"), "--set", f"{key}=1"]) == 2
    assert f"--set {key}: the study's own {place} sets it; change it there" in capsys.readouterr().err


# --- runs ----------------------------------------------------------------------------------------------------------


def test_a_study_on_a_terminal_shows_how_many_runs_are_done(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal, seen = Terminal(80), list[str]()

    class Failed:
        """A run that ends at once."""

        def poll(self) -> int:
            seen.append(terminal.screen()[-1])
            return 1

        def terminate(self) -> None:
            """It has ended."""

        def wait(self) -> int:
            return 1

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    monkeypatch.setattr("mmg.cli.progress.AFTER_S", 0.0)
    read = study.read(file)
    runs = study.plan(read, tmp_path / "out", {})[:1]
    with pytest.raises(ConfigError, match="1 of 1 runs failed"):
        run_all(runs, read.config.evaluate, 1, stderr_reporter("mmg-study"), lambda _run: Failed())
    assert re.fullmatch(r"mmg-study: done:   0%\| +\| 0/1 runs \[00:00<\?\]", seen[0])
    assert terminal.screen()[-1] == ""
    terminal.close()


def test_a_study_goes_on_where_it_stopped(file: Path, tmp_path: Path) -> None:
    read, said = study.read(file), list[str]()
    evaluate = read.config.evaluate
    runs = [run for run in study.plan(read, tmp_path / "out", {}) if run.variant == "imu" and run.seed == 1]
    first, again, other = Here(), Here(), Here()
    run_all(runs[:1], evaluate, 1, said.append, first)
    run_all(runs, evaluate, 2, said.append, again)
    assert (first.started, again.started) == (["imu, leave_out-1, seed 1"], ["imu, leave_out-7, seed 1"])
    assert "2 runs, 1 of them done already" in said
    assert said[-1].endswith("1/1 runs, 0 s to go")
    results = study.results_of(runs[0], evaluate)
    assert results is not None
    assert [figures.modalities for figures in results.subsets] == [IMU]
    assert {(score.support, score.query) for score in results.fewshot} == {(IMU, IMU)}
    run_all(runs, evaluate, 2, said.append, other)
    assert other.started == []


def test_measuring_otherwise_does_not_train_again(file: Path, tmp_path: Path) -> None:
    read = study.read(file)
    (run, *_), evaluate = study.plan(read, tmp_path / "out", {}), read.config.evaluate
    run_all([run], evaluate, 1, print, Here())
    weights = (run.folder / "model.safetensors").stat().st_mtime_ns
    run_all([run], replace(evaluate, missing=False), 1, print, Here())
    assert (run.folder / "model.safetensors").stat().st_mtime_ns == weights
    results = study.results_of(run, replace(evaluate, missing=False))
    assert results is not None
    assert results.missing == {}


def test_a_run_that_fails_does_not_stop_the_others_and_is_told_in_one_line(file: Path, tmp_path: Path) -> None:
    def fail_first(folder: Path) -> None:
        if "leave_out-1" in str(folder):
            raise ConfigError("no such person")
        work(folder)

    read = study.read(file)
    runs = [run for run in study.plan(read, tmp_path / "out", {}) if run.variant == "imu" and run.seed == 1]
    with pytest.raises(ConfigError, match=r"1 of 2 runs failed, the first is imu, leave_out-1, seed 1: no such person"):
        run_all(runs, read.config.evaluate, 1, print, Here(fail_first))
    assert study.results_of(runs[1], read.config.evaluate) is not None


def test_what_another_setting_trained_is_removed_and_a_cut_settings_file_too(file: Path, tmp_path: Path) -> None:
    read = study.read(file)
    (run, *_), evaluate = study.plan(read, tmp_path / "out", {}), read.config.evaluate
    prepare(run.folder, run.config, evaluate)
    for stale in ('{"config": {', '{"config": {"steps": 9}, "evaluate": {}}'):
        (run.folder / "resume.safetensors").write_bytes(b"old")
        prepare(run.folder, run.config, evaluate)
        assert (run.folder / "resume.safetensors").exists()
        (run.folder / study.SETTINGS).write_text(stale)
        prepare(run.folder, run.config, evaluate)
        assert not (run.folder / "resume.safetensors").exists()


def test_runs_with_other_settings_are_not_written_over(file: Path, tmp_path: Path) -> None:
    read = study.read(file)
    (run, *_), evaluate = study.plan(read, tmp_path / "out", {}), read.config.evaluate
    run_all([run], evaluate, 1, print, Here())
    weights = (run.folder / "model.safetensors").read_bytes()
    (other, *_) = study.plan(read, tmp_path / "out", {"steps": 3})
    with pytest.raises(ConfigError, match=f"1 runs were trained with other settings, the first is {run.folder}"):
        run_all([other], evaluate, 1, print, Here())
    assert (run.folder / "model.safetensors").read_bytes() == weights
    assert study.results_of(run, evaluate) is not None


def test_a_cut_checkpoint_says_what_to_delete(file: Path, tmp_path: Path) -> None:
    read = study.read(file)
    (run, *_), evaluate = study.plan(read, tmp_path / "out", {}), read.config.evaluate
    run_all([run], evaluate, 1, print, Here())
    (run.folder / study.RESULTS).unlink()
    weights = run.folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-50])
    with pytest.raises(ConfigError, match=f"delete {run.folder} to train it again"):
        run_all([run], evaluate, 1, print, Here())


def test_stopping_ends_every_run_under_way(file: Path, tmp_path: Path) -> None:
    ended: list[str] = []

    @dataclass(eq=False)
    class Endless:
        name: str

        def poll(self) -> int | None:
            if "leave_out-7" in self.name:
                raise KeyboardInterrupt
            return None

        def terminate(self) -> None:
            ended.append(self.name)

        def wait(self) -> int:
            return -15

    read = study.read(file)
    runs = study.plan(read, tmp_path / "out", {})[:5]
    with pytest.raises(KeyboardInterrupt):
        run_all(runs, read.config.evaluate, 3, print, lambda run: Endless(run.name))
    assert ended == [run.name for run in runs[:3]]


def test_the_command_trains_in_processes_prints_tables_and_does_nothing_the_second_time(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begin = STUDY[: STUDY.index("[variants.imu]")]
    keys = ("seeds", "train_subsets", "late_fusion", "ablations", "data.leave_out")
    kept = [line for line in begin.splitlines() if not line.startswith(keys) and line != "[folds]"]
    file.write_text("\n".join(kept))
    arguments = [str(file), "--out", str(tmp_path / "out"), "--jobs", "1"]
    assert main(arguments) == 0
    told = capsys.readouterr()
    assert told.out.startswith("## Accuracy on each subset\n\n`mmg-study ")
    assert told.out.count("Data: real.") == 3
    assert (tmp_path / "out" / "tables.md").read_text() == told.out
    assert set(json.loads((tmp_path / "out" / "tables.json").read_text())["tables"]) == {
        "accuracy",
        "fewshot",
        "missing",
    }
    assert (tmp_path / "out" / "plots" / "missing.png").is_file()
    assert main([*arguments, "--report"]) == 0
    assert main(arguments) == 0
    assert "1 runs, 1 of them done already" in capsys.readouterr().err


def test_the_published_split_of_both_halves_is_run_and_its_tables_say_who_was_in_which_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_trials(tmp_path)
    (tmp_path / "base.toml").write_text(BASE.format(root=tmp_path))
    (tmp_path / "study.toml").write_text(
        'base = "base.toml"\n[set]\ndata.train_people = "odd"\ndata.test_people = "even"\n[evaluate]\nmissing = false\n'
        "[evaluate.fewshot]\nways = 3\nshots = [1]\nepisodes = 10\n[variants.all]\n"
    )
    assert main([str(tmp_path / "study.toml"), "--out", str(tmp_path / "out"), "--jobs", "1"]) == 0
    accuracy, fewshot = capsys.readouterr().out.split("## Few-shot")
    assert "Trained on: 1, 3, 5 and 7.\nTest: subjects 2, 4, 6 and 8 of UTD-MHAD.\n" in accuracy
    assert "Trained on: 1, 3, 5 and 7.\n10 episodes of 3 ways in each fold, drawn with seed 0;" in fewshot
    assert "A run's 95 % interval over its episodes is at most ±" in fewshot
    assert "Few-shot: 2, 4, 6 and 8, who are in no training" in fewshot
    assert "of different people in at least 100% at 1 shot of the episodes" in fewshot


def test_settings_of_the_whole_study_are_changed_from_the_command_line(file: Path, tmp_path: Path) -> None:
    file.write_text(STUDY.replace("[variants.all]", '[set]\ndata.train_people = "odd"\nsteps = 3\n[variants.all]'))
    read = study.read(file)
    runs = study.plan(read, tmp_path, {})
    assert {(run.config.steps, run.config.data.train_people) for run in runs} == {(3, ("odd",))}
    (run, *_) = study.plan(read, tmp_path, {"data.train_people": [1, 3]})
    assert (run.config.steps, run.config.data.train_people) == (3, ("1", "3"))


# --- tables --------------------------------------------------------------------------------------------------------


def made_outcome(read: Study, out: Path) -> Outcome:
    """Accuracies that a reader can add up: a tenth a seed, a hundredth a fold, less without dropout."""
    runs, results = study.plan(read, out, {}), {}
    for run in runs:
        accuracy = (
            0.1 * run.seed + 0.01 * (run.config.data.leave_out == 7) + (0 if run.variant == "no-dropout" else 0.5)
        )
        known = [names for names in (IMU, VIDEO, BOTH) if set(names) <= set(run.config.data.modalities or BOTH)]
        results[run.name] = Results(
            settings=study.digest(run.config, read.config.evaluate),
            kind="real",
            held_out="someone",
            labels=4,
            modalities=run.config.data.modalities or BOTH,
            wall_s=1.0,
            subsets=tuple(SubsetFigures(modalities=n, accuracy=accuracy, macro_f1=0.0, ece=0.0) for n in known),
            fewshot=tuple(
                FewshotFigures(support=a, query=b, shots=1, accuracy=0.9 if a == b else 0.4 + 0.2 * len(b), apart=1.0)
                for a, b in ((IMU, IMU), (IMU, VIDEO), (VIDEO, IMU), (VIDEO, VIDEO), (BOTH, BOTH))
            ),
            rates=(0.0, 1.0),
            missing={"all": (accuracy, 0.25)},
        )
        run.folder.mkdir(parents=True)
        # Sure and wrong about the first of two clips, or unsure and right.
        logits = np.array([[2.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
        other = np.array([[0.0, 5.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
        save_predictions(run.folder, np.array([1, 1]), {IMU: logits, VIDEO: other})
    return Outcome(read, runs, results)


@pytest.fixture
def outcome(file: Path, tmp_path: Path) -> Outcome:
    return made_outcome(study.read(file), tmp_path / "out")


def is_about(cell: Any, mean: float, spread: float | None) -> bool:
    """Whether a cell is this mean with this spread."""
    if not isinstance(cell, Figure) or abs(cell.mean - mean) > 1e-9 or (cell.spread is None) != (spread is None):
        return False
    return spread is None or cell.spread is None or abs(cell.spread - spread) < 1e-9


def rows_of(table: Any) -> dict[Any, Any]:
    return {row[0]: row[1:] for row in table.rows}


def test_accuracy_is_the_mean_of_folds_with_the_spread_of_seeds(outcome: Outcome) -> None:
    rows = rows_of(accuracy_table(outcome))
    # Seeds 0.605 and 0.705.
    assert len(rows["all"]) == 3
    assert all(is_about(cell, 0.655, 0.005**0.5) for cell in rows["all"])
    assert [text(cell) for cell in rows["imu"]] == ["0.655 ± 0.071", "-", "-"]


def test_a_run_ends_with_a_study_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from mmg_training.config import TrainConfig\n"
        "from mmg_training.evaluation.study import Run\n"
        "from mmg_training.evaluation.study_pool import start_process\n"
        "process = start_process(Run('all', '', 1, TrainConfig(), Path(sys.argv[1])))\n"
        "print(process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, check=False)
    assert killed.returncode == -signal.SIGKILL
    with suppress(ProcessLookupError):  # where it has gone already
        ended = os.pidfd_open(int(killed.stdout))
        assert select.select([ended], [], [], 60)[0]
        os.close(ended)
    assert (tmp_path / study.LOG).read_bytes() == b""  # else it would have told that there are no settings


def test_a_run_imports_nothing_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
    monkeypatch.chdir(tmp_path)
    run = study.Run("all", "", 1, TrainConfig(), tmp_path)
    assert start_process(run).wait() == 2
    assert "settings.json: is not a run of a study" in (tmp_path / study.LOG).read_text()


def test_late_fusion_is_the_mean_of_probabilities(outcome: Outcome, tmp_path: Path) -> None:
    rows = rows_of(accuracy_table(outcome))
    # The IMU is wrong about the first clip, the video is right and surer.
    assert [cell.mean for cell in rows["late fusion of imu + video"]] == [0.5, 1.0, 1.0]
    save_predictions(tmp_path, np.array([0, 1]), {IMU: np.log([[0.6, 0.4], [0.6, 0.4]])})
    (tmp_path / "b").mkdir()
    save_predictions(tmp_path / "b", np.array([0, 1]), {VIDEO: np.log([[0.3, 0.7], [0.45, 0.55]])})
    # Means 0.45 and 0.55, then 0.525 and 0.475.
    assert late_fusion([tmp_path, tmp_path / "b"], BOTH) == 0.0
    save_predictions(tmp_path / "b", np.array([0, 1, 1]), {VIDEO: np.zeros((3, 2))})  # one session more has pictures
    assert late_fusion([tmp_path, tmp_path / "b"], BOTH) is None


def test_what_was_never_trained_is_a_dash(outcome: Outcome) -> None:
    rows = rows_of(train_test_table(outcome))
    assert list(rows) == ["imu + video", "imu", "video"]
    assert [text(cell) for cell in rows["video"]] == ["-", "0.655 ± 0.071", "-"]


def test_an_ablation_is_the_difference_seed_by_seed(outcome: Outcome) -> None:
    ((name, *cells),) = ablation_table(outcome).rows
    assert (name, len(cells)) == ("no-dropout", 4)
    assert all(is_about(cell, -0.5, 0.0) for cell in cells)


def test_an_ablation_that_changes_nothing_is_refused(file: Path, tmp_path: Path) -> None:
    file.write_text(STUDY.replace("dropout.modality = 0.0", "dropout.modality = 0.4"))
    with pytest.raises(ConfigError, match=r"variants\.no-dropout: changes nothing"):
        study.plan(study.read(file), tmp_path, {})


def test_zero_shot_says_whose_labels_were_used(outcome: Outcome) -> None:
    rows = zeroshot_table(outcome).rows
    assert [row[:3] for row in rows] == [
        ("labels-imu", "imu", "all"),
        ("labels-imu", "video", "never (zero-shot)"),
        ("labels-imu", "imu + video", "of a part"),
    ]


def test_few_shot_means_are_of_single_modalities(outcome: Outcome) -> None:
    means = {row[3]: row[4].mean for row in fewshot_table(outcome).rows[:7] if isinstance(row[4], Figure)}
    assert means["mean, same"] == pytest.approx(0.9)
    assert means["mean, crossed"] == pytest.approx(0.6)


def test_a_seed_without_all_its_folds_does_not_count(outcome: Outcome) -> None:
    kept = {name: results for name, results in outcome.results.items() if name != "all, leave_out-7, seed 2"}
    table = accuracy_table(replace(outcome, results=kept))
    assert is_about(rows_of(table)["all"][0], 0.605, None)
    assert "19 of 20 runs are done." in table.notes[0]


def test_every_table_and_both_plots_come_from_a_whole_study(outcome: Outcome, tmp_path: Path) -> None:
    names = [table.name for table in all_tables(outcome)]
    assert names == ["accuracy", "train_test", "ablations", "zeroshot", "fewshot", "missing"]
    draw(outcome, tmp_path / "plots")
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {"missing.png", "ablations.png"}
