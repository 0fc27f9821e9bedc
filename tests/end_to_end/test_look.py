"""mmg-look as its users run it: with good and bad input, and what it leaves on disk."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from forked import mmg_run
from mmg.cli.look import main
from mmg.look.tables import clock
from recordings import DEMO, ROOT

LINE = '{{"t": {}, "label": "walking", "confidence": 0.5, "sensors": {{"imu": {{"state": "live"}}}}}}\n'


def look(*arguments: object, capsys: pytest.CaptureFixture[str], code: int = 0) -> str:
    """Run the command here; what it said on standard error."""
    assert main([str(one) for one in arguments]) == code
    return capsys.readouterr().err


def write_imu(path: Path, seconds: float = 4, gravity: float = 9.8) -> Path:
    rows = ["t_ms,ax,ay,az,gx,gy,gz"]
    for index in range(int(seconds * 50)):
        values = np.random.default_rng(index).normal(0, 0.05, 6) + [0, 0, gravity, 0, 0, 0]
        noise = ",".join(f"{value:.4f}" for value in values)
        rows.append(f"{index * 20},{noise}")
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture
def decisions(tmp_path: Path) -> Path:
    path = tmp_path / "decisions.jsonl"
    path.write_text("".join(LINE.format(0.5 * hop) for hop in range(1, 8)))
    return path


@pytest.fixture
def imu(tmp_path: Path) -> Path:
    return write_imu(tmp_path / "walk.csv")


def test_a_recording_without_a_truth_becomes_a_page_beside_it(imu: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = look(imu, capsys=capsys)
    page = imu.with_suffix(".html")
    assert f"wrote {page}: 4 s, " in said
    text = page.read_text("utf-8")
    assert "<h1>walk.csv</h1>" in text
    assert str(imu.parent) not in text
    assert "Decisions and truth" not in text
    assert stat.S_IMODE(page.stat().st_mode) == 0o600


def test_what_mmg_run_printed_gives_the_same_page_as_deciding_now(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = tmp_path / "decisions.jsonl"
    lines.write_text(mmg_run("--imu", DEMO / "imu.csv", "--truth", DEMO / "truth.csv", "--format", "jsonl").stdout)
    flags = ["--imu", DEMO / "imu.csv", "--title", "the same"]
    look(*flags, "--truth", DEMO / "truth.csv", "-o", tmp_path / "now.html", capsys=capsys)
    look(*flags, "--decisions", lines, "-o", tmp_path / "then.html", capsys=capsys)

    def tables(name: str) -> list[str]:
        return re.findall(r"<table.*?</table>", (tmp_path / name).read_text("utf-8"))

    assert len(tables("now.html")) == 2
    assert tables("then.html") == tables("now.html")


@pytest.mark.parametrize("hop_s", [1 / 3, 1.0])
def test_decisions_of_another_hop_stand_for_as_long_as_they_did(
    imu: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], hop_s: float
) -> None:
    lines = tmp_path / "others.jsonl"
    lines.write_text("".join(LINE.format(round(hop_s * hop, 6)) for hop in range(7, 67) if hop != 30))
    look("--imu", imu, "--decisions", lines, capsys=capsys)
    page = imu.with_suffix(".html").read_text("utf-8")
    [[decided, _]] = re.findall(r"<th scope=.row.>.*?<td class=.number.>(.*?)</td>.*?(</tr>)", page)
    assert decided == clock(59 * hop_s)
    facts = json.loads(page.split('id="facts">')[1].split("</script>")[0])
    assert facts["decisions"]["hop_s"] == pytest.approx(hop_s, rel=1e-6)
    assert "59 decisions by others.jsonl" in page


def test_no_sound_is_kept_where_none_is_wanted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    look("--demo", "--no-sound", "-o", page, capsys=capsys)
    text = page.read_text("utf-8")
    assert "sound to be played: none was kept" in text
    assert 'id="sound"></script>' in text
    assert json.loads(re.findall(r'id="facts">(.*?)<', text)[0])["spectrograms"]


def test_an_imu_that_cannot_be_right_is_looked_at_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_imu(tmp_path / "walk.csv", seconds=10, gravity=1.0)
    assert "nothing was decided" in look("--imu", f"{path}?acc_unit=m/s2", capsys=capsys)
    text = path.with_suffix(".html").read_text("utf-8")
    assert "0 decisions" in text
    assert "<li>nothing was decided: no usable sensor (imu: faulty" in text
    assert "acceleration: every sample" in text


def test_labels_past_the_end_are_told_and_left_out(
    imu: Path, decisions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("start_s,end_s,label\n1,2,here\n3,99,to the end\n100,101,beyond\n")
    said = look(imu, "--decisions", decisions, "--labels", labels, capsys=capsys)
    assert "labels: 1 span left out: they lie outside the recording, which has 4.0 s" in said
    text = imu.with_suffix(".html").read_text("utf-8")
    assert "to the end" in text
    assert "beyond" not in text


def test_a_page_is_replaced_only_if_that_is_asked_for(
    imu: Path, decisions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = imu.with_suffix(".html")
    page.write_text("my own")
    said = look(imu, "--decisions", decisions, capsys=capsys, code=2)
    assert said == f"mmg-look: {page}: is there already: add --overwrite to replace it, or name another place with -o\n"
    assert page.read_text() == "my own"
    look(imu, "--decisions", decisions, "--overwrite", capsys=capsys)
    assert page.read_text("utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "name one thing to look at"),
        (["{imu}", "--demo"], 2, "name one thing to look at"),
        (["nothing.zip"], 3, "there is no file"),
        (["--imu", "nothing.csv"], 3, "there is no file"),
        (["--imu", "serial:///dev/ttyUSB0"], 2, "is a live port: record it first"),
        (["--imu", "{imu}", "--source", "x"], 2, "--source x: must be NAME=URL"),
        (["--source", "ppg={imu}"], 2, "has no sensor 'ppg'"),
        (["--video", "{imu}"], 2, "add --allow-video"),
        (["{imu}", "--bundle", "nothing.mmg"], 4, "nothing.mmg"),
        (["{imu}", "--labels", "nothing.csv"], 2, "nothing.csv: No such file"),
        (["{imu}", "--truth", "{imu}"], 2, "needs the columns start_s, end_s"),
        (["{imu}", "--decisions", "nothing.jsonl"], 2, "nothing.jsonl: No such file"),
        (["{imu}", "--decisions", "{imu}"], 2, "line 1: is no decision of mmg-run --format jsonl"),
        (["{imu}", "-o", "no/such/page.html"], 2, "there is no folder"),
        (["{imu}", "-o", "/dev/full"], 2, "is not a regular file"),
        (["{imu}", "-o", "."], 2, "is not a regular file"),
    ],
)
def test_bad_input_is_one_line_and_no_page(
    arguments: list[str], code: int, said: str, imu: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = look(*(one.format(imu=imu) for one in arguments), capsys=capsys, code=code)
    assert said in told
    assert told.count("\n") == 1
    assert sorted(path.name for path in imu.parent.iterdir()) == ["walk.csv"]


def test_links_that_lead_to_each_other_are_one_line(
    imu: Path, decisions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    page.symlink_to(page)
    said = look(imu, "--decisions", decisions, "-o", page, capsys=capsys, code=2)
    assert said.endswith(f"mmg-look: cannot write {page}: Too many levels of symbolic links\n")


def test_a_full_disk_is_one_line_and_leaves_what_was_there(
    imu: Path, decisions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.html"
    page.write_text("the old one")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    said = look(imu, "--decisions", decisions, "-o", page, "--overwrite", capsys=capsys, code=2)
    assert said.endswith(f"mmg-look: cannot write {page}: No space left on device\n")
    assert page.read_text() == "the old one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["decisions.jsonl", "page.html", "walk.csv"]


def test_ctrl_c_leaves_no_half_page(tmp_path: Path) -> None:
    sound = tmp_path / "long.wav"
    with wave.open(str(sound), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(np.random.default_rng(1).integers(-900, 900, 3600 * 16_000, np.int16).tobytes())
    command = [sys.executable, "-m", "mmg.cli.look", str(sound)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stderr is not None
        first = process.stderr.readline()  # progress, after two seconds
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert re.search(r"decided: \d+ of 3600 s", first + rest)
    assert rest.endswith("mmg-look: stopped\n")
    assert [path.name for path in tmp_path.iterdir()] == ["long.wav"]
