"""The file of what was taught: msgpack of float16, schema ``mmg-taught/1``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from mmg.atomic_write import atomic_write
from mmg.errors import ConfigError
from mmg.teaching.taught import MOST_ACTIVITIES, MOST_EXAMPLES, Example, Taught
from mmg.teaching.trace import Trace

MOST_BYTES = 64 << 20
LARGEST = float(np.finfo(np.float16).max)
Sizes = tuple[int, int, int]


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every part is immutable and refuses keys it does not know."""


class _Trace(_Part, frozen=True):
    """Little-endian float16 and its sizes, of tokens and of shape."""

    token_sizes: Sizes
    tokens: bytes
    shape_sizes: Sizes
    shape: bytes


class _Activity(_Part, frozen=True):
    name: str
    examples: list[dict[str, _Trace]]


class _File(_Part, frozen=True):
    schema: Literal["mmg-taught/1"]
    encoders: dict[str, str]
    activities: list[_Activity]
    background: dict[str, list[_Trace]]


def write_taught(path: Path, taught: Taught) -> None:
    """Replace the file by a whole one, which only its owner may read. Raises ConfigError."""
    try:
        _check_alike(taught)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    activities = [
        _Activity(one.name, [{name: _packed(trace) for name, trace in ex.traces.items()} for ex in one.examples])
        for one in taught.activities
    ]
    background = {name: [_packed(trace) for trace in traces] for name, traces in taught.background.items()}
    data = msgspec.msgpack.encode(_File("mmg-taught/1", dict(taught.encoders), activities, background))
    if len(data) > MOST_BYTES:
        raise ConfigError(f"{path}: would be {len(data) >> 20} MiB, and {MOST_BYTES >> 20} can be: remove an activity")
    try:
        if path.exists():
            path.chmod(0o600)  # a file that is replaced keeps its own permissions
        with atomic_write(path, 0o600) as stream:
            stream.write(data)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error


def read_taught(path: Path) -> Taught:
    """What was taught. Raises ConfigError where this is no such file, or a damaged one."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; mmg-teach writes such a file") from error
    if len(data) > MOST_BYTES:
        raise ConfigError(f"{path}: is larger than {MOST_BYTES >> 20} MiB, and so not what mmg-teach wrote")
    try:
        file = msgspec.msgpack.decode(data, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        problem = "is cut or damaged" if b"mmg-taught/" in data[:64] else "is not what mmg-teach wrote"
        raise ConfigError(f"{path}: {problem}: take a copy, or teach it again") from error
    try:
        return _unpacked(file)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _unpacked(file: _File) -> Taught:
    if len(file.activities) > MOST_ACTIVITIES:
        raise ConfigError(f"{len(file.activities)} activities, and {MOST_ACTIVITIES} can be")
    taught = Taught(dict(file.encoders))
    for activity in file.activities:
        if activity.name in taught.names:
            raise ConfigError(f"{activity.name[:40]!a} is in it twice")
        if not 1 <= len(activity.examples) <= MOST_EXAMPLES:
            raise ConfigError(f"{activity.name[:40]!a} has {len(activity.examples)} examples")
        for example in activity.examples:
            taught = taught.add(activity.name, Example({name: _trace(one) for name, one in example.items()}))
    for modality, traces in file.background.items():
        taught = taught.with_background(modality, [_trace(one) for one in traces])
    _check_alike(taught)
    return taught


def _check_alike(taught: Taught) -> None:
    """All traces of a modality have one width of tokens and one of shape. Raises ConfigError."""
    widths: dict[str, tuple[int, ...]] = {}
    traces = [item for one in taught.activities for example in one.examples for item in example.traces.items()]
    traces += [(name, trace) for name, kept in taught.background.items() for trace in kept]
    for name, trace in traces:
        width = trace.tokens.shape[1:] + trace.shape.shape[1:]
        if widths.setdefault(name, width) != width or 0 in trace.tokens.shape:
            raise ConfigError(f"its {name} examples are not of one width: teach it again")


def _packed(trace: Trace) -> _Trace:
    tokens, shape = (np.clip(array, -LARGEST, LARGEST).astype("<f2").tobytes() for array in (trace.tokens, trace.shape))
    return _Trace(_sizes(trace.tokens), tokens, _sizes(trace.shape), shape)


def _sizes(array: NDArray[np.float32]) -> Sizes:
    first, second, third = array.shape
    return first, second, third


def _trace(packed: _Trace) -> Trace:
    return Trace(_array(packed.tokens, packed.token_sizes), _array(packed.shape, packed.shape_sizes))


def _array(data: bytes, sizes: Sizes) -> NDArray[np.float32]:
    if min(sizes) < 0 or math.prod(sizes) * 2 != len(data):
        raise ConfigError("its sizes do not fit what it holds: take a copy, or teach it again")
    return np.frombuffer(data, "<f2").astype(np.float32).reshape(sizes)
