"""Sources: a URL names a sensor. Recordings are files that replay as one; this module opens them.

Nothing heavy is imported here: each kind of file brings its own libraries when it is opened.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mmg.errors import ConfigError, SourceError, SourceNotFound
from mmg.sources.url import SourceUrl, parse_url

if TYPE_CHECKING:
    from mmg.bundle.manifest import Modality
    from mmg.types import Chunk


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

    def chunks(self, start_ns: int) -> Iterator[Chunk]:
        """All samples in order, about 100 ms a chunk (video: one frame). The first is stamped ``start_ns``,
        save that of a video stream that starts later than its container. Every call begins anew; one at a time.
        """
        ...

    def close(self) -> None:
        """Let go of the file, at once or at the next chunk: whoever iterates comes to an end. Twice is fine."""
        ...


def open_source(url: str, modality: Modality, *, allow_video: bool = False) -> Recording:
    """Open what ``url`` names as this modality's sensor.

    Raises ConfigError for a URL or option that cannot be, and for video without ``allow_video``, before anything is
    opened; SourceNotFound where there is no file; SourceError where it cannot be used.
    """
    if modality.kind == "video" and not allow_video:
        raise ConfigError(f"{modality.name}: the camera stays closed: add --allow-video to use {url}")
    parsed = parse_url(url)
    opener = _OPENERS.get(parsed.scheme)
    if opener is None:
        known = ", ".join(f"{scheme}://" for scheme in _OPENERS)
        raise ConfigError(f"{url}: unknown scheme {parsed.scheme}://: known are {known}")
    return opener(parsed, modality)


def _open_file(url: SourceUrl, modality: Modality) -> Recording:
    path = _regular_file(url)
    if path.suffix.lower() == ".vrs":
        from mmg.sources.vrs_file import open_vrs

        return open_vrs(url, path, modality)
    if modality.kind == "audio":
        from mmg.sources.audio_file import AudioFile

        return AudioFile(url, path, modality)
    if modality.kind == "video":
        from mmg.sources.video_file import VideoFile

        return VideoFile(url, path, modality)
    from mmg.sources.csv_file import CsvFile

    return CsvFile(url, path, modality)


def _regular_file(url: SourceUrl) -> Path:
    path = Path(url.path)
    try:
        found = path.stat()
        if stat.S_ISREG(found.st_mode):
            path.open("rb").close()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SourceNotFound(str(url), f"there is no file {path.absolute()}") from error
    except OSError as error:
        raise SourceError(str(url), f"cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(found.st_mode):
        kind = "a directory" if stat.S_ISDIR(found.st_mode) else "not a regular file"
        raise SourceError(str(url), f"is {kind}: name one recording")
    if found.st_size == 0:
        raise SourceError(str(url), "is empty")
    return path


_OPENERS: dict[str, Callable[[SourceUrl, Modality], Recording]] = {"file": _open_file}
