"""Microphones, through PortAudio: one device, watched, and opened again when it falls silent or comes back."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mmg.counts import count_of
from mmg.errors import ConfigError, SourceError, SourceLost
from mmg.sources.ports.microphone.device import Meant, Microphone
from mmg.sources.ports.microphone.level import Level
from mmg.sources.ports.microphone.lookout import LOOKOUT, NO_ANSWER, Sight
from mmg.sources.ports.microphone.portaudio import IN_USE, PORTAUDIO, STALL_S, Block, Capture, require_sounddevice
from mmg.sources.ports.microphone.sample_count import AHEAD_S, SampleCount
from mmg.sources.ports.port import STATUS_NS, PortStatus, PortThread
from mmg.sources.url import SourceUrl, parse_url
from mmg.types import Chunk

if TYPE_CHECKING:
    from mmg.bundle.manifest import Modality
    from mmg.streams.grid import HopGrid
    from mmg.types import Samples

OPTIONS = ("rate", "channels", "channel", "gain", "block_ms", "latency")
BLOCK_MS, LONG_BLOCK_MS = 10, 20
"""A sample is there for us once its block is full. The longer one is for chips that hold too little in periods of the
shorter: many have no more than 32."""
HELD_S = 0.6
"""What the driver is asked to hold: a hop, and ``SPARE_S``."""
MOST_OF_IT, FEW_PERIODS = 0.9, 32
"""Less than that of what it is asked for, in so few periods, is too little."""
SPARE_S = 0.1
"""It is left alone until so much room is left, or half of it where it holds little."""
STALLED = "stalled: no sound for {} s"
MARGIN_S = 0.2
"""So much longer a reader is waited for: what has come is known to within some blocks, and both need not be awake at
the hop's end."""
SLOW_S, CLOSE_S = 5.0, 1.0


def list_microphones() -> Sight:
    """What PortAudio can record from now; it is not started in this process. Raises BackendUnavailable, SourceError."""
    require_sounddevice()
    try:
        seen = LOOKOUT.look("mic://")
    finally:
        LOOKOUT.rest()
    assert seen is not None  # it is never over
    return seen


class MicrophonePort(PortThread):
    """``mic://default``, ``mic://NAME`` (part of a device's name) or ``mic://3`` (its number).

    Options: ``rate`` in Hz (else the model's where the device takes it, else the device's own), ``channels``, how many
    (else the first one alone), or ``channel``, which one alone, from 1, ``gain`` in dB, ``block_ms``, ``latency`` in ms
    (how much sound the driver holds while we are late). Chunks are ``(T, C)`` float32 at the device's rate. A process
    has one PortAudio: while a stream of it runs, no device that was plugged in since can be opened.
    """

    CLOSE_S = 0.5  # a driver that does not give the thread back by then does not at all

    def __init__(self, url: SourceUrl | str, modality: Modality) -> None:
        """Raises ConfigError for options that cannot be or a modality that is no sound, BackendUnavailable."""
        url = parse_url(url) if isinstance(url, str) else url
        super().__init__(str(url), modality.name)
        for option in url.options:
            if option not in OPTIONS:
                raise ConfigError(f"{url}: unknown option {option!r}: choose from {', '.join(OPTIONS)}")
        if modality.kind != "audio":
            raise ConfigError(f"{url}: a microphone does not give {modality.name}")
        if {"channel", "channels"} <= url.options.keys():
            raise ConfigError(f"{url}: channel= is one of them, channels= how many: give one of the two")
        self._meant = Meant(str(url), url.path)
        self._rate_hz, self._model_rate_hz = float(url.number("rate", 1000, 1_000_000) or 0), modality.rate_hz
        self._channel = int(url.number("channel", 1, 128) or 0)
        self._channels = int(url.number("channels", 1, 128) or 1)
        self._gain = np.float32(10 ** (float(url.number("gain", 0, 60) or 0) / 20))
        block_ms = url.number("block_ms", 1, 1000)
        self._block_ms = None if block_ms is None else float(block_ms)
        self._latency_s = float(url.number("latency", 1, 2000) or 0) / 1e3 or HELD_S
        require_sounddevice()
        self._wake = threading.Event()
        self._capture: Capture | None = None
        self._reader: threading.Thread | None = None
        self._overruns = self._gone = self._clipped = self._told_ns = 0

    def start(
        self, deliver: Callable[[Chunk], None], hops: HopGrid | None = None, lost: Callable[[], None] | None = None, /
    ) -> None:
        """Begin; see Port."""
        self._wake.clear()
        super().start(deliver, hops, lost)

    def close(self) -> None:
        """Stop; see Port. A PortAudio that does not answer is left behind."""
        self._stopping.set()
        self._wake.set()
        super().close()
        LOOKOUT.rest()
        PORTAUDIO.give_time_to_close(CLOSE_S, is_held=self._is_held)

    def _session(self) -> None:
        seen = LOOKOUT.look(self.url, self._stopping.is_set)
        if seen is None:
            return
        self._meant.find(*seen)  # or it is not there
        if self._is_held:
            raise SourceLost(self.url, STALLED.format(STALL_S))
        capture = self._wait_for(PORTAUDIO.ask(self._open))
        if capture is None:
            return
        LOOKOUT.rest()
        self._capture, reading = capture, Future[None]()
        self._reader = threading.Thread(target=self._read, args=(capture, reading), name="mmg sound", daemon=True)
        self._reader.start()
        try:
            self._watch(capture, reading)
        finally:
            self._capture = None

    @property
    def _is_held(self) -> bool:
        """Whether a driver holds the thread that read the last stream."""
        return self._reader is not None and self._reader.is_alive()

    def _watch(self, capture: Capture, reading: Future[None]) -> None:
        """Until the stream has ended, or the port is closed. A reader that hears nothing may be held: it is left."""
        reading.add_done_callback(lambda _: self._wake.set())
        while not reading.done():
            left_s = capture.heard_ns / 1e9 + capture.patience_s + MARGIN_S - time.monotonic()
            if not self._stopping.is_set() and left_s <= 0:
                raise SourceLost(self.url, STALLED.format(capture.patience_s))
            self._wake.wait(CLOSE_S if self._stopping.is_set() else left_s)
            if self._stopping.is_set() and not self._wake.is_set():
                return
            self._wake.clear()
        reading.result()

    def _read(self, capture: Capture, reading: Future[None]) -> None:
        """The life of the thread that reads a stream."""
        try:
            self._listen(capture)
            error = None
        except Exception as raised:  # it is raised where the stream was opened
            error = raised
        PORTAUDIO.ask(lambda: PORTAUDIO.close(capture))
        if error is None:
            reading.set_result(None)
        else:
            reading.set_exception(error)

    def _wait_for(self, opening: Future[Capture]) -> Capture | None:
        """None where the port is being closed; what is opened too late is closed again."""
        opening.add_done_callback(lambda _: self._wake.set())
        while not opening.done() and not self._stopping.is_set():
            if not self._wake.wait(SLOW_S):
                self.status = replace(self.status, reason=NO_ANSWER)
                self._lost()
            self._wake.clear()
        if opening.done():
            return opening.result()
        if not opening.cancel():
            opening.add_done_callback(_close_unheard)
        return None

    def _open(self) -> Capture:
        sounddevice = PORTAUDIO.library(self.url)
        try:
            device = self._meant.find(*_seen_by(sounddevice))
            channels = self._resolve_channels(device)
            return self._begin(device, channels, self._resolve_settings(sounddevice, device, channels))
        except sounddevice.PortAudioError as error:
            problem = "in use by another program" if IN_USE in error.args else f"cannot be opened: {error.args[0]}"
            raise SourceError(self.url, problem) from error

    def _begin(self, device: Microphone, channels: int, rate_hz: float) -> Capture:
        """A stream of it: in short blocks, or in long ones where it refuses those or holds too little in them.

        Raises PortAudioError.
        """

        def open_in(block_ms: float) -> Capture:
            block = max(round(rate_hz * block_ms / 1e3), 1)
            columns = slice(self._channel - 1, self._channel) if self._channel else None
            heard = f"channel {self._channel}" if self._channel else f"{channels} ch"
            capture = Capture(f"{device.name}, {rate_hz:g} Hz, {heard}", rate_hz, block, columns=columns)
            PORTAUDIO.open(capture, device=device.number, channels=channels, latency_s=self._latency_s)
            return capture

        if self._block_ms is not None:
            return open_in(self._block_ms)
        refused = sys.modules["sounddevice"].PortAudioError
        try:
            capture = open_in(BLOCK_MS)
        except refused as error:
            if IN_USE in error.args:
                raise
            return open_in(LONG_BLOCK_MS)
        if capture.held_s >= MOST_OF_IT * self._latency_s or capture.held_s > FEW_PERIODS * BLOCK_MS / 1e3:
            return capture
        PORTAUDIO.close(capture)
        try:
            return open_in(LONG_BLOCK_MS)
        except refused:
            return open_in(BLOCK_MS)

    def _resolve_channels(self, device: Microphone) -> int:
        """How many to open it with. Raises SourceError."""
        wanted = self._channel or self._channels
        if wanted > device.channels:
            option = "channel" if self._channel else "channels"
            many = count_of(device.channels, "channel")
            raise SourceError(self.url, f"{option}={wanted}: {device.name!r} has {many}")
        # Asked for one alone, ALSA's plug plugin gives the mean of a device's two.
        return max(wanted, min(2, device.channels)) if self._channel else wanted

    def _resolve_settings(self, sounddevice: Any, device: Microphone, channels: int) -> float:
        """The rate to open the device with; what it does not take is refused there."""
        if self._rate_hz:
            return self._rate_hz
        try:
            sounddevice.check_input_settings(device.number, channels, "float32", samplerate=self._model_rate_hz)
        except sounddevice.PortAudioError as error:
            if IN_USE in error.args:
                raise
            return device.rate_hz
        return self._model_rate_hz

    def _listen(self, capture: Capture) -> None:
        """Take what there is when it is wanted; until then the driver holds it, and this sleeps."""
        count, level = SampleCount(capture.rate_hz), Level(capture.rate_hz)
        is_over = False
        while not is_over:
            is_over = self._stopping.is_set()  # then the driver still holds what it heard in the rest
            wanted_ns = self._wanted_ns(count.newest_ns)
            if is_over or wanted_ns > time.monotonic_ns():  # what the driver holds is taken before it is lost
                wanted_ns = 0
            try:
                block = capture.take(wanted_ns, self._stopping.wait)
            except sys.modules["sounddevice"].PortAudioError as error:
                raise SourceLost(self.url, "unplugged") from error
            if block is None or self._capture is not capture:
                return
            self._handle(capture, count, level, block)
            if not count.clock.is_in_doubt:  # else every block is read, to end that soon
                self._rest(count.newest_ns, max(capture.held_s / 2, capture.held_s - SPARE_S))

    def _handle(self, capture: Capture, count: SampleCount, level: Level, block: Block) -> None:
        times_ns, lost = count.place(block)
        if count.ahead_s > AHEAD_S:
            raise SourceLost(self.url, "runs faster than real time: the feed of this virtual device has ended")
        self._overruns += block.overrun
        self._gone += lost
        sound = block.sound if self._gain == 1 else self._amplify(block.sound)
        level.hear(sound)
        is_news = block.overrun or lost or self.status.reason or not self.status.connected
        if is_news or block.arrival_ns - self._told_ns >= STATUS_NS:
            self._report(capture, count, level.note, block.arrival_ns)
        self._deliver(Chunk(self.modality, sound, times_ns, capture.rate_hz, lost))

    def _amplify(self, sound: Samples) -> Samples:
        """In place; what would be above full scale is cut off, as a device does it, and counted."""
        sound *= self._gain
        clipped = int(np.count_nonzero(np.abs(sound) > 1))
        if clipped:
            np.clip(sound, -1, 1, out=sound)
            self._clipped += clipped
        return sound

    def _report(self, capture: Capture, count: SampleCount, note: str, arrival_ns: int) -> None:
        self._told_ns, quality = arrival_ns, count.clock.quality
        clipped = (("clipped_samples", self._clipped),) if self._gain != 1 else ()
        self.status = PortStatus(
            connected=True,
            reason="",
            device=capture.device,
            drift_ppm=quality.drift_ppm,
            jitter_ms=quality.jitter_ms,
            uncertainty_ms=quality.uncertainty_ms,
            losses=(("overruns", self._overruns), ("samples", self._gone), *clipped),
            note=note,
        )


def _seen_by(sounddevice: Any) -> Sight:
    """In this process, where numbers may be others than in the one that looked first."""
    there = [
        Microphone(device["index"], device["name"], device["max_input_channels"], device["default_samplerate"])
        for device in sounddevice.query_devices()
        if device["max_input_channels"] > 0
    ]
    try:
        return Sight(there, sounddevice.query_devices(kind="input")["index"])
    except (sounddevice.PortAudioError, ValueError):  # there is no default
        return Sight(there, None)


def _close_unheard(opening: Future[Capture]) -> None:
    if opening.exception() is None:
        PORTAUDIO.ask(lambda: PORTAUDIO.close(opening.result()))
