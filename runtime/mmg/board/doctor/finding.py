"""What a check of the doctor has found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "warning", "problem", "unknown"]


@dataclass(frozen=True, slots=True)
class Finding:
    """check: what was looked at. verdict: ``problem`` where something does not work, ``warning`` where it may not.

    found: what is there. do: the command or the step that mends it, one a line; empty where nothing is to be done.
    group: the part of the machine that it belongs to.
    """

    check: str
    verdict: Verdict
    found: str
    do: str = ""
    group: str = ""
