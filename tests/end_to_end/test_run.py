"""mmg-run as its users run it: a process, flags, recordings, and what comes out."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import recordings
import soundfile
from forked import mmg, mmg_run
from mmg.backends import is_installed
from mmg.types import UNKNOWN
from mmg.version import installed_version
from recordings import DEMO, ROOT, real, traced

SUBSETS = list(chain.from_iterable(combinations(("imu", "audio", "video"), size) for size in (1, 2, 3)))
RUN = (sys.executable, "-m", "mmg.cli.run")
KEYS = {"t", "label", "confidence", "scores", "modalities", "sensors", "latency_ms", "camera"}


def decisions(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def test_the_demo_decides_and_is_mostly_right() -> None:
    done = recordings.mmg_run("--sensors", "imu,audio", "--demo", "--format", "jsonl")
    made = decisions(done.stdout)
    assert done.returncode == 0, done.stderr
    assert len(made) >= 20
    known = [one for one in made if one["label"] != UNKNOWN]
    assert len(known) / len(made) >= 0.8, "all that is done in it has a label"
    assert sum(one["label"] == one["truth"] for one in known) / len(known) >= 0.8
    assert "equal to the truth" in done.stderr


@pytest.mark.parametrize("names", SUBSETS, ids=",".join)
def test_each_subset_of_the_demo_decides_at_every_hop(names: tuple[str, ...]) -> None:
    flags = ["--allow-video"] if "video" in names else []
    done = mmg_run("--sensors", ",".join(names), "--demo", "--format", "jsonl", *flags)
    made = decisions(done.stdout)
    assert done.returncode == 0, done.stderr
    assert [one["t"] for one in made] == [0.5 * (index + 1) for index in range(len(made))]
    assert len(made) >= 140
    assert all(one["modalities"] == list(names) for one in made[2:-2])


def test_a_line_of_json_holds_the_whole_contract() -> None:
    done = mmg_run("--imu", DEMO / "imu.csv", "--format", "jsonl", "--duration", "3")
    for one in decisions(done.stdout):
        assert set(one) == KEYS
        assert sum(one["scores"].values()) == pytest.approx(1, abs=1e-4)
        assert one["scores"][one["label"]] == one["confidence"] == max(one["scores"].values())
        assert set(one["sensors"]["imu"]) == {"state", "age_ms", "dropped"}
        assert list(one["latency_ms"]) == ["resample", "imu", "fusion", "post"]


@pytest.mark.parametrize("recording", ["s07_03_sw.csv", "s01_01_sw.csv", "s01_01_sp.csv"])
def test_a_real_watch_and_a_real_phone_are_decided_at_every_hop(recording: str) -> None:
    path = real(f"sp-sw-har/{recording}")
    stamps_ms = [int(line.split(",")[6]) for line in path.read_text().splitlines()[1:]]
    done = mmg_run("--sensors", "imu", "--imu", f"file://{path}", "--format", "jsonl", "--pace", "fast")
    made = decisions(done.stdout)
    assert done.returncode == 0, done.stderr
    hops = (max(stamps_ms) - min(stamps_ms)) // 500
    assert [one["t"] for one in made] == [0.5 * (index + 1) for index in range(hops)]
    assert "repeated" in done.stderr


def test_an_aria_recording_opens_with_all_three_and_says_that_it_is_too_short() -> None:
    pytest.importorskip("projectaria_tools")
    url = real("aria/aea_recording.vrs")
    done = mmg_run("--imu", url, "--audio", url, "--video", url, "--allow-video")
    assert done.returncode == 3
    assert done.stdout == ""
    for name in ("imu", "audio", "video"):
        assert f"{name}: 0.3" in done.stderr
    assert "too short for a hop of 0.5 s" in done.stderr


def test_text_shows_time_label_confidence_and_sensors_without_colours_in_a_pipe() -> None:
    done = mmg_run("--sensors", "imu,audio", "--demo", "--duration", "5")
    first = done.stdout.splitlines()[3]
    assert "\x1b" not in done.stdout
    assert first.split()[:2] == ["2.0", "s"]
    assert "%" in first
    assert "imu ●" in first
    assert "audio ●" in first


def test_video_is_refused_without_permission_and_nothing_of_it_is_opened(tmp_path: Path) -> None:
    for arguments in (
        ["--sensors", "imu,video", "--demo"],
        ["--imu", DEMO / "imu.csv", "--video", tmp_path / "absent.mp4"],
    ):
        done = mmg_run(*arguments)
        assert done.returncode == 2
        assert done.stdout == ""
        assert "--allow-video" in done.stderr
    urls = ["--imu", DEMO / "imu.csv", "--video", tmp_path / "absent.mp4"]
    without = mmg_run("--sensors", "imu", *urls, "--allow-video")
    assert without.returncode == 0, without.stderr


def test_help_loads_few_modules_and_neither_numpy_nor_onnxruntime() -> None:
    def loaded_by(*words: str) -> set[str]:
        done = subprocess.run([sys.executable, "-X", "importtime", *words], capture_output=True, text=True, check=True)
        return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}

    # Modules are counted, as a busy machine would time its other work: 129, and 47 for argparse alone (Python 3.11).
    loaded = loaded_by("-m", "mmg.cli.run", "--help")
    assert "mmg.errors" in loaded
    assert not loaded & {"numpy", "onnxruntime", "msgspec", "av", "soundfile", "torch"}
    assert len(loaded) < 3.5 * len(loaded_by("-c", "import argparse"))


@pytest.mark.realtime
@pytest.mark.alone
def test_the_first_decision_of_the_demo_comes_within_three_seconds() -> None:
    begin_s = time.perf_counter()
    command = [*RUN, "--sensors", "imu,audio", "--demo", "--pace", "fast"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as running:
        assert running.stdout is not None
        assert running.stdout.readline()
        assert time.perf_counter() - begin_s < 3
        running.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_ends_a_run_cleanly(number: signal.Signals) -> None:
    # A job in the background ignores SIGINT, and so do its children: as on a terminal, this one does not.
    plain = ["env", "--default-signal=INT,TERM,HUP"]
    command = [*plain, *RUN, "--sensors", "imu", "--demo", "--pace", "realtime"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline()
        running.send_signal(number)
        rest = running.stderr.read()
        assert running.wait(timeout=5) == 0
    assert "stopped" in rest
    assert "Traceback" not in rest


def test_nohup_keeps_a_run_going_when_the_terminal_closes() -> None:
    command = ["env", "--ignore-signal=HUP", *RUN, "--sensors", "imu", "--demo"]
    with subprocess.Popen(
        [*command, "--pace", "realtime"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline()
        running.send_signal(signal.SIGHUP)
        assert running.stdout.readline()
        running.kill()


def test_a_reader_that_leaves_ends_the_run_quietly() -> None:
    command = f"{sys.executable} -m mmg.cli.run --sensors imu,audio --demo | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, cwd=ROOT)
    assert len(done.stdout.splitlines()) == 1
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
    assert "nanobind" not in done.stderr, "soxr tells of what is left at exit"


def test_a_full_disk_is_one_line_and_an_exit_code() -> None:
    command = f"{sys.executable} -m mmg.cli.run --sensors imu,audio --demo > /dev/full"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "mmg-run: cannot write: No space left on device"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["run", "devices", "doctor", "profile", "bundle"])
def test_each_command_tells_its_version(command: str) -> None:
    done = mmg(command, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"mmg {installed_version()}\n", "")


@pytest.mark.parametrize("beside", ["2>/dev/full", "2>&1 >{out} | true", "2>&-"], ids=["full", "left", "closed"])
def test_what_cannot_be_told_beside_the_decisions_costs_none(beside: str, tmp_path: Path) -> None:
    out = tmp_path / "decisions.jsonl"
    # It has something to say at the start, of a file of half the model's rate, and at the end.
    soundfile.write(tmp_path / "slow.wav", np.random.default_rng(0).normal(0, 0.1, 8 * 8000), 8000)
    command = f"{' '.join(RUN)} --audio {tmp_path}/slow.wav --imu {DEMO}/imu.csv --duration 5 --format jsonl"
    command += f" {beside.format(out=out)}" + (f" >{out}" if "{out}" not in beside else "") + "; exit ${PIPESTATUS[0]}"
    subprocess.run(["bash", "-c", command], check=True, cwd=ROOT)
    assert len(decisions(out.read_text())) == 10


def test_closed_streams_neither_crash_nor_mix_messages_into_the_decisions() -> None:
    base = f"{sys.executable} -m mmg.cli.run --sensors imu --demo --format jsonl --duration 3"
    mute = subprocess.run(["bash", "-c", f"{base} 2>&-"], capture_output=True, text=True, check=True, cwd=ROOT)
    assert len(decisions(mute.stdout)) == 6
    deaf = subprocess.run(["bash", "-c", f"{base} >&-"], capture_output=True, text=True, check=False, cwd=ROOT)
    assert deaf.returncode == 2
    assert deaf.stderr == "mmg-run: standard output is closed: there is nowhere to write decisions\n"


def test_a_permission_is_never_an_abbreviation() -> None:
    done = mmg_run("--sensors", "video", "--demo", "--allow")
    assert done.returncode == 2
    assert "--allow" in done.stderr


@pytest.mark.realtime
def test_realtime_pace_takes_as_long_as_the_recording() -> None:
    begin_s = time.perf_counter()
    done = recordings.mmg_run("--sensors", "imu", "--demo", "--pace", "realtime", "--duration", "2")
    assert done.returncode == 0
    assert time.perf_counter() - begin_s >= 1.9


WATCH_OPENS = """
import sys
opened = []
def hook(event, arguments):
    if event == "open":
        opened.append(str(arguments[0]))
sys.addaudithook(hook)
from mmg.cli.run import main
code = main(sys.argv[1:])
for path in opened:
    print("OPENED", path, file=sys.stderr)
for name in sorted(sys.modules):
    print("LOADED", name, file=sys.stderr)
sys.exit(code)
"""


def test_with_the_imu_alone_nothing_of_the_other_sensors_is_opened_or_imported() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WATCH_OPENS, "--sensors", "imu", "--demo"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    rows = [line.partition(" ")[::2] for line in done.stderr.splitlines() if line.startswith(("OPENED", "LOADED"))]
    opened = [value for kind, value in rows if kind == "OPENED"]
    loaded = {value.partition(".")[0] for kind, value in rows if kind == "LOADED"}
    models = {Path(path).name for path in opened if path.endswith(".onnx")}
    assert models == {"imu.onnx", "fusion.onnx"}
    assert not [path for path in opened if path.endswith((".ogg", ".mp4"))]
    assert "onnxruntime" in loaded
    assert not loaded & {"soundfile", "soxr", "sounddevice", "av", "cv2", "projectaria_tools", "torch", "serial"}


def test_the_kernel_sees_no_other_model_or_library_opened_either() -> None:
    lines = traced("open,openat", *RUN, "--sensors", "imu", "--demo", "--duration", "5")
    calls = [line for line in lines if '"' in line and "ENOENT" not in line]
    paths = [line.split('"')[1] for line in calls]
    assert {Path(path).name for path in paths if path.endswith(".onnx")} == {"imu.onnx", "fusion.onnx"}
    forbidden = ("libsndfile", "libsoxr", "libportaudio", "libavcodec", "/dev/video", "/dev/snd", ".mp4", ".ogg")
    assert not [path for path in paths if any(word in path for word in forbidden)]


@pytest.mark.parametrize("backend", ["onnx", "litert"])
def test_the_kernel_sees_no_network(backend: str) -> None:
    if not is_installed(backend):
        pytest.skip(f"{backend} is not installed")
    asking = "import socket; socket.socket(type=socket.SOCK_DGRAM).connect_ex(('192.0.2.1', 9))"
    assert any("192.0.2.1" in line for line in traced("%network", sys.executable, "-c", asking))
    lines = traced("%network", *RUN, "--sensors", "imu,audio", "--demo", "--duration", "20", "--backend", backend)
    assert not [line for line in lines if any(call in line for call in ("socket(", "connect(", "send"))]
