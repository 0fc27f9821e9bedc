"""Health: each fault is seen after its number of hops, lifted after two good ones, and never blinks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from fakes import FRAME, G_M_S2, HOP_S, IMU_HZ, audio_modality, signal_modality, video_modality, walking
from fuzzing import times
from hypothesis import given, settings
from hypothesis import strategies as st
from mmg.bundle import Modality
from mmg.engine.health import GOOD_HOPS_TO_LIFT, WELL, Health
from mmg.streams import Hop, HopGrid, open_stream
from mmg.types import Chunk
from msgspec.structs import replace
from numpy.typing import NDArray

COUNT = round(IMU_HZ * HOP_S)
AUDIO_COUNT = 4000
IMU, AUDIO, VIDEO = signal_modality(), audio_modality(), video_modality()

Samples = NDArray[Any]
Maker = Callable[[int], Samples]


def walk(hop: int) -> Samples:
    return walking(hop * HOP_S + np.arange(COUNT) / IMU_HZ)


def clipped_walk(hop: int) -> Samples:
    """A sensor of 2 g full scale on a wearer who goes beyond it for most of the time, and falls in between."""
    samples = walk(hop)
    samples[:, 2] = np.minimum(samples[:, 2] + np.where(np.arange(COUNT) % 5 < 3, 20, -17), 2 * G_M_S2)
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


def frozen(_: int, picture: int = 1000) -> Samples:
    return np.tile(scene(picture)[:1], (2, 1, 1, 1))


def judge_all(modality: Modality, hops: Sequence[Samples], input_hz: float | None = None) -> list[str]:
    """Why the sensor was faulty at each hop; empty where it was not."""
    health = Health(modality)
    rate_hz = modality.rate_hz if input_hz is None else input_hz
    verdicts = [health.judge(Hop(index, samples, 0, 0, rate_hz)) for index, samples in enumerate(hops)]
    return [verdict.reason if verdict.state == "faulty" else "" for verdict in verdicts]


FAULTS: list[tuple[Modality, Maker, Maker, int, str]] = [
    (IMU, walk, flat, 2, "flat line"),
    (IMU, walk, clipped_walk, 2, "clipped at 20 m/s^2"),
    (AUDIO, room, lambda _: np.zeros((AUDIO_COUNT, 1), np.float32), 4, "silent"),
    (AUDIO, room, lambda hop: room(hop) / 1000, 4, "silent"),
    (AUDIO, room, lambda _: np.full((AUDIO_COUNT, 1), 0.25, np.float32), 2, "flat line"),
    (AUDIO, room, overdriven, 2, "clipped"),
    (VIDEO, scene, dark, 2, "dark"),
    (VIDEO, scene, frozen, 10, "frozen"),
]
IDS = ["flat", "clipped", "zeros", "under a bit", "stuck", "overdriven", "dark", "frozen"]
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
    repeats = 2 if reason == "flat line" else 5  # values that stand still again and again are a fault of their own
    assert judge_all(modality, pattern * repeats) == [""] * len(pattern) * repeats


@every_fault
def test_a_fault_with_single_good_hops_between_does_not_blink(
    modality: Modality, good: Maker, bad: Maker, hops: int, reason: str
) -> None:
    enough = frozen_first(hops, reason)
    # For a picture, being good once means to freeze into another one.
    repeat = [frozen(0, 1001)] * 2 + [frozen(0)] * 2 if reason == "frozen" else [good(90), bad(91)]
    verdicts = judge_all(modality, [*map(bad, range(enough)), *(repeat * 6)])
    assert all(reason in verdict for verdict in verdicts[enough - 1 :])


@pytest.mark.parametrize(("input_hz", "bad"), [(0.0, True), (5.0, True), (10.0, True), (12.0, False), (1000.0, False)])
def test_a_signal_that_comes_too_slowly_is_faulty(input_hz: float, bad: bool) -> None:
    verdicts = judge_all(IMU, [walk(hop) for hop in range(6)], input_hz)
    assert [verdict != "" for verdict in verdicts] == [False, False] + [bad] * 4
    assert not bad or "wrong rate" in verdicts[-1]


@pytest.mark.parametrize("rate_hz", [12.2, 12.5, 12.6])
def test_a_quarter_of_the_models_rate_is_well_however_its_samples_fall_into_hops(rate_hz: float) -> None:
    imu, stream = Health(IMU), open_stream(IMU, HopGrid(0, 500_000_000))
    random = np.random.default_rng(1)
    times = np.round((np.arange(400) + random.uniform(-0.1, 0.1, 400)) * 1e9 / rate_hz).astype(np.int64)
    samples = random.normal(0, 0.4, (400, 6)) + [0, 0, 9.8, 0, 0, 0]
    hops = stream.push(Chunk("imu", samples.astype(np.float32), times))
    assert len(hops) > 60
    assert [verdict.reason for verdict in map(imu.judge, hops) if verdict.state == "faulty"] == []


def test_a_camera_of_half_the_models_rate_is_well_however_its_stamps_jitter() -> None:
    camera = Health(VIDEO)
    rates = np.random.default_rng(1).normal(2.0, 0.04, 60)
    hops = [Hop(index, scene(index), 0, 0, rate_hz) for index, rate_hz in enumerate(rates.tolist())]
    assert [camera.judge(hop).reason for hop in hops] == [""] * 60


def test_sound_may_come_at_any_rate_and_frames_at_half_the_models() -> None:
    assert judge_all(AUDIO, [room(hop) for hop in range(6)], 100.0) == [""] * 6
    assert judge_all(VIDEO, [scene(hop) for hop in range(6)], 2.0) == [""] * 6
    assert "wrong rate: 1 Hz" in judge_all(VIDEO, [scene(hop) for hop in range(6)], 1.0)[-1]


def judge_losses(dropped: Sequence[int]) -> list[bool]:
    """Whether the sensor is faulty, where so many samples were lost up to each hop."""
    health = Health(IMU)
    return [health.judge(Hop(hop, walk(hop), 0, count, IMU_HZ)) != WELL for hop, count in enumerate(dropped)]


def test_a_sensor_that_loses_many_samples_is_faulty_until_it_stops() -> None:
    assert judge_losses([0, 10, 20, 30, 30, 30, 30]) == [False, False, True, True, True, False, False]


def test_a_few_losses_or_many_at_once_are_no_fault() -> None:
    assert judge_losses([0, 6, 12, 18, 24]) == [False] * 5
    assert judge_losses([0, 500, 500, 1000, 1000]) == [False] * 5


def test_a_hop_that_is_not_whole_neither_harms_nor_heals() -> None:
    health = Health(IMU)
    hops: list[Samples | None] = [walk(0), None, None, None, flat(4), flat(5), None, walk(7), None, walk(9)]
    verdicts = [health.judge(Hop(index, hop, 0, 0, IMU_HZ)) != WELL for index, hop in enumerate(hops)]
    assert [bad for hop, bad in zip(hops, verdicts, strict=True) if hop is not None] == [
        False,
        False,
        True,
        True,
        False,
    ]


def test_one_fault_may_turn_into_another_and_stays_shown() -> None:
    verdicts = judge_all(IMU, [*map(flat, range(3)), *map(clipped_walk, range(3, 6))])
    assert verdicts[:3] == ["", "flat line", "flat line"]
    assert all("clipped at 20 m/s^2" in verdict for verdict in verdicts[3:])


def test_two_faults_in_turns_are_not_added_up() -> None:
    hops = [flat(hop) if hop % 2 else clipped_walk(hop) for hop in range(5)]
    assert judge_all(IMU, hops) == [""] * 5


def test_a_sensor_without_acceleration_knows_no_gravity() -> None:
    pulse = replace(IMU, channels=tuple(replace(channel, unit="1") for channel in IMU.channels))
    assert judge_all(pulse, [walk(hop) / 1000 for hop in range(6)]) == [""] * 6


# --- what is never a fault -----------------------------------------------------------------------------------------


@settings(max_examples=times(60), deadline=None)
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
        samples[:, 3:] *= min(strength, 3.0) / 3.0  # who stands does not turn
        hops.append((samples + random.normal(0, noise, samples.shape)).astype(np.float32))
    assert judge_all(IMU, hops) == [""] * 20


def test_a_sensor_that_lies_still_is_not_flat() -> None:
    # A real one's last bit moves: 16 bits over 8 g.
    step = 8 * G_M_S2 / 2**15
    hops = []
    for hop in range(20):
        samples = np.tile(np.array([0, 0, G_M_S2, 0, 0, 0], np.float32), (COUNT, 1))
        samples[:, 2] += step * np.random.default_rng(hop).integers(-1, 2, COUNT)
        hops.append(samples)
    assert judge_all(IMU, hops) == [""] * 20


@settings(max_examples=times(30), deadline=None)
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
