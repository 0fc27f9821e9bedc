"""What mmg promises to leave alone: the network and the home directory, cameras, and files that a port's URL names."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fakes import audio_modality, signal_modality, tiny_files, tiny_manifest, video_modality, write_tiny_bundle
from mmg.backends import is_installed
from mmg.bundle import write_bundle
from recordings import DEMO, ROOT, mmg_run, traced

TELEMETRY = "ORT_DISABLE_TELEMETRY"
# onnxruntime leaves its telemetry off by itself where these say that nobody uses it in earnest.
ELSEWHERE = ("CI", "GITHUB_ACTIONS", "GITLAB_CI", "JENKINS_URL", "TF_BUILD", "ORT_RUNNING_UNIT_TESTS", "XDG_CACHE_HOME")
IMU = str(DEMO / "imu.csv")
NO_PORT = ("--sensors", "imu", "--imu", "serial:///dev/ttyNONE")
LOADING = {
    "mmg-run": ("mmg.cli.run", "--sensors", "imu", "--demo", "--duration", "5", "--backend", "onnx"),
    "mmg-profile": (
        *("mmg.cli.profile", "--subsets", "imu", "--backends", "onnx", "--mode", "backtoback", "--hops", "2"),
    ),
    "mmg-bundle": ("mmg.cli.bundle", "verify", "starter"),
    "mmg-doctor": ("mmg.cli.doctor",),
}
"""Each command that loads onnxruntime whatever it is asked for."""
COMMANDS = {
    **LOADING,
    "mmg-teach": ("mmg.cli.teach", "mine", "--from", IMU, "--seconds", "2", "-o", "{folder}/mine.taught"),
    "mmg-look": ("mmg.cli.look", "--imu", IMU, "-o", "{folder}/page.html", "--backend", "onnx"),
    "mmg-record": ("mmg.cli.record", *NO_PORT, "--duration", "0.5", "-o", "{folder}/day.mcap"),
    "mmg-label": ("mmg.cli.label", IMU, str(DEMO / "truth.csv"), "-o", "{folder}/labels.txt"),
    "mmg-devices": ("mmg.cli.devices", "--seconds", "1"),
    "mmg-service": ("mmg.cli.service", "install", "--dry-run", *NO_PORT),
    "mmg-virtual": ("mmg_tools.virtual.cli", "--seconds", "1", "--no-audio"),
    "mmg-fleet": ("mmg_fleet.cli", "mqtt://localhost", "--bundles", "{folder}/none"),
    "mmg-data": ("mmg_training.cli.data", "{folder}"),
    "mmg-batch": ("mmg_batch.cli", IMU, "-o", "{folder}/results", "--workers", "1", "--backend", "onnx"),
    "mmg-report": ("mmg_batch.report_cli", "{folder}"),
}
WORKSTATION = {
    "mmg-train": ("mmg_training.cli.train", "{folder}/none.toml", "--out", "{folder}/run"),
    "mmg-eval": ("mmg_training.cli.evaluate", "{folder}/none"),
    "mmg-study": ("mmg_training.cli.study", "{folder}/none.toml", "--out", "{folder}/study"),
    "mmg-export": ("mmg_export.cli", "{folder}/none", "-o", "{folder}/out"),
}
"""As far as they go without a data set: all of their libraries are loaded by then."""
VALUES = ("0", "", "false", "no thanks")
EACH = [
    *(("mmg-run", value) for value in VALUES),
    *((command, "0") for command in sorted(COMMANDS.keys() - {"mmg-run"})),
    *(pytest.param(command, "0", marks=pytest.mark.torch) for command in WORKSTATION),
]


def test_every_command_is_looked_at() -> None:
    if sys.version_info < (3, 11):
        pytest.skip("tomllib is not there")
    import tomllib

    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert {*COMMANDS, *WORKSTATION} == set(scripts)


@pytest.mark.parametrize(("command", "value"), EACH)
def test_no_command_keeps_an_id_or_asks_a_name_server_whatever_the_environment_says(
    command: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_installed("onnx"):
        pytest.skip("onnxruntime is not installed")
    for name in ELSEWHERE:
        monkeypatch.delenv(name, raising=False)
    home, folder = tmp_path / "home", tmp_path / "folder"
    home.mkdir()
    folder.mkdir()
    module, *words = (COMMANDS | WORKSTATION)[command]
    arguments = [word.format(folder=folder) for word in words]
    command_line = (sys.executable, "-m", module, *arguments)
    lines = traced("%network,openat,mkdir", *command_line, codes=(0, 1, 2, 3), HOME=str(home), **{TELEMETRY: value})
    assert not [path for path in home.rglob("*") if path.is_file() and "matplotlib" not in path.parts]  # its fonts
    if command in LOADING:
        assert [line for line in lines if "onnxruntime_pybind11_state" in line]
    assert not [line for line in lines if "deviceid" in line or "/Microsoft" in line]
    # A sound server is looked for on this machine alone; what goes out has an address of the internet.
    assert not [line for line in lines if "AF_INET" in line]


def test_what_another_library_loads_in_a_command_finds_it_off_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_installed("onnx"):
        pytest.skip("onnxruntime is not installed")
    for name in ELSEWHERE:
        monkeypatch.delenv(name, raising=False)
    code = (
        "from importlib import import_module\nfrom mmg.cli.exit_codes import run_command\n"
        "run_command(lambda: bool(import_module('onnxruntime')), print)"
    )
    environment = {**os.environ, "HOME": str(tmp_path), TELEMETRY: "0"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert list(tmp_path.rglob("*")) == []


def test_telemetry_is_turned_on_by_what_these_tests_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or they would prove nothing; onnxruntime before 1.29 has none."""
    if not is_installed("onnx") or tuple(map(int, metadata.version("onnxruntime").split(".")[:2])) < (1, 29):
        pytest.skip("there is no onnxruntime with telemetry")
    for name in ELSEWHERE:
        monkeypatch.delenv(name, raising=False)
    environment = {**os.environ, "HOME": str(tmp_path), TELEMETRY: "0"}
    subprocess.run([sys.executable, "-c", "import onnxruntime"], env=environment, check=True)
    assert list(tmp_path.rglob("deviceid"))


def watching_bundle(folder: Path) -> Path:
    """Its camera's modality is called otherwise."""
    glasses = msgspec.structs.replace(video_modality(), name="glasses")
    return write_tiny_bundle(folder / "watching", signal_modality(), audio_modality(), glasses)


def film(folder: Path) -> Path:
    """A file that no camera library could read: whoever opens it fails."""
    path = folder / "film.mp4"
    path.write_bytes(b"not a film")
    return path


def profile(folder: Path, **tables: dict[str, Any]) -> Path:
    path = folder / "watch.toml"
    lines = ['name = "watch"', 'description = "made"']
    for table, values in tables.items():
        lines += [f"[{table}]", *(f'{key} = "{value}"' for key, value in values.items())]
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize("scheme", ["file", "camera"])
@pytest.mark.parametrize("allowed", [False, True])
def test_a_profile_opens_no_camera_that_the_command_line_did_not_name(
    scheme: str, allowed: bool, tmp_path: Path
) -> None:
    sensors = {"imu": DEMO / "imu.csv", "glasses": f"{scheme}://{film(tmp_path)}"}
    watch = profile(tmp_path, sensors=sensors)
    words = ["--bundle", watching_bundle(tmp_path), "--profile", watch, "--duration", "3"]
    command = [sys.executable, "-m", "mmg.cli.run", *map(str, words), *["--allow-video"] * allowed]
    lines = traced("open,openat", *command)
    assert not [line for line in lines if "film.mp4" in line or "libavcodec" in line or "video.onnx" in line]
    assert [line for line in lines if "6 decisions from imu" in line]


@pytest.mark.parametrize("scheme", ["file", "camera"])
def test_a_camera_of_any_name_needs_the_command_lines_leave(scheme: str, tmp_path: Path) -> None:
    url, bundle = f"{scheme}://{film(tmp_path)}", watching_bundle(tmp_path)
    watch = profile(tmp_path, sensors={"glasses": url})
    for words in (["--source", f"glasses={url}"], ["--profile", watch, "--sensors", "glasses"]):
        done = mmg_run("--bundle", bundle, *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == (
            "mmg-run: glasses is off: add --allow-video to open a camera, or leave it out of --sensors\n"
        )


@pytest.mark.parametrize("scheme", ["file", "camera"])
def test_never_holds_for_a_camera_of_any_name_whatever_the_flags(scheme: str, tmp_path: Path) -> None:
    url, bundle = f"{scheme}://{film(tmp_path)}", watching_bundle(tmp_path)
    watch = profile(tmp_path, sensors={"glasses": url}, privacy={"video": "never"})
    for words in (["--source", f"glasses={url}"], ["--sensors", "glasses"], ["--sensors", "imu,glasses"]):
        done = mmg_run("--bundle", bundle, "--profile", watch, "--allow-video", *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == (
            "mmg-run: profile watch: privacy.video: is never: glasses stays off on this device, whatever the flags\n"
        )


def test_a_signal_that_is_called_video_is_none(tmp_path: Path) -> None:
    imu, bundle = signal_modality(), tmp_path / "named"
    named = msgspec.structs.replace(imu, name="video")
    write_bundle(bundle, tiny_manifest(named), tiny_files(tiny_manifest(imu)))
    watch = profile(tmp_path, privacy={"video": "never"})
    done = mmg_run("--bundle", bundle, "--profile", watch, "--video", DEMO / "imu.csv", "--duration", "3")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 6), done.stderr


def test_a_serial_url_that_would_write_a_file_is_one_line_and_writes_none(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("precious")
    for handler in ("spy", "SPY", "alt", "loop"):
        done = mmg_run("--sensors", "imu", "--imu", f"serial://{handler}:///dev/null%3Ffile={kept}", "--duration", "1")
        assert done.returncode == 2
        [line] = done.stderr.splitlines()
        assert "a serial port is a path, as in serial:///dev/ttyUSB0" in line
    assert kept.read_text() == "precious"
