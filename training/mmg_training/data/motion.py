"""sp-sw-har: phone and watch of 15 people who stand up, walk, turn and sit down. IMU alone, CC BY 4.0."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmg.errors import ConfigError

from mmg_training.data.sessions import TICK_S, Session
from mmg_training.data.signals import open_arrays, resample
from mmg_training.metrics import DataSource
from mmg_training.task import IMU_HZ, Task

NAMES = {
    b"SEATED": "still",
    b"WALKING": "walking",
    b"TURNING": "walking",
    b"SITTING_DOWN": "sitting_down",
    b"STANDING_UP": "standing_up",
}
PARTS = ("time_ms", "imu", "label")
TEST_SUBJECTS = (12, 13, 14, 15)
CALIBRATION_SUBJECTS = (11,)
"""Of the starter: neither trained on nor measured."""
RUN_S = 12.0
SOURCE = DataSource(
    name="sp-sw-har",
    what="phone and watch IMU of subjects 1 to 10, alone: still, walking, sitting down, standing up, "
    "and runs made from the walks",
    licence="CC BY 4.0, GeoTecINIT",
    modalities=("imu",),
)


def load(root: Path, task: Task) -> tuple[Session, ...]:
    """All recordings, ``source`` says whether of the phone or of the watch. Raises ConfigError."""
    sessions = []
    with open_arrays(root / "recordings.npz") as arrays:
        keys = sorted({name.rsplit("/", 1)[0] for name in arrays.files})
        if missing := [f"{key}/{part}" for key in keys for part in PARTS if f"{key}/{part}" not in arrays.files]:
            raise ConfigError(f"data: {root / 'recordings.npz'} lacks {missing[0]}")
        for key in keys:
            times_s = (arrays[f"{key}/time_ms"] - arrays[f"{key}/time_ms"][0]) / 1000.0
            imu = resample(times_s, arrays[f"{key}/imu"], IMU_HZ)
            ticks = np.arange(int(len(imu) / IMU_HZ / TICK_S) + 1) * TICK_S
            following = np.searchsorted(times_s, ticks).clip(max=len(times_s) - 1)
            names = (NAMES[bytes(label)] for label in arrays[f"{key}/label"][following])
            labels = np.array([task.labels.index(name) for name in names], np.int16)
            device = "watch" if key.endswith("_sw") else "phone"
            sessions.append(Session(f"sp-sw-har {device}", int(key[1:3]), labels, {"imu": imu}))
    return tuple(sessions)


def as_running(recorded: Sequence[Session], task: Task) -> tuple[Session, ...]:
    """Runs made from the walks of recordings: 1.4 to 1.8 times as fast and the movement 1.6 to 3 times as strong, each
    walk repeated to ``RUN_S``. No set at hand holds running, and the simulated one alone is not what an IMU feels."""
    walking, running, made = task.labels.index("walking"), task.labels.index("running"), []
    for number, session in enumerate(recorded):
        rng = np.random.default_rng((number, 0x0F45))
        imu = session.samples["imu"]
        of_sample = session.labels[
            (np.arange(len(imu)) / IMU_HZ / TICK_S).astype(int).clip(max=len(session.labels) - 1)
        ]
        walk = imu[of_sample == walking]
        if len(walk) < 2 * IMU_HZ:
            continue
        speed, strength = rng.uniform(1.4, 1.8), rng.uniform(1.6, 3.0)
        places = (np.arange(round(RUN_S * IMU_HZ)) * speed) % (len(walk) - 1)
        low = places.astype(int)
        part = (places - low)[:, None]
        faster = walk[low] * (1 - part) + walk[low + 1] * part
        steady = walk[:, :3].mean(axis=0)
        force = steady + strength * (faster[:, :3] - steady)
        run = np.concatenate((force, speed * rng.uniform(0.8, 1.2) * faster[:, 3:]), axis=1).astype(np.float32)
        labels = np.full(round(RUN_S / TICK_S) + 1, running, np.int16)
        made.append(Session("running made from walking", session.subject, labels, {"imu": run}))
    return tuple(made)
