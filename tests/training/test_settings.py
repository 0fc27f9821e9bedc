"""Settings: read, changed, refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from mmg.errors import ConfigError
from mmg_training import checkpoint
from mmg_training.config import (
    load,
    override,
    parse_setting,
)
from mmg_training.evaluation.study import read as read_study
from training.synthetic_data import TASK, TINY, saved


def test_settings_refuse_a_key_that_they_do_not_know(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text("[data]\nsubject = 3\n")
    with pytest.raises(ConfigError, match="subject: is not a setting"):
        load(path)


def test_settings_refuse_a_value_of_another_type(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text('steps = "many"\n')
    with pytest.raises(ConfigError, match="steps: 'many' is not int"):
        load(path)


def test_a_setting_is_changed_by_its_dotted_name() -> None:
    assert override(TINY, {"data.leave_out": 3, "loss.clip": 1}, "here").data.leave_out == 3
    with pytest.raises(ConfigError, match="here: data: leave: is not a setting"):
        override(TINY, {"data.leave": 3}, "here")
    with pytest.raises(ConfigError, match=r"steps.x: is not a setting"):
        override(TINY, {"steps.x": 3}, "here")


def test_a_size_is_a_start_for_single_settings(tmp_path: Path) -> None:
    path = tmp_path / "sized.toml"
    path.write_text('[model]\nsize = "small"\nlayers = 3\n')
    assert load(path).model.token_dim == 32
    assert load(path).model.layers == 3
    own = replace(TINY, model=replace(TINY.model, imu_axes=False))
    for settings in ({"model.size": "small", "model.layers": 3}, {"model.layers": 3, "model.size": "small"}):
        model = override(own, settings, "here").model
        assert (model.token_dim, model.layers, model.imu_axes) == (32, 3, False)
    path.write_text('[model]\nsize = "huge"\n')
    with pytest.raises(ConfigError, match="'huge' is not one of small, base, large"):
        load(path)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("batch=0", "batch: 0 is less than 1"),
        ("data.held_out=1", "held_out: 1 is less than 2"),
        ("loss.temperature=0", "temperature: 0.0 is not above 0"),
        ("dropout.stretch=1.5", "stretch: 1.5 is not between 0 and 1"),
        ("dropout.modality=1.5", "modality: 1.5 is not between 0 and 1"),
        ("loss.clip=-1", "clip: -1.0 must be a number, 0 or more"),
        ("seed=-1", "seed: -1 is less than 0"),
        ("seed=99999999999999", "seed: 99999999999999 is more than"),
        ("data.session_s=0.2", "session_s: 0.2 is less than 4"),
        ("model.video_widths=[24]", r"\[24\] does not have 3 items"),
        ("model.video_widths=[0,32,64]", "has a width below 1"),
        ("model.heads=3", "heads: 3 does not divide token_dim 8"),
        ("learning_rate=NaN", "learning_rate: nan must be a number, 0 or more"),
        ("learning_rate=1e30", "learning_rate: 1e.30 is more than 1000000000.0"),
        ("loss.temperature=1e300", "temperature: 1e.300 is more than 1000000000.0"),
        ("loss.temperature=Infinity", "temperature: inf is more than 1000000000.0"),
    ],
)
def test_settings_out_of_their_range_are_refused(setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        override(TINY, dict([parse_setting(setting, "--set")]), "--set")


def test_settings_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_bytes(b"name = '\xff\xfe'\n")
    with pytest.raises(ConfigError, match="not TOML"):
        load(path)


def test_settings_with_a_key_of_thousands_of_parts_are_refused_before_it_takes_memory(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(".".join("a" * 30_000) + " = 1\n")
    with pytest.raises(ConfigError, match="line 1 has more than 64 dots"):
        load(path)


@pytest.mark.parametrize("value", ["[" * 100_000, "9" * 5000])
def test_a_setting_that_json_gives_up_on_is_a_word(value: str) -> None:
    assert parse_setting(f"name={value}", "--set") == ("name", value)


def test_task_and_settings_survive_their_json(tmp_path: Path) -> None:
    saved(tmp_path)
    model, config = checkpoint.load(tmp_path)
    assert (model.task, config) == (TASK, TINY)


@pytest.mark.parametrize("read", [load, read_study], ids=["settings", "study"])
def test_settings_that_are_a_pipe_or_have_no_end_are_refused(read: Callable[[Path], object], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(ConfigError, match="is not a regular file"):
        read(tmp_path / "pipe.toml")
    with (tmp_path / "endless.toml").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ConfigError, match="is too large for settings"):
        read(tmp_path / "endless.toml")
    (tmp_path / "deep.toml").write_text("steps = " + "[" * 60_000)
    with pytest.raises(ConfigError, match="not TOML"):
        read(tmp_path / "deep.toml")
