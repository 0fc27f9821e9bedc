"""What a broker's URL says, checked: where it is, the topic, and the options."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass

from mmg.errors import ConfigError
from mmg.sinks.url import DEFAULT_PORTS, SinkUrl

OPTIONS = ("credentials", "discovery", "retry")
TLS_OPTIONS = ("ca", "cert", "key")
OFF = "off"
HOME_ASSISTANT = "homeassistant"
LONGEST_RETRY_S = 60
KEEPALIVE_S = 30
"""A broker that hangs is known to after so long, or twice that."""
MOST_TOPIC_BYTES = 65_535
"""A string's length is two bytes: MQTT 3.1.1, section 1.5.3."""
LONGEST_ENDING = len("/decision")
REFUSED = re.compile("[\0-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffd\ufffe\uffff]")
"""Characters for which a broker may close the connection (MQTT 3.1.1, section 1.5.3), and that of undecodable bytes."""


@dataclass(frozen=True, slots=True)
class Address:
    """A broker and the topic there.

    credentials, ca, cert, key: files, empty where none is given. discovery: what Home Assistant's topics begin with,
    empty where it is not told. retry_s: the longest wait between two attempts to connect.
    """

    url: SinkUrl
    host: str
    port: int
    topic: str
    is_tls: bool
    credentials: str = ""
    ca: str = ""
    cert: str = ""
    key: str = ""
    discovery: str = HOME_ASSISTANT
    retry_s: int = LONGEST_RETRY_S


def read_address(url: SinkUrl) -> Address:
    """What this URL says. Raises ConfigError in one line where it cannot be."""
    if bad := REFUSED.search(url.url):
        raise ConfigError(f"--to {url.url!r}: cannot have {bad[0]!r}")
    is_tls = url.scheme == "mqtts"
    url.allow((*OPTIONS, *TLS_OPTIONS) if is_tls else OPTIONS)
    options = url.options
    for name, value in options.items():
        if not value:
            raise ConfigError(f"--to {url}: {name} is empty")
    if "key" in options and "cert" not in options:
        raise ConfigError(f"--to {url}: a key without a certificate: add cert=FILE")
    discovery = options.get("discovery", HOME_ASSISTANT)
    return Address(
        url=url,
        host=_host(url),
        port=DEFAULT_PORTS[url.scheme] if url.port is None else _port(url, url.port),
        topic=_topic(url),
        is_tls=is_tls,
        credentials=options.get("credentials", ""),
        ca=options.get("ca", ""),
        cert=options.get("cert", ""),
        key=options.get("key", ""),
        discovery="" if discovery == OFF else _checked(url, discovery, "discovery's prefix"),
        retry_s=_retry_s(url, options.get("retry", str(LONGEST_RETRY_S))),
    )


def _host(url: SinkUrl) -> str:
    if not url.host:
        raise ConfigError(f"--to {url}: names no broker: write {url.scheme}://HOST/TOPIC")
    try:
        url.host.encode("idna")
    except UnicodeError as error:
        raise ConfigError(f"--to {url}: {url.host!r} cannot be a host's name") from error
    if re.search(r"\s|\0", url.host):
        raise ConfigError(f"--to {url}: {url.host!r} cannot be a host's name")
    return url.host


def _port(url: SinkUrl, port: int) -> int:
    if not port:
        raise ConfigError(f"--to {url}: a port is 1 to 65535")
    return port


def _topic(url: SinkUrl) -> str:
    if url.path in ("", "/"):
        return f"mmg/{re.sub(r'[^A-Za-z0-9_.-]', '_', socket.gethostname()) or 'wearable'}"
    return _checked(url, url.path[1:], "topic")


def _checked(url: SinkUrl, topic: str, what: str) -> str:
    """A topic that every broker takes and that nobody takes for another one."""
    problem = ""
    if bad := REFUSED.search(topic):
        problem = f"cannot have {bad[0]!r}"
    elif bad := re.search("[+#]", topic):
        problem = f"cannot have a {bad[0]}, which stands for other topics"
    elif topic.startswith("$"):
        problem = "cannot begin with $: those topics are the broker's own"
    elif "" in topic.split("/"):
        problem = "has an empty level: write names between single slashes, and none at its end"
    elif len(topic.encode()) + LONGEST_ENDING > MOST_TOPIC_BYTES:
        problem = f"is longer than {MOST_TOPIC_BYTES - LONGEST_ENDING} bytes"
    if problem:
        shown = str(url) if len(str(url)) <= 200 else f"{str(url)[:200]}..."
        raise ConfigError(f"--to {shown}: the {what} {problem}")
    return topic


def _retry_s(url: SinkUrl, text: str) -> int:
    if not re.fullmatch("[0-9]{1,4}", text) or not 1 <= int(text) <= 3600:
        raise ConfigError(f"--to {url}: retry is the longest wait between two attempts, 1 to 3600 seconds")
    return int(text)
