"""What people and other programs write: URLs, labels, device profiles."""

from __future__ import annotations

from contextlib import suppress

from mmg.errors import ConfigError, MmgError
from mmg.labels import read_labels
from mmg.labels.writer import FORMATS
from mmg.sinks.mqtt.address import read_address
from mmg.sinks.url import parse_sink_url
from mmg.sources.url import Placing, joined, parse_url, with_rate
from mmg.truth import Truth
from mmg_device_profiles import ProfileProblem, load_profile

from mmg_tools.fuzz.target import Broken
from mmg_tools.fuzz.targets.scratch import written

SCHEMES = ("jsonl", "mqtt", "mqtts", "http")


def profile(data: bytes) -> None:
    """A device profile; behind a NUL, values that change it."""
    content, *changes = data.split(b"\0")
    path = written("own.toml", content)
    overrides = [change.decode("utf-8", "surrogateescape") for change in changes[:4]]
    try:
        load_profile(str(path), overrides)
    except ProfileProblem as problem:
        if not str(problem).isprintable() or len(str(problem)) > 2000:
            raise Broken("a problem is not one printable line") from problem


def labels(data: bytes) -> None:
    """Labels in any of the formats; the first byte chooses whether a tier is named. Written, they are read again."""
    path = written("labels.txt", data[1:])
    try:
        found = read_labels(path, "activity" if data[:1] and data[0] % 4 == 3 else "")
    except MmgError:
        return
    for form, write in FORMATS.items():
        again = written(f"again.{form}", write(found).encode())
        if [label.label for label in Truth(again).spans] != [label.label for label in found]:
            raise Broken(f"written as {form} and read again, labels are others")


def source_url(data: bytes) -> None:
    """URLs of sources, one a line."""
    urls = data.decode("utf-8", "surrogateescape").split("\n")[:3]
    for url in urls:
        with suppress(ConfigError):
            parsed = parse_url(url)
            if "\0" in parsed.path or not parsed.path:
                raise Broken("a path that cannot be is taken")
            parse_url(with_rate(url, 50.0))
            Placing.of(parsed, 0)
            parsed.number("rate", 0.1, 1e6)
    with suppress(ConfigError):
        parse_url(joined(urls))


def sink_url(data: bytes) -> None:
    """A URL of a sink, and the broker's address in it."""
    with suppress(ConfigError):
        parsed = parse_sink_url(data.decode("utf-8", "surrogateescape"), SCHEMES)
        _ = parsed.place
        if parsed.scheme in ("mqtt", "mqtts"):
            address = read_address(parsed)
            if not (0 < address.port < 65_536 and 1 <= address.retry_s <= 3600):
                raise Broken("a port or wait that cannot be is taken")
            address.topic.encode()
