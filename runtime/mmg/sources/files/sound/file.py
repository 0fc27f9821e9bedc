"""A sound file, replayed as a microphone: whatever libsndfile reads, at its own rate and with all its channels."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmg_device_profiles.regular_file import open_regular

from mmg.bundle.manifest import Modality
from mmg.errors import SOUND, SourceError, pip_install
from mmg.sources import CHUNK_NS, Recording
from mmg.sources.files.contents import container_of
from mmg.sources.files.sound.lengths import find_length
from mmg.sources.files.sound.ogg import walk_ogg
from mmg.sources.files.sound.rate import HIGHEST_HZ, LOWEST_HZ, sample_times_ns, too_slow
from mmg.sources.files.sound.spliced import Spliced
from mmg.sources.url import Placing, SourceUrl
from mmg.types import Chunk

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mmg.sources.files.sound.mp3 import Mp3

# Samples of all channels to read at once where chunks are shorter: a call costs as much as reading a few thousand.
READ_SAMPLES = 1 << 15
# libsndfile says 2^63 - 1 where it cannot tell the length.
UNKNOWN_FRAMES = 1 << 62
MP3 = "MPEG_LAYER_III"
USUAL = (b"RIFF", b"RIFX", b"RF64", b"riff", b"FORM", b"caff", b".snd", b"dns.", b"fLaC", b"OggS", b"ID3", b"Crea")
"""Of WAV, W64, AIFF, CAF, AU, FLAC, OGG, MP3 and VOC."""
OF_LABORATORIES = (
    b"NIST",
    b"2BIT",
    b" paf",
    b"fap ",
    b"PVF1",
    b"MATL",
    b"d\xa3",
    *(b"\0%c\xa3d" % one for one in (1, 2, 3, 4)),
)
"""Of SPHERE, AVR, PAF, PVF, MATLAB 5 and IRCAM."""
BEGINNINGS = USUAL + OF_LABORATORIES


class NoSoundFile(SourceError):
    """libsndfile does not read this file."""


def open_sound(url: SourceUrl, path: Path, modality: Modality) -> Recording:
    """The sound of a file: libsndfile's where it reads the file, else PyAV's. Raises SourceError and ConfigError."""
    if container_of(path) is None:
        try:
            return AudioFile(url, path, modality)
        except NoSoundFile:
            if importlib.util.find_spec("av") is None:
                raise
    from mmg.sources.files.sound.container import ContainerSound

    return ContainerSound(url, path, modality)


class AudioFile:
    """Samples ``(T, C)`` float32, full scale 1, with ``rate_hz`` set to the file's rate.

    What is damaged is passed over: ``losses["missing"]`` counts the samples that the header promises and the file
    does not give. What follows keeps its place in time, but for an OGG damaged inside: libsndfile does not tell where.
    A header that promises less than is there is not believed, and a note says so. Raises SourceError and ConfigError.
    """

    def __init__(self, url: SourceUrl, path: Path, modality: Modality) -> None:
        url.allow(())
        self.modality, self.url = modality.name, str(url)
        self.losses: dict[str, int] = {}
        self._path = path
        self._closed = False
        try:
            self._repair = _Repair(path)
            with self._opened() as file:
                self._repair.format = str(file.format)
            with self._opened() as file:
                self._rate_hz, there, self._channels = int(file.samplerate), int(file.frames), int(file.channels)
                self._slack = _mp3_slack() if file.subtype == MP3 else 0
        except OSError as error:
            raise SourceError(self.url, f"cannot be read: {error.strerror}") from error
        if there >= UNKNOWN_FRAMES:
            raise SourceError(self.url, "does not state its length: rewrite it with ffmpeg -i OLD NEW")
        if not LOWEST_HZ <= self._rate_hz <= HIGHEST_HZ or there < 1:
            raise SourceError(self.url, f"holds {there} samples at {self._rate_hz} Hz: nothing to replay")
        self._promised = self._repair.promised(there, self._rate_hz)
        self._told_cut = self._promised > there or self._repair.cut
        self.notes = [self._cut(there)] if self._told_cut else []
        self.notes += [f"{path.name} {note.format(there / self._rate_hz)}" for note in self._repair.notes]
        self.notes += too_slow(path.name, self._rate_hz, modality.rate_hz)
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
            times_ns = start_ns + sample_times_ns(position, len(block), self._rate_hz)
            for begin in range(0, len(block), size):
                if self._closed:
                    return
                part = slice(begin, begin + size)
                yield Chunk(self.modality, block[part], times_ns[part], float(self._rate_hz), 0 if begin else dropped)
        if given < self._promised - self._slack and not self._closed:
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
                    if position:
                        file.seek(position)
                    while len(samples := file.read(size, dtype="float32", always_2d=True)) and not self._closed:
                        yield position, samples
                        position, step = position + len(samples), short
                    return
                except soundfile.SoundFileError:
                    if not file.seekable():
                        return
                    if size > short:
                        size = short
                    else:
                        position, step = position + step, step * 2

    def _opened(self) -> Any:
        try:
            import soundfile
        except (ImportError, OSError) as error:
            raise SourceError(self.url, f"needs soundfile: {pip_install(*SOUND)}") from error
        try:
            if not _begins_as_sound(self._path):
                raise TypeError("unknown format")
            return soundfile.SoundFile(self._repair.mended() or os.fsencode(self._path))
        except (soundfile.SoundFileError, TypeError) as error:
            why = str(error).rpartition(": ")[2].rstrip(".") or "unknown format"
            others = f"M4A, MP4, 3GP, WebM and others need PyAV: {pip_install('av')}"
            raise NoSoundFile(
                self.url, f"is not a readable sound file ({why}): WAV, FLAC, OGG and MP3 are read; {others}"
            ) from error

    def _cut(self, there: int) -> str:
        if self._promised <= there:
            return f"{self._path.name} is truncated or damaged: {there / self._rate_hz:.1f} s are there"
        promised_s, there_s = self._promised / self._rate_hz, there / self._rate_hz
        lengths = f"its header promises {promised_s:.1f} s, {there_s:.1f} s are there"
        return f"{self._path.name} is truncated or damaged: {lengths}"


def _mp3_slack() -> int:
    from mmg.sources.files.sound.mp3 import FRAME_SAMPLES, PRIMING_FRAMES

    return PRIMING_FRAMES * FRAME_SAMPLES


def _begins_as_sound(path: Path) -> bool:
    """For anything else libsndfile opens the file that macOS hides beside it (``._NAME``), and takes what is called
    .vox, .gsm or the like for bare samples, whatever it holds."""
    with open_regular(path) as file:
        head = file.read(4)
    return head.startswith(BEGINNINGS) or (head[:1] == b"\xff" and head[1:2] >= b"\xe0")


class _Repair:
    """What a file's container says wrong of itself, and the file with that put right.

    format: what libsndfile takes it for, once that is known. notes: what to tell, with a place for the length in
    seconds. cut: whether the end is missing, as far as its pages tell. Raises OSError.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.format = ""
        self._length, self._ogg = find_length(path), walk_ogg(path)
        self.cut = self._ogg is not None and not self._ogg.whole
        self.notes: list[str] = []
        if self._length and not self._length.sure:
            length = "too short a length" if self._length.stated else "no length"
            self.notes.append(f"has {length} in its header: all {{:.1f}} s up to its end are read")
        if self._ogg and self._ogg.others:
            self.notes.append("holds several recordings one after another: only the first, of {:.1f} s, is read")

    def promised(self, there: int, rate_hz: int) -> int:
        """How many samples a channel there should be, by the header and where ``there`` can be read."""
        if self._length and self._length.stated and self._length.sure and self._length.there:
            return there * self._length.stated // self._length.there
        if self._ogg:
            return there + self._ogg.beyond * rate_hz // (self._ogg.counted_hz or rate_hz)
        return there

    def mended(self) -> Spliced | None:
        """The file as it should be, None where it is so already."""
        if self._length and not (self._length.sure and self._length.stated is not None):
            return self._length.mended(self._path)
        if self._ogg and not self._ogg.whole:
            return self._ogg.mended(self._path)
        if self.format == "MP3" and (mp3 := self._mp3):
            return mp3.mended(self._path)
        from mmg.sources.files.sound.flac import mended_flac

        return mended_flac(self._path)

    @cached_property
    def _mp3(self) -> Mp3 | None:
        from mmg.sources.files.sound.mp3 import walk_mp3

        return walk_mp3(self._path)
