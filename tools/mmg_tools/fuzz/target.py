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
    and raises where they are not. share: of the bytes that all targets are given: the faster ones get more, so that
    each takes about as long. longest: bytes of an input.
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
    _own("witmotion", "serial:witmotion", 1),
    _own("bno08x", "serial:bno08x", 1),
    _own("vectornav-ascii", "serial:vectornav_ascii", 4),
    _own("vectornav-binary", "serial:vectornav_binary", 2),
    _own("xsens", "serial:xsens", 2),
    _own("text-lines", "serial:text_lines", 0.1),
    _own("detection", "serial:detection", 0.15),
    _own("clock", "clocks:clock", 0.4),
    _own("csv", "recordings:csv", 0.4),
    _own("json", "recordings:json", 0.8),
    _own("sound", "recordings:sound", 2, longest=16384),
    _own("gopro", "recordings:gopro", 2),
    _own("gpmf", "recordings:gpmf", 10),
    _own("film", "recordings:film", 1, longest=16384),
    _own("index", "recordings:index", 2),
    _own("mcap", "recordings:mcap", 3, longest=16384),
    _own("archive", "recordings:archive", 0.3),
    _own("manifest", "bundles:manifest", 25, longest=16384),
    _own("bundle", "bundles:bundle", 6, longest=16384),
    _own("signature", "bundles:signature", 10),
    _own("key", "bundles:key", 0.3, longest=256),
    _own("model-file", "models:model_file", 6),
    _own("model", "models:model", 0.02, longest=150),
    _own("golden", "bundles:golden", 3, longest=16384),
    _own("unknown", "bundles:unknown", 15, longest=16384),
    _own("taught", "bundles:taught", 0.5),
    _own("profile", "texts:profile", 1.5),
    _own("labels", "texts:labels", 0.3),
    _own("source-url", "texts:source_url", 4, longest=512),
    _own("offers", "fleets:offers", 3),
    _own("wearable", "fleets:wearable", 10),
    _own("sink-url", "texts:sink_url", 6, longest=512),
    _own("request", "page:request", 2),
    _own("order", "page:order", 5, longest=512),
)
