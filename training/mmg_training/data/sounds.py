"""Real sounds, alone: footsteps put together to walks, key strokes, and what goes on around somebody who is still."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from mmg.errors import ConfigError
from numpy.typing import NDArray

from mmg_training.data.sessions import TICK_S, UNLABELLED, Session
from mmg_training.metrics import DataSource
from mmg_training.task import AUDIO_HZ, Task

SESSION_S = 12.0
PACES = (("walking", 1.6, 2.0), ("running", 2.5, 3.0))
"""Steps a second."""
TEST_KEYS = ("j", "k", "l", "m")
CALIBRATION_KEYS = ("i",)
TEST_FOLDS = ("3",)
KINDS = ("baby_cry", "clock_tick", "fire_crackling", "person_sneeze", "rain", "rooster", "sea_waves")
"""Of ESC-10, known as kinds: none is a label."""
UNKNOWN_KINDS = ("chainsaw", "dog_bark", "helicopter")
"""Of ESC-10, in no training."""
HUMAN_KINDS = ("baby_cry", "person_sneeze")
SAMPLING_PLUS = ("1-40730-A", "2-96460-A")
"""Under CC Sampling+ (ESC-50's LICENSE): left out of everything."""
# Those under CC BY 3.0; the others are CC BY-SA 3.0, which says that what is built on them is shared alike.
TRAINING_SURFACES = ("hard", "water")

OWNERS = {"footsteps": 0, "keystrokes": 100, "esc10": 200}
"""From where on the subjects of a source are counted, as a ground is nobody's, nor a key, nor a kind of surroundings:
those of different sources are never the same."""

Parts = tuple[tuple[Session, ...], tuple[Session, ...]]

FOOTSTEPS = DataSource(
    name="footsteps",
    what="single steps on hard floor (Erdie) and in water (AGFX), put together to walks and runs, with and without "
    "change, and as many made of noise; sound alone",
    licence="CC BY 3.0",
    modalities=("audio",),
)
KEYSTROKES = DataSource(
    name="keystrokes",
    what="one person typing the keys a to h; sound alone",
    licence="MIT, Josh 2023",
    modalities=("audio",),
)
SURROUNDINGS = DataSource(
    name="ESC-10",
    what="folds 1 and 2 of seven kinds of surroundings, as what is no label; sound alone",
    licence="CC BY 3.0, Piczak",
    modalities=("audio",),
)


def footsteps(root: Path, task: Task, walks: int = 24, made: int = 0) -> Parts:
    """For training, for testing: single steps at a walk's or a run's pace, each another file of the same ground. Those
    for training are also played faster and slower, and damped, so that two grounds sound like many.

    walks: of each kind on each ground, for training; made: of each kind on no ground at all, of shaped noise: what is a
    walk is its rhythm.
    """
    grounds: dict[str, list[NDArray[np.float32]]] = {}
    for path in sorted(root.glob("default_*_footstep*.ogg")):
        grounds.setdefault(path.name.split("_")[1], []).append(read_sound(path)[: AUDIO_HZ // 2])
    training: list[Session] = []
    test: list[Session] = []
    for number, (ground, steps) in enumerate(grounds.items()):
        rng = np.random.default_rng((number, 0xF007))
        for label, low_hz, high_hz in PACES:
            for _ in range(walks if ground in TRAINING_SURFACES else 3):
                if ground in TRAINING_SURFACES:
                    wave = _walk(rng, _another_ground(rng, steps), rng.uniform(low_hz, high_hz))
                    training.append(_sound(task, "footsteps", number, wave, label))
                else:
                    wave = _walk(rng, steps, rng.uniform(low_hz, high_hz))
                    test.append(_sound(task, "footsteps", number, wave, label))
    rng = np.random.default_rng(0xA11)
    for label, low_hz, high_hz in PACES:
        for _ in range(made if training else 0):
            wave = _walk(rng, _any_ground(rng), rng.uniform(low_hz, high_hz))
            training.append(_sound(task, "footsteps", len(grounds), wave, label))
    return tuple(training), tuple(test)


def keystrokes(root: Path, task: Task, calibration: bool = False) -> Parts:
    """For training, for testing: one person's key strokes through a call. calibration: a key of neither in place of
    those for training."""
    training: list[Session] = []
    test: list[Session] = []
    for number, path in enumerate(sorted(root.glob("*.flac"))):
        session = _sound(task, "keystrokes", number, read_sound(path), "typing")
        if path.stem in TEST_KEYS:
            test.append(session)
        elif (path.stem in CALIBRATION_KEYS) == calibration:
            training.append(session)
    return tuple(training), tuple(test)


def at_peak(session: Session, peak: float) -> Session:
    """The same sound turned up or down, its loudest sample at this part of full scale."""
    wave = session.samples["audio"].astype(np.float32)
    turned = np.round(wave / max(float(np.abs(wave).max()), 1.0) * peak * 32767).astype(np.int16)
    return replace(session, samples={**session.samples, "audio": turned})


def surroundings(root: Path, task: Task, kinds: Sequence[str] = (), label: str = "") -> Parts:
    """ESC-10, or some of its kinds, for training, for testing: each kind of sound a class of its own, unlabelled where
    the task has none, or all of them ``label``."""
    training: list[Session] = []
    test: list[Session] = []
    for number, kind in enumerate(sorted(path for path in root.iterdir() if path.is_dir())):
        if kinds and kind.name not in kinds:
            continue
        for fold in ("1", "2", "3"):
            paths = (path for path in sorted(kind.glob(f"{fold}-*.ogg")) if path.stem not in SAMPLING_PLUS)
            clips = [read_sound(path) for path in paths]
            for pair in zip(clips[::2], clips[1::2], strict=False):
                session = _sound(task, "esc10", number, np.concatenate(pair), label or kind.name)
                (test if fold in TEST_FOLDS else training).append(session)
    return tuple(training), tuple(test)


def read_sound(path: Path) -> NDArray[np.float32]:
    """A sound file as one channel (T,) at 16 kHz. Raises ConfigError."""
    import soundfile
    import soxr

    try:
        wave, rate_hz = soundfile.read(os.fsencode(path), dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise ConfigError(f"data: {path} is damaged or not a sound file: {str(error).rpartition(': ')[2]}") from error
    mono: NDArray[np.float32] = soxr.resample(wave.mean(axis=1), rate_hz, AUDIO_HZ)
    return mono


def _another_ground(rng: np.random.Generator, steps: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """A few of the steps at another speed, dying away sooner, some of them grainy as on gravel or leaves, and some that
    ring as on glass."""
    speed, decay_s = np.exp(rng.uniform(-0.7, 0.7)), rng.choice((0.05, 0.1, 0.2, 9.0))
    grain = rng.uniform(0.2, 1.0) if rng.random() < 0.5 else 0.0
    rate = 10 ** rng.uniform(-2.5, -0.5)
    rings = 10 ** rng.uniform(2.5, 3.8, int(rng.integers(1, 6))) if rng.random() < 0.3 else np.zeros(0)
    made = []
    for number in rng.permutation(len(steps))[: int(rng.integers(2, 4))]:
        places = np.arange(0, len(steps[number]) - 1, speed)
        step = np.interp(places, np.arange(len(steps[number])), steps[number])
        step *= np.exp(-np.arange(len(step)) / AUDIO_HZ / decay_s)
        loudness = np.sqrt(np.convolve(step**2, np.full(400, 1 / 400), "same"))
        if grain:
            bursts = (rng.random(len(step)) < rate) * rng.standard_normal(len(step)) / np.sqrt(rate)
            step = (1 - grain) * step + grain * loudness * bursts
        if len(rings):
            time_s = np.arange(len(step)) / AUDIO_HZ
            tones = sum(np.sin(2 * np.pi * hz * time_s + rng.uniform(0, 6)) for hz in rings)
            step = step + rng.uniform(0.2, 1.0) * loudness * tones
        made.append((0.3 * step / (np.abs(step).max() + 1e-6)).astype(np.float32))
    return made


def _any_ground(rng: np.random.Generator) -> list[NDArray[np.float32]]:
    """Steps of noise: a random spectrum and decay, heel and toe now and then, some that ring; each a little other."""
    time_s = np.arange(AUDIO_HZ // 2) / AUDIO_HZ
    curve, decay_s = rng.normal(0, 1.5, 9), 10 ** rng.uniform(-2.3, -0.8)
    toe_s = rng.uniform(0.05, 0.14) if rng.random() < 0.5 else 0.0
    rings = 10 ** rng.uniform(2.3, 3.8, int(rng.integers(1, 5))) if rng.random() < 0.4 else np.zeros(0)
    made = []
    for _ in range(3):
        bins = np.fft.rfft(rng.standard_normal(len(time_s)))
        shape = np.interp(np.linspace(0, 8, len(bins)), np.arange(9), curve + rng.normal(0, 0.2, 9))
        hit = np.fft.irfft(bins * np.exp(shape), len(time_s)) * np.exp(-time_s / decay_s)
        tones = sum((np.sin(2 * np.pi * hz * time_s) for hz in rings), np.zeros(len(time_s)))
        hit += tones * np.exp(-time_s / decay_s / 2) * rng.uniform(0, 1) * np.abs(hit).max()
        step = hit + rng.uniform(0.2, 0.9) * np.roll(hit, round(toe_s * AUDIO_HZ)) * (toe_s > 0)
        made.append((0.3 * step / (np.abs(step).max() + 1e-6)).astype(np.float32))
    return made


def _walk(rng: np.random.Generator, steps: Sequence[NDArray[np.float32]], pace_hz: float) -> NDArray[np.float32]:
    wave = np.zeros(round((SESSION_S + 1) * AUDIO_HZ), np.float32)
    gain, time_s = 10 ** rng.uniform(-1.5, -0.3), 0.2
    while time_s < SESSION_S:
        step, first = steps[int(rng.integers(len(steps)))], round(time_s * AUDIO_HZ)
        wave[first : first + len(step)] += gain * rng.uniform(0.7, 1.3) * step[: len(wave) - first]
        time_s += rng.normal(1.0, 0.04) / pace_hz
    return (wave + rng.normal(0, 3e-4, len(wave)).astype(np.float32))[: round(SESSION_S * AUDIO_HZ)]


def _sound(task: Task, source: str, number: int, wave: NDArray[np.float32], label: str) -> Session:
    ticks = int(len(wave) / AUDIO_HZ / TICK_S)
    classes = (*task.labels, *task.kinds)
    labels = np.full(ticks + 1, classes.index(label) if label in classes else UNLABELLED, np.int16)
    return Session(
        source, OWNERS[source] + number, labels, {"audio": (np.clip(wave, -1, 1) * 32767).round().astype(np.int16)}
    )
