"""What a wearable sends, as far as a fleet looks at it: docs/mqtt.md. Anything else in it is skipped."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

Name = Annotated[str, msgspec.Meta(max_length=100)]
Digest = Annotated[str, msgspec.Meta(pattern=r"\A([0-9a-f]{64})?\Z")]
MOST_BYTES, MOST_PROFILE_BYTES = 256 << 10, 4 << 20
"""Of a message: a decision scores up to 4096 labels. A profile of a whole campaign has some hundred kB."""

Milliseconds = Annotated[float, msgspec.Meta(ge=-1e7, le=1e7)]
Celsius = Annotated[float, msgspec.Meta(ge=-300, le=1000)]
HopSeconds = Annotated[float, msgspec.Meta(ge=0, le=3600)]
"""Ranges that no wearable leaves. What is reckoned from such numbers stays finite."""


class Sensor(msgspec.Struct, frozen=True):
    """state: None where it is not known."""

    state: Name | None
    reason: str = ""


Sensors = Annotated[dict[Name, Sensor], msgspec.Meta(max_length=32)]


class About(msgspec.Struct, frozen=True):
    """What holds for a whole run. digest: of the bundle's manifest."""

    mmg: Name
    bundle: Annotated[str, msgspec.Meta(max_length=200)]
    digest: Digest
    board: Name
    hop_s: HopSeconds


class Decision(msgspec.Struct, frozen=True):
    """One line of ``mmg-run --format jsonl``. latency_ms: of each stage."""

    label: str
    confidence: float
    sensors: Sensors
    latency_ms: dict[str, Milliseconds]


class State(msgspec.Struct, frozen=True):
    """What is retained of the newest decision; None where there is none."""

    label: str | None
    sensors: Sensors
    latency_ms: Milliseconds | None = None
    dropped: Annotated[int, msgspec.Meta(ge=0, le=1 << 53)] | None = None
    temperature_c: Celsius | None = None


class Notice(msgspec.Struct, frozen=True):
    """A line that the run told."""

    text: str


class Change(msgspec.Struct, frozen=True):
    """The label changes. It says nothing that the decision beside it does not."""

    to: str


class Profile(msgspec.Struct, frozen=True):
    """A report of ``mmg-profile``, which is kept as it came."""

    schema: Literal["mmg-profile/1"]


Status = Literal["online", "offline"]
Message: TypeAlias = "About | Decision | State | Notice | Change | Profile | Status"
KINDS: dict[str, msgspec.json.Decoder[Message]] = {
    "about": msgspec.json.Decoder(About),
    "decision": msgspec.json.Decoder(Decision),
    "state": msgspec.json.Decoder(State),
    "notice": msgspec.json.Decoder(Notice),
    "event": msgspec.json.Decoder(Change),
    "profile": msgspec.json.Decoder(Profile),
}
"""By the last level of a topic."""
STATUS = "status"


def read(kind: str, payload: bytes) -> Message:
    """What a message says. Raises ValueError where it is too long, or not what its topic promises."""
    most = MOST_PROFILE_BYTES if kind == "profile" else MOST_BYTES
    if len(payload) > most:
        raise ValueError(f"has {len(payload)} bytes, and may have {most}")
    if kind == STATUS:
        if payload not in (b"online", b"offline"):
            raise ValueError("is neither online nor offline")
        return "online" if payload == b"online" else "offline"
    try:
        return KINDS[kind].decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"is not one: {error}") from error
