"""What tests of the exporter share because it takes minutes."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from own_model_page import Page, run_page


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """docs/bring-your-own-model.md, run once; its modules can be imported."""
    run = run_page(tmp_path_factory.mktemp("page"))
    sys.path.insert(0, str(run.folder))
    yield run
    sys.path.remove(str(run.folder))
