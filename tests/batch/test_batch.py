"""mmg-batch on real files: what it decides, what it keeps, and what it refuses."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from batches import assert_same, batch, command, decisions, poison, recordings
from mmg.errors import ConfigError
from mmg_batch.results import Results
from recordings import DEMO, mmg_run


def wait_for(process: subprocess.Popen[str], folder: Path, parts: int) -> None:
    """Until so many recordings are kept."""
    end_s = time.monotonic() + 60
    while len(list(folder.glob("recordings/*.parquet"))) < parts:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end_s
        os.sched_yield()


def test_its_rows_are_the_decisions_of_mmg_run(short: Path, tmp_path: Path) -> None:
    done = batch(short, "-o", tmp_path / "results")
    assert done.returncode == 0, done.stderr
    lines = mmg_run("--sensors", "imu,audio", short, "--format", "jsonl").stdout.splitlines()
    alone = [json.loads(line) for line in lines]
    rows = decisions(tmp_path / "results").to_pylist()
    assert len(rows) == len(alone) == 8
    for row, line in zip(rows, alone, strict=True):
        assert (row["recording"], row["bundle"], row["subset"]) == (str(short), "starter", "imu+audio")
        assert (row["t_s"], row["label"]) == (line["t"], line["label"])
        assert row["confidence"] == pytest.approx(line["confidence"], abs=1e-6)
        assert dict(row["scores"]) == pytest.approx(line["scores"], abs=1e-6)
        assert dict(row["states"]) == {name: sensor["state"] for name, sensor in line["sensors"].items()}
        assert dict(row["losses"]) == {name: sensor["dropped"] for name, sensor in line["sensors"].items()}
    assert [row["truth"] for row in rows] == ["still"] * 4 + ["walking"] * 4


def test_a_recordings_row_tells_what_it_is_and_how_well_it_was_decided(short: Path, tmp_path: Path) -> None:
    batch(short, "-o", tmp_path / "results")
    [row] = recordings(tmp_path / "results").values()
    right = sum(one["truth"] == one["label"] for one in decisions(tmp_path / "results").to_pylist())
    assert (row["decisions"], row["judged"], row["correct"], row["accuracy"]) == (8, 8, right, right / 8)
    assert row["sensors"] == ["imu", "audio"]
    assert row["span_s"] == pytest.approx(4.2, abs=0.02)
    assert len(row["digest"]) == len(row["bundle_digest"]) == 64
    assert row["problem"] is None


def test_every_subset_of_each_recording_is_decided(walks: Path, tmp_path: Path) -> None:
    done = batch(walks, "-o", tmp_path / "results", "--subsets", "all", "--json")
    assert json.loads(done.stdout)["decisions"] == 4 * 3 * 8
    rows = recordings(tmp_path / "results")
    assert sorted(rows) == [f"{name} {subset}" for name in "abcd" for subset in ("audio", "imu", "imu+audio")]
    assert rows["a imu"]["sensors"] == ["imu"]


def test_a_recording_without_a_sensor_of_a_subset_says_so(short: Path, tmp_path: Path) -> None:
    done = batch(short, short / "imu.csv", "-o", tmp_path / "results", "--subsets", "imu,imu+audio", "--json")
    told = json.loads(done.stdout)
    assert (told["recordings"], told["failed"], told["decisions"]) == (2, 1, 3 * 8)
    rows = recordings(tmp_path / "results")
    assert rows["imu.csv imu"]["problem"] is None
    assert rows["imu.csv imu+audio"]["problem"] == "has no audio"


def test_what_breaks_its_process_costs_itself_alone(short: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.zip").write_bytes(b"no archive")
    names = ("crash", "exit", "raise", "memory", "whole")
    urls = [f"poison://{name}.csv" for name in names]
    environment = poison(tmp_path, short / "imu.csv")
    words = (*urls, tmp_path / "bad.zip", "-o", tmp_path / "results")
    done = batch(*words, **environment)
    assert done.returncode == 0, done.stderr
    rows = recordings(tmp_path / "results")
    problems = {name.partition(".")[0]: row["problem"] for name, row in rows.items()}
    assert problems["whole"] is None
    assert rows["whole.csv imu"]["decisions"] == 8
    assert problems["crash"] == "it crashed its process (signal 11)"
    assert problems["exit"] == "it ended its process (exit code 7)"
    assert problems["raise"] == "poison://raise.csv: cannot be fetched: a bug"
    assert problems["memory"] == "there is not enough memory for it"
    assert "is no zip archive" in problems["bad"]
    again = batch(*words, **environment)
    assert "6 of 6 recordings are done already" in again.stderr
    assert "5 failed, and --retry tries them again" in again.stderr


def test_one_that_hangs_is_given_up_where_no_library_returns(short: Path, tmp_path: Path) -> None:
    words = ("poison://hang.csv", "-o", tmp_path / "results", "--patience", 0.5)
    assert batch(*words, **poison(tmp_path, short / "imu.csv")).returncode == 3
    [row] = recordings(tmp_path / "results").values()
    assert row["problem"] == "given up: nothing was decided for 0.5 s"


def test_a_kill_at_any_moment_costs_what_was_under_way(walks: Path, tmp_path: Path) -> None:
    assert batch(walks, "-o", tmp_path / "whole", "--subsets", "all").returncode == 0
    killed = tmp_path / "killed"
    words = command("--workers", 2, "-o", killed, "--subsets", "all", walks)
    endless = [*words, "poison://hang.csv"]  # so that it is at work when it is killed
    environment = {**os.environ, **poison(tmp_path, walks / "a" / "imu.csv")}
    (places := tmp_path / "temporary").mkdir()
    environment["TMPDIR"] = str(places)
    for parts in (1, 3):
        process = subprocess.Popen(endless, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_for(process, killed, parts)
        process.kill()
        process.communicate()
    last = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    assert "of 4 recordings are done already" in last.stderr
    assert_same(tmp_path / "whole", killed)
    assert not [path for path in killed.rglob(".*") if path.name != ".lock"]
    assert not list(places.iterdir())


def test_a_part_that_was_killed_between_its_two_files_is_decided_anew(short: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    assert batch(short, "-o", results, "--patience", 0.001).returncode == 3
    shutil.copytree(results / "recordings", tmp_path / "failed")
    assert batch(short, "-o", results, "--retry").returncode == 0
    shutil.copytree(tmp_path / "failed", results / "recordings", dirs_exist_ok=True)
    assert "1 recording found, 8 new decisions" in batch(short, "-o", results).stderr
    [row] = recordings(results).values()
    assert (row["decisions"], row["problem"]) == (8, None)


def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(walks: Path, tmp_path: Path) -> None:
    words = command("--workers", 2, walks, "poison://hang.csv", "-o", tmp_path / "results")
    environment = {**os.environ, **poison(tmp_path, walks / "a" / "imu.csv")}
    process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(process, tmp_path / "results", 4)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate()
    assert process.returncode == 130
    assert "of 5 recordings are done; the same command decides the other" in told
    assert told.endswith("mmg-batch: stopped\n")


def test_a_part_that_was_cut_is_decided_anew(walks: Path, tmp_path: Path) -> None:
    batch(walks, "-o", tmp_path / "whole")
    batch(walks, "-o", tmp_path / "cut")
    for folder, size in (("decisions", 100), ("recordings", 0)):
        path = sorted((tmp_path / "cut" / folder).iterdir())[0 if size else 1]
        path.write_bytes(path.read_bytes()[:size])
    done = batch(walks, "-o", tmp_path / "cut")
    assert "2 of 4 recordings are done already" in done.stderr
    assert_same(tmp_path / "whole", tmp_path / "cut")


def test_files_that_were_touched_are_not_decided_anew_and_changed_ones_are(short: Path, tmp_path: Path) -> None:
    for name in "ab":
        shutil.copytree(short, tmp_path / "walks" / name)
    batch(tmp_path / "walks", "-o", tmp_path / "results")
    (tmp_path / "walks" / "a" / "imu.csv").touch()
    (tmp_path / "walks" / "b" / "labels.csv").write_text("start_s,end_s,label\n0,1,still\n")
    done = batch(tmp_path / "walks", "-o", tmp_path / "results")
    assert "2 recordings found, 8 new decisions" in done.stderr
    assert recordings(tmp_path / "results")["b imu+audio"]["judged"] == 2
    assert "2 of 2 recordings are done already" in batch(tmp_path / "walks", "-o", tmp_path / "results").stderr


def test_a_folder_that_locks_nothing_is_told_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(ConfigError, match="cannot be locked: Function not implemented: choose one on a local disk"):
        Results(tmp_path / "results", {})


def test_results_of_another_bundle_or_with_other_settings_are_refused(
    short: Path, tmp_path: Path, other_bundle: Path
) -> None:
    batch(short, "-o", tmp_path / "results")
    for words, said in ((("--bundles", other_bundle), "bundles"), (("--subsets", "all"), "subsets")):
        done = batch(short, "-o", tmp_path / "results", *words)
        assert done.returncode == 2
        line = done.stderr.splitlines()[-1]  # after one on the models that were tried
        assert line.startswith(f"mmg-batch: {tmp_path}/results: holds results with {said} ")
        assert line.endswith(": choose another folder")


def test_a_list_without_a_bundle_is_refused(short: Path, tmp_path: Path) -> None:
    done = batch(short, "-o", tmp_path / "results", "--bundles", ",")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("mmg-batch: --bundles: names no bundle")


def test_two_bundles_are_told_apart(short: Path, tmp_path: Path, other_bundle: Path) -> None:
    done = batch(short, "-o", tmp_path / "results", "--bundles", f"starter,{other_bundle}")
    assert done.returncode == 0, done.stderr
    rows = decisions(tmp_path / "results").to_pylist()
    assert [row["bundle"] for row in rows] == ["other"] * 8 + ["starter"] * 8
    assert [row["label"] for row in rows[:8]] == [row["label"] for row in rows[8:]]


def test_two_batches_in_one_folder_are_refused(short: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    batch(short, "-o", results)
    with (results / ".lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = batch(short, "-o", results)
    assert done.returncode == 2
    assert done.stderr == f"mmg-batch: {results}: another mmg-batch is at work in it\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("gone",), "gone: there is no such file or folder, and nothing matches it"),
        (("*.gone",), "*.gone: there is no such file or folder, and nothing matches it"),
        (("empty",), "empty: holds no recording"),
        (("empty.csv",), "empty.csv: holds no recording"),
        (("mic://default",), "mic://default: is a live port, and a batch takes recordings"),
        (
            ("gone.csv", "--subsets", "imu+imu"),
            "--subsets imu+imu: must be all, whole, or a list such as imu,imu+audio",
        ),
        (("gone.csv", "--subsets", "ppg"), "bundle starter has no sensor 'ppg'; it has imu, audio, video"),
        (("gone.csv", "--subsets", "video"), "video is off: add --allow-video, or leave it out of --subsets"),
        (("nonsense://x",), "nonsense://x: Protocol not known: nonsense"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(
    words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.csv").write_text("recording,person\n")
    done = batch(*words, "-o", "results")
    assert done.returncode in (2, 3)
    assert done.stderr == f"mmg-batch: {said}\n"
    assert not (tmp_path / "results").exists()


def test_what_is_counted_is_said(walks: Path, tmp_path: Path) -> None:
    done = batch(walks / "a", "-o", tmp_path / "results")
    assert ": 1 recording found, 8 new decisions, " in done.stderr
    assert "of other calls" not in done.stderr
    done = batch(walks / "b", walks / "c", "-o", tmp_path / "results")
    assert ": 2 recordings found, 16 new decisions, " in done.stderr
    assert done.stderr.endswith("; the tables hold 1 recording of other calls too\n")


def test_a_full_disk_keeps_what_is_done(walks: Path, tmp_path: Path) -> None:
    batch(walks / "a", "-o", tmp_path / "results")
    words = ["bash", "-c", 'ulimit -f 4; exec "$@"', "-", *command(walks, "-o", tmp_path / "results")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"mmg-batch: cannot write {tmp_path}/results/decisions/")
    assert len(recordings(tmp_path / "results")) == 1
    assert "1 of 4 recordings are done already" in batch(walks, "-o", tmp_path / "results").stderr


def test_workers_that_cannot_start_are_told_once(walks: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif 'mmg_batch.worker' in ' '.join(sys.orig_argv): os._exit(9)\n"
    )
    paths = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    done = batch(walks, "-o", tmp_path / "results", PYTHONPATH=paths)
    assert done.returncode == 4
    why = "mmg-batch: a worker ended before it began: it ended its process (exit code 9)"
    assert [line for line in done.stderr.splitlines() if "so far" not in line] == [why]


def test_a_folder_with_other_files_is_no_place_for_results(short: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    done = batch(short, "-o", tmp_path)
    assert done.returncode == 2
    assert "holds other files, and no results of mmg-batch" in done.stderr


def test_a_folder_whose_first_file_was_cut_by_a_kill_is_one_for_results(short: Path, tmp_path: Path) -> None:
    (results := tmp_path / "results").mkdir()
    (results / ".batch.json.mmg-999999999").write_bytes(b"{")
    assert batch(short, "-o", results).returncode == 0
    assert sorted(path.name for path in results.iterdir()) == [".lock", "batch.json", "decisions", "recordings"]


def test_what_was_decided_in_part_is_no_failure_of_the_batch(short: Path, tmp_path: Path) -> None:
    words = (short / "imu.csv", "-o", tmp_path / "results", "--json")
    done = batch(*words, "--subsets", "imu,imu+audio")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["failed"] == 1
    again = batch(*words, "--subsets", "audio+imu,imu")  # the same
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["known"] == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("noise.mcap", "holds nothing that is known, and none of it is a sensor of bundle starter"),
        ("film.mp4", "holds video alone, which stays closed without --allow-video"),
    ],
)
def test_a_recording_without_a_sensor_to_decide_from_says_what_it_holds(name: str, said: str, tmp_path: Path) -> None:
    content = bytes(range(256)) * 8 if name == "noise.mcap" else (DEMO / "video.mp4").read_bytes()
    (tmp_path / name).write_bytes(content)
    assert batch(tmp_path / name, "-o", tmp_path / "results").returncode == 3
    assert recordings(tmp_path / "results")[name]["problem"] == f"no usable sensor ({tmp_path / name}: {said})"


def test_nothing_decided_at_all_is_an_exit_code_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "bad.zip").write_bytes(b"no archive")
    assert batch(tmp_path / "bad.zip", "-o", tmp_path / "results").returncode == 3
