"""What mmg adds to the models: a hop of ``Engine.push`` against the bare runs of the same models."""

from __future__ import annotations

from mmg import Bundle

from mmg_tools.bench.bare import Bare
from mmg_tools.bench.hops import SUBSETS, Pushed, Recording, take_turns
from mmg_tools.bench.table import Figure, Reporter, Row

GOAL = 1.25
TITLE = "CPU time of Engine.push over that of the bare onnxruntime runs"
PAUSE_S = 0.02
"""Long enough for other work to take the caches, as it does in the half second between two hops."""


def measure(report: Reporter, *, quick: bool = False) -> list[Figure]:
    """The ratio of each subset, at full speed and with a pause before each hop."""
    rows = []
    with Bundle.open("starter") as bundle:
        for paced in (False, True):
            for names in SUBSETS:
                report(f"push: {'+'.join(names)}{', paced' if paced else ''}")
                rows.append(_measure(bundle, names, paced=paced, quick=quick))
    return [Figure("push", TITLE, GOAL, True, tuple(rows))]


def _measure(bundle: Bundle, names: tuple[str, ...], *, paced: bool, quick: bool) -> Row:
    hops = 30 if quick else 220 if paced else 620
    recording = Recording(bundle.manifest, names, hops)
    pushed, bare = Pushed(bundle, recording), Bare(bundle, recording)
    turns = {"block": 1, "pause_s": PAUSE_S} if paced else {}
    push_us, bare_us = take_turns(pushed, bare, hops, **turns)  # type: ignore[arg-type]
    pushed.require(hops)
    what = "+".join(names) + (" at the real pace" if paced else "")
    return Row(what, push_us / bare_us, {"push_us": push_us, "bare_us": bare_us})
