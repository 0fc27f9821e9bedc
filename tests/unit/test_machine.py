"""The facts about the machine, read from made trees of sysfs and procfs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from mmg.board.machine import (
    Condition,
    read_commit,
    read_condition,
    read_versions,
    run_tool,
    throttled_between,
    tool_under,
)
from recordings import ROOT

CPU = "sys/devices/system/cpu"
COOLING = "sys/class/thermal/cooling_device"
PI5_FIRMWARE = "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled"
PI4_FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"


def lay(root: Path, files: Mapping[str, object]) -> Path:
    """Write these files below the root, as the kernel does, with a line's end."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def clocks(cores: int, governor: str, now_khz: int, limit_khz: int, highest_khz: int) -> dict[str, object]:
    values = {
        "scaling_governor": governor,
        "scaling_cur_freq": now_khz,
        "scaling_max_freq": limit_khz,
        "cpuinfo_max_freq": highest_khz,
    }
    return {f"{CPU}/cpu{core}/cpufreq/{name}": value for core in range(cores) for name, value in values.items()}


def memory(free_mib: int) -> dict[str, object]:
    return {"proc/meminfo": f"MemTotal: 8256000 kB\nMemAvailable: {free_mib * 1024} kB", "proc/loadavg": "0.42 0.3 0.2"}


def says(answer: str | None) -> Callable[[Sequence[str]], str | None]:
    """In place of vcgencmd."""
    return lambda command: answer if list(command) == ["vcgencmd", "get_throttled"] else None


@pytest.fixture
def healthy_pi5(tmp_path: Path) -> Path:
    zones = {"sys/class/thermal/thermal_zone0/type": "cpu-thermal", "sys/class/thermal/thermal_zone0/temp": 48850}
    fan = {f"{COOLING}0/type": "pwm-fan", f"{COOLING}0/cur_state": 3, f"{COOLING}0/max_state": 4}
    return lay(tmp_path, clocks(4, "ondemand", 1_500_000, 2_400_000, 2_400_000) | zones | fan | memory(7200))


def test_a_healthy_pi_5_is_told_as_it_is(healthy_pi5: Path) -> None:
    assert read_condition(healthy_pi5, tool=says("throttled=0x0\n")) == Condition(
        governor="ondemand",
        frequency_mhz=1500.0,
        highest_mhz=2400.0,
        temperature_c=48.85,
        throttled=(),
        throttle_count=None,
        free_mib=7200,
        load=0.42,
        happened=(),
    )


def test_what_vcgencmd_says_is_told_now_and_since_boot(healthy_pi5: Path) -> None:
    condition = read_condition(healthy_pi5, tool=says("throttled=0x50005\n"))
    assert condition.throttled == ("under-voltage", "throttled")
    assert condition.happened == ("under-voltage", "throttled")


@pytest.mark.parametrize("path", [PI4_FIRMWARE, PI5_FIRMWARE])
def test_the_kernels_file_speaks_where_the_command_does_not(tmp_path: Path, path: str) -> None:
    condition = read_condition(lay(tmp_path, {path: "e0008"}), tool=says(None))
    assert condition.throttled == ("soft temperature limit",)
    assert condition.happened == ("frequency capped", "throttled", "soft temperature limit")


def test_the_kernels_alarm_knows_under_voltage_at_least(tmp_path: Path) -> None:
    alarm = {"sys/class/hwmon/hwmon2/name": "rpi_volt", "sys/class/hwmon/hwmon2/in0_lcrit_alarm": 1}
    assert read_condition(lay(tmp_path, alarm), tool=says(None)).throttled == ("under-voltage",)


def test_a_throttled_pi_4_says_what_holds_its_clock_down(tmp_path: Path) -> None:
    zone = {"sys/class/thermal/thermal_zone0/type": "cpu-thermal", "sys/class/thermal/thermal_zone0/temp": 84200}
    cooling = {f"{COOLING}0/type": "thermal-cpufreq-0", f"{COOLING}0/cur_state": 1, f"{COOLING}0/max_state": 3}
    lay(tmp_path, clocks(4, "ondemand", 1_000_000, 1_200_000, 1_500_000) | zone | cooling | {PI4_FIRMWARE: "60006"})
    condition = read_condition(tmp_path)
    assert condition.throttled == (
        "frequency capped",
        "throttled",
        "thermal-cpufreq-0 at 1 of 3",
        "clock limited to 1200 of 1500 MHz",
    )
    assert condition.temperature_c == 84.2


def test_an_x86_server_without_cpufreq_tells_what_it_has(tmp_path: Path) -> None:
    counts = {f"{CPU}/cpu{core}/thermal_throttle/core_throttle_count": core + 3 for core in range(2)}
    zones = {"sys/class/thermal/thermal_zone0/type": "acpitz", "sys/class/thermal/thermal_zone0/temp": 99000}
    sensors = {"sys/class/hwmon/hwmon0/name": "k10temp", "sys/class/hwmon/hwmon0/temp1_input": 61000}
    info = {"proc/cpuinfo": "processor\t: 0\ncpu MHz\t\t: 2000.5\nprocessor\t: 1\ncpu MHz\t\t: 3000.5"}
    condition = read_condition(lay(tmp_path, counts | zones | sensors | info | memory(100)))
    assert (condition.governor, condition.highest_mhz, condition.throttled) == (None, None, ())
    assert (condition.frequency_mhz, condition.temperature_c, condition.throttle_count) == (2500.5, 61.0, 7)


def test_a_jetson_tells_the_cooling_of_its_processor_alone(tmp_path: Path) -> None:
    devices = [("cpufreq-cpu0", 5, 48), ("gpu-throttle-alert", 1, 2), ("cpu-throttle-alert", 1, 2)]
    devices += [("hot-surface-alert", 1, 2), ("pwm-fan", 4, 4), ("cpufreq-cpu4", 0, 48)]
    files: dict[str, object] = {}
    for number, (kind, state, highest) in enumerate(devices):
        files |= {f"{COOLING}{number}/type": kind, f"{COOLING}{number}/cur_state": state}
        files |= {f"{COOLING}{number}/max_state": highest}
    for number, (zone, celsius) in enumerate([("cpu-thermal", 71), ("cv0-thermal", -256), ("tj-thermal", 73)]):
        files |= {f"sys/class/thermal/thermal_zone{number}/type": zone}
        files |= {f"sys/class/thermal/thermal_zone{number}/temp": celsius * 1000}
    condition = read_condition(lay(tmp_path, files))
    assert condition.throttled == ("cpufreq-cpu0 at 5 of 48", "cpu-throttle-alert at 1 of 2")
    assert condition.temperature_c == 73.0


def test_cores_of_two_kinds_name_both_governors_and_the_highest_clock(tmp_path: Path) -> None:
    files = clocks(2, "schedutil", 1_000_000, 2_000_000, 2_000_000)
    files |= {f"{CPU}/cpu1/cpufreq/scaling_governor": "performance", f"{CPU}/cpu1/cpufreq/cpuinfo_max_freq": 1_800_000}
    condition = read_condition(lay(tmp_path, files))
    assert (condition.governor, condition.highest_mhz) == ("performance,schedutil", 2000.0)


def test_an_empty_tree_is_told_as_nothing_known(tmp_path: Path) -> None:
    assert read_condition(tmp_path) == Condition(None, None, None, None, (), None, 0, 0.0)


def test_garbled_files_are_as_none(tmp_path: Path) -> None:
    files = clocks(1, "", 0, 0, 0) | {f"{CPU}/cpu0/cpufreq/scaling_cur_freq": "<unknown>", PI4_FIRMWARE: "?"}
    files |= {"sys/class/thermal/thermal_zone0/type": "cpu-thermal", "sys/class/thermal/thermal_zone0/temp": ""}
    files |= {"proc/meminfo": "MemAvailable\nx: y z"}
    condition = read_condition(lay(tmp_path, files))
    assert (condition.governor, condition.frequency_mhz, condition.temperature_c) == (None, None, None)


def test_between_two_looks_counts_what_either_saw_and_what_began(healthy_pi5: Path) -> None:
    before = replace(read_condition(healthy_pi5), throttled=("throttled",), throttle_count=5, happened=("throttled",))
    after = replace(before, throttled=(), throttle_count=7, happened=("under-voltage", "throttled"))
    assert throttled_between(before, after) == ("throttled", "under-voltage", "too hot 2 times")


def test_between_two_quiet_looks_nothing_held_the_clock_down(healthy_pi5: Path) -> None:
    quiet = replace(read_condition(healthy_pi5), happened=("throttled",), throttle_count=5)
    assert throttled_between(quiet, quiet) == ()


def test_a_command_that_is_missing_fails_or_hangs_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmg.board.machine.tools.PATIENCE_S", 0.05)
    assert run_tool(["mmg-no-such-command"]) is None
    assert run_tool(["false"]) is None
    assert run_tool(["sleep", "60"]) is None
    assert run_tool(["echo", "throttled=0x0"]) == "throttled=0x0\n"


def test_a_tree_of_files_has_no_commands(tmp_path: Path) -> None:
    assert tool_under(tmp_path)(["echo", "throttled=0x1"]) is None
    assert tool_under(Path("/")) is run_tool


def test_this_machine_can_be_read() -> None:
    condition = read_condition()
    assert condition.free_mib > 0
    assert condition.load >= 0


def test_versions_are_those_of_installed_packages() -> None:
    import numpy

    versions = read_versions()
    assert versions["numpy"] == numpy.__version__
    assert {"python", "kernel", "mmg", "onnxruntime", "msgspec"} <= versions.keys()
    assert "tflite-runtime" not in versions or versions["tflite-runtime"]


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.example"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_commit_of_a_checkout_tells_of_its_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "init")
    (tmp_path / "source.py").write_text("")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    monkeypatch.setenv("GIT_DIR", "/nowhere")  # as in a hook
    commit = read_commit(tmp_path)
    assert commit is not None
    assert len(commit) == 12
    (tmp_path / "result.json").write_text("")
    assert read_commit(tmp_path) == commit
    (tmp_path / "source.py").write_text("changed")
    assert read_commit(tmp_path) == f"{commit}+changes"


def test_a_wheel_has_no_commit_and_neither_has_a_broken_checkout(tmp_path: Path) -> None:
    assert read_commit(tmp_path) is None
    (tmp_path / ".git").write_text("gitdir: /nowhere")
    assert read_commit(tmp_path) is None


def test_without_git_there_is_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert read_commit(ROOT) is None
