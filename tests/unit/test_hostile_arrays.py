"""Golden arrays, statistics and what was taught, damaged or made to harm: nothing but an mmg error comes out."""

from __future__ import annotations

import hashlib
import random
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np
import pytest
from fuzzing import times
from goldens import golden_manifest
from hostile import damaged, peak_bytes
from mmg.bundle.golden import GOLDEN, unpack
from mmg.bundle.unknown import Mixture, Statistics, pack, read
from mmg.errors import BundleError, ConfigError, MmgError
from mmg.teaching.store import read_taught, write_taught
from mmg.teaching.taught import Example, Taught
from mmg.teaching.trace import Trace

MIB = 1 << 20


def trace(hops: int = 4) -> Trace:
    return Trace(np.ones((hops, 1, 4), np.float32), np.ones((hops, 5, 6), np.float32))


def taught_file(path: Path) -> Path:
    taught = Taught({"imu": "0" * 64}).add("knock", Example({"imu": trace()})).with_background("imu", [trace(9)])
    write_taught(path, taught)
    return path


def rewritten(path: Path, **fields: object) -> None:
    """With other fields, and the right SHA-256, as someone who knows the format writes it."""
    document = msgspec.msgpack.decode(path.read_bytes()) | fields | {"sha256": ""}
    document["sha256"] = hashlib.sha256(msgspec.msgpack.encode(document)).hexdigest()
    path.write_bytes(msgspec.msgpack.encode(document))


def test_damaged_golden_arrays_are_refused_or_read() -> None:
    manifest, files = golden_manifest()
    dice = random.Random(11)
    for _ in range(times(300)):
        with suppress(BundleError):
            unpack(damaged(files[GOLDEN], dice), manifest, "bundle")


def test_damaged_statistics_are_refused_or_read() -> None:
    dice = random.Random(12)
    numbers = np.random.default_rng(1)

    def mixture(kinds: int) -> Mixture:
        shapes = ((kinds, 2, 2), (kinds, 2), (kinds,), (kinds, 2), (kinds,))
        return Mixture(*(numbers.normal(size=shape).astype(np.float32) for shape in shapes))

    center, basis = np.zeros(4, np.float32), np.ones((2, 4), np.float32)
    data = pack({"imu": Statistics(center, basis, np.ones(1, np.float32), mixture(3), mixture(2))})
    assert read(data, ["imu"], 4, "bundle")
    for _ in range(times(300)):
        with suppress(BundleError):
            read(damaged(data, dice), ["imu"], 4, "bundle")


def test_a_damaged_file_of_what_was_taught_is_refused_or_read(tmp_path: Path) -> None:
    path = taught_file(tmp_path / "mine.taught")
    right, dice = path.read_bytes(), random.Random(13)
    for _ in range(times(300)):
        path.write_bytes(damaged(right, dice))
        with suppress(ConfigError):
            read_taught(path)


def test_a_taught_file_that_someone_altered_and_hashed_anew_is_refused_or_read(tmp_path: Path) -> None:
    path = taught_file(tmp_path / "mine.taught")
    right, dice = path.read_bytes(), random.Random(14)
    for _ in range(times(300)):
        with suppress(msgspec.MsgspecError, UnicodeDecodeError, TypeError):
            document = msgspec.msgpack.decode(damaged(right, dice))
            document["sha256"] = ""
            document["sha256"] = hashlib.sha256(msgspec.msgpack.encode(document)).hexdigest()
            path.write_bytes(msgspec.msgpack.encode(document))
            with suppress(ConfigError):
                read_taught(path)


def test_a_taught_file_of_a_million_tiny_traces_is_refused_before_they_are_made(tmp_path: Path) -> None:
    path = taught_file(tmp_path / "mine.taught")
    tiny = {"token_sizes": [1, 1, 1], "tokens": b"\0\0", "shape_sizes": [1, 0, 0], "shape": b""}
    rewritten(path, background={"imu": [tiny] * 200_000})

    def open_it() -> None:
        with pytest.raises(ConfigError, match="is cut or damaged"):
            read_taught(path)

    assert peak_bytes(open_it) < 68 * MIB  # what is read at most, and little else


@pytest.mark.parametrize("sizes", [[1 << 40, 1 << 40, 1 << 40], [-1, -1, 1], [1 << 62, 4, 0]])
def test_sizes_in_a_taught_file_that_do_not_fit_it_are_refused(tmp_path: Path, sizes: list[int]) -> None:
    path = taught_file(tmp_path / "mine.taught")
    odd = {"token_sizes": sizes, "tokens": b"", "shape_sizes": sizes, "shape": b""}
    rewritten(path, background={"imu": [odd]})
    with pytest.raises(MmgError):
        read_taught(path)


@pytest.mark.parametrize("points", [6000, 6, 4])
@pytest.mark.parametrize("where", ["activities", "background"])
def test_more_points_of_shape_than_can_be_compared_are_refused(tmp_path: Path, where: str, points: int) -> None:
    path = taught_file(tmp_path / "mine.taught")
    long = {"token_sizes": [2, 1, 1], "tokens": bytes(4), "shape_sizes": [2, points, 1], "shape": bytes(4 * points)}
    activity = {"name": "wave", "examples": [{"imu": long}]}
    rewritten(path, **{where: [activity] if where == "activities" else {"imu": [long]}})
    with pytest.raises(ConfigError, match="points a hop; 5, or none, can be"):
        read_taught(path)


def test_an_example_of_more_tokens_than_can_be_aligned_is_refused(tmp_path: Path) -> None:
    path = taught_file(tmp_path / "mine.taught")
    long = {
        "token_sizes": [200, 101, 1],
        "tokens": bytes(2 * 200 * 101),
        "shape_sizes": [200, 5, 1],
        "shape": bytes(2 * 200 * 5),
    }
    rewritten(path, activities=[{"name": "wave", "examples": [{"imu": long}]}])
    with pytest.raises(ConfigError, match="20200 tokens of imu; 20000 can be compared"):
        read_taught(path)
