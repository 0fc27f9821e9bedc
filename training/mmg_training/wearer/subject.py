"""Who wears the device: the habits and the hardware that stay the same for all of one person's sessions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Subject:
    """One virtual person.

    *_hz: the pace of what is repeated. swing: arm swing of a walk in rad. impact: strength of footfalls and other
    knocks at the wrist, 1 is usual. mount: (3, 3) rotation from the forearm to the sensor. imu_noise: m/s^2 a sample;
    the gyro has a tenth of it in rad/s. mic_gain: factor to full scale. reverb_s: decay time of the rooms.
    softness: 0 hard shoes and loud keys, 1 soft and quiet. skin and sleeve: RGB 0 to 1. light: brightness of the lamps.
    tempo: factor on the pace of all else. leads: how often the hand with the sensor does what takes one hand.
    left: on which wrist the sensor is. strap: 0 tight, 1 so loose that the sensor rattles. force_range in m/s^2 and
    turn_range in rad/s: where the sensor saturates. mic_hz: the corners of what the microphone passes.
    """

    number: int
    step_hz: float
    run_hz: float
    key_hz: float
    clap_hz: float
    rub_hz: float
    stroke_hz: float
    swing: float
    impact: float
    mount: Floats
    imu_noise: float
    force_bias: Floats
    turn_bias: Floats
    mic_gain: float
    reverb_s: float
    softness: float
    skin: Floats
    sleeve: Floats
    light: float
    tempo: float
    leads: float
    left: bool
    strap: float
    force_range: float
    turn_range: float
    mic_hz: tuple[float, float]

    @classmethod
    def numbered(cls, number: int) -> Subject:
        """The person with this number: always the same one."""
        rng = np.random.default_rng((number, 0x5EED))
        tone = rng.uniform(0.35, 1.0)
        return cls(
            number=number,
            step_hz=rng.uniform(1.55, 2.15),
            run_hz=rng.uniform(2.45, 3.1),
            key_hz=rng.uniform(3.0, 8.0),
            clap_hz=rng.uniform(1.8, 4.5),
            rub_hz=rng.uniform(1.4, 3.2),
            stroke_hz=rng.uniform(2.6, 5.2),
            swing=rng.uniform(0.1, 0.55),
            impact=float(rng.lognormal(0.0, 0.3)),
            mount=_mount(rng),
            imu_noise=rng.uniform(0.02, 0.12),
            force_bias=rng.normal(0.0, 0.1, 3),
            turn_bias=rng.normal(0.0, 0.015, 3),
            mic_gain=float(10 ** rng.uniform(-0.6, 0.3)),
            reverb_s=rng.uniform(0.08, 0.5),
            softness=rng.uniform(0.0, 1.0),
            skin=tone * np.array([0.9, 0.7, 0.58]),
            sleeve=rng.uniform(0.05, 0.9, 3),
            light=rng.uniform(0.45, 1.1),
            tempo=rng.uniform(0.85, 1.18),
            leads=0.9 if rng.random() < 0.6 else 0.3,
            left=bool(rng.random() < 0.6),
            strap=float(rng.uniform(0, 1) ** 2),
            force_range=9.80665 * float(rng.choice([2, 4, 8, 16], p=[0.15, 0.35, 0.3, 0.2])),
            turn_range=np.deg2rad(float(rng.choice([250, 500, 1000, 2000], p=[0.15, 0.35, 0.3, 0.2]))),
            mic_hz=(rng.uniform(30, 200), rng.uniform(3500, 9000)),
        )


def rotation(roll: float, pitch: float, yaw: float) -> Floats:
    """The matrix Rz(yaw) Ry(pitch) Rx(roll), angles in rad."""
    (cr, cp, cy), (sr, sp, sy) = np.cos([roll, pitch, yaw]), np.sin([roll, pitch, yaw])
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


def _mount(rng: np.random.Generator) -> Floats:
    # Left or right wrist and either way round, then as crooked as straps are.
    flipped = np.pi * rng.integers(0, 2, 2)
    return rotation(*rng.normal(0.0, 0.35, 3)) @ rotation(flipped[0], 0.0, flipped[1])
