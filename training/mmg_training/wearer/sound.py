"""What the microphone hears: the beats of each activity, what else goes on, the room and the microphone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mmg_training.wearer import voices
from mmg_training.wearer.subject import Floats, Subject
from mmg_training.wearer.timeline import Distraction, Segment, Timeline

SALT = 2
Voice = Callable[[Segment, Subject, np.random.Generator, int], Floats]


def render_sound(timeline: Timeline, rate_hz: int) -> NDArray[np.float32]:
    """Sound (round(duration * rate),) float32 within -1..1; sample k is at k / rate seconds."""
    subject, rng, count = timeline.subject, timeline.rng(SALT), round(timeline.duration_s * rate_hz)
    dry = np.zeros(count)
    for segment in timeline.segments:
        if voice := VOICES.get(segment.label):
            _add(dry, voice(segment, subject, segment.rng(SALT), rate_hz), segment.start_s, rate_hz)
    for distraction in timeline.distractions:
        wave = _elsewhere(distraction, np.random.default_rng((distraction.variant, SALT)), rate_hz)
        _add(dry, wave, distraction.start_s, rate_hz)
    wet = voices.reverb(rng, dry, rate_hz, subject.reverb_s, rng.uniform(0.1, 0.6))
    floor = 10 ** rng.uniform(-4.0, -2.3)
    tone = floor * voices.band_noise(rng, count, rate_hz, 20, rng.uniform(150, 900))
    hiss = 0.25 * floor * rng.standard_normal(count)
    return np.tanh(subject.mic_gain * (wet + tone + hiss)).astype(np.float32)


def _add(out: Floats, wave: Floats, start_s: float, rate_hz: int) -> None:
    first = round(start_s * rate_hz)
    wave = wave[max(0, -first) : max(0, len(out) - first)]
    out[max(0, first) : max(0, first) + len(wave)] += wave


def _beaten(segment: Segment, rate_hz: int, gain: float, template: Callable[[], Floats]) -> Floats:
    """One template a beat, each anew: no two claps are the same."""
    out = np.zeros(round((segment.end_s - segment.start_s + 0.5) * rate_hz))
    for time_s, strength in segment.beats:
        _add(out, gain * strength * template(), time_s - segment.start_s, rate_hz)
    return out


def _decibels(rng: np.random.Generator, low: float, high: float) -> float:
    return float(10 ** (rng.uniform(low, high) / 20))


def _steps(segment: Segment, subject: Subject, rng: np.random.Generator, rate_hz: int) -> Floats:
    softness = min(1.0, subject.softness * 0.7 + (0.3 if segment.place == "street" else 0.0))
    low, high = (-26, -8) if segment.label == "running" else (-34, -16)
    gain = _decibels(rng, low, high)
    steps = _beaten(segment, rate_hz, gain, lambda: voices.footstep(rng, rate_hz, softness))
    return steps + _cloth(segment, rng, rate_hz, 0.06 * gain, 0.5)


def _cloth(segment: Segment, rng: np.random.Generator, rate_hz: int, gain: float, ripple: float) -> Floats:
    count = round((segment.end_s - segment.start_s) * rate_hz)
    t = segment.start_s + np.arange(count) / rate_hz
    envelope = (
        1 - ripple + ripple * np.cos(2 * np.pi * segment.phase(t)) if len(segment.beats) > 1 else np.hanning(count)
    )
    rustle = gain * voices.band_noise(rng, count, rate_hz, 900, 4000) * envelope
    return np.concatenate((rustle, np.zeros(round(0.5 * rate_hz))))


def _keys(segment: Segment, subject: Subject, rng: np.random.Generator, rate_hz: int) -> Floats:
    gain = _decibels(rng, -46, -22) * (1.2 - subject.softness)
    return _beaten(segment, rate_hz, gain, lambda: voices.key(rng, rate_hz, subject.softness))


def _claps(segment: Segment, _subject: Subject, rng: np.random.Generator, rate_hz: int) -> Floats:
    gain, hollow = _decibels(rng, -20, -1), rng.uniform(0, 1)
    return _beaten(segment, rate_hz, gain, lambda: voices.clap(rng, rate_hz, hollow))


def _washing(segment: Segment, _subject: Subject, rng: np.random.Generator, rate_hz: int) -> Floats:
    count = round((segment.end_s - segment.start_s) * rate_hz)
    t = segment.start_s + np.arange(count) / rate_hz
    flow = _decibels(rng, -38, -20) * voices.water(rng, count, rate_hz)
    # Hands in the stream change it; while they are soaped the tap may be closed.
    flow *= 1 + 0.4 * np.sin(2 * np.pi * segment.phase(t))
    soaped_s = rng.uniform(0, 0.4) * (segment.end_s - segment.start_s) if rng.random() < 0.4 else 0.0
    begin_s = rng.uniform(segment.start_s, segment.end_s - soaped_s)
    flow *= 1 - 0.97 * ((t > begin_s) & (t < begin_s + soaped_s))
    return flow + _cloth(segment, rng, rate_hz, _decibels(rng, -52, -40), 0.9)[:count]


def _brushing(segment: Segment, _subject: Subject, rng: np.random.Generator, rate_hz: int) -> Floats:
    count = round((segment.end_s - segment.start_s) * rate_hz)
    t = segment.start_s + np.arange(count) / rate_hz
    scrub = np.abs(np.sin(2 * np.pi * segment.phase(t))) ** rng.uniform(0.6, 2.0)
    low_hz = rng.uniform(700, 2200)
    wave = _decibels(rng, -44, -26) * scrub * voices.band_noise(rng, count, rate_hz, low_hz, rng.uniform(3500, 7000))
    if rng.random() < 0.25:
        wave += _decibels(rng, -42, -26) * voices.water(rng, count, rate_hz)
    return wave


def _seat(segment: Segment, _subject: Subject, rng: np.random.Generator, rate_hz: int) -> Floats:
    gain = _decibels(rng, -32, -16)
    creak_hz = rng.uniform(300, 900)

    def thud() -> Floats:
        creak = voices.ring(rate_hz, creak_hz, 0.08) * rng.uniform(0, 0.3)
        return voices.mix(voices.ring(rate_hz, rng.uniform(50, 110), 0.05), creak)

    knock = gain * (1.0 if segment.label == "sitting_down" else 0.3)
    return _beaten(segment, rate_hz, knock, thud) + _cloth(segment, rng, rate_hz, 0.12 * gain, 0.0)


def _elsewhere(distraction: Distraction, rng: np.random.Generator, rate_hz: int) -> Floats:
    """Sounds of others: quieter on the whole, but a loud neighbour passes for a quiet wearer."""
    span_s = distraction.end_s - distraction.start_s
    count, gain = round(span_s * rate_hz), _decibels(rng, -50, -26)
    out = np.zeros(count)
    if distraction.kind == "tap":
        out += gain * voices.water(rng, count, rate_hz) * np.hanning(count) ** 0.2
    elif distraction.kind == "speech":
        out += 0.7 * gain * voices.speech(rng, count, rate_hz) * np.hanning(count) ** 0.2
    elif distraction.kind == "steps":
        for time_s in np.arange(0, span_s, 1 / rng.uniform(1.5, 2.2)):
            _add(out, gain * voices.footstep(rng, rate_hz, 0.7), float(time_s), rate_hz)
    elif distraction.kind == "knocks":
        pace_hz = rng.uniform(2.0, 6.0)
        for number in range(int(rng.integers(1, 7))):
            _add(out, 3 * gain * voices.knock(rng, rate_hz), number / pace_hz, rate_hz)
    return out


VOICES: dict[str, Voice] = {
    "walking": _steps,
    "running": _steps,
    "typing": _keys,
    "clapping": _claps,
    "washing_hands": _washing,
    "brushing_teeth": _brushing,
    "sitting_down": _seat,
    "standing_up": _seat,
}
