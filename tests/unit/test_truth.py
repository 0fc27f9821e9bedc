"""The truth file: labelled spans of seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmg.errors import ConfigError
from mmg.truth import Truth


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "truth.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_a_span_holds_its_start_and_not_its_end(tmp_path: Path) -> None:
    truth = Truth(written(tmp_path, "start_s,end_s,label\n0,2.5,still\n2.5,4,walking\n6,7,running\n"))
    seconds = (-0.1, 0, 2.499, 2.5, 3.999, 4, 5, 6.5, 7)
    expected = (None, "still", "still", "walking", "walking", None, None, "running", None)
    assert tuple(truth.label_at(t_s) for t_s in seconds) == expected


def test_columns_may_come_in_any_order_and_with_others(tmp_path: Path) -> None:
    truth = Truth(written(tmp_path, 'label,note,end_s,start_s\n"washing, hands",wet,2,1\r\n'))
    assert truth.label_at(1.5) == "washing, hands"


def test_where_spans_overlap_the_first_one_counts(tmp_path: Path) -> None:
    assert Truth(written(tmp_path, "start_s,end_s,label\n0,5,still\n2,3,walking\n")).label_at(2.5) == "still"


@pytest.mark.parametrize(
    "data",
    [
        "0,2.5,still\n2.5,4,walking\n",
        "start,end,label\n0,2,still\n",
        "start_s,end_s\n0,2\n",
        "start_s,end_s,label\nzero,2,still\n",
        "start_s,end_s,label\n0,,still\n",
        "start_s,end_s,label\n0\n",
        b"start_s,end_s,label\n0,2,\xff\xfe\n",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    ],
    ids=["no header", "other names", "no label", "words", "no end", "a short row", "not UTF-8", "a picture"],
)
def test_a_file_that_is_no_truth_names_itself_and_what_it_needs(tmp_path: Path, data: str | bytes) -> None:
    path = written(tmp_path, data)
    with pytest.raises(ConfigError) as caught:
        Truth(path)
    assert str(caught.value).startswith(str(path))
    assert "start_s, end_s (seconds) and label" in str(caught.value)


@pytest.mark.parametrize("name", ["nothing.csv", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Truth(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path))


@pytest.mark.parametrize("text", ["", "start_s,end_s,label\n", "a,b,c\n"])
def test_a_truth_without_a_single_span_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "truth.csv").write_text(text)
    with pytest.raises(ConfigError, match="has no row"):
        Truth(tmp_path / "truth.csv")
