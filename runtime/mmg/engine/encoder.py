"""Encoders: one hop of one sensor's samples in, that hop's tokens out."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmg.backends import Session, open_session
from mmg.bundle import Bundle, Manifest, Modality, ModelFile
from mmg.errors import ShapeMismatch


class Encoder:
    """One modality's encoder with what it carries from hop to hop.

    A streaming encoder carries the state tensors that its model gave out; a window encoder the samples of its window.
    """

    def __init__(self, modality: Modality, manifest: Manifest, session: Session) -> None:
        self._spec, self._session, self._name = modality.encoder, session, f"{modality.name} encoder"
        self._shape = (modality.encoder.tokens_per_hop, manifest.fusion.token_dim)
        hops = round(self._spec.window_s / manifest.hop_s) if self._spec.kind == "window" else 1
        self._window: deque[NDArray[Any]] = deque(maxlen=hops)
        self._outputs = [self._spec.output.name, *(state.output for state in self._spec.states)]
        self._states: dict[str, NDArray[np.float32]] = {}
        expected: dict[str, tuple[int | str, ...]] = {self._spec.input.name: self._spec.input.shape}
        expected |= {state.input: state.shape for state in self._spec.states}
        check_tensors(self._name, "input", expected, session.inputs, whole=True)
        expected = {self._spec.output.name: self._spec.output.shape}
        expected |= {state.output: state.shape for state in self._spec.states}
        check_tensors(self._name, "output", expected, session.outputs)
        self.reset()

    def reset(self) -> None:
        """Forget everything, as at the start of a stream."""
        self._window.clear()
        self._states = {state.input: np.zeros(state.shape, np.float32) for state in self._spec.states}

    def encode(self, samples: NDArray[Any]) -> NDArray[np.float32] | None:
        """Tokens ``(tokens_per_hop, token_dim)`` of one hop; None until a window encoder's window is full.

        Raises ModelError, ShapeMismatch.
        """
        self._window.append(samples)
        if len(self._window) < (self._window.maxlen or 1):
            return None
        whole = samples if self._window.maxlen == 1 else np.concatenate(tuple(self._window))
        entry = np.asarray(whole, self._spec.input.dtype).reshape(self._spec.input.shape)
        tokens, *states = self._session.run(self._outputs, {self._spec.input.name: entry, **self._states})
        for state, value in zip(self._spec.states, states, strict=True):
            if value.shape != state.shape:
                raise ShapeMismatch(f"{self._name}, output {state.output}", list(state.shape), list(value.shape))
            self._states[state.input] = value
        if tokens.size != math.prod(self._shape):
            raise ShapeMismatch(f"{self._name}, output {self._spec.output.name}", self._shape, list(tokens.shape))
        return np.asarray(tokens, np.float32).reshape(self._shape)


def load_encoder(bundle: Bundle, modality: Modality, file: ModelFile, threads: int) -> Encoder:
    """The modality's encoder, from verified bytes. Raises BundleError, ModelError, ShapeMismatch."""
    session = open_session(file.backend, bundle.read(file), f"{modality.name} encoder", threads=threads)
    return Encoder(modality, bundle.manifest, session)


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
