"""A fleet that hears wearables, by a clock of its own, and what they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmg.bundle.index import INDEX
from mmg.sinks.event import About
from mmg.sinks.jsonl import line_of
from mmg.sinks.mqtt.state import about_of
from mmg.types import Decision, SensorState
from mmg_fleet.offered import Offered
from mmg_fleet.store import Batch, row_of
from mmg_fleet.wearables import Fleet, Moment, Wearable

WRIST, GLASSES = "mmg/anna/wrist", "mmg/anna/glasses"
LIVE = SensorState("live", 3.0, 2)
BEGAN_S = 1000.0


def decision(label: str = "walking", audio: SensorState = LIVE) -> Decision:
    sensors = {"imu": LIVE, "audio": audio}
    return Decision(3, 1.5, label, 0.9, {label: 0.9}, ("imu",), sensors, (), {"event_to_decision": 12.5})


def about(bundle: str = "starter", digest: str = "a" * 64, board: str = "raspberry-pi-4", hop_s: float = 0.5) -> bytes:
    made = About(bundle, ("still",), {"imu": "x"}, hop_s, board, digest=digest)
    return json.dumps(about_of(made, "0.1.0")).encode()


class Heard:
    """A fleet, and the moment at which it hears."""

    def __init__(self, offered: Offered | None = None) -> None:
        self.fleet = Fleet("mmg", offered or Offered(), now=Moment(BEGAN_S, 0.0))
        self.now = Moment(BEGAN_S, 0.0)

    def hear(self, topic: str, payload: bytes | str, *, is_retained: bool = False) -> str:
        data = payload.encode() if isinstance(payload, str) else payload
        return self.fleet.take(topic, data, is_retained=is_retained, now=self.now)

    def decide(self, topic: str, label: str = "walking", audio: SensorState = LIVE) -> str:
        return self.hear(f"{topic}/decision", line_of(decision(label, audio)))

    def pass_s(self, seconds: float) -> None:
        self.now = Moment(self.now.wall_s + seconds, self.now.run_s + seconds)
        self.fleet.tick(self.now)

    def set_clock(self, seconds: float) -> None:
        """So far ahead, or back."""
        self.now = self.now._replace(wall_s=self.now.wall_s + seconds)

    def word(self, topic: str) -> str:
        return self.fleet.word(self[topic], self.now)

    def __getitem__(self, topic: str) -> Wearable:
        return self.fleet.wearables[topic]


def offering(folder: Path, *bundles: tuple[str, int, str]) -> Offered:
    index = [
        {"name": name, "version": version, "digest": digest, "sha256": digest, "bytes": 9, "url": f"{name}.mmg"}
        for name, version, digest in bundles
    ]
    (folder / INDEX).write_text(json.dumps({"index": {"schema": "mmg-index/1", "newest": 9, "bundles": index}}))
    offered = Offered(folder)
    offered.reread()
    return offered


def batch(fleet: Fleet, **more: Any) -> Batch:
    rows = [row_of(one) for one in fleet.wearables.values()]
    given = {
        "profiles": fleet.profiles,
        "differing": fleet.differing,
        "offers": {},
        "totals": fleet.totals,
        "at_s": 1.0,
    }
    return Batch(wearables=rows, **{**given, **more})
