"""Which network, if any, a service needs for its sinks and sensors."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mmg.sinks.url import SinkUrl

FILES, SERVERS = ("jsonl",), ("http",)
LOOPBACK = "localhost"
"""systemd's word for 127.0.0.0/8 and ::1."""


@dataclass(frozen=True, slots=True)
class Network:
    """is_needed: whether any socket but those of this machine is. allowed: what systemd's IPAddressAllow names; where
    that is empty, any address, because names are looked up anew or viewers come from anywhere. why: for the unit."""

    is_needed: bool = False
    allowed: tuple[str, ...] = ()
    why: str = ""


def network_of(sinks: Sequence[SinkUrl], hosts: Iterable[str] = ()) -> Network:
    """What these sinks, and sensors at these hosts, need."""
    needing = [sink for sink in sinks if sink.scheme not in FILES]
    allowed = {str(sink): _of_sink(sink) for sink in needing} | {host: _of_host(host) for host in hosts}
    if not allowed:
        return Network()
    addresses = tuple(dict.fromkeys(allowed.values()))
    return Network(True, () if "" in addresses else addresses, ", ".join(allowed))


def _of_sink(sink: SinkUrl) -> str:
    if sink.scheme in SERVERS and not sink.host:
        return LOOPBACK
    address = _of_host(sink.host)
    return address if sink.scheme not in SERVERS or address == LOOPBACK else ""


def _of_host(host: str) -> str:
    """The address, "localhost" for this machine, or "" where it is a name or any address."""
    if host.lower() in ("localhost", "ip6-localhost"):
        return LOOPBACK
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return ""
    if address.is_loopback:
        return LOOPBACK
    return "" if address.is_unspecified else str(address)
