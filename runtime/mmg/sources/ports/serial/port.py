"""Serial IMUs: whatever pyserial can open, in whichever protocol the device speaks."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mmg.errors import ConfigError
from mmg.sources.axes import parse_axes, turn
from mmg.sources.ports.port import STATUS_NS, PortStatus, PortThread
from mmg.sources.ports.serial.conversation import Conversation
from mmg.sources.ports.serial.library import require_pyserial
from mmg.sources.ports.serial.line import SerialLine, check_device
from mmg.sources.ports.serial.opening import open_serial
from mmg.sources.ports.serial.usb import UsbIdentity, find_usb, identify
from mmg.sources.protocols import Counters, Parser, Samples, join, open_parser
from mmg.sources.protocols.text_layout import Headers
from mmg.types import Chunk

if TYPE_CHECKING:
    from mmg.bundle.manifest import Modality
    from mmg.sources.url import SourceUrl

COLUMNS = ("ax", "ay", "az", "gx", "gy", "gz")
TRIPLES = ((0, 1, 2), (3, 4, 5))
BAUD_RATES = (115200, 9600, 921600, 460800, 230400)
"""Tried in turn without ``baud`` until one makes sense; most devices leave the factory with one of the first two."""
STALL_S = 1.0
"""A device that says nothing for so long is shown as stalled."""
REOPEN_MOST_S = 60.0
"""A port that stays silent is opened again at most so long apart."""
TEXT_OPTIONS = ("columns", "acc_unit", "gyro_unit")
OPTIONS = ("protocol", "baud", *TEXT_OPTIONS, "axes", "dtr", "rts", "usb")
SWITCH = {"on": True, "off": False}
FIXED_UNITS = {"acc_unit": "m/s2", "gyro_unit": "rad/s"}
LOSSES = ("checksum_errors", "malformed", "incomplete", "gaps", "duplicates")
PIECES = 8
"""Reads in which the rest of a sample may come: a slow line gives a few bytes at a time."""


class SerialPort(PortThread):
    """``serial:///dev/ttyUSB0?protocol=witmotion&baud=115200``: an IMU on a serial port.

    On a network: ``serial://socket://host:port``, ``serial://rfc2217://host:port``. Without ``protocol`` it is found
    out; without ``baud`` the usual rates are tried. The device is looked for again for ever: with ``usb``, which
    ``mmg.sources.ports.discovery`` adds, also under another name.
    """

    CLOSE_S = 0.25  # a socket of pyserial takes 0.3 s to close, and seconds to connect to nobody

    def __init__(self, url: SourceUrl, modality: Modality, *, root: Path = Path("/")) -> None:
        """root: where ``sys`` and ``dev`` lie. Raises ConfigError for options that cannot be or a modality that is no
        IMU, BackendUnavailable."""
        super().__init__(str(url), modality.name)
        for option in url.options:
            if option not in OPTIONS:
                raise ConfigError(f"{url}: unknown option {option!r}: choose from {', '.join(OPTIONS)}")
        unknown = [channel.name for channel in modality.channels if channel.name not in COLUMNS]
        if unknown:
            raise ConfigError(f"{url}: an IMU does not give {', '.join(unknown)}")
        columns = [COLUMNS.index(channel.name) for channel in modality.channels]
        self._columns = None if columns == list(range(len(COLUMNS))) else columns
        self._needs_gyro = any(c.name in COLUMNS[3:] and not c.optional for c in modality.channels)
        self._named = self._device = url.path
        self._root = root
        self._usb = UsbIdentity.parse(url.options["usb"], self.url) if "usb" in url.options else None
        self._first_usb: UsbIdentity | None = None
        self._stranger = ""
        self._axes = parse_axes(url.options["axes"], self.url) if "axes" in url.options else None
        self._dtr, self._rts = (SWITCH.get(url.one_of(line, SWITCH) or "") for line in ("dtr", "rts"))
        check_device(self._device, str(url))
        self._protocol = url.options.get("protocol", "auto")
        self._text_options = {name: url.options[name] for name in TEXT_OPTIONS if name in url.options}
        baud = url.number("baud", 1200, 12_000_000)
        self._bauds = (int(baud),) if baud is not None else BAUD_RATES
        self._baud_at = self._told_ns = self._newest_ns = 0
        self._baud_works = False
        self._past_losses = dict.fromkeys(LOSSES, 0)  # of the parsers before the present one
        self._headers = Headers()
        self._spoken = ""
        self._new_parser()
        require_pyserial()

    @property
    def declared(self) -> Mapping[str, str]:
        """The units that the protocol fixes, by the option that would change them; none of text."""
        return {} if self._spoken in ("", "text") else FIXED_UNITS

    @property
    def _baud(self) -> int:
        return self._bauds[self._baud_at]

    def _new_parser(self) -> Parser:
        return open_parser(self._protocol, self._headers, **self._text_options)

    def _find(self) -> None:
        """Which device it is now. Raises SourceNotFound, SourceError."""
        if self._usb is not None:
            self._device = find_usb(self._usb, self._named, self._root, self.url)
            return
        usb = identify(self._named, self._root)
        self._first_usb = self._first_usb or usb
        is_other = usb is not None and usb != self._first_usb
        self._stranger = f"another USB device than before: {usb}, not {self._first_usb}" if is_other else ""

    def _session(self) -> None:
        talk = Conversation(self._new_parser(), time.monotonic())
        try:
            while not self._stopping.is_set():
                self._find()
                opened = open_serial(self._device, self._baud, self.url, dtr=self._dtr, rts=self._rts)
                with contextlib.closing(opened) as port:
                    if not talk.is_silent:
                        self._report(talk, "waiting for valid frames")
                    self._listen(talk, SerialLine(port, self.url))
        finally:
            self._part(talk)

    def _part(self, talk: Conversation) -> None:
        """The device is gone, or the port is being closed: what was lost stays counted."""
        self.status = replace(self.status, losses=self._losses(talk.parser.counters))
        self._retire(talk.parser)

    def _listen(self, talk: Conversation, line: SerialLine) -> None:
        """Until the port is closed, or silent for so long that it is worth opening it again."""
        while not self._stopping.is_set():
            held = self._take_rest(talk, line)
            held_ns = time.monotonic_ns()
            data = b"" if held and self._stopping.is_set() else line.read()
            arrival_ns = time.monotonic_ns()
            if data:
                self._hear(talk, line, held + data, arrival_ns, len(data))
            elif held:
                talk.listened_s = arrival_ns / 1e9
                self._hear(talk, line, held, held_ns)
            elif self._wait_on(talk, line, arrival_ns / 1e9):
                return

    def _take_rest(self, talk: Conversation, line: SerialLine) -> bytes:
        """Leave the device alone until the next samples are wanted; returns what it said meanwhile."""
        if not line.can_be_left or not self._rest(self._newest_ns, talk.rest_s(time.monotonic())):
            return b""
        held, talk.woke_s = line.pending(), time.monotonic()
        if not held:
            talk.listened_s = talk.woke_s
        return held

    def _wait_on(self, talk: Conversation, line: SerialLine, now_s: float) -> bool:
        """Notes that still nothing comes; returns whether it is time to open the port again."""
        silent_s = now_s - talk.heard_s
        if silent_s > STALL_S:
            talk.is_silent = True
            word = "stalled" if talk.has_spoken else "silent"
            self._report(talk, f"{word}: nothing for over {_roughly(silent_s)} s")
            if not self._baud_works and talk.has_tuned_long(now_s):
                self._try_next_baud(talk, line, now_s)
        if now_s < talk.reopen_s:
            return False
        talk.reopen_s = now_s + min(silent_s, REOPEN_MOST_S)
        return True

    def _hear(self, talk: Conversation, line: SerialLine, data: bytes, arrival_ns: int, fresh: int = 0) -> None:
        """arrival_ns: of the newest byte. fresh: so many bytes, the last ones, have just come after a rest."""
        now_s = arrival_ns / 1e9
        if talk.hear(now_s):
            self._report(talk, "waiting for valid frames")
        self._handle(talk, line, data, arrival_ns, fresh)
        if talk.makes_no_sense(now_s):
            self._begin_anew(talk, line, now_s)

    def _handle(self, talk: Conversation, line: SerialLine, data: bytes, arrival_ns: int, fresh: int) -> None:
        parser = talk.parser
        samples = parser.feed(data)
        if fresh:
            samples, arrival_ns = self._complete(parser, line, samples, arrival_ns, fresh)
        talk.arrivals.note(parser.counters.bytes_fed, arrival_ns, self._baud)
        if not len(samples):
            return
        self._baud_works = True
        news = talk.understand(arrival_ns / 1e9)
        if self._needs_gyro and not samples.has_gyro:
            self._report(talk, "this IMU has no gyroscope, which this bundle needs")
            return
        arrivals_ns = talk.arrivals.of(samples.last_byte)
        lost, gaps = talk.losses(news, samples, int(arrivals_ns[-1]))
        times_ns = talk.clock.stamp(samples, arrivals_ns, gaps)
        values = samples.values if self._axes is None else turn(samples.values, self._axes, TRIPLES)
        values = values if self._columns is None else values[:, self._columns]
        is_news = lost or news.is_damage or self.status.reason or not self.status.connected
        if is_news or arrival_ns - self._told_ns > STATUS_NS:
            self._report(talk, "")
            self._told_ns = arrival_ns
            talk.measure(arrival_ns / 1e9)
        self._newest_ns = int(times_ns[-1])
        self._deliver(Chunk(self.modality, values, times_ns, dropped=lost))

    def _complete(
        self, parser: Parser, line: SerialLine, samples: Samples, arrival_ns: int, fresh: int
    ) -> tuple[Samples, int]:
        """With a sample that ended just now: of those that came during the rest nobody knows when they came."""
        begin = parser.counters.bytes_fed - fresh
        for _ in range(PIECES):
            if not len(samples) or int(samples.last_byte[-1]) >= begin or self._stopping.is_set():
                break
            if not (rest := line.read()):
                break
            arrival_ns = time.monotonic_ns()
            samples = join((samples, parser.feed(rest)))
        return samples, arrival_ns

    def _begin_anew(self, talk: Conversation, line: SerialLine, now_s: float) -> None:
        """With a fresh parser, as this one may have settled for a wrong protocol, and perhaps at another baud rate.

        But where it knows what the device says, though nothing of use, that is told, and it goes on.
        """
        if (found := talk.parser.finding) is not None:
            self._baud_works = True
            self._report(talk, found.at(self._baud))
            talk.wait_on(now_s)
            return
        if talk.has_tried_enough and not talk.parser.counters.samples:
            self._try_next_baud(talk, line, now_s)
        self._report(talk, "bytes, but no valid frames: wrong protocol or baud?")
        if talk.has_tried_enough:
            self._retire(talk.parser)
            talk.begin(self._new_parser(), now_s)

    def _try_next_baud(self, talk: Conversation, line: SerialLine, now_s: float) -> None:
        """The port stays open: opening it restarts some boards."""
        talk.tuned_s = now_s
        if len(self._bauds) > 1:
            self._baud_at = (self._baud_at + 1) % len(self._bauds)
            line.tune(self._baud)

    def _retire(self, parser: Parser) -> None:
        """Keeps what a parser lost, if it understood the device at all."""
        self._past_losses = dict(self._losses(parser.counters))

    def _losses(self, counters: Counters) -> tuple[tuple[str, int], ...]:
        """All that was lost, by kind. A parser that never understood the device has lost nothing: it was the wrong
        one."""
        understood = counters.samples > 0
        return tuple((kind, self._past_losses[kind] + understood * getattr(counters, kind)) for kind in LOSSES)

    def _report(self, talk: Conversation, reason: str) -> None:
        quality, parser = talk.clock.quality, talk.parser
        self._spoken = parser.name if parser.counters.samples else self._spoken
        is_news = bool(reason) and reason != self.status.reason
        self.status = PortStatus(
            connected=True,
            reason=reason,
            device=f"{parser.name} on {self._device}" if parser.counters.samples else self._device,
            drift_ppm=quality.drift_ppm,
            jitter_ms=quality.jitter_ms,
            uncertainty_ms=quality.uncertainty_ms,
            losses=self._losses(parser.counters),
            note="; ".join(filter(None, (self._stranger, talk.clock.note))),
        )
        if is_news:
            self._lost()


def _roughly(seconds: float) -> int:
    """A power of two below: what is shown changes now and then, not all the time."""
    return 1 << max(int(seconds).bit_length() - 1, 0)
