"""Who is in which part of a data set, by people, by trials, by lists and by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mmg.errors import ConfigError
from mmg_training.config import DataConfig, build
from mmg_training.data.split import Named, Parts, counted, hold_out, split
from mmg_training.splitting import SplitConfig

# Two actions of eight people, three repeats of each, as UTD-MHAD names them.
TRIALS = [f"a{action}_s{person}_t{repeat}" for action in (1, 2) for person in range(1, 9) for repeat in (1, 2, 3)]


def called(trial: str) -> Named:
    _, person, repeat = trial.split("_")
    return Named(person[1:], (trial, repeat[1:]))


def parts(folder: Path = Path("here"), said: list[str] | None = None, **settings: Any) -> Parts[str]:
    wanted = build(SplitConfig, settings, "--set")
    return split(TRIALS, called, wanted, folder, (said if said is not None else []).append)


def people(trials: tuple[str, ...]) -> set[int]:
    return {int(called(one).person) for one in trials}


def repeats(trials: tuple[str, ...]) -> set[str]:
    return {called(one).names[1] for one in trials}


def test_odd_people_train_and_even_people_are_tested() -> None:
    made = parts(train_people="odd", test_people="even")
    assert people(made.training) == {1, 3, 5, 7}
    assert people(made.test) == {2, 4, 6, 8}
    assert made.validation == ()
    assert made.by == "people"
    assert sorted((*made.training, *made.test)) == sorted(TRIALS)


@pytest.mark.parametrize("given", [[1, 3], ["1", "3"], ["01", 3]])
def test_people_are_named_by_numbers_or_words(given: list[Any]) -> None:
    made = parts(train_people=given, validation_people=5, test_people=[7])
    assert (people(made.training), people(made.validation), people(made.test)) == ({1, 3}, {5}, {7})


def test_whoever_is_named_in_no_part_is_trained_on_only_where_no_setting_says_who_is() -> None:
    assert people(parts(test_people=[2, 4]).training) == {1, 3, 5, 6, 7, 8}
    assert people(parts(train_people=[1], test_people=[2]).training) == {1}
    assert parts(train_people="odd").test == ()


def test_trials_are_named_by_their_repeat_or_by_themselves() -> None:
    made = parts(test_trials=[3])
    assert (repeats(made.training), repeats(made.test)) == ({"1", "2"}, {"3"})
    assert people(made.training) == people(made.test)
    assert parts(test_trials="a1_s2_t3").test == ("a1_s2_t3",)
    assert repeats(parts(train_trials="odd", test_trials="even").training) == {"1", "3"}


def test_settings_of_one_part_narrow_each_other() -> None:
    made = parts(train_people="odd", test_people="even", test_trials=[1])
    assert people(made.test) == {2, 4, 6, 8}
    assert repeats(made.test) == {"1"}
    assert len(made.test) == 8


def test_lists_name_files_with_or_without_their_folder_and_ending(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("# the authors' list\na1_s1_t1\nvideos/a1_s1_t2.mp4  # cut\n\n")
    (tmp_path / "test.txt").write_text("imu\\a2_s2_t1.csv\r\na9_s9_t9\n")
    said: list[str] = []
    made = parts(tmp_path, said, train_list="train.txt", test_list="test.txt")
    assert made.training == ("a1_s1_t1", "a1_s1_t2")
    assert made.test == ("a2_s2_t1",)
    assert made.by == "lists"
    assert said == ["data.test_list: 1 of 2 names are not there; the first is 'a9_s9_t9'"]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"train_people": [1, 2], "test_people": [2, 3]}, "data.test_people: person 2 is named in data.train_people"),
        ({"validation_people": 4, "test_people": "even"}, "data.test_people: person 4 is named in data.validation_pe"),
        ({"train_people": "odd", "test_trials": 1}, "data.test_trials: a1_s1_t1 is named in data.train_people too"),
        ({"test_people": [2, 9]}, "data.test_people: 9 is not in here; there are 1, 2, 3, 4, 5, 6, 7 and 8"),
        ({"train_people": "anna"}, "data.train_people: anna is not in here"),
        ({"train_trials": 4}, "data.train_trials: 4 is not in here; there are 48 from a1_s1_t1 to a2_s8_t3"),
        ({"test_people": [1], "test_trials": ["a1_s2_t1"]}, "data.test_people with data.test_trials: no recording is"),
        ({"test_list": "none.txt"}, "data.test_list: here/none.txt: No such file"),
        ({"test_people": [[1]]}, "test_people: [1] is neither a name nor a number"),
        ({"test_people": True}, "test_people: True is neither a name nor a number"),
        ({"test_people": [""]}, "test_people: '' is neither a name nor a number"),
        ({"test_people": 1.5}, "test_people: 1.5 is neither a name nor a number"),
    ],
)
def test_wrong_parts_are_told_in_one_line_that_names_the_setting(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parts(**settings)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"# nothing\n", "names nothing"),
        (b"other\n", "nothing that it names is in"),
        (b"\xff\xfe\x00", "is not text"),
    ],
)
def test_a_list_of_nothing_is_told(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "test.txt").write_bytes(content)
    with pytest.raises(ConfigError, match=f"data.test_list: .*test.txt: {told}"):
        parts(tmp_path, test_list="test.txt")


def test_people_in_the_settings_survive_their_json() -> None:
    config = build(DataConfig, {"train_people": [1, 3], "test_people": "even"}, "--set")
    assert config.train_people == ("1", "3")
    assert build(DataConfig, vars(config), "again") == config


# --- where nobody is named -----------------------------------------------------------------------------------------


def test_whole_people_are_held_out_where_several_are_known() -> None:
    made = hold_out(TRIALS, called, lambda trial: [trial[:2]])
    assert made.by == "people"
    assert len(people(made.test)) == 2
    assert not people(made.training) & people(made.test)
    assert made == hold_out(TRIALS, called, lambda trial: [trial[:2]])


@pytest.mark.parametrize("person", ["anna", ""])
def test_whole_sessions_are_held_out_where_people_cannot_be(person: str) -> None:
    walks = [f"{day}/{file}" for day in ("mon", "tue", "wed", "thu") for file in ("a", "b")]
    made = hold_out(walks, lambda one: Named(person, (one[:3],)), lambda _: ["walk"])
    assert made.by == "sessions"
    assert len({one[:3] for one in made.test}) == 1
    assert not {one[:3] for one in made.test} & {one[:3] for one in made.training}


def test_no_label_loses_its_last_recording_to_the_test() -> None:
    labels = {"anna": ["walk", "sit"], "ben": ["walk"], "carl": ["walk", "row"]}
    made = hold_out(sorted(labels), lambda one: Named(one, (one,)), lambda one: labels[one])
    assert made.test == ("ben",)
    alone = hold_out(["anna"], lambda one: Named(one, (one,)), lambda one: labels[one])
    assert (alone.training, alone.test, alone.by) == (("anna",), (), "nothing")


def test_many_names_are_told_by_their_number() -> None:
    assert counted(["10", "9", "2"]) == "2, 9 and 10"
    assert counted([str(number) for number in range(1, 40)]) == "39 from 1 to 39"
