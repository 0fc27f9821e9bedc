"""Contents of mmg-look's pages, made up by numbers: as long as one likes at no cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from mmg.labels import Label
from mmg.look.content import MOST_VALUES, SOUND_BYTES, Content
from mmg.look.decided import collect
from mmg.look.reading import MOST_COLUMNS, Heard, Outline
from mmg.look.sound import KeptSound, choose_hops, room_for
from mmg.look.spectrogram import Spectrogram

LABELS = ("still", "walking", "stairs", "typing", "drinking")
HOP_S, RATE_HZ, HOP = 0.5, 16_000, 8000


def made_lines(seconds: float, *, seed: int = 1) -> Iterator[dict[str, Any]]:
    """Decisions as mmg-run --format jsonl prints them: each label for a while, and states that change."""
    random = np.random.default_rng(seed)
    label, left = 0, 0
    for hop in range(int(seconds / HOP_S)):
        if not left:
            label, left = int(random.integers(len(LABELS))), int(random.integers(4, 200))
        left -= 1
        score = float(random.uniform(0.3, 0.99))
        audio = {"state": "faulty", "reason": f"silent for {hop} hops"} if hop % 900 > 800 else {"state": "live"}
        yield {
            "t": (hop + 1) * HOP_S,
            "label": LABELS[label],
            "confidence": score,
            "scores": {LABELS[label]: score, LABELS[(label + 1) % len(LABELS)]: 0.9 * (1 - score)},
            "sensors": {"imu": {"state": "doubted" if hop % 500 > 450 else "live"}, "audio": audio},
        }


def made_content(seconds: float, *, marks: tuple[Label, ...] = (), title: str = "a made day", **more: Any) -> Content:
    """A page of so long: noise in all its bins, columns and samples, which compresses worst of all."""
    random = np.random.default_rng(7)
    decided = collect(made_lines(seconds), LABELS)
    content = Content(title, "made 1.0", HOP_S, seconds, decided, {"imu": "walk.csv", "audio": "walk.wav"})
    bins = min(int(seconds * 100), MOST_VALUES // 6)
    for unit, names in (("m/s^2", ("ax", "ay", "az")), ("rad/s", ("gx", "gy", "gz"))):
        low = np.cumsum(random.normal(0, 0.5, (bins, 3)), axis=0).astype(np.float32) % 30 - 15
        high = low + random.exponential(2, low.shape).astype(np.float32)
        content.outlines.append(Outline("imu", unit, names, seconds / bins, 5.0, low, high))
    spectrogram = Spectrogram(RATE_HZ, HOP, MOST_COLUMNS)
    hops = int(seconds / HOP_S)
    spectrogram.push(hops - 1, np.zeros(HOP, np.float32))  # makes it as wide as it has to be
    columns = int(hops * spectrogram.columns_a_hop)
    spectrogram._power[:columns] = 10 ** random.normal(-5, 1, (columns, spectrogram._power.shape[1]))
    spectrogram._counts[:columns] = 1
    room = room_for(SOUND_BYTES, hops, RATE_HZ, HOP)
    kept = KeptSound(choose_hops(decided, marks, HOP_S, hops, room.hops), room.divisor)
    for hop in sorted(kept.wanted):
        kept.push(hop, random.normal(0, 0.2, HOP).astype(np.float32))
    content.heard.append(Heard("audio", RATE_HZ, spectrogram, kept))
    content.marks = list(marks)
    for name, value in more.items():
        setattr(content, name, value)
    return content
