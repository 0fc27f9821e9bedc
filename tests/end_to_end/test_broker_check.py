"""A live run on a real pty and a real ALSA device, and a broker that goes away meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest
from broker_runs import need_broker
from mmg_tools.broker_check import check
from recordings import need_ports

pytestmark = pytest.mark.realtime
need_ports()
need_broker()


def test_a_broker_that_goes_away_costs_its_lines_alone_and_is_right_again_by_itself(tmp_path: Path) -> None:
    report = check(around_s=3.0, away_s=2.0, folder=tmp_path)
    # A handful of decisions is too few to judge a percentile to a few milliseconds.
    assert [problem for problem in report.problems if "later than before" not in problem] == [], report
    assert report.lost > 0
    assert report.right_again_s < 10, report
