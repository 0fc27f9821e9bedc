"""A source's URL: a scheme, a path and options, ``file:///walk.csv?time_unit=ms&offset=0.2``."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from urllib.parse import quote, unquote, unquote_to_bytes

from mmg.errors import ConfigError

PLACING = ("start", "offset")
RATED = ("mic", "iio", "camera")
"""Schemes of ports that can be asked for a rate."""
LONGEST_SHIFT_S = 4_000_000_000
SLIP = re.compile(r"(serial|iio|mic|camera|file):(?!//)(/?)(.+)", re.IGNORECASE | re.DOTALL)
"""A URL without its slashes; a file of such a name is ./NAME."""
NODES = ("serial", "camera")
"""Schemes whose paths are those of device nodes."""


@dataclass(frozen=True, slots=True)
class SourceUrl:
    """A parsed URL. ``path`` is decoded; ``options`` are as written after the ``?``, decoded, names in lower case."""

    url: str
    scheme: str
    path: str
    options: Mapping[str, str]

    def __str__(self) -> str:
        return self.url

    def allow(self, names: Collection[str]) -> None:
        """Refuse every option that is neither in ``names`` nor one that every recording has. Raises ConfigError."""
        allowed = [*names, *PLACING]
        for name in self.options:
            if name not in allowed:
                raise ConfigError(f"{self.url}: unknown option {name!r}: choose from {', '.join(allowed)}")

    def one_of(self, name: str, choices: Collection[str]) -> str | None:
        """The option's value where it is given. Raises ConfigError where it is none of ``choices``."""
        value = self.options.get(name)
        if value is not None and value not in choices:
            raise ConfigError(f"{self.url}: {name}={value}: must be one of {', '.join(choices)}")
        return value

    def number(self, name: str, lowest: float, highest: float) -> Decimal | None:
        """The option as an exact number. Raises ConfigError where it is not one within the limits."""
        text = self.options.get(name)
        if text is None:
            return None
        try:
            value = Decimal(text)
        except InvalidOperation as error:
            raise ConfigError(f"{self.url}: {name}={text}: must be a number") from error
        if not (value.is_finite() and lowest <= value <= highest):
            raise ConfigError(f"{self.url}: {name}={text}: must be {lowest:g} to {highest:g}")
        return value

    def nanoseconds(self, name: str) -> int | None:
        """An option given in seconds, in whole nanoseconds; None where it is not given. Raises ConfigError."""
        seconds = self.number(name, -LONGEST_SHIFT_S, LONGEST_SHIFT_S)
        return None if seconds is None else int((seconds * 10**9).to_integral_value())


@dataclass(frozen=True, slots=True)
class Placing:
    """Where a recording lies on the shared clock.

    start_ns: the first sample's time with the options applied, None where neither file nor URL gives one.
    offset_ns: the URL's ``offset`` where there is no start to add it to, else 0.
    """

    start_ns: int | None
    offset_ns: int

    @classmethod
    def of(cls, url: SourceUrl, file_start_ns: int | None) -> Placing:
        """``start`` replaces the file's own start, ``offset`` is added to it. Raises ConfigError."""
        start_ns = url.nanoseconds("start")
        offset_ns = url.nanoseconds("offset") or 0
        start_ns = file_start_ns if start_ns is None else start_ns
        return cls(None, offset_ns) if start_ns is None else cls(start_ns + offset_ns, 0)


def parse_url(text: str) -> SourceUrl:
    """Split a URL. A plain path is a file; it is taken as it is, without percent-decoding. Raises ConfigError."""
    if slip := SLIP.fullmatch(text):
        scheme, slash, rest = slip[1].lower(), slip[2], slip[3]
        folder = "/dev/" if scheme in NODES and not slash and "/" not in rest else slash
        raise ConfigError(f"{text!r}: is no URL: write {scheme}://{folder}{rest}")
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", text)
    rest, _, query = text[match.end() if match else 0 :].partition("?")
    try:
        path = os.fsdecode(unquote_to_bytes(os.fsencode(rest))) if match else rest
    except UnicodeEncodeError as error:
        raise ConfigError(f"{text!r}: the path cannot be a file name") from error
    if not path or "\0" in path:
        raise ConfigError(
            f"{text!r}: names nothing: write file:///absolute/path, file://relative/path or mic://default"
        )
    scheme = match[1].lower() if match else "file"
    if scheme in NODES and path.startswith("dev/"):
        raise ConfigError(f"{text!r}: has one slash too few: write {scheme}:///{path}")
    return SourceUrl(text, scheme, path, _options(text, query))


def live_url_of(path: Path) -> tuple[str, str] | None:
    """What kind of port goes by this path or name, and its URL; None where it looks like none."""
    if path.is_relative_to("/dev"):
        if path.name.startswith("video"):
            return "camera", f"camera://{path}"
        if path.is_relative_to("/dev/snd"):
            return "microphone", "mic://default"
        if path.name.startswith("iio"):
            return "chip", "iio://NAME, which mmg-devices shows"
        return "port", f"serial://{path}"
    if re.fullmatch(r"tty(USB|ACM|AMA|S|O|mxc)\d+|cu\..+", str(path)):
        return "port", f"serial:///dev/{path}"
    if re.fullmatch(r"COM\d+", str(path), re.IGNORECASE):
        return "port", f"serial://{path}"
    if re.fullmatch(r"mic|microphone", str(path), re.IGNORECASE):
        return "microphone", "mic://default"
    if re.fullmatch(r"default|(plug)?hw:\d.*", str(path)):
        return "microphone", f"mic://{str(path).removeprefix('plug')}"
    return None


def joined(urls: Sequence[str]) -> str:
    """One URL for a sensor whose parts are in several files: the first, with the others in its option ``with``.

    Raises ConfigError where one is no file.
    """
    first, others = urls[0], [parse_url(url) for url in urls[1:]]
    if not others:
        return first
    if parse_url(first).scheme != "file" or any(one.scheme != "file" for one in others):
        raise ConfigError(f"{' and '.join(urls)}: only a recording can be in several files, and not a port")
    # As absolute paths: they count from the folder of the first file otherwise.
    paths = [_quoted(one.url, os.path.abspath(one.path)) for one in others]  # noqa: PTH100
    if any("," in path for path in paths):
        raise ConfigError(f"{' and '.join(urls)}: a comma in a file's name cannot be given here: rename it")
    known, options = dict(parse_url(first).options), [f"with={','.join(paths)}"]
    for one in others:
        for name, value in one.options.items():
            if known.get(name, value) != value or (name not in known and not name.startswith(("acc_", "gyro_"))):
                raise ConfigError(f"{one.url}: {name}= holds for all files of a sensor: give it to each of them alike")
            options += [] if name in known else [f"{name}={_quoted(one.url, value, safe='')}"]
            known[name] = value
    return f"{first}{'&' if '?' in first else '?'}{'&'.join(options)}"


def _quoted(url: str, text: str, safe: str = "/") -> str:
    """As a URL holds it; bytes of a file's name that are no text stay what they are. Raises ConfigError."""
    try:
        return quote(os.fsencode(text), safe=safe)
    except UnicodeEncodeError as error:
        raise ConfigError(f"{url!r}: cannot be a file name") from error


def with_rate(url: str, rate_hz: float | None) -> str:
    """The URL with this rate, where it is one of a port that can be asked for a rate, and names none itself."""
    parsed = parse_url(url)
    if rate_hz is None or parsed.scheme not in RATED or "rate" in parsed.options:
        return url
    return f"{url}{'&' if '?' in url else '?'}rate={rate_hz:g}"


def _options(url: str, query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        name, equals, value = part.partition("=")
        name = unquote(name).lower()
        if not equals or not value:
            raise ConfigError(f"{url}: option {name!r} has no value: write {name}=VALUE")
        if name in options:
            raise ConfigError(f"{url}: option {name!r} appears twice")
        options[name] = unquote(value)
    return options
