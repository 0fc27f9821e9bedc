"""Arms at work, with tools."""

from __future__ import annotations

import numpy as np

from mmg_training.wearer.arm import BENT, FORWARD, RAISED, TABLE, Movement, lift, one_handed, stroke, struck

UP: tuple[float, float, float] = (0.2, 0.1, 1.0)
AHEAD: tuple[float, float, float] = (1.0, 0.2, 0.2)
STEEP = np.array([0.4, -0.7, 0.2])

TOOLS: dict[str, Movement] = {
    "knocking": one_handed(struck(0.6 * RAISED, (0.1, 0.15, 0.25), (-0.02, 0.0, 0.0), (3, 9), AHEAD)),
    "chopping": one_handed(struck(FORWARD, (0.05, 0.2, 0.05), (0.01, 0.0, 0.02), (1.5, 5), UP)),
    "hammering": one_handed(struck(BENT, (0.1, 0.5, 0.05), (0.03, 0.0, 0.05), (5, 15), UP)),
    "drumming": struck(TABLE, (0.1, 0.3, 0.05), (0.01, 0.0, 0.03), (2, 8), UP),
    "sweeping": stroke(STEEP, (0.1, 0.2, 0.03), (0.1, 0.15, 0.35), texture=0.25),
    "vacuuming": one_handed(stroke(STEEP, (0.3, 0.06, 0.03), (0.05, 0.25, 0.15), cycles=0.5, texture=0.3)),
    "wiping_table": one_handed(stroke(FORWARD, (0.1, 0.15, 0.0), (0.05, 0.08, 0.3), cycles=0.5, circle=0.6)),
    "ironing": one_handed(stroke(FORWARD, (0.18, 0.12, 0.01), (0.05, 0.1, 0.25), cycles=0.5, circle=0.3)),
    "sawing": one_handed(stroke(FORWARD, (0.14, 0.01, 0.03), (0.04, 0.2, 0.04), texture=1.0)),
    "stirring": one_handed(stroke(FORWARD, (0.05, 0.05, 0.01), (0.15, 0.1, 0.15), circle=1.0, texture=0.1)),
    "whisking": one_handed(stroke(FORWARD, (0.03, 0.03, 0.01), (0.2, 0.1, 0.15), circle=0.8, texture=0.3)),
    "pouring": one_handed(lift(BENT, (1.0, 0.35, 0.1), (0.1, 0.05, 0.2), (0.5, 1.0), (0.6, 1.8, 0.6))),
    "folding_laundry": lift(
        BENT - np.array([0.3, 0.3, 0.0]), (0.6, 0.4, -0.5), (0.1, 0.25, 0.15), (0.4, 0.8), (0, 0.3, 0)
    ),
}
