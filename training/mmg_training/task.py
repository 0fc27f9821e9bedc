"""What a model is for: its labels, which modalities it knows, and the grid of hops that all of them share."""

from __future__ import annotations

from dataclasses import dataclass

MODALITIES = ("imu", "audio", "video")
HOP_S = 0.5
CONTEXT_HOPS = 8

IMU_HZ = 50
AUDIO_HZ = 16_000
TOKENS_PER_HOP = {"imu": 1, "audio": 2, "video": 1}


@dataclass(frozen=True)
class Task:
    """labels in the order of the logits; modalities, a part of ``MODALITIES`` in that order.

    kinds: classes that only training has, numbered after the labels: what a label is made of, as reading and standing
    of still, or what has no label at all. kinds_of: the index of each one's label, -1 where it has none. A label's
    probability is the sum of its own and its kinds'.

    frame: (height, width) of a picture, ``video_fps`` of them a second. Depth travels as video, the depth in all three
    channels. clips: a session is one clip of one label, ``CONTEXT_HOPS`` hops long, and is decided once, at its end;
    else every hop is decided.
    """

    name: str
    labels: tuple[str, ...]
    modalities: tuple[str, ...] = MODALITIES
    video_fps: int = 4
    frame: tuple[int, int] = (48, 64)
    clips: bool = False
    kinds: tuple[str, ...] = ()
    kinds_of: tuple[int, ...] = ()

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """For each label the classes whose probabilities are summed to its own, itself the first."""
        first = len(self.labels)
        return tuple(
            (label, *(first + number for number, whose in enumerate(self.kinds_of) if whose == label))
            for label in range(first)
        )

    def rate_hz(self, name: str) -> int:
        """Samples or pictures a second of a modality."""
        return {"imu": IMU_HZ, "audio": AUDIO_HZ, "video": self.video_fps}[name]

    def samples_per_hop(self, name: str) -> int:
        """Samples or pictures a hop of a modality."""
        return round(self.rate_hz(name) * HOP_S)

    def subsets(self) -> tuple[tuple[str, ...], ...]:
        """The non-empty subsets of the modalities."""
        return subsets_of(self.modalities)


def subsets_of(names: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """The non-empty subsets of some modalities, each in their order, single ones first."""
    masks = sorted(range(1, 1 << len(names)), key=lambda mask: (mask.bit_count(), mask))
    return tuple(tuple(name for bit, name in enumerate(names) if mask >> bit & 1) for mask in masks)
