"""What a place sounds like by itself: traffic, fans, voices, rain, kitchen machines, music."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mmg_training.wearer import voices
from mmg_training.wearer.subject import Floats

Background = Callable[[np.random.Generator, int, int], Floats]


def traffic(rng: np.random.Generator, count: int, rate_hz: int) -> Floats:
    """A rumble, and cars that pass (count,)."""
    cars = np.exp(0.8 * voices.slow(rng, count, rate_hz, rng.uniform(0.3, 0.8)))
    return voices.band_noise(rng, count, rate_hz, 30, rng.uniform(300, 1200)) * cars


def fan(rng: np.random.Generator, count: int, rate_hz: int) -> Floats:
    """Air, and the hum of the mains (count,)."""
    hum = voices.buzz(float(rng.choice([50.0, 100.0, 120.0])), count, rate_hz) * rng.uniform(0.1, 1.0)
    return hum + voices.band_noise(rng, count, rate_hz, 60, rng.uniform(400, 2500))


def babble(rng: np.random.Generator, count: int, rate_hz: int) -> Floats:
    """Many people, none to be understood (count,)."""
    crowd = voices.band_noise(rng, count, rate_hz, 250, rng.uniform(1200, 3000))
    return crowd * np.exp(0.5 * voices.slow(rng, count, rate_hz, rng.uniform(4, 8)))


def rain(rng: np.random.Generator, count: int, rate_hz: int) -> Floats:
    """Rain on a window or a hood (count,)."""
    hiss = voices.band_noise(rng, count, rate_hz, rng.uniform(600, 2000), 7000)
    return hiss * np.exp(0.15 * voices.slow(rng, count, rate_hz, 20))


def appliance(rng: np.random.Generator, count: int, rate_hz: int) -> Floats:
    """A hood, a fridge or somebody else's machine (count,)."""
    return voices.motor(rng, count, rate_hz, rng.uniform(45, 190), rng.uniform(0.3, 0.9))


def music(rng: np.random.Generator, count: int, rate_hz: int) -> Floats:
    """A tune of random notes over a beat (count,)."""
    note_s = rng.uniform(0.2, 0.5)
    at = np.arange(count) / (note_s * rate_hz)
    index = at.astype(np.int64)
    notes = 220 * 2 ** (rng.choice([0, 3, 5, 7, 10, 12], size=int(count / (note_s * rate_hz)) + 1) / 12)
    tune = voices.buzz(notes[index], count, rate_hz, harmonics=4) * (1 - 0.8 * (at - index))
    wave: Floats = tune + 0.3 * voices.band_noise(rng, count, rate_hz, 200, 5000) * (index % 2 == 0)
    return wave


BACKGROUNDS: dict[str, tuple[Background, ...]] = {
    "desk": (fan, babble, music, rain),
    "sofa": (music, babble, rain, fan),
    "room": (music, rain, fan, appliance),
    "kitchen": (appliance, music, fan, babble),
    "sink": (fan, appliance, rain, music),
    "corridor": (babble, fan, music, traffic),
    "doorway": (traffic, rain, babble, fan),
    "stairs": (fan, babble, traffic, music),
    "street": (traffic, rain, babble, traffic),
    "workshop": (appliance, music, fan, rain),
}


def background(rng: np.random.Generator, place: str, count: int, rate_hz: int) -> Floats:
    """One of the sounds of this place (count,), of unit root mean square."""
    kinds = BACKGROUNDS[place]
    wave = kinds[int(rng.integers(len(kinds)))](rng, count, rate_hz)
    level: Floats = wave / (np.sqrt(np.mean(wave**2)) + 1e-12)
    return level
