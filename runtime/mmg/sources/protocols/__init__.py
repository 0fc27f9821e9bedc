"""Protocols of serial IMUs: bytes in, samples in m/s^2 and rad/s out, and no I/O.

``open_parser("witmotion").feed(data)`` is all there is to reading one; ``encode_sample`` speaks it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from mmg.errors import ConfigError
from mmg.sources.protocols.parser import UNTIMED, Counters, Finding, Parser, Samples, join

if TYPE_CHECKING:
    from mmg.sources.protocols.text_layout import Headers

__all__ = [
    "PROTOCOLS",
    "UNTIMED",
    "Counters",
    "Finding",
    "Parser",
    "Samples",
    "encode_sample",
    "join",
    "open_parser",
]

PROTOCOLS = ("witmotion", "bno08x", "vectornav-ascii", "vectornav-binary", "xsens", "text")


class _Entry(NamedTuple):
    open: Callable[..., Parser]
    encode: Callable[[Sequence[float], int, int], bytes]
    options: tuple[str, ...] = ()


@cache
def _entry(name: str) -> _Entry:
    """Loads no other than this: a run of recordings needs none of them."""
    if name == "witmotion":
        from mmg.sources.protocols import witmotion

        return _Entry(witmotion.WitMotion, lambda sample, _index, _time_ns: witmotion.encode_sample(sample))
    if name == "bno08x":
        from mmg.sources.protocols import bno08x

        return _Entry(bno08x.Bno08xRvc, lambda sample, index, _time_ns: bno08x.encode_sample(sample, index))
    if name == "vectornav-ascii":
        from mmg.sources.protocols import vectornav_ascii

        return _Entry(
            vectornav_ascii.VectorNavAscii, lambda sample, _index, _time_ns: vectornav_ascii.encode_sample(sample)
        )
    if name == "vectornav-binary":
        from mmg.sources.protocols import vectornav_binary

        return _Entry(
            vectornav_binary.VectorNavBinary,
            lambda sample, _index, time_ns: vectornav_binary.encode_sample(sample, time_ns),
        )
    if name == "xsens":
        from mmg.sources.protocols import xsens

        return _Entry(xsens.Xsens, xsens.encode_sample)
    from mmg.sources.protocols import text

    return _Entry(
        text.TextLines,
        lambda sample, _index, time_ns: text.encode_json(sample, time_ns),
        ("columns", "acc_unit", "gyro_unit"),
    )


def open_parser(name: str, headers: Headers | None = None, /, **options: str) -> Parser:
    """A parser for one device's stream.

    name: one of ``PROTOCOLS``, or ``auto`` to find out from the bytes.
    headers: what the parsers of this device before have seen of headers in text, and where this one keeps them.
    options: those of ``text``, see ``TextLines``; ``auto`` takes them too, in case it is text.

    Raises ConfigError for an unknown protocol or option, or an option's value that cannot be.
    """
    if name != "auto" and name not in PROTOCOLS:
        raise ConfigError(f"protocol={name}: choose auto, {', '.join(PROTOCOLS)}")
    known = _entry("text" if name == "auto" else name).options
    for option in options:
        if option not in known:
            choice = f"its options are {', '.join(known)}" if known else "it has no options"
            raise ConfigError(f"protocol {name}: unknown option {option}: {choice}")
    names = PROTOCOLS if name == "auto" else (name,)
    texts = {**options, "headers": headers}
    parsers = [_entry(each).open(**(texts if each == "text" else {})) for each in names]
    if name != "auto":
        return parsers[0]
    from mmg.sources.protocols.detect import Detector

    return Detector(parsers)


def encode_sample(protocol: str, sample: Sequence[float], index: int, time_ns: int) -> bytes:
    """The bytes in which a device sends one sample.

    sample: ``(6,)`` m/s^2 and rad/s. index: the number of the sample. time_ns: the device's clock, from 0.
    Only what the protocol has a place for is sent. Raises ConfigError for an unknown protocol.
    """
    if protocol not in PROTOCOLS:
        raise ConfigError(f"protocol={protocol}: choose {', '.join(PROTOCOLS)}")
    return _entry(protocol).encode(sample, index, time_ns)
