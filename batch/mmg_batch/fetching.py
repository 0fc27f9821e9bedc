"""A recording where mmg can read it: what fsspec fetches goes into a folder for temporary files."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmg.errors import SourceError

from mmg_batch.recording import WEB, Entry, as_words, is_remote, name_of, open_remote

MOST_BYTES, LEAST_FREE = 1 << 36, 1 << 28
"""Of one file; and what the disk keeps free."""
LONGEST_S, CONNECT_S = 4 * 3600.0, 30.0
"""For one file, and for the server to answer."""


def fetched(entry: Entry, folder: Path, alive: Callable[[], None]) -> Entry:
    """The entry with local paths in place of URLs: ``name`` too, where it is one. Raises SourceError.

    alive: called with each block that has come.
    """
    places = dict.fromkeys(place for place in (*entry.places, entry.truth) if place and is_remote(place))
    local = {url: name_of(_fetch(url, folder / str(number), alive)) for number, url in enumerate(places)}
    if not local:
        return entry
    urls = {name: local.get(url, url) for name, url in entry.urls.items()}
    return replace(entry, name=local.get(entry.name, entry.name), urls=urls, truth=local.get(entry.truth, entry.truth))


def _fetch(url: str, folder: Path, alive: Callable[[], None]) -> Path:
    system, path = open_remote(url, **_options(url))
    from fsspec.callbacks import Callback

    folder.mkdir()
    is_web = path.lower().startswith(WEB)
    target = folder / (Path(path.partition("?")[0] if is_web else path).name or "recording")
    end_s = time.monotonic() + LONGEST_S

    def check(size: int | None, value: int, **_: object) -> None:
        alive()
        if max(size or 0, value) > MOST_BYTES:
            raise SourceError(url, f"is larger than {MOST_BYTES >> 30} GiB: it is not fetched")
        if max((size or 0) - value, 0) + LEAST_FREE > shutil.disk_usage(folder).free:
            raise SourceError(url, f"there is no room for it in {folder.parent.parent}, where it is fetched to")
        if time.monotonic() > end_s:
            raise SourceError(url, f"was not fetched within {LONGEST_S / 3600:g} hours")

    try:
        system.get_file(path, str(target), callback=Callback(hooks={"check": check}))
    except FileNotFoundError as error:
        raise SourceError(url, "there is no such file") from error
    except SourceError:
        raise
    except Exception as error:  # each file system has errors of its own
        raise SourceError(url, f"cannot be fetched: {as_words(error)}") from error
    return target


def _options(url: str) -> dict[str, Any]:
    """For the web, whose client gives up after five minutes by itself."""
    if not url.lower().startswith(WEB):
        return {}
    try:
        import aiohttp
    except ImportError:
        return {}  # fsspec says what is missing
    return {"timeout": aiohttp.ClientTimeout(total=LONGEST_S, sock_connect=CONNECT_S)}
