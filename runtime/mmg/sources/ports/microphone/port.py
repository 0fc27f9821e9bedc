"""Microphones, through PortAudio: one device, watched, and opened again when it falls silent or comes back."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, wait
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mmg.errors import ConfigError, SourceError, SourceLost, SourceNotFound
from mmg.sources.clock.clock_map import ClockMap
from mmg.sources.ports.microphone.portaudio import IN_USE, PORTAUDIO, STALL_S, Block, Capture, require_sounddevice
from mmg.sources.ports.port import STATUS_NS, PortStatus, PortThread
from mmg.sources.url import SourceUrl, parse_url
from mmg.types import Chunk

if TYPE_CHECKING:
    from mmg.bundle.manifest import Modality
    from mmg.types import Times

OPTIONS = ("rate", "channels", "block_ms", "latency")
BLOCK_MS = 20
BUFFERED_BLOCKS = 3
"""PortAudio makes the driver's buffer of four periods: with this latency each is one block, with more it is several."""
START_S = 3.0
"""How long a device may take to its first sound; Bluetooth takes a second or two."""
AHEAD_S = 0.5
"""More sound than time has passed: no microphone does that, but a virtual one whose feed has ended."""
BEHIND_S, COUNT_AFRESH_NS, COUNT_AFRESH_LATEST_NS = -0.1, 10_000_000_000, 60_000_000_000
"""Sound and time are counted afresh now and then, as over hours any crystal runs ahead by as much; but, if it can be,
not from a block that is late, behind which others come in a burst."""
SLOW_S, CLOSE_S = 5.0, 1.0
CRYSTAL_ERROR = 1e-4


class Microphone(NamedTuple):
    """A device that records. ``number`` (PortAudio's index) and ``name`` both go into a URL; ``rate_hz`` is its own."""

    number: int
    name: str
    channels: int
    rate_hz: float


def list_microphones() -> list[Microphone]:
    """What PortAudio can record from now. Raises BackendUnavailable, SourceError."""
    require_sounddevice()
    asked = PORTAUDIO.ask(lambda: _microphones(PORTAUDIO.library("mic://")))
    if not wait([asked], SLOW_S).done:
        raise SourceError("mic://", "the sound system does not answer")
    return asked.result()


class MicrophonePort(PortThread):
    """``mic://default``, ``mic://NAME`` (part of a device's name) or ``mic://3`` (its number).

    Options: ``rate`` in Hz (else the model's where the device takes it, else the device's own), ``channels`` (else the
    first one alone), ``block_ms``, ``latency`` in ms (how much sound the driver holds while we are late). Chunks are
    ``(T, C)`` float32 at the device's rate. A process has one PortAudio: looking for a device ends other streams in it.
    """

    def __init__(self, url: SourceUrl | str, modality: Modality) -> None:
        """Raises ConfigError for options that cannot be or a modality that is no sound, BackendUnavailable."""
        url = parse_url(url) if isinstance(url, str) else url
        super().__init__(str(url), modality.name)
        for option in url.options:
            if option not in OPTIONS:
                raise ConfigError(f"{url}: unknown option {option!r}: choose from {', '.join(OPTIONS)}")
        if modality.kind != "audio":
            raise ConfigError(f"{url}: a microphone does not give {modality.name}")
        self._name = url.path
        self._rate_hz, self._model_rate_hz = float(url.number("rate", 1000, 1_000_000) or 0), modality.rate_hz
        self._channels = int(url.number("channels", 1, 128) or 1)
        self._block_s = float(url.number("block_ms", 1, 1000) or BLOCK_MS) / 1e3
        self._latency_s = float(url.number("latency", 1, 2000) or 0) / 1e3 or BUFFERED_BLOCKS * self._block_s
        require_sounddevice()
        self._wake = threading.Event()
        self._overruns = self._lost = self._told_ns = 0

    def close(self) -> None:
        """Stop; see Port. A PortAudio that does not answer is left behind."""
        self._stopping.set()
        self._wake.set()
        super().close()
        PORTAUDIO.give_time_to_close(CLOSE_S)

    def _session(self) -> None:
        capture = self._wait_for(PORTAUDIO.ask(self._open))
        if capture is None:
            return
        try:
            self._listen(capture)
        finally:
            PORTAUDIO.ask(lambda: PORTAUDIO.close(capture))

    def _wait_for(self, opening: Future[Capture]) -> Capture | None:
        """None where the port is being closed; what is opened too late is closed again."""
        opening.add_done_callback(lambda _: self._wake.set())
        while not opening.done() and not self._stopping.is_set():
            if not self._wake.wait(SLOW_S):
                self.status = replace(self.status, reason="the sound system does not answer")
            self._wake.clear()
        if opening.done():
            return opening.result()
        if not opening.cancel():
            opening.add_done_callback(_close_unheard)
        return None

    def _open(self) -> Capture:
        sounddevice = PORTAUDIO.library(self.url)
        try:
            device = self._find(sounddevice)
            rate_hz = self._resolve_settings(sounddevice, device)
            capture = Capture(f"{device.name}, {rate_hz:g} Hz, {self._channels} ch", rate_hz, self._wake)
            PORTAUDIO.open(
                capture,
                device=device.number,
                samplerate=rate_hz,
                channels=self._channels,
                blocksize=max(round(rate_hz * self._block_s), 1),
                latency=self._latency_s,
            )
        except sounddevice.PortAudioError as error:
            problem = "in use by another program" if IN_USE in error.args else f"cannot be opened: {error.args[0]}"
            raise SourceError(self.url, problem) from error
        return capture

    def _find(self, sounddevice: Any) -> Microphone:
        there = _microphones(sounddevice)
        if self._name == "default":
            found = [device for device in there if device.number == sounddevice.query_devices(kind="input")["index"]]
        elif self._name.isdecimal():
            found = [device for device in there if device.number == int(self._name)]
        else:
            found = [device for device in there if self._name.lower() in device.name.lower()]
            found = [device for device in found if device.name == self._name] or found
        if len(found) == 1:
            return found[0]
        names = ", ".join(f"{device.number} is {device.name!r}" for device in found or there) or "there is none"
        if found:
            raise SourceError(self.url, f"several match: give more of the name, or the number: {names}")
        raise SourceNotFound(self.url, f"not plugged in ({names})")

    def _resolve_settings(self, sounddevice: Any, device: Microphone) -> float:
        """The rate to open the device with; what it does not take is refused there."""
        if self._rate_hz:
            return self._rate_hz
        try:
            sounddevice.check_input_settings(device.number, self._channels, "float32", samplerate=self._model_rate_hz)
        except sounddevice.PortAudioError as error:
            if IN_USE in error.args:
                raise
            return device.rate_hz
        return self._model_rate_hz

    def _listen(self, capture: Capture) -> None:
        count = SampleCount(capture.rate_hz)
        heard_s, patience_s = time.monotonic(), START_S
        while not self._stopping.is_set():
            self._wake.wait(max(heard_s + patience_s - time.monotonic(), 0.0))
            self._wake.clear()
            ended, waiting = capture.ended, len(capture.blocks)
            for _ in range(waiting):
                self._handle(capture, count, capture.blocks.popleft())
            if ended:
                raise SourceLost(self.url, "unplugged")
            if waiting:
                heard_s, patience_s = time.monotonic(), STALL_S
            elif time.monotonic() - heard_s >= patience_s:
                raise SourceLost(self.url, f"stalled: no sound for {patience_s} s")

    def _handle(self, capture: Capture, count: SampleCount, block: Block) -> None:
        times_ns, lost = count.place(block)
        if count.ahead_s > AHEAD_S:
            raise SourceLost(self.url, "runs faster than real time: the feed of this virtual device has ended")
        self._overruns += block.overrun
        self._lost += lost
        is_news = block.overrun or lost or self.status.reason or not self.status.connected
        if is_news or block.arrival_ns - self._told_ns >= STATUS_NS:
            self._report(capture, count, block.arrival_ns)
        self._deliver(Chunk(self.modality, block.sound, times_ns, capture.rate_hz, lost))

    def _report(self, capture: Capture, count: SampleCount, arrival_ns: int) -> None:
        self._told_ns, quality = arrival_ns, count.clock.quality
        self.status = PortStatus(
            connected=True,
            reason="",
            device=capture.device,
            drift_ppm=quality.drift_ppm,
            jitter_ms=quality.jitter_ms,
            uncertainty_ms=quality.uncertainty_ms,
            losses=(("overruns", self._overruns), ("samples", self._lost)),
        )


class SampleCount:
    """Capture times by counting samples, the lost ones too."""

    def __init__(self, rate_hz: float) -> None:
        self._period_ns = 1e9 / rate_hz
        self.clock, self.ahead_s = ClockMap(self._period_ns, rate_error=CRYSTAL_ERROR), 0.0
        self._given = self._index = self._newest_ns = 0
        self._before_ns = np.empty(0, np.int64)  # from each sample of a block to its newest
        self._since = 0, 0  # sample number and arrival from which ``ahead_s`` counts

    def place(self, block: Block) -> tuple[Times, int]:
        """Capture times ``(T,)`` int64, and how many samples are lost before this block.

        Those that our own queue dropped are known. Of an overrun PortAudio says only that it happened: the driver
        has begun anew, so the block is fresh, and it is late by what is missing.
        """
        samples = len(block.sound)
        lost = block.end - samples - self._given
        if not self._given:
            self._since = samples, block.arrival_ns
        elif block.overrun:
            due_ns = self._newest_ns + (lost + samples) * self._period_ns
            lost += max(round((block.arrival_ns - due_ns) / self._period_ns), 0)
        self._given, self._index = block.end, self._index + lost + samples
        [newest_ns] = self.clock.stamp_read((self._index - 1,), block.arrival_ns)
        if len(self._before_ns) != samples:
            # Within a block the nominal rate will do: a crystal is off by microseconds in it.
            self._before_ns = np.rint(np.arange(samples - 1, -1, -1) * self._period_ns).astype(np.int64)
        times_ns = newest_ns - self._before_ns
        if int(times_ns[0]) <= self._newest_ns:
            times_ns = np.maximum(times_ns, self._newest_ns + 1 + np.arange(samples))
        self._newest_ns = int(times_ns[-1])
        self._compare(block.arrival_ns)
        return times_ns, lost

    def _compare(self, arrival_ns: int) -> None:
        first, since_ns = self._since
        elapsed_ns = arrival_ns - since_ns
        self.ahead_s = ((self._index - first) * self._period_ns - elapsed_ns) / 1e9
        is_punctual = BEHIND_S < self.ahead_s < AHEAD_S
        if elapsed_ns > (COUNT_AFRESH_NS if is_punctual else COUNT_AFRESH_LATEST_NS) and self.ahead_s < AHEAD_S:
            self._since = self._index, arrival_ns


def _microphones(sounddevice: Any) -> list[Microphone]:
    return [
        Microphone(device["index"], device["name"], device["max_input_channels"], device["default_samplerate"])
        for device in sounddevice.query_devices()
        if device["max_input_channels"] > 0
    ]


def _close_unheard(opening: Future[Capture]) -> None:
    if opening.exception() is None:
        PORTAUDIO.ask(lambda: PORTAUDIO.close(opening.result()))
