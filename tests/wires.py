"""A serial IMU on a scripted clock: its bytes go through the port's own conversation and parser, and nothing waits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mmg.bundle import Bundle
from mmg.runs.live import LivePipeline
from mmg.runs.settings import Settings
from mmg.sources.ports.port import PortStatus
from mmg.sources.ports.serial.conversation import Conversation
from mmg.sources.ports.serial.line import POLL_S, SerialLine
from mmg.sources.url import parse_url
from mmg.types import Decision

pytest.importorskip("serial", reason="pyserial is not installed: pip install -e '.[serial]'")
import serial
from mmg.sources.ports.serial.port import SerialPort

BOOT_NS = 7_000 * 10**9
Say = Callable[[int], bytes]


class MadePort(SerialPort):
    """A port without a thread of its own: a test says what comes, and when."""

    def _live(self) -> None:
        """Nothing by itself."""


class Wire:
    """A board on a made port under a live pipeline, and the time."""

    def __init__(self, bundle: Bundle, query: str, grace_s: float = 0.2, *, root: Path = Path("/")) -> None:
        """query: of the port's URL. root: where ``sys`` and ``dev`` lie."""
        self.now_ns = BOOT_NS
        self.notes: list[str] = []
        self.noted_ns: list[int] = []
        """When each of them came."""
        device = root / "dev/ttyIMU"
        self.port = MadePort(parse_url(f"serial://{device}?{query}"), bundle.manifest.modalities[0], root=root)
        settings = Settings(grace_s=grace_s, unknown=0.0)  # a fault is to be seen by the labels
        self.pipeline = LivePipeline(bundle, [self.port], settings, report=self._note, monotonic_ns=lambda: self.now_ns)
        self.pipeline.start()
        self._line = SerialLine(serial.serial_for_url("loop://", timeout=POLL_S), "serial://loop://")
        self._jitter = np.random.default_rng(3)
        self.plug()

    def _note(self, note: str) -> None:
        self.notes.append(note)
        self.noted_ns.append(self.now_ns)

    def unplug(self) -> None:
        """The cable is out, and the port tells so as its thread would."""
        self.port.status = PortStatus(reason="unplugged", device=self.port.status.device)

    def plug(self) -> None:
        """The cable is put in, perhaps again. Raises SourceNotFound."""
        self.port._find()
        self._talk = Conversation(self.port._new_parser(), self.now_ns / 1e9)

    def run(self, say: Say, seconds: float, tick_ms: int = 10) -> list[Decision]:
        """The board says ``say(ms)`` every ``tick_ms``, from the ms since the start on; returns what is decided."""
        decided = []
        for _ in range(round(seconds * 1000 / tick_ms)):
            said = say((self.now_ns - BOOT_NS) // 10**6)
            if said:
                arrival_ns = self.now_ns + round(abs(self._jitter.normal(0, 1e6)))
                self.port._hear(self._talk, self._line, said, arrival_ns)
            self.now_ns += tick_ms * 10**6
            decided += self.pipeline.step()
        return decided
