"""Bad input ends in one clear line and its exit code, or in a counted loss and a state; never in a traceback."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import wave
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forked import mmg, mmg_run
from recordings import DEMO, ROOT

STARTER = ROOT / "runtime" / "mmg" / "starter"
HEADER = "t_ms,ax,ay,az,gx,gy,gz"


def write_imu(path: Path, seconds: float = 6, rate_hz: float = 100, scale: float = 9.8, start_ms: int = 0) -> Path:
    random = np.random.default_rng(3)
    rows = [HEADER]
    for index in range(int(seconds * rate_hz)):
        noise = random.normal(0, 0.05, 6)
        values = ",".join(f"{value:.4f}" for value in noise + [0, 0, scale, 0, 0, 0])
        rows.append(f"{start_ms + index * 1000 / rate_hz:.3f},{values}")
    path.write_text("\n".join(rows) + "\n")
    return path


def write_wav(path: Path, seconds: float = 6, rate_hz: int = 16000) -> Path:
    sound = (np.random.default_rng(4).normal(0, 0.05, int(seconds * rate_hz)) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(sound.tobytes())
    return path


def broken_bundle(folder: Path, change: Callable[[Path], None]) -> Path:
    copy = folder / "bundle"
    shutil.copytree(STARTER, copy)
    change(copy)
    return copy


def edit_manifest(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def edit(bundle: Path) -> None:
        manifest = json.loads((bundle / "manifest.json").read_text())
        change(manifest)
        (bundle / "manifest.json").write_text(json.dumps(manifest))

    return edit


def widen(manifest: dict[str, Any]) -> None:
    encoder = manifest["modalities"][0]["encoder"]
    encoder["tokens_per_hop"] = 3
    encoder["output"]["shape"] = [1, 3, manifest["fusion"]["token_dim"]]


def cut_model(bundle: Path) -> None:
    (bundle / "imu.onnx").write_bytes(b"cut")


def flip_byte(bundle: Path) -> None:
    data = bytearray((bundle / "imu.onnx").read_bytes())
    data[100] ^= 1
    (bundle / "imu.onnx").write_bytes(data)


BUNDLES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a wrong hash": (flip_byte, "imu.onnx: its SHA-256 is not the manifest's"),
    "an unknown key": (edit_manifest(lambda m: m.update(colour="red")), "unknown field `colour`"),
    "a path out of it": (
        edit_manifest(lambda m: m["fusion"]["files"][0].update(path="../fusion.onnx")),
        "fusion.files[0].path: '../fusion.onnx' must stay inside the bundle",
    ),
    "a wrong rate": (edit_manifest(lambda m: m["modalities"][0].update(rate_hz=-50)), "modalities[0].rate_hz"),
    "another output shape": (
        edit_manifest(widen),
        "imu encoder, output",
    ),
    "no manifest": (lambda bundle: (bundle / "manifest.json").unlink(), "manifest.json"),
    "a cut model": (cut_model, "the bundle is cut"),
}


@pytest.mark.parametrize("name", BUNDLES)
def test_a_broken_bundle_is_one_line_and_exit_code_4(tmp_path: Path, name: str) -> None:
    change, expected = BUNDLES[name]
    done = mmg_run("--sensors", "imu", "--demo", "--bundle", broken_bundle(tmp_path, change))
    assert done.returncode == 4, done.stderr
    assert expected in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_a_zip_bomb_is_refused_before_it_unpacks(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.mmg"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", b" " * (256 << 20))
    done = mmg_run("--sensors", "imu", "--demo", "--bundle", bomb)
    assert done.returncode == 4
    assert "holds more than" in done.stderr


def test_a_table_of_the_working_directory_is_not_said_to_lie_at_the_root(tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_text("start_s,end_s,label\n0,1,still\n")
    done = mmg("mmg.cli.run", ".", cwd=tmp_path)
    assert (done.returncode, done.stderr.endswith("it has truth.csv)\n")) == (3, True)


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["--imu", "absent.csv"], 3, "there is no file"),
        (["--imu", "device_profiles"], 3, "holds no acceleration"),
        (["--imu", "ftp://walk.csv"], 2, "unknown scheme"),
        (["--imu", DEMO / "imu.csv?colour=red"], 2, "colour"),
        (["--sensors", "imu"], 3, "--imu URL"),
        (["--sensors", "imu,audio", "--imu", DEMO / "imu.csv"], 2, "--audio URL"),
        (["--sensors", "smell", "--demo"], 2, "smell"),
        (["--sensors", "imu,imu", "--demo"], 2, "named twice"),
        (["--demo", "--bundle", "absent.mmg"], 4, "there is no such file"),
        (["--demo", "--profile", "toaster"], 2, "generic-x86-64"),
        (["--demo", "--require", "smell"], 2, "smell"),
        (["--imu", "absent.csv", "--audio", DEMO / "audio.ogg", "--require", "imu"], 3, "there is no file"),
        (["--demo", "--truth", "absent.csv"], 2, "absent.csv"),
        (["--demo", "--duration", "-3"], 2, "number of seconds"),
        (["--demo", "--duration", "0.2"], 2, "--duration 0.2: is shorter than a hop of 0.5 s"),
        (["--set", "sensors.imuu=serial:///dev/x"], 2, "sensors.imuu: bundle starter has no such sensor; it has imu,"),
        (["--source", "imu"], 2, "NAME=URL"),
    ],
)
def test_a_wrong_request_says_what_is_wrong(arguments: list[object], code: int, expected: str) -> None:
    done = mmg_run(*arguments)
    assert done.returncode == code, done.stderr
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_url_of_a_profile_that_cannot_be_is_told_with_file_and_key(tmp_path: Path) -> None:
    path = tmp_path / "watch.toml"
    path.write_text('name = "watch"\ndescription = "mine"\n[sensors]\nimu = "foo://bar"\n')
    done = mmg_run("--demo", "--profile", path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"mmg-run: profile {path}: sensors.imu: foo://bar: unknown scheme foo://: known are ")


def test_what_is_given_for_a_sensor_that_takes_no_part_is_told() -> None:
    done = mmg_run("--sensors", "imu", "--imu", DEMO / "imu.csv", "--audio", "a.wav", "--set", "rates.audo=16000")
    assert done.returncode == 0
    assert "audio: a.wav is not used, because --sensors does not name it" in done.stderr
    assert "--set rates.audo=16000: bundle starter has no such sensor; it has imu, audio, video" in done.stderr
    done = mmg_run("--sensors", "imu", "--demo", "--set", "rates.audio=8000", "--set", "rates.imu=50", "--duration", 1)
    assert "--set rates.audio=8000: this run does not use audio" in done.stderr
    assert "rates.imu" not in done.stderr


def test_one_missing_recording_leaves_the_other_deciding() -> None:
    done = mmg_run("--imu", DEMO / "imu.csv", "--audio", "absent.wav", "--format", "jsonl")
    assert done.returncode == 0
    assert "audio is left out" in done.stderr
    assert json.loads(done.stdout.splitlines()[0])["modalities"] == ["imu"]


def test_a_csv_without_an_accelerometer_says_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "gyro.csv"
    path.write_text("t_ms,gx,gy,gz\n0,1,2,3\n10,1,2,3\n")
    done = mmg_run("--imu", path)
    assert done.returncode == 3
    assert "gx" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_wav_cut_in_half_decides_on_what_is_there(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "cut.wav", seconds=8)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    done = mmg_run("--audio", path, "--format", "jsonl")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) in (7, 8)
    assert "missing" in done.stderr


def last_sensor(output: str, name: str) -> dict[str, object]:
    state: dict[str, object] = json.loads(output.splitlines()[-1])["sensors"][name]
    return state


def test_nan_and_infinite_samples_are_counted_and_the_rest_decides(tmp_path: Path) -> None:
    path = write_imu(tmp_path / "imu.csv")
    lines = path.read_text().splitlines()
    for index in range(100, 130):
        lines[index] = lines[index].rpartition(",")[0] + (",nan" if index % 2 else ",inf")
    path.write_text("\n".join(lines))
    done = mmg_run("--imu", path, "--format", "jsonl")
    assert done.returncode == 0
    assert "30 not finite" in done.stderr
    assert len(done.stdout.splitlines()) >= 8


def test_infinite_sound_is_counted_as_dropped(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    sound = np.random.default_rng(1).normal(0, 0.05, 64000).astype(np.float32)
    sound[1000:1100], sound[2000] = np.nan, np.inf
    soundfile.write(tmp_path / "sound.wav", sound, 16000, subtype="FLOAT")
    done = mmg_run("--audio", tmp_path / "sound.wav", "--format", "jsonl")
    assert done.returncode == 0, done.stderr
    assert last_sensor(done.stdout, "audio")["dropped"] == 101


def test_a_rate_ten_times_too_low_is_a_faulty_sensor_with_its_reason(tmp_path: Path) -> None:
    slow = write_imu(tmp_path / "imu.csv", seconds=20, rate_hz=5)
    wav = write_wav(tmp_path / "sound.wav", seconds=20)
    done = mmg_run("--imu", slow, "--audio", wav, "--format", "jsonl")
    assert done.returncode == 0, done.stderr
    state = json.loads(done.stdout.splitlines()[20])["sensors"]["imu"]
    assert state["state"] == "faulty"
    assert re.match("wrong rate: [456] Hz, the model wants 50", state["reason"])
    assert json.loads(done.stdout.splitlines()[20])["modalities"] == ["audio"]


def test_a_time_unit_ten_times_off_is_noticed(tmp_path: Path) -> None:
    path = write_imu(tmp_path / "imu.csv", seconds=3)
    done = mmg_run("--imu", f"{path}?time_unit=us")
    assert done.returncode == 3
    assert "add ?time_unit=" in done.stderr


def test_acceleration_in_g_is_a_faulty_sensor_that_names_the_option(tmp_path: Path) -> None:
    path = write_imu(tmp_path / "imu.csv", seconds=10, scale=1.0)
    wav = write_wav(tmp_path / "sound.wav", seconds=10)
    done = mmg_run("--imu", f"{path}?acc_unit=m/s2", "--audio", wav, "--format", "jsonl")
    state = json.loads(done.stdout.splitlines()[10])["sensors"]["imu"]
    assert state["state"] == "faulty"
    assert "acc_unit=g" in str(state["reason"])
    mended = mmg_run("--imu", f"{path}?acc_unit=g", "--format", "jsonl")
    assert last_sensor(mended.stdout, "imu")["state"] == "live"


def test_two_recordings_an_hour_apart_never_overlap_and_that_is_said(tmp_path: Path) -> None:
    one = write_imu(tmp_path / "imu.csv")
    wav = write_wav(tmp_path / "sound.wav")
    for option in ("start", "offset"):
        done = mmg_run("--imu", one, "--audio", f"{wav}?{option}=3600")
        assert done.returncode == 2
        assert "never overlap" in done.stderr
        assert len(done.stderr.splitlines()) <= 2


def test_required_sensors_that_end_together_are_not_lost(tmp_path: Path) -> None:
    imu, wav = write_imu(tmp_path / "imu.csv", seconds=10), write_wav(tmp_path / "sound.wav", seconds=10)
    for more in ([], ["--duration", "5"], ["--grace", "0"]):
        done = mmg_run("--imu", imu, "--audio", wav, "--require", "imu,audio", "--format", "jsonl", *more)
        assert done.returncode == 0, done.stderr
        states = {json.loads(line)["sensors"]["audio"]["state"] for line in done.stdout.splitlines()}
        assert states <= {"live", "warming"}


def test_a_required_sensor_that_begins_later_is_not_lost(tmp_path: Path) -> None:
    imu, wav = write_imu(tmp_path / "imu.csv", seconds=10), write_wav(tmp_path / "sound.wav", seconds=10)
    done = mmg_run("--imu", f"{imu}?start=3", "--audio", f"{wav}?start=0", "--require", "imu")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("required", [[], ["--require", "audio"]])
def test_a_sensor_that_is_faulty_all_the_time_is_told_and_gives_exit_code_3(
    tmp_path: Path, required: list[str]
) -> None:
    path = tmp_path / "silent.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(bytes(2 * 16000 * 10))
    done = mmg_run("--audio", path, *required)
    assert "silent: muted or unplugged?" in done.stderr
    assert done.returncode == (3 if required else 0)


def test_a_sensor_too_slow_for_a_single_hop_is_told_and_gives_exit_code_3(tmp_path: Path) -> None:
    done = mmg_run("--imu", write_imu(tmp_path / "imu.csv", seconds=20, rate_hz=2))
    assert done.returncode == 3
    assert "wrong rate: 2 Hz, the model wants 50" in done.stderr
    assert done.stdout == ""


def test_a_required_sensor_that_is_lost_ends_the_run_with_exit_code_3(tmp_path: Path) -> None:
    imu = write_imu(tmp_path / "imu.csv", seconds=4)
    wav = write_wav(tmp_path / "sound.wav", seconds=10)
    done = mmg_run("--imu", imu, "--audio", wav, "--require", "imu", "--format", "jsonl")
    assert done.returncode == 3
    assert "imu: stale" in done.stderr
    assert 7 <= len(done.stdout.splitlines()) <= 9


def test_why_a_run_ended_is_told_though_ctrl_c_comes_while_it_closes(tmp_path: Path) -> None:
    imu = write_imu(tmp_path / "imu.csv", seconds=4)
    wav = write_wav(tmp_path / "sound.wav", seconds=10)
    pressed = (
        "import sys; from mmg.runs.recorded import Pipeline\n"
        "def press(_): raise KeyboardInterrupt\n"
        "Pipeline.close = press\n"
        "from mmg.cli.run import main; sys.exit(main(sys.argv[1:]))"
    )
    line = [sys.executable, "-c", pressed, "--imu", str(imu), "--audio", str(wav), "--require", "imu"]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, "imu: stale" in done.stderr.splitlines()[-1]) == (3, True), done.stderr


def test_impossible_acceleration_is_a_faulty_sensor_and_no_warning(tmp_path: Path) -> None:
    path = write_imu(tmp_path / "imu.csv", scale=1e30)
    assert "which is gravity in no unit" in mmg_run("--imu", path).stderr
    done = mmg_run("--imu", f"{path}?acc_unit=m/s2")
    assert "Warning" not in done.stderr
    assert "clipped at" in done.stderr


@pytest.mark.parametrize(("seconds", "hops"), [("0.5", 1), ("1", 2), ("3", 6)])
def test_a_duration_gives_all_of_its_hops_with_all_sensors(seconds: str, hops: int) -> None:
    done = mmg_run("--sensors", "imu,audio", "--demo", "--duration", seconds, "--format", "jsonl")
    made = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(made) == hops
    assert all(one["modalities"] == ["imu", "audio"] for one in made)


WITHOUT_ROOTS_RIGHTS = """
import ctypes, os, sys
if any([ctypes.CDLL(None).prctl(24, right) for right in (1, 2)]) and os.geteuid() == 0:  # PR_CAPBSET_DROP
    sys.exit("root keeps its rights here")
os.execv(sys.executable, [sys.executable, "-m", *sys.argv[1:]])
"""
"""Of root CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH are taken: what is closed is closed to it too."""


@pytest.mark.parametrize("mode", [0o000, 0o600])
@pytest.mark.parametrize(
    "words",
    [
        ("mmg.cli.label", "closed"),
        ("mmg.cli.label", "closed/walk.csv"),
        ("mmg.cli.run", "--imu", "closed"),
        ("mmg_training.cli.data", "closed"),
        ("mmg_training.cli.data", "closed/anna"),
    ],
    ids=" ".join,
)
def test_a_folder_that_is_closed_cannot_be_read(tmp_path: Path, words: tuple[str, ...], mode: int) -> None:
    folder = tmp_path / "closed"
    folder.mkdir()
    write_imu(folder / "walk.csv", seconds=1)
    folder.chmod(mode)
    command = [sys.executable, "-c", WITHOUT_ROOTS_RIGHTS, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    folder.chmod(0o700)
    if "root keeps its rights here" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode in (2, 3)
    [line] = done.stderr.splitlines()
    assert ": cannot be read: Permission denied" in line
