"""mmg's engine against PyTorch eager, one thread each, on the same hops with the weights as they were trained."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from mmg import Bundle

from mmg_tools.bench.bare import whole_context
from mmg_tools.bench.hops import SUBSETS, Pushed, Recording, take_turns
from mmg_tools.bench.needs import STARTER_RUN, require_training, run_backends
from mmg_tools.bench.table import Figure, Reporter, Row

if TYPE_CHECKING:
    from mmg_export.trained import TrainedRun
    from torch import Tensor

GOAL = 3.0
TITLE = "CPU time of PyTorch eager over that of Engine.push"


def measure(report: Reporter, *, quick: bool = False) -> list[Figure]:
    """The ratio of each subset. Raises ConfigError where PyTorch is not installed."""
    require_training()
    import torch
    from mmg_export.trained import TrainedRun

    torch.set_num_threads(1)
    run, rows = TrainedRun(STARTER_RUN), []
    with Bundle.open("starter") as bundle:
        for backend in run_backends():
            for names in SUBSETS:
                what = f"{'+'.join(names)}, {backend}"
                report(f"eager: {what}")
                hops = 60 if quick else 420
                recording = Recording(bundle.manifest, names, hops)
                pushed, eager = Pushed(bundle, recording, backend), eager_hop(run, bundle, recording)
                push_us, eager_us = take_turns(pushed, eager, hops)
                pushed.require(hops)
                rows.append(Row(what, eager_us / push_us, {"eager_us": eager_us, "push_us": push_us}))
    return [Figure("eager", TITLE, GOAL, False, tuple(rows))]


def eager_hop(run: TrainedRun, bundle: Bundle, recording: Recording) -> Callable[[int], Tensor | None]:
    """A call that takes the next hop's number and gives the logits, written as one would in PyTorch: ready tensors in,
    batch norms folded, states and the context's tokens kept. Before the context is whole it gives None."""
    import torch

    manifest, names = bundle.manifest, list(recording.samples)
    encoders, fusion = run.encoders(names), run.fusion(run.model.task.modalities)
    states = {name: run.model.encoder(name).initial() for name in names}
    held: dict[str, deque[Tensor]] = {name: deque(maxlen=manifest.context_hops) for name in names}
    ready = {name: torch.from_numpy(np.copy(samples)) for name, samples in recording.samples.items()}
    counts = {name: manifest.modality(name).samples_in(manifest.hop_s) for name in names}
    shapes = {name: manifest.modality(name).encoder.input.shape for name in names}
    whole = whole_context(manifest, names)
    modality, age = (torch.from_numpy(whole[key]) for key in (manifest.fusion.modality, manifest.fusion.age))

    def one(hop: int) -> Tensor | None:
        with torch.inference_mode():
            for name in names:
                samples = ready[name][hop * counts[name] : (hop + 1) * counts[name]].reshape(shapes[name])
                tokens, *states[name] = encoders[name](samples, *states[name])
                held[name].append(tokens)
            if len(held[names[0]]) < manifest.context_hops:
                return None
            logits, _ = fusion(torch.cat([tokens for name in names for tokens in held[name]], dim=1), modality, age)
            return logits  # type: ignore[no-any-return]

    return one
