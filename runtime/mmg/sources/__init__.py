"""Sources: a URL names a sensor. Recordings are files that replay as one, ports are sensors that are plugged in now.

Nothing heavy is imported here: each kind of file or port brings its own libraries when it is opened.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mmg_device_profiles.regular_file import open_regular

from mmg.errors import ConfigError, SourceError, SourceNotFound
from mmg.sources.files.contents import container_of
from mmg.sources.url import SourceUrl, live_url_of, parse_url

if TYPE_CHECKING:
    from mmg.bundle.manifest import Modality
    from mmg.sources.ports.port import Port
    from mmg.types import Chunk


PORTS = ("serial", "iio", "mic", "camera")
"""The schemes of live ports."""
CHUNK_NS = 100_000_000
"""How much of a recording a chunk holds, if nothing else is asked for: about what ports deliver."""


class Recording(Protocol):
    """A file that replays as a sensor.

    modality: the modality's name. url: where it comes from.
    start_ns: the time of the first sample on the file's own clock, with the URL's ``start`` and ``offset`` applied;
        None where the file has no clock and the URL gives no ``start``.
    offset_ns: what the URL adds to whatever start is chosen for a recording that has none; else 0.
    duration_s: from the ``start_ns`` that ``chunks`` is given to the last sample, as far as the file tells.
    losses: what could not be used, by reason, in rows, samples or frames. Complete once all chunks were read.
    notes: lines worth telling the user once; reading may add some.
    """

    @property
    def modality(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def start_ns(self) -> int | None: ...
    @property
    def offset_ns(self) -> int: ...
    @property
    def duration_s(self) -> float: ...
    @property
    def losses(self) -> dict[str, int]: ...
    @property
    def notes(self) -> list[str]: ...

    def chunks(self, start_ns: int, every_ns: int = CHUNK_NS, /) -> Iterator[Chunk]:
        """All samples in order, about ``every_ns`` a chunk (video: one frame; Aria's sound: one of its blocks). The
        first is stamped ``start_ns``, save that of a track that starts later than its container. Every call
        begins anew; one at a time."""
        ...

    def close(self) -> None:
        """Let go of the file, at once or at the next chunk: whoever iterates comes to an end. Twice is fine."""
        ...


def is_live(url: str) -> bool:
    """Whether this URL is of a port. Raises ConfigError for a URL that cannot be."""
    return parse_url(url).scheme in PORTS


def check_scheme(url: str) -> None:
    """Raises ConfigError for a URL that neither a recording nor a port can be at."""
    scheme, known = parse_url(url).scheme, ("file", *PORTS)
    if scheme not in known:
        raise ConfigError(f"{url}: unknown scheme {scheme}://: known are {', '.join(f'{one}://' for one in known)}")


def open_source(url: str, modality: Modality, *, allow_video: bool = False) -> Recording:
    """Open the recording that ``url`` names as this modality's sensor.

    Raises ConfigError for a URL or option that cannot be, and for video without ``allow_video``, before anything is
    opened; SourceNotFound where there is no file; SourceError where it cannot be used.
    """
    _refuse_video(url, modality, allow_video)
    check_scheme(url)
    parsed = parse_url(url)
    if parsed.scheme != "file":
        raise ConfigError(f"{url}: is a live port, and here a recording is wanted")
    return _open_path(parsed, modality)


def open_port(url: str, modality: Modality, *, allow_video: bool = False) -> Port:
    """The port that ``url`` names, not started: it looks for its device by itself, for as long as it lives.

    Raises ConfigError for a URL or option that cannot be, for video without ``allow_video``, and for a device that
    cannot give this modality; BackendUnavailable, SourceError where a library is missing.
    """
    _refuse_video(url, modality, allow_video)
    parsed = parse_url(url)
    if parsed.scheme == "serial":
        from mmg.sources.ports.serial.port import SerialPort

        return SerialPort(parsed, modality)
    if parsed.scheme == "iio":
        from mmg.sources.ports.iio.port import IioPort

        return IioPort(parsed, modality)
    if parsed.scheme == "mic":
        from mmg.sources.ports.microphone.port import MicrophonePort

        return MicrophonePort(parsed, modality)
    if parsed.scheme == "camera":
        from mmg.sources.ports.camera import CameraPort

        return CameraPort(parsed, modality, allow_video=allow_video)
    raise ConfigError(f"{url}: is not a port: known are {', '.join(f'{scheme}://' for scheme in PORTS)}")


def _refuse_video(url: str, modality: Modality, allow_video: bool) -> None:
    if modality.kind == "video" and not allow_video:
        raise ConfigError(f"{modality.name}: the camera stays closed: add --allow-video to use {url}")


def open_file(url: SourceUrl, path: Path, modality: Modality) -> Recording:
    """The recording of this modality in a file. Raises SourceError, ConfigError."""
    container = container_of(path)
    if container == "mcap":
        from mmg.sources.files.mcap import McapSensor

        return McapSensor(url, path, modality)
    if container == "vrs" or path.suffix.lower() == ".vrs":
        from mmg.sources.files.vrs import open_vrs

        return open_vrs(url, path, modality)
    if modality.kind == "audio":
        from mmg.sources.files.sound.file import open_sound

        return open_sound(url, path, modality)
    if modality.kind == "video":
        from mmg.sources.files.video import VideoFile

        return VideoFile(url, path, modality)
    if container == "mp4":
        from mmg.sources.files.gopro import GoProImu

        return GoProImu(url, path, modality)
    if container == "matroska":
        raise SourceError(str(url), "is a film or sound, which holds no IMU that mmg reads")
    if "with" in url.options:
        from mmg.sources.files.folder import open_with

        return open_with(url, path, modality)
    from mmg.sources.files.interleaved import open_table_file

    return open_table_file(url, path, modality)


def _open_path(url: SourceUrl, modality: Modality) -> Recording:
    path = readable(url)
    if path.is_dir():
        from mmg.sources.files.folder import open_part

        return open_part(url, path, modality)
    if path.suffix.lower() == ".zip":
        from mmg.sources.files.folder import open_part, unpacked

        return open_part(url, unpacked(str(url), path.absolute()), modality)
    return open_file(url, path, modality)


def readable(url: SourceUrl) -> Path:
    """The file or folder that the URL names. Raises SourceNotFound, SourceError."""
    path = Path(url.path)
    try:
        found = path.stat()
        if stat.S_ISREG(found.st_mode):
            open_regular(path).close()
        elif stat.S_ISDIR(found.st_mode):
            next(path.iterdir(), None)
    except (FileNotFoundError, NotADirectoryError) as error:
        meant = live_url_of(path)
        hint = f" (a {meant[0]} is {meant[1]})" if meant else ""
        raise SourceNotFound(str(url), f"there is no file {path.absolute()}{hint}") from error
    except OSError as error:
        raise SourceError(str(url), f"cannot be read: {error.strerror}") from error
    if stat.S_ISDIR(found.st_mode):
        return path
    if not stat.S_ISREG(found.st_mode):
        meant = live_url_of(path) if path.is_char_device() else None
        hint = f"write {meant[1]} for a {meant[0]}" if meant else "name one recording"
        raise SourceError(str(url), f"is not a regular file: {hint}")
    if found.st_size == 0:
        raise SourceError(str(url), "is empty")
    return path
