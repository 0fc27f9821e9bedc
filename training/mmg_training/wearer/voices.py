"""What single things sound like: short templates and steady noises, as fractions of full scale at one metre."""

from __future__ import annotations

import numpy as np

from mmg_training.wearer.subject import Floats

TAU = 2 * np.pi


def band_noise(rng: np.random.Generator, count: int, rate_hz: int, low_hz: float, high_hz: float) -> Floats:
    """Noise (count,) of unit root mean square between two corners that fall off by 12 dB an octave."""
    if count == 0:
        return np.zeros(0)
    size = _fast_length(count)
    squared = np.fft.rfftfreq(size, 1 / rate_hz).astype(np.float32) ** 2
    shape = squared / ((1 + squared / high_hz**2) * (squared + low_hz**2))
    # The spectrum of white noise is white noise too: no need to transform it there.
    spectrum = rng.standard_normal(2 * len(squared), np.float32).view(np.complex64)
    noise = np.fft.irfft(spectrum * shape, size)[:count].astype(np.float64)
    level: Floats = noise * (1 / (np.sqrt(np.mean(noise**2)) + 1e-12))
    return level


def slow(rng: np.random.Generator, count: int, rate_hz: int, hz: float) -> Floats:
    """A random level (count,) that wanders about 0 with unit deviation, changing about ``hz`` times a second."""
    knots = np.cumsum(np.concatenate(([0.0], rng.uniform(0.5, 1.5, int(count / rate_hz * hz) + 3)))) * rate_hz / hz
    levels: Floats = np.interp(np.arange(count), knots, rng.standard_normal(len(knots)))
    return levels


def buzz(pitch_hz: Floats | float, count: int, rate_hz: int, harmonics: int = 8) -> Floats:
    """A tone (count,) with overtones that fall off as 1 / n, at a pitch that may change (count,)."""
    turns = np.cumsum(np.broadcast_to(pitch_hz, count)) / rate_hz
    cycle = TAU * np.arange(1024) / 1024
    period: Floats = np.sum([np.sin(n * cycle) / n for n in range(1, harmonics + 1)], axis=0)
    wave: Floats = period[(1024 * turns).astype(np.int64) & 1023]
    return wave


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


def crisp(rng: np.random.Generator, rate_hz: int) -> Floats:
    """A knife through something onto a board."""
    cut = burst(rng, rate_hz, 1500, 7000, rng.uniform(0.01, 0.03)) * rng.uniform(0.1, 0.6)
    gap = np.zeros(round(rng.uniform(0.01, 0.03) * rate_hz))
    return mix(cut, np.concatenate((gap, knock(rng, rate_hz))))


def metal(rng: np.random.Generator, rate_hz: int, hz: float) -> Floats:
    """A hammer on a nail: a knock with steel in it."""
    steel = ring(rate_hz, hz * rng.uniform(0.95, 1.05), 0.03) * rng.uniform(0.2, 0.9)
    return mix(knock(rng, rate_hz), steel)


def drum(rng: np.random.Generator, rate_hz: int, hz: float) -> Floats:
    """A skin, or a table top that stands in for it."""
    stick = burst(rng, rate_hz, 500, 4000, 0.008) * rng.uniform(0.2, 0.7)
    return mix(ring(rate_hz, hz * float(rng.choice([1.0, 1.0, 1.6])), rng.uniform(0.03, 0.07)), stick)


def clink(rng: np.random.Generator, rate_hz: int) -> Floats:
    """Glass, china or a spoon."""
    low_hz = rng.uniform(1400, 3200)
    return mix(ring(rate_hz, low_hz, 0.03), 0.6 * ring(rate_hz, 1.7 * low_hz, 0.015))


def rustle(rng: np.random.Generator, rate_hz: int, span_s: float, low_hz: float, high_hz: float) -> Floats:
    """Paper or cloth that is moved: noise that swells and dies away, of unit root mean square."""
    count = max(4, round(span_s * rate_hz))
    return band_noise(rng, count, rate_hz, low_hz, high_hz) * np.hanning(count)


def gulp(rng: np.random.Generator, rate_hz: int) -> Floats:
    """A swallow: a dull sound that slides up."""
    count = round(0.12 * rate_hz)
    t = np.arange(count) / rate_hz
    wave: Floats = np.sin(TAU * (rng.uniform(150, 260) * t + 900 * t**2)) * np.hanning(count)
    return wave


def motor(rng: np.random.Generator, count: int, rate_hz: int, hz: float, air: float) -> Floats:
    """A small motor (count,): its buzz and, by ``air`` 0 to 1, the air that it moves."""
    tone = buzz(hz * (1 + 0.01 * slow(rng, count, rate_hz, 3)), count, rate_hz)
    return (1 - air) * tone + air * band_noise(rng, count, rate_hz, 200, rng.uniform(1500, 5000))


def water(rng: np.random.Generator, count: int, rate_hz: int) -> Floats:
    """A running tap (count,): hiss whose strength gurgles."""
    hiss = band_noise(rng, count, rate_hz, rng.uniform(300, 900), rng.uniform(3000, 7500))
    return hiss * np.clip(1 + 0.4 * slow(rng, count, rate_hz, 12), 0.2, 2.5)


def speech(rng: np.random.Generator, count: int, rate_hz: int) -> Floats:
    """Somebody talks in another room (count,): a buzz in syllables, without words."""
    t = np.arange(count) / rate_hz
    pitch_hz = rng.uniform(95, 220) * (1 + 0.15 * np.sin(TAU * rng.uniform(0.2, 0.7) * t))
    syllables = np.sqrt(np.clip(np.sin(TAU * rng.uniform(2.5, 5) * t + rng.uniform(0, TAU)), 0, 1))
    wave: Floats = (buzz(pitch_hz, count, rate_hz) + 0.5 * band_noise(rng, count, rate_hz, 400, 2500)) * syllables
    return wave


def room(
    rng: np.random.Generator, wave: Floats, rate_hz: int, decay_s: float, wet: float, pass_hz: tuple[float, float]
) -> Floats:
    """The wave (T,) with a diffuse tail, noise that falls by 60 dB in ``decay_s``, and through a microphone that passes
    what is between two corners."""
    count = max(8, round(decay_s * rate_hz))
    tail = rng.standard_normal(count) * np.exp(-6.9 * np.arange(count) / count)
    tail *= wet / np.sqrt(np.sum(tail**2))
    tail[0] += 1.0  # the direct sound
    size = _fast_length(len(wave) + count)
    hz = 1j * np.fft.rfftfreq(size, 1 / rate_hz).astype(np.float32)
    passed = hz / ((pass_hz[0] + hz) * (1 + hz / pass_hz[1]))
    spectrum = np.fft.rfft(wave.astype(np.float32), size) * np.fft.rfft(tail.astype(np.float32), size) * passed
    heard: Floats = np.fft.irfft(spectrum, size)[: len(wave)].astype(np.float64)
    return heard


def _fast_length(count: int) -> int:
    # numpy's FFT of a large prime length is many times slower.
    step = 1 << max(0, count.bit_length() - 5)
    return -(-count // (2 * step)) * 2 * step
