"""What is loaded when, and which room may know which."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import mmg
import mmg_device_profiles
import pytest
from recordings import ROOT

ROOMS = {
    "mmg_device_profiles": set[str](),
    "mmg": {"mmg_device_profiles"},
    "mmg_training": {"mmg", "mmg_device_profiles"},
    "mmg_export": {"mmg_training", "mmg", "mmg_device_profiles"},
    "mmg_batch": {"mmg", "mmg_device_profiles"},
    "mmg_fleet": {"mmg", "mmg_device_profiles"},
    "mmg_tools": {"mmg_batch", "mmg_fleet", "mmg_export", "mmg_training", "mmg", "mmg_device_profiles"},
}
TRAINING = {"torch", "onnx", "onnxscript", "safetensors", "lightning_fabric", "tensorboard", "matplotlib"}
HEAVY = TRAINING | {"tqdm", "av", "soundfile", "soxr", "projectaria_tools", "serial", "sounddevice", "nacl", "mcap"}
HEAVY |= {"pyarrow", "ray"}


def imported_by(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("room", ROOMS)
def test_imports_run_one_way_only(room: str) -> None:
    [folder] = [path for path in ROOT.glob(f"*/{room}") if path.is_dir()]
    for path in folder.rglob("*.py"):
        beyond = (imported_by(path) & set(ROOMS)) - {room} - ROOMS[room]
        assert not beyond, f"{path} imports {beyond}"


def test_the_runtime_never_imports_torch() -> None:
    for path in (ROOT / "runtime").rglob("*.py"):
        assert not imported_by(path) & TRAINING, path


def test_import_mmg_loads_neither_numpy_nor_any_extra() -> None:
    code = "import sys, mmg; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & (HEAVY | {"numpy", "onnxruntime", "msgspec"})


DEMO = ("--demo", "--duration", "1")
WITHOUT = {
    "mmg.recording": ("mcap", DEMO),
    "mqtt": ("paho", (*DEMO, "--to", "jsonl:/dev/null")),
    "mmg.service": ("", DEMO),
}
"""What a run loads nothing of that was not asked for it, the library that it does without, and such a run."""


@pytest.mark.parametrize("is_help", [True, False], ids=["help", "run"])
@pytest.mark.parametrize("part", WITHOUT)
def test_a_run_loads_nothing_of_what_it_is_not_asked_for(part: str, is_help: bool) -> None:
    library, words = WITHOUT[part]
    code = (
        f"import os, sys; sys.modules[{library!r}] = None; os.environ.pop('NOTIFY_SOCKET', None)\n"
        "from mmg.cli.run import main\n"
        "try: code = main(sys.argv[1:])\n"
        "except SystemExit as end: code = end.code\n"
        f"sys.exit(code or any({part!r} in name for name in sys.modules))"
    )
    command = [sys.executable, "-c", code, *(("--help",) if is_help else words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("library", "flags", "told"),
    [
        ("paho", ("--to", "mqtt://localhost/wrist"), ("paho-mqtt 2", "'paho-mqtt>=2'")),
        ("microdot", ("--page",), ("microdot, which the page needs,", "microdot segno prometheus-client")),
    ],
)
def test_a_run_that_lacks_the_library_of_a_place_says_what_to_install(
    library: str, flags: tuple[str, ...], told: tuple[str, str]
) -> None:
    code = f"import sys; sys.modules[{library!r}] = None; from mmg.cli.run import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-c", code, *DEMO, *flags], capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith(f"mmg-run: {told[0]} is not installed: ")
    assert line.endswith(f"-m pip install {told[1]}")


def test_the_help_of_a_run_reads_no_bundle() -> None:
    code = "import sys; from mmg.cli.run import main\ntry: main(['--help'])\nfinally: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.splitlines()[-1].split()) & (HEAVY | {"numpy", "onnxruntime", "msgspec", "mmg.bundle"})


def test_a_share_of_the_unknown_is_checked_without_numpy() -> None:
    code = "import sys; from mmg.cli.unknown_flag import _rate; _rate('0.1'); print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


PAGE = {"microdot", "segno", "prometheus_client", "asyncio", "ssl"}
"""What a page loads, and whom it costs memory who does not want one."""


def modules_after(*words: str) -> set[str]:
    """What mmg-run has loaded at its end."""
    code = (
        "import sys; from mmg.cli.run import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("words", [("--help",), ("--demo", "--duration", "1")])
def test_a_run_without_a_page_or_another_place_loads_nothing_of_one(words: tuple[str, ...]) -> None:
    loaded = modules_after(*words)
    assert not loaded & (PAGE | {"mmg.runs.controls", "mmg.sinks.outbox", "mmg.sinks.places"})
    assert not [name for name in loaded if name.startswith("mmg.sinks.page")]


def test_a_run_with_another_place_loads_nothing_of_a_page() -> None:
    loaded = modules_after("--demo", "--duration", "1", "--to", "jsonl:/dev/null")
    assert not loaded & PAGE
    assert not [name for name in loaded if name.startswith("mmg.sinks.page")]


def test_a_run_with_a_page_loads_nothing_for_metrics_and_codes_that_nobody_asks_for() -> None:
    loaded = modules_after("--demo", "--duration", "1", "--page", ":0")
    assert loaded & PAGE == {"microdot", "asyncio", "ssl"}


@pytest.mark.parametrize("package", [mmg, mmg_device_profiles], ids=lambda package: package.__name__)
def test_the_public_face_is_what_it_says(package: ModuleType) -> None:
    for name in package.__all__:
        assert getattr(package, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Missing'"):
        package.Missing  # noqa: B018


def test_an_image_is_built_from_the_packages_and_nothing_else_of_a_checkout() -> None:
    first, *lines = (line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] not in ("", "#"))
    taken = {line[1:] for line in lines if line.startswith("!")}
    packages = {path.parts[-3] for path in ROOT.glob("*/mmg*/__init__.py")}
    assert (first, taken) == ("*", packages | {"LICENSE", "README.md", "pyproject.toml"})


def test_an_image_has_what_the_flags_of_a_service_need() -> None:
    """It is read-only: nothing can be installed in it."""
    [extras] = re.findall(r"/src\[(.*)\]", (ROOT / "deploy/Containerfile").read_text())
    assert set(extras.split(",")) >= {"onnx", "serial", "audio", "record", "mqtt", "page", "sign"}
