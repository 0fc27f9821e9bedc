"""``--version``, which every command has."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from mmg.version import installed_version


class PrintVersion(argparse.Action):
    """Looks the version up only when it is asked for: that takes longer than all the rest of a ``--help``."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help="print the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"mmg {installed_version()}")
        parser.exit()
