"""The wrist's accelerometer and gyroscope."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmg_training.wearer.arm import TAU, Movement, wander3
from mmg_training.wearer.arm_body import BODY
from mmg_training.wearer.arm_hands import HANDS
from mmg_training.wearer.arm_tools import TOOLS
from mmg_training.wearer.subject import Floats, rotation
from mmg_training.wearer.timeline import Timeline

GRAVITY = 9.80665
INTERNAL_HZ = 200
BLEND_S = 0.5
SALT = 1
MOVEMENTS: dict[str, Movement] = {**BODY, **HANDS, **TOOLS}


def render_imu(timeline: Timeline, rate_hz: int) -> NDArray[np.float32]:
    """Specific force in m/s^2 and turn rate in rad/s, (round(duration * rate), 6) float32.

    Sample k is the mean over ``[k, k + 1) / rate_hz``; rates up to 200 Hz.
    """
    subject, rng = timeline.subject, timeline.rng(SALT)
    count = round(timeline.duration_s * INTERNAL_HZ) + 2
    times_s = np.arange(count) / INTERNAL_HZ
    angles, force = _motion(timeline, times_s)
    if subject.left:
        # A left arm is a right one in the mirror: aside, roll and yaw change sign.
        angles, force = angles * (-1, 1, -1), force * (1, -1, 1)
    felt = _rattle(_specific_force(angles, force), subject.strap, rng)
    mount = subject.mount @ rotation(*rng.normal(0, 0.2, 3))  # the strap sits a little differently every day
    limits = np.repeat((subject.force_range, subject.turn_range), 3)
    body = np.concatenate((felt @ mount.T, _turn_rate(angles) @ mount.T), axis=1).clip(-limits, limits)
    # The average over each box, by the integral at its edges.
    sums = np.concatenate((np.zeros((1, 6)), np.cumsum(body, axis=0))) / INTERNAL_HZ
    samples = round(timeline.duration_s * rate_hz)
    edges = np.arange(samples + 1) / rate_hz
    knots = np.arange(count + 1) / INTERNAL_HZ
    at_edges = np.stack([np.interp(edges, knots, column) for column in sums.T], axis=1)
    boxed = np.diff(at_edges, axis=0) * rate_hz
    bias = np.concatenate((subject.force_bias + rng.normal(0, 0.05, 3), subject.turn_bias + rng.normal(0, 0.005, 3)))
    noise = np.repeat((subject.imu_noise, subject.imu_noise / 10), 3) * rng.standard_normal((samples, 6))
    return (boxed + bias + noise).astype(np.float32)


def _rattle(felt: Floats, strap: float, rng: np.random.Generator) -> Floats:
    """A loose sensor swings on after every jolt: a damped oscillation that changes of the force (T, 3) set off."""
    since = np.arange(40) / INTERNAL_HZ
    kernel = strap * np.exp(-since / 0.05) * np.cos(TAU * rng.uniform(9, 18) * since)
    changes = np.diff(felt, axis=0, prepend=felt[:1])
    return felt + 0.6 * np.stack([np.convolve(axis, kernel)[: len(felt)] for axis in changes.T], axis=1)


def _motion(timeline: Timeline, times_s: Floats) -> tuple[Floats, Floats]:
    # Neighbours overlap by BLEND_S and share the weight there, as one movement flows into the next.
    total = np.full((len(times_s), 1), 1e-9)
    angles, force = np.zeros((len(times_s), 3)), np.zeros((len(times_s), 3))
    for segment in timeline.segments:
        edge_s = np.array([segment.start_s - BLEND_S / 2, segment.end_s + BLEND_S / 2])
        first, last = np.searchsorted(times_s, edge_s)
        t = times_s[first:last]
        weight = np.clip(np.minimum(t - edge_s[0], edge_s[1] - t) / BLEND_S, 0, 1)[:, None]
        weight = weight**2 * (3 - 2 * weight) + 1e-6
        motion = MOVEMENTS[segment.label](t, segment, timeline.subject, segment.rng(SALT))
        angles[first:last] += weight * motion.angles
        force[first:last] += weight * motion.force
        total[first:last] += weight
    angles, force = angles / total, force / total
    for distraction in timeline.distractions:
        if distraction.kind == "fidget":
            rng = np.random.default_rng(distraction.variant)
            first, last = np.searchsorted(times_s, (distraction.start_s, distraction.end_s))
            t, window = times_s[first:last], np.hanning(last - first)[:, None]
            angles[first:last] += window * wander3(rng, t, 0.2, 1.5, rng.uniform(0.05, 0.35))
            force[first:last] += window * wander3(rng, t, 0.5, 4, rng.uniform(0.1, 0.8))
    return angles, force


def _specific_force(angles: Floats, force: Floats) -> Floats:
    """What an accelerometer feels: the transpose of Rz(yaw) Ry(pitch) Rx(roll), times acceleration plus gravity."""
    (cr, cp, cy), (sr, sp, sy) = np.cos(angles).T, np.sin(angles).T
    x, y, z = force[:, 0], force[:, 1], force[:, 2] + GRAVITY
    ahead, aside = cy * x + sy * y, cy * y - sy * x
    inner = cp * z + sp * ahead
    return np.stack((cp * ahead - sp * z, cr * aside + sr * inner, cr * inner - sr * aside), axis=1)


def _turn_rate(angles: Floats) -> Floats:
    """Body rates from the rates of roll, pitch and yaw (Diebel 2006, eq. 79)."""
    droll, dpitch, dyaw = np.gradient(angles, 1 / INTERNAL_HZ, axis=0).T
    (cr, cp, _), (sr, sp, _) = np.cos(angles).T, np.sin(angles).T
    return np.stack((droll - dyaw * sp, dpitch * cr + dyaw * cp * sr, dyaw * cp * cr - dpitch * sr), axis=1)
