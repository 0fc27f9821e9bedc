"""A sink's URL: ``jsonl:decisions.jsonl``."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from mmg.errors import ConfigError

EXAMPLE = "jsonl:decisions.jsonl"
DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True, slots=True)
class SinkUrl:
    """A parsed URL. path: decoded. host: without brackets, in lower case; empty where the URL has none.

    options: as written after the ``?``, decoded. place: what two URLs of one place have in common.
    """

    url: str
    scheme: str
    host: str
    port: int | None
    path: str
    options: Mapping[str, str]

    def __str__(self) -> str:
        return self.url

    @property
    def place(self) -> str:
        """A file's real path, or the host, port and path on the network."""
        if self.scheme == "jsonl":
            return f"jsonl:{os.path.realpath(self.path)}"
        port = self.port or DEFAULT_PORTS.get(self.scheme)
        return f"{self.scheme}:{self.host}:{port}{self.path.rstrip('/')}"

    def allow(self, names: Collection[str]) -> None:
        """Refuse every option that is not in ``names``. Raises ConfigError."""
        for name in self.options:
            if name not in names:
                known = f"choose from {', '.join(names)}" if names else "it has none"
                raise ConfigError(f"--to {self.url}: unknown option {name!r}: {known}")


def parse_sink_url(text: str, schemes: Collection[str]) -> SinkUrl:
    """Split a URL of one of these schemes. Raises ConfigError."""
    scheme, colon, rest = text.partition(":")
    scheme = scheme.lower()
    if not colon or scheme not in schemes:
        known = ", ".join(f"{one}:" for one in schemes)
        example = EXAMPLE if "jsonl" in schemes else f"{next(iter(schemes))}://HOST"
        raise ConfigError(f"--to {text}: names no sink: write {example}, for example; known are {known}")
    if scheme == "jsonl" and not rest.startswith("//"):
        # A path, as the shell completes it: neither ? nor % means anything in it.
        return SinkUrl(text, scheme, "", None, _file(text, rest), {})
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"--to {text}: cannot be: {error}") from error
    if parts.fragment or text.endswith("#"):
        raise ConfigError(f"--to {text}: what follows a # is not read: write %23 for one in a path")
    if parts.username is not None or parts.password is not None:
        raise ConfigError("--to: a password in a URL is seen by every user of this machine: give a file instead")
    path = _file(text, unquote(parts.netloc + parts.path)) if scheme == "jsonl" else unquote(parts.path)
    host = "" if scheme == "jsonl" else (parts.hostname or "")
    return SinkUrl(text, scheme, host, port if host or scheme != "jsonl" else None, path, _options(text, parts))


def _file(text: str, path: str) -> str:
    if not path or "\0" in path or path.endswith("/"):
        raise ConfigError(f"--to {text}: names no file: write {EXAMPLE}")
    return path


def _options(text: str, parts: SplitResult) -> dict[str, str]:
    try:
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise ConfigError(f"--to {text}: its options cannot be: write ?NAME=VALUE&NAME=VALUE") from error
    options = dict(pairs)
    if len(options) != len(pairs):
        raise ConfigError(f"--to {text}: an option is given twice")
    return options
