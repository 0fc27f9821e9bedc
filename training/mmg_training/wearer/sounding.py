"""How the beats of a segment become sound: hits, strokes and things that run all along."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mmg_training.wearer import voices
from mmg_training.wearer.subject import Floats, Subject
from mmg_training.wearer.timeline import Segment

Voice = Callable[[Segment, Subject, np.random.Generator, int], Floats]
Template = Callable[[np.random.Generator, int], Floats]
CONTROL_HZ = 400


def add(out: Floats, wave: Floats, start_s: float, rate_hz: int) -> None:
    """Lay a wave into another one, cut at its ends."""
    first = round(start_s * rate_hz)
    wave = wave[max(0, -first) : max(0, len(out) - first)]
    out[max(0, first) : max(0, first) + len(wave)] += wave


def decibels(rng: np.random.Generator, low: float, high: float) -> float:
    """A random gain between two levels."""
    return float(10 ** (rng.uniform(low, high) / 20))


def length(segment: Segment, rate_hz: int) -> int:
    """Samples of a segment."""
    return round((segment.end_s - segment.start_s) * rate_hz)


def beaten(segment: Segment, rate_hz: int, gain: float, template: Callable[[], Floats]) -> Floats:
    """One template a beat, each anew: no two claps are the same. Half a second longer than the segment."""
    out = np.zeros(length(segment, rate_hz) + round(0.5 * rate_hz))
    for time_s, strength in segment.beats:
        add(out, gain * strength * template(), time_s - segment.start_s, rate_hz)
    return out


def along(segment: Segment, rate_hz: int, level: Callable[[Floats], Floats]) -> Floats:
    """A level at each sample of a segment, from a function of its phase; it changes slowly."""
    count, steps = length(segment, rate_hz), int((segment.end_s - segment.start_s) * CONTROL_HZ) + 2
    levels = level(segment.phase(segment.start_s + np.arange(steps) / CONTROL_HZ))
    return np.interp(np.arange(count) / rate_hz, np.arange(steps) / CONTROL_HZ, levels)


def cloth(segment: Segment, rng: np.random.Generator, rate_hz: int, gain: float, ripple: float) -> Floats:
    """A sleeve that rustles with each beat, by ``ripple`` 0 to 1; half a second longer than the segment."""
    count = length(segment, rate_hz)
    if len(segment.beats) > 1:
        envelope = along(segment, rate_hz, lambda phase: 1 - ripple + ripple * np.cos(2 * np.pi * phase))
    else:
        envelope = np.hanning(count)
    rustle = gain * voices.band_noise(rng, count, rate_hz, 900, 4000) * envelope
    return np.concatenate((rustle, np.zeros(round(0.5 * rate_hz))))


def hits(low_db: float, high_db: float, template: Template) -> Voice:
    """A voice of single hits, one a beat."""

    def voice(segment: Segment, _subject: Subject, rng: np.random.Generator, rate_hz: int) -> Floats:
        gain = decibels(rng, low_db, high_db)
        return beaten(segment, rate_hz, gain, lambda: template(rng, rate_hz))

    return voice


def strokes(
    low_db: float, high_db: float, low_hz: tuple[float, float], high_hz: tuple[float, float], *, even: float = 0.0
) -> Voice:
    """A voice of noise that swells between beats. low_hz, high_hz: ranges of its two corners. even: what of it stays
    at the turning points."""

    def voice(segment: Segment, _subject: Subject, rng: np.random.Generator, rate_hz: int) -> Floats:
        gain, sharp, floor = decibels(rng, low_db, high_db), rng.uniform(0.6, 2.5), even * rng.uniform(0.3, 1.0)
        uneven = rng.uniform(0, 0.6)  # there is not as loud as back

        def level(phase: Floats) -> Floats:
            swish = np.abs(np.sin(np.pi * phase)) ** sharp * (1 - uneven * (np.floor(phase) % 2))
            return floor + (1 - floor) * swish

        noise = voices.band_noise(rng, length(segment, rate_hz), rate_hz, rng.uniform(*low_hz), rng.uniform(*high_hz))
        return gain * noise * along(segment, rate_hz, level)

    return voice
