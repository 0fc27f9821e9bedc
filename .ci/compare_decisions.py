"""Hold two runs against each other: compare_decisions.py A.jsonl B.jsonl, each written by mmg-run --format jsonl.

The exit code is 0 where both decided the same hops, from the same sensors, with the same labels, and no score differs
by more than five in the sixth decimal, the last that mmg-run writes. Processors add float32 up in another order, which
moves a label's score by one there at most; that of the unknown, which is made of squares of distances, by three.
"""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

MOST = Decimal("0.000005")


def read(path: str) -> list[dict[str, Any]]:
    """The decisions. As floats, two scores that are one in the last decimal apart would be a little more apart."""
    return [json.loads(line, parse_float=Decimal) for line in Path(path).read_text().splitlines()]


def main(path: str, other: str) -> int:
    a, b = read(path), read(other)
    if not a or len(a) != len(b):
        print(f"{len(a)} decisions against {len(b)}: DIFFERENT")
        return 1
    for key in ("t", "modalities"):
        if [x[key] for x in a] != [y[key] for y in b]:
            print(f"decisions differ in {key}: DIFFERENT")
            return 1
    same = sum(x["label"] == y["label"] for x, y in zip(a, b, strict=True))
    largest = max(abs(x["scores"][name] - y["scores"][name]) for x, y in zip(a, b, strict=True) for name in x["scores"])
    held = same == len(a) and largest <= MOST
    print(f"{same} of {len(a)} labels the same, scores within {largest:.6f}{'' if held else ': DIFFERENT'}")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
