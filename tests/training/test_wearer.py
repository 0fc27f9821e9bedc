"""The virtual wearer: repeatable, synchronous, and no person is on both sides of the split."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from mmg.errors import ConfigError
from mmg_training.config import DataConfig, override, parse_setting
from mmg_training.wearer import (
    BASE,
    BENCHMARK,
    EVERYDAY,
    NOVEL,
    Segment,
    Subject,
    Timeline,
    clip,
    plan,
    render_frames,
    render_imu,
    render_sound,
)
from mmg_training.wearer.activities import ACTIVITIES, PLACES, TRANSITION
from mmg_training.wearer.background import BACKGROUNDS, background
from mmg_training.wearer.people import DEMO_SUBJECT, held_out_subjects, training_subjects
from mmg_training.wearer.rooms import SCENES


def walk(label: str, number: int = 0) -> Timeline:
    """Six seconds of one gait, with nothing else going on."""
    subject = Subject.numbered(number)
    beats = ACTIVITIES[label].beats(np.random.default_rng(number), subject, 0.0, 6.0)
    return Timeline(subject, 1, 6.0, (Segment(0.0, 6.0, label, "standing", "corridor", beats, 1),), ())


def test_the_same_seed_gives_the_same_arrays() -> None:
    first, again = (plan(Subject.numbered(3), 7, 8.0) for _ in range(2))
    np.testing.assert_array_equal(render_imu(first, 50), render_imu(again, 50))
    np.testing.assert_array_equal(render_sound(first, 8000), render_sound(again, 8000))
    np.testing.assert_array_equal(render_frames(first, 4, (12, 16)), render_frames(again, 4, (12, 16)))


def test_another_seed_or_another_subject_gives_other_arrays() -> None:
    imu = render_imu(plan(Subject.numbered(3), 7, 8.0), 50)
    assert not np.array_equal(imu, render_imu(plan(Subject.numbered(3), 8, 8.0), 50))
    assert not np.array_equal(imu, render_imu(plan(Subject.numbered(4), 7, 8.0), 50))


@pytest.mark.parametrize("rate_hz", [50, 100])
def test_the_imu_has_whole_samples_of_si_units_at_any_rate(rate_hz: int) -> None:
    imu = render_imu(plan(Subject.numbered(0), 1, 20.0), rate_hz)
    assert imu.shape == (20 * rate_hz, 6)
    assert imu.dtype == np.float32
    assert 8.5 < np.median(np.linalg.norm(imu[:, :3], axis=1)) < 11.5


def test_two_samples_at_100_hz_average_to_one_at_50_hz() -> None:
    timeline = walk("walking")
    fast, slow = render_imu(timeline, 100).reshape(-1, 2, 6).mean(1), render_imu(timeline, 50)
    noise = timeline.subject.imu_noise
    assert np.abs(fast - slow).max() < 8 * noise


@pytest.mark.parametrize("label", ["walking", "running"])
def test_every_footfall_is_heard_when_it_is_felt(label: str) -> None:
    timeline = walk(label)
    steps = timeline.segments[0].beats[:, 0]
    sound = np.abs(render_sound(timeline, 8000)).reshape(-1, 80).max(1)  # each 10 ms
    force = np.linalg.norm(render_imu(timeline, 100)[:, :3], axis=1)
    jolt = np.abs(np.diff(force, prepend=force[0]))

    def lag_ms(trace: np.ndarray) -> float:
        """How long after the footfalls this is strongest."""
        lags = np.arange(-15, 16)
        places = np.rint(steps[1:-1] * 100).astype(int)
        return 10.0 * float(lags[np.argmax([trace[places + lag].mean() for lag in lags])])

    assert abs(lag_ms(sound)) <= 30
    assert 0 <= lag_ms(jolt) <= 70
    assert abs(lag_ms(sound) - lag_ms(jolt)) <= 70


def test_a_posture_changes_only_by_sitting_down_or_standing_up() -> None:
    for number in range(30):
        segments = plan(Subject.numbered(number), 1, 120.0).segments
        for before, after in pairwise(segments):
            left = ACTIVITIES[before.label].after or before.posture
            assert left == after.posture, (number, before.label, after.label)
            assert after.start_s == before.end_s


@pytest.mark.parametrize(
    "activities", [EVERYDAY, tuple(ACTIVITIES), BASE, NOVEL], ids=["everyday", "all", "base", "novel"]
)
def test_activities_happen_where_they_can(activities: tuple[str, ...]) -> None:
    for number in range(30):
        for segment in plan(Subject.numbered(number), 2, 120.0, activities).segments:
            activity = ACTIVITIES[segment.label]
            assert segment.label in activities
            assert segment.place in activity.places, segment
            assert segment.posture in activity.postures, segment


def test_a_day_has_every_everyday_activity_sooner_or_later() -> None:
    done = {segment.label for number in range(10) for segment in plan(Subject.numbered(number), 4, 300.0).segments}
    assert done == set(EVERYDAY)


def test_without_transitions_the_posture_changes_unseen() -> None:
    segments = plan(Subject.numbered(1), 1, 120.0, ("typing", "walking")).segments
    assert {segment.label for segment in segments} == {"typing", "walking"}
    assert all((segment.posture == "sitting") == (segment.label == "typing") for segment in segments)


def test_one_activity_alone_is_planned_again_and_again() -> None:
    assert {segment.label for segment in plan(Subject.numbered(1), 1, 60.0, ("walking",)).segments} == {"walking"}


@pytest.mark.parametrize("activities", [(), ("sitting_down",), tuple(TRANSITION.values())])
def test_a_day_of_transitions_alone_is_refused(activities: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="nothing to plan with"):
        plan(Subject.numbered(1), 1, 60.0, activities)


def test_labels_follow_the_segments() -> None:
    timeline = plan(Subject.numbered(0), 1, 30.0)
    middles = np.array([(segment.start_s + min(segment.end_s, 30.0)) / 2 for segment in timeline.segments])
    assert timeline.labels(middles) == [segment.label for segment in timeline.segments]


def test_the_sets_are_stable_and_disjoint() -> None:
    nine = "still walking running sitting_down standing_up typing clapping washing_hands brushing_teeth"
    assert " ".join(EVERYDAY) == nine + " knocking sweeping drinking"
    assert (len(BASE), len(NOVEL)) == (20, 10)
    assert BENCHMARK == BASE + NOVEL
    assert len(set(BENCHMARK)) == 30
    assert set(EVERYDAY) - set(TRANSITION.values()) <= set(BASE)


def test_every_place_has_a_picture_and_a_sound() -> None:
    assert set(SCENES) == set(BACKGROUNDS) == set(PLACES)
    assert {place for activity in ACTIVITIES.values() for place in activity.places} == set(PLACES)


@pytest.mark.parametrize("label", tuple(ACTIVITIES))
def test_a_clip_is_one_activity_in_all_three_modalities(label: str) -> None:
    for number in range(3):
        timeline = clip(Subject.numbered(number), number, label, 4.0)
        assert set(timeline.labels(np.arange(0.0, 4.0, 0.1))) == {label}
        assert timeline.segments[0].place in ACTIVITIES[label].places
        assert timeline.segments[0].posture in ACTIVITIES[label].postures
        imu, sound = render_imu(timeline, 50), render_sound(timeline, 8000)
        frames = render_frames(timeline, 2, (24, 32))
        assert (imu.shape, sound.shape, frames.shape) == ((200, 6), (32_000,), (8, 24, 32, 3))
        assert (imu.dtype.name, sound.dtype.name, frames.dtype.name) == ("float32", "float32", "uint8")
        assert np.isfinite(imu).all()
        assert np.abs(imu[:, :3]).max() < 1.1 * timeline.subject.force_range
        assert np.abs(imu[:, 3:]).max() < 1.1 * timeline.subject.turn_range
        assert 8.0 < np.median(np.linalg.norm(imu[:, :3], axis=1)) < 18.0
        assert 0.0 < np.abs(sound).max() <= 1.0
        assert np.ptp(frames) > 0


@pytest.mark.parametrize("duration_s", [0.02, 0.5, 15.0])
def test_a_clip_may_be_short_or_long(duration_s: float) -> None:
    for label in ACTIVITIES:
        timeline = clip(Subject.numbered(5), 1, label, duration_s)
        assert np.isfinite(render_imu(timeline, 50)).all()
        assert len(render_sound(timeline, 2000)) == round(duration_s * 2000)


def test_clips_repeat_and_differ_by_seed_subject_and_label() -> None:
    def sound(number: int, seed: int, label: str) -> np.ndarray:
        return render_sound(clip(Subject.numbered(number), seed, label, 2.0), 4000)

    first = sound(1, 1, "still")
    np.testing.assert_array_equal(first, sound(1, 1, "still"))
    for other in (sound(2, 1, "still"), sound(1, 2, "still"), sound(1, 1, "waving")):
        assert not np.array_equal(first, other)


def test_backgrounds_are_from_nearly_nothing_to_loud_and_differ_in_colour() -> None:
    levels, colours = [], []
    for seed in range(40):
        subject = Subject.numbered(seed)
        sound = render_sound(clip(subject, seed, "still", 2.0), 8000) / subject.mic_gain
        spectrum = np.abs(np.fft.rfft(sound)) ** 2
        levels.append(20 * np.log10(np.sqrt(np.mean(sound**2))))
        colours.append(float(np.sum(spectrum * np.fft.rfftfreq(len(sound), 1 / 8000)) / np.sum(spectrum)))
    assert min(levels) < -58
    assert max(levels) > -50
    assert max(colours) > 4 * min(colours)


def test_every_background_is_of_unit_loudness() -> None:
    for place in BACKGROUNDS:
        for seed in range(6):
            wave = background(np.random.default_rng(seed), place, 8000, 8000)
            assert np.sqrt(np.mean(wave**2)) == pytest.approx(1.0, abs=1e-6)


def test_a_loose_strap_rattles_and_a_cheap_sensor_saturates() -> None:
    running = walk("running")

    def force(strap: float, force_range: float) -> np.ndarray:
        worn = replace(running.subject, impact=1.5, imu_noise=0.01, strap=strap, force_range=force_range)
        return render_imu(replace(running, subject=worn), 100)[:, :3]

    tight, loose, cheap = force(0.0, 160.0), force(1.0, 160.0), force(0.0, 15.0)
    assert np.abs(np.diff(loose, axis=0)).mean() > 1.1 * np.abs(np.diff(tight, axis=0)).mean()
    assert np.abs(tight).max() > 20
    assert np.abs(cheap).max() < 16


# --- can the activities be told apart? -----------------------------------------------------------------------------


def imu_features(imu: np.ndarray) -> np.ndarray:
    """Strength of the force and of the turn in six bands each, and how the arm is held."""
    features = [imu[:, :3].mean(0) / 9.8]
    for part in (imu[:, :3], imu[:, 3:]):
        power = np.abs(np.fft.rfft(part - part.mean(0), axis=0)).sum(1)
        features.append(np.log([band.mean() + 1e-3 for band in np.split(power[1:], (3, 6, 10, 16, 30))]))
    return np.concatenate(features)


def sound_features(sound: np.ndarray) -> np.ndarray:
    """Level and its change in eight bands."""
    power = np.abs(np.fft.rfft(sound.reshape(-1, 256), axis=1)) ** 2
    bands = np.log([band.mean(1) + 1e-7 for band in np.split(power, (2, 4, 8, 16, 32, 64, 96), axis=1)])
    return np.concatenate((bands.mean(1), bands.std(1), np.abs(np.diff(bands)).mean(1)))


def frame_features(frames: np.ndarray) -> np.ndarray:
    """A coarse picture in grey, and where it changes."""
    grey = frames.astype(float).mean(-1).reshape(len(frames), 4, 6, 4, 8).mean((2, 4))
    grey = (grey - grey.mean()) / (grey.std() + 1.0)
    return np.concatenate((grey.mean(0).ravel(), 3 * grey.std(0).ravel()))


def test_each_modality_tells_activities_apart_and_none_tells_all() -> None:
    labels = BENCHMARK[::2]  # enough, and quick

    def features(numbers: range) -> list[np.ndarray]:
        rows: list[list[np.ndarray]] = [[], [], []]
        for number in numbers:
            for label in labels:
                timeline = clip(Subject.numbered(number), number, label, 4.0)
                rows[0].append(imu_features(render_imu(timeline, 50)))
                rows[1].append(sound_features(render_sound(timeline, 8192)))
                rows[2].append(frame_features(render_frames(timeline, 2, (24, 32))))
        return [np.array(row) for row in rows]

    def distances(known: np.ndarray, asked: np.ndarray) -> np.ndarray:
        """From each clip asked about to the centroid of each label, of features and then as deviations."""
        middle, spread = known.mean(0), known.std(0) + 1e-9
        centroids = ((known - middle) / spread).reshape(-1, len(labels), known.shape[1]).mean(0)
        apart = np.linalg.norm(((asked - middle) / spread)[:, None] - centroids, axis=2)
        deviations: np.ndarray = (apart - apart.mean(1, keepdims=True)) / apart.std(1, keepdims=True)
        return deviations

    def share_right(apart: np.ndarray) -> float:
        return float(np.mean(apart.argmin(1) == np.tile(np.arange(len(labels)), len(apart) // len(labels))))

    known, asked = features(range(8)), features(range(1000, 1005))
    apart = [distances(*pair) for pair in zip(known, asked, strict=True)]
    imu, sound, video = (share_right(one) for one in apart)
    fused, chance = share_right(np.sum(apart, axis=0)), 1 / len(labels)
    assert min(imu, sound) > 4 * chance, (imu, sound)
    assert video > 2 * chance, video
    assert max(imu, sound, video) < 0.8, (imu, sound, video)
    assert fused > max(imu, sound, video), (fused, imu, sound, video)


def test_no_person_is_on_both_sides_of_the_split() -> None:
    for count in ("subjects=1001", "held_out=8003"):
        with pytest.raises(ConfigError, match="is more than"):
            override(DataConfig(), dict((parse_setting(count, "--set"),)), "here")
    training, held_out = set(training_subjects(1000)), set(held_out_subjects(8002))
    assert not training & held_out
    assert DEMO_SUBJECT not in training | held_out


def test_the_wearer_needs_no_torch() -> None:
    code = "import sys, mmg_training.wearer; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
