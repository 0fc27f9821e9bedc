"""Streaming encoders against the same encoders re-run at every hop over the last 4 s."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mmg import Bundle

from mmg_tools.bench.bare import BareEncoders
from mmg_tools.bench.hops import Pushed, Recording, take_turns
from mmg_tools.bench.needs import STARTER_RUN, export_backends, require_training
from mmg_tools.bench.table import Figure, Reporter, Row

if TYPE_CHECKING:
    from mmg.bundle.manifest import Backend
    from mmg_export.trained import TrainedRun

GOAL = 6.0
WINDOW_S = 4.0
TITLE = f"CPU time of window encoders over {WINDOW_S:g} s over that of streaming ones"
SUBSETS = (("imu",), ("audio",), ("video",), ("imu", "audio", "video"))


def measure(report: Reporter, *, quick: bool = False, accuracy: bool = False) -> list[Figure]:
    """How many times less the streaming form costs, and with ``accuracy`` what it decides. Raises ConfigError where the
    training packages are not installed."""
    require_training()
    import torch
    from mmg_export.trained import TrainedRun

    torch.set_num_threads(1)
    backends = export_backends()
    with tempfile.TemporaryDirectory(prefix="mmg-bench-") as folder:
        path = Path(folder) / "window.mmg"
        report(f"window: export the window encoders for {' and '.join(backends)} (a minute each)")
        export_window(TrainedRun(STARTER_RUN), path, backends)
        with Bundle.open("starter") as streaming, Bundle.open(path) as window:
            figures = [_cost(streaming, window, report, quick=quick)]
            if accuracy:
                from mmg_tools.bench.accuracy import compare

                figures.append(compare(streaming, window, report, quick=quick))
    return figures


def export_window(run: TrainedRun, path: Path, backends: Sequence[Backend]) -> None:
    """A run's models as a bundle of window encoders, with the streaming form's weights and fusion."""
    from mmg_export import export_bundle
    from mmg_training.models.window import WindowEncoder

    names = run.model.task.modalities
    spec = run.spec(names)
    sensors = {name: replace(sensor, states=(), window_s=WINDOW_S) for name, sensor in spec.sensors.items()}
    hops = round(WINDOW_S / spec.hop_s)
    # The hop's form has its batch norms folded already, as the starter's files do.
    encoders = {name: WindowEncoder(one.encoder, hops).eval() for name, one in run.encoders(names).items()}  # type: ignore[arg-type]
    spec, fusion = replace(spec, sensors=sensors), run.fusion(names)
    export_bundle(path, encoders=encoders, fusion=fusion, spec=spec, backends=backends, hops=2 * hops)


def _cost(streaming: Bundle, window: Bundle, report: Reporter, *, quick: bool) -> Figure:
    hops, rows = 60 if quick else 220, []
    for backend in export_backends():
        for names in SUBSETS:
            what = f"{'+'.join(names)}, {backend}"
            report(f"window: {what}")
            recording = Recording(streaming.manifest, names, hops)
            once, again = (BareEncoders(bundle, recording, backend) for bundle in (streaming, window))
            times = take_turns(again, once, hops)
            arithmetic = {"arithmetic_x": _macs(window, names) / _macs(streaming, names)}
            rows.append(_row(f"{what}: encoders", times, arithmetic))
            pushed, anew = (Pushed(bundle, recording, backend) for bundle in (streaming, window))
            times = take_turns(anew, pushed, hops)
            pushed.require(hops)
            # Its window is not full before.
            anew.require(hops - round(WINDOW_S / window.manifest.hop_s) + 1)
            rows.append(_row(f"{what}: whole hop", times, {}))
    return Figure("window", TITLE, GOAL, False, tuple(rows))


def _macs(bundle: Bundle, names: Sequence[str]) -> int:
    """Multiply-accumulates a hop of these encoders, which the exporter counted."""
    return sum(bundle.manifest.modality(name).encoder.macs or 0 for name in names)


def _row(what: str, times_us: tuple[float, float], further: Mapping[str, float]) -> Row:
    window_us, streaming_us = times_us
    return Row(what, window_us / streaming_us, {"window_us": window_us, "streaming_us": streaming_us, **further})
