"""Calls of a model library that hold the interpreter until they return: no thread and no handler runs meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext


class Holding:
    """Where a command says what is to be so during such a call; nothing, by default."""

    def __init__(self) -> None:
        self.around: Callable[[], AbstractContextManager[None]] = nullcontext
        """Entered around each."""


HOLDING = Holding()
"""That of this process."""
