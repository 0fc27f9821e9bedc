"""Recordings, read once from beginning to end into what a page shows; memory does not grow with their length."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mmg.look.envelope import Envelope
from mmg.look.sound import KeptSound
from mmg.look.spectrogram import Spectrogram
from mmg.streams import HopGrid, open_stream

if TYPE_CHECKING:
    from mmg.bundle import Modality
    from mmg.types import Chunk

MOST_COLUMNS = 32_768
LOUDEST = 1e6
"""Of a sample, full scale being 1: the power of what is louder, as in a damaged file, may be no number."""


@dataclass(frozen=True)
class Outline:
    """A signal's channels of one unit. low, high: ``(bins, C)``, ``bin_s`` seconds each.

    samples_a_bin: how many a bin stands for, of those that are not empty.
    """

    sensor: str
    unit: str
    channels: tuple[str, ...]
    bin_s: float
    samples_a_bin: float
    low: NDArray[np.float32]
    high: NDArray[np.float32]


@dataclass(frozen=True)
class Heard:
    """What was heard of a microphone: its spectrogram, and the sound that is kept, which came at ``rate_hz``."""

    sensor: str
    rate_hz: float
    spectrogram: Spectrogram
    kept: KeptSound


def read_signal(chunks: Iterable[Chunk], modality: Modality, grid: HopGrid, most_values: int) -> list[Outline]:
    """Its channels, grouped by unit, with no more than ``most_values`` bins times channels. Raises SourceError.

    Channels that a sensor may lack, and that were zero throughout, are left out: it lacks them.
    """
    count = len(modality.channels)
    envelope = Envelope(grid.origin_ns, count, max(most_values // count, 2))
    for chunk in chunks:
        envelope.push(chunk)
    low, high = envelope.bins()
    units: dict[str, list[int]] = {}
    for place, channel in enumerate(modality.channels):
        units.setdefault(channel.unit, []).append(place)
    outlines = []
    for unit, places in units.items():
        names = tuple(modality.channels[place].name for place in places)
        lacking = all(modality.channels[place].optional for place in places)
        if not (lacking and not np.nan_to_num(low[:, places]).any() and not np.nan_to_num(high[:, places]).any()):
            bin_s, crowd = envelope.bin_ns / 1e9, envelope.samples_a_bin
            outlines.append(Outline(modality.name, unit, names, bin_s, crowd, low[:, places], high[:, places]))
    return outlines


def read_sound(chunks: Iterable[Chunk], modality: Modality, grid: HopGrid, kept: KeptSound) -> Heard:
    """Its spectrogram at the model's rate, and what is to be kept of it. Raises SourceError."""
    samples = modality.samples_in(grid.hop_ns / 1e9)
    spectrogram = Spectrogram(modality.rate_hz, samples, MOST_COLUMNS)
    stream = open_stream(modality, grid)
    for chunk in chunks:
        for hop in stream.push(chunk):
            if hop.samples is not None:
                sound = hop.samples[:, 0].clip(-LOUDEST, LOUDEST)
                spectrogram.push(hop.index, sound)
                kept.push(hop.index, sound)
    return Heard(modality.name, modality.rate_hz, spectrogram, kept)
