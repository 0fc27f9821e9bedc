"""The wheel as a device has it: in a fresh virtual environment, far from the checkout, with one library for models.

Nothing here is imported from mmg: what is tested is what the wheel carries.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from recordings import ROOT

pytestmark = pytest.mark.installs

PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input")
PACKAGES = [path.parent for path in ROOT.glob("*/mmg*/__init__.py")]
DEMO = ("--sensors", "imu,audio", "--demo", "--format", "jsonl")
DECISIONS = 149
# What pip says where there is no network, and not where a package is wrong.
UNREACHABLE = ("NewConnectionError", "Connection", "Temporary failure", "unreachable", "timed out", "Retrying")
Done = subprocess.CompletedProcess[str]
# Neither the checkout's folders nor what a virtual environment around this one has set.
OUTSIDE = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV", "MMG_"))}


def run(*command: object, folder: Path) -> Done:
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=folder, env=OUTSIDE, capture_output=True, text=True, timeout=600, check=False)


@dataclass(frozen=True)
class Device:
    """A virtual environment, and the folder in which its commands run."""

    folder: Path

    def install(self, *what: str) -> None:
        done = run(*PIP, "--python", self.folder / "venv", "install", "--no-compile", *what, folder=self.folder)
        assert done.returncode == 0, done.stderr

    def run(self, command: str, *arguments: str) -> Done:
        return run(self.folder / "venv" / "bin" / command, *arguments, folder=self.folder)


def make_device(folder: Path, *what: str) -> Device:
    # Another Python's pip installs into it, which takes less time than to give it one.
    done = run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", folder=folder)
    assert done.returncode == 0, done.stderr
    device = Device(folder)
    device.install(*what)
    return device


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    fetched = run(*PIP, "--retries", "1", "download", "--no-deps", "--dest", folder, "hatchling", folder=folder)
    if fetched.returncode and any(word in fetched.stderr for word in UNREACHABLE):
        pytest.skip(f"no package index can be reached: {fetched.stderr.strip().splitlines()[-1]}")
    assert fetched.returncode == 0, fetched.stderr
    built = run(*PIP, "wheel", "--no-deps", "--wheel-dir", folder, ROOT, folder=folder)
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("mmg_runtime-*.whl")
    return path


@dataclass(frozen=True)
class Bare:
    """A device with the wheel alone, and what its commands say there."""

    device: Device
    demo: Done
    doctor: Done
    verify: Done
    help: Done
    version: Done


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Bare:
    device = make_device(tmp_path_factory.mktemp("device"), str(wheel))
    return Bare(
        device,
        demo=device.run("mmg-run", "--demo", "--sensors", "imu"),
        doctor=device.run("mmg-doctor", "--json"),
        verify=device.run("mmg-bundle", "verify", "starter"),
        help=device.run("mmg-run", "--help"),
        version=device.run("mmg-run", "--version"),
    )


@pytest.fixture(scope="module")
def litert(bare: Bare, wheel: Path) -> Device:
    """The same device, to which LiteRT and sound were added."""
    bare.device.install(f"{wheel}[litert,audio]")
    return bare.device


@pytest.fixture(scope="module")
def onnx(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Device:
    return make_device(tmp_path_factory.mktemp("device"), f"{wheel}[onnx,audio]")


@pytest.fixture(params=["litert", "onnx"])
def device(request: pytest.FixtureRequest) -> Device:
    made: Device = request.getfixturevalue(request.param)
    return made


@pytest.fixture
def other(request: pytest.FixtureRequest) -> str:
    """The library that the device does not have."""
    return {"litert": "onnxruntime", "onnx": "ai-edge-litert"}[request.node.callspec.params["device"]]


def decide(device: Device) -> list[dict[str, Any]]:
    done = device.run("mmg-run", *DEMO)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_wheel_carries_every_file_of_the_packages_and_no_test(wheel: Path) -> None:
    expected = {
        path.relative_to(package.parent).as_posix()
        for package in PACKAGES
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with ZipFile(wheel) as archive:
        carried = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert carried == expected
    assert {"mmg/py.typed", "mmg/starter/manifest.json", "mmg/demo/imu.csv"} < carried
    assert {"mmg_device_profiles/raspberry-pi-5.toml", "mmg/board/profiling/page.css"} < carried


def test_without_a_library_that_runs_models_one_line_names_both(bare: Bare) -> None:
    assert (bare.demo.returncode, bare.demo.stdout) == (4, "")
    (line,) = bare.demo.stderr.splitlines()
    assert line.startswith("mmg-run: nothing that runs models is installed; choose one: ")
    assert "pip install onnxruntime, or " in line
    assert line.endswith("pip install ai-edge-litert")


def test_without_a_library_that_runs_models_the_doctor_has_one_problem_and_the_command_for_each(bare: Bare) -> None:
    assert bare.doctor.returncode == 1, bare.doctor.stderr
    told = json.loads(bare.doctor.stdout)
    (problem,) = [one for one in told["findings"] if one["verdict"] == "problem" and one["group"] == "libraries"]
    assert (problem["check"], problem["found"]) == ("models", "nothing that runs models is installed; choose one")
    for command, package in zip(problem["do"].splitlines(), ("onnxruntime", "ai-edge-litert"), strict=True):
        assert command == f"{bare.device.folder}/venv/bin/python -m pip install {package}"


def test_without_a_library_that_runs_models_no_bundle_is_verified(bare: Bare) -> None:
    assert bare.verify.returncode == 4
    assert "nothing that runs models is installed; choose one: " in bare.verify.stderr.splitlines()[-1]


def test_help_and_version_need_no_library_that_runs_models(bare: Bare, wheel: Path) -> None:
    assert (bare.help.returncode, bare.help.stderr) == (0, "")
    assert bare.help.stdout.startswith("usage: mmg-run")
    assert bare.device.run("mmg-service", "--help").stdout.startswith("usage: mmg-service")
    assert bare.version.returncode == 0
    assert bare.version.stdout.split()[-1] == wheel.name.split("-")[1]


def test_each_library_alone_decides_on_the_demo(litert: Device, onnx: Device) -> None:
    by_litert, by_onnx = decide(litert), decide(onnx)
    assert len(by_litert) == len(by_onnx) == DECISIONS
    assert [one["label"] for one in by_litert] == [one["label"] for one in by_onnx]


def test_the_starter_is_verified_and_the_other_librarys_files_are_skipped(
    device: Device, other: str, request: pytest.FixtureRequest
) -> None:
    own = request.node.callspec.params["device"]
    done = device.run("mmg-bundle", "verify", "starter", "--json")
    assert done.returncode == 0, done.stderr
    files = [one for one in json.loads(done.stdout)["files"] if one["backend"]]
    assert {(one["backend"] == own, one["result"]) for one in files} == {(True, "ok"), (False, "skipped")}
    assert all(one["reason"].endswith(f"pip install {other}") for one in files if one["result"] == "skipped")


def test_the_doctor_asks_for_no_other_library(device: Device, other: str) -> None:
    done = device.run("mmg-doctor", "--json")
    told = json.loads(done.stdout)
    assert not [one for one in told["findings"] if other.replace("-", "_") in json.dumps(one).replace("-", "_")]
    problems = [one for one in told["findings"] if one["verdict"] == "problem"]
    assert not [one for one in problems if one["group"] in ("libraries", "board")]
    # The machine itself may have some: no permission for its devices, for example.
    assert done.returncode == (1 if problems else 0)
    assert "commit" not in told["versions"]


def test_the_other_library_is_not_there_and_mmg_is_the_wheels(device: Device, other: str) -> None:
    code = "import mmg, sys\nfrom importlib.util import find_spec\nprint(mmg.__file__, find_spec(sys.argv[1]))"
    done = device.run("python", "-c", code, other.replace("-", "_"))
    path, spec = done.stdout.split()
    assert spec == "None"
    assert Path(path).is_relative_to(device.folder)
