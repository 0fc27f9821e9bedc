"""A camera through FFmpeg's v4l2, or a file or a test picture in its place, as frames of the model's size.

The newest frame wins: all that waits is taken at once, and only the newest of it is looked at. Only frames that the
model may use, at most two for each of its own, are decoded (where the camera's format allows it) and converted.
"""

from __future__ import annotations

import errno
import importlib.util
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from mmg_device_profiles.regular_file import read_text

from mmg.errors import ConfigError, SourceError, SourceLost, SourceNotFound, pip_install
from mmg.sources.files.av_container import file_options
from mmg.sources.frames import FRAMES_A_MODEL_FRAME, FrameChooser
from mmg.sources.ports.filter_graph import check_graph
from mmg.sources.ports.port import PortStatus, PortThread
from mmg.sources.ports.serial.usb import usb_above
from mmg.types import Chunk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mmg.bundle.manifest import Modality
    from mmg.sources.url import SourceUrl

OPTIONS = ("format", "rate", "size")
LAVFI = "lavfi/"
POLL_S = 0.005
SILENT_S, SILENT_FRAMES = 2.0, 10
"""A camera that gives nothing for so long is opened anew."""
OPEN_S = 3.0
QUEUED = 32
"""VIDEO_MAX_FRAME of linux/videodev2.h: a driver has no more frames than that waiting."""
AHEAD_NS, BEHIND_NS = 50_000_000, 1_000_000_000
"""A driver's stamp that is further from the frame's arrival is not of the monotonic clock."""
SIZES = ((240, 320), (480, 640), (720, 1280))
"""Heights and widths that most cameras have: the smallest that holds the model's frame is asked for."""
NO_WAIT = "4"
"""AVFMT_FLAG_NONBLOCK, which FFmpeg's options know by its number only. v4l2 then answers at once, with EAGAIN."""


class CameraPort(PortThread):
    """``camera:///dev/video0``, with ``rate`` in Hz and ``size`` as WxH in place of what suits the model.

    In a camera's place, at the pace of its own time stamps, and begun anew where it ends: a file,
    ``camera:///path/x.mp4``, or test pictures, ``camera://lavfi/testsrc=size=320x240:rate=10``, of the filters in
    ``filter_graph``. ``format`` (``v4l2`` or ``lavfi``) says which, where the path does not. Frames are
    ``(1, H, W, 3)`` uint8 RGB. Another camera that gets the first one's name later is not opened.
    """

    def __init__(self, url: SourceUrl, modality: Modality, *, allow_video: bool) -> None:
        """Raises ConfigError without ``allow_video``, before anything else; and for options that cannot be, or a
        modality that is no video. SourceError where PyAV is not installed. Opens nothing.
        """
        if not allow_video:
            raise ConfigError(f"{modality.name}: the camera stays closed: add --allow-video to use {url}")
        super().__init__(str(url), modality.name)
        for option in url.options:
            if option not in OPTIONS:
                raise ConfigError(f"{url}: unknown option {option!r}: choose from {', '.join(OPTIONS)}")
        if modality.frame is None:
            raise ConfigError(f"{url}: {modality.name} has no frame size: it is not a video modality")
        if importlib.util.find_spec("av") is None:
            raise SourceError(str(url), f"needs PyAV: {pip_install('av')}")
        self._frame, self._model_hz = modality.frame, modality.rate_hz
        is_device = url.path.startswith("/dev/")
        kind = "lavfi" if url.path.startswith(LAVFI) else "v4l2" if is_device else ""
        self._format = url.one_of("format", ("v4l2", "lavfi")) or kind
        self._path = url.path.removeprefix(LAVFI)
        if self._format == "lavfi":
            check_graph(self._path, str(url))
        if self._format != "v4l2" and {"rate", "size"} & set(url.options):
            raise ConfigError(f"{url}: rate and size are for a camera, such as camera:///dev/video0")
        self._asked = {"framerate": f"{float(url.number('rate', 0.1, 1000) or self._wanted_hz):g}"}
        if "size" in url.options and not re.fullmatch(r"[1-9]\d{0,4}x[1-9]\d{0,4}", url.options["size"]):
            raise ConfigError(f"{url}: size={url.options['size']}: must be WIDTHxHEIGHT, such as 640x480")
        self._meant = ""
        """Which camera was opened first, as ``camera_at`` has it."""
        size = url.options.get("size") or _size_for(self._frame)
        if size:
            self._asked["video_size"] = size

    @property
    def _wanted_hz(self) -> float:
        return FRAMES_A_MODEL_FRAME * self._model_hz

    def _session(self) -> None:
        with self._opened() as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1  # threads of the decoder hold frames back
            rate_hz = float(stream.average_rate or self._wanted_hz)
            name = f"{self._path} {stream.width}x{stream.height} at {rate_hz:.4g} Hz"
            losses = self.status.losses
            self.status = PortStatus(connected=True, reason="waiting for a picture", device=name, losses=losses)
            before = sum(count for _, count in losses)
            chooser = FrameChooser(self._model_hz)
            frames: Frames = (DeviceFrames if self._format == "v4l2" else PlayedFrames)(self.url, container, chooser)
            silent_ns = round(1e9 * max(SILENT_S, SILENT_FRAMES / rate_hz))
            while not self._stopping.is_set():
                newest = frames.newest(time.monotonic_ns())
                if newest is not None:
                    self._give(*newest, before + frames.unreadable, name)
                elif time.monotonic_ns() - frames.heard_ns > silent_ns:
                    raise SourceLost(self.url, f"no picture for {silent_ns / 1e9:.0f} s: reopening it")
                else:
                    self._stopping.wait(POLL_S)

    def _give(self, time_ns: int, frame: Any, unreadable: int, name: str) -> None:
        from av.video.reformatter import Interpolation

        height, width = self._frame
        small = frame.reformat(width=width, height=height, format="rgb24", interpolation=Interpolation.AREA)
        losses = (("unreadable", unreadable),)
        if self.status.reason or self.status.losses != losses:
            self.status = PortStatus(connected=True, reason="", device=name, losses=losses)
        self._deliver(Chunk(self.modality, small.to_ndarray()[None], np.array([time_ns], np.int64)))

    def _opened(self) -> Any:
        import av

        path = Path(self._path)
        if self._format == "v4l2" and not path.exists():
            raise SourceNotFound(self.url, f"there is no {path}")
        if self._format == "v4l2":
            self._require_the_first(path)
        if not self._format and not path.is_file():
            raise SourceNotFound(self.url, f"there is no file {path.absolute()}")
        if not self._format:
            return self._open_with(str(path.absolute()), dict(file_options("video")))
        if self._format == "lavfi":
            return self._open_with(self._path, {})
        quick = {"fflags": NO_WAIT, "fpsprobesize": "0", "max_ts_probe": "0"}
        try:
            return self._open_with(self._path, {**quick, **self._asked})
        except SourceError as error:
            if not isinstance(error.__cause__, av.ArgumentError):
                raise
            return self._open_with(self._path, quick)  # a driver that cannot be asked for a rate or a size

    def _require_the_first(self, path: Path) -> None:
        here = camera_at(path)
        if self._meant and here and here != self._meant:
            meant = f"plug in the first one ({self._meant}), or start again"
            raise SourceNotFound(self.url, f"{path} is another camera now ({here}): {meant}")
        self._meant = self._meant or here

    def _open_with(self, path: str, options: dict[str, str]) -> Any:
        import av

        try:
            container = av.open(path, format=self._format or None, options=options, timeout=(OPEN_S, None))
        except (av.FFmpegError, OSError, ValueError) as error:
            raise _explained(self.url, error) from error
        if not container.streams.video or container.streams.video[0].codec_context is None:
            container.close()
            raise SourceError(self.url, "contains no readable video")
        return container


class Frames(Protocol):
    """What a camera gives. heard_ns: when it last gave anything; unreadable: frames that could not be decoded."""

    heard_ns: int
    unreadable: int

    def newest(self, now_ns: int) -> tuple[int, Any] | None:
        """Capture time in host ns and frame of the newest, where there is one that the model wants; never waits.

        Raises SourceLost.
        """


class DeviceFrames:
    """The frames of a camera: each read takes all that wait, and stamps them as the driver did."""

    def __init__(self, url: str, container: Any, chooser: FrameChooser) -> None:
        self.heard_ns, self.unreadable = time.monotonic_ns(), 0
        self._url, self._container, self._chooser = url, container, chooser
        self._stream = container.streams.video[0]
        self._whole = self._stream.codec_context.codec.intra_only

    def newest(self, now_ns: int) -> tuple[int, Any] | None:
        """See Frames. Frames of a format that builds on the ones before are all decoded, others only if wanted."""
        packets = list(self._waiting())
        if not packets:
            return None
        self.heard_ns = now_ns
        time_ns = self._stamp(packets[-1], now_ns)
        wanted = self._chooser.wants(time_ns)
        frame = None
        for packet in [packets[-1]] * wanted if self._whole else packets:
            frames = _decode(packet)
            self.unreadable += frames is None
            frame = frames[-1] if frames else frame
        return (time_ns, frame) if wanted and frame is not None else None

    def _waiting(self) -> Iterator[Any]:
        import av

        for _ in range(QUEUED):
            try:
                packet = next(self._container.demux(self._stream))
            except av.BlockingIOError:
                return
            except (av.FFmpegError, OSError, StopIteration) as error:
                raise SourceLost(self._url, f"unplugged ({_reason(error)})") from error
            if packet.size:
                yield packet
            else:  # how FFmpeg marks a frame that came damaged from the driver
                self.unreadable += 1

    def _stamp(self, packet: Any, now_ns: int) -> int:
        if packet.pts is None or packet.time_base is None:
            return now_ns
        stamp_ns = int(packet.pts * packet.time_base * 10**9)
        return stamp_ns if -AHEAD_NS <= now_ns - stamp_ns <= BEHIND_NS else now_ns


class PlayedFrames:
    """The frames of a file or a filter graph, each at its time after the first."""

    def __init__(self, url: str, container: Any, chooser: FrameChooser) -> None:
        self.unreadable = 0
        self._url, self._container, self._chooser = url, container, chooser
        self._timed = self._decoded()
        self._next = next(self._timed, None)
        self.heard_ns = time.monotonic_ns()

    def newest(self, now_ns: int) -> tuple[int, Any] | None:
        """See Frames."""
        newest = None
        while self._next is not None and self._next[0] <= now_ns:
            newest, self._next = self._next, next(self._timed, None)
        if newest is None:
            if self._next is None:
                raise SourceLost(self._url, "ended: starting over")
            return None
        self.heard_ns = now_ns
        return newest if self._chooser.wants(newest[0]) else None

    def _decoded(self) -> Iterator[tuple[int, Any]]:
        """Every frame and when it is due; one without a time stamp is left out."""
        import av

        origin_ns: int | None = None
        try:
            for packet in self._container.demux(self._container.streams.video[0]):
                frames = _decode(packet)
                self.unreadable += frames is None
                for frame in frames or ():
                    if frame.pts is None or frame.time_base is None:
                        continue
                    time_ns = int(frame.pts * frame.time_base * 10**9)
                    origin_ns = time.monotonic_ns() - time_ns if origin_ns is None else origin_ns
                    yield origin_ns + time_ns, frame
        except (av.FFmpegError, OSError) as error:
            raise SourceLost(self._url, f"cannot be read on ({_reason(error)}): starting over") from error


def _decode(packet: Any) -> list[Any] | None:
    """The frames that a packet completes, None where it is damaged."""
    import av

    try:
        return list(packet.decode())
    except (av.FFmpegError, ValueError):
        return None


def camera_at(path: Path, root: Path = Path("/")) -> str:
    """Which camera has this node: its name, and its USB identity or where it sits; empty where sysfs does not tell."""
    folder = root / "sys/class/video4linux" / path.resolve().name
    if not folder.exists():
        return ""
    place = (folder / "device").resolve()
    return f"{read_text(folder / 'name')}, {usb_above(place) or place.name}"


def _size_for(frame: tuple[int, int]) -> str:
    """The smallest usual size that holds the model's frame; empty, for the camera's own, where none does."""
    for height, width in SIZES:
        if frame[0] <= height and frame[1] <= width:
            return f"{width}x{height}"
    return ""


def _explained(url: str, error: Exception) -> SourceError:
    """What FFmpeg could not open, and what to do about it."""
    number = getattr(error, "errno", None)
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return SourceNotFound(url, "there is no such camera")
    if number in (errno.EACCES, errno.EPERM):
        return SourceError(url, "no permission: sudo usermod -aG video $USER, then log in again")
    if number == errno.EBUSY:
        return SourceError(url, "another program uses this camera: stop it")
    if number == errno.ENOTTY:
        return SourceError(url, "is not a camera: v4l2-ctl --list-devices shows the cameras")
    return SourceError(url, f"cannot be opened ({_reason(error)})")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
