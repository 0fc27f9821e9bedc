"""Inputs made of others without knowing what they mean: the plain loop, for where atheris is not installed."""

from __future__ import annotations

import math
import random
import re
import struct
from collections.abc import Sequence
from contextlib import suppress

ODD = (0, 1, -1, 127, 128, 255, 256, 32767, -32768, 65535, 1 << 31, (1 << 31) - 1, (1 << 32) - 1, (1 << 63) - 1)
WORDS: tuple[bytes, ...] = (b"nan", b"inf", b"-inf", b"1e999", b"-0", b"null", b"\0", b"\n", b"\r\n", b"\xff\xfe")
WORDS += (b"\xef\xbb\xbf", b'"', b"'", b",", b";", b"\t", b"{", b"}", b"[", b"]", b"<", b"&", b"%00", b"../")
WORDS += (b"9" * 400, b"[" * 200)
FIGURES = (
    b"0",
    b"-1",
    b"1e-300",
    b"1e300",
    b"-1e39",
    b"1e999",
    b"0.5",
    b"4611686018427387904",
    b"-9223372036854775808",
)
REALS = (0.0, math.nan, -math.inf, 1e-300, -1e300, 1e39)
MOST_STEPS = 5


def mutated(pool: Sequence[bytes], draw: random.Random, longest: int) -> bytes:
    """One of the pool, changed in some places. pool: at least one."""
    data = bytearray(draw.choice(pool))
    for _ in range(draw.randint(1, MOST_STEPS)):
        draw.choice(STEPS)(data, draw, pool)
    return bytes(data[:longest])


def _flip(data: bytearray, draw: random.Random, _pool: Sequence[bytes]) -> None:
    if data:
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def _byte(data: bytearray, draw: random.Random, _pool: Sequence[bytes]) -> None:
    if data:
        data[draw.randrange(len(data))] = draw.randrange(256)


def _number(data: bytearray, draw: random.Random, _pool: Sequence[bytes]) -> None:
    size, letter = draw.choice(((1, "B"), (2, "H"), (4, "I"), (8, "Q")))
    if len(data) >= size:
        place = draw.randrange(len(data) - size + 1)
        value = draw.choice(ODD) % (1 << 8 * size)
        data[place : place + size] = struct.pack(draw.choice("<>") + letter, value)


def _word(data: bytearray, draw: random.Random, _pool: Sequence[bytes]) -> None:
    place = draw.randint(0, len(data))
    data[place:place] = draw.choice(WORDS)


def _cut(data: bytearray, draw: random.Random, _pool: Sequence[bytes]) -> None:
    begin, end = sorted((draw.randint(0, len(data)), draw.randint(0, len(data))))
    del data[begin : min(end, begin + 64)]


def _repeat(data: bytearray, draw: random.Random, _pool: Sequence[bytes]) -> None:
    begin, end = sorted((draw.randint(0, len(data)), draw.randint(0, len(data))))
    data[end:end] = data[begin:end] * draw.randint(1, 3)


def _splice(data: bytearray, draw: random.Random, pool: Sequence[bytes]) -> None:
    other = draw.choice(pool)
    begin, end = sorted((draw.randint(0, len(other)), draw.randint(0, len(other))))
    place = draw.randint(0, len(data))
    data[place : place + draw.choice((0, end - begin))] = other[begin:end]


def _shuffle_digit(data: bytearray, draw: random.Random, _pool: Sequence[bytes]) -> None:
    digits = [place for place, byte in enumerate(data[:2000]) if 0x30 <= byte <= 0x39]
    if digits:
        data[draw.choice(digits)] = draw.choice(b"0123456789.-e")


def _figure(data: bytearray, draw: random.Random, _pool: Sequence[bytes]) -> None:
    """A whole figure of a text is another."""
    if found := [match.span() for match in re.finditer(rb"-?\d+(\.\d+)?", data)]:
        begin, end = draw.choice(found)
        data[begin:end] = draw.choice(FIGURES)


def _real(data: bytearray, draw: random.Random, _pool: Sequence[bytes]) -> None:
    letter = draw.choice("fd")
    size = struct.calcsize(letter)
    if len(data) >= size:
        place = draw.randrange(len(data) - size + 1)
        with suppress(OverflowError):  # no float32
            data[place : place + size] = struct.pack(draw.choice("<>") + letter, draw.choice(REALS))


STEPS = (_flip, _byte, _number, _word, _cut, _repeat, _splice, _shuffle_digit, _figure, _real)
