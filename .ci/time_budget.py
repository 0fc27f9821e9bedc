"""A pytest plugin: the order of files and folders is that of the command line, and tests whose turn comes after
MMG_TEST_BUDGET_S seconds are not run, but counted."""

from __future__ import annotations

import os
import time

import pytest

BUDGET_S = float(os.environ["MMG_TEST_BUDGET_S"])
END_S = time.monotonic() + BUDGET_S
not_run: list[str] = []


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    order = [config.invocation_params.dir / place for place in config.args]
    items.sort(key=lambda item: [item.path.is_relative_to(place) for place in order].index(True))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    """True tells pytest that this test was seen to."""
    if time.monotonic() < END_S:
        return None
    not_run.append(item.nodeid)
    return True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not_run:
        terminalreporter.write_line(f"not run: {len(not_run)} tests, from {not_run[0]} on: {BUDGET_S:g} s were spent")
