"""How the suite runs: what needs torch or the clock is marked, and what takes long begins first.

``make quick`` leaves out both kinds. ``make test`` runs what needs torch beside the rest, each in workers that take a
file at a time, and then the ``realtime`` tests, which measure whether decisions come in time, without the others.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fuzzing import is_drawn

if TYPE_CHECKING:
    from conversions import SharedForkServer

# A shell ignores Ctrl-C for what it starts in the background, and so would every command that a test starts and stops.
signal.signal(signal.SIGINT, signal.default_int_handler)

HERE = Path(__file__).parent
TORCH = ("export", "training")
"""Folders whose tests all need torch."""
NAMED = ("torch", "realtime", "busy", "alone")
"""Markers that a file has only where it names them, or lies in a folder of ``TORCH``."""
SLOWEST_FIRST = (
    "unit/test_bench.py",
    "export/test_own_model.py",
    "export/test_starter.py",
    "export/test_export_run.py",
    "end_to_end/test_profile_command.py",
    "export",
    "training",
    "end_to_end",
    "ports",
    "batch",
    "fleet",
    "streaming",
    "unit",
)
"""The order in which files and folders begin, so that no core is left with a long file at the end."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """What is not wanted is not even imported: torch need not be installed, and what few files have begins at once."""
    wanted = config.option.markexpr.split(" and ")
    in_torch = collection_path.relative_to(HERE).parts[:1] in [(name,) for name in TORCH]
    if in_torch and "not torch" in wanted:
        return True
    if not collection_path.match("test_*.py"):
        return None
    needed = [name for name in NAMED if name in wanted and not (name == "torch" and in_torch)]
    if not needed:
        return None
    text = collection_path.read_text()
    return not all(f"mark.{name}" in text for name in needed) or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.relative_to(HERE).parts[0]
        if folder in TORCH:
            item.add_marker(pytest.mark.torch)
        if is_drawn(item):
            item.add_marker(pytest.mark.fuzz)
    items.sort(key=lambda item: _place_of(item.path.relative_to(HERE)))


def _place_of(path: Path) -> int:
    named = [name for name in (path.as_posix(), path.parts[0]) if name in SLOWEST_FIRST]
    return SLOWEST_FIRST.index(named[0]) if named else len(SLOWEST_FIRST)


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this session share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if base.name.startswith("popen-") else base  # with xdist each worker has one of its own below


@pytest.fixture(scope="session")
def shared_conversions(session_folder: Path) -> Iterator[SharedForkServer]:
    """Each model file is made once a session, whichever test and process asks for it."""
    from conversions import SharedForkServer, SharedTracer

    server, tracer = SharedForkServer(session_folder / "conversions"), SharedTracer()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmg_export.bundle.ForkServer", lambda: server)
        patch.setattr("mmg_export.bundle.Tracer", lambda: tracer)
        yield server
    server.close()


@pytest.fixture(scope="session", autouse=True)
def caches(session_folder: Path) -> Iterator[None]:
    """What is kept of models that were tried: each is tried once a session, and nothing is left at home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(session_folder / "caches"))
        patch.delenv("CACHE_DIRECTORY", raising=False)
        patch.delenv("STATE_DIRECTORY", raising=False)
        yield
