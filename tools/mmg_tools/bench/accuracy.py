"""Do streaming encoders decide as well as window encoders with the same weights? On held-out virtual wearers."""

from __future__ import annotations

import numpy as np
from mmg import Bundle
from mmg_training import checkpoint
from mmg_training.data.starter import WEARER
from mmg_training.data.virtual import simulate_all
from mmg_training.evaluation.engine import decide_with_engine
from mmg_training.wearer.people import held_out_subjects

from mmg_tools.bench.needs import STARTER_RUN
from mmg_tools.bench.table import Figure, Reporter, Row

GOAL_POINTS = 0.5


def compare(streaming: Bundle, window: Bundle, report: Reporter, *, quick: bool = False) -> Figure:
    """The points of accuracy by which the two differ on each subset of the modalities, over the hops that both decide:
    those whose window is full. The wearers are those that the starter's own accuracy was measured on (simulated)."""
    model, config = checkpoint.load(STARTER_RUN)
    others = held_out_subjects(config.data.held_out)
    subjects = others[len(others) // 2 :]
    if quick:
        subjects = subjects[:1]
    sessions = simulate_all(WEARER, subjects, config.data.sessions, config.data.session_s, report)
    first = max(round(one.encoder.window_s / window.manifest.hop_s) for one in window.manifest.modalities) - 1
    full = np.concatenate([np.arange(session.hops) >= first for session in sessions])
    rows = []
    for names in model.task.subsets():
        right = []
        for bundle in (streaming, window):
            made = decide_with_engine(bundle, model.task, sessions, names, report)
            right.append(100 * float((made.logits.argmax(1) == made.labels).numpy()[full].mean()))
        measured = {"streaming_%": right[0], "window_%": right[1], "of_hops": float(full.sum())}
        rows.append(Row("+".join(names), abs(right[0] - right[1]), measured))
    title = "points of accuracy between streaming and window encoders, simulated wearers"
    return Figure("accuracy", title, GOAL_POINTS, True, tuple(rows))
