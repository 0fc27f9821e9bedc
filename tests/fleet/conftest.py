"""The fleet that tests of what is known and what is kept share."""

from __future__ import annotations

import pytest
from heard import Heard


@pytest.fixture
def heard() -> Heard:
    return Heard()
