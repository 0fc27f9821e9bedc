"""Text that others wrote, in names and in files: told on one line that does nothing to a terminal, and is bounded."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import write_tiny_bundle
from forked import mmg
from goldens import write_golden_bundle
from mmg.printable import LONGEST
from recordings import DEMO

IMU = str(DEMO / "imu.csv")
NAMES = {
    "escape": "\x1b[2J\x1b]0;owned\x07",
    "line break": "a\nmmg-run: all is well",
    "carriage return": "a\rmmg-run: all is well",
    "right to left": "\u202evsc.umi",
    "one of eight bits": "\x9b31m",
    "no UTF-8": os.fsdecode(b"\xff\xfe"),
}


def run(command: str, *words: object, encoding: str = "utf-8") -> subprocess.CompletedProcess[str]:
    return mmg(command, *words, environment={**os.environ, "PYTHONIOENCODING": encoding})


def lines_of(told: str) -> list[str]:
    """Of what was printed: each can be shown, and is no longer than it may be."""
    lines = told.removesuffix("\n").split("\n")
    for line in lines:
        assert line.isprintable() or not line
        assert len(line) <= LONGEST
    return lines


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file_of_any_name_is_one_line(name: str, tmp_path: Path) -> None:
    done = run("run", "--sensors", "imu", "--imu", tmp_path / f"{NAMES[name]}.csv")
    assert done.returncode == 3
    [line] = lines_of(done.stderr)
    assert "there is no file" in line


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("name", NAMES)
def test_a_recording_of_any_name_is_explained(name: str, encoding: str, tmp_path: Path) -> None:
    path = tmp_path / f"{NAMES[name]}.csv"
    path.write_bytes(Path(IMU).read_bytes())
    done = run("run", "--sensors", "imu", "--imu", path, "--explain", encoding=encoding)
    assert done.returncode == 0, done.stderr
    assert lines_of(done.stdout)[0].endswith(".csv")


@pytest.mark.parametrize("name", NAMES)
def test_a_word_that_no_flag_takes_is_the_last_line_of_the_usage(name: str) -> None:
    done = run("doctor", NAMES[name])
    assert done.returncode == 2
    assert lines_of(done.stderr)[-1].startswith("mmg-doctor: error: unrecognized arguments: ")


@pytest.mark.parametrize("name", NAMES)
def test_sessions_of_any_name_are_listed(name: str, tmp_path: Path) -> None:
    session = tmp_path / NAMES[name]
    session.mkdir()
    (session / "imu.csv").write_bytes(Path(IMU).read_bytes())
    (session / "labels.csv").write_text("start_s,end_s,label\n1,30,walk\n")
    done = run("mmg_training.cli.data", tmp_path, encoding="ascii")
    assert done.returncode in (0, 1), done.stderr
    assert lines_of(done.stdout)


UNDECODABLE = {
    "run": ("run", "{here}", "--duration", "1"),
    "run --bundle": ("run", IMU, "--sensors", "imu", "--duration", "1", "--bundle", "{here}/tiny.mmg"),
    "look": ("look", "{here}", "-o", "{here}/look.html"),
    "label": ("label", "{here}", "{here}/labels.csv", "-o", "{here}/labels.txt"),
    "bundle inspect": ("bundle", "inspect", "--json", "{here}/tiny.mmg"),
    "bundle verify": ("bundle", "verify", "--json", "{here}/tiny.mmg"),
    "bundle diff": ("bundle", "diff", "--json", "{here}/tiny.mmg", "{here}/tiny.mmg"),
}


@pytest.mark.parametrize("command", UNDECODABLE)
def test_a_folder_whose_name_is_no_utf_8_is_one_like_any(command: str, tmp_path: Path) -> None:
    here = tmp_path / NAMES["no UTF-8"]
    here.mkdir()
    for name in ("imu.csv", "audio.ogg"):
        (here / name).write_bytes((DEMO / name).read_bytes())
    (here / "labels.csv").write_text("start_s,end_s,label\n1,30,walk\n")
    write_golden_bundle(here / "tiny.mmg")
    module, *words = UNDECODABLE[command]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}  # where no model is known
    done = mmg(module, *(word.format(here=here) for word in words), environment=environment)
    assert done.returncode == 0, done.stderr
    lines_of(done.stderr)


def test_a_bundle_whose_name_is_no_utf_8_is_measured(tmp_path: Path) -> None:
    path = write_tiny_bundle(tmp_path / f"{NAMES['no UTF-8']}.mmg")
    words = ("--subsets", "imu", "--backends", "onnx", "--precisions", "fp32", "--mode", "backtoback", "--hops", "2")
    report = json.loads(run("profile", "--bundle", path, *words, "--json").stdout)
    assert report["bundle"]["path"] == f"{tmp_path}/??.mmg"
    assert [case["outcome"] for case in report["cases"]] == ["measured"]


def long_json(path: Path) -> None:
    path.write_text(json.dumps([{"acc\x1b" + "x" * 1_000_000: 1.0, "t": index} for index in range(3)]))


def long_header(path: Path) -> None:
    names = ",".join(f"acc\x1b[31m{'y' * 5000}{index}" for index in range(9))
    path.write_text(names + "\n" + "\n".join(",".join("123456789") for _ in range(50)))


def long_lines(path: Path) -> None:
    path.write_text("[" + "z" * 1_000_000 + "\n")


READERS = {
    "run": ("run", "--imu", "{path}", "--sensors", "imu"),
    "run --explain": ("run", "--imu", "{path}", "--sensors", "imu", "--explain"),
    "run --truth": ("run", "--imu", IMU, "--sensors", "imu", "--truth", "{path}"),
    "run --compare": ("run", "--imu", IMU, "--sensors", "imu", "--compare", "{path}"),
    "run --profile": ("run", "--imu", IMU, "--sensors", "imu", "--profile", "{path}"),
    "look --decisions": ("look", "--imu", IMU, "-o", "{out}", "--decisions", "{path}"),
    "label": ("label", IMU, "{path}"),
    "profile --compare": ("profile", "--compare", "{path}"),
}


@pytest.mark.parametrize("write", [long_json, long_header, long_lines])
@pytest.mark.parametrize("reader", READERS)
def test_what_a_file_is_told_to_hold_is_bounded(reader: str, write: Callable[[Path], None], tmp_path: Path) -> None:
    module, *words = READERS[reader]
    path = tmp_path / ("table.toml" if "--profile" in words else "table.csv" if write is long_header else "table.json")
    write(path)
    done = run(module, *(word.format(path=path, out=tmp_path / "out.html") for word in words))
    assert done.returncode in (2, 3), done.stderr[-500:]
    [_] = [line for line in lines_of(done.stderr) if " so far" not in line]  # that is told of a slow one
