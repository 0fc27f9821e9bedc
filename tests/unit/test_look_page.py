"""What mmg-look puts on its page: decisions, labels, sizes, and no text that becomes markup."""

from __future__ import annotations

import base64
import json
import re
import zlib
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from look_pages import HOP_S, LABELS, made_content, made_lines
from mmg.errors import ConfigError
from mmg.labels import Label
from mmg.look.content import confusion
from mmg.look.decided import MOST_REASONS, collect, read_lines
from mmg.look.notes import Notes
from mmg.look.page import format_page
from mmg.look.sound import choose_hops
from mmg.look.spans import MOST_SPANS, label_places, within

EVIL = "</script><script>document.documentElement.dataset.evil = 1</script><img src=x onerror='throw 1'>\"&\u2028"
FIVE_MB = 5_000_000


def facts_of(page: bytes) -> dict[str, Any]:
    [text] = re.findall(r'<script type="application/json" id="facts">(.*?)</script>', page.decode(), re.DOTALL)
    facts: dict[str, Any] = json.loads(text)
    return facts


def block_of(page: bytes) -> bytes:
    [text] = re.findall(rb'id="data">([^<]*)<', page)
    return zlib.decompress(base64.b64decode(text))


# Decisions


def test_decisions_become_columns_in_the_order_of_time() -> None:
    decided = collect(made_lines(20), LABELS)
    assert list(decided.times_s) == [HOP_S * (hop + 1) for hop in range(40)]
    assert decided.labels == list(LABELS)
    assert (decided.second == (decided.label + 1) % len(LABELS)).all()
    assert (decided.truth == -1).all()


def test_a_sensor_is_not_shown_as_live_where_nothing_was_decided() -> None:
    lines = [line for line in made_lines(20) if not 5 < line["t"] <= 9]
    runs = collect(lines, LABELS).sensors["imu"]
    at = [next(run.state for run in reversed(runs) if run.start_s <= second) for second in (4.0, 5.2, 8.9, 9.2)]
    assert at == [at[0], "absent", "absent", at[3]]
    assert "absent" not in (at[0], at[3])
    late = collect([line for line in made_lines(20) if line["t"] > 11], LABELS).sensors["imu"]
    assert (late[0].start_s, late[0].state) == (0.0, "absent")


def test_a_label_that_the_bundle_does_not_have_gets_a_place_of_its_own() -> None:
    decided = collect([{"t": 1.0, "label": "juggling", "confidence": 0.5, "truth": "rowing"}], LABELS)
    assert decided.labels == [*LABELS, "juggling", "rowing"]
    assert decided.labels[decided.truth[0]] == "rowing"


def test_a_state_begins_anew_with_another_reason_and_not_with_another_number() -> None:
    reasons = ["", "", "rate is 40.1 Hz", "rate is 40.3 Hz", "flat line"]
    lines = [
        {
            "t": place + 1.0,
            "label": "still",
            "confidence": 1,
            "sensors": {"imu": {"state": "doubted", "reason": reason}},
        }
        for place, reason in enumerate(reasons)
    ]
    runs = collect(lines, LABELS).sensors["imu"]
    assert [(run.start_s, run.reason) for run in runs] == [(0, ""), (2, "rate is 40.1 Hz"), (4, "flat line")]


def test_reasons_without_end_do_not_fill_the_page() -> None:
    lines = [
        {"t": hop + 1.0, "label": "a", "confidence": 1, "sensors": {"imu": {"state": "faulty", "reason": reason}}}
        for hop, reason in enumerate(chr(97 + place % 26) * (1 + place // 26) for place in range(MOST_REASONS + 500))
    ]
    runs = collect(lines, LABELS).sensors["imu"]
    assert len(runs) == MOST_REASONS


@pytest.mark.parametrize(
    "bad",
    [
        '{"t": 2, "label": "a"}',
        '{"label": "a", "confidence": 1}',
        '{"t": "x", "label": "a", "confidence": 1}',
        "[1]",
        "nonsense",
        '{"t": NaN, "label": "a", "confidence": 1}',
        '{"t": 2, "label": "\\ud800", "confidence": 1, "sensors": 3}',
    ],
)
def test_a_line_that_is_no_decision_is_named(tmp_path: Path, bad: str) -> None:
    path = tmp_path / "decisions.jsonl"
    path.write_text(f'{{"t": 1, "label": "a", "confidence": 1}}\n{bad}\n')
    with pytest.raises(ConfigError, match=r"decisions\.jsonl: line 2: is no decision of mmg-run --format jsonl"):
        collect(read_lines(str(path), print), LABELS)


@pytest.mark.parametrize("times", [(1, 1), (2, 1), (-1, 1), (1, 1e12)])
def test_decisions_that_are_not_in_the_order_of_time_are_refused(times: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match="in the order of time"):
        collect([{"t": time, "label": "a", "confidence": 1} for time in times], LABELS)


def test_labels_without_end_are_refused() -> None:
    with pytest.raises(ConfigError, match="name 2000 labels"):
        collect([{"t": hop + 1.0, "label": str(hop), "confidence": 1} for hop in range(2000)], ())


def test_a_last_line_that_was_cut_is_left_out_and_told(tmp_path: Path) -> None:
    path, told = tmp_path / "decisions.jsonl", list[str]()
    path.write_text('{"t": 1, "label": "a", "confidence": 1}\n{"t": 2, "lab')
    assert len(collect(read_lines(str(path), told.append), LABELS).times_s) == 1
    assert told == [f"{path}: the last line is cut, and left out"]


# Labels and truth


def test_spans_outside_the_recording_are_left_out_and_counted() -> None:
    told: list[str] = []
    spans = [Label(5, 7, "c"), Label(8, 20, "b"), Label(11, 12, "past"), Label(-3, -1, "before"), Label(3, 2, "turned")]
    kept = within([*spans, Label(float("nan"), 4, "no time")], 10, "labels", told.append)
    assert kept == [Label(5, 7, "c"), Label(8, 10, "b")]
    assert told == [
        "labels: 2 spans left out: they end before they begin, or name no time",
        "labels: 2 spans left out: they lie outside the recording, which has 10.0 s",
    ]


def test_more_spans_than_a_page_has_room_for_are_counted() -> None:
    told: list[str] = []
    assert len(within([Label(1, 2, "a")] * (MOST_SPANS + 3), 10, "labels", told.append)) == MOST_SPANS
    assert told[0].startswith("labels: 3 spans left out")


def test_where_spans_overlap_the_first_one_counts_as_in_the_truth() -> None:
    places = {"a": 0}
    found = label_places([Label(0, 5, "a"), Label(2, 9, "b")], np.array([1.0, 3, 6, 9]), places)
    assert list(found) == [0, 0, 1, -1]
    assert places == {"a": 0, "b": 1}


def test_the_confusion_matrix_counts_each_pair() -> None:
    pairs = [("a", "a"), ("a", "b"), ("b", "b"), ("a", "a"), ("c", "a")]
    lines = [
        {"t": place + 1.0, "label": label, "confidence": 1, "truth": truth}
        for place, (truth, label) in enumerate(pairs)
    ]
    decided = collect([*lines, {"t": 9.0, "label": "d", "confidence": 1}], ["z", "a", "b", "c"])
    places, counts = confusion(decided)
    assert [decided.labels[place] for place in places] == ["a", "b", "c"]
    assert counts.tolist() == [[2, 1, 0], [0, 1, 0], [1, 0, 0]]


# Sound to be played


def test_a_rare_label_a_mark_and_a_wrong_decision_are_heard() -> None:
    lines = list(made_lines(7200))
    for hop in (9000, 9001, 9002):
        lines[hop]["label"] = "falling"
    lines[4444] |= {"truth": "still", "label": "typing"}
    decided = collect(lines, LABELS)
    kept = choose_hops(decided, [Label(6000, 6001, "here")], HOP_S, 14_400, 800)
    assert 780 <= len(kept) <= 800
    assert {9000, 4443, 12_000, 12_001} <= kept
    assert max(np.diff(sorted(kept))) < 14_400 / 8


def test_all_is_kept_where_all_fits_and_nothing_where_nothing_does() -> None:
    decided = collect((), LABELS)
    assert choose_hops(decided, [], HOP_S, 100, 100) == frozenset(range(100))
    assert choose_hops(decided, [], HOP_S, 100, 0) == frozenset()
    assert 90 <= len(choose_hops(decided, [], HOP_S, 1000, 100)) <= 100


# The page


@pytest.fixture(scope="module")
def day() -> bytes:
    return format_page(made_content(8 * 3600))


def test_a_page_of_eight_hours_of_noise_is_under_five_megabytes(day: bytes) -> None:
    assert 2_000_000 < len(day) < FIVE_MB


def test_a_page_of_a_day_and_a_night_is_under_five_megabytes_and_has_some_sound() -> None:
    page = format_page(made_content(24 * 3600))
    assert len(page) < FIVE_MB
    assert sum(count for _, count in facts_of(page)["sound"]["pieces"]) > 200


def test_the_page_says_what_it_does_not_hold(day: bytes) -> None:
    text = unescape(day.decode())
    assert re.search(r"sound to be played: [\d:]+ min of 8:00:00 h, at 8 kHz in 4 bits a sample", text)
    assert "the rest of the sound was left out" in text
    assert re.search(r"acceleration: the least and the greatest value in each [\d.]+ ms", text)


def test_five_minutes_have_all_of_their_sound() -> None:
    page = format_page(made_content(300))
    assert len(page) < FIVE_MB
    assert b"sound to be played: all of it, at 8 kHz" in page


def test_the_page_needs_nothing_from_elsewhere(day: bytes) -> None:
    text = re.sub(r'id="(data|sound)">[^<]*<', "<", day.decode())
    assert not re.search(r"\b(src|href|srcset|action)\s*=|url\(|@import|https?:|<(link|img|iframe|object)\b", text)
    assert "default-src 'none'" in unescape(text)


def test_what_is_packed_is_what_was_decided(day: bytes) -> None:
    facts, block = facts_of(day), block_of(day)
    decided = collect(made_lines(8 * 3600), LABELS)

    def unpacked(name: str) -> Any:
        one = facts["arrays"][name]
        part = np.frombuffer(block, np.uint8)[one["at"] : one["at"] + one["count"] * (1 + (one["type"] == "int16"))]
        if one["type"] == "uint8":
            return part
        return np.ascontiguousarray(part.reshape(2, -1).T).view("<i2")[:, 0]

    assert np.array_equal(unpacked(facts["decisions"]["label"]), decided.label)
    hops = np.cumsum(unpacked("low_steps").astype(int) + 16384 * unpacked("high_steps").astype(int))
    assert np.allclose(hops * facts["decisions"]["hop_s"], decided.times_s)
    assert np.abs(unpacked("confidence") / 200 - decided.confidence).max() <= 1 / 400 + 1e-6


def test_no_text_of_a_recording_becomes_markup() -> None:
    decided = collect(
        [
            {
                "t": 1.0,
                "label": EVIL,
                "confidence": 1,
                "truth": EVIL,
                "sensors": {EVIL: {"state": EVIL, "reason": EVIL}},
            }
        ],
        [EVIL],
    )
    content = made_content(10, marks=(Label(1, 2, EVIL),), title=EVIL)
    content.decided, content.truth, content.notes = decided, [Label(0, 1, EVIL)], [EVIL]
    content.bundle, content.sources = EVIL, {EVIL: EVIL}
    text = format_page(content).decode()
    assert text.count("<script") == text.count("</script>") == 4
    assert "<img" not in text
    assert "&lt;script&gt;" in text
    assert facts_of(text.encode())["marks"] == [[1, 2, EVIL]]


def test_a_page_without_decisions_sound_or_signals_is_a_page() -> None:
    content = made_content(10, outlines=[], heard=[])
    content.decided = collect((), LABELS)
    text = format_page(content).decode()
    assert "0 decisions" in text
    assert "sound: there is none in this recording" in text
    assert "Time by label" not in text


def test_hundreds_of_labels_do_not_make_a_table_of_hundreds() -> None:
    lines = [
        {"t": hop + 1.0, "label": f"label {hop % 400}", "confidence": 0.5, "truth": f"label {hop % 399}"}
        for hop in range(2000)
    ]
    content = made_content(2000, outlines=[], heard=[])
    content.decided = collect(lines, ())
    page = format_page(content)
    assert len(page) < 400_000
    assert b"and 370 more" in page


def test_what_a_recording_says_twice_is_told_once_and_kept() -> None:
    told: list[str] = []
    notes = Notes(told.append)
    for line in ("a gap", "a gap", "a loss"):
        notes(line)
    assert notes.lines == told == ["a gap", "a loss"]
