"""Runs of a study that crash, that other code made, that two would do at once, and that a Ray cluster does."""

from __future__ import annotations

import fcntl
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mmg.errors import ConfigError
from mmg_training import checkpoint
from mmg_training.cli.study import in_process, main
from mmg_training.evaluation import study
from mmg_training.evaluation.study import Run, Study
from mmg_training.evaluation.study_pool import RETRIES, run_all
from mmg_training.evaluation.study_run import prepare, work
from training.utd_tree import write_trials

BASE = """
steps = 2
batch = 4
sequence_hops = 8
contexts = 2
[data]
set = "utd-mhad"
root = "{root}"
train_people = "odd"
test_people = "even"
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
[evaluate]
missing = false
[evaluate.fewshot]
ways = 2
shots = [1]
episodes = 5
[variants.all]
"""


class Codes:
    """Processes that end at once: with these exit codes, one after another, and having done their work with 0."""

    def __init__(self, *codes: int) -> None:
        self._codes: Iterator[int] = iter(codes)
        self.started: list[int] = []

    def __call__(self, run: Run) -> Codes.Ended:
        code = next(self._codes)
        self.started.append(run.seed)
        if code == 0:
            work(run.folder)
        return Codes.Ended(code)

    class Ended:
        """One that has ended."""

        def __init__(self, code: int) -> None:
            self._code = code

        def poll(self) -> int:
            return self._code

        def terminate(self) -> None:
            """It has ended."""

        def wait(self) -> int:
            return self._code


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A study of two runs over a few synthetic recordings."""
    write_trials(tmp_path)
    (tmp_path / "base.toml").write_text(BASE.format(root=tmp_path))
    (tmp_path / "study.toml").write_text(STUDY)
    return tmp_path / "study.toml"


def planned(file: Path, out: Path) -> tuple[Study, list[Run]]:
    read = study.read(file)
    return read, study.plan(read, out, {})


def test_a_run_whose_process_crashed_is_tried_again(file: Path, tmp_path: Path) -> None:
    read, runs = planned(file, tmp_path / "out")
    start, said = Codes(-9, 0, 0), list[str]()
    run_all(runs, read.config.evaluate, 1, said.append, start)
    assert start.started == [1, 2, 1]
    assert "all, seed 1: its process crashed (signal 9): it is tried again" in said
    assert all(study.results_of(run, read.config.evaluate) for run in runs)


def test_a_run_that_crashes_every_time_fails_and_one_that_fails_is_not_tried_again(file: Path, tmp_path: Path) -> None:
    read, runs = planned(file, tmp_path / "out")
    start = Codes(*[-11] * (RETRIES + 1))
    with pytest.raises(ConfigError, match="1 of 1 runs failed"):
        run_all(runs[:1], read.config.evaluate, 1, print, start)
    assert len(start.started) == RETRIES + 1
    start = Codes(2)
    with pytest.raises(ConfigError, match="1 of 1 runs failed"):
        run_all(runs[:1], read.config.evaluate, 1, print, start)
    assert len(start.started) == 1


def test_runs_of_other_code_count_only_where_that_is_asked_for(file: Path, tmp_path: Path) -> None:
    read, runs = planned(file, tmp_path / "out")
    run_all(runs[:1], read.config.evaluate, 1, print, Codes(0))
    settings = runs[0].folder / study.SETTINGS
    described = json.loads(settings.read_text())
    assert described["code"] == study.code_digest()
    settings.write_text(json.dumps({**described, "code": "0" * 64}))
    with pytest.raises(ConfigError, match=rf"1 runs were made by other code of mmg, the first is {runs[0].folder}"):
        run_all(runs[:1], read.config.evaluate, 1, print, Codes())
    run_all(runs[:1], read.config.evaluate, 1, print, Codes(), is_any_code=True)


def test_two_studies_in_one_folder_are_refused(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with (out / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert main([str(file), "--out", str(out)]) == 2
    assert capsys.readouterr().err == f"mmg-study: {out}: another mmg-study is at work in it\n"


def test_a_cluster_that_goes_away_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    # As Ray does: a line of its log, and the end of the process.
    code = "import sys; print('[2026-11-29 23:36:33,254 E 1 2] x.h: Failed to connect to GCS', file=sys.stderr)"
    code += "; sys.exit(1)"
    assert in_process(code, []) == 3
    [line] = capsys.readouterr().err.splitlines()
    assert line == "mmg-study: the Ray cluster went away: what is done stays done, and the same command does the rest"


def test_another_error_is_no_cluster_that_went_away(capfd: pytest.CaptureFixture[str]) -> None:
    code = "import sys; print('[2026-11-29 23:36:33,254 W 1 2] slow', file=sys.stderr); sys.exit(1)"
    assert in_process(code, []) == 1
    assert in_process("raise OSError('no room')", []) == 1
    assert in_process("import os; os.kill(os.getpid(), 9)", []) == 1
    told = capfd.readouterr().err
    assert "cluster" not in told
    assert "OSError: no room" in told
    assert told.endswith("mmg-study: its process on Ray was ended (signal 9): the same command does the rest\n")


def test_progress_that_other_code_made_stays_its_own(file: Path, tmp_path: Path) -> None:
    read, runs = planned(file, tmp_path / "out")
    prepare(runs[0].folder, runs[0].config, read.config.evaluate)
    settings = runs[0].folder / study.SETTINGS
    described = json.loads(settings.read_text())
    settings.write_text(json.dumps({**described, "code": "0" * 64}))
    (runs[0].folder / checkpoint.RESUME).touch()
    prepare(runs[0].folder, runs[0].config, read.config.evaluate)
    assert json.loads(settings.read_text())["code"] == "0" * 64
    (runs[0].folder / checkpoint.RESUME).unlink()
    prepare(runs[0].folder, runs[0].config, read.config.evaluate)
    assert json.loads(settings.read_text())["code"] == study.code_digest()


def test_a_study_on_ray_gives_the_results_of_one_without(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray", reason="ray is not installed: pip install -e '.[ray]'")
    if sys.platform != "linux":
        pytest.skip("Ray's processes end with their parent on Linux alone")
    assert main([str(file), "--out", str(tmp_path / "ray"), "--ray", "local"]) == 0
    assert main([str(file), "--out", str(tmp_path / "here"), "--jobs", "2"]) == 0
    _, runs = planned(file, tmp_path)
    for run in runs:
        name = run.folder.relative_to(tmp_path)
        one, other = (json.loads((tmp_path / out / name / study.RESULTS).read_text()) for out in ("ray", "here"))
        assert one | {"wall_s": 0} == other | {"wall_s": 0}
        weights = [(tmp_path / out / name / "model.safetensors").read_bytes() for out in ("ray", "here")]
        assert weights[0] == weights[1]
    told = capsys.readouterr().err
    assert told.count("2/2 runs") == 2
    assert all(line.startswith("mmg-study: ") for line in told.splitlines())
