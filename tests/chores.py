"""Chores that no bundle knows: their motions and sounds, made up, so that they can be taught."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

IMU_HZ, SOUND_HZ = 100, 16_000
TAUGHT, UNTAUGHT = ("stirring", "sawing"), "twisting"
REST = "rest"
GRAVITY = 9.81

Part = tuple[str, float]
"""A chore, and for how many seconds it is done."""


def imu(chore: str, seconds: float, seed: int) -> NDArray[np.float32]:
    """``(T, 6)`` m/s^2 and rad/s at 100 Hz."""
    random = np.random.default_rng(seed)
    samples: NDArray[Any] = random.normal(0, 0.05, (round(seconds * IMU_HZ), 6))
    samples[:, 2] += GRAVITY
    phase = 2 * np.pi * np.arange(len(samples)) / IMU_HZ * random.uniform(0.95, 1.05)
    begin = random.uniform(0, 2 * np.pi)
    if chore == "stirring":
        turn = 1.6 * phase + begin
        samples[:, [0, 1, 5]] += np.stack([4 * np.sin(turn), 4 * np.cos(turn), 1.5 * np.sin(turn)], axis=1)
    elif chore == "sawing":
        pull = 2.8 * phase + begin
        samples[:, [0, 3]] += np.stack([9 * np.sign(np.sin(pull)), 0.4 * np.sin(pull)], axis=1)
    elif chore == "twisting":
        # The wrist turns about its own axis, and gravity with it.
        turn = phase + begin
        tilt = 1.3 * np.sin(turn)
        samples[:, 1:3] += GRAVITY * np.stack([np.sin(tilt), np.cos(tilt) - 1], axis=1)
        samples[:, 3] += np.gradient(tilt, 1 / IMU_HZ)
    return samples.astype(np.float32)


def sound(chore: str, seconds: float, seed: int) -> NDArray[np.int16]:
    """``(N,)`` at 16 kHz: a spoon that rings, a saw that rasps, a hinge that howls."""
    random = np.random.default_rng(seed + 1000)
    times = np.arange(round(seconds * SOUND_HZ)) / SOUND_HZ
    heard: NDArray[Any] = random.normal(0, 0.002, len(times))
    pitch = random.uniform(0.97, 1.03)
    if chore == "stirring":
        heard += 0.2 * np.sin(2 * np.pi * 660 * pitch * times) * (np.sin(2 * np.pi * 1.6 * times) > 0)
    elif chore == "sawing":
        heard += 0.2 * random.normal(0, 1, len(times)) * (np.sin(2 * np.pi * 2.8 * times) > 0)
    elif chore == "twisting":
        heard += 0.2 * np.sin(2 * np.pi * (2000 * pitch * times + 300 * np.sin(2 * np.pi * 0.7 * times)))
    return (heard.clip(-1, 1) * 32767).astype(np.int16)


def save(folder: Path, parts: Sequence[Part], seed: int = 0) -> Path:
    """A folder with imu.csv and audio.wav in which these are done one after the other, without any label."""
    folder.mkdir()
    moved = np.concatenate([imu(*part, seed + place) for place, part in enumerate(parts)])
    times = np.arange(len(moved)) / IMU_HZ
    header = "time_s,ax_m/s2,ay_m/s2,az_m/s2,gx_rad/s,gy_rad/s,gz_rad/s"
    rows = np.column_stack([times, moved])
    np.savetxt(folder / "imu.csv", rows, delimiter=",", header=header, comments="", fmt="%.5f")
    heard = np.concatenate([sound(*part, seed + place) for place, part in enumerate(parts)])
    soundfile.write(folder / "audio.wav", heard, SOUND_HZ)
    return folder


def spans(parts: Sequence[Part]) -> list[tuple[float, float, str]]:
    """When each of them begins and ends, in seconds."""
    ends = np.cumsum([seconds for _, seconds in parts]).tolist()
    return [(end - seconds, end, chore) for (chore, seconds), end in zip(parts, ends, strict=True)]


def label(folder: Path, parts: Sequence[Part]) -> Path:
    """The same folder with the labels of all but the rests."""
    rows = [f"{start_s:g},{end_s:g},{chore}\n" for start_s, end_s, chore in spans(parts) if chore != REST]
    (folder / "labels.csv").write_text("start_s,end_s,label\n" + "".join(rows))
    return folder


def day_of(chore: str, times: int = 5) -> list[Part]:
    """So many examples of four seconds, with rest between them."""
    return [*[part for _ in range(times) for part in ((REST, 5.0), (chore, 4.5))], (REST, 5.0)]
