"""The flag ``--unknown``: how much of what is known may be refused as none of the labels."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from typing import TYPE_CHECKING

from mmg.errors import ConfigError

if TYPE_CHECKING:
    from mmg.bundle import Manifest


def add_unknown_flag(parser: argparse.ArgumentParser) -> None:
    """``--unknown``."""
    parser.add_argument(
        "--unknown",
        metavar="RATE",
        type=_rate,
        help="how often a known activity may be called unknown, 0 to 0.4; 0 never says unknown "
        "(default: the profile's, or 0.05)",
    )


def unknown_rate(asked: float | None, usual: float, manifest: Manifest, modalities: Collection[str]) -> float:
    """The flag's share, or else the profile's. Raises ConfigError where the flag asks for what the bundle cannot."""
    if asked is None:
        return usual
    from mmg.engine.unknown import can_tell

    if asked and not can_tell(manifest, modalities):
        lacks = f"bundle {manifest.name} has no statistics that tell the unknown from {', '.join(modalities)}"
        raise ConfigError(f"--unknown {asked:g}: {lacks}: leave the flag out")
    return asked


def _rate(text: str) -> float:
    from mmg.bundle.unknown_fit import REFUSED

    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= REFUSED[-1]:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share from 0 to {REFUSED[-1]:g}, such as 0.05")
    return value
