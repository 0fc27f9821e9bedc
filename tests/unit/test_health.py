"""Health: each fault is seen after its number of hops, lifted after two good ones, and never blinks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from fakes import FRAME, G_M_S2, HOP_S, IMU_HZ, audio_modality, signal_modality, video_modality, walking
from hypothesis import given, settings
from hypothesis import strategies as st
from mmg.bundle import Modality
from mmg.engine.health import GOOD_HOPS_TO_LIFT, Health
from mmg.streams import Hop
from msgspec.structs import replace
from numpy.typing import NDArray

COUNT = round(IMU_HZ * HOP_S)
AUDIO_COUNT = 4000
IMU, AUDIO, VIDEO = signal_modality(), audio_modality(), video_modality()

Samples = NDArray[Any]
Maker = Callable[[int], Samples]


def walk(hop: int) -> Samples:
    return walking(hop * HOP_S + np.arange(COUNT) / IMU_HZ)


def scaled_walk(acceleration: float, rotation: float) -> Maker:
    return lambda hop: walk(hop) * np.array([acceleration] * 3 + [rotation] * 3, np.float32)


def clipped_walk(hop: int) -> Samples:
    """A sensor of 2 g full scale on a wearer who goes beyond it for most of the time."""
    samples = walk(hop)
    samples[:, 2] = np.minimum(samples[:, 2] + 15, 2 * G_M_S2)
    return samples


def flat(hop: int) -> Samples:
    return np.tile(walk(hop)[:1], (COUNT, 1))


def room(hop: int) -> Samples:
    """The hiss of a quiet room."""
    return np.random.default_rng(hop).normal(0, 2e-4, (AUDIO_COUNT, 1)).astype(np.float32)


def overdriven(hop: int) -> Samples:
    return np.clip(room(hop) * 1e4, -1, 1)


def scene(hop: int) -> Samples:
    """Two frames of noise."""
    return np.random.default_rng(hop).integers(0, 255, (2, *FRAME, 3), np.uint8)


def dark(hop: int) -> Samples:
    return scene(hop) % 8


def judge_all(modality: Modality, hops: Sequence[Samples], input_hz: float | None = None) -> list[str]:
    health = Health(modality)
    rate_hz = modality.rate_hz if input_hz is None else input_hz
    return [health.judge(Hop(index, samples, 0, 0, rate_hz)) for index, samples in enumerate(hops)]


FAULTS: list[tuple[Modality, Maker, Maker, int, str]] = [
    (IMU, walk, flat, 2, "flat line"),
    (IMU, walk, scaled_walk(1 / G_M_S2, 1), 4, "acc_unit=g"),
    (IMU, walk, scaled_walk(1000 / G_M_S2, 1), 4, "acc_unit=mg"),
    (IMU, walk, scaled_walk(1, 180 / np.pi * 3), 4, "gyro_unit=deg/s"),
    (IMU, walk, clipped_walk, 2, "clipped at 20 m/s^2"),
    (AUDIO, room, lambda _: np.zeros((AUDIO_COUNT, 1), np.float32), 4, "silent"),
    (AUDIO, room, lambda hop: room(hop) / 1000, 4, "silent"),
    (AUDIO, room, lambda _: np.full((AUDIO_COUNT, 1), 0.25, np.float32), 2, "flat line"),
    (AUDIO, room, overdriven, 2, "clipped"),
    (VIDEO, scene, dark, 2, "dark"),
    (VIDEO, scene, lambda _: scene(1000), 10, "frozen"),
]
IDS = ["flat", "in g", "in mg", "in deg/s", "clipped", "zeros", "under a bit", "stuck", "overdriven", "dark", "frozen"]
every_fault = pytest.mark.parametrize(("modality", "good", "bad", "hops", "reason"), FAULTS, ids=IDS)


def frozen_first(hops: int, reason: str) -> int:
    """A frozen picture is told from the second hop that shows it on."""
    return hops + 1 if reason == "frozen" else hops


@every_fault
def test_a_fault_counts_after_its_number_of_hops(
    modality: Modality, good: Maker, bad: Maker, hops: int, reason: str
) -> None:
    enough = frozen_first(hops, reason)
    verdicts = judge_all(modality, [*map(good, range(5)), *map(bad, range(5, 5 + enough + 3))])
    assert verdicts[: 5 + enough - 1] == [""] * (5 + enough - 1)
    assert all(reason in verdict for verdict in verdicts[5 + enough - 1 :])


@every_fault
def test_a_fault_is_lifted_after_two_good_hops(
    modality: Modality, good: Maker, bad: Maker, hops: int, reason: str
) -> None:
    enough = frozen_first(hops, reason)
    verdicts = judge_all(modality, [*map(bad, range(enough)), *map(good, range(20, 26))])
    assert verdicts[enough - 1] != ""
    assert [verdict != "" for verdict in verdicts[enough:]] == [True] * (GOOD_HOPS_TO_LIFT - 1) + [False] * 5


@every_fault
def test_a_fault_that_ends_just_in_time_is_never_shown(
    modality: Modality, good: Maker, bad: Maker, hops: int, reason: str
) -> None:
    short = frozen_first(hops, reason) - 1
    pattern = [*map(bad, range(short)), good(90)]
    assert judge_all(modality, pattern * 5) == [""] * len(pattern) * 5


@every_fault
def test_a_fault_with_single_good_hops_between_does_not_blink(
    modality: Modality, good: Maker, bad: Maker, hops: int, reason: str
) -> None:
    enough = frozen_first(hops, reason)
    repeat = [good(90), *map(bad, range(2 if reason == "frozen" else 1))]
    verdicts = judge_all(modality, [*map(bad, range(enough)), *(repeat * 6)])
    assert all(reason in verdict for verdict in verdicts[enough - 1 :])


@pytest.mark.parametrize(("input_hz", "bad"), [(0.0, True), (5.0, True), (12.0, True), (12.5, False), (1000.0, False)])
def test_a_signal_that_comes_too_slowly_is_faulty(input_hz: float, bad: bool) -> None:
    verdicts = judge_all(IMU, [walk(hop) for hop in range(6)], input_hz)
    assert [verdict != "" for verdict in verdicts] == [False] + [bad] * 5
    assert not bad or "wrong rate" in verdicts[-1]


def test_sound_and_frames_may_come_at_any_rate() -> None:
    assert judge_all(AUDIO, [room(hop) for hop in range(6)], 100.0) == [""] * 6
    assert judge_all(VIDEO, [scene(hop) for hop in range(6)], 1.0) == [""] * 6


def test_one_fault_may_turn_into_another_and_stays_shown() -> None:
    flat_g = [flat(hop) for hop in range(3)] + [scaled_walk(1 / G_M_S2, 1)(hop) for hop in range(3)]
    verdicts = judge_all(IMU, flat_g)
    assert verdicts[:3] == ["", "flat line", "flat line"]
    assert all("acc_unit=g" in verdict for verdict in verdicts[3:])


def test_two_faults_in_turns_are_not_added_up() -> None:
    hops = [flat(hop) if hop % 2 else scaled_walk(1 / G_M_S2, 1)(hop) for hop in range(12)]
    assert judge_all(IMU, hops) == [""] * 12


def test_a_sensor_without_acceleration_knows_no_gravity() -> None:
    pulse = replace(IMU, channels=tuple(replace(channel, unit="1") for channel in IMU.channels))
    assert judge_all(pulse, [walk(hop) / 1000 for hop in range(6)]) == [""] * 6


# --- what is never a fault -----------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    step_hz=st.floats(0.5, 3.5),
    strength=st.floats(0.0, 20.0),
    tilt=st.floats(0, np.pi),
    noise=st.floats(1e-3, 0.3),
    seed=st.integers(0, 2**31),
)
def test_a_wearer_who_stands_walks_or_runs_is_never_faulty(
    step_hz: float, strength: float, tilt: float, noise: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    turn = np.array([[np.cos(tilt), 0, np.sin(tilt)], [0, 1, 0], [-np.sin(tilt), 0, np.cos(tilt)]])
    hops = []
    for hop in range(20):
        samples = walking(hop * HOP_S + np.arange(COUNT) / IMU_HZ, step_hz=step_hz, strength=strength)
        samples[:, :3] = samples[:, :3] @ turn.T
        hops.append((samples + random.normal(0, noise, samples.shape)).astype(np.float32))
    assert judge_all(IMU, hops) == [""] * 20


def test_a_sensor_that_lies_still_is_not_flat() -> None:
    # A real one's last bit moves: 16 bits over 8 g.
    step = 8 * G_M_S2 / 2**15
    hops = []
    for hop in range(20):
        samples = np.tile(np.float32([0, 0, G_M_S2, 0, 0, 0]), (COUNT, 1))
        samples[:, 2] += step * np.random.default_rng(hop).integers(-1, 2, COUNT)
        hops.append(samples)
    assert judge_all(IMU, hops) == [""] * 20


@settings(max_examples=30, deadline=None)
@given(level=st.floats(3e-5, 0.3), seed=st.integers(0, 2**31))
def test_sound_of_any_loudness_is_never_faulty(level: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    hops = [np.clip(random.normal(0, level, (AUDIO_COUNT, 1)), -1, 1).astype(np.float32) for _ in range(10)]
    assert judge_all(AUDIO, hops) == [""] * 10


def test_a_still_scene_from_a_real_camera_is_not_frozen() -> None:
    hops = []
    for hop in range(25):
        frames = np.full((2, *FRAME, 3), 90, np.uint8)
        frames[:, hop % FRAME[0], 0, 0] += 1
        hops.append(frames)
    assert judge_all(VIDEO, hops) == [""] * 25
