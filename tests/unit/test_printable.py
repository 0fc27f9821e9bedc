"""Foreign text, and the one place that says what of it may be shown."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from mmg.cli.doctor import _print
from mmg.printable import LONGEST, as_cell, as_line, as_lines, printable
from mmg_training.evaluation.tables import Table, markdown
from recordings import ROOT


def own_ways(path: Path) -> int:
    """How often a module makes ``?`` of what is not printable by itself."""
    return sum(
        isinstance(node, ast.IfExp)
        and isinstance(node.orelse, ast.Constant)
        and node.orelse.value == "?"
        and "isprintable" in ast.unparse(node.test)
        for node in ast.walk(ast.parse(path.read_text()))
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("wäsche, 91 % ✓", "wäsche, 91 % ✓"),
        ("\x1b[31mred", "?[31mred"),
        ("a\nb\r\u2028c", "a?b??c"),
        ("\0\x9b\udcff\u202e", "????"),
        ("", ""),
    ],
)
def test_what_would_do_something_becomes_a_question_mark(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_all_of_the_runtime_asks_the_one_function() -> None:
    folder = ROOT / "runtime/mmg"
    found = {str(path.relative_to(folder)) for path in folder.rglob("*.py") if own_ways(path)}
    assert found == {"printable.py"}


def test_the_doctor_keeps_its_own_line_breaks_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    _print("a \x1b[2J\n  b\rc")
    assert capsys.readouterr().out == "a ?[2J\n  b?c\n"


def test_a_line_that_is_too_long_keeps_its_beginning_and_what_to_type_at_its_end() -> None:
    line = as_line(f"mmg-run: {'x' * 10**6}: pip install av")
    assert len(line) == LONGEST
    assert line.startswith("mmg-run: xxx")
    assert line.endswith("xxx: pip install av")
    assert as_line("y" * LONGEST) == "y" * LONGEST


def test_lines_are_kept_and_what_the_stream_cannot_hold_is_escaped() -> None:
    assert as_lines("wäsche\n\x1b[2J", "ascii") == "w\\xe4sche\n?[2J"
    assert as_lines("wäsche", None) == "w\\xe4sche"


def test_a_name_in_a_table_ends_no_cell_and_begins_no_element() -> None:
    assert as_cell("a | b <script>\n") == "a \\| b &lt;script>?"


def test_a_label_stays_in_its_cell_of_the_tables_of_mmg_eval() -> None:
    table = Table("subsets", "Subsets", ("label", "accuracy"), (("a|b\n<b>", 0.5),), "made")
    rows = [line for line in markdown([table], "mmg-eval").splitlines() if line.startswith("|")]
    assert [row.replace("\\|", "").count("|") for row in rows] == [3, 3, 3]
    assert "<b>" not in rows[2]
