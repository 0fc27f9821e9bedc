"""A recording as a whole: every sensor in it, on one clock. Nothing is decided."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType

from mmg.bundle import Modality
from mmg.errors import ConfigError
from mmg.runs.recorded import open_present, pair
from mmg.sources import Recording, is_live, open_source
from mmg.sources.files.folder import kinds_in
from mmg.sources.url import parse_url


@dataclass(frozen=True)
class Whole:
    """Open recordings, and when each begins. A context; ``close`` lets go of them.

    duration_s: from the first sample of any to the last of all, as far as the files tell: what a decision's ``t_s``
    and a label's times count from and to.
    """

    recordings: tuple[Recording, ...]
    starts_ns: Mapping[str, int]

    @property
    def origin_ns(self) -> int:
        """When it begins."""
        return min(self.starts_ns.values())

    @property
    def duration_s(self) -> float:
        """See above."""
        return max((self.starts_ns[one.modality] - self.origin_ns) / 1e9 + one.duration_s for one in self.recordings)

    def close(self) -> None:
        """Let go of the files."""
        for one in self.recordings:
            one.close()

    def __enter__(self) -> Whole:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()


def sensors_in(recording: str, modalities: Iterable[Modality]) -> dict[str, str]:
    """Modality -> URL, for those of which a file, folder or archive holds the kind. Raises SourceError, ConfigError."""
    if is_live(recording):
        raise ConfigError(f"{recording} is a live port, and here a recording is wanted")
    kinds = kinds_in(parse_url(recording))
    return {one.name: recording for one in modalities if one.kind in kinds}


def open_whole(
    urls: Mapping[str, str],
    modalities: Iterable[Modality],
    report: Callable[[str], None],
    *,
    allow_video: bool = False,
) -> Whole:
    """Open every URL; what cannot be opened is left out, and ``report`` gets why.

    Raises NoSensorError where nothing is left, ConfigError where two sensors never overlap.
    """
    known = {one.name: one for one in modalities}
    opened = open_present(urls, lambda name, url: open_source(url, known[name], allow_video=allow_video), report)
    try:
        starts_ns = {one.modality: start_ns for one, start_ns in zip(opened, pair(opened), strict=True)}
    except BaseException:
        for one in opened:
            one.close()
        raise
    return Whole(tuple(opened), starts_ns)
