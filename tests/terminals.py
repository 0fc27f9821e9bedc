"""A terminal of a test's own, and what a person sees on it."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import termios


class Terminal:
    """A pty as standard error, and what a person sees on it."""

    def __init__(self, columns: int, encoding: str = "utf-8") -> None:
        self.ours, self.theirs = os.openpty()
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.stream = open(self.theirs, "w", buffering=1, encoding=encoding, closefd=False)  # noqa: SIM115
        self.written = b""

    def screen(self) -> list[str]:
        """The lines on it; the last is empty where the cursor stands below them all."""
        self.stream.flush()
        os.write(self.theirs, b"\0")  # there is always something to read
        while not self.written.endswith(b"\0"):
            self.written += os.read(self.ours, 65536)
        self.written = self.written[:-1]
        return seen(self.written)

    def close(self) -> None:
        self.stream.close()
        os.close(self.ours)
        os.close(self.theirs)


def seen(written: bytes) -> list[str]:
    lines, column = [""], 0
    for part in re.findall(r"\x1b\[K|\r|\n|[^\x1b\r\n]+|.", written.decode()):
        if part == "\n":
            lines.append("")
        elif part == "\r":
            column = 0
        elif part == "\x1b[K":
            lines[-1] = lines[-1][:column]
        else:
            lines[-1] = lines[-1][:column].ljust(column) + part + lines[-1][column + len(part) :]
            column += len(part)
    return lines
