"""What the body and the bare hands sound like."""

from __future__ import annotations

import numpy as np

from mmg_training.wearer import voices
from mmg_training.wearer.sounding import Voice, along, beaten, cloth, decibels, hits, length, strokes
from mmg_training.wearer.subject import Floats, Subject
from mmg_training.wearer.timeline import Segment


def _steps(segment: Segment, subject: Subject, rng: np.random.Generator, rate_hz: int) -> Floats:
    softness = min(1.0, subject.softness * 0.7 + (0.3 if segment.place == "street" else 0.0))
    low, high = (-34, -16) if segment.label in ("walking", "climbing_stairs") else (-26, -8)
    gain = decibels(rng, low, high)
    steps = beaten(segment, rate_hz, gain, lambda: voices.footstep(rng, rate_hz, softness))
    return steps + cloth(segment, rng, rate_hz, 0.06 * gain, 0.5)


def _keys(segment: Segment, subject: Subject, rng: np.random.Generator, rate_hz: int) -> Floats:
    gain = decibels(rng, -46, -22) * (1.2 - subject.softness)
    return beaten(segment, rate_hz, gain, lambda: voices.key(rng, rate_hz, subject.softness))


def _claps(segment: Segment, _subject: Subject, rng: np.random.Generator, rate_hz: int) -> Floats:
    gain, hollow = decibels(rng, -20, -1), rng.uniform(0, 1)
    return beaten(segment, rate_hz, gain, lambda: voices.clap(rng, rate_hz, hollow))


def _washing(segment: Segment, _subject: Subject, rng: np.random.Generator, rate_hz: int) -> Floats:
    count = length(segment, rate_hz)
    flow = decibels(rng, -38, -20) * voices.water(rng, count, rate_hz)
    # Hands in the stream change it; while they are soaped the tap may be closed.
    flow *= along(segment, rate_hz, lambda phase: 1 + 0.4 * np.sin(2 * np.pi * phase))
    soaped = round(rng.uniform(0, 0.4) * count) if rng.random() < 0.4 else 0
    begin = int(rng.integers(0, count - soaped + 1))
    flow[begin : begin + soaped] *= 0.03
    return flow + cloth(segment, rng, rate_hz, decibels(rng, -52, -40), 0.9)[:count]


def _brushing(segment: Segment, subject: Subject, rng: np.random.Generator, rate_hz: int) -> Floats:
    wave = SCRUB(segment, subject, rng, rate_hz)
    if rng.random() < 0.25:
        wave += decibels(rng, -42, -26) * voices.water(rng, len(wave), rate_hz)
    return wave


def _seat(segment: Segment, _subject: Subject, rng: np.random.Generator, rate_hz: int) -> Floats:
    gain = decibels(rng, -32, -16)
    creak_hz = rng.uniform(300, 900)

    def thud() -> Floats:
        creak = voices.ring(rate_hz, creak_hz, 0.08) * rng.uniform(0, 0.3)
        return voices.mix(voices.ring(rate_hz, rng.uniform(50, 110), 0.05), creak)

    knock = gain * (1.0 if segment.label == "sitting_down" else 0.3)
    return beaten(segment, rate_hz, knock, thud) + cloth(segment, rng, rate_hz, 0.12 * gain, 0.0)


def _drinking(segment: Segment, _subject: Subject, rng: np.random.Generator, rate_hz: int) -> Floats:
    gain, hard = decibels(rng, -48, -28), rng.uniform(0.0, 1.2)
    lag = np.zeros(round(rng.uniform(0.9, 1.5) * rate_hz))

    def sip() -> Floats:
        swallows = [np.zeros(round(number * 0.5 * rate_hz)) for number in range(int(rng.integers(1, 4)))]
        swallowed = voices.mix(*(np.concatenate((gap, voices.gulp(rng, rate_hz))) for gap in swallows))
        # Then the cup is put down.
        return voices.mix(swallowed, np.concatenate((lag, hard * voices.clink(rng, rate_hz))))

    return beaten(segment, rate_hz, gain, sip)


SCRUB = strokes(-44, -26, (700, 2200), (3500, 7000))
BODY: dict[str, Voice] = {
    "walking": _steps,
    "running": _steps,
    "climbing_stairs": _steps,
    "jumping_jacks": _steps,
    "typing": _keys,
    "clapping": _claps,
    "washing_hands": _washing,
    "brushing_teeth": _brushing,
    "sitting_down": _seat,
    "standing_up": _seat,
    "drinking": _drinking,
    "waving": strokes(-62, -48, (600, 1200), (2500, 4500), even=0.3),
    "using_phone": hits(-64, -44, lambda rng, rate_hz: voices.burst(rng, rate_hz, 800, 4000, 0.004)),
    "drying_hands": strokes(-50, -34, (500, 1200), (2500, 5000), even=0.4),
    "combing_hair": strokes(-52, -36, (900, 2200), (3500, 7000), even=0.2),
}
