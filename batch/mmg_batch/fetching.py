"""A recording where mmg can read it: what fsspec fetches goes into a folder for temporary files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mmg.errors import SourceError

from mmg_batch.recording import Entry, as_words, is_remote, open_remote


def fetched(entry: Entry, folder: Path, alive: Callable[[], None]) -> Entry:
    """The entry with local paths in place of URLs: ``name`` too, where it is one. Raises SourceError.

    alive: called with each block that has come.
    """
    places = dict.fromkeys(place for place in (*entry.places, entry.truth) if place and is_remote(place))
    local = {url: str(_fetch(url, folder / str(number), alive)) for number, url in enumerate(places)}
    if not local:
        return entry
    urls = {name: local.get(url, url) for name, url in entry.urls.items()}
    return replace(entry, name=local.get(entry.name, entry.name), urls=urls, truth=local.get(entry.truth, entry.truth))


def _fetch(url: str, folder: Path, alive: Callable[[], None]) -> Path:
    system, path = open_remote(url)
    from fsspec.callbacks import Callback

    folder.mkdir()
    target = folder / (Path(path).name or "recording")
    try:
        system.get_file(path, str(target), callback=Callback(hooks={"alive": lambda *_, **__: alive()}))
    except FileNotFoundError as error:
        raise SourceError(url, "there is no such file") from error
    except Exception as error:  # each file system has errors of its own
        raise SourceError(url, f"cannot be fetched: {as_words(error)}") from error
    return target
