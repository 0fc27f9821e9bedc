"""What a container holds is told by its index, without a library and without decoding."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from films import klv, nest, noise, telemetry_film, write_film
from mmg.sources.files.contents import container_of, kinds_of
from recordings import real


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.webm"])
@pytest.mark.parametrize("kinds", [("audio",), ("video",), ("audio", "video")], ids=",".join)
def test_the_tracks_of_a_film_are_told(tmp_path: Path, name: str, kinds: tuple[str, ...]) -> None:
    container = "matroska" if name == "a.webm" else None
    path = tmp_path / name
    sound = noise(1) if "audio" in kinds else None
    codec = "libopus" if name == "a.webm" else "aac"
    write_film(path, sound=sound, seconds="video" in kinds, codec=codec, container=container)
    assert kinds_of(path) == set(kinds)


def test_the_name_does_not_matter_and_other_files_hold_nothing(tmp_path: Path) -> None:
    write_film(tmp_path / "a.mp4", sound=noise(1))
    (tmp_path / "a.csv").write_bytes((tmp_path / "a.mp4").read_bytes())
    assert kinds_of(tmp_path / "a.csv") == {"audio"}
    soundfile.write(tmp_path / "a.wav", noise(1), 48000)
    (tmp_path / "b.csv").write_text("t_ms,ax\n0,1\n")
    (tmp_path / "c.csv").write_text("t,x,free_acc,skip\n0,1,2,3\n")
    (tmp_path / "short").write_bytes(b"\0\0\0")
    for name in ("a.wav", "b.csv", "c.csv", "short"):
        assert container_of(tmp_path / name) is None
        assert kinds_of(tmp_path / name) == frozenset()


def test_telemetry_is_a_signal_where_it_has_an_imu(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(telemetry_film([nest("DEVC", nest("STRM", klv("GYRO", "s", 6, bytes(60))))]))
    assert kinds_of(path) == {"signal"}
    path.write_bytes(telemetry_film([nest("DEVC", nest("STRM", klv("GPS5", "l", 20, bytes(40))))]))
    assert kinds_of(path) == frozenset()


@pytest.mark.parametrize("name", ["gopro/karma.mp4", "gopro/max-heromode.mp4", "aria/aea_recording.vrs"])
def test_real_recordings_of_three_sensors_hold_three(name: str) -> None:
    assert kinds_of(real(name)) == {"signal", "audio", "video"}


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_damage_is_no_error(tmp_path: Path, name: str) -> None:
    rng = random.Random(0)
    path = tmp_path / name
    write_film(path, sound=noise(0.2), seconds=0.2)
    data = path.read_bytes()
    for _ in range(300):
        changed = bytearray(data)
        for _ in range(rng.randint(1, 10)):
            changed[rng.randrange(12, len(data))] = rng.randrange(256)
        path.write_bytes(changed[: rng.randint(12, len(data))])
        assert kinds_of(path) <= {"signal", "audio", "video"}


def test_a_vrs_whose_description_is_damaged_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.vrs"
    for place in (0, 40, 80, 1 << 40):
        head = b"VisionRe".ljust(32, b"\0") + struct.pack("<Q", place)
        path.write_bytes(head.ljust(80, b"\0") + struct.pack("<IIiIdHBBI", 90, 0, 2, 2, 0, 0, 3, 0, 0) + b"\xff" * 40)
        assert kinds_of(path) == frozenset()


def test_nothing_is_loaded_for_it(tmp_path: Path) -> None:
    write_film(tmp_path / "a.mp4", sound=noise(1), seconds=1)
    code = (
        "import sys; from pathlib import Path; from mmg.sources.files.contents import kinds_of\n"
        f"print(*sorted(kinds_of(Path({str(tmp_path / 'a.mp4')!r})))); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    kinds, modules = done.stdout.splitlines()
    assert kinds == "audio video"
    assert not set(modules.split()) & {"av", "soundfile", "projectaria_tools"}
