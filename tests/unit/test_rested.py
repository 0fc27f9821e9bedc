"""What a live run's lateness is held to: the models alone, once a hop, in the same seconds."""

from __future__ import annotations

import pytest
from mmg.errors import MmgError
from mmg_tools.live_check import longest_p95_ms
from mmg_tools.rested import RestedModels


def test_models_that_ran_no_hop_are_no_measure() -> None:
    with RestedModels() as models, pytest.raises(MmgError, match="the models alone ran no hop"):
        models.stop()


@pytest.mark.parametrize(("models_p95_ms", "longest_ms"), [(0.4, 60), (20, 60), (37, 111)])
def test_a_run_may_be_late_only_as_the_machine_is_slow(models_p95_ms: float, longest_ms: float) -> None:
    assert longest_p95_ms(models_p95_ms) == longest_ms
