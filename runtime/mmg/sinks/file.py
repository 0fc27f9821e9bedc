"""``jsonl:decisions.jsonl``: a file of JSON lines, to which a run appends."""

from __future__ import annotations

import errno
import os
import stat

from mmg_device_profiles.regular_file import is_removed, open_regular

from mmg.errors import ConfigError, SinkError
from mmg.sinks.event import Decided, Event
from mmg.sinks.url import SinkUrl


class JsonFile:
    """A file to which each decision is appended as one line. What cannot be written whole leaves no part behind."""

    takes: tuple[type[Event], ...] = (Decided,)

    def __init__(self, url: SinkUrl) -> None:
        url.allow(())
        self._url = url
        try:
            # Not truncated: a service that starts again goes on where it was. A pipe that nobody reads is refused now,
            # and one that is read slowly holds up its own thread alone. What the wearer does is the owner's.
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC
            self._file = os.open(url.path, flags, 0o600)
            os.set_blocking(self._file, True)
            _end_torn_line(url.path, self._file)
        except OSError as error:
            why = "nobody reads this pipe" if error.errno == errno.ENXIO else error.strerror
            raise ConfigError(f"--to {url}: cannot be written to: {why}") from error

    def write(self, event: Event) -> None:
        """Raises SinkError where the line is lost."""
        assert isinstance(event, Decided)
        if is_removed(self._file, self._url.path):
            raise SinkError(str(self._url), "the file was removed, and only another run makes it anew")
        line = f"{event.line}\n".encode()
        written = 0
        try:
            while written < len(line):
                written += os.write(self._file, line[written:])
        except OSError as error:
            self._take_back(written)
            raise SinkError(str(self._url), error.strerror or str(error)) from error

    def _take_back(self, written: int) -> None:
        """Of a line that a full disk cut: the next one must not be joined to it."""
        if written:
            try:
                os.ftruncate(self._file, os.fstat(self._file).st_size - written)
            except OSError:
                return  # a pipe: its reader has that part already

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)


def _end_torn_line(path: str, file: int) -> None:
    """A power cut may leave a part of a line, to which the next one must not be joined."""
    status = os.fstat(file)
    if stat.S_ISREG(status.st_mode) and status.st_size:
        with open_regular(path) as written:
            written.seek(-1, os.SEEK_END)
            if written.read() != b"\n":
                os.write(file, b"\n")
