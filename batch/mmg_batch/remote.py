"""The recordings behind a URL that fsspec reads."""

from __future__ import annotations

import re
from collections.abc import Callable

from mmg.errors import ConfigError

from mmg_batch.recording import WEB, as_words, open_remote

MAGIC = re.compile(r"[*?[]")
"""What makes a glob of a name."""


def remote_files(url: str, is_recording: Callable[[str], bool]) -> list[str]:
    """The URL itself, or those of the files that it matches or that are in the folder that it names.

    is_recording: chooses among these by their names. On the web a ``?`` begins a query, and a folder ends in ``/``:
    to ask a server what else is one would fetch the file. Raises ConfigError, SourceError, BackendUnavailable.
    """
    system, path = open_remote(url)
    is_web, chain = path.lower().startswith(WEB), url.split("::")[1:]
    try:
        if magic := MAGIC.search(path.partition("?")[0] if is_web else path):
            found, folder = system.glob(path), f"{path[: magic.start()].rpartition('/')[0]}/"
        elif path.endswith("/") if is_web else system.isdir(path):
            found, folder = system.find(path), path
        else:
            return [url]
        if not found and is_web:  # so it is too where the server is not there
            system.ls(folder, detail=False)
    except FileNotFoundError as error:
        raise ConfigError(f"{url}: there is no such page") from error
    except Exception as error:  # each file system has errors of its own
        raise ConfigError(f"{url}: cannot be listed: {as_words(error)}") from error
    named = [str(system.unstrip_protocol(one)) for one in sorted(found) if is_recording(one)]
    return ["::".join((one, *chain)) for one in named]
