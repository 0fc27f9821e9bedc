"""A URL names a recording: what it says, and what it cannot say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fakes import UNUSED_ENCODER
from mmg.bundle.manifest import Channel, Modality
from mmg.errors import ConfigError, SourceError, SourceNotFound
from mmg.sources import open_source
from mmg.sources.url import Placing, parse_url

PPG = Modality(name="ppg", kind="signal", rate_hz=10, channels=(Channel(name="ppg", unit=""),), encoder=UNUSED_ENCODER)
CAMERA = Modality(name="video", kind="video", rate_hz=10, channels=(), encoder=UNUSED_ENCODER, frame=(4, 4))
ROWS = "t_ms,ppg\n0,1\n100,2\n200,3\n"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("file:///data/walk.csv", "/data/walk.csv"),
        ("file://data/walk.csv", "data/walk.csv"),
        ("file://../shared/walk.csv", "../shared/walk.csv"),
        ("file://.../walk.csv", ".../walk.csv"),
        ("FILE:///a%20walk%3F.csv?rate=5", "/a walk?.csv"),
        ("data/walk.csv", "data/walk.csv"),
        ("100%25.csv?rate=5", "100%25.csv"),
        ("file:///a#b.csv", "/a#b.csv"),
    ],
)
def test_the_path_is_everything_between_the_scheme_and_the_options(text: str, path: str) -> None:
    parsed = parse_url(text)
    assert (parsed.scheme, parsed.path) == ("file", path)


def test_a_name_that_is_not_unicode_keeps_its_bytes() -> None:
    assert os.fsencode(parse_url("file:///walk%FF.csv").path) == b"/walk\xff.csv"


def test_options_are_decoded_and_a_plus_stays_a_plus() -> None:
    assert parse_url("x.csv?Columns=a+b,c%26d&time=t").options == {"columns": "a+b,c&d", "time": "t"}


@pytest.mark.parametrize("text", ["file://", "", "?rate=5", "file:///a%00b", "a.csv?rate", "a.csv?rate=", "a?x=1&x=2"])
def test_a_url_that_says_nothing_useful_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_url(text)


@pytest.mark.parametrize("name", ["walk.csv", "a walk?.csv", "100%.csv"])
def test_absolute_relative_and_plain_names_find_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / name).write_text(ROWS)
    monkeypatch.chdir(inner)
    quoted = name.replace("%", "%25").replace("?", "%3F")
    urls = [f"file://{tmp_path}/{quoted}", f"file://../{quoted}"]
    if "?" not in name:
        urls += [f"../{name}", str(tmp_path / name)]
    for url in urls:
        assert open_source(url, PPG).duration_s == pytest.approx(0.2)


def test_an_unknown_scheme_lists_those_known() -> None:
    with pytest.raises(ConfigError, match=r"unknown scheme tape://: known are .*file://"):
        open_source("tape:///reel", PPG)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("serial:/dev/ttyUSB0", "serial:///dev/ttyUSB0"),
        ("SERIAL:/dev/ttyUSB0?baud=9600", "serial:///dev/ttyUSB0?baud=9600"),
        ("serial:ttyUSB0", "serial:///dev/ttyUSB0"),
        ("serial://dev/ttyUSB0", "serial:///dev/ttyUSB0"),
        ("camera:/dev/video0", "camera:///dev/video0"),
        ("camera:video0", "camera:///dev/video0"),
        ("camera://dev/video0", "camera:///dev/video0"),
        ("mic:default", "mic://default"),
        ("iio:lsm6dsox", "iio://lsm6dsox"),
        ("file:/data/walk.csv", "file:///data/walk.csv"),
    ],
)
def test_a_url_with_a_slash_too_few_is_refused_with_the_right_one(text: str, meant: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_url(text)
    assert str(caught.value).endswith(f": write {meant}")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("default", r"there is no file .*/default \(a microphone is mic://default\)"),
        ("hw:1,0", r"\(a microphone is mic://hw:1,0\)"),
        ("plughw:1", r"\(a microphone is mic://hw:1\)"),
        ("/dev/ttyUSB77", r"\(a port is serial:///dev/ttyUSB77\)"),
        ("/dev/video77", r"\(a camera is camera:///dev/video77\)"),
        ("/dev/snd/pcmC77D0c", r"\(a microphone is mic://default\)"),
        ("/dev/iio:device77", r"\(a chip is iio://NAME, which mmg-devices shows\)"),
        ("walk.csv", r"there is no file .*/walk.csv$"),
    ],
)
def test_a_port_that_is_named_as_a_file_is_told_its_url(
    text: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceNotFound, match=hint):
        open_source(text, PPG)


def test_a_device_that_is_there_is_told_its_url() -> None:
    with pytest.raises(SourceError, match="is not a regular file: write serial:///dev/tty for a port"):
        open_source("/dev/tty", PPG)


def test_a_file_whose_name_looks_like_a_url_is_taken_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mic:default").write_text(ROWS)
    monkeypatch.chdir(tmp_path)
    assert open_source("./mic:default", PPG).duration_s == pytest.approx(0.2)


def test_an_unknown_option_is_named_with_those_allowed(tmp_path: Path) -> None:
    path = tmp_path / "walk.csv"
    path.write_text(ROWS)
    with pytest.raises(ConfigError, match=r"'speed'.*time_unit.*start, offset"):
        open_source(f"{path}?speed=2", PPG)
    with pytest.raises(ConfigError, match="'acc_unit'"):
        open_source(f"{path}?acc_unit=g", PPG)


@pytest.mark.parametrize("name", ["none.csv", "none/none.csv", "walk.csv/none"])
def test_a_missing_file_is_not_found(tmp_path: Path, name: str) -> None:
    (tmp_path / "walk.csv").write_text(ROWS)
    with pytest.raises(SourceNotFound, match="there is no file"):
        open_source(str(tmp_path / name), PPG)


def test_an_empty_folder_an_empty_file_and_a_device_are_no_recordings(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    (tmp_path / "none").mkdir()
    for path, why in (
        (tmp_path / "none", "holds no table"),
        (tmp_path / "empty.csv", "empty"),
        ("/dev/zero", "regular"),
    ):
        with pytest.raises(SourceError, match=why):
            open_source(str(path), PPG)


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path) -> None:
    path = tmp_path / "walk.csv"
    path.write_text(ROWS)
    path.chmod(0)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        with pytest.raises(SourceError, match="cannot be read: Permission denied"):
            open_source(str(path), PPG)
    finally:
        if root:
            os.seteuid(0)


def test_video_stays_closed_unless_allowed_even_where_nothing_is_there() -> None:
    with pytest.raises(ConfigError, match="--allow-video"):
        open_source("file:///nothing/here.mp4", CAMERA)
    with pytest.raises(SourceNotFound):
        open_source("file:///nothing/here.mp4", CAMERA, allow_video=True)


def test_start_replaces_and_offset_adds_to_the_files_clock() -> None:
    assert Placing.of(parse_url("x?start=1657533977.810000001"), 5) == Placing(1657533977_810000001, 0)
    assert Placing.of(parse_url("x?start=2&offset=-0.5"), None) == Placing(1_500_000_000, 0)
    assert Placing.of(parse_url("x?offset=0.5"), 7) == Placing(500_000_007, 0)
    assert Placing.of(parse_url("x?offset=0.5"), None) == Placing(None, 500_000_000)


@pytest.mark.parametrize("value", ["soon", "nan", "inf", "1e30"])
def test_a_shift_must_be_a_sensible_number(value: str) -> None:
    with pytest.raises(ConfigError, match="offset="):
        Placing.of(parse_url(f"x?offset={value}"), 0)


def test_importing_the_sources_brings_no_numpy_and_no_optional_library() -> None:
    heavy = ("numpy", "soundfile", "av", "projectaria_tools")
    code = f"import sys, mmg.sources; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
