"""What the tests in this folder are given. Without pyserial they skip, so that nothing of theirs is imported here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ports.serial_port.devices import Listener, Server, Terminal


@pytest.fixture
def listener() -> Iterator[Listener]:
    from ports.serial_port.devices import Listener

    listener = Listener()
    yield listener
    for port in listener.ports:
        port.close()


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    from ports.serial_port.devices import Terminal

    with closing(Terminal(tmp_path / "ttyIMU")) as terminal:
        yield terminal


@pytest.fixture
def server() -> Iterator[Server]:
    from ports.serial_port.devices import Server

    with closing(Server()) as server:
        yield server


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that takes seconds takes tenths of them."""
    monkeypatch.setattr("mmg.sources.ports.serial.conversation.TRY_S", 0.2)
    monkeypatch.setattr("mmg.sources.ports.serial.port.STALL_S", 0.15)
    monkeypatch.setattr("mmg.sources.ports.serial.conversation.REOPEN_S", 0.5)
    monkeypatch.setattr("mmg.sources.ports.port.RETRY_S", 0.1)
