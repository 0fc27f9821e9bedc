"""pyserial's two ports on a network, with bounds: whoever is at their other end may send without end, and faster than
is read. Import it where ``load_pyserial`` found pyserial.
"""

from __future__ import annotations

import threading
from typing import Any

from serial import PortNotOpenError, SerialException, rfc2217
from serial.urlhandler import protocol_socket

MOST_HELD = 1 << 16
"""Bytes that came and were not read yet: with so many nothing more is received, and the sender has to wait."""
LONGEST_OPTION = 64
"""Bytes of a subnegotiation; those of RFC 2217 have six at most, but for a signature that nobody asks for."""
STOP_S = 0.1
IAC, SE, SB = 255, 240, 250
NEGOTIATIONS = range(251, 255)
"""WILL, WONT, DO, DONT (RFC 854); an option follows."""


def network_port(device: str, **settings: Any) -> Any:
    """A closed port for a ``socket://`` or ``rfc2217://`` URL. settings: of ``serial.Serial``. Raises ValueError."""
    kind = SocketPort if device.lower().startswith("socket://") else Rfc2217Port
    port = kind(None, **settings)
    port.port = device
    return port


class SocketPort(protocol_socket.Serial):  # type: ignore[misc]
    """Raw bytes over TCP."""

    def reset_input_buffer(self) -> None:
        """Nothing: pyserial reads until nothing comes, which may be never, and a new connection has nothing old."""


class Rfc2217Port(rfc2217.Serial):  # type: ignore[misc]
    """A port of another machine (RFC 2217). pyserial's own reader holds whatever comes, a byte an object."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        self._begin()
        super().__init__(*arguments, **settings)

    def open(self) -> None:
        """See pyserial. Raises SerialException, ValueError, OSError."""
        self._begin()
        self._forgets = True  # else what nobody reads yet would stand before the answers
        super().open()
        self._forgets = False

    @property
    def in_waiting(self) -> int:
        """How many bytes came and were not read yet."""
        return len(self._came)

    def read(self, size: int = 1) -> bytes:
        """What is there, at most ``size``; waits for the first byte for as long as ``timeout``. Raises
        SerialException."""
        if not self.is_open:
            raise PortNotOpenError()
        with self._news:
            self._news.wait_for(lambda: self._came or self._ended, self._timeout)
            data = bytes(self._came[:size])
            del self._came[:size]
            self._news.notify_all()
            if not data and self._ended:
                raise SerialException("the connection ended")
        return data

    def reset_input_buffer(self) -> None:
        """Forget what came, once: more may come meanwhile. Raises SerialException."""
        self.rfc2217_send_purge(rfc2217.PURGE_RECEIVE_BUFFER)
        with self._news:
            self._came.clear()
            self._news.notify_all()

    def _begin(self) -> None:
        self._came, self._news, self._ended = bytearray(), threading.Condition(), False
        self._forgets = False
        self._option: bytearray | None = None  # a subnegotiation that has begun
        self._command = 0  # IAC or what followed it, until the sequence is whole

    def _reconfigure_port(self) -> None:
        """See pyserial, which waits for answers here."""
        before, self._forgets = self._forgets, True
        try:
            super()._reconfigure_port()
        finally:
            self._forgets = before

    def _telnet_read_loop(self) -> None:
        """The reader thread, as pyserial starts it."""
        try:
            while self.is_open:
                try:
                    data = self._socket.recv(1024)
                except TimeoutError:
                    continue
                if not data:
                    break
                self._hand_on(self._plain(data))
        except (OSError, ValueError, AttributeError):
            pass  # the connection or the protocol broke, or the port was closed meanwhile: the next read says so
        finally:
            with self._news:
                self._ended = True
                self._news.notify_all()

    def _hand_on(self, data: bytes) -> None:
        with self._news:
            while len(self._came) >= MOST_HELD and self.is_open and not self._forgets:
                self._news.wait(STOP_S)
            if self._forgets:
                self._came.clear()
            else:
                self._came += data
            self._news.notify_all()

    def _plain(self, data: bytes) -> bytes:
        """What of this is not Telnet's. Raises ValueError where it breaks the protocol."""
        plain = bytearray()
        for byte in data:
            if self._command in NEGOTIATIONS:
                self._telnet_negotiate_option(bytes((self._command,)), bytes((byte,)))
                self._command = 0
            elif self._command == IAC and byte != IAC:
                self._command = byte if byte in NEGOTIATIONS else 0
                if byte == SB:
                    self._option = bytearray()
                elif byte == SE and self._option is not None:
                    self._telnet_process_subnegotiation(bytes(self._option))
                    self._option = None
            elif byte == IAC and not self._command:
                self._command = IAC
            else:
                self._command = 0
                (plain if self._option is None else self._option).append(byte)
                if self._option is not None and len(self._option) > LONGEST_OPTION:
                    raise ValueError("a subnegotiation that does not end")
        return bytes(plain)
