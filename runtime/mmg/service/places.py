"""The files that a service's run names: what it reads, what it writes, and what only it may read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode

from mmg.errors import ConfigError
from mmg.service.hidden import hidden_above, ways_to
from mmg.sinks.url import parse_sink_url

STATE, SECRETS = Path("/var/lib"), Path("/run/credentials")
READ = ("--taught", "--bundle", "--trust", "--profile")
NAMING = (*READ, "--to", "--record")
PAGE = "--page"
"""Its address may be left out."""
SECRET_OPTIONS, WRITTEN_OPTIONS = ("credentials", "key", "cert", "ca"), ("token_file",)
"""Options of sinks that name a file."""


@dataclass
class Places:
    """words: of mmg-run's command line, with every path absolute. reads: files and folders. writes: folders outside
    the service's own. state: its own, below /var/lib. secrets: name -> file, handed to the service alone.
    copies: file of its own -> the one that it begins as. notes: what is worth telling."""

    words: list[str] = field(default_factory=list)
    reads: list[Path] = field(default_factory=list)
    writes: list[Path] = field(default_factory=list)
    state: list[str] = field(default_factory=list)
    secrets: dict[str, Path] = field(default_factory=dict)
    copies: dict[Path, Path] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def place(words: Sequence[str], name: str, folder: Path, *, teaches: bool = False) -> Places:
    """Of a command line that mmg-run takes. name: the service's. folder: from where relative paths that are read count;
    what is written goes below /var/lib/NAME. teaches: whether the run writes to its file of taught activities.
    Raises ConfigError.
    """
    places = Places(state=[name])
    placed = _Placing(places, name, folder, teaches)
    left = list(words)
    while left:
        flag, equals, value = left[0].partition("=")
        has_value = flag in NAMING or (flag == PAGE and (equals or not "".join(left[1:2]).startswith("-")))
        if not has_value:
            places.words.append(left.pop(0))
            continue
        del left[0]
        if equals or left:  # the last flag may be a page without its address
            places.words += [flag, placed.value(flag, value if equals else left.pop(0))]
        else:
            places.words.append(flag)
    return places


@dataclass
class _Placing:
    places: Places
    name: str
    folder: Path
    teaches: bool

    def value(self, flag: str, value: str) -> str:
        if flag == "--record":
            return self._recordings(value)
        if flag in ("--to", PAGE):
            return self._sink(value)
        if flag == "--taught" and self.teaches:
            return str(self._taught(value))
        is_name = value == "starter" if flag == "--bundle" else flag == "--profile" and "/" not in value
        if is_name and not value.endswith(".toml"):
            return value
        return str(self._read(flag, value))

    def _read(self, flag: str, value: str) -> Path:
        path = Path(os.path.abspath(self.folder / value))  # noqa: PTH100
        check_readable(path, flag)
        ways = ways_to(path)
        for way in ways[1:] if not hidden_above(path) else ():  # in place of a hidden link, what it leads to is shown
            check_readable(way, flag)
        self.places.reads += ways
        return path

    def _taught(self, value: str) -> Path:
        """A file that grows is the service's own: in the folder of somebody else its user could replace none."""
        path = Path(os.path.abspath(self.folder / value))  # noqa: PTH100
        if path.is_relative_to(STATE / self.name):
            return self._written("--taught", str(path))
        own = self._written("--taught", path.name)
        if path.exists():
            self.places.copies[own] = self._read("--taught", value)
            self.places.notes.append(f"{path}: is copied there if nothing is there; what the page teaches stays there")
        return own

    def _recordings(self, value: str) -> str:
        if value.endswith(".mcap"):
            raise ConfigError(
                f"--record {value}: is there already when the service starts again: name a folder, --record recordings"
            )
        return str(self._written("--record", value, is_folder=True))

    def _sink(self, url: str) -> str:
        if url.partition(":")[0].lower() == "jsonl":
            # As mmg-run reads it, and then without // before the path, where neither ? nor % means anything.
            return f"jsonl:{self._written('--to', parse_sink_url(url, ('jsonl',)).path)}"
        base, mark, query = url.partition("?")
        options = [self._option(name, value) for name, value in parse_qsl(query, keep_blank_values=True)]
        return base + mark + urlencode(options, quote_via=quote, safe="/")

    def _option(self, name: str, value: str) -> tuple[str, str]:
        if name in WRITTEN_OPTIONS:
            return name, str(self._written(name, value))
        if name not in SECRET_OPTIONS:
            return name, value
        path = Path(os.path.abspath(self.folder / value))  # noqa: PTH100
        if not path.is_file():
            raise ConfigError(f"{name}={value}: there is no file {path}")
        secret = f"{name}-{len(self.places.secrets)}"
        self.places.secrets[secret] = path
        return name, str(SECRETS / f"{self.name}.service" / secret)

    def _written(self, flag: str, value: str, *, is_folder: bool = False) -> Path:
        own = STATE / self.name
        path = Path(f"/{os.path.normpath(own / value).lstrip('/')}")  # normpath leaves two slashes at its begin
        folder = path if is_folder else path.parent
        if not Path(value).is_absolute():
            self.places.notes.append(f"{flag} {value}: is {path}, in the service's own folder")
        if folder.is_relative_to(own):
            below = str(folder.relative_to(STATE))
            self.places.state += [below] * (below not in self.places.state)
            return path
        if not folder.is_dir() or hidden_above(folder) or not os.stat(folder).st_mode & 0o002:  # noqa: PTH116
            raise ConfigError(
                f"{flag} {value}: the service's own user cannot write to {folder}: "
                f"give a relative path, which is below {own}"
            )
        self.places.writes.append(folder)
        return path


def check_readable(path: Path, flag: str) -> None:
    """Raises ConfigError where nothing is there, or a user without rights here may not read it."""
    if not path.exists():
        raise ConfigError(f"{flag} {path}: there is no such file")
    top = hidden_above(path)
    # Where the folders above are hidden, the service sees this path alone, and none of their permissions.
    closed = [folder for folder in path.parents if not top and not folder.stat().st_mode & 0o001]
    wanted = 0o005 if path.is_dir() else 0o004
    if closed:
        raise ConfigError(f"{flag} {path}: the service's own user may not enter {closed[-1]}: chmod o+x {closed[-1]}")
    if path.stat().st_mode & wanted != wanted:
        raise ConfigError(f"{flag} {path}: the service's own user may not read it: chmod -R o+rX {path}")
