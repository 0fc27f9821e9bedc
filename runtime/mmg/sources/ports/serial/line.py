"""The bytes of an open serial port, as they come; and what pyserial raises when there are none any more."""

from __future__ import annotations

import contextlib
import re
import select
import termios
from typing import Any

from mmg.errors import ConfigError, SourceLost

POLL_S = 0.1
READ_BYTES, MOST_BYTES = 4096, 16384
"""Of one read, and of one wake: so a device that floods does not keep the port from being closed."""
GONE = (OSError, TypeError, termios.error)
"""What pyserial raises when a device is gone: its own errors are OSErrors, those of termios are not."""

_HOST = r"(\[[\w:.%]+\]|[^/?#@:\[\]\s]+):\d{1,5}/?"
_OPTION = r"(ign_set_control|poll_modem|timeout=[\d.]+)"
NETWORK = re.compile(rf"socket://{_HOST}|rfc2217://{_HOST}(\?{_OPTION}(&{_OPTION})*)?", re.IGNORECASE)
"""The URLs of pyserial's that are left. Others do whatever they say: spy:// overwrites a file, alt:// calls a class."""


def check_device(device: str, url: str) -> None:
    """Raises ConfigError for what pyserial takes for a URL, but for that of a port on a network.

    url: how the error names it.
    """
    if "://" in device and not NETWORK.fullmatch(device):
        raise ConfigError(
            f"{url}: a serial port is a path, as in serial:///dev/ttyUSB0, or on a network serial://socket://HOST:PORT "
            "or serial://rfc2217://HOST:PORT"
        )


class SerialLine:
    """An open port, read without ever waiting longer than ``POLL_S``."""

    def __init__(self, port: Any, url: str) -> None:
        """Raises SourceLost."""
        self._port, self._url = port, url
        self._poll: select.poll | None = None
        try:
            descriptor = port.fileno()
        except OSError:  # neither a device nor a socket, such as rfc2217://: these do tell how many bytes are pending
            return
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)
        try:
            port.timeout = 0  # a read gives what is there; set once, because pyserial sets the whole line with it
        except GONE as error:
            raise SourceLost(url, "unplugged") from error

    @property
    def can_be_left(self) -> bool:
        """Whether ``pending`` gives what has come since the last read."""
        return self._poll is not None

    def read(self) -> bytes:
        """All bytes that are pending, ``MOST_BYTES`` or a little more; waits for the first one. Raises SourceLost."""
        if self._poll is not None:
            return self._pending() if self._poll.poll(POLL_S * 1e3) else b""
        try:
            data = self._port.read(1)
            return bytes(data + self._port.read(self._port.in_waiting)) if data else b""
        except GONE as error:
            raise SourceLost(self._url, "unplugged") from error

    def pending(self) -> bytes:
        """The same without waiting. Raises SourceLost."""
        assert self._poll is not None, "read tells what is there"
        return self._pending()

    def _pending(self) -> bytes:
        data = bytearray()
        try:
            while len(data) < MOST_BYTES:  # in_waiting would not do: of a socket it is never more than 1
                piece = self._port.read(READ_BYTES)
                data += piece
                if len(piece) < READ_BYTES:
                    break
        except GONE as error:
            if not data:  # else the last words of the device; the next read says that it is gone
                raise SourceLost(self._url, "unplugged") from error
        return bytes(data)

    def tune(self, baud: int) -> None:
        """Another baud rate, where the adapter has it. Raises SourceLost."""
        try:
            with contextlib.suppress(ValueError):
                self._port.baudrate = baud
        except GONE as error:
            raise SourceLost(self._url, "unplugged") from error
