"""The same ratios with smaller and larger models: which of them tell of mmg, and which of how small the starter is.

Their weights are not trained: what a run costs does not depend on them.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mmg import Bundle

from mmg_tools.bench import eager, push, window
from mmg_tools.bench.bare import Bare, BareEncoders
from mmg_tools.bench.hops import Pushed, Recording, take_turns
from mmg_tools.bench.needs import STARTER_RUN, require_training
from mmg_tools.bench.table import Figure, Reporter, Row

if TYPE_CHECKING:
    from mmg_export.trained import TrainedRun

SIZES = ("small", "base", "large")
ALL = ("imu", "audio", "video")


def measure(report: Reporter, *, quick: bool = False) -> list[Figure]:
    """Each ratio at each size, by onnxruntime. Raises ConfigError where the training packages are not installed."""
    require_training()
    from mmg_export import export_bundle

    rows: dict[str, list[Row]] = {"push": [], "window": [], "eager": []}
    with tempfile.TemporaryDirectory(prefix="mmg-bench-") as folder:
        for size in SIZES:
            report(f"sizes: export the {size} models (a minute)")
            run = untrained(size)
            once, again = Path(folder) / f"{size}.mmg", Path(folder) / f"{size}-window.mmg"
            export_bundle(once, encoders=run.encoders(ALL), fusion=run.fusion(ALL), spec=run.spec(ALL), hops=16)
            window.export_window(run, again, ("onnx",))
            with Bundle.open(once) as streaming, Bundle.open(again) as windowed:
                report(f"sizes: {size}")
                _measure(rows, run, size, streaming, windowed, quick=quick)
    of_size = "of models of other sizes, untrained"
    return [
        Figure("push by size", f"{push.TITLE}, {of_size}", push.GOAL, True, tuple(rows["push"])),
        Figure("window by size", f"{window.TITLE}, {of_size}", window.GOAL, False, tuple(rows["window"])),
        Figure("eager by size", f"{eager.TITLE}, {of_size}", eager.GOAL, False, tuple(rows["eager"])),
    ]


def untrained(size: str) -> TrainedRun:
    """The starter's task and form, with fresh weights of this size, of which nothing tells the unknown."""
    import torch
    from mmg_export.trained import TrainedRun
    from mmg_training.models import multimodal, sizes
    from mmg_training.unknown import Unknown
    from msgspec.structs import replace as replace_fields

    torch.set_num_threads(1)
    torch.manual_seed(0)
    run = TrainedRun(STARTER_RUN)
    config = replace(sizes.SIZES[size], imu_axes=run.model.config.imu_axes)
    run.model = multimodal.MultimodalModel(run.model.task, config).eval()
    run.unknown = Unknown({}, {})
    run.metrics = replace_fields(
        run.metrics, subsets=tuple(replace_fields(one, unknown=None) for one in run.metrics.subsets)
    )
    return run


def _measure(
    rows: dict[str, list[Row]], run: TrainedRun, size: str, streaming: Bundle, windowed: Bundle, *, quick: bool
) -> None:
    hops = 60 if quick else 220
    for names in (("imu",), ALL):
        recording = Recording(streaming.manifest, names, hops)
        pushed = Pushed(streaming, recording)
        push_us, bare_us = take_turns(pushed, Bare(streaming, recording), hops)
        pushed.require(hops)
        _add(rows["push"], f"{size}: {'+'.join(names)}", push_us, bare_us, ("push_us", "bare_us"))
    again, once = (BareEncoders(bundle, recording) for bundle in (windowed, streaming))
    window_us, streaming_us = take_turns(again, once, hops)
    _add(rows["window"], f"{size}: encoders", window_us, streaming_us, ("window_us", "streaming_us"))
    pushed = Pushed(streaming, recording)
    eager_us, push_us = take_turns(eager.eager_hop(run, streaming, recording), pushed, hops)
    pushed.require(hops)
    _add(rows["eager"], f"{size}: {'+'.join(ALL)}", eager_us, push_us, ("eager_us", "push_us"))


def _add(rows: list[Row], what: str, over_us: float, under_us: float, names: tuple[str, str]) -> None:
    rows.append(Row(what, over_us / under_us, dict(zip(names, (over_us, under_us), strict=True)), held=False))
