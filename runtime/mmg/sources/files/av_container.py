"""Files that PyAV (FFmpeg) opens and decodes: films, and sound that libsndfile does not read."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, Literal

from mmg_device_profiles.regular_file import open_regular

from mmg.errors import SourceError, pip_install
from mmg.sources.files.contents import container_of
from mmg.sources.files.mp4 import boxes

# Kinds of file that are known by what is in them, and hold it themselves. FFmpeg takes others by their names, whatever
# they hold, and some open what they name, files or addresses: ffconcat, playlists (HLS, DASH), sequences of pictures,
# SDP, subtitles.
SOUND_FORMATS = (
    "mov,mp4,matroska,webm,asf,amr,aac,ac3,eac3,aiff,ape,au,avi,caf,dts,flac,flv,mp3,mpeg,mpegts,ogg,tta,voc,w64,wav,wv"
)
FILM_FORMATS = (
    SOUND_FORMATS + ",mpegvideo,m4v,h264,hevc,av1,obu,ivf,mjpeg,nut,yuv4mpegpipe,gif,mxf,dv,rm,wtv,gxf,swf,apng"
)
# Of these, which have no header, FFmpeg guesses the length from the first packets.
GUESSED = frozenset(("aac", "ac3", "eac3", "amr", "amrnb", "amrwb", "dts", "loas", "mp3"))
MOST_PIXELS = 8192 * 4608
"""Of a picture, which takes three bytes for each and is held several times."""
BOUNDED = {"max_pixels": str(MOST_PIXELS)}
"""For a decoder: a packet may hold a larger picture than the file's header says."""
NAMES = {"video": "video", "audio": "sound file"}
TRACKS = {"video": "pictures", "audio": "sound"}


def open_container(url: str, path: Path, kind: Literal["video", "audio"], advice: str) -> Any:
    """The container, to be read for its streams of this kind. For sound no decoder of pictures is ever opened, not
    even to find out what they are.

    advice: what to do about a file that cannot be read. Raises SourceError.
    """
    try:
        import av
    except ImportError as error:
        raise SourceError(url, f"needs PyAV: {pip_install('av')}") from error
    # A title that is not UTF-8 must not cost the video; PyAV 19 sees to that by itself, and dropped the option.
    lenient: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}
    try:
        return av.open(str(path.absolute()), options=dict(file_options(kind)), **lenient)
    except (av.FFmpegError, OSError, ValueError) as error:
        if _lacks_index(path):
            raise SourceError(
                url, "is cut: it ends before its index (moov), without which nothing can be found in it: copy it again"
            ) from error
        raise SourceError(url, f"is not a readable {NAMES[kind]} ({_reason(error)}): {advice}") from error


@cache
def file_options(kind: Literal["video", "audio"]) -> Mapping[str, str]:
    """For ``av.open``: so that a file is opened and nothing that it names, and is not taken for what it is not."""
    options = {"protocol_whitelist": "file", "enable_drefs": "0"}  # the latter: what an MP4 or MOV names
    if kind == "audio":
        return {**options, "codec_whitelist": _sound_decoders(), "format_whitelist": SOUND_FORMATS}
    return {**options, **BOUNDED, "format_whitelist": FILM_FORMATS}


def _lacks_index(path: Path) -> bool:
    """Whether an MP4, M4A or 3GP ends before its index, as one does that was not closed, or was copied in part."""
    if container_of(path) != "mp4":
        return False
    with open_regular(path) as file:
        return all(name != "moov" for name, _ in boxes(file, 0, path.stat().st_size))


def choose(container: Any, kind: Literal["video", "audio"]) -> Any:
    """The first stream of this kind that can be decoded, None where there is none; the others are left unread.

    A cover's picture is no video. Raises LookupError where there are streams of this kind, and no decoder for any.
    """
    found = [stream for stream in container.streams if stream.type == kind and not _is_cover(stream)]
    chosen = next((stream for stream in found if _has_decoder(stream)), None)
    if found and chosen is None:
        raise LookupError(kind)
    for stream in container.streams:
        # PyAV before 17.1 reads them, and throws them away.
        if stream is not chosen and hasattr(stream, "discard"):
            stream.discard = type(stream.discard).all
    return chosen


def other_tracks(path: Path, container: Any, kind: Literal["video", "audio"]) -> list[str]:
    """A note where there is more than one stream of this kind."""
    count = sum(stream.type == kind and not _is_cover(stream) for stream in container.streams)
    return [f"{path.name} has {count} tracks of {TRACKS[kind]}: the first is read"] if count > 1 else []


def decoded(container: Any, stream: Any, lose: Callable[[], None]) -> Iterator[Any]:
    """Every frame that can be decoded; ``lose`` is called for each packet that cannot."""
    import av

    packets = container.demux(stream)
    while True:
        try:
            frames = next(packets).decode()
        except (StopIteration, av.EOFError):
            return
        except (av.FFmpegError, ValueError):  # PyAV's own, of a codec that it does not know
            lose()
            continue
        yield from frames


def begin_s(container: Any) -> Fraction:
    """When the earliest stream begins, on the container's clock: the time that all of its streams count from."""
    import av

    return Fraction(container.start_time or 0, av.time_base)


def seconds(ticks: int | None, base: Any) -> Fraction | None:
    """A time stamp in seconds; None where there is none, or no base to count it in."""
    if ticks is None or not base:
        return None
    return Fraction(ticks * base.numerator, base.denominator)


def length_s(container: Any, stream: Any) -> float:
    """How long after the container's beginning the stream ends: as the header promises, else by the last packet, as
    some writers leave the header open."""
    import av

    begin = begin_s(container)
    if container.format.name not in GUESSED:
        length = seconds(stream.duration, stream.time_base)
        if length:
            return float(length + (seconds(stream.start_time, stream.time_base) or begin) - begin)
        if container.duration:
            return float(Fraction(container.duration, av.time_base))
    latest = begin
    with suppress(av.FFmpegError):
        for packet in container.demux(stream):
            # A frame of sound goes on for as long as it lasts, a picture is of one moment.
            more = packet.duration or 0 if stream.type == "audio" else 0
            if packet.pts is not None:
                latest = max(latest, seconds(packet.pts + more, packet.time_base) or begin)
    return float(latest - begin)


@cache
def _sound_decoders() -> str:
    """The names of FFmpeg's decoders of sound."""
    import av

    names = []
    for name in sorted(av.codecs_available):
        with suppress(ValueError):
            if av.Codec(name, "r").type == "audio":
                names.append(name)
    return ",".join(names)


def _has_decoder(stream: Any) -> bool:
    """PyAV before 19 gives a stream that it has no decoder for no context, later ones a context of no codec."""
    return stream.codec_context is not None and stream.codec_context.codec is not None


def _is_cover(stream: Any) -> bool:
    disposition = getattr(stream, "disposition", None)
    return bool(disposition and disposition & type(disposition).attached_pic)


def _reason(error: Exception) -> str:
    if getattr(error, "errno", None) == errno.EINVAL:
        return "it is in no format that is read here"
    return getattr(error, "strerror", None) or str(error)
