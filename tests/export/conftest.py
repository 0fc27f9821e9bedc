"""What tests of the exporter share because it takes long."""

from __future__ import annotations

import fcntl
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from conversions import SharedForkServer
from own_model_page import Page, run_page


@pytest.fixture(scope="session", autouse=True)
def _share(shared_conversions: SharedForkServer) -> None:
    """All of them."""


@pytest.fixture(scope="session")
def page(session_folder: Path) -> Iterator[Page]:
    """docs/bring-your-own-model.md, run once a session; its modules can be imported."""
    folder = session_folder / "page"
    with (session_folder / "page.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be running it
        kept = session_folder / "page.json"
        if not kept.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a process in which it failed
            folder.mkdir()
            kept.write_text(json.dumps(asdict(run_page(folder)), default=str))
    read = json.loads(kept.read_text())
    sys.path.insert(0, str(folder))
    yield Page(folder, read["printed"], read["shown"])
    sys.path.remove(str(folder))
