"""Labels of a recording: read from the tools that people label with, checked, and written out again."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmg.errors import ConfigError
from mmg.labels import (
    Label,
    against_recording,
    labels_file,
    overlaps,
    read_labels,
    seconds_by_label,
    until_next,
    write_labels,
)

WALK, SIT = Label(1.0, 3.5, "walking"), Label(4.0, 9.25, "sitting, still")
EAF = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="" FORMAT="3.0" VERSION="3.0"><HEADER MEDIA_FILE="" TIME_UNITS="milliseconds"/>
<TIME_ORDER><TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="4000"/><TIME_SLOT TIME_SLOT_ID="ts2" TIME_VALUE="9250"/>
<TIME_SLOT TIME_SLOT_ID="ts3" TIME_VALUE="1000"/><TIME_SLOT TIME_SLOT_ID="ts4" TIME_VALUE="3500"/></TIME_ORDER>
<TIER LINGUISTIC_TYPE_REF="t" TIER_ID="activity">
<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts2">
<ANNOTATION_VALUE>sitting, still</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a2" TIME_SLOT_REF1="ts3" TIME_SLOT_REF2="ts4">
<ANNOTATION_VALUE>walking</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER>
%s</ANNOTATION_DOCUMENT>
"""
OTHER_TIER = """<TIER LINGUISTIC_TYPE_REF="t" TIER_ID="mood">
<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a3" TIME_SLOT_REF1="ts3" TIME_SLOT_REF2="ts2">
<ANNOTATION_VALUE>glad</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER>"""
SAME = {
    "csv": 'start_s,end_s,label\n4,9.25,"sitting, still"\n1,3.5,walking\n',
    "csv with other columns and a mark of order": "\ufefflabel,note,end_s,start_s\nwalking,,3.5,1\n"
    '"sitting, still",cold,9.25,4\n',
    "csv of a spreadsheet": "start_s;end_s;label\r\n1,0;3,5;walking\r\n4,0;9,25;sitting, still\r\n",
    "audacity": "1.000000\t3.500000\twalking\n4.000000\t9.250000\tsitting, still\n",
    "audacity with decimal commas": "1,000000\t3,500000\twalking\n4,000000\t9,250000\tsitting, still\n",
    "audacity with frequencies": "1.0\t3.5\twalking\n\\\t120.0\t3400.0\n4.0\t9.25\tsitting, still\n\\\t-1.0\t90.0\n",
    "eaf": EAF % "",
    "elan's text": "activity\t\t00:00:01.000\t1.000\t00:00:03.500\t3.500\t00:00:02.500\t2.500\twalking\n"
    "activity\t\t00:00:04.000\t4.000\t00:00:09.250\t9.250\t00:00:05.250\t5.250\tsitting, still\n",
    "elan's text with a header, in milliseconds": "Tier\tParticipant\tBegin Time - msec\tEnd Time - msec\tAnnotation\n"
    "activity\tann\t1000\t3500\twalking\nactivity\tann\t4000\t9250\tsitting, still\n",
    "elan's text of a participant with a number": "activity\t07\t1000\t3500\t2500\twalking\n"
    "activity\t07\t4000\t9250\t5250\tsitting, still\n",
}


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "labels.any"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize("text", SAME.values(), ids=SAME)
def test_every_format_is_known_by_its_content_and_says_the_same(tmp_path: Path, text: str) -> None:
    assert read_labels(written(tmp_path, text)) == (WALK, SIT)


@pytest.mark.parametrize("form", ["csv", "audacity"])
def test_what_is_written_is_read_again(tmp_path: Path, form: str) -> None:
    labels = (Label(0.0, 0.000001, "a"), WALK, SIT, Label(3600.123456, 7200.5, 'with "quotes"'))
    write_labels(reversed(labels), tmp_path / "out", form)
    assert read_labels(tmp_path / "out") == labels
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_point_of_audacity_marks_a_moment(tmp_path: Path) -> None:
    labels = read_labels(written(tmp_path, "2.0\t2.0\tdrinking\n5.0\t5.0\tresting\n"))
    assert [one.seconds for one in labels] == [0.0, 0.0]
    assert "2 of 2 are points" in against_recording(labels, 9.0)[1][0]
    assert until_next(labels, 9.0) == (Label(2.0, 5.0, "drinking"), Label(5.0, 9.0, "resting"))


def test_elan_with_several_tiers_asks_for_one(tmp_path: Path) -> None:
    path = written(tmp_path, EAF % OTHER_TIER)
    with pytest.raises(ConfigError, match="several tiers, 'activity', 'mood': choose one with --tier"):
        read_labels(path)
    assert read_labels(path, tier="mood") == (Label(1.0, 9.25, "glad"),)
    with pytest.raises(ConfigError, match="no labels in tier 'food': it has 'activity', 'mood'"):
        read_labels(path, tier="food")


ENTITIES = '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]>'
BOMB = f'<?xml version="1.0"?>{ENTITIES}<ANNOTATION_DOCUMENT>&c;</ANNOTATION_DOCUMENT>'
WRONG = {
    "empty": ("", "has no row"),
    "blank": (" \n\n", "has no row"),
    "end before start": ("start_s,end_s,label\n0,1,a\n5,4,b\n", "line 3: its end, 4 s, is before its start, 5 s"),
    "end before start in audacity": ("5.0\t4.0\tb\n", "line 1: its end, 4 s"),
    "before the beginning": ("start_s,end_s,label\n-1,1,a\n", "line 2: -1 s is before the recording's beginning"),
    "not finite": ("start_s,end_s,label\n0,inf,a\n", "line 2: 0.0 to inf are no seconds"),
    "no text": ("1.0\t2.0\t\n", "line 1: from 1 to 2 s has no text"),
    "no text in csv": ("start_s,end_s,label\n1,2,\n", "line 2: from 1 to 2 s has no text"),
    "escape sequences": ("1.0\t2.0\t\x1b[31mred\n", "some that cannot be printed"),
    "endless text": (f"1.0\t2.0\t{'x' * 500}\n", "is longer than 80 characters"),
    "latin-1": ("start_s,end_s,label\n1,2,Stühle\n".encode("latin-1"), "save it as UTF-8"),
    "bytes": (bytes(range(256)), "UTF-8"),
    "zeros": (bytes(100), "is no text"),
    "prose": ("walked for a while\nthen sat down\n", "it begins with 'walked for a while'"),
    "two columns of audacity": ("1.0\t2.0\ta\n3.0\t4.0\n", "line 2: is not start, end and text between tabs"),
    "another xml": ("<html><body/></html>", "is XML, but of 'html'"),
    "a cut xml": ((EAF % "")[:400], "is no whole XML document"),
    "an entity bomb": (BOMB, "has a document type"),
    "a tier of nothing": ("<ANNOTATION_DOCUMENT/>", "has no row"),
    "no times": (EAF.replace(' TIME_VALUE="1000"', "") % "", "annotation 'a2': has no time of its own"),
    "no end of figures in elan's text": (f"a\t\t{'9' * 400}\t2000\tx\n", "line 1: inf to 2.0 are no seconds"),
    "no end of hours in elan's text": (
        f"a\t\t{'9' * 400}:00:00.0\t0:00:02.0\tx\n",
        "line 1: inf to 2.0 are no seconds",
    ),
    "a lone quote in the header": ('start_s",end_s,label\n0,1,a\n', "line 2: needs the columns start_s, end_s"),
    "a line of no times in elan's text": ("a\t\t1.000\t2.000\tx\na\t\ty\n", "line 2: has no begin and end"),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_labels_is_told_in_one_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_labels(path)
    told = str(caught.value)
    assert told.startswith(f"{path}: ")
    assert message in told
    assert "\n" not in told
    assert told.isprintable()


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "day.wav"
    with path.open("wb") as stream:
        stream.truncate(1 << 30)
    with pytest.raises(ConfigError, match="holds more than 32 MiB"):
        read_labels(path)


def test_overlaps_are_found_whatever_lies_between() -> None:
    long, inside, after, later = Label(0, 10, "a"), Label(1, 2, "b"), Label(5, 6, "c"), Label(10, 11, "d")
    assert overlaps([later, after, inside, long]) == [(long, inside), (long, after)]
    assert not overlaps([Label(0, 1.0004, "a"), Label(1, 2, "b")]), "tools round"
    assert not overlaps([WALK, Label(2, 2, "a point")])


def test_labels_are_held_against_the_recording() -> None:
    kept, lines = against_recording((WALK, SIT), 9.0)
    assert kept == (WALK, Label(4.0, 9.0, "sitting, still"))
    assert lines == ["'sitting, still' goes 0.25 s past the end and is cut there"]
    with pytest.raises(ValueError, match=r"'sitting, still' from 4 to 9.25 s is past the end .* lasts 8.0 s"):
        against_recording((WALK, SIT), 8.0)
    with pytest.raises(ValueError, match="past the end"):
        against_recording((Label(9.0, 9.5, "late"),), 9.0)
    [line] = against_recording((Label(0, 5, "a"), Label(4, 6, "b")), 9.0)[1]
    assert line.startswith("'a' (0 to 5 s) and 'b' (4 to 6 s) overlap")


def test_the_longest_label_comes_first() -> None:
    assert seconds_by_label([WALK, SIT, Label(9, 10, "walking")]) == {"sitting, still": (5.25, 1), "walking": (3.5, 2)}


def test_labels_lie_beside_their_recording(tmp_path: Path) -> None:
    assert labels_file(tmp_path / "day.mcap") == tmp_path / "day.labels.csv"
    assert labels_file(tmp_path) == tmp_path / "labels.csv"
