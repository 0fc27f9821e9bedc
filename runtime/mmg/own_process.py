"""How a part of mmg is started in a process of its own."""

from __future__ import annotations

import sys


def command_of(module: str, function: str = "main") -> tuple[str, str, str]:
    """The words that call a function of a module of ours, and end with what it returns; its arguments come after them.

    It looks for modules without the working directory, a file of which might have the name of a library: ``python -m``
    looks there first, and before Python 3.11 no setting of the environment keeps it from that.
    """
    code = f"import sys; sys.path[:] = filter(None, sys.path); from {module} import {function}; sys.exit({function}())"
    return sys.executable or "python3", "-c", code
