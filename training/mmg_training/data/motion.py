"""sp-sw-har: phone and watch of 15 people who stand up, walk, turn and sit down. IMU alone, CC BY 4.0."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmg_training.data.sessions import TICK_S, Session
from mmg_training.data.signals import resample
from mmg_training.metrics import DataSource
from mmg_training.task import IMU_HZ, Task

NAMES = {
    b"SEATED": "still",
    b"WALKING": "walking",
    b"TURNING": "walking",
    b"SITTING_DOWN": "sitting_down",
    b"STANDING_UP": "standing_up",
}
TEST_SUBJECTS = (12, 13, 14, 15)
SOURCE = DataSource(
    name="sp-sw-har",
    what="phone and watch IMU of subjects 1 to 11, alone: still, walking, sitting down, standing up",
    licence="CC BY 4.0, GeoTecINIT",
)


def load(root: Path, task: Task) -> tuple[Session, ...]:
    """All recordings, ``source`` says whether of the phone or of the watch."""
    sessions = []
    with np.load(root / "recordings.npz") as arrays:
        for key in sorted({name.rsplit("/", 1)[0] for name in arrays.files}):
            times_s = (arrays[f"{key}/time_ms"] - arrays[f"{key}/time_ms"][0]) / 1000.0
            imu = resample(times_s, arrays[f"{key}/imu"], IMU_HZ)
            ticks = np.arange(int(len(imu) / IMU_HZ / TICK_S) + 1) * TICK_S
            nearest = np.searchsorted(times_s, ticks).clip(max=len(times_s) - 1)
            names = (NAMES[bytes(label)] for label in arrays[f"{key}/label"][nearest])
            labels = np.array([task.labels.index(name) for name in names], np.int16)
            device = "watch" if key.endswith("_sw") else "phone"
            sessions.append(Session(f"sp-sw-har {device}", int(key[1:3]), labels, {"imu": imu}))
    return tuple(sessions)
