"""Fusion: the tokens that are present in, one calibrated decision's worth of numbers out."""

from __future__ import annotations

from collections.abc import Sequence
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
        self._sizes = {spec.logits: (1, len(manifest.labels)), spec.embedding: (1, spec.embedding_dim)}
        check_tensors("fusion", "output", self._sizes, session.outputs)

    def fuse(
        self, tokens: Sequence[NDArray[np.float32]], modality: Sequence[int], age: Sequence[int], names: tuple[str, ...]
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Scores ``(labels,)`` that sum to 1 and the embedding ``(embedding_dim,)``.

        tokens: arrays ``(n, token_dim)``, one a hop and modality; modality, age: their numbers, one an array.
        The scores are ``softmax(logits / temperature)``: temperature scaling, Guo et al. 2017, arXiv 1706.04599.
        Raises ModelError, ShapeMismatch.
        """
        counts = [len(array) for array in tokens]
        feeds: dict[str, NDArray[Any]] = {
            self._spec.tokens: np.concatenate(tokens)[None],
            self._spec.modality: np.repeat(np.array(modality, np.int32), counts)[None],
            self._spec.age: np.repeat(np.array(age, np.int32), counts)[None],
        }
        if self._masked:
            feeds[self._spec.present] = np.ones((1, sum(counts)), np.float32)
        logits, embedding = self._session.run([self._spec.logits, self._spec.embedding], feeds)
        for (name, size), output in zip(self._sizes.items(), (logits, embedding), strict=True):
            if output.shape != size:
                raise ShapeMismatch(f"fusion, output {name}", list(size), list(output.shape))
        if not np.isfinite(logits).all():
            raise ModelError("fusion: the logits are not finite")
        scaled = logits[0].astype(np.float64) / self._manifest.temperature(names)
        exponentials = np.exp(scaled - scaled.max())
        return exponentials / exponentials.sum(), embedding[0]
