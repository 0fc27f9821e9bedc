"""Every command that can take long tells how far it is; here each takes long from its first moment."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mmg.board.doctor.libraries import LIBRARIES, Trial
from mmg.cli import bundle, devices, doctor, label, look, profile, progress, run, teach
from mmg.cli.sensors import DEMO
from terminals import Terminal

IMU = str(DEMO / "imu.csv")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "AFTER_S", 0.0)
    for module in ("exit_codes", "look", "run"):
        monkeypatch.setattr(f"mmg.cli.{module}.handle_signals", lambda _: None)
    monkeypatch.setattr("mmg.cli.run.keep_stderr", lambda: None)


@pytest.mark.parametrize(
    ("main", "words", "told"),
    [
        (look.main, ["--demo", "--no-sound", "-o", "page.html"], "mmg-look: opening the recording: 0 s so far"),
        (run.main, ["--explain", IMU], "mmg-run: imu read: 0 s so far"),
        (bundle.main, ["verify", "starter"], "mmg-bundle: checked: 0 s so far"),
        (label.main, [IMU, str(DEMO / "truth.csv"), "-o", "out.txt"], f"mmg-label: reading {IMU}: 0 s so far"),
        (teach.main, ["knock", "--from", IMU], f"mmg-teach: {IMU} read: 0 s so far"),
        (profile.main, ["--subsets", "imu", "--mode", "backtoback"], "mmg-profile: measured: 0 s so far"),
        (doctor.main, [], "mmg-doctor: libraries imported, each on its own: 0 s so far"),
    ],
    ids=["look", "explain", "verify", "label", "teach", "profile", "doctor"],
)
def test_a_command_that_takes_long_tells_so(
    main: Callable[[list[str]], int],
    words: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "mmg.board.profiling.campaign.COMMAND", (sys.executable, "-I", "-S", "-c", "raise SystemExit(5)")
    )
    trials = [Trial(one, 0, "", "") for one in LIBRARIES]
    monkeypatch.setattr("mmg.board.doctor.try_libraries", lambda _timeout_s, **_: trials)
    main(words)
    out, err = capsys.readouterr()
    assert told in err.splitlines()
    assert "so far" not in out


def test_an_estimate_of_many_examples_tells_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert teach.main(["knock", "--from", IMU, "--json"]) == 0
    capsys.readouterr()
    assert teach.main(["--list", "--estimate", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["activities"]
    assert err == "mmg-teach: estimated: 0 s so far\n"


def test_a_run_whose_decisions_go_to_a_file_tells_how_far_it_is(capfd: pytest.CaptureFixture[str]) -> None:
    # What capfd captures goes to files.
    assert run.main(["--demo", "--sensors", "imu", "--duration", "2", "--format", "jsonl"]) == 0
    out, err = capfd.readouterr()
    assert "mmg-run: opening: 0 s so far\n" in err
    assert [json.loads(line)["t"] for line in out.splitlines()] == [0.5, 1.0, 1.5, 2.0]


def test_a_run_that_is_read_by_a_program_tells_nothing_of_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader) as lines, os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert run.main(["--demo", "--sensors", "imu", "--duration", "2"]) == 0
        assert "imu" in lines.readline()
    assert "so far" not in capsys.readouterr().err


def test_on_a_terminal_a_run_shows_that_it_opens_recordings_until_it_decides(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal(100)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    monkeypatch.setattr(sys, "stdout", terminal.stream)
    assert run.main(["--demo", "--sensors", "imu", "--duration", "2"]) == 0
    *decided, summary, last = terminal.screen()
    assert b"mmg-run: opening [00:00]" in terminal.written
    assert [line.split()[0] for line in decided] == ["0.5", "1.0", "1.5", "2.0"]
    assert summary.startswith("mmg-run: 4 decisions from imu")
    assert last == ""
    terminal.close()


def test_who_looks_for_devices_on_a_terminal_sees_that_it_takes_a_while(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[str] = []
    terminal = Terminal(80)

    def find(**_: object) -> list[object]:
        seen.extend(terminal.screen())
        return []

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    monkeypatch.setattr("mmg.sources.ports.discovery.find_devices", find)
    assert devices.main(["--json"]) == 3
    assert seen == ["mmg-devices: looking for devices [00:00]"]
    what = "no usable imu and no usable audio device: plug one in, or see mmg at work without: mmg-run --demo"
    assert "".join(terminal.screen()) == f"mmg-devices: {what}"
    assert capsys.readouterr().out == "[]\n"
    terminal.close()
