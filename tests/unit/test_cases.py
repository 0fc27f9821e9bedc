"""``docs/cases.md`` names every case that is here, and the test that proves what it says of it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CASES = Path(os.environ.get("MMG_CASES", ROOT.parent / "shared" / "cases"))
ROWS = re.findall(r"^\| `([^`]+)` \|.*\| (.+) \|$", (ROOT / "docs" / "cases.md").read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize(("case", "tests"), ROWS)
def test_a_row_names_tests_that_are_there(case: str, tests: str) -> None:
    named = re.findall(r"`([^`]+)::(test_\w+)`", tests)
    assert named, case
    for path, name in named:
        assert f"\ndef {name}(" in (ROOT / path).read_text("utf-8")


@pytest.mark.skipif(not CASES.is_dir(), reason=f"{CASES} is not there: set MMG_CASES")
def test_every_case_has_its_row() -> None:
    files = {str(path.relative_to(CASES / "files")) for path in (CASES / "files").rglob("*") if path.is_file()}
    scripts = {path.name for path in (CASES / "live").iterdir()}
    expected = {path for path in files | scripts if not path.endswith("expected.md")}
    assert expected == {case for case, _ in ROWS}
