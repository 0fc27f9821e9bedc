"""docs/cases.md names every small input that once failed, and tests that exist."""

from __future__ import annotations

import re

import pytest
from recordings import CASES, ROOT

PAGE = (ROOT / "docs" / "cases.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| `")]
NO_INPUTS = {"expected.md", "fakemic.c"}


def test_every_case_has_a_row_that_says_what_it_is_and_what_comes_of_it() -> None:
    if not CASES.is_dir():
        pytest.skip(f"there is no {CASES}: set MMG_CASES to the folder of cases")
    found = [path for part in ("files", "live") for path in (CASES / part).rglob("*") if path.is_file()]
    inputs = {str(path.relative_to(CASES)) for path in found if path.name not in NO_INPUTS}
    assert inputs == {row[0].strip("`") for row in ROWS}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].strip("`"))
def test_a_row_names_tests_that_exist(row: list[str]) -> None:
    _, what, comes, tests = row
    assert what
    assert comes
    named = re.findall(r"`([^`]+)`", tests)
    assert named
    for one in named:
        path, _, name = one.partition("::")
        function, _, _ = name.partition("[")
        assert f"def {function}(" in (ROOT / "tests" / path).read_text(), one
