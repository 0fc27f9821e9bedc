"""What the first model promises to the runtime: the labels, the hop grid and the sensors' rates and shapes."""

from __future__ import annotations

LABELS = (
    "still",
    "walking",
    "running",
    "sitting_down",
    "standing_up",
    "typing",
    "clapping",
    "washing_hands",
    "brushing_teeth",
)
MODALITIES = ("imu", "audio", "video")
HOP_S = 0.5
CONTEXT_HOPS = 8

IMU_HZ = 50
AUDIO_HZ = 16_000
VIDEO_FPS = 4
FRAME = (48, 64)

IMU_HOP = round(IMU_HZ * HOP_S)
AUDIO_HOP = round(AUDIO_HZ * HOP_S)
VIDEO_HOP = round(VIDEO_FPS * HOP_S)

TOKENS_PER_HOP = {"imu": 1, "audio": 2, "video": 1}


def subsets() -> tuple[tuple[str, ...], ...]:
    """The seven non-empty subsets of the modalities, each in the order of ``MODALITIES``, single ones first."""
    masks = sorted(range(1, 1 << len(MODALITIES)), key=lambda mask: (mask.bit_count(), mask))
    return tuple(tuple(name for bit, name in enumerate(MODALITIES) if mask >> bit & 1) for mask in masks)
