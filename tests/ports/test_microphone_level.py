"""A level that is set too low is told once; silence, a quiet room and good recordings are not."""

from __future__ import annotations

import numpy as np
import pytest
from mmg.engine.health.level import Level as Health
from mmg.sources.ports.microphone.level import Level
from numpy.typing import NDArray
from recordings import real

RATE_HZ = 16000
NOTE = "very quiet: nothing above "


def noise(seconds: float, dbfs: float, seed: int = 0) -> NDArray[np.float32]:
    power = np.random.default_rng(seed).standard_normal(round(seconds * RATE_HZ))
    return (10 ** (dbfs / 20) * power).astype(np.float32)


def room(floor_dbfs: float, events_dbfs: float, *, events: int = 12, offset: float = 0.0) -> NDArray[np.float32]:
    """A minute and a little more in which something happens so often, for half a second each."""
    sound = noise(61, floor_dbfs)
    for number in range(events):
        begin = (2 + number * 57 // max(events, 1)) * RATE_HZ
        sound[begin : begin + RATE_HZ // 2] += noise(0.5, events_dbfs, number)
    return sound + np.float32(offset)


def note_on(sound: NDArray[np.float32], rate_hz: int = RATE_HZ) -> str:
    level = Level(rate_hz)
    for begin in range(0, len(sound), 320):
        level.hear(sound[begin : begin + 320, None])
    return level.note


@pytest.mark.parametrize("offset", [0.0, 0.1])
def test_what_happens_far_below_what_a_microphone_gives_is_told(offset: float) -> None:
    note = note_on(room(-92, -70, offset=offset))
    assert note == (
        "very quiet: nothing above -70 dBFS in a minute: turn the microphone up (alsamixer), or add gain=20 to its URL"
    )


@pytest.mark.parametrize(
    "sound",
    [
        noise(61, -75),
        np.zeros(61 * RATE_HZ, np.float32),
        room(-75, -50),
        room(-72, -60),
        room(-92, -70, events=3),
        room(-92, -70)[: 50 * RATE_HZ],
    ],
    ids=["a quiet room", "silence", "keys in a quiet room", "faint sounds", "hardly any", "not long enough to say"],
)
def test_a_quiet_room_is_no_microphone_that_is_set_too_low(sound: NDArray[np.float32]) -> None:
    assert note_on(sound) == ""


@pytest.mark.parametrize("value", [3e38, np.inf, np.nan])
def test_rubbish_is_heard_without_a_warning(value: float) -> None:
    rubbish = np.full(61 * RATE_HZ, value, np.float32)
    rubbish[::2] *= -1
    assert note_on(rubbish) == ""
    if not np.isfinite(value):
        return  # streams pass none of it on
    health = Health(RATE_HZ)
    health.take(rubbish[:, None])
    assert health.finding is None


@pytest.mark.parametrize("name", ["a", "e", "j", "m"])
def test_a_real_microphone_on_a_desk_is_told_only_where_it_is_turned_down(name: str) -> None:
    soundfile = pytest.importorskip("soundfile")
    sound, rate_hz = soundfile.read(real(f"keystrokes/{name}.flac"), dtype="float32", always_2d=True)
    minute = np.tile(sound[:, 0], 60 * rate_hz // len(sound) + 1)
    assert note_on(minute, rate_hz) == ""
    assert note_on(minute * np.float32(0.05), rate_hz).startswith(NOTE)
