"""A folder of one's own sessions: found, read, looked at and split. None of it needs torch."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from mmg.errors import ConfigError
from mmg.labels import Label, labels_of
from mmg_training.cli.data import main
from mmg_training.config import DataConfig
from mmg_training.data import load as load_data
from mmg_training.data.folder.found import UNKNOWN, Recorded, find_sessions
from mmg_training.data.folder.pieces import pieces_of, too_short_s
from mmg_training.data.folder.reading import Read, read_session, read_sessions, sensors_of
from mmg_training.data.folder.split import Described, split
from mmg_training.data.parts import told
from mmg_training.data.sessions import UNLABELLED, Dataset
from mmg_training.task import Task

HEADER = "t_ms,ax (m/s^2),ay (m/s^2),az (m/s^2),gx (rad/s),gy (rad/s),gz (rad/s)\n"
BOTH = "start_s,end_s,label\n0,{0},a\n{0},{1},b\n"


def imu(path: Path, seconds: float, scale: float = 1.0, pause: tuple[float, float] = (0, 0)) -> Path:
    """A wearer who moves a little, in each place in another way; nothing comes in the pause."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(zlib.crc32(os.fsencode(path.parent)))
    lines = []
    for k in range(round(seconds * 50)):
        t = k / 50
        if not pause[0] <= t < pause[1]:
            row = scale * rng.normal((0, 0, 9.80665, 0, 0, 0), (0.6, 0.6, 0.6, 0.2, 0.2, 0.2))
            lines.append(f"{round(t * 1000)},{','.join(f'{v:.4f}' for v in row)}\n")
    path.write_text(HEADER + "".join(lines))
    return path


def session(folder: Path, seconds: float = 40.0, person: str = "", labels: str = BOTH) -> Path:
    imu(folder / "imu.csv", seconds)
    if labels:
        (folder / "labels.csv").write_text(labels.format(seconds / 2, seconds))
    if person:
        (folder / "session.toml").write_text(f'person = "{person}"\n')
    return folder


def found(root: Path) -> dict[str, Recorded]:
    return {one.name: one for one in find_sessions(root)}


def loaded(root: Path, **settings: object) -> tuple[Dataset, list[str]]:
    told: list[str] = []
    return load_data(DataConfig(set="folder", root=str(root), **settings), told.append), told  # type: ignore[arg-type]


def test_sessions_are_folders_and_recordings_and_a_folder_of_folders_is_a_person(tmp_path: Path) -> None:
    session(tmp_path / "walk", person="ann")
    session(tmp_path / "bob" / "monday")
    session(tmp_path / "bob" / "tuesday")
    (tmp_path / "bob" / "monday.html").write_text("as mmg-look writes beside it")
    imu(tmp_path / "home" / "phone" / "imu.csv", 5)
    (tmp_path / "home" / "labels.csv").write_text("start_s,end_s,label\n0,5,a\n")
    imu(tmp_path / "ride.csv", 5)
    (tmp_path / "ride.wav").write_bytes(b"RIFF")
    (tmp_path / "ride.labels.csv").write_text("start_s,end_s,label\n0,5,a\n")
    (tmp_path / "ride.txt").write_text("0.0\t5.0\ta\n")
    (tmp_path / "ride.session.toml").write_text('person = "cat"\nplace = "street"\n')
    (tmp_path / "notes.md").write_text("nothing of ours")
    (tmp_path / ".hidden").mkdir()
    sessions = found(tmp_path)
    assert {name: one.person for name, one in sessions.items()} == {
        "walk": "ann",
        "bob/monday": "bob",
        "bob/tuesday": "bob",
        "home": UNKNOWN,
        "ride": "cat",
    }
    assert [path.name for path in sessions["ride"].files] == ["ride.csv", "ride.wav"]
    assert sessions["ride"].place == "street"
    assert labels_of(sessions["ride"].files[0]) == (Label(0, 5, "a"),)


def test_a_folder_and_a_file_of_one_name_are_not_mixed_up(tmp_path: Path) -> None:
    session(tmp_path / "ride")
    imu(tmp_path / "ride.csv", 5)
    with pytest.raises(ConfigError, match="two sessions are called ride, a folder and a file perhaps: rename one"):
        find_sessions(tmp_path)


def test_names_that_are_no_utf_8_are_words_that_metrics_can_hold(tmp_path: Path) -> None:
    root = tmp_path / os.fsdecode(b"caf\xe9")
    for number in range(2):
        session(root / os.fsdecode(b"ren\xe9") / f"day{number}", 9)
        session(root / "ann" / f"day{number}", 9)
    made, _ = loaded(root)
    assert (made.task.name, made.held_out) == ("caf?", "people: ren?")
    assert told(made).lines[0] == "Trained on: ann."
    for name in (b"\xe8", b"\xe9"):
        (root / os.fsdecode(name)).mkdir()
    with pytest.raises(ConfigError, match=r"two sessions are called \?"):
        find_sessions(root)


def test_a_table_says_who_and_where(tmp_path: Path) -> None:
    session(tmp_path / "one")
    session(tmp_path / "two")
    (tmp_path / "sessions.csv").write_text("session,person,place\none,ann,kitchen\n")
    sessions = found(tmp_path)
    assert (sessions["one"].person, sessions["one"].place) == ("ann", "kitchen")
    assert sessions["two"].person == UNKNOWN


@pytest.mark.parametrize(
    ("table", "about", "message"),
    [
        ("session,person\nthree,ann\n", "", "there is no session 'three'"),
        ("session,person\none,ann\none,bob\n", "", "line 3: names a session twice"),
        ("person\nann\n", "", "line 2: names no session"),
        ("session,age\none,44\n", "", "'age' is not one of person, place"),
        ("session,person\none,ann\n", 'person = "bob"\n', "person is 'bob', but 'ann' in sessions.csv"),
        ("", "person = 3\n", "person is to be a word"),
        ("", "person\n", "not TOML"),
        ("", ".".join("a" * 30_000) + " = 1\n", "line 1 has more than 64 dots"),
    ],
)
def test_who_and_where_that_cannot_be_is_told_in_one_line(tmp_path: Path, table: str, about: str, message: str) -> None:
    session(tmp_path / "one")
    if table:
        (tmp_path / "sessions.csv").write_text(table)
    if about:
        (tmp_path / "one" / "session.toml").write_text(about)
    with pytest.raises(ConfigError) as caught:
        find_sessions(tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_session_is_read_hop_by_hop_as_a_device_would(tmp_path: Path) -> None:
    read = read_session(Recorded("one", (session(tmp_path / "one", 20),)), sensors_of((), False))
    assert read.problems == []
    assert read.samples["imu"].shape == (39 * 25, 6)  # the last hop lacks its end
    assert read.present["imu"].all()
    assert read.seconds() == {"a": 10.0, "b": 9.5}


def test_what_is_wrong_with_a_session_is_told_and_not_raised(tmp_path: Path) -> None:
    sensors = sensors_of((), False)

    def problems(folder: Path) -> str:
        return " | ".join(read_session(Recorded("one", (folder,)), sensors).problems)

    late = session(tmp_path / "late", labels="start_s,end_s,label\n0,10,a\n100,110,b\n")
    assert "'b' from 100 to 110 s is past the end of the recording" in problems(late)
    shared = session(tmp_path / "shared", labels="start_s,end_s,label\n0,10,a\n5,15,b\n")
    assert "overlap" in problems(shared)
    assert "has no labels" in problems(session(tmp_path / "bare", labels=""))
    in_g = session(tmp_path / "in_g")
    imu(in_g / "imu.csv", 40, scale=1 / 9.80665)
    in_words = problems(in_g)
    assert "though its unit is given as m/s2 (acc_unit=g would explain it)" in in_words
    assert "imu: faulty in 100% of its hops, which are left out" in in_words
    assert read_session(Recorded("in_g", (in_g,)), sensors).samples == {}
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "holds none of imu, audio" in problems(empty)
    broken = session(tmp_path / "broken")
    (broken / "imu.csv").write_text("nothing\n")
    assert "imu" in problems(broken)


def test_sensors_that_never_overlap_and_that_end_apart_are_told(tmp_path: Path) -> None:
    import soundfile

    sensors = sensors_of((), False)
    rng = np.random.default_rng(1)
    stopped = session(tmp_path / "stopped", 20)
    soundfile.write(stopped / "sound.wav", rng.normal(0, 0.1, 16_000 * 12), 16_000)
    read = read_session(Recorded("stopped", (stopped,)), sensors)
    assert "audio ends at 12 s and imu at 19.5 s: one of them stopped, or their clocks disagree" in read.problems
    assert read.present["audio"].sum() == 24
    assert len(read.samples["audio"]) == len(read.present["audio"]) * 8000


def test_a_session_is_cut_where_a_sensor_pauses_and_to_what_is_near_a_label(tmp_path: Path) -> None:
    folder = session(tmp_path / "one", labels="start_s,end_s,label\n10,14,a\n20,32,b\n")
    imu(folder / "imu.csv", 40, pause=(25, 27))
    read = read_session(Recorded("one", (folder,)), sensors_of((), False))
    task = Task("own", ("a", "b"), ("imu",))
    pieces = pieces_of(read, task, 3, read.ticks({"a": 0, "b": 1}))
    assert [one.hops for one in pieces] == [16, 17, 10]  # 6 to 14 s, 16 to 24.5 s, 27 to 32 s
    assert {one.subject for one in pieces} == {3}
    assert [len(one.samples["imu"]) for one in pieces] == [16 * 25, 17 * 25, 10 * 25]
    assert (pieces[0].labels[:16] == UNLABELLED).all()
    assert pieces[0].labels[16] == 0
    assert too_short_s(pieces) == 0.0
    brief = Read(read.session, labels=(Label(0, 2, "a"),), samples=read.samples, present={"imu": np.ones(4, np.bool_)})
    assert too_short_s(pieces_of(brief, task, 3, brief.ticks({"a": 0}))) == 2.0


def test_what_two_labels_share_is_not_labelled() -> None:
    read = Read(Recorded("one", ()), labels=(Label(0, 2, "a"), Label(1, 3, "b"), Label(3, 4, "b")))
    read.present["imu"] = np.ones(8, np.bool_)
    assert read.ticks({"a": 0, "b": 1})[1::2].tolist() == [0, 0, -1, -1, 1, 1, 1, 1]
    assert read.seconds() == {"a": 1.0, "b": 2.0}
    assert read.ticks({"b": 1})[1::2].tolist() == [-1, -1, -1, -1, 1, 1, 1, 1]  # a counts, though it has no number
    read.present["imu"][6:] = False
    assert read.seconds() == {"a": 1.0, "b": 1.0}


def described(**people: dict[str, dict[str, float]]) -> list[Described]:
    return [Described(name, person, labels) for person, own in people.items() for name, labels in own.items()]


AB = {"a": 60.0, "b": 60.0}


def test_people_are_held_out_where_all_are_named() -> None:
    made = split(described(ann={"1": AB, "2": AB}, bob={"3": AB}, cat={"4": AB}))
    assert (made.by, made.training, made.test, made.calibration) == ("people", ("1", "2", "3"), ("4",), ())
    assert made.held_out == "people: cat"
    assert any("confidence was fitted on nobody" in one for one in made.limits)


def test_of_many_people_some_fit_the_confidence_and_others_measure() -> None:
    made = split([Described(f"s{number:02}", f"p{number:02}", AB) for number in range(15)])
    assert (len(made.training), len(made.calibration), len(made.test)) == (9, 2, 4)
    assert not {*made.training} & {*made.calibration, *made.test}
    assert not {*made.calibration} & {*made.test}


def test_sessions_are_held_out_where_one_names_nobody() -> None:
    made = split(described(ann={"1": AB, "2": AB}, unknown={"3": AB}))
    assert (made.by, made.training, made.test) == ("sessions", ("1", "2"), ("3",))
    assert "as not every session says who it is of" in made.notes[0]
    assert any("other people were not tried" in one for one in made.limits)


def test_every_label_stays_in_training() -> None:
    made = split(described(ann={"1": AB}, bob={"2": AB}, cat={"3": {**AB, "c": 60.0}}))
    assert made.test == ("2",)
    with pytest.raises(ConfigError, match="without cat nobody shows c: hold out others"):
        split(described(ann={"1": AB}, bob={"2": AB}, cat={"3": {**AB, "c": 60.0}}), ("cat",))


def test_where_nothing_can_be_held_out_that_is_said() -> None:
    for sessions in (described(ann={"1": AB}), described(ann={"1": {"a": 9.0}}, bob={"2": {"b": 9.0}})):
        made = split(sessions)
        assert (made.by, made.test) == ("nothing", ())
        assert made.training
        assert "nothing is held out" in made.notes[0]


def test_whom_to_hold_out_may_be_named() -> None:
    people = described(ann={"1": AB}, bob={"2": AB, "3": AB}, cat={"4": AB})
    assert split(people, ("bob",)).test == ("2", "3")
    assert split(people, ("2",)).by == "trials"
    assert split(people, ("all",)).test == ("1", "2", "3", "4")
    with pytest.raises(ConfigError, match="dan: are not among ann, bob, cat"):
        split(people, ("dan",))


def test_the_folder_becomes_a_data_set_without_leaks(tmp_path: Path) -> None:
    for person in ("ann", "bob", "cat"):
        session(tmp_path / person, 40, person)
    made, said = loaded(tmp_path)
    assert made.task.labels == ("a", "b")
    assert made.task.modalities == ("imu",)
    assert {one.source for one in made.training[0].sessions} == {"ann", "bob"}
    assert {one.source for one in made.test} == {"cat"}
    assert {made.people[one.subject] for one in made.test} == {"cat"}
    assert told(made).lines == (
        "Trained on: ann and bob.",
        "Validation: nobody, so no temperatures.",
        "Test: people: cat.",
    )
    assert [line for line in said if " so far" not in line] == []  # that is told where it takes long


def test_the_parts_may_be_named_as_for_any_other_set(tmp_path: Path) -> None:
    for person in ("ann", "bob", "cat"):
        session(tmp_path / person / "mon", 9)
        session(tmp_path / person / "tue", 9)
    made, _ = loaded(tmp_path, train_people=("ann",), validation_people=("bob",), test_trials=("cat/tue",))
    assert {one.source for one in made.training[0].sessions} == {"ann/mon", "ann/tue"}
    assert {one.source for one in made.calibration} == {"bob/mon", "bob/tue"}
    assert {one.source for one in made.test} == {"cat/tue"}
    assert {one.source for one in loaded(tmp_path, test_trials=("mon",))[0].test} == {"ann/mon", "bob/mon", "cat/mon"}
    with pytest.raises(ConfigError, match=r"data\.hold_out: goes without data\.test_people"):
        loaded(tmp_path, hold_out=("ann",), test_people=("bob",))
    with pytest.raises(ConfigError, match=r"data\.test_people: dan is not in .*; there are ann, bob and cat"):
        loaded(tmp_path, test_people=("dan",))


def test_a_copy_of_a_recording_is_neither_trained_on_nor_measured(tmp_path: Path) -> None:
    for person in ("ann", "bob", "cat"):
        session(tmp_path / person, 9, person)
    shutil.copytree(tmp_path / "cat", tmp_path / "dan")
    (tmp_path / "dan" / "session.toml").write_text('person = "dan"\n')
    made, said = loaded(tmp_path)
    assert "dan: imu is left out: it is the same recording as that of cat" in said
    assert {one.source for one in (*made.training[0].sessions, *made.test)} == {"ann", "bob", "cat"}


def test_two_sensors_that_are_dead_are_no_copies(tmp_path: Path) -> None:
    for name in ("one", "two"):
        session(tmp_path / name, 9)
        (tmp_path / name / "imu.csv").write_text(HEADER + "".join(f"{k * 20},0,0,9.8,0,0,0\n" for k in range(450)))
    for read in read_sessions(find_sessions(tmp_path), sensors_of(("imu",), False)):
        assert read.present["imu"].any(), read.problems


def test_whoever_is_not_named_counts_as_a_person_nobody_knows(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        session(tmp_path / name)
    made, _ = loaded(tmp_path)
    assert {one.source for one in made.test} == {"two"}
    assert told(made).training == "2 recordings of people whom nobody names"


def test_nobody_is_taken_for_a_virtual_wearer_who_is_trained_on_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMG_CACHE", str(tmp_path / "cache"))
    for person in ("ann", "bob", "cat"):
        session(tmp_path / "own" / person, 9, person)
    made, _ = loaded(tmp_path / "own", keep=True, subjects=4, held_out=2, sessions=1, session_s=4.0)
    assert {pool.name for pool in made.training} == {"own recordings", "virtual wearer"}
    assert told(made).lines[1:] == (
        "Validation: the starter's labels, virtual wearers 1000 to 1000.",
        "Test: people: cat.",
    )
    assert "The confidence was fitted on virtual wearers alone." in made.limits
    assert not any("fitted on nobody" in one for one in made.limits)


def test_another_folder_is_measured_as_a_whole_by_the_labels_that_are_known(tmp_path: Path) -> None:
    session(tmp_path / "one")
    made, _ = loaded(tmp_path, hold_out=("all",), names=("b", "c"))
    assert made.training == ()
    assert made.task.labels == ("b", "c")
    assert {int(label) for one in made.test for label in one.labels} == {UNLABELLED, 0}
    assert loaded(tmp_path, hold_out=("all",))[0].task.labels == ("a", "b")


@pytest.mark.parametrize(
    ("labels", "settings", "message"),
    [
        ("start_s,end_s,label\n0,9,a\n", {}, "a model needs two labels at least, and a is labelled"),
        ("start_s,end_s,label\n0,9,a\n9.05,9.1,b\n", {}, "a model needs two labels at least, and a is labelled"),
        ("start_s,end_s,label\n9,9,a\n", {}, "no session has both a sensor and labels"),
        ("", {}, "no session has both a sensor and labels"),
        (BOTH, {"modalities": ("video",)}, "video stays closed"),
        (BOTH, {"modalities": ("ppg",)}, "'ppg' is not one of imu, audio, video"),
    ],
)
def test_a_folder_that_cannot_be_trained_on_says_why(
    tmp_path: Path, labels: str, settings: dict[str, object], message: str
) -> None:
    session(tmp_path / "one", labels=labels)
    with pytest.raises(ConfigError, match=message):
        loaded(tmp_path, **settings)


def test_a_label_that_no_hop_has_is_told_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two"):
        session(tmp_path / name, labels="start_s,end_s,label\n0,9,a\n9,20,b\n20.05,20.1,tap\n")
    made, said = loaded(tmp_path)
    assert made.task.labels == ("a", "b")
    assert "tap: is left out, as no half second has it and a sensor" in said
    for name in ("one", "two"):
        (tmp_path / name / "labels.csv").write_text("start_s,end_s,label\n0,9,a\n20.05,20.1,tap\n")
    assert main([str(tmp_path)]) == 1
    assert "a is the only label: a model needs two at least" in capsys.readouterr().out


def test_the_command_tells_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    session(tmp_path / "a")
    monkeypatch.setattr("mmg.cli.progress.AFTER_S", 0.0)
    main([str(tmp_path), "--json"])
    out, err = capsys.readouterr()
    assert "mmg-data: read: 0 of 1 sessions, 0 s so far\n" in err
    assert json.loads(out)


def test_the_command_tells_what_there_is_and_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session(tmp_path / "ann", 40, "ann")
    session(tmp_path / "bob", 40, "bob", "start_s,end_s,label\n0,30,a\n25,39,b\n")
    session(tmp_path / "odd", 40, labels="")
    assert main([str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "3 sessions" in told
    [line] = [line for line in told.splitlines() if line.startswith("a ")]
    assert line.split() == ["a", "45", "s", "20", "s", "25", "s", "0", "s"]
    for line in (
        "! odd: has no labels",
        "! bob: 'a' (0 to 30 s) and 'b' (25 to 39 s) overlap",
        "! odd does not say who it is of",
        "split by person: trained on ann; measured on bob",
    ):
        assert line in told
    assert main([str(tmp_path), "--json"]) == 0
    as_json = json.loads(capsys.readouterr().out)
    assert as_json["seconds"]["people"]["ann"] == {"a": 20.0, "b": 19.5}
    assert as_json["usable"] == 2


@pytest.mark.parametrize(("name", "code"), [("nothing", 2), ("empty", 2)])
def test_the_command_ends_in_one_line_where_there_is_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, code: int
) -> None:
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / name)]) == code
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_folder_without_anything_to_train_on_ends_with_1(tmp_path: Path) -> None:
    session(tmp_path / "one", labels="")
    assert main([str(tmp_path)]) == 1


def test_it_needs_no_torch(tmp_path: Path) -> None:
    session(tmp_path / "one")
    code = (
        "import sys; sys.modules['torch'] = None\n"
        f"from mmg_training.cli.data import main; sys.exit(main([{str(tmp_path)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
