"""The film in a camera's place: it begins at the moment, and goes away from who plays it."""

from __future__ import annotations

import select
import time
from pathlib import Path

import numpy as np
import pytest
from mmg_tools.virtual.camera import VirtualCamera
from numpy.typing import NDArray

av = pytest.importorskip("av")

HZ = 8
PATIENCE_S = 5.0


def greys(count: int) -> NDArray[np.uint8]:
    """Every picture tells its number by its brightness."""
    return np.broadcast_to((np.arange(count) * 4 + 20)[:, None, None, None], (count, 48, 64, 3)).astype(np.uint8)


def numbers(path: Path) -> list[int]:
    with av.open(str(path)) as film:
        return [round((frame.to_ndarray(format="gray").mean() - 20) / 4) for frame in film.decode(video=0)]


def test_a_film_begins_at_the_moment_and_goes_to_the_end_or_round(tmp_path: Path) -> None:
    for loop in (False, True):
        camera = VirtualCamera(tmp_path / "camera.mp4", greys(40), HZ, loop=loop)
        camera.begin(time.monotonic_ns() - 2_000_000_000)
        camera.plug()
        seen = numbers(camera.path)
        assert 17 <= seen[0] <= 20
        assert seen == [k % 40 for k in range(seen[0], seen[0] + 40 if loop else 40)]
        camera.close()
        assert list(tmp_path.iterdir()) == []


def test_a_film_is_cut_anew_as_time_goes_on_and_unplugging_ends_all_of_them(tmp_path: Path) -> None:
    camera = VirtualCamera(tmp_path / "camera.mp4", greys(40), HZ, loop=True)
    camera.plug()
    with camera.path.open("rb") as player:
        deadline_s = time.monotonic() + PATIENCE_S
        while numbers(camera.path)[0] < 6:
            assert time.monotonic() < deadline_s
            select.select([], [], [], 0.05)
        camera.unplug()
        assert not camera.path.exists()
        assert player.read() == b""
    camera.plug()
    assert len(numbers(camera.path)) == 40
    camera.close()
