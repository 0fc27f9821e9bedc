"""mmg-doctor: each check on a fake tree or a fake library, and the command on this machine."""

from __future__ import annotations

import ctypes.util
import errno
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from unittest.mock import Mock

import pytest
from mmg.board.doctor import Examination, Finding, examine
from mmg.board.doctor.libraries import LIBRARIES, Library, Trial, judge_libraries, try_libraries
from mmg.board.doctor.permissions import User, check_permissions, this_user
from mmg.board.doctor.resources import check_python, check_resources
from mmg.board.doctor.sound import judge_portaudio
from mmg.board.doctor.timing import check_timing
from mmg.board.machine import Condition, read_condition
from mmg.cli.doctor import main
from mmg.errors import pip_install

CPU = "sys/devices/system/cpu"
CLOCKS = "sys/devices/system/clocksource/clocksource0"
FINE = Condition("performance", 2400.0, 2400.0, 51.0, (), None, 7000, 0.1)


def lay(root: Path, files: Mapping[str, object]) -> Path:
    """Write these files below the root, as the kernel does, with a line's end."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def named(findings: Sequence[Finding]) -> dict[str, Finding]:
    return {one.check: one for one in findings}


def timing(root: Path, condition: Condition = FINE, step_ns: int = 40) -> dict[str, Finding]:
    ticks = count(0, step_ns)
    return named(check_timing(root, condition, lambda: next(ticks)))


# Libraries


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Trial]:
    """Tries a module that is made of this code."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def try_it(code: str, package: str = "made", timeout_s: float = 30.0) -> Trial:
        (tmp_path / "mmg_made.py").write_text(code)
        [trial] = try_libraries(timeout_s, [Library("mmg_made", package, "tests")])
        return trial

    return try_it


def judged(trial: Trial, timeout_s: float = 30.0) -> Finding:
    return named(judge_libraries([trial], timeout_s))[trial.library.module]


def test_a_wheel_for_a_newer_processor_is_a_problem_that_names_the_signal(made: Callable[..., Trial]) -> None:
    finding = judged(made("import os, signal\nos.kill(os.getpid(), signal.SIGILL)", "numpy"))
    version = subprocess.run(
        [sys.executable, "-c", "import numpy; print(numpy.__version__)"], capture_output=True, text=True
    ).stdout.strip()
    assert finding.verdict == "problem"
    assert finding.found == f"{version} crashes: SIGILL (illegal instruction)"
    assert finding.do == pip_install(f"numpy<{version}")


def test_a_wheel_that_does_not_import_is_a_problem_with_its_last_line(made: Callable[..., Trial]) -> None:
    finding = judged(made("raise ImportError('libmade.so.3: cannot open shared object file')"))
    assert finding.verdict == "problem"
    assert finding.found == "fails: ImportError: libmade.so.3: cannot open shared object file"
    assert finding.do == pip_install("--force-reinstall", "--no-cache-dir", "made")


def test_a_wheel_that_hangs_is_ended_and_told(made: Callable[..., Trial]) -> None:
    finding = judged(made("import threading\nthreading.Event().wait()", timeout_s=0.3), timeout_s=0.3)
    assert (finding.verdict, finding.found) == ("problem", "was not imported within 0.3 s")


def test_a_wheel_that_hangs_does_not_hide_what_the_others_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    (tmp_path / "mmg_hangs.py").write_text("import threading\nthreading.Event().wait()")
    (tmp_path / "mmg_works.py").write_text("")
    libraries = [Library(name, "made", "tests") for name in ("mmg_hangs", "mmg_works", "mmg_absent")]
    hangs, works, absent = try_libraries(2.0, libraries)
    assert (hangs.status, works.status, absent.absent) == (None, 0, True)


def test_a_wheel_that_runs_out_of_memory_is_told_so(made: Callable[..., Trial]) -> None:
    finding = judged(made("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"))
    assert finding.found == "crashes: SIGKILL (killed)"
    assert finding.do.startswith("stop other programs")


def test_a_process_that_the_system_does_not_start_is_each_librarys_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
    monkeypatch.setattr("mmg.board.doctor.libraries.subprocess.Popen", Mock(side_effect=refused))
    examination = examine(tmp_path)
    assert examination.board is None
    found = named(examination.findings)
    for library in LIBRARIES:
        finding = found[library.module]
        assert finding.verdict == "problem"
        assert finding.found == "not tried: no process can be started: Resource temporarily unavailable"
        assert "ulimit -u" in finding.do


def test_the_current_folder_is_not_where_libraries_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mmg_made.py").write_text("")
    monkeypatch.chdir(tmp_path)
    [trial] = try_libraries(30.0, [Library("mmg_made", "made", "tests")])
    assert trial.absent


RUNNERS = ("onnxruntime", "ai_edge_litert", "tflite_runtime")


def absent(*modules: str) -> list[Trial]:
    return [Trial(one, 0, "absent" if one.module in modules else "", "") for one in LIBRARIES]


def runners(there: Mapping[str, int], preferred: str = "auto") -> dict[str, Finding]:
    """What is found where only these run models; each with how its trial ended."""
    trials = [
        Trial(one, there.get(one.module, 0), "" if one.module in there else "absent", "")
        for one in LIBRARIES
        if one.module in RUNNERS
    ]
    return named(judge_libraries(trials, preferred=preferred))


def test_an_extra_that_is_not_installed_is_no_problem_and_names_the_extra() -> None:
    findings = named(judge_libraries(absent("soxr", "av", "tflite_runtime")))
    assert findings["soxr"] == Finding("soxr", "ok", f"not installed; for sound: {pip_install('soxr')}")
    assert "tflite_runtime" not in findings


def test_what_mmg_cannot_do_without_is_a_problem() -> None:
    finding = named(judge_libraries(absent("msgspec")))["msgspec"]
    assert finding == Finding("msgspec", "problem", "not installed", pip_install("msgspec"))


@pytest.mark.parametrize(
    ("module", "name"), [("onnxruntime", "onnxruntime"), ("ai_edge_litert", "LiteRT"), ("tflite_runtime", "LiteRT")]
)
def test_one_library_that_runs_models_is_enough_and_nothing_asks_for_another(module: str, name: str) -> None:
    findings = runners({module: 0})
    assert findings.keys() == {module, "models"}
    assert findings["models"] == Finding("models", "ok", f"run by {name}")


def test_of_two_libraries_that_run_models_the_one_that_auto_takes_is_told_first() -> None:
    both = {"onnxruntime": 0, "ai_edge_litert": 0}
    for preferred in ("auto", "onnx"):
        found = runners(both, preferred)["models"].found
        assert found == "run by onnxruntime, or by LiteRT with --backend litert"
    assert runners(both, "litert")["models"].found == "run by LiteRT, or by onnxruntime with --backend onnx"


def test_none_that_runs_models_is_a_problem_with_the_command_for_each() -> None:
    (finding,) = runners({}).values()
    assert (finding.check, finding.verdict) == ("models", "problem")
    assert finding.found == "nothing that runs models is installed; choose one"
    assert finding.do.splitlines() == [pip_install("onnxruntime"), pip_install("ai-edge-litert")]


@pytest.mark.parametrize(
    ("crashes", "other", "name", "package", "backend"),
    [
        ("onnxruntime", "ai_edge_litert", "LiteRT", "ai-edge-litert", "litert"),
        ("ai_edge_litert", "onnxruntime", "onnxruntime", "onnxruntime", "onnx"),
    ],
)
def test_a_crash_of_one_that_runs_models_points_to_the_other(
    crashes: str, other: str, name: str, package: str, backend: str
) -> None:
    alone = runners({crashes: -signal.SIGILL})
    assert alone.keys() == {crashes}
    install = pip_install(package)
    assert alone[crashes].do.splitlines()[-1] == f"or use {name}: {install}, then mmg-run --backend {backend}"
    there = runners({crashes: -signal.SIGILL, other: 0})
    assert there[crashes].do.splitlines()[-1] == f"or use {name}: mmg-run --backend {backend}"
    assert f"by {name}" in there["models"].found
    both = runners({crashes: -signal.SIGILL, other: 1})
    assert both.keys() == {crashes, other}
    assert "mmg-run" not in both[crashes].do


def test_one_that_crashes_is_still_what_auto_takes_until_it_is_told_otherwise() -> None:
    findings = runners({"onnxruntime": 0, "ai_edge_litert": -signal.SIGILL}, "litert")
    assert findings["models"].found == "run by onnxruntime with --backend onnx"


@pytest.mark.parametrize("module", RUNNERS)
def test_each_that_runs_models_computes_a_little(module: str) -> None:
    pytest.importorskip(module)
    [library] = [one for one in LIBRARIES if one.module == module]
    [trial] = try_libraries(60.0, [library])
    assert (trial.status, trial.complaint if trial.status else "") == (0, "")
    wrong = replace(library, code=library.code.replace("== 64", "== 65"))
    [trial] = try_libraries(60.0, [wrong])
    assert (trial.status, trial.complaint) == (1, "AssertionError: computes wrongly")


# Devices


FINE_ALSA = "ALSA lacks nothing\n"


def sound(tmp_path: Path, printed: str, status: int = 0) -> list[Finding]:
    [library] = [one for one in LIBRARIES if one.module == "sounddevice"]
    return judge_portaudio(tmp_path, [Trial(library, status, printed, "")])


def test_portaudio_is_told_by_what_it_sees(tmp_path: Path) -> None:
    assert sound(tmp_path, f"{FINE_ALSA}inputs 2") == [Finding("PortAudio", "ok", "sees 2 devices that can record")]
    assert sound(tmp_path, f"{FINE_ALSA}inputs 0") == [
        Finding("PortAudio", "ok", "works, but no microphone is plugged in")
    ]
    [missing] = sound(tmp_path, f"{FINE_ALSA}no PortAudio")
    assert (missing.verdict, missing.do) == ("warning", "sudo apt-get install libportaudio2")
    lay(tmp_path, {"dev/snd/pcmC1D0c": ""})
    [blind] = sound(tmp_path, f"{FINE_ALSA}inputs 0")
    assert blind.found == "sees no microphone, though the kernel has pcmC1D0c"


def test_without_sounddevice_nothing_is_said_of_portaudio(tmp_path: Path) -> None:
    assert sound(tmp_path, "absent") == sound(tmp_path, "", status=1) == []


def test_what_portaudio_does_is_not_held_against_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALSA_CONFIG_PATH", raising=False)
    [library] = [one for one in LIBRARIES if one.module == "sounddevice"]
    trial = Trial(library, -signal.SIGABRT, "ALSA lacks configuration", "")
    assert judged(trial).verdict == "ok"
    [finding] = judge_portaudio(tmp_path, [trial])
    assert (finding.verdict, finding.found) == ("problem", "ALSA has no configuration")
    assert finding.do == "sudo apt-get install --reinstall libasound2-data"
    [crashed] = judge_portaudio(tmp_path, [replace(trial, printed="ALSA lacks nothing")])
    assert crashed.found == "PortAudio ended with SIGABRT"
    [hung] = judge_portaudio(tmp_path, [replace(trial, status=None, printed="ALSA lacks nothing")])
    assert hung.found == "does not answer: a sound server or a driver holds it"
    [refused] = judge_portaudio(
        tmp_path, [replace(trial, status=1, printed="ALSA lacks nothing", complaint="host error")]
    )
    assert refused.found == "does not start: host error"
    early = replace(trial, printed="")
    assert (judged(early).verdict, judge_portaudio(tmp_path, [early])) == ("problem", [])


def test_sound_without_an_alsa_configuration_is_told_by_its_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cffi")
    if ctypes.util.find_library("portaudio") is None or importlib.util.find_spec("sounddevice") is None:
        pytest.skip("PortAudio or sounddevice is missing")
    (tmp_path / "empty.conf").touch()
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(tmp_path / "empty.conf"))
    [library] = [one for one in LIBRARIES if one.module == "sounddevice"]
    [trial] = try_libraries(30.0, [library])
    [finding] = judge_portaudio(tmp_path, [trial])
    assert judged(trial).verdict == "ok"
    assert finding.found == f"ALSA has no configuration in {tmp_path}/empty.conf, which ALSA_CONFIG_PATH names"
    assert finding.do == "unset ALSA_CONFIG_PATH"


@pytest.mark.parametrize("code", ["def dumps(): ...", "import a_library_that_it_needs"])
def test_another_module_in_pyserials_place_is_named_with_the_way_back(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "serial.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    [library] = [one for one in LIBRARIES if one.module == "serial"]
    [trial] = try_libraries(30.0, [library])
    finding = judged(trial)
    assert finding.verdict == "problem"
    assert finding.found == f"another module called serial is in pyserial's place: {tmp_path}/serial.py"
    assert finding.do.splitlines()[-1] == pip_install("--force-reinstall", "pyserial")


DIALOUT = 20


def user(*, groups: Sequence[int] = (), members: Sequence[str] = (), closed: Sequence[str] = ()) -> User:
    """Of name ``pi``; every node belongs to ``dialout``, whose members are these. What is closed is so to the user."""
    return User(
        "pi", frozenset(groups), lambda path, _mode: path.name not in closed, lambda _gid: ("dialout", tuple(members))
    )


def nodes(root: Path, *names: str, mode: int = 0o660) -> Path:
    """Made device nodes of a group that is not root's."""
    for name in names:
        lay(root, {f"dev/{name}": ""})
        (root / "dev" / name).chmod(mode)
        if os.geteuid() == 0:
            os.chown(root / "dev" / name, 0, DIALOUT)
    return root


def test_a_port_that_is_closed_to_the_user_names_the_group_that_it_has(tmp_path: Path) -> None:
    [finding] = check_permissions(nodes(tmp_path, "ttyUSB0"), user(closed=["ttyUSB0"]))
    assert finding == Finding(
        "serial ports",
        "problem",
        "/dev/ttyUSB0 may not be opened by pi",
        "sudo usermod -aG dialout $USER\nlog in again",
    )


def test_a_group_that_was_given_but_is_not_in_force_needs_a_login(tmp_path: Path) -> None:
    [finding] = check_permissions(nodes(tmp_path, "ttyACM0"), user(members=["pi"], closed=["ttyACM0"]))
    assert finding.found == "/dev/ttyACM0 may not be opened by pi, whose group dialout is not active in this session"
    assert finding.do == "log in again"


def test_a_node_that_no_group_may_open_needs_a_rule(tmp_path: Path) -> None:
    lay(tmp_path, {"sys/bus/iio/devices/iio:device0/in_accel_scale": 1})
    [finding] = check_permissions(nodes(tmp_path, "iio:device0", mode=0o600), user(closed=["iio:device0"]))
    assert finding.verdict == "warning"
    assert finding.do.splitlines()[:2] == [
        "put into /etc/udev/rules.d/60-mmg.rules:",
        'SUBSYSTEM=="iio", GROUP="dialout", MODE="0660"',
    ]


def test_a_rule_for_a_port_leaves_the_consoles_alone(tmp_path: Path) -> None:
    [finding] = check_permissions(nodes(tmp_path, "ttyAMA0", mode=0o600), user(closed=["ttyAMA0"]))
    assert 'SUBSYSTEM=="tty", KERNEL=="ttyAMA0", GROUP="dialout", MODE="0660"' in finding.do.splitlines()


def test_a_light_sensor_and_a_console_are_no_business_of_the_doctors(tmp_path: Path) -> None:
    lay(
        tmp_path,
        {"sys/bus/iio/devices/iio:device1/in_illuminance_raw": 1, "sys/class/tty/console/active": "tty0 ttyAMA10"},
    )
    names = ("iio:device1", "ttyAMA10")
    assert named(check_permissions(nodes(tmp_path, *names), user(closed=names))).keys() == {"devices"}


def test_open_devices_are_told_once_each_though_links_lead_to_them(tmp_path: Path) -> None:
    nodes(tmp_path, "ttyAMA0", "video0", "video1", "video2", "video3", "snd/pcmC0D0c")
    (tmp_path / "dev/serial0").symlink_to("ttyAMA0")
    (tmp_path / "dev/serial1").symlink_to("/dev/null")
    (tmp_path / "dev/serial/by-id").mkdir(parents=True)
    findings = named(check_permissions(tmp_path, user()))
    assert findings["serial ports"] == Finding("serial ports", "ok", "/dev/ttyAMA0 may be used")
    assert findings["cameras"].found == "/dev/video0 and 3 more may be used"
    assert findings["sound"].verdict == "ok"


def test_the_groups_of_this_session_are_those_of_the_process() -> None:
    me = this_user()
    assert os.getegid() in me.groups
    assert me.group(os.getegid())[0]
    assert me.group(4_000_000)[0] == "4000000"


# Timing


@pytest.mark.parametrize("governor", ["ondemand", "schedutil"])
def test_a_governor_that_follows_the_load_is_warned_of_with_the_command(governor: str, tmp_path: Path) -> None:
    findings = timing(tmp_path, replace(FINE, governor=governor))
    assert findings["governor"].verdict == "warning"
    assert findings["governor"].do.startswith("echo performance | sudo tee /sys/devices/system/cpu/")
    assert timing(tmp_path)["governor"] == Finding("governor", "ok", "performance")
    assert timing(tmp_path, replace(FINE, governor=None))["governor"].verdict == "unknown"


def test_throttling_now_is_a_problem_and_before_a_warning(tmp_path: Path) -> None:
    now = timing(tmp_path, replace(FINE, throttled=("under-voltage", "throttled"), happened=("under-voltage",)))
    assert (now["throttling"].verdict, now["throttling"].found) == ("problem", "throttled")
    assert now["power supply"].verdict == "problem"
    assert now["throttling"].do == now["power supply"].do
    assert timing(tmp_path, replace(FINE, throttled=("cpufreq-cpu0 at 5 of 48",)))["throttling"].do.startswith("cool")
    before = timing(tmp_path, replace(FINE, happened=("under-voltage", "throttled")))
    assert (before["throttling"].verdict, before["power supply"].verdict) == ("warning", "warning")
    assert "power supply" not in timing(tmp_path)


def test_a_limit_that_somebody_set_is_a_warning_with_the_way_back(tmp_path: Path) -> None:
    finding = timing(tmp_path, replace(FINE, throttled=("clock limited to 1510 of 2400 MHz",)))["throttling"]
    assert finding.verdict == "warning"
    assert "echo 2400000 | sudo tee" in finding.do


def test_heat_is_warned_of_and_may_be_unknown(tmp_path: Path) -> None:
    assert timing(tmp_path, replace(FINE, temperature_c=84.6))["temperature"].found == "85 °C"
    assert timing(tmp_path, replace(FINE, temperature_c=84.6))["temperature"].verdict == "warning"
    assert timing(tmp_path, replace(FINE, temperature_c=None))["temperature"].verdict == "unknown"


def test_an_adapter_that_gathers_bytes_is_warned_of_with_command_and_rule(tmp_path: Path) -> None:
    lay(tmp_path, {f"sys/bus/usb-serial/devices/ttyUSB{n}/latency_timer": ms for n, ms in enumerate((16, 1, "?"))})
    findings = timing(tmp_path)
    assert findings["latency ttyUSB0"].found == "bytes wait for 16 ms in the adapter"
    assert findings["latency ttyUSB0"].do.splitlines() == [
        "echo 1 | sudo tee /sys/bus/usb-serial/devices/ttyUSB0/latency_timer",
        "to keep it after a reboot, put into /etc/udev/rules.d/60-mmg.rules:",
        'SUBSYSTEM=="usb-serial", DRIVER=="ftdi_sio", ATTR{latency_timer}="1"',
    ]
    assert findings["latency ttyUSB1"].verdict == "ok"
    assert "latency ttyUSB2" not in findings


@pytest.mark.parametrize("source", ["tsc", "arch_sys_counter", "kvm-clock", "hyperv_clocksource_tsc_page"])
def test_a_clock_source_that_is_quick_to_read_is_well(tmp_path: Path, source: str) -> None:
    assert timing(lay(tmp_path, {f"{CLOCKS}/current_clocksource": source}))["clock source"].verdict == "ok"


def test_a_slow_clock_source_is_warned_of_with_a_better_one_if_there_is(tmp_path: Path) -> None:
    lay(tmp_path, {f"{CLOCKS}/current_clocksource": "hpet", f"{CLOCKS}/available_clocksource": "hpet tsc acpi_pm"})
    assert timing(tmp_path)["clock source"].do.startswith("echo tsc | sudo tee")
    lay(tmp_path, {f"{CLOCKS}/available_clocksource": "hpet acpi_pm"})
    assert timing(tmp_path)["clock source"].do.startswith("sudo dmesg")


def test_the_clock_is_measured(tmp_path: Path) -> None:
    assert timing(tmp_path)["clock"] == Finding("clock", "ok", "resolves 40 ns")
    assert timing(tmp_path, step_ns=4000)["clock"].found == "resolves 4 us only, and time stamps with it"
    assert timing(tmp_path, step_ns=0)["clock"].verdict == "problem"


# Resources


def resources(root: Path, condition: Condition = FINE, cores: int = 4) -> dict[str, Finding]:
    lay(root, {"proc/cpuinfo": "".join(f"processor\t: {number}\n\n" for number in range(cores))})
    return named(check_resources(root, condition, root))


def test_little_memory_and_others_work_are_warned_of(tmp_path: Path) -> None:
    well, ill = resources(tmp_path), resources(tmp_path, replace(FINE, free_mib=99, load=4.5))
    assert (well["memory"].verdict, well["load"].verdict) == ("ok", "ok")
    assert (ill["memory"].verdict, ill["load"].verdict) == ("warning", "warning")
    assert ill["load"].found == "4.5 on 4 cores: other programs want the processors too"
    assert resources(tmp_path, replace(FINE, free_mib=0))["memory"].verdict == "unknown"


def test_swap_is_warned_of_when_it_is_more_than_leftovers(tmp_path: Path) -> None:
    lay(tmp_path, {"proc/meminfo": f"SwapTotal: {512 * 1024} kB\nSwapFree: {509 * 1024} kB"})
    assert resources(tmp_path)["swap"].verdict == "ok"
    lay(tmp_path, {"proc/meminfo": f"SwapTotal: {512 * 1024} kB\nSwapFree: {412 * 1024} kB"})
    assert resources(tmp_path)["swap"].found == "100 MiB in use: a hop may wait for the disk"
    swaps = "Filename Type Size Used Priority\n/dev/zram0\tpartition\t2097148\t92160\t100\n"
    lay(tmp_path, {"proc/swaps": swaps})  # 90 MiB of it in memory
    assert resources(tmp_path)["swap"] == Finding("swap", "ok", "none on a disk is in use")
    lay(tmp_path, {"proc/swaps": f"{swaps}/var/swap\tfile\t524284\t10240\t-2\n".replace("92160", "2048")})
    assert resources(tmp_path)["swap"].found == "98 MiB in use: a hop may wait for the disk"


def test_a_folder_that_cannot_be_written_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    assert resources(tmp_path)["disk"].found == f"{tmp_path} cannot be written: logs need another folder"


def test_what_could_be_written_before_writing_was_closed_counts(tmp_path: Path) -> None:
    for may_write in (True, False):
        [disk] = [one for one in check_resources(tmp_path, FINE, tmp_path, may_write) if one.check == "disk"]
        assert ("cannot be written" in disk.found) is not may_write


def test_a_folder_that_is_not_there_has_no_known_space(tmp_path: Path) -> None:
    [disk] = [one for one in check_resources(tmp_path, FINE, tmp_path / "no") if one.check == "disk"]
    assert disk.verdict == "unknown"


@pytest.mark.parametrize(
    ("version", "verdict"), [((3, 9), "problem"), ((3, 10), "ok"), ((3, 13), "ok"), ((3, 14), "problem")]
)
def test_pythons_that_mmg_supports_are_well(version: tuple[int, int], verdict: str) -> None:
    assert check_python(version)[0].verdict == verdict


def test_a_32_bit_userland_is_a_problem() -> None:
    assert check_python((3, 11), 2**31 - 1)[1].verdict == "problem"


# The whole


@pytest.fixture
def healthy_pi5(tmp_path: Path) -> Path:
    cores = {
        f"{CPU}/cpu{core}/cpufreq/{name}": value
        for core in range(4)
        for name, value in {
            "scaling_governor": "performance",
            "scaling_cur_freq": 2_400_000,
            "scaling_max_freq": 2_400_000,
            "cpuinfo_max_freq": 2_400_000,
        }.items()
    }
    parts = "\n\n".join(f"processor\t: {core}\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b" for core in range(4))
    return lay(
        tmp_path,
        cores
        | {
            "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
            "proc/device-tree/compatible": "raspberrypi,5-model-b\0brcm,bcm2712\0",
            "proc/cpuinfo": parts,
            "proc/self/status": "Cpus_allowed_list:\t0-3",
            "proc/meminfo": "MemTotal: 8256000 kB\nMemAvailable: 7372800 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB",
            "proc/loadavg": "0.10 0.10 0.10 1/200 999",
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
            "sys/class/thermal/thermal_zone0/temp": 48000,
            f"{CLOCKS}/current_clocksource": "arch_sys_counter",
        },
    )


def pi5_says(command: Sequence[str]) -> str | None:
    answers = {
        "get_throttled": "throttled=0x0\n",
        "pmic_read_adc": " VDD_CORE_A current(7)=1.0A\n VDD_CORE_V volt(15)=0.8V\n",
    }
    return answers.get(command[1])


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """All libraries are there and well, without a process for each."""
    trials = [Trial(one, 0, f"{FINE_ALSA}inputs 1" if one.module == "sounddevice" else "", "") for one in LIBRARIES]
    monkeypatch.setattr("mmg.board.doctor.try_libraries", lambda _timeout_s, **_: trials)


def healthy(root: Path) -> Examination:
    return examine(root, tool=pi5_says, user=user(), folder=root)


@pytest.mark.usefixtures("quick")
def test_a_healthy_pi_5_has_nothing_to_mend(healthy_pi5: Path) -> None:
    examination = healthy(healthy_pi5)
    assert {one.verdict for one in examination.findings} == {"ok"}
    assert all(one.group and not one.do for one in examination.findings)
    assert examination.board is not None
    assert (examination.board.cpu, examination.board.cores) == ("Cortex-A76", 4)
    assert examination.condition == read_condition(healthy_pi5)
    assert named(examination.findings)["load"].found.endswith(" on 4 cores")
    assert named(examination.findings)["energy meter"].found.startswith("pmic: the rails behind the power chip")


@pytest.mark.usefixtures("quick")
def test_a_throttled_pi_4_has_problems_and_the_command_says_so(
    healthy_pi5: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pi4 = {
        "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
        "proc/cpuinfo": "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd08",
        "sys/devices/platform/soc/soc:firmware/get_throttled": "50005",
    }
    lay(healthy_pi5, pi4)
    assert main(["--root", str(healthy_pi5)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Raspberry Pi 4 Model B Rev 1.4, Cortex-A72, 4 cores, 8062 MiB, ")
    assert "  problem  throttling      throttled" in lines
    assert "  problem  power supply    under-voltage now: the clock is held down" in lines
    assert "    > use the board's own power supply and a short, thick cable" in lines
    assert lines[-1] == "2 problems"
    assert max(map(len, lines)) <= 80


@pytest.mark.usefixtures("quick")
def test_a_meter_that_is_closed_to_the_user_is_a_warning(healthy_pi5: Path) -> None:
    package = "sys/class/powercap/intel-rapl:0"
    lay(healthy_pi5, {f"{package}/name": "package-0", f"{package}/energy_uj": 1})
    finding = named(examine(healthy_pi5, user=user(closed=["energy_uj"])).findings)["energy meter"]
    assert (finding.verdict, finding.found) == ("warning", "only root may read the RAPL counter")


def test_a_broken_msgspec_does_not_break_the_doctor(healthy_pi5: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = [Trial(one, -signal.SIGILL if one.module == "msgspec" else 0, "", "") for one in LIBRARIES]
    monkeypatch.setattr("mmg.board.doctor.try_libraries", lambda _timeout_s, **_: trials)
    examination = examine(healthy_pi5)
    assert examination.board is None
    assert named(examination.findings)["profile"] == Finding("profile", "unknown", "profiles need msgspec", "", "board")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "mmg.cli.doctor", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, timeout=120)


def test_the_command_judges_this_machine() -> None:
    done = run("--json")
    told = json.loads(done.stdout)
    assert told.keys() == {"board", "condition", "versions", "findings"}
    problems = [one for one in told["findings"] if one["verdict"] == "problem"]
    assert done.returncode == (1 if problems else 0)
    assert told["condition"]["free_mib"] > 0
    assert told["versions"]["mmg"]
    verdicts = {one["check"]: one["verdict"] for one in told["findings"]}
    assert verdicts["numpy"] == verdicts["onnxruntime"] == verdicts["msgspec"] == verdicts["clock"] == "ok"


def test_the_command_tells_of_a_msgspec_that_cannot_be_imported(tmp_path: Path) -> None:
    (tmp_path / "msgspec.py").write_text("raise ImportError('made to fail')")
    before = filter(None, [os.environ.get("PYTHONPATH")])
    done = run("--json", PYTHONPATH=os.pathsep.join([str(tmp_path), *before]))
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)  # on a busy machine its progress is there
    told = json.loads(done.stdout)
    found = {one["check"]: one["found"] for one in told["findings"]}
    assert (told["board"], found["profile"]) == (None, "profiles need msgspec")
    assert found["msgspec"].endswith(" fails: ImportError: made to fail")


def test_the_commands_own_process_loads_no_library_that_computes() -> None:
    code = "import sys\nfrom mmg.cli.doctor import main\nmain([])\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not loaded & {"numpy", "onnxruntime", "ai_edge_litert", "sounddevice", "soundfile", "soxr", "av", "serial"}


def test_the_table_goes_to_a_terminal_that_shows_ascii_only() -> None:
    done = run(PYTHONIOENCODING="ascii")
    assert done.returncode in (0, 1)
    assert done.stdout.isascii()


@pytest.mark.usefixtures("quick")
def test_colours_are_for_a_terminal_that_wants_them(
    healthy_pi5: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lay(healthy_pi5, {f"{CPU}/cpu0/cpufreq/scaling_governor": "ondemand"})
    monkeypatch.delenv("NO_COLOR", raising=False)
    main(["--root", str(healthy_pi5)])
    assert "\x1b" not in capsys.readouterr().out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    main(["--root", str(healthy_pi5)])
    assert "\x1b[33m  warning  governor " in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    main(["--root", str(healthy_pi5)])
    assert "\x1b" not in capsys.readouterr().out


def test_a_root_that_is_no_folder_is_a_usage_error(tmp_path: Path) -> None:
    done = run("--root", str(tmp_path / "no"))
    assert done.returncode == 2
    assert "is not a folder" in done.stderr


def importing_numpy(process: int) -> list[str]:
    """Those of its children that are at that. They may write to nothing that would tell it."""
    found = []
    for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
        with suppress(OSError):  # one ended meanwhile
            if b"import numpy" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_signal_ends_it_and_what_hangs_in_it(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("import threading\nthreading.Event().wait()\n")
    # A job in the background ignores SIGINT, and so do its children: as on a terminal, this one does not.
    command = ["env", "--default-signal=INT", sys.executable, "-m", "mmg.cli.doctor"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        until_s = time.monotonic() + 60
        while not (hanging := importing_numpy(process.pid)):
            assert time.monotonic() < until_s, "numpy is not imported"
        process.send_signal(number)
        _, told = process.communicate(timeout=60)
    if number == signal.SIGINT:
        assert (process.returncode, told.splitlines()[-1]) == (130, b"mmg-doctor: stopped")
    while any(Path(f"/proc/{child}/cwd").exists() for child in hanging):
        assert time.monotonic() < until_s, "what hung is there still"
