"""``jsonl:decisions.jsonl``: a file of JSON lines, to which a run appends."""

from __future__ import annotations

import os

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
            # Not truncated: a service that starts again goes on where it was. A pipe that nobody reads does not block.
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC
            self._file = os.open(url.path, flags, 0o644)
        except OSError as error:
            raise ConfigError(f"--to {url}: cannot be written to: {error.strerror}") from error

    def write(self, event: Event) -> None:
        """Raises SinkError where the line is lost."""
        assert isinstance(event, Decided)
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
