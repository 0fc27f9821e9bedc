"""Real recordings as sessions: motion of people (sp-sw-har), and sounds (footsteps, key strokes, surroundings).

They lie in the folder that ``MMG_DATA`` names; what is missing there is left out. Each has one modality.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmg_training.contract import AUDIO_HZ, IMU_HZ, LABELS
from mmg_training.metrics import DataSource
from mmg_training.sessions import TICK_S, Session

SESSION_S = 12.0
MOTION = {
    b"SEATED": "still",
    b"WALKING": "walking",
    b"TURNING": "walking",
    b"SITTING_DOWN": "sitting_down",
    b"STANDING_UP": "standing_up",
}
TEST_SUBJECTS = (12, 13, 14, 15)
TEST_KEYS = ("j", "k", "l", "m")
TEST_FOLDS = ("3",)
# Those under CC BY 3.0; the others are CC BY-SA 3.0, which says that what is built on them is shared alike.
TRAINING_SURFACES = ("hard", "water")


@dataclass(frozen=True)
class Recordings:
    """One set: what to train on, what to measure on, and what it is. ``test_name`` names the measured part."""

    source: DataSource
    test_name: str
    training: tuple[Session, ...]
    test: tuple[Session, ...]


def folder() -> Path:
    """Where recordings are: the environment's ``MMG_DATA``, or ``../shared/data``."""
    return Path(os.environ.get("MMG_DATA", "../shared/data"))


def load_all(root: Path, say: Callable[[str], None]) -> list[Recordings]:
    """Every set that is there; ``say`` gets a line about each that is not."""
    found = []
    for name, load in LOADERS.items():
        if (root / name).is_dir():
            found.append(load(root / name))
        else:
            say(f"no {name} in {root}: left out")
    return found


def load_motion(root: Path) -> Recordings:
    """sp-sw-har: phone and watch of 15 people who stand up, walk, turn and sit down."""
    sessions = []
    with np.load(root / "recordings.npz") as arrays:
        for key in sorted({name.rsplit("/", 1)[0] for name in arrays.files}):
            times_s = (arrays[f"{key}/time_ms"] - arrays[f"{key}/time_ms"][0]) / 1000.0
            imu = resample(times_s, arrays[f"{key}/imu"], IMU_HZ)
            ticks = np.arange(int(len(imu) / IMU_HZ / TICK_S) + 1) * TICK_S
            nearest = np.searchsorted(times_s, ticks).clip(max=len(times_s) - 1)
            labels = np.array(
                [LABELS.index(MOTION[bytes(label)]) for label in arrays[f"{key}/label"][nearest]], np.int8
            )
            device = "watch" if key.endswith("_sw") else "phone"
            sessions.append(Session(f"sp-sw-har {device}", int(key[1:3]), labels, imu=imu))
    return Recordings(
        DataSource(
            name="sp-sw-har",
            what="phone and watch IMU of subjects 1 to 11, alone: still, walking, sitting down, standing up",
            licence="CC BY 4.0, GeoTecINIT",
        ),
        "sp-sw-har, subjects 12 to 15",
        tuple(session for session in sessions if session.subject not in TEST_SUBJECTS),
        tuple(session for session in sessions if session.subject in TEST_SUBJECTS),
    )


def resample(times_s: NDArray[np.float64], samples: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
    """Irregular samples (T, C) -> (floor(duration * rate), C): the mean of the line through them over each
    ``[k, k + 1) / rate_hz``. Samples of one time are averaged first."""
    times, group = np.unique(times_s, return_inverse=True)
    merged = np.zeros((len(times), samples.shape[1]))
    np.add.at(merged, group, samples)
    merged /= np.bincount(group)[:, None]
    edges = np.arange(int(times[-1] * rate_hz) + 1) / rate_hz
    knots = np.union1d(times, edges)
    line = np.stack([np.interp(knots, times, column) for column in merged.T], axis=1)
    areas = np.diff(knots)[:, None] * (line[1:] + line[:-1]) / 2
    integral = np.concatenate((np.zeros((1, samples.shape[1])), np.cumsum(areas, axis=0)))
    boxes: NDArray[np.float32] = (np.diff(integral[np.searchsorted(knots, edges)], axis=0) * rate_hz).astype(np.float32)
    return boxes


def load_footsteps(root: Path) -> Recordings:
    """Single steps, repeated at a walk's or a run's pace: each repetition another file of the same ground."""
    grounds: dict[str, list[NDArray[np.float32]]] = {}
    for path in sorted(root.glob("default_*_footstep*.ogg")):
        grounds.setdefault(path.name.split("_")[1], []).append(read_sound(path)[: AUDIO_HZ // 2])
    training: list[Session] = []
    test: list[Session] = []
    for number, (ground, steps) in enumerate(grounds.items()):
        rng = np.random.default_rng((number, 0xF007))
        for label, low_hz, high_hz in (("walking", 1.6, 2.0), ("running", 2.5, 3.0)):
            for _ in range(8 if ground in TRAINING_SURFACES else 3):
                wave = _walk(rng, steps, rng.uniform(low_hz, high_hz))
                (training if ground in TRAINING_SURFACES else test).append(_sound("footsteps", number, wave, label))
    return Recordings(
        DataSource(
            name="footsteps",
            what="single steps on hard floor (Erdie) and in water (AGFX), put together to walks and runs; sound alone",
            licence="CC BY 3.0",
        ),
        "footsteps on other grounds, put together",
        tuple(training),
        tuple(test),
    )


def load_keystrokes(root: Path) -> Recordings:
    """One person's key strokes through a call."""
    training: list[Session] = []
    test: list[Session] = []
    for number, path in enumerate(sorted(root.glob("*.flac"))):
        session = _sound("keystrokes", number, read_sound(path), "typing")
        (test if path.stem in TEST_KEYS else training).append(session)
    source = DataSource(
        name="keystrokes", what="one person typing the keys a to i; sound alone", licence="MIT, Josh 2023"
    )
    return Recordings(source, "keystrokes, keys j to m", tuple(training), tuple(test))


def load_surroundings(root: Path) -> Recordings:
    """ESC-10: what goes on around somebody who is still."""
    training: list[Session] = []
    test: list[Session] = []
    for number, kind in enumerate(sorted(path for path in root.iterdir() if path.is_dir())):
        for fold in ("1", "2", "3"):
            clips = [read_sound(path) for path in sorted(kind.glob(f"{fold}-*.ogg"))]
            for pair in zip(clips[::2], clips[1::2], strict=False):
                session = _sound("esc10", number, np.concatenate(pair), "still")
                (test if fold in TEST_FOLDS else training).append(session)
    source = DataSource(
        name="ESC-10",
        what="surroundings, folds 1 and 2, as still; sound alone",
        licence="CC BY 3.0, Piczak; two clips CC Sampling+",
    )
    return Recordings(source, "ESC-10, fold 3, as still", tuple(training), tuple(test))


def read_sound(path: Path) -> NDArray[np.float32]:
    """A sound file as one channel (T,) at 16 kHz."""
    import soundfile
    import soxr

    wave, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    mono: NDArray[np.float32] = soxr.resample(wave.mean(axis=1), rate_hz, AUDIO_HZ)
    return mono


def _walk(rng: np.random.Generator, steps: Sequence[NDArray[np.float32]], pace_hz: float) -> NDArray[np.float32]:
    wave = np.zeros(round((SESSION_S + 1) * AUDIO_HZ), np.float32)
    gain, time_s = 10 ** rng.uniform(-1.5, -0.3), 0.2
    while time_s < SESSION_S:
        step, first = steps[int(rng.integers(len(steps)))], round(time_s * AUDIO_HZ)
        wave[first : first + len(step)] += gain * rng.uniform(0.7, 1.3) * step[: len(wave) - first]
        time_s += rng.normal(1.0, 0.04) / pace_hz
    return (wave + rng.normal(0, 3e-4, len(wave)).astype(np.float32))[: round(SESSION_S * AUDIO_HZ)]


def _sound(source: str, number: int, wave: NDArray[np.float32], label: str) -> Session:
    ticks = int(len(wave) / AUDIO_HZ / TICK_S)
    labels = np.full(ticks + 1, LABELS.index(label), np.int8)
    return Session(source, number, labels, audio=(np.clip(wave, -1, 1) * 32767).round().astype(np.int16))


LOADERS: dict[str, Callable[[Path], Recordings]] = {
    "sp-sw-har": load_motion,
    "footsteps": load_footsteps,
    "keystrokes": load_keystrokes,
    "esc10": load_surroundings,
}
