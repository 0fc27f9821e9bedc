"""What a live run's lateness is held to: the models alone, once a hop, in the same seconds."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from mmg.errors import MmgError
from mmg_tools import rested
from mmg_tools.live_check import longest_ms
from mmg_tools.rested import RESTS, START_HOPS, RestedModels, measure_rest


def test_models_that_ran_no_hop_are_no_measure() -> None:
    with RestedModels() as models, pytest.raises(MmgError, match="the models alone ran no more than 2 hops"):
        models.stop()


def test_models_that_cannot_run_say_why_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    with RestedModels() as models, pytest.raises(MmgError, match="the models alone ended without a word"):
        models.stop()


def test_models_that_do_not_end_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hangs = tmp_path / "hangs"
    hangs.write_text("#!/bin/sh\necho ready\nexec sleep 60\n")
    hangs.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(hangs))
    monkeypatch.setattr(rested, "LAST_WORDS_S", 0.05)
    with RestedModels() as models, pytest.raises(MmgError, match="the models alone did not end within"):
        models.stop()


@pytest.mark.parametrize(("models_ms", "most_ms"), [(0.4, 60), (20, 60), (37, 111), (500, 250)])
def test_a_run_may_be_late_only_as_the_machine_is_slow(models_ms: float, most_ms: float) -> None:
    assert longest_ms(models_ms) == most_ms


def test_what_a_rest_costs_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """With models that take 1 ms, and as much longer as they rested, on a clock of their own."""
    now_s, rested_s = 0.0, 0.0

    def sleep(seconds: float) -> None:
        nonlocal rested_s, now_s
        rested_s = seconds
        now_s += seconds

    def models(_hop: int) -> None:
        nonlocal now_s
        now_s += 1e-3 + rested_s / 100

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "perf_counter", lambda: now_s)
    monkeypatch.setattr(rested, "Bare", lambda *_: models)
    assert measure_rest() == pytest.approx((1.0, 6.0))
    assert now_s > 2 * (START_HOPS + RESTS) * 1e-3 + RESTS * 0.5
