"""Encoders: one hop of one sensor's samples in, that hop's tokens out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmg.backends import CPU_ONLY, Session
from mmg.bundle import Bundle, Manifest, Modality, ModelFile
from mmg.errors import ShapeMismatch


class Encoder:
    """One modality's encoder with what it carries from hop to hop.

    A streaming encoder carries the state tensors that its model gave out; a window encoder the samples of its window.
    Its model is bound to its arrays: from hop to hop only the tokens are copied, and no state.
    """

    def __init__(self, modality: Modality, manifest: Manifest, session: Session) -> None:
        spec, name = modality.encoder, f"{modality.name} encoder"
        inputs = {spec.input.name: spec.input.shape} | {state.input: state.shape for state in spec.states}
        outputs = {spec.output.name: spec.output.shape} | {state.output: state.shape for state in spec.states}
        check_tensors(name, "input", inputs, session.inputs, whole=True)
        check_tensors(name, "output", outputs, session.outputs)
        self._hops = round(spec.window_s / manifest.hop_s) if spec.kind == "window" else 1
        count = modality.samples_in(manifest.hop_s)
        entry = np.zeros(spec.input.shape, spec.input.dtype)
        window = entry.reshape(self._hops * count, *modality.sample_shape)
        self._older, self._newer, self._newest = window[:-count], window[count:], window[-count:]
        self._state = [np.zeros(state.shape, np.float32) for state in spec.states]
        # The first run shows what the model really gives, which its own description may leave open.
        feeds = {spec.input.name: entry} | dict(zip((s.input for s in spec.states), self._state, strict=True))
        result, *next_state = _run_checked(session, name, feeds, outputs, spec.output.name)
        self._tokens = result.reshape(spec.tokens_per_hop, manifest.fusion.token_dim)
        # What one run writes the next one reads: two bindings take turns.
        turns = [(self._state, next_state), (next_state, self._state)] if spec.states else [([], [])]
        self._runs = [
            session.bind(
                {spec.input.name: entry} | dict(zip((s.input for s in spec.states), old, strict=True)),
                {spec.output.name: result} | dict(zip((s.output for s in spec.states), new, strict=True)),
            )
            for old, new in turns
        ]
        self._turn = self._held = 0

    def reset(self) -> None:
        """Forget everything, as at the start of a stream."""
        self._turn = self._held = 0
        for array in self._state:
            array.fill(0)

    def encode(self, samples: NDArray[Any]) -> NDArray[np.float32] | None:
        """Tokens ``(tokens_per_hop, token_dim)`` of one hop; None until a window encoder's window is full.

        Raises ModelError.
        """
        if self._hops > 1:
            self._older[:] = self._newer
        self._newest[:] = samples
        self._held = min(self._held + 1, self._hops)
        if self._held < self._hops:
            return None
        self._runs[self._turn]()
        self._turn = (self._turn + 1) % len(self._runs)
        return self._tokens.astype(np.float32)


def _run_checked(
    session: Session, name: str, feeds: Mapping[str, NDArray[Any]], outputs: Mapping[str, tuple[int, ...]], tokens: str
) -> list[NDArray[Any]]:
    """The outputs of one run, of which ``tokens`` need only have the right size. Raises ModelError, ShapeMismatch."""
    arrays = session.run(tuple(outputs), feeds)
    for (tensor, shape), array in zip(outputs.items(), arrays, strict=True):
        if array.shape != shape and (tensor != tokens or array.size != math.prod(shape)):
            raise ShapeMismatch(f"{name}, output {tensor}", list(shape), list(array.shape))
    return arrays


def load_encoder(
    bundle: Bundle, modality: Modality, file: ModelFile, threads: int, providers: tuple[str, ...] = CPU_ONLY
) -> Encoder:
    """The modality's encoder, from verified bytes. Raises BundleError, ModelError, ShapeMismatch."""
    return Encoder(modality, bundle.manifest, bundle.open_session(file, threads=threads, providers=providers))


def check_tensors(
    name: str,
    side: str,
    expected: Mapping[str, tuple[int | str, ...]],
    actual: Mapping[str, tuple[int | str, ...]],
    *,
    whole: bool = False,
) -> None:
    """Compare the manifest's tensors with the model's; a free dimension of the model fits any size.

    A string in ``expected`` is a dimension that must be free.
    """
    for tensor, shape in expected.items():
        if tensor not in actual:
            raise ShapeMismatch(f"{name}, {side}", tensor, ", ".join(actual) or "none")
        got = actual[tensor]
        fits = len(got) == len(shape) and all(
            not isinstance(size, int) or size == want for size, want in zip(got, shape, strict=True)
        )
        if not fits:
            raise ShapeMismatch(f"{name}, {side} {tensor}", list(shape), list(got))
    if whole and set(actual) - set(expected):
        raise ShapeMismatch(f"{name}, {side}s", ", ".join(expected), ", ".join(actual))
