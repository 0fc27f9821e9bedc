"""A URL names a sink: which there are, and how each is opened. Each brings its own libraries then."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mmg.errors import ConfigError
from mmg.sinks import Sink
from mmg.sinks.event import About
from mmg.sinks.url import SinkUrl, parse_sink_url

SCHEMES = ("jsonl", "mqtt", "mqtts", "http")


def open_sink(url: SinkUrl, about: About, report: Callable[[str], None]) -> Sink:
    """The sink at this URL. report: called, from any thread, with each line that is worth reading.

    Raises ConfigError for a URL or option that cannot be, BackendUnavailable where a library is missing, SinkError
    where the place cannot be opened.
    """
    if url.scheme in ("mqtt", "mqtts"):
        from mmg.sinks.mqtt.sink import open_mqtt

        return open_mqtt(url, about, report)
    if url.scheme == "http":
        from mmg.sinks.page import open_page

        return open_page(url, about, report)
    from mmg.sinks.file import JsonFile

    return JsonFile(url)


def check_sink(url: SinkUrl) -> None:
    """As far as it can be told without opening it. Raises ConfigError, BackendUnavailable without a page's library."""
    if url.scheme in ("mqtt", "mqtts"):
        from mmg.sinks.mqtt.address import read_address

        read_address(url)
    elif url.scheme == "http":
        from mmg.sinks.page import check_page

        check_page(url)
    else:
        url.allow(())


def check_places(texts: Sequence[str]) -> list[SinkUrl]:
    """The URLs, parsed. Raises ConfigError for one that names no sink, and for two of one place."""
    urls = [parse_sink_url(text, SCHEMES) for text in texts]
    known: dict[str, SinkUrl] = {}
    for url in urls:
        if url.place in known:
            raise ConfigError(f"--to {url}: is the same place as --to {known[url.place]}: leave one out")
        known[url.place] = url
    return urls
