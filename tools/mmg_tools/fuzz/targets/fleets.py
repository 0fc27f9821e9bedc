"""What comes over the network to a device that fetches, and to a fleet that listens."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import urljoin

import msgspec
from mmg.bundle import index
from mmg.bundle.download import check_url
from mmg.bundle.keys import PrivateKey
from mmg.errors import MmgError
from mmg_fleet.figures import Figures, encode
from mmg_fleet.messages import KINDS, STATUS
from mmg_fleet.offered import Offered
from mmg_fleet.store import row_of
from mmg_fleet.wearables import Fleet, Moment

from mmg_tools.fuzz.target import Broken

KEY = PrivateKey(bytes(range(32)))
PUBLIC = KEY.public
NAMES = (*KINDS, STATUS, "other")
TOPIC = "mmg/anna/wrist"
URL = "https://example.org/offers/index.json"


def offers(data: bytes) -> None:
    """An index of bundles as it is, and as the value that a right signature is of."""
    for stored in (data, _signed(data)):
        with suppress(MmgError):
            found = index.decode(stored, "index.json", PUBLIC)
            if any(found.of(offer.name) is not offer for offer in found.bundles):
                raise Broken("a name is offered twice")
            for offer in found.bundles:
                with suppress(ValueError):
                    check_url(urljoin(URL, offer.url))


def wearable(data: bytes) -> None:
    """A message of a wearable: the first byte says which kind."""
    fleet = Fleet("mmg", Offered(), now=Moment(1000.0, 0.0))
    kind = NAMES[data[0] % len(NAMES)] if data else STATUS
    for _ in range(2):
        line = fleet.take(f"{TOPIC}/{kind}", data[1:], is_retained=False, now=Moment(1001.0, 1.0))
        if not line.isprintable() or len(line) > 2000:
            raise Broken("a line is told that is none")
    totals = fleet.totals
    if totals.heard != totals.taken + totals.refused + totals.ignored:
        raise Broken("a message is not counted")
    end = Moment(1002.0, 2.0)
    fleet.tick(end)
    encode(Figures(fleet).since("", 0, end))
    for one in fleet.wearables.values():
        if any(isinstance(value, int) and abs(value) >= 1 << 63 for value in row_of(one)):
            raise Broken("a number is larger than the store can keep")


def _signed(body: bytes) -> bytes:
    """A file whose signature is right of these bytes, where they are JSON."""
    try:
        msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return body
    signature = KEY.sign(index._message(body)).hex().encode()
    return (
        b'{"index":' + body + b',"public_key":"' + PUBLIC.data.hex().encode() + b'","signature":"' + signature + b'"}'
    )
