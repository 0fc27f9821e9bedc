"""What the microphone hears: the beats of each activity, what else goes on, the place, the room and the microphone."""

from __future__ import annotations

from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from mmg_training.wearer import voices
from mmg_training.wearer.background import BACKGROUNDS, background
from mmg_training.wearer.sound_body import BODY
from mmg_training.wearer.sound_tools import TOOLS
from mmg_training.wearer.sounding import Voice, add, decibels
from mmg_training.wearer.subject import Floats
from mmg_training.wearer.timeline import Distraction, Timeline

SALT = 2
VOICES: dict[str, Voice] = {**BODY, **TOOLS}


def render_sound(timeline: Timeline, rate_hz: int) -> NDArray[np.float32]:
    """Sound (round(duration * rate),) float32 within -1..1; sample k is at k / rate seconds."""
    subject, rng, count = timeline.subject, timeline.rng(SALT), round(timeline.duration_s * rate_hz)
    dry = np.zeros(count)
    for segment in timeline.segments:
        if voice := VOICES.get(segment.label):
            add(dry, voice(segment, subject, segment.rng(SALT), rate_hz), segment.start_s, rate_hz)
    loudness = float(np.sqrt(np.mean(dry**2)))
    for distraction in timeline.distractions:
        wave = _elsewhere(distraction, np.random.default_rng((distraction.variant, SALT)), rate_hz)
        add(dry, wave, distraction.start_s, rate_hz)
    _surround(dry, timeline, loudness, rng, rate_hz)
    decay_s = subject.reverb_s * rng.uniform(0.7, 1.4)
    wet = voices.room(rng, dry, rate_hz, decay_s, rng.uniform(0.1, 0.6), subject.mic_hz)
    hiss = 10 ** rng.uniform(-4.6, -2.9) * rng.standard_normal(count)
    return np.tanh(subject.mic_gain * (wet + hiss)).astype(np.float32)


def _surround(dry: Floats, timeline: Timeline, loudness: float, rng: np.random.Generator, rate_hz: int) -> None:
    """Add what each place sounds like: from nearly nothing to about as loud as what is done there."""
    level_db = rng.uniform(-66, -27)
    seeds = dict(zip(BACKGROUNDS, rng.integers(1 << 31, size=len(BACKGROUNDS)), strict=True))
    for place, visit in groupby(timeline.segments, key=lambda segment: segment.place):
        stay = list(visit)
        start_s, end_s = stay[0].start_s, min(stay[-1].end_s, timeline.duration_s)
        own = np.random.default_rng(int(seeds[place]))
        level = min(decibels(own, level_db - 4, level_db + 4), max(loudness, 0.003))
        wave = background(own, place, max(1, round((end_s - start_s) * rate_hz)), rate_hz)
        add(dry, level * wave, start_s, rate_hz)


def _elsewhere(distraction: Distraction, rng: np.random.Generator, rate_hz: int) -> Floats:
    """Sounds of others: quieter on the whole, but a loud neighbour passes for a quiet wearer."""
    span_s = distraction.end_s - distraction.start_s
    count, gain = round(span_s * rate_hz), decibels(rng, -50, -26)
    out = np.zeros(count)
    if distraction.kind == "tap":
        out += gain * voices.water(rng, count, rate_hz) * np.hanning(count) ** 0.2
    elif distraction.kind == "speech":
        out += 0.7 * gain * voices.speech(rng, count, rate_hz) * np.hanning(count) ** 0.2
    elif distraction.kind == "steps":
        for time_s in np.arange(0, span_s, 1 / rng.uniform(1.5, 2.2)):
            add(out, gain * voices.footstep(rng, rate_hz, 0.7), float(time_s), rate_hz)
    elif distraction.kind == "knocks":
        pace_hz = rng.uniform(2.0, 6.0)
        for number in range(int(rng.integers(1, 7))):
            add(out, 3 * gain * voices.knock(rng, rate_hz), number / pace_hz, rate_hz)
    return out
