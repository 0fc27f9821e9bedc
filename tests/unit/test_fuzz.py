"""Fuzzing: a short run of every target, and that the tool notices what it is for."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import fuzz_readers
import pytest
from fuzzing import times
from mmg.recording.reader import open_recording
from mmg_tools.fuzz.__main__ import main, table
from mmg_tools.fuzz.campaign import Campaign, Plan, Tally
from mmg_tools.fuzz.corpus import checkout_corpora, keep, minimise, read_seeds
from mmg_tools.fuzz.lines import Lines
from mmg_tools.fuzz.mutation import mutated
from mmg_tools.fuzz.target import TARGETS, Target
from mmg_tools.fuzz.targets import recordings
from mmg_tools.fuzz.targets.scratch import written
from mmg_tools.fuzz.trial import Fault, attempt, timed

TESTS = Path(__file__).resolve().parents[1]
INPUTS = 50
MOST_CORPORA_BYTES = 310_000


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@pytest.mark.fuzz
def test_nothing_but_what_is_documented_comes_of_seeds_and_of_what_is_made_of_them(target: Target) -> None:
    read, seeds = target.load(), read_seeds(checkout_corpora() / target.name)
    assert seeds
    draw = random.Random(20)
    inputs = [*seeds, b"", *(mutated(seeds, draw, target.longest) for _ in range(times(INPUTS)))]
    with timed():
        for data in inputs:
            fault = attempt(read, data)
            assert fault is None, f"{fault.line()}: {data.hex()}"


def test_the_corpora_are_small_and_of_targets_that_there_are() -> None:
    folders = [path for path in checkout_corpora().iterdir() if path.is_dir()]
    assert {folder.name for folder in folders} == {target.name for target in TARGETS}
    assert sum(path.stat().st_size for folder in folders for path in folder.iterdir()) < MOST_CORPORA_BYTES


def test_a_seed_of_recordings_has_readable_samples_of_every_kind() -> None:
    """Mutations of steps that are all left out reach nothing of what reads samples."""
    data = (checkout_corpora() / "mcap" / "every-kind").read_bytes()
    recording = open_recording(written("walk.mcap", recordings._recorded(data[1:])))
    steps = list(recording.steps())
    assert {chunk.modality for step in steps for chunk in step.chunks} == {"imu", "audio", "video", "ppg"}
    assert (len(steps), len(list(recording.decisions())), len(recording.marks())) == (2, 1, 1)


# --- the tool itself -----------------------------------------------------------------------------------------------


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A short one, of the readers in ``fuzz_readers``, whose seeds show what they fail at."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]))
    for reader in vars(fuzz_readers):
        keep(tmp_path / "corpora" / reader, b"a" if reader == "good" else b"!")
    return Plan("plain", 1, tmp_path / "corpora", tmp_path / "kept", bytes=1)


def fuzzed(plan: Plan, reader: str, hung_s: float = 30.0) -> tuple[Tally, list[str]]:
    """What becomes of one of those readers, and what is told."""
    told: list[str] = []
    campaign = Campaign(plan, [Target(reader, f"fuzz_readers:{reader}", longest=8)], told.append, hung_s)
    campaign.run()
    return campaign.tallies[0], told


def test_a_good_reader_is_given_what_was_asked_for_and_shows_no_fault(plan: Plan) -> None:
    tally, _ = fuzzed(replace(plan, bytes=20_000), "good")
    assert tally.size >= 20_000
    assert tally.inputs > 2500
    assert tally.faults == {}


def test_the_same_seed_gives_the_same_inputs(plan: Plan) -> None:
    longer = replace(plan, bytes=5000)
    one, two = fuzzed(longer, "good")[0], fuzzed(replace(longer, kept=plan.kept / "again"), "good")[0]
    assert (one.inputs, one.size) == (two.inputs, two.size)


@pytest.mark.parametrize(
    ("reader", "kind", "what"),
    [
        ("raising", "error", "KeyError at no line of mmg"),
        ("leaving", "error", "SystemExit at no line of mmg"),
        ("boundless", "memory", "MemoryError at no line of mmg"),
        ("greedy", "memory", "more than 200 MiB"),
        ("slow", "slow", "more than 1 s in no line of mmg"),
        ("dying", "died", "by SIGABRT"),
    ],
)
def test_a_fault_is_told_and_its_input_kept(plan: Plan, reader: str, kind: str, what: str) -> None:
    tally, told = fuzzed(plan, reader)
    [(fault, data)] = tally.faults.items()
    assert fault == Fault(kind, what)
    assert b"!" in data
    assert read_seeds(plan.kept / "faults" / reader).count(data) == 1
    assert sum(line.startswith(f"{reader}: {kind}: {what}") for line in told) == 1


def test_a_reader_that_waits_without_end_is_noticed(plan: Plan) -> None:
    tally, _ = fuzzed(plan, "hanging", hung_s=1.0)
    assert list(tally.faults) == [Fault("hung", "no answer for 1 s")]


def test_where_an_error_is_is_the_innermost_line_of_mmg() -> None:
    def read(_data: bytes) -> None:
        mutated([], random.Random(1), 5)

    fault = attempt(read, b"")
    assert fault is not None
    assert fault.what.startswith("IndexError at mmg_tools/fuzz/mutation.py:")


def test_of_inputs_that_reach_the_same_lines_the_smallest_stay_and_named_ones_always(tmp_path: Path) -> None:
    folder, found = tmp_path / "corpora", tmp_path / "found"
    for data in (b"a", b"aa", b"ab", b"abx", b"abc", b"abcd"):
        keep(found, data)
    keep(folder, b"zzzzzzzz")
    keep(folder, b"crasher of old", name="half-a-frame")
    minimise(fuzz_readers.good, folder, found, Lines(TESTS))
    assert sorted(read_seeds(folder)) == [b"a", b"ab", b"abc", b"crasher of old"]


def test_the_command_prints_a_table_and_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = tmp_path / "fuzz.json"
    words = ["--target", "source-url", "--target", "key", "--bytes", "20000", "--engine", "plain", "--workers", "1"]
    assert main([*words, "--kept", str(tmp_path / "kept"), "--json", str(told)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in out[:4]] == ["target", "key", "source-url", "all"]
    assert out[-1].endswith("with plain: no faults")
    results = json.loads(told.read_text())
    assert [one["target"] for one in results["targets"]] == ["key", "source-url"]
    assert results["bytes"] == sum(one["bytes"] for one in results["targets"]) >= 20_000
    assert all(one["coverage"] > 10 and one["faults"] == [] for one in results["targets"])


def test_an_unknown_target_and_missing_corpora_are_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--target", "cvs"]) == 2
    assert "--target cvs: choose from witmotion, bno08x" in capsys.readouterr().err
    assert main(["--corpora", str(tmp_path / "none")]) == 2
    assert "there are no corpora" in capsys.readouterr().err


def test_faults_are_counted_in_the_table() -> None:
    one = Tally("csv", "atheris", 10, 100, 1.0, 7, {Fault("slow", "more than 1 s in a.py"): b"x"})
    assert table([one], 1.0)[1].split() == ["csv", "10", "100", "10", "7", "1"]
    assert table([one], 1.0)[-2:] == ["csv: slow: more than 1 s in a.py", "100 bytes in 1 s with atheris: 1 faults"]


def test_a_signal_ends_it_with_the_table_and_no_process_stays(tmp_path: Path) -> None:
    words = ["--target", "key", "--seconds", "600", "--engine", "plain", "--kept", str(tmp_path)]
    run = subprocess.Popen(
        [sys.executable, "-m", "mmg_tools.fuzz", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline_s = time.monotonic() + 60
        while not (workers := children_of(run.pid)):
            assert run.poll() is None
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        run.send_signal(signal.SIGTERM)  # as Ctrl-C, which a shell's background job ignores
        out, err = run.communicate(timeout=60)
    finally:
        run.kill()
    assert run.returncode == 130
    assert out.splitlines()[0].startswith("target")
    assert "Traceback" not in err
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)


def children_of(process: int) -> list[str]:
    """The numbers of those that its threads have started."""
    return [child for told in Path(f"/proc/{process}/task").glob("*/children") for child in told.read_text().split()]
