"""Fusion: the tokens that are present in, one calibrated decision's worth of numbers out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmg.backends import Session
from mmg.bundle import Manifest
from mmg.engine.encoder import check_tensors
from mmg.errors import ModelError, ShapeMismatch


class Fusion:
    """The fusion model and the temperatures that make its scores honest for each subset of modalities."""

    def __init__(self, manifest: Manifest, session: Session) -> None:
        self._manifest, self._spec, self._session = manifest, manifest.fusion, session
        spec = self._spec
        entries: dict[str, tuple[int | str, ...]] = {
            spec.tokens: (1, "N", spec.token_dim),
            spec.modality: (1, "N"),
            spec.age: (1, "N"),
        }
        self._masked = spec.present in session.inputs
        if self._masked:
            entries[spec.present] = (1, "N")
        check_tensors("fusion", "input", entries, session.inputs, whole=True)
        sizes = {spec.logits: (1, len(manifest.labels)), spec.embedding: (1, spec.embedding_dim)}
        check_tensors("fusion", "output", sizes, session.outputs)
        outputs = session.run(tuple(sizes), self._feeds(1))
        for (name, size), output in zip(sizes.items(), outputs, strict=True):
            if output.shape != size:
                raise ShapeMismatch(f"fusion, output {name}", list(size), list(output.shape))
        self._logits, self._embedding = outputs
        self._context: _Context | None = None
        self._temperatures: dict[tuple[str, ...], float] = {}

    def fuse(
        self, tokens: Sequence[NDArray[np.float32]], modality: Sequence[int], age: Sequence[int]
    ) -> tuple[list[float], list[float]]:
        """The logit of each label, and the embedding.

        tokens: arrays ``(n, token_dim)``, one a hop and modality; modality, age: their numbers, one an array.
        Raises ModelError, ShapeMismatch.
        """
        counts = tuple(map(len, tokens))
        count = sum(counts)
        if self._context is None or self._context.count != count:
            self._context = self._bind(count)
        self._context.fill(tokens, (counts, tuple(modality), tuple(age)))
        self._context.run()
        return self._logits[0].tolist(), self._embedding[0].tolist()

    def calibrate(self, logits: Sequence[float], names: tuple[str, ...]) -> list[float]:
        """Scores, one a label, that sum to 1, for the modalities of these names. Raises ModelError.

        They are ``softmax(logits / temperature)``: temperature scaling, Guo et al. 2017, arXiv 1706.04599.
        """
        if not math.isfinite(sum(logits)):
            raise ModelError("fusion: the logits are not finite")
        temperature = self._temperatures.get(names)
        if temperature is None:
            temperature = self._temperatures[names] = self._manifest.temperature(names)
        highest = max(logits)
        exponentials = [math.exp((logit - highest) / temperature) for logit in logits]
        whole = sum(exponentials)
        return [one / whole for one in exponentials]

    def _feeds(self, count: int) -> dict[str, NDArray[Any]]:
        spec = self._spec
        feeds: dict[str, NDArray[Any]] = {
            spec.tokens: np.zeros((1, count, spec.token_dim), np.float32),
            spec.modality: np.zeros((1, count), np.int32),
            spec.age: np.zeros((1, count), np.int32),
        }
        return feeds | ({spec.present: np.ones((1, count), np.float32)} if self._masked else {})

    def _bind(self, count: int) -> _Context:
        feeds = self._feeds(count)
        results = {self._spec.logits: self._logits, self._spec.embedding: self._embedding}
        arrays = (feeds[name][0] for name in (self._spec.tokens, self._spec.modality, self._spec.age))
        return _Context(self._session.bind(feeds, results), *arrays)


class _Context:
    """The arrays of one number of tokens, which rarely changes, and the model bound to them."""

    def __init__(
        self,
        run: Callable[[], None],
        tokens: NDArray[np.float32],
        modality: NDArray[np.int32],
        age: NDArray[np.int32],
    ) -> None:
        self.run, self.count = run, len(age)
        self._tokens, self._modality, self._age = tokens, modality, age
        self._layout: object = None

    def fill(self, tokens: Sequence[NDArray[np.float32]], layout: tuple[tuple[int, ...], ...]) -> None:
        """layout: how many tokens each array has, its modality's number, its age. From hop to hop it rarely changes."""
        np.concatenate(tokens, out=self._tokens)
        if layout != self._layout:
            counts, modality, age = layout
            self._modality[:], self._age[:] = np.repeat(modality, counts), np.repeat(age, counts)
            self._layout = layout
