"""One line a decision for a person: time, label, confidence, and each sensor with its state."""

from __future__ import annotations

from typing import TextIO

from mmg.printable import as_line
from mmg.types import Decision, SensorState

BAR_CELLS = 10
COLOURS = {"live": "32", "doubted": "33", "warming": "33", "stale": "33", "faulty": "31", "absent": "2", "asleep": "2"}
MARKS = {"live": "●", "doubted": "◒", "warming": "◐", "stale": "○", "faulty": "✗", "absent": "·", "asleep": "z"}
PLAIN_MARKS = {"live": "+", "doubted": "?", "warming": "~", "stale": "o", "faulty": "x", "absent": "-", "asleep": "z"}


class Console:
    """Writes with colours where they are wanted, and in ASCII where the stream cannot hold more."""

    def __init__(self, stream: TextIO, labels: tuple[str, ...], *, colours: bool = False) -> None:
        self._stream, self._colours = stream, colours
        self._width = max(len(label) for label in labels)
        self._encoding = stream.encoding or "ascii"
        try:
            "█░●✓".encode(self._encoding)
            self._cells, self._marks, self._right, self._wrong = "█░", MARKS, "✓", "✗"
        except UnicodeEncodeError:
            self._cells, self._marks, self._right, self._wrong = "#.", PLAIN_MARKS, "=", "!"

    def write(self, decision: Decision, truth: str | None) -> None:
        """One line, flushed."""
        filled = round(decision.confidence * BAR_CELLS)
        bar = self._cells[0] * filled + self._cells[1] * (BAR_CELLS - filled)
        sensors = "  ".join(self._sensor(name, state) for name, state in decision.sensors.items())
        line = (
            f"{decision.t_s:8.1f} s  {self._paint(f'{decision.label:<{self._width}}', '1')}  {bar} "
            f"{decision.confidence:4.0%}  {sensors}"
        )
        if truth is not None:
            right = truth == decision.label
            line += "  " + self._paint(f"{self._right if right else self._wrong} {truth}", "32" if right else "31")
        # A name that the stream cannot hold is escaped; the line goes out.
        self._stream.write(line.encode(self._encoding, "backslashreplace").decode(self._encoding) + "\n")
        self._stream.flush()

    def _sensor(self, name: str, state: SensorState) -> str:
        text = f"{name} {self._marks[state.state]}"
        if state.state == "stale":
            text += f" stale {state.age_ms / 1e3:.1f} s" + (f": {state.reason}" if state.reason else "")
        elif state.state == "faulty":
            text += f" {state.reason}"
        elif state.state == "doubted":
            text += f" doubted: {state.reason}"
        elif state.state != "live":
            text += f" {state.reason or state.state}"
        return self._paint(as_line(text), COLOURS[state.state])

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colours else text
