"""Sound whose gain is far too low, told of files and of microphones; a room that was louder before is left alone."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import audio_modality
from mmg.engine.health import WELL, ReadAs, Verdict
from motions import judge
from numpy.typing import NDArray

AUDIO = audio_modality()
HOPS = 40


def hum(*levels_dbfs: float) -> list[NDArray[np.float32]]:
    """Half seconds of noise, at these levels."""
    random = np.random.default_rng(0)
    rows = round(AUDIO.rate_hz / 2)
    return [(random.normal(0, 10 ** (level / 20), (rows, 1)) + 0.001).astype(np.float32) for level in levels_dbfs]


def states(verdicts: list[Verdict]) -> list[str]:
    return [verdict.state for verdict in verdicts]


def test_sound_that_stays_very_quiet_for_ten_seconds_is_doubted() -> None:
    verdicts = judge(AUDIO, hum(*[-70.0, -80.0] * (HOPS // 2)))
    assert states(verdicts) == ["live"] * 19 + ["doubted"] * 21
    assert verdicts[-1].reason == "very quiet: nothing above -70 dBFS in its first 10 s: too low a gain?"


def test_a_microphone_is_told_its_gain() -> None:
    verdicts = judge(AUDIO, hum(*[-70.0] * HOPS), ReadAs(has_gain=True))
    assert verdicts[-1].reason.endswith("in its first 10 s: add gain=40 to its URL")


@pytest.mark.parametrize("loud_at", [5, 30])
def test_what_was_loud_once_has_gain_enough(loud_at: int) -> None:
    levels = [-70.0] * HOPS
    levels[loud_at] = -50.0
    verdicts = judge(AUDIO, hum(*levels))
    assert set(verdicts[loud_at:]) == {WELL}


def test_sound_as_it_usually_is_is_well() -> None:
    assert set(judge(AUDIO, hum(*[-55.0] * HOPS))) == {WELL}
