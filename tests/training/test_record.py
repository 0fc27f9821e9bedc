"""The recorder: four files that agree with each other."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import soundfile
from mmg_training.wearer.record import main


def test_the_files_start_together_and_last_as_long(tmp_path: Path) -> None:
    assert main(["--seed", "1", "--seconds", "6", "--out", str(tmp_path)]) == 0
    table = np.loadtxt(tmp_path / "imu.csv", delimiter=",", skiprows=1)
    assert table.shape == (600, 7)
    np.testing.assert_array_equal(table[:, 0], np.arange(600) * 10)
    assert soundfile.info(tmp_path / "audio.ogg").duration == 6.0
    with av.open(str(tmp_path / "video.mp4")) as container:
        frames = [(frame.time, frame.width, frame.height) for frame in container.decode(video=0)]
    assert frames == [(k / 8, 128, 96) for k in range(48)]
    truth = (tmp_path / "truth.csv").read_text().splitlines()
    assert truth[0] == "start_s,end_s,label"
    assert truth[1].startswith("0.000,")
    assert truth[-1].split(",")[1] == "6.000"


def test_the_same_seed_writes_the_same_motion_and_truth(tmp_path: Path) -> None:
    for name in ("a", "b"):
        main(["--seed", "2", "--seconds", "3", "--out", str(tmp_path / name)])
    for name in ("imu.csv", "truth.csv", "video.mp4"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
