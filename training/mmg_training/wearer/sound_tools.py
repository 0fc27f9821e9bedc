"""What tools and things sound like."""

from __future__ import annotations

import numpy as np

from mmg_training.wearer import voices
from mmg_training.wearer.sounding import Voice, add, along, beaten, decibels, hits, length, strokes
from mmg_training.wearer.subject import Floats, Subject
from mmg_training.wearer.timeline import Segment


def _running_motor(
    hz: tuple[float, float], air: tuple[float, float], low_db: float, high_db: float, load: float
) -> Voice:
    """A motor that works harder at each stroke, by ``load``."""

    def voice(segment: Segment, _subject: Subject, rng: np.random.Generator, rate_hz: int) -> Floats:
        wave = voices.motor(rng, length(segment, rate_hz), rate_hz, rng.uniform(*hz), rng.uniform(*air))
        strain = along(segment, rate_hz, lambda phase: 1 + load * np.sin(np.pi * phase))
        return decibels(rng, low_db, high_db) * wave * strain

    return voice


def _clinking(scrape: Voice, chance: float, low_db: float, high_db: float) -> Voice:
    """Strokes against a pot or a bowl that rings now and then."""

    def voice(segment: Segment, subject: Subject, rng: np.random.Generator, rate_hz: int) -> Floats:
        wave, gain = scrape(segment, subject, rng, rate_hz), decibels(rng, low_db, high_db)
        for time_s, strength in segment.beats[rng.random(len(segment.beats)) < chance]:
            add(wave, gain * strength * voices.clink(rng, rate_hz), time_s - segment.start_s, rate_hz)
        return wave

    return voice


def _hammer(segment: Segment, _subject: Subject, rng: np.random.Generator, rate_hz: int) -> Floats:
    gain, hz = decibels(rng, -28, -5), rng.uniform(1800, 4500)
    return beaten(segment, rate_hz, gain, lambda: voices.metal(rng, rate_hz, hz))


def _drum(segment: Segment, _subject: Subject, rng: np.random.Generator, rate_hz: int) -> Floats:
    gain, hz = decibels(rng, -34, -10), rng.uniform(90, 400)
    return beaten(segment, rate_hz, gain, lambda: voices.drum(rng, rate_hz, hz))


def _saw(segment: Segment, subject: Subject, rng: np.random.Generator, rate_hz: int) -> Floats:
    wave = SAWDUST(segment, subject, rng, rate_hz)
    teeth = voices.buzz(rng.uniform(60, 160), len(wave), rate_hz, harmonics=3)
    return wave * (1 + rng.uniform(0.2, 0.7) * teeth)


def _pouring(segment: Segment, _subject: Subject, rng: np.random.Generator, rate_hz: int) -> Floats:
    gain, span_s = decibels(rng, -48, -26), rng.uniform(0.9, 2.0)
    out = np.zeros(length(segment, rate_hz))
    for time_s, strength in segment.beats:
        count = round(span_s * rate_hz)
        rising = voices.buzz(rng.uniform(250, 450) * np.linspace(1, 2.2, count), count, rate_hz, harmonics=2)
        flow = 0.6 * voices.water(rng, count, rate_hz) + rng.uniform(0.1, 0.6) * rising
        add(out, gain * strength * flow * np.hanning(count) ** 0.5, time_s - span_s / 2 - segment.start_s, rate_hz)
    return out


def _ironing(segment: Segment, subject: Subject, rng: np.random.Generator, rate_hz: int) -> Floats:
    wave = SMOOTH(segment, subject, rng, rate_hz)
    for time_s, _ in segment.beats:
        if rng.random() < 0.2:
            steam = voices.rustle(rng, rate_hz, rng.uniform(0.4, 1.0), 1500, 8000)
            add(wave, decibels(rng, -44, -28) * steam, time_s - segment.start_s, rate_hz)
    return wave


SAWDUST = strokes(-38, -14, (500, 1200), (3000, 6500))
SMOOTH = strokes(-56, -40, (300, 900), (1500, 3500), even=0.3)
TOOLS: dict[str, Voice] = {
    "knocking": hits(-30, -8, voices.knock),
    "chopping": hits(-38, -14, voices.crisp),
    "hammering": _hammer,
    "drumming": _drum,
    "sawing": _saw,
    "sweeping": strokes(-48, -26, (900, 2000), (3500, 7000), even=0.1),
    "vacuuming": _running_motor((110, 280), (0.4, 0.95), -36, -14, 0.1),
    "shaving": _running_motor((70, 190), (0.1, 0.7), -46, -26, 0.25),
    "stirring": _clinking(strokes(-54, -38, (500, 1500), (2500, 5000), even=0.5), 0.4, -46, -28),
    "whisking": _clinking(strokes(-46, -28, (700, 2000), (3500, 7000), even=0.3), 0.5, -44, -28),
    "pouring": _pouring,
    "wiping_table": strokes(-56, -40, (400, 1000), (2000, 4500), even=0.3),
    "ironing": _ironing,
    "folding_laundry": hits(-50, -34, lambda rng, rate_hz: voices.rustle(rng, rate_hz, 0.7, 500, 3500)),
    "turning_pages": hits(-46, -28, lambda rng, rate_hz: voices.rustle(rng, rate_hz, 0.35, 1500, 7000)),
    "writing": strokes(-62, -44, (900, 2500), (4000, 7500)),
}
