"""How long a sound is by its header, and by what is there: WAV, RF64, W64, AIFF, CAF and AU.

A recorder whose battery went leaves the length that it wrote last: nothing, or half of the sound.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from mmg_device_profiles.regular_file import open_regular

from mmg.sources.files.sound.spliced import Spliced

MOST_CHUNKS = 1000
# What follows a whole sound is less than this where no chunk explains it.
LEAST_REST = 1024
BLOCK = 1 << 20
GUID_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
# Written behind the sound by tools that know nothing of chunks.
TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICSBEGIN")
KNOWN = frozenset(
    b"LIST|INFO|id3 |ID3 |bext|iXML|axml|chna|fact|cue |plst|smpl|inst|PEAK|JUNK|junk|PAD |FLLR|DISP|_PMX|afsp|acid|"
    b"strc|cart|umid|levl|minf|elm1|regn|ovwf|COMM|MARK|COMT|NAME|AUTH|ANNO|APPL|MIDI|AESD|FVER|info|free|strg|mark|"
    b"uuid|edct|kuki|pakt|peak".split(b"|")
)


@dataclass(frozen=True, slots=True)
class Layout:
    """A kind of file that is a row of chunks.

    first: where the first chunk begins. header: a chunk's name and size. sound: the name of the sound's chunk.
    counted: bytes of the header that its size counts too. padded: what chunks are rounded up to. ahead: bytes in the
    sound's chunk before the sound.
    """

    first: int
    header: struct.Struct
    sound: bytes
    counted: int = 0
    padded: int = 2
    ahead: int = 0

    @property
    def size_layout(self) -> struct.Struct:
        """How a chunk's size, the end of its header, is written."""
        return struct.Struct(self.header.format[0] + self.header.format[-1])


WAV = Layout(12, struct.Struct("<4sI"), b"data")
LAYOUTS = {
    b"RIFF": WAV,
    b"RF64": WAV,
    b"FORM": Layout(12, struct.Struct(">4sI"), b"SSND", ahead=8),
    b"caff": Layout(8, struct.Struct(">4sQ"), b"data", padded=1, ahead=4),
    b"riff": Layout(40, struct.Struct("<16sQ"), b"data" + GUID_TAIL, counted=24, padded=8),
}
FORMS = {b"RIFF": (b"WAVE",), b"RF64": (b"WAVE",), b"FORM": (b"AIFF", b"AIFC")}


@dataclass(frozen=True, slots=True)
class Length:
    """The sound in a file, in bytes.

    begin: where it begins. stated: how long its header says it is, None for "until the end". there: how much of that
    is in the file. sure: whether the header is to be believed. size: where it says so, how, and what it counts besides.
    riff: whether that is a plain WAV.
    """

    begin: int
    stated: int | None
    there: int
    sure: bool
    size: tuple[int, struct.Struct, int]
    riff: bool = False

    def mended(self, path: Path) -> Spliced:
        """The file with the length that it has."""
        place, layout, more = self.size
        length, end = self.there + more, self.begin + self.there
        most = (1 << 8 * layout.size) - 1
        start, right = (0, place), layout.pack(min(length, most))
        if length < most or not self.riff:
            return Spliced(path, [start, right, (place + layout.size, end)])
        # EBU Tech 3306: an RF64 is a RIFF whose sizes are in a chunk of its own, in 64 bits.
        wide = struct.pack("<4sI4s4sIQQQI", b"RF64", 0xFFFFFFFF, b"WAVE", b"ds64", 28, end, length, 0, 0)
        return Spliced(path, [wide, (WAV.first, place), right, (place + layout.size, end)])


def find_length(path: Path) -> Length | None:
    """What the header says of the sound's length; None for other files, and where there is no sound."""
    end = path.stat().st_size
    with open_regular(path) as file:
        start = file.read(16)
        if start[:4] == b".snd":
            return _au(file, start, end)
        layout, form = LAYOUTS.get(start[:4]), start[8:12]
        if layout is None or form not in FORMS.get(start[:4], (form,)):
            return None
        length = _chunked(file, layout, end)
        return replace(length, riff=True) if length and start.startswith(b"RIFF") else length


def _au(file: BinaryIO, start: bytes, end: int) -> Length | None:
    layout = struct.Struct(">I")
    begin, stated = struct.unpack_from(">II", start, 4) if len(start) == 16 else (0, 0)
    if not 24 <= begin <= end:
        return None
    return _judged(file, WAV, begin, None if stated == 0xFFFFFFFF else stated, end, (8, layout, 0))


def _chunked(file: BinaryIO, layout: Layout, end: int) -> Length | None:
    place, wide = layout.first, None
    for _ in range(MOST_CHUNKS):
        if place >= end:  # by a size that may be more than a place in a file can be
            return None
        file.seek(place)
        header = _unpack(file, layout.header)
        if header is None:
            return None
        name, size = header
        inside = place + layout.header.size
        if name == b"ds64" and (sizes := _unpack(file, struct.Struct("<QQ"))):
            wide = (inside + 8, sizes[1])
        if name == layout.sound:
            written = layout.size_layout
            field = (inside - written.size, written)
            more = layout.counted + layout.ahead
            stated = None if _is_open(size, layout) else max(0, size - more)
            if wide and size == 0xFFFFFFFF:
                field, stated = (wide[0], struct.Struct("<Q")), wide[1]
            return _judged(file, layout, inside + layout.ahead, stated, end, (*field, more))
        size = max(0, size - layout.counted)
        place = inside + size + -size % layout.padded
    return None


def _is_open(size: int, layout: Layout) -> bool:
    """Whether this stands for "until the end": ffmpeg writes 0xFFFFFFFF, arecord 0x7FFFFFFF or so, CAF -1."""
    if layout.size_layout.size == 8:
        return size >= 1 << 63
    return 0x7FFF0000 <= size <= 0x7FFFFFFF or size >= 0xFFFF0000


def _judged(
    file: BinaryIO, layout: Layout, begin: int, stated: int | None, end: int, size: tuple[int, struct.Struct, int]
) -> Length:
    all_of_it = end - begin
    if stated is None:
        return Length(begin, None, all_of_it, True, size)
    if stated < all_of_it and _is_sound(file, layout, begin + stated, end, stated):
        return Length(begin, stated, all_of_it, False, size)
    return Length(begin, stated, min(stated, all_of_it), True, size)


def _is_sound(file: BinaryIO, layout: Layout, place: int, end: int, stated: int) -> bool:
    """Whether what follows the stated end is more of the sound: neither chunks nor tags nor emptiness."""
    if stated and end - place < LEAST_REST:
        return False
    file.seek(place)
    if file.read(11).startswith(TAGS):
        return False
    if any(_are_chunks(file, layout, place + shift, end) for shift in {0, -stated % layout.padded}):
        return False
    file.seek(place)
    return any(block.strip(b"\0") for block in iter(lambda: file.read(BLOCK), b""))


def _are_chunks(file: BinaryIO, layout: Layout, place: int, end: int) -> bool:
    """Whether a chunk that is known begins here, or a row of any that ends with the file."""
    for _ in range(MOST_CHUNKS):
        if end - 1 <= place <= end + 1:
            return True
        if place > end:
            return False
        file.seek(place)
        header = _unpack(file, layout.header)
        if header is None:
            return False
        name, size = header
        if name in KNOWN or (len(name) == 16 and name.endswith(GUID_TAIL)):
            return True
        if not all(0x20 <= letter <= 0x7E for letter in name[:4]):
            return False
        size = max(0, size - layout.counted)
        place += layout.header.size + size + -size % layout.padded
    return False


def _unpack(file: BinaryIO, layout: struct.Struct) -> tuple[Any, ...] | None:
    data = file.read(layout.size)
    return layout.unpack(data) if len(data) == layout.size else None
