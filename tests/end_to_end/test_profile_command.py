"""mmg-profile as its users run it: real processes on tiny bundles, what it prints, and its exit codes."""

from __future__ import annotations

import errno
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime
import pytest
from fakes import (
    IMU_CHANNELS,
    TOKEN_DIM,
    matrix,
    onnx_model,
    signal_modality,
    tiny_files,
    tiny_manifest,
    write_tiny_bundle,
)
from forked import mmg
from mmg.board.profiling.compare import compare
from mmg.board.profiling.result import Case, Report, encode, read_report
from mmg.bundle import describe_file, write_bundle
from mmg.cli.profile import main
from msgspec.structs import replace
from numpy.typing import NDArray
from onnx import helper
from profile_reports import SUBSETS, made_report
from recordings import ROOT

Done = subprocess.CompletedProcess[str]

CPU = "sys/devices/system/cpu"
PI4_FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"
PATIENCE_S = 60.0


def mmg_profile(*arguments: object, timeout_s: float = PATIENCE_S) -> Done:
    return mmg("profile", *arguments, timeout_s=timeout_s, cwd=ROOT)


def assert_refused(done: Done, code: int, text: str) -> None:
    """One line on standard error, which holds this text, and nothing else: nothing was measured before."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("mmg-profile: ")
    assert done.stderr.count("\n") == 1
    assert text in done.stderr


def one_line(text: str) -> str:
    """The text as if the terminal were as wide as it takes."""
    return " ".join(text.split())


def report_of(done: Done) -> Report:
    return msgspec.json.decode(done.stdout, type=Report)


def write_report(path: Path, report: Report) -> Path:
    path.write_bytes(encode(report))
    return path


def lay(root: Path, files: Mapping[str, object]) -> Path:
    """Write these files below the root, as the kernel does, with a line's end."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def lay_board(root: Path, *, limit_khz: int, firmware: str | None) -> Path:
    """A board of four cores of 1500 MHz, whose clock is limited to this, and what its firmware says."""
    values = {"scaling_governor": "ondemand", "scaling_cur_freq": 900_000, "scaling_max_freq": limit_khz}
    files: dict[str, object] = {
        f"{CPU}/cpu{core}/cpufreq/{name}": value
        for core in range(4)
        for name, value in {**values, "cpuinfo_max_freq": 1_500_000}.items()
    }
    files |= {"sys/class/thermal/thermal_zone0/type": "cpu-thermal", "sys/class/thermal/thermal_zone0/temp": 84200}
    files |= {"proc/meminfo": "MemTotal: 4096000 kB\nMemAvailable: 3072000 kB", "proc/loadavg": "0.42 0.3 0.2"}
    if firmware is not None:
        files |= {PI4_FIRMWARE: firmware, "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0"}
    return lay(root, files)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny.mmg")


@pytest.fixture
def one_case(tiny: Path) -> list[object]:
    """Flags of the shortest measurement that there is."""
    words: list[object] = ["--bundle", tiny, "--subsets", "imu", "--backends", "onnx", "--precisions", "fp32"]
    return [*words, "--mode", "backtoback", "--hops", 2]


# --- measuring -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Done, Path]:
    """Every subset of the tiny bundle back to back, on a board that is well; and its report in a file."""
    folder = tmp_path_factory.mktemp("measured")
    root = lay_board(folder / "root", limit_khz=1_500_000, firmware="0")
    words = ["--bundle", tiny, "--backends", "onnx", "--mode", "backtoback", "--hops", 60, "--root", root, "--json"]
    done = mmg_profile(*words)
    (folder / "report.json").write_text(done.stdout)
    return done, folder / "report.json"


def test_every_subset_is_measured_and_the_json_is_a_report(measured: tuple[Done, Path], tiny: Path) -> None:
    done, path = measured
    assert done.returncode == 0, done.stderr
    report = report_of(done)
    assert encode(report).decode() == done.stdout
    assert report == read_report(str(path))
    assert (report.mode, report.budget, report.bundle.name, report.bundle.path) == ("backtoback", {}, "tiny", str(tiny))
    assert "--json" in report.command
    cases = {(case.modalities, case.precision): case for case in report.cases}
    assert set(cases) == {(subset, precision) for subset in SUBSETS for precision in ("fp32", "int8")}
    told = [line for line in done.stderr.splitlines() if not line.startswith("mmg-profile: tried ")]
    assert all(re.match(r"mmg-profile: measured: \d of 7 cases, ", line) for line in told)
    for (subset, precision), case in cases.items():
        if precision == "int8":
            assert (case.outcome, case.reason) == ("unavailable", "the bundle has no onnx files in int8")
            continue
        assert case.outcome == "measured", case.reason
        assert set(case.stages) == {"resample", *subset, "fusion", "post", "sink", "hop"}
        assert {stage.n for stage in case.stages.values()} == {60}
        assert case.memory is not None
        assert case.memory.base_mib < case.memory.steady_mib <= case.memory.peak_mib
        assert case.cold is not None
        assert min(msgspec.structs.astuple(case.cold)) > 0
        assert case.cpu_percent is None
        assert case.accuracy == (0.9 if subset == ("imu",) else None)


def test_a_board_that_is_well_gives_no_reason_to_doubt(measured: tuple[Done, Path]) -> None:
    report = report_of(measured[0])
    assert report.machine.model.startswith("Raspberry Pi 4 Model B Rev 1.4, according to /")
    for case in report.cases:
        if case.outcome == "measured":
            assert case.before is not None
            assert (case.before.governor, case.before.throttled, case.before.free_mib) == ("ondemand", (), 3000)
            # Whether a busy machine's medians repeat is another matter.
            assert not [reason for reason in case.reasons if not reason.startswith("does not repeat")]
            assert case.valid == (not case.reasons)


def test_show_gives_the_same_again_without_measuring(measured: tuple[Done, Path]) -> None:
    done, path = measured
    shown = mmg_profile("--show", path, "--json")
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, done.stdout, "")


def test_a_report_compared_with_itself_has_changed_in_nothing(measured: tuple[Done, Path], tmp_path: Path) -> None:
    report = read_report(str(measured[1]))
    # However busy this machine was when it was measured.
    cases = tuple(replace(case, valid=True, reasons=()) for case in report.cases)
    path = write_report(tmp_path / "report.json", replace(report, cases=cases))
    done = mmg_profile("--show", path, "--compare", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"of \d+ figures 0 became worse and 0 better, beyond noise", one_line(done.stdout))
    assert "this does not compare the code alone" not in done.stdout
    assert "worse beyond noise" not in done.stdout


@pytest.mark.realtime
@pytest.mark.alone
def test_a_paced_case_tells_when_a_decision_came_and_what_share_of_the_processor_it_took(tiny: Path) -> None:
    words = ["--bundle", tiny, "--subsets", "imu+audio+video", "--backends", "onnx", "--precisions", "fp32"]
    done = mmg_profile(*words, "--hops", 2, "--set", "energy.meter=none", "--set", "energy.core_w=3.5", "--json")
    assert done.returncode == 0, done.stderr
    (case,) = report_of(done).cases
    assert case.hops == 2
    assert case.stages["event_to_decision"].n == 2
    # A hop's last sample is at most a hop old at its end.
    assert 0 < case.stages["event_to_decision"].min_ms <= case.stages["capture_age"].min_ms
    assert case.cpu_percent is not None
    assert 0 < case.cpu_percent < 100
    assert "2 samples are fewer than 10: give more --hops" in case.reasons
    assert case.energy is not None
    assert not case.energy.measured
    assert case.energy.meter.startswith("estimate: ")


def test_a_model_that_is_damaged_fails_its_cases_alone(tmp_path: Path) -> None:
    path = write_tiny_bundle(tmp_path / "tiny")
    data = (path / "imu.onnx").read_bytes()
    (path / "imu.onnx").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    words = ["--bundle", path, "--subsets", "imu,audio", "--backends", "onnx", "--precisions", "fp32"]
    done = mmg_profile(*words, "--mode", "backtoback", "--hops", 2, "--json")
    assert done.returncode == 1
    broken, whole = report_of(done).cases
    assert (broken.outcome, whole.outcome) == ("failed", "measured")
    assert broken.reason == f"bundle {path}: imu.onnx: its SHA-256 is not the manifest's: the bundle is altered"
    assert "Traceback" not in done.stderr


# --- budget and throttling -----------------------------------------------------------------------------------------


def test_over_the_budget_is_exit_code_1_and_says_by_how_much(one_case: list[object]) -> None:
    done = mmg_profile(*one_case, "--budget", "--set", "budget.memory_mib=1")
    assert done.returncode == 1, done.stderr
    found = re.search(r"memory_mib ([\d.]+) is ([\d.]+) over the budget of 1 \(\d+ %\)", one_line(done.stdout))
    assert found
    assert float(found[1]) - float(found[2]) == pytest.approx(1.0)
    assert "over the budget" in done.stdout


def test_what_was_measured_on_a_throttled_board_is_not_to_be_relied_on(tmp_path: Path, one_case: list[object]) -> None:
    root = lay_board(tmp_path / "root", limit_khz=1_500_000, firmware="60006")
    done = mmg_profile(*one_case, "--root", root, "--json")
    assert done.returncode == 0, done.stderr
    (case,) = report_of(done).cases
    assert (case.outcome, case.valid) == ("measured", False)
    assert "throttled: frequency capped, throttled" in case.reasons
    (tmp_path / "report.json").write_text(done.stdout)
    shown = mmg_profile("--show", tmp_path / "report.json")
    assert "not reliable" in shown.stdout
    assert "throttled: frequency capped, throttled" in one_line(shown.stdout)


def test_a_clock_that_is_limited_all_the_time_is_a_warning(tmp_path: Path, one_case: list[object]) -> None:
    root = lay_board(tmp_path / "root", limit_khz=1_200_000, firmware=None)
    done = mmg_profile(*one_case, "--root", root, "--json")
    assert done.returncode == 0, done.stderr
    (case,) = report_of(done).cases
    assert "clock limited to 1200 of 1500 MHz" in case.warnings
    assert not [reason for reason in case.reasons if "throttled" in reason]


def test_an_earlier_report_is_held_against_todays_budget(tmp_path: Path) -> None:
    path = write_report(tmp_path / "report.json", made_report(mode="backtoback"))
    done = mmg_profile("--show", path, "--budget", "--set", "budget.memory_mib=1")
    assert done.returncode == 1
    assert "over the budget of 1 (" in one_line(done.stdout)
    as_json = mmg_profile("--show", path, "--budget", "--set", "budget.memory_mib=1", "--json")
    assert as_json.returncode == 1
    assert "mmg-profile: imu onnx fp32 1t: memory_mib " in as_json.stderr


def test_what_goes_beside_the_json_goes_to_standard_error(tmp_path: Path) -> None:
    path = write_report(tmp_path / "report.json", made_report())
    done = mmg_profile("--show", path, "--compare", path, "--advise", "--set", "budget.memory_mib=100", "--json")
    assert done.returncode == 0, done.stderr
    assert report_of(done).budget
    assert "mmg-run --bundle" in done.stderr
    assert "0 became worse" in done.stderr


def test_a_full_disk_for_one_output_does_not_lose_the_other(tmp_path: Path) -> None:
    path, page = write_report(tmp_path / "report.json", made_report()), tmp_path / "page.html"
    done = mmg_profile("--show", path, "--markdown", "/dev/full", "--html", page)
    assert (done.returncode, page.is_file()) == (2, True)
    assert "cannot write /dev/full: No space left on device" in done.stderr
    page.unlink()
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "mmg.cli.profile", "--show", str(path), "--html", str(page), "--json"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 2
    assert "cannot write: No space left on device" in done.stderr
    assert page.read_text().startswith("<!doctype html>")


def test_a_page_for_which_there_is_no_room_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, page = write_report(tmp_path / "report.json", made_report()), tmp_path / "page.html"
    assert main(["--show", str(path), "--html", str(page)]) == 0
    old = page.read_text()

    def find_no_room(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", find_no_room)
    assert main(["--show", str(path), "--html", str(page)]) == 2
    assert page.read_text() == old
    assert sorted(tmp_path.iterdir()) == [page, path]


def test_a_page_that_is_written_anew_stays_who_may_read_it_and_where_links_lead(tmp_path: Path) -> None:
    path, page, link = write_report(tmp_path / "report.json", made_report()), tmp_path / "p.html", tmp_path / "l.html"
    page.write_text("old")
    page.chmod(0o600)
    link.symlink_to(page)
    assert main(["--show", str(path), "--html", str(link)]) == 0
    assert link.is_symlink()
    assert page.read_text().startswith("<!doctype html>")
    assert page.stat().st_mode & 0o777 == 0o600


def test_a_page_may_go_to_standard_output(tmp_path: Path) -> None:
    path = write_report(tmp_path / "report.json", made_report())
    done = mmg_profile("--show", path, "--html", "/dev/stdout")
    assert done.returncode == 0, done.stderr
    assert "<!doctype html>" in done.stdout


def test_a_report_is_made_though_nothing_can_be_told_beside_it(tmp_path: Path) -> None:
    path, page = write_report(tmp_path / "report.json", made_report()), tmp_path / "page.html"
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "mmg.cli.profile", "--show", str(path), "--html", str(page), "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=full, text=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, page.is_file()) == (0, True)
    assert report_of(done) == made_report()


# --- bad input -----------------------------------------------------------------------------------------------------


def test_an_unknown_sensor_is_refused_with_those_that_there_are(tiny: Path) -> None:
    done = mmg_profile("--bundle", tiny, "--subsets", "imu,imu+radar")
    assert_refused(done, 2, "bundle tiny has no sensor 'radar'; it has imu, audio, video")


def test_no_bundle_is_exit_code_4(tmp_path: Path) -> None:
    assert_refused(mmg_profile("--bundle", tmp_path / "nowhere.mmg"), 4, f"bundle {tmp_path}/nowhere.mmg: ")


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _data: b"",
    "cut off": lambda data: data[: len(data) // 2],
    "bytes": lambda _data: bytes(range(256)),
    "another schema": lambda data: data.replace(b"mmg-profile/1", b"mmg-profile/9"),
    "a key too many": lambda data: data.replace(b'"hop_s"', b'"hop_s": 1, "hop_length"'),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_report_is_told_in_one_line_before_measuring(tmp_path: Path, tiny: Path, what: str) -> None:
    path = tmp_path / "old.json"
    path.write_bytes(DAMAGES[what](encode(made_report())))
    done = mmg_profile("--bundle", tiny, "--compare", path)
    assert_refused(done, 2, f"{path}: is not a report of mmg-profile --json: ")


def test_a_report_that_is_missing_is_told_in_one_line(tmp_path: Path, tiny: Path) -> None:
    path = tmp_path / "old.json"
    assert_refused(mmg_profile("--bundle", tiny, "--compare", path), 2, f"{path}: No such file or directory")
    assert_refused(mmg_profile("--show", tmp_path), 2, f"{tmp_path}: Is a directory")


@pytest.mark.parametrize("flag", ["--html", "--markdown"])
def test_a_folder_that_does_not_exist_is_told_before_measuring(tmp_path: Path, tiny: Path, flag: str) -> None:
    path = tmp_path / "nowhere" / "report"
    assert_refused(mmg_profile("--bundle", tiny, flag, path), 2, f"there is no folder {tmp_path}/nowhere")


def test_a_place_that_cannot_be_written_is_told_before_measuring(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Whoever runs the tests may write everywhere, as root does.
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert main(["--bundle", str(tiny), "--html", str(tmp_path / "page.html")]) == 2
    assert capsys.readouterr().err == f"mmg-profile: {tmp_path}/page.html: nothing can be written in {tmp_path}\n"


def test_links_that_lead_to_each_other_are_told_before_measuring(tmp_path: Path, tiny: Path) -> None:
    path = tmp_path / "page.html"
    path.symlink_to(path)
    done = mmg_profile("--bundle", tiny, "--html", path)
    assert_refused(done, 2, f"{path}: cannot be written: Too many levels of symbolic links")


def test_a_report_is_no_second_one_of_its_own_program(tmp_path: Path) -> None:
    path = write_report(tmp_path / "report.json", made_report())
    again = write_report(tmp_path / "again.json", made_report())
    done = mmg_profile("--show", path, "--compare", path, "--compare", again)
    assert_refused(done, 2, f"--compare {again}: this report was given before")


def test_limits_of_the_real_pace_are_told_where_they_are_not_held(one_case: list[object]) -> None:
    done = mmg_profile(*one_case, "--budget", "--set", "budget.power_mw=73", "--set", "budget.cpu_percent=10")
    assert "not checked back to back, because they apply to the real pace: cpu_percent 10, power_mw 73" in done.stderr


def test_a_profile_without_this_key_is_refused(tiny: Path) -> None:
    assert_refused(mmg_profile("--bundle", tiny, "--set", "budget.memory=80"), 2, "did you mean memory_mib?")


def test_a_report_that_is_shown_is_not_measured_otherwise(tmp_path: Path) -> None:
    path = write_report(tmp_path / "report.json", made_report())
    assert_refused(mmg_profile("--show", path, "--hops", 3), 2, "leave out --hops")


WRONG = [
    "--subsets imu,,audio",
    "--subsets imu+audio,audio+imu",
    "--subsets +",
    "--backends onnx,tensorflow",
    "--backends onnx,onnx",
    "--precisions int4",
    "--threads 0",
    "--threads 1,1",
    "--threads 1,01",
    "--threads 65",
    "--threads two",
    "--mode fast",
    "--hops 0",
    "--hops 2.5",
    "--hops -3",
    "--hops 1000001",
    "--deadline 0",
    "--deadline -5",
    "--deadline nan",
    "--deadline inf",
    "--deadline soon",
    "--root /nowhere/at/all",
    "--budge",
    "imu",
]


@pytest.mark.parametrize("words", WRONG)
def test_a_wrong_flag_is_exit_code_2_and_names_it(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    assert ended.value.code == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "mmg-profile: error: " in told.err
    assert words.split()[0] in told.err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("--mode backtoback --deadline 5", "--deadline applies to decisions at the real pace"),
        ("--html one.html --markdown one.html", "one.html: is given for both --markdown and --html"),
        ("--profile=", "there is no such board"),
    ],
)
def test_what_contradicts_itself_is_refused_before_measuring(tiny: Path, words: str, text: str) -> None:
    assert_refused(mmg_profile("--bundle", tiny, *words.split()), 2, text)


def test_a_boards_profile_on_another_board_is_told(tmp_path: Path, one_case: list[object]) -> None:
    root = lay_board(tmp_path / "root", limit_khz=1_500_000, firmware="0")
    done = mmg_profile(*one_case, "--root", root, "--profile", "raspberry-pi-5")
    assert "profile raspberry-pi-5 is for another board than this one, which is " in done.stderr


def test_a_provider_that_is_not_there_is_a_warning(one_case: list[object]) -> None:
    there = set(onnxruntime.get_available_providers())
    known = ("XnnpackExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider")
    absent = next(name for name in known if name not in there)
    done = mmg_profile(*one_case, "--set", f'providers=["{absent}"]', "--json")
    (case,) = report_of(done).cases
    assert f"{absent} is not in this onnxruntime" in case.warnings


def test_help_teaches_and_is_exit_code_0() -> None:
    done = mmg_profile("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for text in ("mmg-profile --advise --set budget.memory_mib=80", "no sensor is opened", "exit codes: 0 done, 1 "):
        assert text in done.stdout


# --- being stopped -------------------------------------------------------------------------------------------------


def wait_until(holds: Callable[[], bool]) -> None:
    end_s, pause = time.monotonic() + PATIENCE_S, threading.Event()
    while not holds():
        assert time.monotonic() < end_s
        pause.wait(0.01)


def is_measuring(process: int) -> bool:
    """Whether it is a case's process that has come as far as its library."""
    try:
        return "onnxruntime" in Path(f"/proc/{process}/maps").read_text()
    except OSError:
        return False


def cases_of(process: int) -> list[int]:
    """The processes that measure a case now; another tries the models first."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [int(number) for number in children if is_case(int(number))]


def is_case(process: int) -> bool:
    try:
        return b"mmg.board.profiling" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


@pytest.fixture
def running(tiny: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A command that measures for long, and a file descriptor of its child's process."""
    # A job in the background ignores SIGINT, and so do its children: as on a terminal, this one does not.
    plain = ["env", "--default-signal=INT,TERM,HUP"]
    command = [*plain, sys.executable, "-m", "mmg.cli.profile", "--bundle", str(tiny), "--hops", "10000"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        wait_until(lambda: any(map(is_measuring, cases_of(process.pid))))
        (child,) = map(os.pidfd_open, cases_of(process.pid))
        try:
            yield process, child
        finally:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(child, signal.SIGKILL)
            os.close(child)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("to_all", [False, True], ids=["to the command", "as a terminal does, to all"])
def test_a_run_that_is_stopped_ends_with_130_and_leaves_no_child(
    running: tuple[subprocess.Popen[str], int], number: signal.Signals, to_all: bool
) -> None:
    process, child = running
    if to_all:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    told = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert told[0] == ""
    assert told[1].splitlines()[-1] == "mmg-profile: stopped"
    assert "Traceback" not in told[1]
    assert select.select([child], [], [], PATIENCE_S)[0], "its child lives on"


def test_a_run_that_is_stopped_reports_the_cases_that_are_done(tiny: Path) -> None:
    flags = ["--mode", "backtoback", "--hops", "60", "--backends", "onnx", "--json"]
    plain = ["env", "--default-signal=INT,TERM,HUP"]
    process = subprocess.Popen(
        [*plain, sys.executable, "-m", "mmg.cli.profile", "--bundle", str(tiny), "--threads", "1,2,3", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: any(map(is_measuring, cases_of(process.pid))))
        measured = cases_of(process.pid)
        wait_until(lambda: cases_of(process.pid) not in ([], measured))
        process.send_signal(signal.SIGINT)
        out, told = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert process.returncode == 130, told
    assert told.splitlines()[-1] == "mmg-profile: stopped: the report has only the cases that were done by then"
    report = msgspec.json.decode(out, type=Report)
    assert report.stopped
    first, *others = report.cases
    assert first.outcome == "measured"
    assert {case.outcome for case in others} == {"unavailable"}
    assert sum(case.reason == "not measured: stopped earlier" for case in others) > 1


# --- a slower encoder ----------------------------------------------------------------------------------------------

WIDTH = 384


def products_encoder(products: int, rows: int) -> bytes:
    """An IMU encoder that does so many products of ``rows`` times 384 times 384, one after another."""
    nodes = [helper.make_node("Tile", ["samples", "tiles"], ["product 0"])]
    for number in range(products):
        nodes.append(helper.make_node("MatMul", [f"product {number}", "turn"], [f"product {number + 1}"]))
    nodes += [
        helper.make_node("ReduceMean", [f"product {products}"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("MatMul", ["mean", "weight"], ["tokens"]),
    ]
    channels = len(IMU_CHANNELS)
    weights: dict[str, NDArray[Any]] = {
        "tiles": np.array([1, rows // 25, WIDTH // channels], np.int64),
        # Small entries beside the identity: values neither grow nor vanish, whose products take longer.
        "turn": np.eye(WIDTH, dtype=np.float32) + matrix(WIDTH, WIDTH) * np.float32(1e-3),
        "weight": matrix(WIDTH, TOKEN_DIM) / np.float32(WIDTH),
    }
    return onnx_model(nodes, {"samples": (1, 25, channels)}, {"tokens": (1, 1, TOKEN_DIM)}, weights)


def write_products_bundle(path: Path, products: int, rows: int) -> Path:
    data = products_encoder(products, rows)
    modality = signal_modality()
    modality = replace(
        modality, encoder=replace(modality.encoder, files=(describe_file("onnx", "fp32", "imu.onnx", data),))
    )
    manifest = tiny_manifest(modality)
    write_bundle(path, manifest, tiny_files(manifest) | {"imu.onnx": data})
    return path


def measure(path: Path, *flags: object) -> Report:
    words: list[object] = ["--bundle", path, "--backends", "onnx", "--precisions", "fp32", "--threads", 1]
    done = mmg_profile(*words, *flags, "--json", timeout_s=300)
    assert done.returncode == 0, done.stderr
    return report_of(done)


def only_case(report: Report) -> Case:
    (case,) = report.cases
    assert case.outcome == "measured", case.reason
    return case


@pytest.mark.realtime
@pytest.mark.alone
def test_an_encoder_that_takes_three_times_as_long_misses_the_deadline_that_the_other_keeps(tmp_path: Path) -> None:
    # Long beside the 20 ms that a block of samples may come after the hop's end.
    normal = write_products_bundle(tmp_path / "normal.mmg", 4, 4000)
    slow = write_products_bundle(tmp_path / "slow.mmg", 12, 4000)
    # A machine that becomes slower or faster between the runs makes either late or none: a few tries find it steady.
    for _ in range(5):
        stages = only_case(measure(normal, "--hops", 4)).stages
        deadline_ms = 1.5 * stages["event_to_decision"].p95_ms
        kept = only_case(measure(normal, "--hops", 4, "--deadline", deadline_ms))
        report = measure(slow, "--hops", 4, "--deadline", deadline_ms)
        missed = only_case(report)
        if kept.misses == kept.missed_by_stalls and missed.misses >= 3:
            break
    assert kept.deadline_ms == pytest.approx(deadline_ms)
    assert kept.misses == kept.missed_by_stalls
    assert missed.misses >= 3
    (warning,) = missed.warnings
    assert warning.startswith(f"{missed.misses} of 4 decisions came later than {deadline_ms:g} ms, the latest after ")
    shown = mmg_profile("--show", write_report(tmp_path / "report.json", report))
    assert shown.returncode == 0
    assert warning in one_line(shown.stdout)
    assert f" {missed.misses}/4 " in shown.stdout


@pytest.mark.realtime
@pytest.mark.alone
def test_an_encoder_that_takes_three_times_as_long_is_called_slower(tmp_path: Path) -> None:
    flags = ("--mode", "backtoback", "--hops", 110)
    bundles = [write_products_bundle(tmp_path / f"{products}.mmg", products, 300) for products in (4, 12)]
    # A machine that becomes busy between the two makes any encoder slow: a few tries find it steady.
    for _ in range(3):
        # However busy it is: three times is far beyond what its medians differ by.
        old, new = (
            replace(report, cases=(replace(only_case(report), valid=True, reasons=()),))
            for report in (measure(path, *flags) for path in bundles)
        )
        slower = {change.figure: change.ratio for change in compare([old], new).slower}
        if min(slower.get("imu p50", 0.0), slower.get("hop p50", 0.0)) > 1.5:
            break
    assert {"imu p50", "hop p50"} <= set(slower)
    assert min(slower["imu p50"], slower["hop p50"]) > 1.5
    assert not compare([old], old).slower
    done = mmg_profile(
        "--show", write_report(tmp_path / "new.json", new), "--compare", write_report(tmp_path / "old.json", old)
    )
    assert done.returncode == 1
    assert "worse beyond noise" in done.stdout
    assert "imu p50: imu onnx fp32 1t: " in one_line(done.stdout)
    assert "not the same bundle's content" in one_line(done.stdout)
