"""mmg's own format: a CSV with the columns ``start_s, end_s, label``, in any order and with others beside them."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from io import StringIO

from mmg.labels.label import Label, make_label, seconds_of

COLUMNS = ("start_s", "end_s", "label")
DELIMITERS = (",", ";", "\t")


def is_table(text: str) -> bool:
    """Whether its first line names the columns, or nothing follows that line."""
    lines = text.strip().splitlines()
    return bool(_delimiter(lines[0])) or (len(lines) == 1 and "\t" not in lines[0] and not lines[0][:1].isdigit())


def parse(text: str) -> list[Label]:
    """The labels, row by row. Raises ValueError."""
    text = text.strip("\r\n")
    delimiter = _delimiter(text.splitlines()[0]) or ","
    rows = csv.DictReader(StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    number = float if delimiter == "," else seconds_of
    labels = []
    try:
        for row in rows:
            cells = {str(name).strip(): cell for name, cell in row.items() if name is not None}
            if any(cells.get(name) is None for name in COLUMNS):
                raise ValueError(f"line {rows.line_num}: needs the columns start_s, end_s (seconds) and label")
            try:
                start_s, end_s = number(cells["start_s"]), number(cells["end_s"])
            except ValueError as error:
                raise ValueError(
                    f"line {rows.line_num}: needs the columns start_s, end_s (seconds) and label ({error})"
                ) from error
            try:
                labels.append(make_label(start_s, end_s, cells["label"]))
            except ValueError as error:
                raise ValueError(f"line {rows.line_num}: {error}") from error
    except csv.Error as error:
        raise ValueError(f"line {rows.line_num}: {error}") from error
    return labels


def written(labels: Iterable[Label]) -> str:
    """The same as text, times to the microsecond."""
    text = StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    rows.writerows((_short(one.start_s), _short(one.end_s), one.label) for one in labels)
    return text.getvalue()


def _short(seconds: float) -> str:
    return f"{seconds:.6f}".rstrip("0").rstrip(".")


def _delimiter(line: str) -> str:
    """What parts the columns' names; empty where they are not there."""
    for delimiter in DELIMITERS:
        names = {name.strip().strip('"') for name in line.split(delimiter)}
        if set(COLUMNS) <= names:
            return delimiter
    return ""
