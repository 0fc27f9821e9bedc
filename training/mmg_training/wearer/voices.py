"""What single things sound like: short templates and steady noises, as fractions of full scale at one metre."""

from __future__ import annotations

import numpy as np

from mmg_training.wearer.subject import Floats

TAU = 2 * np.pi


def band_noise(rng: np.random.Generator, count: int, rate_hz: int, low_hz: float, high_hz: float) -> Floats:
    """Noise (count,) of unit root mean square between two corners that fall off by 12 dB an octave."""
    if count == 0:
        return np.zeros(0)
    spectrum = np.fft.rfft(rng.standard_normal(_fast_length(count)))
    hz = np.fft.rfftfreq(_fast_length(count), 1 / rate_hz)
    shape = 1 / (1 + (hz / high_hz) ** 2) * (hz**2 / (hz**2 + low_hz**2))
    noise = np.fft.irfft(spectrum * shape)[:count]
    level: Floats = noise / (np.sqrt(np.mean(noise**2)) + 1e-12)
    return level


def ring(rate_hz: int, hz: float, decay_s: float) -> Floats:
    """A struck thing (6 decay times long): a sine that dies away."""
    t = np.arange(max(2, round(6 * decay_s * rate_hz))) / rate_hz
    wave: Floats = np.exp(-t / decay_s) * np.sin(TAU * hz * t)
    return wave


def burst(rng: np.random.Generator, rate_hz: int, low_hz: float, high_hz: float, decay_s: float) -> Floats:
    """Noise that starts at once and dies away, of unit peak."""
    count = max(2, round(6 * decay_s * rate_hz))
    wave = band_noise(rng, count, rate_hz, low_hz, high_hz) * np.exp(-np.arange(count) / (decay_s * rate_hz))
    peak: Floats = wave / (np.abs(wave).max() + 1e-12)
    return peak


def mix(*parts: Floats) -> Floats:
    """The sum of sounds that start together."""
    out = np.zeros(max(len(part) for part in parts))
    for part in parts:
        out[: len(part)] += part
    return out


def footstep(rng: np.random.Generator, rate_hz: int, softness: float) -> Floats:
    """Heel, then the scrape of the sole; soft shoes are dull."""
    thump = ring(rate_hz, rng.uniform(65, 130), 0.03)
    heel = burst(rng, rate_hz, 150, 2500 - 1900 * softness, 0.012) * (1.1 - 0.7 * softness)
    sole = burst(rng, rate_hz, 400, 4500 - 2500 * softness, 0.04) * rng.uniform(0.1, 0.5)
    gap = np.zeros(round(rng.uniform(0.02, 0.07) * rate_hz))
    return mix(thump, heel, np.concatenate((gap, sole)))


def key(rng: np.random.Generator, rate_hz: int, softness: float) -> Floats:
    """A key that hits the bottom and, quieter, comes up again."""
    click = burst(rng, rate_hz, 1200, 6500 - 3500 * softness, 0.004)
    knock = ring(rate_hz, rng.uniform(180, 420), 0.012) * rng.uniform(0.3, 0.8)
    up = np.concatenate(
        (np.zeros(round(rng.uniform(0.05, 0.1) * rate_hz)), 0.3 * burst(rng, rate_hz, 2000, 6500, 0.003))
    )
    return mix(click, knock, up)


def clap(rng: np.random.Generator, rate_hz: int, hollow: float) -> Floats:
    """Two palms; hollow 0 is flat and bright, 1 is cupped and dull."""
    air = burst(rng, rate_hz, 500, 5000 - 3000 * hollow, 0.010 + 0.012 * hollow)
    return mix(air, ring(rate_hz, 1300 - 700 * hollow, 0.006) * 0.6)


def knock(rng: np.random.Generator, rate_hz: int) -> Floats:
    """Knuckles on a door, or something put on a table: like a clap, but with wood in it."""
    wood = ring(rate_hz, rng.uniform(140, 420), rng.uniform(0.02, 0.05))
    return mix(wood, burst(rng, rate_hz, 300, rng.uniform(1200, 3500), 0.010))


def water(rng: np.random.Generator, count: int, rate_hz: int) -> Floats:
    """A running tap (count,): hiss whose strength gurgles."""
    hiss = band_noise(rng, count, rate_hz, rng.uniform(300, 900), rng.uniform(3000, 7500))
    gurgle = band_noise(rng, count, rate_hz, 2.0, 8.0)
    return hiss * np.clip(1 + 0.3 * gurgle, 0.2, 2.5)


def speech(rng: np.random.Generator, count: int, rate_hz: int) -> Floats:
    """Somebody talks in another room (count,): a buzz in syllables, without words."""
    t = np.arange(count) / rate_hz
    pitch_hz = rng.uniform(95, 220) * (1 + 0.15 * np.sin(TAU * rng.uniform(0.2, 0.7) * t))
    phase = TAU * np.cumsum(pitch_hz) / rate_hz
    buzz = sum(np.sin(number * phase) / number for number in range(1, 9))
    syllables = np.clip(np.sin(TAU * rng.uniform(2.5, 5) * t + rng.uniform(0, TAU)), 0, 1) ** 0.7
    wave: Floats = (buzz + 0.5 * band_noise(rng, count, rate_hz, 400, 2500)) * syllables
    return wave


def reverb(rng: np.random.Generator, wave: Floats, rate_hz: int, decay_s: float, wet: float) -> Floats:
    """The wave (T,) with a diffuse tail: noise that falls by 60 dB in ``decay_s``."""
    count = max(8, round(decay_s * rate_hz))
    tail = rng.standard_normal(count) * np.exp(-6.9 * np.arange(count) / count)
    tail *= wet / np.sqrt(np.sum(tail**2))
    size = _fast_length(len(wave) + count)
    echo: Floats = np.fft.irfft(np.fft.rfft(wave, size) * np.fft.rfft(tail, size))[: len(wave)]
    return wave + echo


def _fast_length(count: int) -> int:
    # numpy's FFT of a large prime length is many times slower.
    step = 1 << max(0, count.bit_length() - 5)
    return -(-count // (2 * step)) * 2 * step
