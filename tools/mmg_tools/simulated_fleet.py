"""Wearables without sensors at a real broker: each has a connection, a last will and a state of its own."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from mmg.sinks.event import About
from mmg.sinks.jsonl import ENCODER, line_of
from mmg.sinks.mqtt.state import about_of, nothing_decided, state_of, utc
from mmg.types import Decision, SensorState

EVERY_S, STATE_EVERY_S, KEEPALIVE_S = 1.0, 30.0, 60
LABELS = ("still", "walking", "running", "knocking", "sweeping", "drinking")
BOARDS = {"raspberry-pi-4": 14.0, "raspberry-pi-zero-2w": 61.0, "jetson-orin-nano": 6.0, "generic-x86-64": 3.0}
"""The board, and a usual latency there in milliseconds."""
DIGESTS = {"starter": "a" * 64, "ward": "b" * 64}
ILL = {
    "stale": "unplugged",
    "faulty": "its values cannot be gravity",
    "doubted": "the level is too high",
    "absent": "no such port",
    "asleep": "",
    "warming": "",
}
KINDS = ("well", "well", "well", "ill", "ill", "comes and goes", "silent", "leaves", "lies", "garbage")
"""What becomes of a wearable, by its number; a tenth each, but for those that are well."""
GARBAGE = (b"\xff\xfe", b"{", b'{"label": 3}', b"[" * 5000, b'{"label":"' + b"x" * 300_000 + b'"}')


def string(text: bytes) -> bytes:
    """As MQTT has it: its length before it."""
    return len(text).to_bytes(2, "big") + text


def packet(first: int, body: bytes) -> bytes:
    """MQTT 3.1.1, section 2.2."""
    length, head = len(body), bytearray([first])
    while True:
        length, low = divmod(length, 128)
        head.append(low | (128 if length else 0))
        if not length:
            return bytes(head) + body


def connect(client: str, will_topic: str) -> bytes:
    """With a clean session, and a retained last will ``offline``."""
    flags = 0x02 | 0x04 | 0x20
    body = string(b"MQTT") + bytes([4, flags]) + KEEPALIVE_S.to_bytes(2, "big")
    return packet(0x10, body + string(client.encode()) + string(will_topic.encode()) + string(b"offline"))


def publish(topic: str, payload: bytes, *, retain: bool = False) -> bytes:
    """At QoS 0."""
    return packet(0x31 if retain else 0x30, string(topic.encode()) + payload)


@dataclass
class Counts:
    """Of messages that the broker was given: published, and last wills that it sends by itself. garbage: of those."""

    published: int = 0
    wills: int = 0
    garbage: int = 0
    connections: int = 0
    late_s: float = 0.0


@dataclass
class Wearable:
    """number: from which all follows that is not drawn."""

    number: int
    counts: Counts
    chance: random.Random = field(init=False)
    writer: asyncio.StreamWriter | None = None

    def __post_init__(self) -> None:
        self.chance = random.Random(self.number)
        pair, side = divmod(self.number, 2)
        self.topic = f"mmg/person{pair:04}/{('wrist', 'glasses')[side]}"
        self.kind = KINDS[self.number // 2 % len(KINDS)]
        self.board, self.latency_ms = list(BOARDS.items())[self.number % len(BOARDS)]
        self.bundle = list(DIGESTS)[pair % 2]
        # Both of a pair do the same at the same time, but every tenth pair.
        self.shift = side if pair % 10 == 3 else 0
        self.sent_s = 0.0
        self.label = ""

    async def live(self, port: int, until_s: float, began_s: float) -> None:
        """Decide once a second until then."""
        await asyncio.sleep(self.number % 100 / 100)
        await self._arrive(port)
        step = 0
        while time.monotonic() < until_s:
            step += 1
            due_s = began_s + self.number % 100 / 100 + step * EVERY_S
            await asyncio.sleep(max(due_s - time.monotonic(), 0))
            self.counts.late_s = max(self.counts.late_s, time.monotonic() - due_s)
            if self.kind == "leaves" and step > 10:
                break
            if self.kind == "comes and goes" and step % 20 == 0:
                await self._vanish()
                await self._arrive(port)
            if self.kind == "silent" and step > 10:
                continue
            await self._decide(step)
        await self._vanish()

    async def _arrive(self, port: int) -> None:
        reader, self.writer = await asyncio.open_connection("127.0.0.1", port)
        self.writer.write(connect(f"sim-{self.number}", f"{self.topic}/status"))
        await reader.readexactly(4)  # CONNACK
        self.counts.connections += 1
        digest = "f" * 64 if self.kind == "lies" else DIGESTS[self.bundle]
        about = About(self.bundle, LABELS, {"imu": "", "audio": ""}, EVERY_S, self.board, digest=digest)
        await self._send("about", ENCODER.encode(about_of(about, "0.1.0")).encode(), retain=True)
        await self._send("state", ENCODER.encode(nothing_decided(("imu", "audio"), self._at())).encode(), retain=True)
        await self._send("status", b"online", retain=True)
        self.label = ""

    async def _vanish(self) -> None:
        """Without a word: the broker says it with the last will. What was sent before is delivered."""
        if self.writer:
            self.counts.wills += 1
            self.writer.close()
            with suppress(OSError):
                await self.writer.wait_closed()

    async def _decide(self, step: int) -> None:
        decision = self._decision(step)
        if self.kind == "garbage" and step % 10 == 0:
            self.counts.garbage += 1
            await self._send("decision", GARBAGE[step // 10 % len(GARBAGE)])
        await self._send("decision", line_of(decision).encode())
        state = {**state_of(decision, self._at()), "temperature_c": round(self.chance.gauss(55, 4), 1)}
        is_news = decision.label != self.label
        if is_news:
            change = {"from": self.label or None, "to": decision.label, "confidence": 0.9, "t": step, "at": self._at()}
            await self._send("event", ENCODER.encode(change).encode())
        if is_news or time.monotonic() - self.sent_s > STATE_EVERY_S:
            await self._send("state", ENCODER.encode(state).encode(), retain=True)
            self.sent_s = time.monotonic()
        self.label = decision.label

    def _decision(self, step: int) -> Decision:
        label = LABELS[((step // 20 + self.number // 2) % len(LABELS) + self.shift) % len(LABELS)]
        word = list(ILL)[self.number // 20 % len(ILL)] if self.kind == "ill" else "live"
        sensors = {
            "imu": SensorState("live", 8.0, step),
            "audio": SensorState(word, 12.0, 0, ILL.get(word, "")),  # type: ignore[arg-type]
        }
        latency_ms = {"event_to_decision": max(self.chance.gauss(self.latency_ms, self.latency_ms / 8), 0.1)}
        scores = {one: 0.9 if one == label else 0.02 for one in LABELS}
        return Decision(step, step * EVERY_S, label, 0.9, scores, ("imu",), sensors, (), latency_ms)

    async def _send(self, name: str, payload: bytes, *, retain: bool = False) -> None:
        assert self.writer is not None
        self.writer.write(publish(f"{self.topic}/{name}", payload, retain=retain))
        self.counts.published += 1
        await self.writer.drain()

    def _at(self) -> str:
        return utc(time.time())


async def play(port: int, wearables: int, seconds: float, tell: Callable[[Counts], None] = lambda _: None) -> Counts:
    """So many for so long. tell: called with the counts so far, about once a second."""
    counts, began_s = Counts(), time.monotonic()
    lives = [
        asyncio.create_task(Wearable(number, counts).live(port, began_s + seconds, began_s))
        for number in range(wearables)
    ]
    done = asyncio.gather(*lives)
    while not done.done():
        await asyncio.wait([done], timeout=1)
        tell(counts)
    await done
    return counts
