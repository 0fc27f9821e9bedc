"""Serial IMUs: whatever pyserial can open, in whichever protocol the device speaks."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
import stat
import termios
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmg.errors import BackendUnavailable, ConfigError, SourceError, SourceNotFound
from mmg.sources.clock.sample_clock import Arrivals, SampleClock
from mmg.sources.ports.port import STATUS_NS, PortStatus, PortThread
from mmg.sources.ports.serial.line import GONE, MOST_GATHERED, POLL_S, SerialLine
from mmg.sources.protocols import Counters, Parser, Samples, open_parser
from mmg.types import Chunk

if TYPE_CHECKING:
    from mmg.bundle.manifest import Modality
    from mmg.sources.url import SourceUrl

COLUMNS = ("ax", "ay", "az", "gx", "gy", "gz")
BAUD_RATES = (115200, 9600, 921600, 460800, 230400)
"""Tried in turn without ``baud`` until one makes sense; most devices leave the factory with one of the first two."""
TRY_S, TRY_BYTES = 2.0, 512
"""How much is listened to without a valid sample before the parser begins anew and the next baud rate is tried."""
STALL_S = 1.0
"""A device that says nothing for so long is shown as stalled."""
REOPEN_S, REOPEN_MOST_S = 5.0, 60.0
"""Silence after which the port is opened again, as adapters hang; then after twice that, and at most so long apart."""
OPTIONS = ("protocol", "baud", "columns", "acc_unit", "gyro_unit")
TEXT_OPTIONS = ("columns", "acc_unit", "gyro_unit")
FIXED_UNITS = {"acc_unit": "m/s2", "gyro_unit": "rad/s"}
LOSSES = ("checksum_errors", "malformed", "incomplete", "gaps", "duplicates")
GATHER_S = 0.03
"""Samples are taken together as far as that: a wake costs more than what is then to be done for one of them."""
KNOWN_SAMPLES = 50
"""Samples after which it is known how many bytes one takes, and how often one comes."""
VALID_FRAMES = 4
"""So many good frames are no chance: the protocol and the baud rate are right."""
FRAMES_A_SAMPLE = 1.5
"""A device with more frames a sample than that sends each sample in several, or others between them."""
VIDEO_MAJOR = 81
"""Of a camera's device node (Documentation/admin-guide/devices.txt of Linux)."""


class SerialPort(PortThread):
    """``serial:///dev/ttyUSB0?protocol=witmotion&baud=115200``: an IMU on a serial port.

    Any URL that pyserial opens works beneath: ``serial://socket://host:port``, ``serial://rfc2217://...``. Without
    ``protocol`` it is found out; without ``baud`` the usual rates are tried. The device is looked for again for ever.
    """

    CLOSE_S = 0.25  # a socket of pyserial takes 0.3 s to close, and seconds to connect to nobody

    def __init__(self, url: SourceUrl, modality: Modality) -> None:
        """Raises ConfigError for options that cannot be or a modality that is no IMU, BackendUnavailable."""
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
        self._device = url.path
        self._protocol = url.options.get("protocol", "auto")
        self._text_options = {name: url.options[name] for name in TEXT_OPTIONS if name in url.options}
        baud = url.number("baud", 1200, 12_000_000)
        self._bauds = (int(baud),) if baud is not None else BAUD_RATES
        self._baud_at = self._told_ns = 0
        self._baud_works = False
        self._past_losses: Counter[str] = Counter()  # of the parsers before the present one
        self._spoken = ""
        self._new_parser()
        _require_pyserial()

    @property
    def declared(self) -> Mapping[str, str]:
        """The units that the protocol fixes, by the option that would change them; none of text, whose lines name none.
        """
        return {} if self._spoken in ("", "text") else FIXED_UNITS

    @property
    def _baud(self) -> int:
        return self._bauds[self._baud_at]

    def _new_parser(self) -> Parser:
        return open_parser(self._protocol, **self._text_options)

    def _session(self) -> None:
        talk = _Conversation(self._new_parser(), time.monotonic())
        try:
            while not self._stopping.is_set():
                with contextlib.closing(open_serial(self._device, self._baud, self.url)) as port:
                    if not talk.is_silent:
                        self._report(talk, "waiting for valid frames")
                    self._listen(talk, SerialLine(port, self.url))
        finally:
            losses = self._past_losses + _losses(talk.parser.counters)
            self.status = replace(self.status, losses=tuple((kind, losses[kind]) for kind in LOSSES))
            self._retire(talk.parser)

    def _listen(self, talk: _Conversation, line: SerialLine) -> None:
        """Until the port is closed, or silent for so long that it is worth opening it again."""
        while not self._stopping.is_set():
            data = line.read()
            arrival_ns = time.monotonic_ns()
            now_s = arrival_ns / 1e9
            if data:
                if talk.hear(now_s):
                    self._report(talk, "waiting for valid frames")
                self._handle(talk, line, data, arrival_ns)
                if talk.makes_no_sense(now_s):
                    self._begin_anew(talk, line, now_s)
                continue
            silent_s = now_s - talk.heard_s
            if silent_s > STALL_S:
                talk.is_silent = True
                word = "stalled" if talk.has_spoken else "silent"
                self._report(talk, f"{word}: nothing for over {_roughly(silent_s)} s")
                if not self._baud_works and now_s - talk.tuned_s > TRY_S:
                    self._try_next_baud(talk, line, now_s)
            if now_s >= talk.reopen_s:
                talk.reopen_s = now_s + min(silent_s, REOPEN_MOST_S)
                return

    def _handle(self, talk: _Conversation, line: SerialLine, data: bytes, arrival_ns: int) -> None:
        parser = talk.parser
        samples = parser.feed(data)
        talk.arrivals.note(parser.counters.bytes_fed, arrival_ns, self._baud)
        if not len(samples):
            return
        self._baud_works = True
        lost, gaps, damaged = talk.understand(arrival_ns / 1e9)
        if self._needs_gyro and not samples.has_gyro:
            self._report(talk, "this IMU has no gyroscope, which this bundle needs")
            return
        arrivals_ns = talk.arrivals.of(samples.last_byte)
        if damaged and not gaps and (missing := talk.clock.missing(len(samples), int(arrivals_ns[-1]))) is not None:
            lost = gaps = missing
        times_ns = talk.clock.stamp(samples, arrivals_ns, gaps)
        values = samples.values if self._columns is None else samples.values[:, self._columns]
        is_news = lost or damaged or self.status.reason or not self.status.connected
        if is_news or arrival_ns - self._told_ns > STATUS_NS:
            self._report(talk, "")
            self._told_ns = arrival_ns
            talk.measure(samples)
        self._deliver(Chunk(self.modality, values, times_ns, dropped=lost))
        # Only whole samples are waited for: of one whose rest is still to come, the wake would not tell the time.
        ends_whole = int(samples.last_byte[-1]) + 1 == parser.counters.bytes_fed
        line.gather(talk.bytes_in(GATHER_S) if ends_whole else 0)

    def _begin_anew(self, talk: _Conversation, line: SerialLine, now_s: float) -> None:
        """With a fresh parser, as this one may have settled for a wrong protocol, and perhaps at another baud rate."""
        counters = talk.parser.counters
        reason = "bytes, but no valid frames: wrong protocol or baud?"
        if counters.frames >= VALID_FRAMES and not counters.samples:
            reason = "valid frames, but none with acceleration: is that output switched on?"
        elif talk.has_tried_enough and not counters.samples:
            self._try_next_baud(talk, line, now_s)
        self._report(talk, reason)
        if talk.has_tried_enough:
            self._retire(talk.parser)
            talk.begin(self._new_parser(), now_s)

    def _try_next_baud(self, talk: _Conversation, line: SerialLine, now_s: float) -> None:
        """The port stays open: opening it restarts some boards."""
        talk.tuned_s = now_s
        if len(self._bauds) > 1:
            self._baud_at = (self._baud_at + 1) % len(self._bauds)
            line.tune(self._baud)

    def _retire(self, parser: Parser) -> None:
        """Keeps what a parser lost, if it understood the device at all."""
        self._past_losses += _losses(parser.counters)

    def _report(self, talk: _Conversation, reason: str) -> None:
        quality, parser = talk.clock.quality, talk.parser
        losses = self._past_losses + _losses(parser.counters)
        self._spoken = parser.name if parser.counters.samples else self._spoken
        self.status = PortStatus(
            connected=True,
            reason=reason,
            device=f"{parser.name} on {self._device}" if parser.counters.samples else self._device,
            drift_ppm=quality.drift_ppm,
            jitter_ms=quality.jitter_ms,
            uncertainty_ms=quality.uncertainty_ms,
            losses=tuple((kind, losses[kind]) for kind in LOSSES),
        )


class _Conversation:
    """What a device has said since it was plugged in; it outlasts opening the port again. Times are monotonic, in s."""

    def __init__(self, parser: Parser, now_s: float) -> None:
        self.heard_s = self.tuned_s = now_s
        self.reopen_s = now_s + REOPEN_S
        self.has_spoken = self.is_silent = False
        self.begin(parser, now_s)

    def begin(self, parser: Parser, now_s: float) -> None:
        """With another parser, whose samples have nothing to do with those before."""
        self.parser, self.clock, self.arrivals = parser, SampleClock(), Arrivals()
        self._understood_s = now_s
        self._seen: Counters | None = None  # as of the newest sample
        self._measured, self._sample_bytes = (-1, 0), 0

    @property
    def has_tried_enough(self) -> bool:
        """A slow device may take longer than TRY_S to say enough."""
        understood = 0 if self._seen is None else self._seen.bytes_fed
        return self.parser.counters.bytes_fed - understood >= TRY_BYTES

    def measure(self, samples: Samples) -> None:
        """Find out, from the newest sample and the one when this was last asked, how many bytes one takes."""
        end, count = int(samples.last_byte[-1]), self.parser.counters.samples
        size, rest = divmod(end - self._measured[0], max(count - self._measured[1], 1))
        self._sample_bytes = 0 if rest else size  # such as lines of text have no fixed length
        self._measured = end, count

    def bytes_in(self, seconds: float) -> int:
        """The bytes of the samples that come in about so long, 0 where that is one at most or not known."""
        tick_ns = self.clock.sample_ns
        known = tick_ns > 0 and self.parser.counters.samples >= KNOWN_SAMPLES
        if not known or not self._sample_bytes:
            return 0
        samples = min(round(seconds * 1e9 / tick_ns), MOST_GATHERED // self._sample_bytes)
        return samples * self._sample_bytes if samples > 1 else 0

    def hear(self, now_s: float) -> bool:
        """Notes that bytes came; returns whether they end a silence."""
        ends_silence = self.is_silent
        if ends_silence:
            self._understood_s = now_s
            self.clock.skip(round((now_s - self.heard_s) * 1e9))
        self.heard_s, self.reopen_s = now_s, now_s + REOPEN_S
        self.has_spoken, self.is_silent = True, False
        return ends_silence

    def understand(self, now_s: float) -> tuple[int, int, bool]:
        """Notes that samples came. Returns how many were lost before them, how many of those the device counted, and
        whether anything came damaged.

        What the device counts as missing and what arrived damaged are the same samples. What a parser passed over
        before its first sample is nothing lost.
        """
        now, seen = self.parser.counters, self._seen
        self._seen, self._understood_s = now.copy(), now_s
        if seen is None:
            return 0, 0, False
        gaps = now.gaps - seen.gaps
        # Where a sample takes several frames a damaged one leaves it incomplete, or was of something else.
        one_frame_each = now.frames - now.malformed < FRAMES_A_SAMPLE * now.samples
        wrong = now.checksum_errors - seen.checksum_errors
        unusable = now.malformed - seen.malformed + now.incomplete - seen.incomplete
        return max(gaps, unusable + (wrong if one_frame_each else 0)), gaps, wrong + unusable > 0

    def makes_no_sense(self, now_s: float) -> bool:
        """Whether bytes have come for long and none of them became a sample."""
        return now_s - self._understood_s > TRY_S


def open_serial(device: str, baud: int, url: str) -> Any:
    """A pyserial port for this process alone, with a read timeout of ``POLL_S``; close it.

    device: a path, or a URL of pyserial's. url: how errors name it. Raises BackendUnavailable, SourceNotFound,
    SourceError; their ``__cause__`` is pyserial's error.
    """
    _require_pyserial()
    import serial

    _refuse_others(device, url)
    try:
        port = serial.serial_for_url(device, baudrate=baud, timeout=POLL_S, exclusive=True)
    except (*GONE, ValueError) as error:
        raise _translated(error, device, url) from error
    # A nicety of some UART drivers: ptys, network ports and other systems do not have it.
    with contextlib.suppress(AttributeError, OSError, ValueError, NotImplementedError):
        port.set_low_latency_mode(True)
    return port


def _refuse_others(device: str, url: str) -> None:
    """Opening is an act: a camera must not be switched on, nor a watchdog or a disk touched, to find it is no port.

    Raises SourceNotFound, SourceError.
    """
    if "://" in device:
        return
    try:
        found = Path(device).stat()
    except OSError as error:
        raise _translated(error, device, url) from error
    number = os.major(found.st_rdev), os.minor(found.st_rdev)
    subsystem = Path(f"/sys/dev/char/{number[0]}:{number[1]}/subsystem")
    # A pty has no entry there.
    is_other = number[0] == VIDEO_MAJOR or (subsystem.exists() and subsystem.resolve().name != "tty")
    if not stat.S_ISCHR(found.st_mode) or is_other:
        raise SourceError(url, f"cannot be opened: {device} is not a serial port")


def _translated(error: Exception, device: str, url: str) -> SourceError:
    """pyserial often gives the cause away only as the context of its own error."""
    root = error.__context__ if isinstance(error.__context__, (OSError, termios.error)) else error
    if isinstance(root, termios.error):
        code, why = root.args
    else:
        code, why = getattr(root, "errno", None), getattr(root, "strerror", None) or root
    if code in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
        return SourceNotFound(url, f"there is no such device as {device}")
    if code in (errno.EACCES, errno.EPERM):
        return SourceError(url, "no permission: sudo usermod -aG dialout $USER, then log in again")
    if code in (errno.EBUSY, errno.EAGAIN):  # from TIOCEXCL, as others do; from flock, as pyserial does
        return SourceError(url, "in use by another program")
    if code == errno.ENOTTY:
        return SourceError(url, f"cannot be opened: {device} is not a serial port")
    return SourceError(url, f"cannot be opened: {why}")


def _losses(counters: Counters) -> Counter[str]:
    """What was lost, by kind. A parser that never understood the device has lost nothing: it was the wrong one."""
    return Counter({kind: getattr(counters, kind) for kind in LOSSES} if counters.samples else {})


def _roughly(seconds: float) -> int:
    """A power of two below: what is shown changes now and then, not all the time."""
    return 1 << max(int(seconds).bit_length() - 1, 0)


def _require_pyserial() -> None:
    if importlib.util.find_spec("serial") is None:
        raise BackendUnavailable("pyserial", "pyserial")
