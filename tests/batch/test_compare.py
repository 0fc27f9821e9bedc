"""Intervals: a bootstrap over people, which knows that one person's decisions are alike."""

from __future__ import annotations

import numpy as np
import pytest
from mmg_batch.compare import Interval, Pair, accuracy, difference, said


def test_an_accuracy_is_that_of_all_decisions_and_its_interval_that_of_people() -> None:
    interval = accuracy([(100, 100)] * 3 + [(100, 0)] * 3)
    assert interval is not None
    assert interval.value == 0.5
    # Six people who are all right or all wrong: as six throws of a coin, and not as six hundred.
    assert (interval.low, interval.high, interval.people) == (0.0, 1.0, 6)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(7)
    held = 0
    for _ in range(200):
        skills = generator.beta(8, 2, size=40)  # of mean 0.8
        interval = accuracy((50, int(right)) for right in generator.binomial(50, skills))
        assert interval is not None
        assert interval.low is not None
        assert interval.high is not None
        held += interval.low <= 0.8 <= interval.high
    assert 180 <= held <= 198


def test_a_difference_is_paired_by_person() -> None:
    # All are better by one in ten, however good they are: only pairs show it.
    people = [Pair(100, right + 10, right) for right in range(0, 90, 5)]
    paired = difference(people)
    assert paired is not None
    assert (paired.value, paired.low, paired.high) == pytest.approx((0.1, 0.1, 0.1))


def test_of_six_people_no_difference_is_seldom_taken_for_one() -> None:
    generator = np.random.default_rng(7)
    found = 0
    for _ in range(400):
        interval = difference(Pair(200, 100 + round(gained), 100) for gained in generator.normal(0, 10, size=6))
        assert interval is not None
        assert interval.low is not None
        assert interval.high is not None
        found += not interval.low <= 0 <= interval.high
    assert found <= 32  # 20 are due; without Student's t it is three times as many


def test_few_people_give_no_interval_and_nobody_a_figure() -> None:
    assert accuracy([(10, 4), (0, 0)]) == Interval(0.4, None, None, 1)
    assert difference([Pair(10, 5, 4)] * 5) == Interval(0.1, None, None, 5)
    assert accuracy([(0, 0)]) is None
    assert difference([]) is None


@pytest.mark.parametrize(
    ("interval", "signed", "text"),
    [
        (None, False, "-"),
        (Interval(0.5, None, None, 1), False, "50.0 %"),
        (Interval(0.5, 0.25, 0.75, 3), False, "50.0 % (25.0 to 75.0)"),
        (Interval(0.05, -0.01, 0.1, 3), True, "+5.0 % (-1.0 to +10.0)"),
    ],
)
def test_a_figure_is_said_with_its_interval(interval: Interval | None, signed: bool, text: str) -> None:
    assert said(interval, signed=signed) == text
