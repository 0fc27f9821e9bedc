"""The real ports without their threads: what a device says, and that it says nothing, is told to them by hand.

``tap`` is called with each chunk before it is delivered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from types import SimpleNamespace
from typing import TYPE_CHECKING

import av
import serial
from mmg.errors import SourceLost
from mmg.sources.frames import FrameChooser
from mmg.sources.ports.camera import CameraPort, DeviceFrames
from mmg.sources.ports.microphone.level import Level
from mmg.sources.ports.microphone.port import MicrophonePort
from mmg.sources.ports.microphone.portaudio import Block, Capture
from mmg.sources.ports.microphone.sample_count import SampleCount
from mmg.sources.ports.port import PortStatus
from mmg.sources.ports.serial.conversation import Conversation
from mmg.sources.ports.serial.line import SerialLine
from mmg.sources.ports.serial.port import SerialPort
from mmg.sources.url import parse_url
from mmg.types import Chunk

if TYPE_CHECKING:
    from mmg.bundle import Modality
    from mmg.types import Samples

BLOCK_MS = 125
Deliver = Callable[[Chunk], None]


def _heard_too(tap: Deliver, deliver: Deliver) -> Deliver:
    def both(chunk: Chunk) -> None:
        tap(chunk)
        deliver(chunk)

    return both


class WornSerial(SerialPort):
    """The protocol is found out, as of any device. The baud rate is given: what stands for the line delivers bytes
    alike at every rate, so that a wrong one that was tried after garbled bytes would seem right."""

    def __init__(self, modality: Modality) -> None:
        super().__init__(parse_url("serial:///dev/ttyIMU?baud=115200"), modality)
        self.tap: Deliver = lambda _: None
        self._line = SerialLine(serial.serial_for_url("loop://", timeout=0), "serial://loop://")
        self._talk: Conversation | None = None

    def start(self, deliver: Deliver, *_: object) -> None:
        self._deliver = _heard_too(self.tap, deliver)

    def plug(self, now_ns: int) -> None:
        """It was looked for, and found."""
        self._talk = Conversation(self._new_parser(), now_ns / 1e9)
        self._report(self._talk, "waiting for valid frames")

    def unplug(self) -> None:
        """The next read raises."""
        if self._talk is not None:
            self._part(self._talk)
            self._talk = None
        self._tell_lost("unplugged")

    def miss(self) -> None:
        """It was looked for, and is not there."""
        self._tell_lost("there is no such device as /dev/ttyIMU")

    def hear(self, data: bytes, arrival_ns: int) -> None:
        """A read."""
        assert self._talk is not None, "not plugged in"
        self._hear(self._talk, self._line, data, arrival_ns)

    def poll(self, now_ns: int) -> None:
        """A read that gives nothing. The port is opened again where it is time for that, and is silent still."""
        assert self._talk is not None, "not plugged in"
        self._wait_on(self._talk, self._line, now_ns / 1e9)


class WornMicrophone(MicrophonePort):
    """Blocks of BLOCK_MS."""

    def __init__(self, modality: Modality) -> None:
        super().__init__(parse_url(f"mic://default?block_ms={BLOCK_MS}"), modality)
        self.tap: Deliver = lambda _: None
        self._worn = Capture("worn", modality.rate_hz, round(modality.rate_hz * BLOCK_MS / 1e3))
        self._heard: tuple[SampleCount, Level] | None = None

    def start(self, deliver: Deliver, *_: object) -> None:
        self._deliver = _heard_too(self.tap, deliver)

    def close(self) -> None:
        """Nothing is open."""

    def open(self) -> None:
        """A session with the device begins."""
        self._heard = SampleCount(self._worn.rate_hz), Level(self._worn.rate_hz)

    def lose(self, reason: str) -> None:
        """It ends."""
        self._heard = None
        self._tell_lost(reason)

    @property
    def is_open(self) -> bool:
        """Whether a session goes on."""
        return self._heard is not None

    def hear(self, sound: Samples, end: int, arrival_ns: int, *, overrun: bool) -> None:
        """A block of the session; end: samples given so far, with these."""
        assert self._heard is not None, "not open"
        try:
            self._handle(self._worn, *self._heard, Block(sound, end, arrival_ns, overrun))
        except SourceLost as lost:
            self.lose(str(lost).removeprefix(f"{self.url}: "))


@dataclass(frozen=True, slots=True)
class Frame:
    """What FFmpeg would give of a frame that fits the model already: packet and picture in one."""

    pts: int
    picture: Samples
    size: int = 1
    time_base: Fraction = Fraction(1, 10**9)

    def decode(self) -> list[Frame]:
        """The one picture of the packet."""
        return [self]

    def reformat(self, **_: object) -> Frame:
        """It fits."""
        return self

    def to_ndarray(self) -> Samples:
        """``(H, W, 3)`` uint8."""
        return self.picture


class Driver:
    """In place of PyAV's container: what the driver has waiting."""

    def __init__(self) -> None:
        codec = SimpleNamespace(codec=SimpleNamespace(intra_only=True))
        self.streams = SimpleNamespace(video=[SimpleNamespace(codec_context=codec)])
        self.waiting: deque[Frame] = deque()

    def demux(self, _: object) -> Iterator[Frame]:
        """As PyAV: raises where a read would wait."""
        if not self.waiting:
            raise av.BlockingIOError(11, "")
        yield self.waiting.popleft()


class WornCamera(CameraPort):
    """Its frames are stamped and chosen as those of a device."""

    def __init__(self, modality: Modality) -> None:
        super().__init__(parse_url("camera:///dev/video0"), modality, allow_video=True)
        self.tap: Deliver = lambda _: None
        self._rate_hz, self._driver = modality.rate_hz, Driver()
        self._frames: DeviceFrames | None = None

    def start(self, deliver: Deliver, *_: object) -> None:
        self._deliver = _heard_too(self.tap, deliver)

    def open(self) -> None:
        """A session with the device begins."""
        self._driver = Driver()
        self._frames = DeviceFrames(self.url, self._driver, FrameChooser(self._rate_hz))
        self.status = PortStatus(connected=True, reason="waiting for a picture", device="worn")

    def lose(self, reason: str) -> None:
        """It ends."""
        self._frames = None
        self._tell_lost(reason)

    def see(self, frames: Iterable[Frame], now_ns: int) -> None:
        """A look at what waits."""
        assert self._frames is not None, "not open"
        self._driver.waiting.extend(frames)
        newest = self._frames.newest(now_ns)
        if newest is not None:
            self._give(*newest, self._frames.unreadable, "worn")
