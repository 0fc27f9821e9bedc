"""``mmg-teach`` out of recordings, and on the file of what was taught."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chores import REST, TAUGHT, UNTAUGHT, day_of, label, save, spans
from forked import mmg_run
from mmg.bundle import Bundle
from mmg.cli.run import main as run_main
from mmg.cli.taught_file import MOST_ESTIMATED
from mmg.cli.teach import main
from mmg.runs.recorded import Pipeline
from mmg.runs.settings import Settings
from mmg.teaching.scorer import Scorer
from mmg.teaching.store import read_taught, write_taught
from mmg.teaching.taught import Example, Taught
from mmg.teaching.trace import POINTS, Trace

TRACE = Trace(np.random.default_rng(0).normal(size=(8, 1, 64)).astype(np.float32), np.zeros((8, 0, 0), np.float32))


def another(number: int) -> Trace:
    return Trace(TRACE.tokens + number, TRACE.shape)


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A labelled day of each chore that is taught, and ``taught``, the file that both give."""
    folder = tmp_path_factory.mktemp("days")
    for seed, chore in enumerate(TAUGHT):
        label(save(folder / chore, day_of(chore), 100 * seed), day_of(chore))
        assert main([chore, "--from", str(folder / chore), "-o", str(folder / "taught")]) == 0
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def taught_in(path: Path) -> dict[str, int]:
    return {one.name: len(one.examples) for one in read_taught(path).activities}


def told(capsys: pytest.CaptureFixture[str]) -> str:
    """What was said last on standard error."""
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize("sensors", [("imu",), ("audio",), ("imu", "audio")])
def test_what_was_taught_with_both_is_known_with_either_and_another_is_not(
    days: Path, tmp_path: Path, sensors: tuple[str, ...]
) -> None:
    parts = [(REST, 6.0), (TAUGHT[0], 14.0), (REST, 8.0), (TAUGHT[1], 14.0), (REST, 8.0), (UNTAUGHT, 12.0)]
    day = save(tmp_path / "day", parts, 500)
    with Bundle.open("starter") as bundle:
        settings = Settings(taught=Scorer(read_taught(days / "taught")))
        run = Pipeline(bundle, dict.fromkeys(sensors, str(day)), settings)
        decisions = list(run)
        run.close()
    for start_s, end_s, chore in spans(parts):
        # An activity is known when half of an example of it is over, and some seconds beyond its end.
        labels = [one.label for one in decisions if start_s + 2 < one.t_s <= end_s]
        if chore in TAUGHT:
            assert labels.count(chore) >= 0.9 * len(labels)
        elif chore == UNTAUGHT:
            assert not set(labels[4:]) & set(TAUGHT)


def test_a_run_says_what_was_taught_with_none_of_its_sensors(days: Path, here: Path) -> None:
    for chore, sensor in zip(TAUGHT, ("imu", "audio"), strict=True):
        assert main([chore, "--from", str(days / chore), "--sensors", sensor]) == 0
    day = save(here / "day", [(REST, 3.0)])
    said = f"{TAUGHT[1]}: taught with audio, and so never known from imu alone"
    for sensors, is_said in (("imu", True), ("imu,audio", False)):
        done = mmg_run("--taught", here / "mine.taught", day, "--sensors", sensors)
        assert (said in done.stderr, "never known" in done.stderr) == (is_said, is_said)


def test_it_says_what_it_took_and_how_well_it_is_known(
    days: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chore = TAUGHT[0]
    assert main([chore, "--from", str(days / chore), "--json"]) == 0
    shown: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert shown == {
        "file": "mine.taught",
        "name": chore,
        "added": 5,
        "activities": [{"name": chore, "examples": 5, "modalities": ["audio", "imu"], "recall": 1.0}],
        "near": [],
        "unlike": [],
    }
    assert (here / "mine.taught").stat().st_mode & 0o077 == 0
    assert set(read_taught(here / "mine.taught").background) == {"imu", "audio"}


def test_each_folder_or_file_without_labels_is_an_example(here: Path) -> None:
    folders = [str(save(here / f"{number}", [("stirring", 4.2)], number)) for number in range(3)]
    assert main(["stirring", "--from", *folders]) == 0
    assert taught_in(here / "mine.taught") == {"stirring": 3}
    tables = [f"{folder}/imu.csv" for folder in folders]
    assert main(["mixing", "--from", *tables]) == 0
    assert read_taught(here / "mine.taught").activities[1].modalities == ("imu",)
    another = save(here / "3", [("stirring", 4.2)], 3)
    assert main(["mixing", "--imu", f"{another}/imu.csv"]) == 0
    assert taught_in(here / "mine.taught") == {"stirring": 3, "mixing": 4}


def test_a_long_span_is_several_examples(here: Path) -> None:
    day = save(here / "day", [("stirring", 13.0)])
    assert main(["stirring", "--from", str(day)]) == 0
    assert taught_in(here / "mine.taught") == {"stirring": 3}
    assert main(["stirring", "--seconds", "6", "--from", str(day)]) == 0
    assert taught_in(here / "mine.taught") == {"stirring": 5}


def test_the_same_name_again_adds_to_it_and_says_so(days: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    another = label(save(here / "another", day_of(TAUGHT[0]), 900), day_of(TAUGHT[0]))
    for day in (days / TAUGHT[0], another):
        assert main([TAUGHT[0], "--from", str(day)]) == 0
    assert f"{TAUGHT[0]}: mine.taught has 5 examples of it already; these are added" in capsys.readouterr().err
    assert taught_in(here / "mine.taught") == {TAUGHT[0]: 10}


def test_the_same_example_again_is_counted_told_and_left_out(
    days: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, path = [TAUGHT[0], "--from", str(days / TAUGHT[0])], here / "mine.taught"
    assert main([*words, str(days / TAUGHT[0])]) == 0
    assert taught_in(path) == {TAUGHT[0]: 5}
    assert f"{TAUGHT[0]}: 5 examples are among what is taught already, and left out" in capsys.readouterr().err
    whole = path.read_bytes()
    assert main([*words, "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["added"] == 0
    assert f"{TAUGHT[0]}: 5 examples are among what is taught already, and left out" in shown.err
    assert main(["--merge", "mine.taught"]) == 0
    assert (
        f"{TAUGHT[0]}: 5 of 5 examples of mine.taught are in mine.taught already: left out" in capsys.readouterr().err
    )
    assert path.read_bytes() == whole


def test_it_is_listed_merged_and_deleted(days: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = here / "theirs.taught"
    for chore, path in zip(TAUGHT, (Path("mine.taught"), other), strict=True):
        assert main([chore, "--from", str(days / chore), "-o", str(path)]) == 0
    assert main(["--merge", str(other)]) == 0
    assert taught_in(here / "mine.taught") == dict.fromkeys(TAUGHT, 5)
    assert main(["--delete", TAUGHT[0]]) == 0
    assert taught_in(here / "mine.taught") == {TAUGHT[1]: 5}
    capsys.readouterr()
    assert main(["--list"]) == 0
    assert capsys.readouterr().out == f"{TAUGHT[1]}    5 examples  audio, imu  100% known, leaving one out\n"
    assert main(["--delete", TAUGHT[0]]) == 2
    assert told(capsys) == f"mmg-teach: '{TAUGHT[0]}' is not taught: {TAUGHT[1]}"


def test_a_sensor_that_is_silent_is_left_out_where_no_other_example_has_it_and_told(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import soundfile

    folders = [save(here / f"{number}", [("stirring", 6.0)], number) for number in range(2)]
    soundfile.write(folders[0] / "audio.wav", np.zeros(96_000, np.int16), 16_000)
    assert main(["stirring", "--from", *map(str, folders)]) == 0
    assert f"{folders[0]}: it is taught with imu alone: audio is faulty: silent" in capsys.readouterr().err
    assert [set(one.traces) for one in read_taught(here / "mine.taught").activities[0].examples] == [
        {"imu"},
        {"imu", "audio"},
    ]
    assert main(["sawing", "--from", *map(str, folders[::-1])]) == 0
    assert f"{folders[0]}: no example: audio is faulty: silent" in capsys.readouterr().err
    assert taught_in(here / "mine.taught") == {"stirring": 2, "sawing": 1}
    assert main(["rubbing", "--from", f"{folders[0]}/audio.wav"]) == 3
    assert "audio is faulty: silent" in told(capsys)


def test_an_example_in_which_nothing_moves_or_that_is_too_short_is_none(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = [(REST, 5.0), ("stirring", 0.4), (REST, 5.0)]
    day = label(save(here / "day", parts), parts)
    assert main(["stirring", "--from", str(day)]) == 2
    assert "too short: no whole hop of 0.5 s" in told(capsys)
    assert not (here / "mine.taught").exists()


def test_labels_beyond_the_end_of_a_recording_are_one_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    day = save(here / "day", [("stirring", 6.0)])
    label(day, [("stirring", 5.0), *[(REST, 5.0), ("stirring", 4.0)] * 12])
    assert main(["stirring", "--from", str(day)]) == 0
    [line] = [line for line in capsys.readouterr().err.splitlines() if "no example" in line]
    assert line == f"mmg-teach: {day} at 10, 19, 28 s and 9 more places: no example: past its end, at 6 s"


def test_an_example_with_spikes_is_told_once_and_none_is_kept(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    instants = np.arange(1000) / 50
    motions = [0.5 * np.sin(6 * instants), 0.5 * np.cos(5 * instants), 9.8 + 0.3 * np.sin(3 * instants)]
    motions += [0.1 * np.sin(5 * instants + axis) for axis in range(3)]
    rows = np.stack(motions, axis=1) + random.normal(0, 0.02, (1000, 6))
    rows[::7, 0] *= 1e6
    table = np.column_stack([instants, rows])
    np.savetxt("spikes.csv", table, "%.5f", ",", header="t,ax,ay,az,gx,gy,gz", comments="")
    assert main(["waving", "--from", "spikes.csv"]) == 3
    lines = [line for line in capsys.readouterr().err.splitlines() if "no example" in line]
    assert len(lines) <= 2
    assert any("imu is doubted: 1" in line and "spikes" in line for line in lines)
    assert not (here / "mine.taught").exists()


def test_a_sensor_of_which_nothing_can_be_read_costs_the_other_nothing(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    day = save(here / "day", [("stirring", 5.0)])
    rows = (day / "imu.csv").read_text().splitlines()
    nothing = here / "nothing.csv"
    nothing.write_text("\n".join([rows[0], *(f"{row.split(',')[0]}{',nan' * row.count(',')}" for row in rows[1:])]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main(["stirring", "--imu", str(nothing), "--audio", f"{day}/audio.wav"]) == 0
        shown = capsys.readouterr()
        assert "imu is left out: " in shown.err
        assert "it is taught with audio alone: imu gave nothing" in shown.err
        assert read_taught(here / "mine.taught").activities[0].modalities == ("audio",)
        assert main(["stirring", "--from", str(nothing), "-o", "other.taught"]) == 3


def test_a_recording_that_simply_ends_is_not_told_as_stale(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, seconds in enumerate((4.8, 5.0, 5.3)):
        day = save(here / f"{number}", [("stirring", seconds)], number)
        assert main(["stirring", "--from", str(day)]) == 0
    assert "stale" not in capsys.readouterr().err


def test_without_background_a_line_says_what_adds_some(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    day = save(here / "day", [("stirring", 4.2)])
    words = ["stirring", "--from", str(day), "-o", "my own.taught"]
    assert main(words) == 0
    line = told(capsys)
    assert "my own.taught: too little background (none of audio, none of imu; 20 s are the least)" in line
    adds = line.partition("what is taught: ")[2].removesuffix(" adds some")
    life = save(here / "life", [(REST, 15.0), (UNTAUGHT, 15.0)], 7)
    assert main([str(life) if word == "RECORDING" else word for word in shlex.split(adds)[1:]]) == 0
    assert "too little background" not in capsys.readouterr().err
    taught = read_taught(here / "my own.taught")
    assert {name: sum(trace.hops for trace in kept) > 50 for name, kept in taught.background.items()} == {
        "imu": True,
        "audio": True,
    }
    assert taught_in(here / "my own.taught") == {"stirring": 1}
    assert main(["stirring", "--from", str(day), "--background", str(life), "--background", str(day)]) == 0
    assert "too little background" not in capsys.readouterr().err
    assert len(read_taught(here / "mine.taught").background["imu"]) == 2


def test_what_is_labelled_as_taught_is_no_background(days: Path, here: Path) -> None:
    (here / "mine.taught").write_bytes((days / "taught").read_bytes())
    day = [(TAUGHT[0], 20.0), (REST, 20.0)]
    assert main(["--background", str(label(save(here / "day", day, 40), day))]) == 0
    before, after = read_taught(days / "taught"), read_taught(here / "mine.taught")
    added = sum(one.hops for one in after.background["imu"]) - sum(one.hops for one in before.background["imu"])
    assert 20 < added <= 40


def test_what_is_taught_later_out_of_the_same_recording_is_known_too(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = [part for chore in (*TAUGHT, *TAUGHT, *TAUGHT) for part in ((REST, 8.0), (chore, 8.4))]
    day = str(label(save(here / "day", parts), parts))
    for chore in TAUGHT:
        assert main([chore, "--from", day, "--json"]) == 0
    shown: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {one["name"]: one["recall"] for one in shown["activities"]} == dict.fromkeys(TAUGHT, 1.0)
    for chore in TAUGHT:
        assert main([chore, "--from", day, "-o", f"{chore}.taught"]) == 0
    assert main(["-o", f"{TAUGHT[0]}.taught", "--merge", f"{TAUGHT[1]}.taught", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {one["name"]: one["recall"] for one in shown["activities"]} == dict.fromkeys(TAUGHT, 1.0)


def test_labels_beside_the_activity_are_told_and_others_make_it_known(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = [(REST, 8.0), (TAUGHT[0], 8.0)] * 4
    day = label(save(here / "day", parts), parts)
    right = (day / "labels.csv").read_text()
    late = [f"{start_s + 4:g},{min(end_s + 4, 64):g},{TAUGHT[0]}\n" for start_s, end_s, _ in spans(parts)[1::2]]
    (day / "labels.csv").write_text("start_s,end_s,label\n" + "".join(late))
    words = [TAUGHT[0], "--from", str(day), "--json"]
    assert main(words) == 0
    [why] = json.loads(capsys.readouterr().out)["unlike"]
    assert (
        f"its examples are alike, but the background is like them too: --delete {TAUGHT[0]} and teach it again" in why
    )
    (day / "labels.csv").write_text(right)
    assert main(["--delete", TAUGHT[0]]) == 0
    capsys.readouterr()
    assert main(words) == 0
    shown: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (shown["activities"][0]["recall"], shown["unlike"]) == (1.0, [])


def test_grace_is_taken_as_mmg_run_takes_it(here: Path) -> None:
    day = save(here / "day", [("stirring", 4.2)])
    assert main(["stirring", "--from", str(day), "--grace", "0.3"]) == 0
    assert taught_in(here / "mine.taught") == {"stirring": 1}


def test_two_commands_may_teach_into_one_file_at_once(days: Path, here: Path) -> None:
    words = [sys.executable, "-m", "mmg.cli.teach"]
    started = [
        subprocess.Popen([*words, chore, "--from", days / chore], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for chore in TAUGHT
    ]
    assert [one.wait() for one in started] == [0] * len(TAUGHT)
    assert taught_in(here / "mine.taught") == dict.fromkeys(TAUGHT, 5)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "give one of NAME, --background RECORDING, --list, --delete NAME and --merge OTHER.taught"),
        (["knock", "--list"], "give one of NAME"),
        (["--list"], "mine.taught: cannot be read: No such file or directory; mmg-teach writes such a file"),
        (["--merge", "other.taught"], "mine.taught: is not there: copy other.taught to it, or name another with -o"),
        (["a\x1b[2Jb", "--from", "a.csv"], "a name is 1 to 40 printable characters"),
        ([" ", "--from", "a.csv"], "a name is 1 to 40 printable characters"),
        (["None", "--from", "a.csv"], "means that it is none of the activities"),
        (["typing", "--from", "a.csv"], "typing: bundle starter knows this already; choose another name, or add --imp"),
        (["stirring", "--from", "a.csv"], "a.csv"),
        (["stirring", "--from", "a.csv", "--imu", "b.csv"], "--from brings its own sensors"),
        (["stirring", "--from", "a.csv", "--seconds", "0.5"], "--seconds 0.5: an example is 1 to 300 s"),
        (["stirring", "--from", "a.csv", "-o", "no/where"], "-o no/where: there is no folder no"),
        (["stirring", "--from", "a.csv", "--shots", "3"], "--shots has no use with --from: leave it out"),
        (["stirring", "--imu", "a.csv", "--auto"], "--auto has no use with a recording: leave it out"),
        (["--list", "--from", "a.csv"], "--from has no use with --list: leave it out"),
        (["--delete", "x", "--seconds", "3"], "--seconds has no use with --delete: leave it out"),
        (["--background", "a.csv", "--shots", "3"], "--shots has no use with --background: leave it out"),
        (["--background", "a.csv", "--imu", "b.csv"], "--imu has no use with --background: leave it out"),
        (["Walking", "--from", "a.csv"], "Walking: is walking but for its case: write walking, or choose another"),
        (["Walking", "--improve", "--from", "a.csv"], "Walking: is walking but for its case"),
        (["stirring", "--from", "a.csv", "-o", "/dev/null"], "-o /dev/null: is no file that can be replaced"),
        (["--list", "-o", "/dev/null"], "/dev/null: cannot be read: is not a regular file"),
        (["stirring", "--video", "a.mp4"], "video is off: add --allow-video"),
    ],
)
def test_what_cannot_be_is_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], problem: str
) -> None:
    assert main(arguments) in (2, 3)
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert problem in lines[0]
    assert not list(here.iterdir())


def test_a_recording_with_other_labels_says_which_it_has(
    days: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["knock", "--from", str(days / TAUGHT[0])]) == 2
    assert told(capsys).endswith(f"nothing in it is labelled 'knock'; it has {TAUGHT[0]}")
    assert not list(here.iterdir())


def test_of_a_kind_of_sensor_that_may_not_be_recorded_nothing_is_taught(
    days: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = here / "watch.toml"
    profile.write_text('name = "watch"\ndescription = "x"\n[privacy]\nrecord = ["signal"]\n')
    words = [TAUGHT[0], "--profile", str(profile)]
    assert main([*words, "--from", str(days / TAUGHT[0])]) == 0
    why = "as examples are kept: privacy.record of profile watch allows signal"
    assert f"mmg-teach: audio is left out, {why}\n" in capsys.readouterr().err
    taught = read_taught(here / "mine.taught")
    assert {name for example in taught.activities[0].examples for name in example.traces} == {"imu"}
    assert set(taught.background) == {"imu"}
    assert main([*words, "--audio", "mic://default", "-o", "other.taught"]) == 2
    needs = 'write record = ["signal", "audio"] under [privacy] there'
    assert capsys.readouterr().err == f"mmg-teach: audio: nothing may be taught with it, {why}: {needs}\n"
    assert not (here / "other.taught").exists()
    profile.write_text(profile.read_text().replace('["signal"]', '["signal", "audio"]'))
    assert main([*words, "--from", str(days / TAUGHT[0]), "-o", "other.taught"]) == 0
    assert read_taught(here / "other.taught").activities[0].modalities == ("audio", "imu")


@pytest.mark.parametrize("narrowed", ["privacy.record=[]", "privacy . record = []", "privacy={record=[]}"])
def test_what_set_leaves_out_may_be_set_again_as_it_says(
    days: Path, here: Path, capsys: pytest.CaptureFixture[str], narrowed: str
) -> None:
    words = [TAUGHT[0], "--from", str(days / TAUGHT[0]), "--profile", "generic-x86-64", "--set", narrowed]
    assert main(words) == 2
    line = told(capsys)
    why = "as examples are kept: privacy.record of profile generic-x86-64 allows nothing"
    assert line.startswith(f"mmg-teach: imu, audio: nothing may be taught with them, {why}: give --set ")
    assert main([*words, *shlex.split(line.partition(": give ")[2])]) == 0
    assert read_taught(here / "mine.taught").activities[0].modalities == ("audio", "imu")


def test_a_label_of_the_bundle_is_taught_where_it_is_meant(here: Path) -> None:
    day = save(here / "day", [("stirring", 4.2)])
    assert main(["sweeping", "--improve", "--from", str(day)]) == 0
    assert taught_in(here / "mine.taught") == {"sweeping": 1}


def test_a_file_that_is_cut_or_of_other_encoders_is_refused_and_stays(
    days: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = here / "mine.taught"
    foreign = Taught({"imu": "0" * 64}).add("stirring", Example({"imu": TRACE}))
    write_taught(path, foreign)
    whole = (days / "taught").read_bytes()
    for data, problem in ((path.read_bytes(), "another imu encoder"), (whole[:-9], "cut"), (b"hello", "is not what")):
        path.write_bytes(data)
        assert main([TAUGHT[0], "--from", str(days / TAUGHT[0])]) == 2
        assert problem in told(capsys)
        assert path.read_bytes() == data


def test_two_hundred_activities_are_the_most(days: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taught = read_taught(days / "taught")
    taught = Taught(taught.encoders)
    for number in range(200):
        taught = taught.add(f"chore {number}", Example({"imu": TRACE}))
    write_taught(here / "mine.taught", taught)
    assert main([TAUGHT[0], "--from", str(days / TAUGHT[0])]) == 2
    assert told(capsys) == "mmg-teach: mine.taught: 200 activities are taught, and no more can be: --delete one"


def test_two_hundred_activities_are_listed_at_once(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taught = Taught({"imu": "0" * 64})
    for number in range(400):
        taught = taught.add(f"chore {number % 200}", Example({"imu": another(number // 200)}))
    write_taught(here / "mine.taught", taught)
    begin_s = time.process_time()
    assert main(["--list"]) == 0
    assert time.process_time() - begin_s < 2
    shown = capsys.readouterr()
    assert shown.out.splitlines()[0] == "chore 0      2 examples  imu"
    assert len(shown.out.splitlines()) == 200
    assert (
        shown.err == "mmg-teach: mine.taught: 400 examples take a while to estimate: mmg-teach --list --estimate does\n"
    )
    assert main(["--list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["activities"][0]["recall"] is None


def test_a_file_of_more_than_can_be_compared_is_listed_and_loses_an_activity(
    days: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taught = Taught(read_taught(days / "taught").encoders)
    for number in range(9):
        traces = {"imu": Trace(np.full((500, 1, 8), number, np.float32), np.zeros((500, POINTS, 6), np.float32))}
        taught = taught.with_kept(f"chore {number}", Example(traces))
    write_taught(here / "mine.taught", taught)
    much = "mine.taught: over 33 minutes of imu examples, all that can be compared: remove an activity (mmg-teach"
    assert run_main(["--demo", "--taught", "mine.taught"]) == 2
    assert much in told(capsys)
    assert main(["stir", "--sensors", "imu", "--imu", "file:///none/live.csv"]) == 2
    assert much in told(capsys)
    assert main(["--list"]) == 0
    shown = capsys.readouterr()
    assert much in shown.err
    assert shown.out.splitlines()[0] == "chore 0    1 example   imu"
    assert main(["--delete", "chore 0"]) == 0
    assert much not in told(capsys)
    assert read_taught(here / "mine.taught").names == taught.names[1:]


def test_what_estimates_many_examples_of_another_file_names_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taught = Taught({"imu": "0" * 64})
    for number in range(MOST_ESTIMATED + 1):
        taught = taught.add(f"chore {number % 100}", Example({"imu": another(number // 100)}))
    write_taught(here / "my own.taught", taught)
    assert main(["--list", "-o", "my own.taught"]) == 0
    words = "mmg-teach --list --estimate -o 'my own.taught'"
    assert told(capsys).endswith(f"151 examples take a while to estimate: {words} does")
    assert main(shlex.split(words)[1:]) == 0
    assert "known, leaving one out" in capsys.readouterr().out


def test_a_full_disk_is_told_and_what_was_taught_stays(
    days: Path, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = here / "mine.taught"
    path.write_bytes((days / "taught").read_bytes())

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mmg.atomic_write.os.fsync", full)
    assert main([TAUGHT[0], "--from", str(days / TAUGHT[0])]) == 2
    assert told(capsys).endswith("mine.taught: cannot be written: No space left on device")
    assert taught_in(path) == dict.fromkeys(TAUGHT, 5)
    assert list(here.iterdir()) == [path]
