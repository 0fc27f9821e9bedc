"""Sinks: a line for a person, and the line that other programs rely on."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from mmg.cli.output import wants_colours
from mmg.sinks.console import Console
from mmg.sinks.jsonl import JsonLines
from mmg.types import Decision, SensorState, State

LABELS = ("still", "walking", "sitting_down")
DECISION = Decision(
    hop=24,
    t_s=12.5,
    label="walking",
    confidence=0.734_567_89,
    scores={"still": 0.2, "walking": 0.734_567_89, "sitting_down": 0.065_432_11},
    modalities=("imu", "audio"),
    sensors={
        "imu": SensorState("live", 20.0, 0),
        "audio": SensorState("live", 0.062_5, 3),
        "video": SensorState("absent", 0.0, 0),
    },
    embedding=(0.1, 0.2),
    latency_ms={"imu": 0.123_456, "fusion": 0.5},
)


class Terminal(io.StringIO):
    """A stream that is a terminal, and holds any character."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def console(encoding: str = "utf-8", *, colours: bool = False) -> tuple[Console, io.BytesIO]:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    raw.wrapper = stream  # type: ignore[attr-defined]  # else the stream closes the bytes when it goes
    return Console(stream, LABELS, colours=colours), raw


def line_of(decision: Decision, truth: str | None = None, encoding: str = "utf-8") -> str:
    sink, raw = console(encoding)
    sink.write(decision, truth)
    text = raw.getvalue().decode(encoding)
    assert text.endswith("\n")
    assert text.count("\n") == 1
    return text[:-1]


# --- for a person --------------------------------------------------------------------------------------------------


def test_a_line_tells_time_label_confidence_and_each_sensor() -> None:
    expected = "    12.5 s  walking       ███████░░░  73%  imu ●  audio ●  video · absent"
    assert line_of(DECISION) == expected


def test_a_line_tells_whether_the_decision_is_right() -> None:
    assert line_of(DECISION, "walking").endswith("video · absent  ✓ walking")
    assert line_of(DECISION, "still").endswith("video · absent  ✗ still")


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (SensorState("live", 20, 0), "imu ●"),
        (SensorState("warming", 20, 0), "imu ◐ warming"),
        (SensorState("stale", 2345, 0), "imu ○ stale 2.3 s"),
        (SensorState("faulty", 20, 0, "flat line"), "imu ✗ flat line"),
        (SensorState("doubted", 20, 0, "2% of its samples are spikes"), "imu ◒ doubted: 2% of its samples are spikes"),
        (SensorState("absent", 0, 0), "imu · absent"),
    ],
)
def test_each_state_is_told_in_words(state: SensorState, text: str) -> None:
    assert line_of(replace(DECISION, sensors={"imu": state})).endswith(f"73%  {text}")


@pytest.mark.parametrize(("confidence", "bar"), [(0.0, "░" * 10), (0.04, "░" * 10), (0.96, "█" * 10), (1.0, "█" * 10)])
def test_the_bar_has_ten_cells(confidence: float, bar: str) -> None:
    assert f" {bar} " in line_of(replace(DECISION, confidence=confidence))


def test_labels_are_as_wide_as_the_widest() -> None:
    lines = [line_of(replace(DECISION, label=label)) for label in LABELS]
    assert len({line.index("█") for line in lines}) == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_stream_that_holds_no_more_gets_ascii(encoding: str) -> None:
    states: tuple[State, ...] = ("live", "doubted", "warming", "stale", "faulty", "absent")
    sensors = {f"s{number}": SensorState(state, 100, 0) for number, state in enumerate(states)}
    line = line_of(replace(DECISION, sensors=sensors), "still", encoding)
    assert line.isascii()
    assert line.endswith(
        "#######...  73%  s0 +  s1 ? doubted:   s2 ~ warming  s3 o stale 0.1 s  s4 x   s5 - absent  ! still"
    )
    assert line_of(DECISION, "walking", encoding).endswith("= walking")


def test_a_stream_without_an_encoding_gets_ascii() -> None:
    stream = io.StringIO()
    Console(stream, LABELS).write(DECISION, "still")
    assert stream.getvalue().isascii()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_name_that_the_stream_cannot_hold_is_escaped(encoding: str) -> None:
    line = line_of(replace(DECISION, label="走る"), "跑步", encoding)
    assert "\\u8d70\\u308b" in line
    assert line.endswith("! \\u8dd1\\u6b65")


def test_colours_change_nothing_else() -> None:
    terminal = Terminal()
    Console(terminal, LABELS, colours=True).write(DECISION, "still")
    text = terminal.getvalue()
    assert "\x1b[1mwalking     \x1b[0m" in text
    assert "\x1b[32mimu ●\x1b[0m" in text
    assert "\x1b[2mvideo · absent\x1b[0m" in text
    assert "\x1b[31m✗ still\x1b[0m" in text
    for code in ("0", "1", "2", "31", "32", "33"):
        text = text.replace(f"\x1b[{code}m", "")
    assert text == line_of(DECISION, "still") + "\n"


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_a_terminal_gets_colours_unless_it_declines_them(
    environment: dict[str, str], wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert wants_colours(Terminal()) is wanted
    assert not wants_colours(io.StringIO())


def test_both_sinks_flush_each_line() -> None:
    class Counting(io.StringIO):
        flushed = 0

        def flush(self) -> None:
            self.flushed += 1

    for make in (lambda stream: Console(stream, LABELS), JsonLines):
        stream = Counting()
        sink: Console | JsonLines = make(stream)
        for _ in range(3):
            sink.write(DECISION, None)
        assert stream.flushed == 3


# --- for programs --------------------------------------------------------------------------------------------------


def object_of(decision: Decision, truth: str | None = None) -> dict[str, object]:
    stream = io.StringIO()
    JsonLines(stream).write(decision, truth)
    text = stream.getvalue()
    assert text.endswith("\n")
    assert text.count("\n") == 1
    found: dict[str, object] = json.loads(text)
    return found


def test_a_json_line_has_exactly_the_keys_that_were_promised() -> None:
    assert object_of(DECISION) == {
        "t": 12.5,
        "label": "walking",
        "confidence": 0.734568,
        "scores": {"still": 0.2, "walking": 0.734568, "sitting_down": 0.065432},
        "modalities": ["imu", "audio"],
        "sensors": {
            "imu": {"state": "live", "age_ms": 20.0, "dropped": 0},
            "audio": {"state": "live", "age_ms": 0.062, "dropped": 3},
            "video": {"state": "absent", "age_ms": 0.0, "dropped": 0},
        },
        "latency_ms": {"imu": 0.123, "fusion": 0.5},
    }


def test_the_keys_keep_their_order() -> None:
    assert list(object_of(DECISION)) == ["t", "label", "confidence", "scores", "modalities", "sensors", "latency_ms"]


def test_the_truth_the_reason_and_the_note_are_there_only_where_they_are_known() -> None:
    assert object_of(DECISION, "still") == object_of(DECISION) | {"truth": "still"}
    faulty = object_of(replace(DECISION, sensors={"imu": SensorState("faulty", 1.0, 0, "flat line")}))
    assert faulty["sensors"] == {"imu": {"state": "faulty", "age_ms": 1.0, "dropped": 0, "reason": "flat line"}}
    odd = object_of(replace(DECISION, sensors={"imu": SensorState("live", 1.0, 0, note="its clock stands still")}))
    assert odd["sensors"] == {"imu": {"state": "live", "age_ms": 1.0, "dropped": 0, "note": "its clock stands still"}}


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_json_line_holds_any_label_on_any_stream(encoding: str) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    JsonLines(stream).write(replace(DECISION, label='say "走る"'), None)
    assert json.loads(raw.getvalue())["label"] == 'say "走る"'
