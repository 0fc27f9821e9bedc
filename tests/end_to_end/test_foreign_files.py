"""No command waits for a pipe, or fills its memory from a file, that it was given in a file's place."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

import pytest
from forked import mmg
from recordings import DEMO

IMU = str(DEMO / "imu.csv")
RUN = ("run", "--sensors", "imu", "--imu", IMU, "--duration", "1")
READERS = {
    "run --imu": ("run", "--imu", "{path}"),
    "run --truth": (*RUN, "--truth", "{path}"),
    "run --compare": (*RUN, "--compare", "{path}"),
    "run --profile": (*RUN, "--profile", "{path}"),
    "run --trust": (*RUN, "--trust", "{path}"),
    "run --taught": (*RUN, "--taught", "{path}"),
    "run --bundle": (*RUN, "--bundle", "{path}"),
    "run credentials": (*RUN, "--to", "mqtts://localhost/x?credentials={path}"),
    "run ca": (*RUN, "--to", "mqtts://localhost/x?ca={path}"),
    "run cert": (*RUN, "--to", "mqtts://localhost/x?cert={path}"),
    "run key": (*RUN, "--to", f"mqtts://localhost/x?cert={IMU}&key={{path}}"),
    "run token": (*RUN, "--to", "http://127.0.0.1:0?token_file={path}"),
    "look --decisions": ("look", "--imu", IMU, "-o", "{out}", "--decisions", "{path}"),
    "look --labels": ("look", "--imu", IMU, "-o", "{out}", "--labels", "{path}"),
    "label": ("label", IMU, "{path}"),
    "profile --compare": ("profile", "--compare", "{path}"),
    "bundle sign": ("bundle", "sign", "{out}", "--key", "{path}"),
    "data": ("mmg_training.cli.data", "{path}"),
}
MEMORY = 2 << 30
"""Bytes of addresses: what a command maps without using it counts too."""


def run(reader: str, path: Path) -> subprocess.CompletedProcess[str]:
    command, *words = READERS[reader]
    places = {"path": path, "out": path.with_name("out.html")}
    return mmg(command, *(word.format(**places) for word in words), timeout_s=30, memory=MEMORY)


@pytest.mark.parametrize("kind", ["pipe", "endless"])
@pytest.mark.parametrize("reader", READERS)
def test_a_command_ends_in_a_line(reader: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "named"
    if kind == "pipe":
        os.mkfifo(path, 0o600)
    else:
        with path.open("wb") as file:  # one line that does not end, without a hole at its beginning
            os.fchmod(file.fileno(), 0o600)
            file.write(b"[" * 100_000)
            file.truncate(4 << 30)
    done = run(reader, path)
    assert done.returncode in (2, 3, 4), done.stderr
    assert "Traceback" not in done.stderr
    assert "MemoryError" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if " so far" not in line]) == 1, done.stderr


def hostile_root(folder: Path) -> Path:
    """Where each file that says what a board is has no end, is a pipe that nobody writes to, or a link to itself."""
    root = folder / "copy"
    for place in ("proc/cpuinfo", "sys/class/thermal/thermal_zone0/temp", "sys/class/hwmon/hwmon0/name"):
        path = root / place
        path.parent.mkdir(parents=True)
        with path.open("wb") as file:
            file.write(b"9" * 5000)
            file.truncate(1 << 40)
    pipes = ("proc/meminfo", "proc/loadavg", "proc/self/status", "sys/class/thermal/thermal_zone0/type")
    for place in (*pipes, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "sys/class/tty/console/active"):
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path)
    for place in ("dev/ttyUSB0", "sys/firmware/devicetree/base/model", "sys/class/dmi/id/product_name"):
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(path.name)
    return root


def test_the_doctor_looks_at_a_hostile_copy_of_a_board_and_ends(tmp_path: Path) -> None:
    done = mmg("doctor", "--root", hostile_root(tmp_path), memory=MEMORY)
    assert done.returncode in (0, 1)
    assert "Traceback" not in done.stderr


def test_an_archive_whose_list_of_files_is_a_bomb_is_refused_before_it_is_read(tmp_path: Path) -> None:
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0) + b"a.csv"
    listed = entry * 400_000
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, len(listed), 0, 0)
    (tmp_path / "walk.zip").write_bytes(listed + end)
    done = run("run --imu", tmp_path / "walk.zip")
    assert done.returncode == 3
    [line] = done.stderr.splitlines()
    assert "is no zip archive that can be read: its list of entries has" in line
