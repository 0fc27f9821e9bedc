"""What an encoder made of a sensor, as messages: no sound and no picture can be had from it, and the fusion can."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from mmg.engine.encoded import Encoded, EncodedHop
from mmg.types import State


class HopMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One hop. tokens: base64 of float32, little endian, ``(count, dim)``; empty where it gave none.

    points, shape: as count and tokens, of the signal's own shape; empty where it is not known. motion: how much the
    acceleration varied, in m/s^2.
    """

    hop: int
    state: State
    last_ns: int
    dropped: int
    reason: str = ""
    count: int = 0
    tokens: str = ""
    points: int = 0
    shape: str = ""
    motion: float | None = None


class EncodedNote(msgspec.Struct, frozen=True):
    """What the messages of an Encoded do not tell. messages: how many hops it has."""

    modality: str
    messages: int
    next_hop: int
    first_ns: int | None
    last_ns: int | None
    dropped: int


def pack(encoded: Encoded) -> tuple[list[bytes], EncodedNote]:
    """Its messages, and what they do not tell."""
    note = EncodedNote(
        encoded.modality, len(encoded.hops), encoded.next_hop, encoded.first_ns, encoded.last_ns, encoded.dropped
    )
    return [msgspec.json.encode(_message(hop)) for hop in encoded.hops], note


def unpack(note: EncodedNote, messages: Sequence[bytes]) -> Encoded:
    """As it was. Raises ValueError, msgspec.DecodeError."""
    if len(messages) != note.messages:
        raise ValueError(f"{len(messages)} hops of {note.messages}")
    hops = tuple(_hop(msgspec.json.decode(data, type=HopMessage)) for data in messages)
    return Encoded(note.modality, hops, note.next_hop, note.first_ns, note.last_ns, note.dropped)


def _message(hop: EncodedHop) -> HopMessage:
    known = hop.hop, hop.state, hop.last_ns, hop.dropped, hop.reason
    return HopMessage(*known, *_text(hop.tokens), *_text(hop.shape), hop.motion)


def _text(array: NDArray[Any] | None) -> tuple[int, str]:
    """How many rows, and base64 of them."""
    if array is None:
        return 0, ""
    data = np.ascontiguousarray(array, "<f4")
    rows = data.reshape(-1, data.shape[-1])
    return len(rows), base64.b64encode(rows.tobytes()).decode()


def _array(rows: int, text: str) -> NDArray[np.float32] | None:
    if not rows:
        return None
    return np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float32).reshape(rows, -1)


def _hop(message: HopMessage) -> EncodedHop:
    known = message.state, message.reason, message.last_ns, message.dropped
    tokens, shape = _array(message.count, message.tokens), _array(message.points, message.shape)
    return EncodedHop(message.hop, tokens, *known, shape, message.motion)
