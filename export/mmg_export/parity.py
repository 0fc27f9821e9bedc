"""The exported files against the trained module, on inputs that neither has seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnxruntime as ort
import torch
from mmg.errors import ModelError
from mmg_training.models.causal import StreamingEncoder
from mmg_training.models.fusion import Fusion
from mmg_training.task import CONTEXT_HOPS, Task
from numpy.typing import NDArray
from torch import Tensor

from mmg_export.graphs import state_names

TOLERANCE = 1e-4
HOPS = 12


def random_hops(task: Task, name: str, hops: int, seed: int) -> Tensor:
    """Plausible input for ``hops`` hops of one modality: (hops * samples, C), or frames uint8."""
    noise, (count, *rest) = torch.Generator().manual_seed(seed), task.hop_shape(name)
    if name == "video":
        return torch.randint(0, 256, (hops * count, *rest), generator=noise, dtype=torch.uint8)
    if name == "audio":
        return 0.1 * torch.randn(hops * count, *rest, generator=noise)
    scale = torch.tensor([4.0, 4.0, 4.0, 1.0, 1.0, 1.0])
    return torch.randn(hops * count, *rest, generator=noise) * scale + torch.tensor([0, 0, 9.8, 0, 0, 0])


def encoder_error(task: Task, name: str, encoder: StreamingEncoder, data: bytes, seed: int = 0) -> float:
    """Stream ``HOPS`` random hops through the file, and encode them in one go with the module: the largest difference
    of a token. It covers the file, the folding of the norms and the carrying of the states."""
    samples = random_hops(task, name, HOPS, seed)
    with torch.no_grad():
        whole, _ = encoder(samples if name == "video" else samples[None], encoder.initial())
    session, names = _session(data), state_names(encoder)
    states = {before: state.numpy() for (before, _), state in zip(names, encoder.initial(), strict=True)}
    streamed = []
    for hop in samples.chunk(HOPS):
        feed = hop.numpy() if name == "video" else hop.numpy()[None]
        tokens, *following = session.run(["tokens", *(after for _, after in names)], {"samples": feed, **states})
        states = {before: state for (before, _), state in zip(names, following, strict=True)}
        streamed.append(tokens)
    return float(np.abs(np.concatenate(streamed, axis=1) - whole.numpy()).max())


def fusion_error(fusion: Fusion, data: bytes, modalities: int, seed: int = 0) -> float:
    """Contexts of several lengths through the file and through the module: the largest difference of any output."""
    noise, session, worst = np.random.default_rng(seed), _session(data), 0.0
    for count in (1, 2, 8, 31, 32, 64):
        feed: dict[str, NDArray[np.generic]] = {
            "tokens": noise.standard_normal((1, count, fusion.norm.normalized_shape[0])).astype(np.float32),
            "modality": noise.integers(0, modalities, (1, count)).astype(np.int32),
            "age": noise.integers(0, CONTEXT_HOPS, (1, count)).astype(np.int32),
        }
        with torch.no_grad():
            wanted = fusion(*(torch.from_numpy(value) for value in feed.values()))
        worst = max(worst, _largest(session.run(["logits", "embedding"], feed), wanted))
    return worst


def require(what: str, error: float) -> None:
    """Raises ModelError where ``error`` is above the tolerance, or is not a number."""
    if not error <= TOLERANCE:
        raise ModelError(f"{what}: the exported file differs from the trained module by {error:.2e}, above {TOLERANCE}")


def _session(data: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _largest(got: Sequence[NDArray[np.float32]], wanted: Sequence[Tensor]) -> float:
    return max(float(np.abs(a - b.numpy()).max()) for a, b in zip(got, wanted, strict=True))
