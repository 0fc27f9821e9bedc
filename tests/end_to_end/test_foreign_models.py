"""A bundle of a stranger's whose models hang, crash or ask for too much: every command ends in one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from bad_models import bomb, elsewhere, endless, foreign, write_bad_bundle, write_starter_with
from fakes import write_tiny_bundle
from forked import mmg
from mmg.bundle.keys import make_keys, read_private_key
from mmg.bundle.writer import put_signature
from recordings import DEMO, case

MEMORY = " MiB of memory"
KINDS: dict[str, tuple[Callable[[], bytes], str]] = {
    "endless": (endless, "imu.onnx: did not end within "),
    "bomb": (bomb, "imu.onnx: asks for more than "),
    "elsewhere": (elsewhere, "imu.onnx: has weights in another file: a model must be whole in its file"),
    "foreign": (foreign, "imu.onnx: uses operators of the domain 'com.example', which mmg does not know"),
}
CASES = {
    "crash_fusion.tflite": ("fusion.tflite", "fp32"),
    "slow_imu.int8.tflite": ("imu.int8.tflite", "int8"),
    "bad_index_audio.int8.tflite": ("audio.int8.tflite", "int8"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_ends_in_one_line_that_names_the_file(tmp_path: Path, kind: str) -> None:
    make, why = KINDS[kind]
    path = write_bad_bundle(tmp_path / "bundle.mmg", make())
    done = mmg("run", "--bundle", path, "--imu", DEMO / "imu.csv")
    assert (done.returncode, done.stdout) == (4, "")
    [line] = done.stderr.splitlines()
    assert line.startswith(f"mmg-run: bundle {path}: {why}")


@pytest.mark.parametrize("kind", KINDS)
def test_verify_tells_the_file_and_all_others(tmp_path: Path, kind: str) -> None:
    make, why = KINDS[kind]
    done = mmg("bundle", "verify", write_bad_bundle(tmp_path / "bundle.mmg", make()))
    assert done.returncode == 4
    [line] = [line for line in done.stderr.splitlines() if "checked:" not in line]  # how far it is
    assert line.startswith("mmg-bundle: 2 hashed, 1 failed; ")
    assert why.partition(": ")[2] in line
    assert [row.split()[0] for row in done.stdout.splitlines()[1:]] == ["imu.onnx", "audio.onnx", "fusion.onnx"]


@pytest.mark.parametrize("name", CASES)
def test_a_case_ends_a_run_and_verify_with_one_line(tmp_path: Path, name: str) -> None:
    pytest.importorskip("ai_edge_litert")
    file, precision = CASES[name]
    path = write_starter_with(tmp_path / "bundle", file, case(f"models/{name}").read_bytes())
    words = ("--backend", "litert", "--precision", precision, "--sensors", "imu,audio", "--demo")
    done = mmg("run", "--bundle", path, *words)
    assert (done.returncode, done.stdout) == (4, "")
    [line] = done.stderr.splitlines()
    assert line.startswith(f"mmg-run: bundle {path}: {file}: ")
    done = mmg("bundle", "verify", path)
    assert done.returncode == 4
    line = done.stderr.splitlines()[-1]
    assert f"17 ok, 1 failed; cannot be run: {file}: " in line


OTHERS = {
    "look": ("--imu", DEMO / "imu.csv", "-o", "look.html"),
    "teach": ("knock", "--from", DEMO / "imu.csv", "-o", "mine.taught"),
    "profile": ("--subsets", "imu", "--backends", "onnx", "--precisions", "fp32", "--hops", "2"),
}


@pytest.mark.parametrize("command", OTHERS)
def test_other_commands_run_no_bad_model_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_bad_bundle(tmp_path / "bundle.mmg", bomb())
    done = mmg(command, "--bundle", path, *OTHERS[command])
    assert done.returncode == 4
    line = done.stderr.splitlines()[-1]
    assert line.startswith(f"mmg-{command}: bundle {path}: imu.onnx: asks for more than ")
    assert [one.name for one in tmp_path.iterdir() if one.suffix in (".html", ".taught")] == []


def test_a_signed_model_that_reads_a_file_of_the_current_folder_is_refused_too(tmp_path: Path) -> None:
    pytest.importorskip("nacl", reason="PyNaCl is not installed: pip install -e '.[sign]'")
    make_keys(str(tmp_path / "ours"))
    bundle = write_bad_bundle(tmp_path / "bundle", elsewhere())
    put_signature(bundle, read_private_key(tmp_path / "ours.key"))  # mmg-bundle sign refuses to
    (tmp_path / "weights.bin").write_bytes(bytes(1 << 16))
    done = subprocess.run(
        [sys.executable, "-m", "mmg.cli.run", "--imu", DEMO / "imu.csv", "--bundle", bundle, "--trust", "ours.pub"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.count("\n") == 1
    assert "imu.onnx: has weights in another file" in done.stderr


def test_a_good_bundle_is_tried_once_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    words = ("--bundle", write_tiny_bundle(tmp_path / "bundle"), "--imu", DEMO / "imu.csv", "--duration", "3")
    first, again = mmg("run", *words), mmg("run", *words)
    assert (first.returncode, again.returncode) == (0, 0)
    assert first.stdout == again.stdout != ""
    assert f"mmg-run: tried 2 model files of bundle {words[1]} in " in first.stderr
    assert "mmg-run: tried" not in again.stderr


def test_a_trusted_bundle_loads_nothing_of_the_trial() -> None:
    code = (
        "import sys; from mmg.cli.run import main; assert main(sys.argv[1:]) == 0\n"
        "sys.exit(any('mmg.trial' in name for name in sys.modules))"
    )
    words = ("--demo", "--sensors", "imu", "--duration", "1")
    assert subprocess.run([sys.executable, "-c", code, *words], capture_output=True, check=False).returncode == 0


def child_of(process: subprocess.Popen[str]) -> int:
    """The process that it has started, once there is one."""
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s:
        if found := listed.read_text().split():
            return int(found[0])
        assert process.poll() is None, process.communicate()
    raise AssertionError("there is no child")


def is_gone(pid: int) -> bool:
    """Whether it has ended, at the latest in a few seconds."""
    until_s = time.monotonic() + 10
    while time.monotonic() < until_s:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in "ZX":
            return True
    return False


@pytest.mark.skipif(not Path("/proc/self/task/self").parent.exists(), reason="there is no /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_a_run_is_stopped_no_child_is_left(tmp_path: Path, number: signal.Signals) -> None:
    path = write_bad_bundle(tmp_path / "bundle.mmg", endless())
    command = [sys.executable, "-m", "mmg.cli.run", "--bundle", str(path), "--imu", str(DEMO / "imu.csv")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        child = child_of(process)
        os.kill(process.pid, number)
        out, told = process.communicate()
        assert is_gone(child)
    if number == signal.SIGKILL:
        return
    assert (process.returncode, out, told) == (0, "", "mmg-run: stopped\n")
