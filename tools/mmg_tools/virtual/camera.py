"""A video source: a film in a camera's place, for this machine has no v4l2 device to lend.

``camera://PATH`` plays a file from its first frame on, whenever it is opened. So that the frames are those of the
moment, the film is cut anew twice a second to begin at the play's position; who has opened one plays on from there.
"""

from __future__ import annotations

import contextlib
import os
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from mmg.errors import ConfigError
from numpy.typing import NDArray

from mmg_tools.virtual.device import VirtualDevice

CUT_NS = 500_000_000
FILM_S = 300
"""The longest film; a longer play goes on in the next one."""
BIT_RATE = 300_000
"""Large pictures on purpose: FFmpeg reads 32 KiB ahead, which is what an unplugged camera goes on to show."""


class VirtualCamera(VirtualDevice):
    """A film at ``path``; it appears with ``plug``, which also begins its time if ``begin`` did not.

    ``unplug`` takes the film away and ends it for who plays it; ``plug`` puts it back, cut to the moment.
    """

    def __init__(self, path: Path, frames: NDArray[np.uint8], rate_hz: int = 8, *, loop: bool = False) -> None:
        """frames: ``(T, H, W, 3)`` uint8 RGB, H and W even. Raises ConfigError where PyAV is not installed."""
        try:
            import av
        except ImportError as error:
            raise ConfigError("a camera needs PyAV: in mmg's folder, pip install -e '.[video]'") from error
        super().__init__("camera")
        self.path, self._rate_hz, self._loop = path.resolve(), rate_hz, loop
        self._size = frames.shape[1:3]
        with av.open(os.devnull, "w", format="null") as nowhere:
            stream = self._stream(nowhere)
            # Each picture is whole, so that a film can begin anywhere.
            self._pictures = [
                bytes(packet)
                for frame in frames
                for packet in stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24"))
            ]
        self._there = False

    @property
    def plugged(self) -> bool:
        """Whether it is there."""
        return self._there

    def _appear(self) -> None:
        self._there = True
        self._cut()

    def _vanish(self) -> None:
        """Who plays it comes to an end, after what its player has read ahead."""
        self._there = False
        self.path.unlink(missing_ok=True)
        _end_films(self.path)

    def _run(self) -> None:
        with self._change:
            while not self._change.wait_for(lambda: self._closing, CUT_NS / 1e9):
                if self.plugged:
                    self._cut()

    def _cut(self) -> None:
        """A film from this moment to the scenario's end, and from its beginning up to here where it loops.

        It is right for who opens it half-way to the next cut.
        """
        import av

        place = max(time.monotonic_ns() + CUT_NS // 2 - self._start_ns, 0) * self._rate_hz // 10**9
        if place >= len(self._pictures) and not self._loop:
            return
        place %= len(self._pictures)
        pictures = self._pictures[place:] + (self._pictures[:place] if self._loop else [])
        made = self.path.with_name(f".{self.path.name}.new")
        with av.open(str(made), "w", format="mp4") as film:
            stream = self._stream(film)
            for number, picture in enumerate(pictures[: FILM_S * self._rate_hz]):
                packet = av.Packet(picture)
                packet.stream, packet.time_base = stream, Fraction(1, self._rate_hz)
                packet.pts = packet.dts = number
                packet.duration, packet.is_keyframe = 1, True
                film.mux(packet)
        made.rename(self.path)

    def _stream(self, container: Any) -> Any:
        stream = container.add_stream("mjpeg", rate=self._rate_hz)
        stream.height, stream.width = self._size
        stream.pix_fmt, stream.bit_rate = "yuvj420p", BIT_RATE
        return stream


def _end_films(path: Path) -> None:
    """Empty the films that were once at ``path`` and that somebody still plays."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):  # a process that has ended meanwhile, or is somebody else's
            if os.readlink(link).removesuffix(" (deleted)") == str(path):  # noqa: PTH115 - Path would resolve it
                os.truncate(link, 0)
