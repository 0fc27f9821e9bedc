"""What ``--explain`` tells of a recording's samples is true at any rate, and costs no more the longer it is."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from fakes import UNUSED_ENCODER
from mmg.bundle.manifest import Channel, Modality
from mmg.runs.explain import MOST_WINDOWS, Explanation, _Windows, explain
from mmg.sources import CHUNK_NS
from mmg.sources.files.slicing import spans
from mmg.types import Chunk

HOP_NS = 500_000_000


def imu(rate_hz: float) -> Modality:
    channels = tuple(Channel(name=name, unit="m/s^2") for name in ("ax", "ay", "az"))
    return Modality(name="imu", kind="signal", rate_hz=rate_hz, channels=channels, encoder=UNUSED_ENCODER)


class Recorded:
    """Samples at given times; counts how often it is read."""

    modality, url, offset_ns, start_ns = "imu", "walk.csv", 0, 0

    def __init__(self, times_ns: np.ndarray, samples: np.ndarray) -> None:
        self._times_ns, self._samples = times_ns.astype(np.int64), samples.astype(np.float32)
        self.duration_s = float(times_ns[-1]) / 1e9
        self.losses: dict[str, int] = {}
        self.notes: list[str] = []
        self.readings = 0

    def chunks(self, _start_ns: int, every_ns: int = CHUNK_NS) -> Iterator[Chunk]:
        self.readings += 1
        for part in spans(self._times_ns, every_ns):
            yield Chunk("imu", self._samples[part], self._times_ns[part])

    def close(self) -> None:
        pass


def walk(rate_hz: float, seconds: float = 60) -> Recorded:
    """Half of it lies still, half of it shakes by half of gravity."""
    times_s = np.arange(round(rate_hz * seconds)) / rate_hz
    shakes = np.random.default_rng(3).uniform(-5, 5, len(times_s)) * (times_s > seconds / 2)
    samples = np.stack([np.zeros_like(shakes), np.zeros_like(shakes), 9.8 + shakes], axis=1)
    return Recorded(times_s * 1e9, samples)


def told_of(recording: Recorded, rate_hz: float = 50) -> Explanation:
    return explain(recording, imu(rate_hz), HOP_NS, lambda _done, _of, _what: None)


@pytest.mark.parametrize("rate_hz", [10, 50, 400])
def test_gravity_is_that_of_the_steady_part_at_any_rate(rate_hz: float) -> None:
    told = told_of(walk(rate_hz))
    assert told.levels["gravity where it is steadiest, m/s^2"] == pytest.approx(9.8, abs=0.01)


@pytest.mark.parametrize(("rate_hz", "told"), [(104.1666, "104.2 Hz"), (44_100, "44100 Hz"), (22_050.5, "22050.5 Hz")])
def test_a_rate_is_told_in_full(rate_hz: float, told: str) -> None:
    assert f" at {told}, " in "\n".join(Explanation("audio", "walk.wav", [], None, rate_hz=rate_hz).lines())


def test_samples_too_few_to_be_steady_tell_no_gravity() -> None:
    assert told_of(walk(2)).levels == {}


def test_a_recording_is_read_once_and_doubted_all_the_same() -> None:
    recording = walk(50)
    recording._samples *= 6.5
    told = told_of(recording)
    assert recording.readings == 1
    assert len(told.doubts) == 1


def test_samples_as_far_apart_as_the_models_are_no_gaps() -> None:
    assert told_of(walk(2), rate_hz=2).gaps == 0
    assert told_of(walk(2), rate_hz=50).gaps == 119


def test_windows_are_thinned_evenly_and_never_more_than_are_kept() -> None:
    windows = _Windows()
    for number in range(10 * MOST_WINDOWS):
        windows.add(float(number))
        assert len(windows._kept) < MOST_WINDOWS
    steps = np.diff(windows.all()[:, 0])
    assert len(steps) > MOST_WINDOWS // 4
    assert set(steps) == {16.0}
