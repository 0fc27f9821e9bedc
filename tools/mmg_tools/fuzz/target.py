"""The targets: one a kind of foreign bytes. Nothing of mmg is imported here: a worker watches it as it is imported."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

Reader = Callable[[bytes], None]


class Broken(Exception):
    """What must hold of a reader does not hold."""


@dataclass(frozen=True, slots=True)
class Target:
    """One reader.

    place: ``module:function`` of a function that takes bytes, returns where they are read or refused as documented,
    and raises where they are not. share: of the bytes that all targets are given, about as fast as it is.
    longest: bytes of an input.
    """

    name: str
    place: str
    share: float = 1.0
    longest: int = 4096

    def load(self) -> Reader:
        """Its function."""
        module, _, name = self.place.partition(":")
        return cast("Reader", getattr(importlib.import_module(module), name))


def _own(name: str, place: str, share: float = 1.0, longest: int = 4096) -> Target:
    return Target(name, f"mmg_tools.fuzz.targets.{place}", share, longest)


TARGETS = (
    _own("witmotion", "serial:witmotion"),
    _own("bno08x", "serial:bno08x"),
    _own("vectornav-ascii", "serial:vectornav_ascii"),
    _own("vectornav-binary", "serial:vectornav_binary"),
    _own("xsens", "serial:xsens"),
    _own("text-lines", "serial:text_lines"),
    _own("detection", "serial:detection"),
    _own("clock", "clocks:clock"),
    _own("csv", "recordings:csv"),
    _own("json", "recordings:json"),
    _own("sound", "recordings:sound", longest=16384),
    _own("gopro", "recordings:gopro"),
    _own("gpmf", "recordings:gpmf"),
    _own("film", "recordings:film", longest=16384),
    _own("index", "recordings:index"),
    _own("mcap", "recordings:mcap", longest=16384),
    _own("archive", "recordings:archive"),
    _own("manifest", "bundles:manifest", longest=16384),
    _own("bundle", "bundles:bundle", longest=16384),
    _own("signature", "bundles:signature"),
    _own("key", "bundles:key", longest=256),
    _own("golden", "bundles:golden", longest=16384),
    _own("unknown", "bundles:unknown", longest=16384),
    _own("taught", "bundles:taught"),
    _own("profile", "texts:profile"),
    _own("labels", "texts:labels"),
    _own("source-url", "texts:source_url", longest=512),
    _own("sink-url", "texts:sink_url", longest=512),
    _own("request", "page:request"),
    _own("order", "page:order", longest=512),
)
