"""Ports that leave their device alone until the hop's end: what the hop still lacks then is read at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from fakes import HOP_S, audio_chunk, audio_modality, cut, write_tiny_bundle
from mmg.bundle import Bundle
from mmg.runs.live import LivePipeline
from mmg.runs.settings import Settings
from mmg.sources.ports.port import PortThread
from mmg.streams import HopGrid
from mmg.types import Chunk, Decision
from scripted import CONNECTED

TICK_NS, SECONDS = 5_000_000, 8.0
BLOCK_S = 0.02


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bundle]:
    path: Path = write_tiny_bundle(tmp_path_factory.mktemp("rests") / "tiny", audio_modality(16000))
    with Bundle.open(path) as opened:
        yield opened


class RestingPort(PortThread):
    """A device whose blocks it takes when a PortThread would, by a clock that a test moves."""

    def __init__(self, sound: Chunk, block: int) -> None:
        super().__init__("scripted://audio", "audio")
        self.status = CONNECTED
        self._blocks = list(cut(sound, range(0, len(sound.times_ns), block)))
        self._newest_ns = 0

    def start(self, deliver: Callable[[Chunk], None], hops: HopGrid | None = None, *_: object) -> None:
        assert hops
        self._deliver, self._hop_ns = deliver, hops.hop_ns

    def _session(self) -> None:
        raise NotImplementedError

    def tick(self, now_ns: int) -> None:
        if now_ns < self._wanted_ns(self._newest_ns):
            return
        while self._blocks and self._blocks[0].times_ns[-1] <= now_ns:
            block = self._blocks.pop(0)
            self._newest_ns = int(block.times_ns[-1])
            self._deliver(block)


def decide(bundle: Bundle, port: RestingPort) -> list[Decision]:
    now_ns, decisions = [0], list[Decision]()
    pipeline = LivePipeline(bundle, [port], Settings(), monotonic_ns=lambda: now_ns[0])
    pipeline.start()
    while now_ns[0] < SECONDS * 1e9:
        now_ns[0] += TICK_NS
        port.tick(now_ns[0])
        decisions += pipeline.step()
    pipeline.close()
    return decisions


@pytest.mark.parametrize(
    ("rate_hz", "late_ms"), [(16000, 0), (8000, 65), (22050, 45), (32000, 35), (44100, 25), (48000, 25)]
)
@pytest.mark.parametrize("begin_s", [0.0, 0.0001, 0.007, 0.019])
@pytest.mark.parametrize("ahead_s", [-0.008, 0.0, 0.008])
def test_no_decision_waits_for_the_grace_though_the_stream_needs_more_than_the_hops_sound(
    bundle: Bundle, rate_hz: int, late_ms: float, begin_s: float, ahead_s: float
) -> None:
    """late_ms: what the resampler holds back. The stamps move away from the count of samples, as a clock that is
    known better and better does, and for all that the hop ends with a block."""
    sound = audio_chunk(begin_s, SECONDS, rate_hz)
    off_ns = np.round(np.linspace(0, ahead_s, len(sound.times_ns)) * 1e9).astype(np.int64)
    port = RestingPort(Chunk("audio", sound.samples, sound.times_ns + off_ns, rate_hz), round(rate_hz * BLOCK_S))
    decisions = decide(bundle, port)
    assert len(decisions) >= SECONDS / HOP_S - 2
    after = [decision.latency_ms["event_to_decision"] for decision in decisions[2:]]
    assert max(after) <= late_ms + (BLOCK_S * 1e9 + 2 * TICK_NS) / 1e6 + abs(ahead_s) * 1e3
    assert {decision.sensors["audio"].state for decision in decisions[2:]} == {"live"}
