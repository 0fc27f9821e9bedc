"""The virtual wearer: repeatable, synchronous, and no person is on both sides of the split."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from mmg_training.sessions import DEMO_SUBJECT, held_out_subjects, training_subjects
from mmg_training.wearer import Segment, Subject, Timeline, plan, render_frames, render_imu, render_sound
from mmg_training.wearer.activities import ACTIVITIES


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


def test_activities_happen_where_they_can() -> None:
    for number in range(30):
        for segment in plan(Subject.numbered(number), 2, 120.0).segments:
            activity = ACTIVITIES[segment.label]
            assert segment.place in activity.places, segment
            assert segment.posture in activity.postures, segment


def test_labels_follow_the_segments() -> None:
    timeline = plan(Subject.numbered(0), 1, 30.0)
    middles = np.array([(segment.start_s + min(segment.end_s, 30.0)) / 2 for segment in timeline.segments])
    assert timeline.labels(middles) == [segment.label for segment in timeline.segments]


def test_no_person_is_on_both_sides_of_the_split() -> None:
    training, held_out = set(training_subjects(5000)), set(held_out_subjects(500))
    assert not training & held_out
    assert DEMO_SUBJECT not in training | held_out


def test_the_wearer_needs_no_torch() -> None:
    code = "import sys, mmg_training.wearer; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
