"""A sound file, replayed as a microphone: whatever libsndfile reads, at its own rate and with all its channels."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmg.bundle.manifest import Modality
from mmg.errors import SOUND, SourceError, pip_install
from mmg.sources import CHUNK_NS
from mmg.sources.files.sound_container import promised_wav_frames, walk_ogg
from mmg.sources.url import Placing, SourceUrl
from mmg.types import Chunk

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mmg.types import Times

LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 100, 1_000_000
# libsndfile says 2^63 - 1 where it cannot tell the length.
UNKNOWN_FRAMES = 1 << 62
# Samples of all channels to read at once where chunks are shorter: a call costs as much as reading a few thousand.
READ_SAMPLES = 1 << 15


class AudioFile:
    """Samples ``(T, C)`` float32, full scale 1, with ``rate_hz`` set to the file's rate.

    What is damaged is passed over: ``losses["missing"]`` counts the samples that the header promises and the file
    does not give. What follows keeps its place in time, but for an OGG damaged inside: libsndfile does not tell where.
    Raises SourceError and ConfigError.
    """

    def __init__(self, url: SourceUrl, path: Path, modality: Modality) -> None:
        url.allow(())
        self.modality, self.url = modality.name, str(url)
        self.losses: dict[str, int] = {}
        self._path = path
        self._closed = False
        try:
            self._ogg = walk_ogg(path)
            wav_frames = promised_wav_frames(path)
            with self._opened() as file:
                self._rate_hz, there, self._channels = int(file.samplerate), int(file.frames), int(file.channels)
        except OSError as error:
            raise SourceError(self.url, f"cannot be read: {error.strerror}") from error
        if there >= UNKNOWN_FRAMES:
            raise SourceError(self.url, "does not state its length: rewrite it with ffmpeg -i OLD NEW")
        if not LOWEST_RATE_HZ <= self._rate_hz <= HIGHEST_RATE_HZ or there < 1:
            raise SourceError(self.url, f"holds {there} samples at {self._rate_hz} Hz: nothing to replay")
        self._promised = max(there, wav_frames or 0, self._ogg.frames if self._ogg else 0)
        self._told_cut = self._promised > there or (self._ogg is not None and not self._ogg.whole)
        self.notes = [self._cut(there)] if self._told_cut else []
        if self._rate_hz < modality.rate_hz:
            missing = f"it contains nothing above {self._rate_hz / 2:g} Hz"
            self.notes.append(
                f"{path.name} has {self._rate_hz} samples a second, the model {modality.rate_hz:g}: {missing}"
            )
        placing = Placing.of(url, None)
        self.start_ns, self.offset_ns = placing.start_ns, placing.offset_ns
        self.duration_s = there / self._rate_hz

    def chunks(self, start_ns: int, every_ns: int = CHUNK_NS) -> Iterator[Chunk]:
        """See Recording."""
        self.losses.clear()
        given, expected = 0, 0
        size = max(1, self._rate_hz * every_ns // 1_000_000_000)
        for position, block in self._blocks(size):
            dropped, expected = position - expected, position + len(block)
            given += len(block)
            times_ns = start_ns + _sample_times_ns(position, len(block), self._rate_hz)
            for begin in range(0, len(block), size):
                if self._closed:
                    return
                part = slice(begin, begin + size)
                yield Chunk(self.modality, block[part], times_ns[part], float(self._rate_hz), 0 if begin else dropped)
        if given < self._promised and not self._closed:
            self.losses["missing"] = self._promised - given
            if not self._told_cut:
                self.notes.append(self._cut(given))
                self._told_cut = True

    def close(self) -> None:
        """Let go of the file: iterators end."""
        self._closed = True

    def _blocks(self, chunk: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Blocks of some chunks, with the position of their first sample. Where one fails they become short, so that
        little is lost with it; a short one that fails is passed over, in growing steps, and the file opened afresh
        behind it: a decoder that lost its way does not find it again by itself."""
        import soundfile

        short = max(1, self._rate_hz * CHUNK_NS // 1_000_000_000)
        short -= short % min(short, chunk)
        size = chunk * max(1, READ_SAMPLES // self._channels // chunk)
        position, step = 0, short
        while position < self._promised and not self._closed:
            with self._opened() as file:
                try:
                    file.seek(position)
                    while len(samples := file.read(size, dtype="float32", always_2d=True)) and not self._closed:
                        yield position, samples
                        position, step = position + len(samples), short
                    return
                except soundfile.SoundFileError:
                    if size > short:
                        size = short
                    else:
                        position, step = position + step, step * 2

    def _opened(self) -> Any:
        try:
            import soundfile
        except (ImportError, OSError) as error:
            raise SourceError(self.url, f"needs soundfile: {pip_install(*SOUND)}") from error
        mended = self._ogg.mended(self._path) if self._ogg and not self._ogg.whole else None
        try:
            return soundfile.SoundFile(self._path if mended is None else io.BytesIO(mended))
        except (soundfile.SoundFileError, TypeError) as error:
            why = str(error).rpartition(": ")[2].rstrip(".") or "unknown format"
            raise SourceError(
                self.url, f"is not a readable sound file ({why}): use WAV, FLAC or OGG, or convert it with ffmpeg"
            ) from error

    def _cut(self, there: int) -> str:
        if self._promised <= there:
            return f"{self._path.name} is truncated or damaged: {there / self._rate_hz:.1f} s are there"
        promised_s, there_s = self._promised / self._rate_hz, there / self._rate_hz
        lengths = f"its header promises {promised_s:.1f} s, {there_s:.1f} s are there"
        return f"{self._path.name} is truncated or damaged: {lengths}"


def _sample_times_ns(position: int, count: int, rate_hz: int) -> Times:
    """When each sample was taken, from the first sample of the file on, without a rounding that adds up."""
    seconds, rest = divmod(position, rate_hz)
    times_ns: Times = np.arange(rest, rest + count, dtype=np.int64) * 1_000_000_000 // rate_hz
    times_ns += seconds * 1_000_000_000
    return times_ns
