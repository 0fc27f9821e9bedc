"""The version of mmg that is installed."""

from __future__ import annotations

DISTRIBUTION = "mmg-runtime"
"""What pip calls it: on PyPI ``mmg`` is other software."""


def installed_version() -> str:
    """Looked up only when asked for: importlib.metadata takes longer to load than all the rest of a ``--help``."""
    from importlib.metadata import version

    return version(DISTRIBUTION)
