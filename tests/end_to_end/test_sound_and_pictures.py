"""What phones, dictaphones and GoPros write, through mmg-run: decided on, and what is doubtful is said."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fakes import UNUSED_ENCODER
from forked import mmg_run
from mmg.bundle.manifest import Modality
from mmg.sources import open_source
from recordings import ROOT, case, real


def decided(*arguments: object) -> tuple[list[dict[str, Any]], str]:
    done = mmg_run(*arguments, "--format", "jsonl", "--pace", "fast")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def all_live(made: list[dict[str, Any]], name: str) -> bool:
    return all(one["sensors"][name]["state"] == "live" for one in made)


@pytest.mark.parametrize("name", ["aac.m4a", "amrnb.3gp", "phone.mp4", "opus.webm"])
def test_the_sound_of_a_phone_is_decided_on(name: str) -> None:
    made, told = decided("--audio", case(f"files/02-sound-from-a-phone/{name}"))
    assert len(made) in (11, 12)
    assert all_live(made, "audio")
    slow = "mmg-run: audio: amrnb.3gp has 8000 samples a second, the model 16000: it contains nothing above 4000 Hz"
    assert [line for line in told.splitlines() if name in line] == ([slow] if name == "amrnb.3gp" else [])


def test_sound_and_pictures_of_one_phone_are_one_recording() -> None:
    film = case("files/02-sound-from-a-phone/phone.mp4")
    made, _ = decided("--audio", film, "--video", film, "--allow-video")
    assert len(made) in (11, 12)
    assert all(one["modalities"] == ["audio", "video"] for one in made[2:])


@pytest.mark.parametrize("name", ["opus.ogg", "opus.opus"])
def test_a_whole_opus_is_not_called_damaged(name: str) -> None:
    made, told = decided("--audio", case(f"files/14-opus-and-mp3-called-damaged/{name}"))
    assert len(made) in (11, 12)
    assert "damaged" not in told
    assert "missing" not in told


def test_a_recorder_whose_battery_went_is_read_to_the_end() -> None:
    made, told = decided("--audio", case("files/15-wav-with-length-0/killed.wav"))
    assert len(made) == 11
    assert "audio: killed.wav has no length in its header: all 6.0 s up to its end are read" in told


def test_a_dictaphones_gsm_is_decided_on() -> None:
    made, told = decided("--audio", case("files/20-gsm-wav/gsm.wav"))
    assert len(made) == 11
    assert all_live(made, "audio")
    assert "gsm.wav has 8000 samples a second" in told
    assert "damaged" not in told


def test_a_portrait_film_is_seen_upright() -> None:
    video = Modality("video", "video", 5, (), UNUSED_ENCODER, frame=(24, 24))
    seen = {}
    for name in ("rotated", "upright"):
        film = open_source(str(case(f"files/16-rotated-video/{name}.mp4")), video, allow_video=True)
        image = next(film.chunks(0)).samples[0].astype(int)
        red = image[..., 0] - image[..., 1]
        halves = {"top": red[:12], "bottom": red[12:], "left": red[:, :12], "right": red[:, 12:]}
        seen[name] = [where for where, half in halves.items() if half.mean() > 100]
    assert seen == {"rotated": ["right"], "upright": ["top"]}


@pytest.mark.parametrize("name", ["karma.mp4", "max-heromode.mp4"])
def test_a_gopro_gives_its_three_sensors_from_one_file(name: str) -> None:
    film = real(f"gopro/{name}")
    made, told = decided("--imu", film, "--audio", film, "--video", film, "--allow-video")
    assert len(made) >= 20
    assert all(one["modalities"] == ["imu", "audio", "video"] for one in made[2:-2])
    assert "missing" not in told
    assert "left out" not in told


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_film_named_for_its_imu_alone_loads_no_library_of_films(tmp_path: Path) -> None:
    film = real("gopro/karma.mp4")
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-qq", "-e", "trace=openat,open", "-o", str(trace)]
    command += [sys.executable, "-m", "mmg.cli.run", "--imu", str(film), "--pace", "fast"]
    subprocess.run(command, capture_output=True, check=True, cwd=ROOT, env=os.environ)
    assert "/av/" not in trace.read_text()
    assert "libavformat" not in trace.read_text()
