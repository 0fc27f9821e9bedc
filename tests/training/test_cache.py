"""Rendered sessions on disk: the same as rendered ones, and never in the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmg_training import wearer
from mmg_training.data import cache
from mmg_training.data.sessions import Session
from numpy.typing import NDArray


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MMG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Renderer:
    """Two sessions of noise, and how often they were rendered."""

    def __init__(self) -> None:
        self.rendered = 0

    def __call__(self) -> Iterator[Session]:
        self.rendered += 1
        for number in range(2):
            rng = np.random.default_rng(number)
            samples: dict[str, NDArray[Any]] = {
                "imu": rng.standard_normal((100, 6)).astype(np.float32),
                "audio": rng.integers(-99, 99, 32_000).astype(np.int16),
            }
            yield Session("virtual wearer", number, np.full(9, number, np.int16), samples)


def test_what_was_kept_is_what_was_rendered(folder: Path) -> None:
    render, said = Renderer(), list[str]()
    first, again = (cache.cached("two", render, said.append) for _ in range(2))
    assert render.rendered == 1
    assert len(first) == len(again) == 2
    for made, kept in zip(first, again, strict=True):
        assert (made.source, made.subject) == (kept.source, kept.subject)
        np.testing.assert_array_equal(made.labels, kept.labels)
        assert set(made.samples) == set(kept.samples)
        for name, values in made.samples.items():
            assert values.dtype == kept.samples[name].dtype
            np.testing.assert_array_equal(values, kept.samples[name])
    assert said == []
    assert [path.name.partition("-")[0] for path in folder.iterdir()] == ["virtual"]


def test_what_is_damaged_is_rendered_anew(folder: Path) -> None:
    render, said = Renderer(), list[str]()
    cache.cached("two", render, said.append)
    (place,) = folder.iterdir()
    (place / "labels.npy").write_bytes((place / "labels.npy").read_bytes()[:100])
    assert len(cache.cached("two", render, said.append)) == 2
    assert (render.rendered, len(said)) == (2, 1)
    assert "damaged and rendered again" in said[0]
    cache.cached("two", render, said.append)
    assert render.rendered == 2


def test_something_else_is_rendered(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    render = Renderer()
    cache.cached("two", render, print)
    cache.cached("other two", render, print)
    assert render.rendered == 2
    changed = tmp_path / "wearer"
    changed.mkdir()
    (changed / "__init__.py").write_text("# another renderer\n")
    monkeypatch.setattr(wearer, "__file__", str(changed / "__init__.py"))
    cache.cached("two", render, print)
    assert render.rendered == 3
    assert len(list(folder.iterdir())) == 3


def test_where_nothing_can_be_written_it_is_said_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MMG_CACHE", str(tmp_path / "file" / "cache"))
    said: list[str] = []
    assert len(cache.cached("two", Renderer(), said.append)) == 2
    assert len(said) == 1
    assert "are not kept" in said[0]


def test_two_at_once_both_get_them(folder: Path) -> None:
    inner = Renderer()

    def render() -> Iterator[Session]:
        cache.cached("two", inner, print)  # somebody else is done first
        yield from inner()

    said: list[str] = []
    assert len(cache.cached("two", render, said.append)) == 2
    assert said == []
    assert len(list(folder.iterdir())) == 1
