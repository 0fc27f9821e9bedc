"""The wearable on real ports that live runs share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mmg_tools.virtual.scenario import Scenario
    from mmg_tools.virtual.wearable import VirtualWearable


@pytest.fixture(scope="session")
def scenario() -> Scenario:
    from mmg_tools.virtual.scenario import render

    return render(seconds=24.0)


@pytest.fixture
def wearable(scenario: Scenario, tmp_path: Path) -> Iterator[VirtualWearable]:
    from mmg_tools.virtual.wearable import VirtualWearable

    with VirtualWearable(scenario, tmp_path, loop=True) as plugged:
        yield plugged
