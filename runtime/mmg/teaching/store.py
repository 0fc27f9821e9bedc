"""The file of what was taught: msgpack of float16 and float32, schema ``mmg-taught/2``."""

from __future__ import annotations

import fcntl
import hashlib
import math
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np
from mmg_device_profiles.regular_file import open_regular
from numpy.typing import NDArray

from mmg.atomic_write import atomic_write
from mmg.errors import ConfigError
from mmg.teaching.taught import HOP_S, MOST_ACTIVITIES, MOST_BACKGROUND_HOPS, MOST_EXAMPLES, Example, Taught
from mmg.teaching.trace import Trace, as_kept

MOST_BYTES = 64 << 20
Sizes = tuple[int, int, int]
FEW = msgspec.Meta(max_length=32)
"""As many modalities as a bundle may have. Lists are bounded before they are made: a short trace takes much more memory
than it takes of the file."""


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every part is immutable and refuses keys it does not know."""


class _Trace(_Part, frozen=True):
    """Little-endian float16, or float32 where that has the length, and its sizes, of tokens and of shape."""

    token_sizes: Sizes
    tokens: bytes
    shape_sizes: Sizes
    shape: bytes


class _Activity(_Part, frozen=True):
    name: str
    examples: list[Annotated[dict[str, _Trace], FEW]]


class _File(_Part, frozen=True, omit_defaults=True):
    """sha256: over the same file with an empty one, in hexadecimal digits. hop_s: as ``Taught`` has it."""

    schema: Literal["mmg-taught/2"]
    sha256: str
    encoders: Annotated[dict[str, str], FEW]
    activities: list[_Activity]
    background: Annotated[dict[str, Annotated[list[_Trace], msgspec.Meta(max_length=MOST_BACKGROUND_HOPS)]], FEW]
    hop_s: Annotated[float, msgspec.Meta(ge=0.01, le=60)] = HOP_S


def change_taught(path: Path, change: Callable[[Taught], Taught], begin: Callable[[], Taught] | None = None) -> Taught:
    """Replace the file by a changed one, and return what it has then: what others wrote meanwhile stays in it.

    change: from what the file has now to what it is to have; where that is the same, nothing is written. begin: what a
    file has that is not there; without it there must be one. Whoever changes the file waits for the others: its folder
    is locked meanwhile, and no file is left for that. Raises ConfigError, as ``change`` and ``begin`` do.
    """
    target = Path(os.path.realpath(path))  # a link stays one
    with _locked(path, target.parent):
        now = begin() if begin is not None and not target.exists() else read_taught(path)
        whole = change(now)
        if whole is not now or not target.exists():
            write_taught(path, whole)
    return whole


def write_taught(path: Path, taught: Taught) -> None:
    """Replace the file, or that which a link leads to, by a whole one, which only its owner may read. What others
    write meanwhile is lost: ``change_taught`` keeps it. Raises ConfigError."""
    try:
        _check_alike(taught)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    activities = [
        _Activity(one.name, [{name: _packed(trace) for name, trace in ex.traces.items()} for ex in one.examples])
        for one in taught.activities
    ]
    background = {name: [_packed(trace) for trace in traces] for name, traces in taught.background.items()}
    hop_s = HOP_S if taught.hop_s == HOP_S else taught.hop_s  # a default is left out by its identity
    file = _File("mmg-taught/2", "", dict(taught.encoders), activities, background, hop_s)
    data = msgspec.msgpack.encode(msgspec.structs.replace(file, sha256=_digest(file)))
    if len(data) > MOST_BYTES:
        raise ConfigError(f"{path}: would be {len(data) >> 20} MiB, and {MOST_BYTES >> 20} can be: remove an activity")
    target = Path(os.path.realpath(path))
    try:
        if target.exists():
            _check_writable(path, target.stat())
            target.chmod(0o600)  # a file that is replaced keeps its own permissions
        with atomic_write(target, 0o600) as stream:
            stream.write(data)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error


def check_path(path: Path) -> None:
    """That the file is there and may be replaced, or that one can be made. Raises ConfigError."""
    target = Path(os.path.realpath(path))
    try:
        if target.exists():
            _check_writable(path, target.stat())
        elif not target.parent.is_dir():
            raise ConfigError(f"{path}: there is no folder {target.parent if path.is_symlink() else path.parent}")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error


def _check_writable(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{path}: is no file that can be replaced: name another with -o FILE")
    # The folder would let it be replaced, and root may do everything: its mode says what its owner wants.
    if not status.st_mode & stat.S_IWUSR or not os.access(path, os.W_OK):
        mode = stat.S_IMODE(status.st_mode)
        raise ConfigError(f"{path}: is not writable, with mode {mode:04o}: chmod u+w it, or name another with -o FILE")


@contextmanager
def _locked(path: Path, folder: Path) -> Iterator[None]:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            told = f"{path}: cannot be written, as its folder cannot be locked: {error.strerror}"
            raise ConfigError(f"{told}: choose one on a local disk") from error
        yield
    finally:
        os.close(descriptor)


def read_taught(path: Path) -> Taught:
    """What was taught. Raises ConfigError where this is no such file, or a damaged one."""
    data = _content(path)
    if len(data) > MOST_BYTES:
        raise ConfigError(f"{path}: is larger than {MOST_BYTES >> 20} MiB, and so not what mmg-teach wrote")
    try:
        file = msgspec.msgpack.decode(data, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if b"mmg-taught/1" in data[:64]:
            raise ConfigError(f"{path}: is of an earlier mmg, which wrote mmg-taught/1: teach it again") from error
        problem = "is cut or damaged" if b"mmg-taught/" in data[:64] else "is not what mmg-teach wrote"
        raise ConfigError(f"{path}: {problem}: take a copy, or teach it again") from error
    if file.sha256 != _digest(file):
        raise ConfigError(f"{path}: is damaged, as its SHA-256 says: take a copy, or teach it again")
    try:
        return _unpacked(file)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _content(path: Path) -> bytes:
    """Of a regular file; of another nothing may ever come. Raises ConfigError."""
    try:
        with open_regular(path) as stream:
            return stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; mmg-teach writes such a file") from error


def _digest(file: _File) -> str:
    return hashlib.sha256(msgspec.msgpack.encode(msgspec.structs.replace(file, sha256=""))).hexdigest()


def _unpacked(file: _File) -> Taught:
    if len(file.activities) > MOST_ACTIVITIES:
        raise ConfigError(f"{len(file.activities)} activities, and {MOST_ACTIVITIES} can be")
    taught = Taught(dict(file.encoders), hop_s=file.hop_s)
    for activity in file.activities:
        if activity.name in taught.names:
            raise ConfigError(f"{activity.name[:40]!a} is in it twice")
        if not 1 <= len(activity.examples) <= MOST_EXAMPLES:
            raise ConfigError(f"{activity.name[:40]!a} has {len(activity.examples)} examples")
        for example in activity.examples:
            made = {name: _trace(one) for name, one in example.items()}
            taught = taught.with_kept(activity.name, Example(made))
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
    tokens, shape = (as_kept(array).tobytes() for array in (trace.tokens, trace.shape))
    return _Trace(_sizes(trace.tokens), tokens, _sizes(trace.shape), shape)


def _sizes(array: NDArray[np.float32]) -> Sizes:
    first, second, third = array.shape
    return first, second, third


def _trace(packed: _Trace) -> Trace:
    return Trace(_array(packed.tokens, packed.token_sizes), _array(packed.shape, packed.shape_sizes))


def _array(data: bytes, sizes: Sizes) -> NDArray[np.float32]:
    count = math.prod(sizes)
    if min(sizes) < 0 or max(sizes) > MOST_BYTES or len(data) not in (2 * count, 4 * count):
        raise ConfigError("its sizes do not fit what it holds: take a copy, or teach it again")
    return np.frombuffer(data, "<f2" if len(data) == 2 * count else "<f4").astype(np.float32).reshape(sizes)
