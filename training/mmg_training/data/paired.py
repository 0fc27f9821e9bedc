"""Class-paired: real IMU of somebody who is still or walks, with real sound of the same activity by others.

No public set at hand holds IMU and sound recorded together. A pair here is of one class and of nothing else, not of
one time, person or place. What a model can learn from it of how the two go together is the class alone, and the
sounds of the two classes come from different collections. A figure that rests on it says "class-paired".

IMU: sp-sw-har. Sound: footsteps for walking, ESC-10's surroundings for being still. Both sides are split alike:
training subjects go with training grounds and folds, test subjects with test grounds and folds; half of those fits the
temperatures and the other half is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from mmg_training import data
from mmg_training.config import DataConfig
from mmg_training.data import motion, sounds
from mmg_training.data.sessions import TICK_S, TICKS_PER_HOP, Dataset, Pool, Session
from mmg_training.task import AUDIO_HZ, CONTEXT_HOPS, HOP_S, IMU_HZ, Task
from mmg_training.wearer import EVERYDAY

KIND = "class-paired"
TASK = Task("paired", ("still", "walking"), ("imu", "audio"), clips=True)
# The sources have more activities than can be paired.
READ = Task("paired sources", EVERYDAY)
CLIP_S = CONTEXT_HOPS * HOP_S
# Being still lasts 0.5 to 2.5 s in sp-sw-har, and is played to and fro until it fills a clip.
LEAST_STILL_S = 0.5
# Two ESC-10 clips of 5 s make one session, and no clip of ours crosses from one to the other.
SOUND_STEP_S = 5.0
PAIRS_EACH = 3
FITTED_SUBJECTS, MEASURED_SUBJECTS = motion.TEST_SUBJECTS[:2], motion.TEST_SUBJECTS[2:]


def load(config: DataConfig, report: Callable[[str], None]) -> Dataset:
    """Clips of 4 s, paired by a fixed seed; a session's subject is that of its IMU. In training each IMU clip comes
    with ``PAIRS_EACH`` sounds, and in what is measured with one, so that it counts once. Raises ConfigError."""
    root = data.recordings(config)
    recorded = motion.load(data.require(root, "sp-sw-har"), READ)
    steps, other_steps = sounds.footsteps(data.require(root, "footsteps"), READ)
    around, other_around = sounds.surroundings(data.require(root, "esc10"), READ, label="still")
    others = [(one.subject, one) for one in (*other_steps, *other_around)]
    learnt = [one for one in recorded if one.subject not in motion.TEST_SUBJECTS]
    fitted = [one for one in recorded if one.subject in FITTED_SUBJECTS]
    measured = [one for one in recorded if one.subject in MEASURED_SUBJECTS]
    training = pair(learnt, (*steps, *around), PAIRS_EACH)
    # A sound's subject is its ground, or its kind in ESC-10: no file is in both halves.
    calibration = pair(fitted, [one for number, one in others if number % 2], 1)
    test = pair(measured, [one for number, one in others if number % 2 == 0], 1)
    report(f"paired: {len(training)} pairs to train on, {len(test)} to test: of one class, not recorded together")
    held_out = (
        f"subjects {' and '.join(map(str, MEASURED_SUBJECTS))} of sp-sw-har with sounds of other grounds and folds"
    )
    return Dataset(
        task=TASK,
        kind="class-paired",
        training=(Pool(KIND, 1.0, training, anchored=1.0),),
        calibration=calibration,
        test=test,
        sources=tuple(
            msgspec.structs.replace(source, what=f"{KIND}: {what}")
            for source, what in (
                (motion.SOURCE, "phone and watch IMU of subjects 1 to 11, still and walking"),
                (sounds.FOOTSTEPS, "single steps on hard floor (Erdie) and in water (AGFX), put together to walks"),
                (sounds.SURROUNDINGS, "all kinds of surroundings, folds 1 and 2, as still"),
            )
        ),
        held_out=f"{held_out} ({KIND}, not recorded together)",
        limits=("IMU and sound are of one activity, but of different people and times.",),
    )


def pair(moved: Sequence[Session], heard: Sequence[Session], each: int) -> tuple[Session, ...]:
    """Every IMU clip with ``each`` sounds of its class; the same at every call."""
    rng = np.random.default_rng(0x9A18)
    sound: dict[str, list[NDArray[np.int16]]] = {label: [] for label in TASK.labels}
    for one in heard:
        if (label := READ.labels[one.labels[0]]) in sound:
            sound[label] += _cut(one.samples["audio"], AUDIO_HZ, SOUND_STEP_S)
    pairs = []
    for one in moved:
        for label, imu in _imu_clips(one):
            labels = np.full(CONTEXT_HOPS * TICKS_PER_HOP + 1, TASK.labels.index(label), np.int16)
            for number in rng.choice(len(sound[label]), each, replace=False):
                samples = {"imu": imu, "audio": sound[label][number]}
                pairs.append(Session(f"{KIND} {one.source}", one.subject, labels, samples))
    return tuple(pairs)


def _imu_clips(session: Session) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The label and (T, 6) of each clip in the stretches that can be paired."""
    changes = np.flatnonzero(np.diff(session.labels)) + 1
    for ticks in np.split(np.arange(len(session.labels)), changes):
        label = READ.labels[session.labels[ticks[0]]]
        first, last = (round(tick * TICK_S * IMU_HZ) for tick in (ticks[0], ticks[-1]))
        stretch = session.samples["imu"][first:last]
        if label == "still" and len(stretch) >= LEAST_STILL_S * IMU_HZ:
            missing = max(0, round(CLIP_S * IMU_HZ) - len(stretch))
            stretch = np.pad(stretch, ((0, missing), (0, 0)), mode="symmetric")
        if label in TASK.labels:
            yield from ((label, clip) for clip in _cut(stretch, IMU_HZ, CLIP_S))


def _cut(samples: NDArray[Any], rate_hz: int, step_s: float) -> list[NDArray[Any]]:
    """The whole clips in (T, ...), one every ``step_s``."""
    count, step = round(CLIP_S * rate_hz), round(step_s * rate_hz)
    return [samples[first : first + count] for first in range(0, len(samples) - count + 1, step)]
