"""The same models run by onnxruntime alone, as a script of a few lines would: ``session.run`` on ready tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmg import Bundle
from mmg.bundle import Manifest, Modality, ModelFile
from mmg.errors import BundleError
from numpy.typing import NDArray

from mmg_tools.bench.hops import Recording, noise


class BareEncoder:
    """One encoder. Its samples lie ready in the shape that it takes, a window's too; states go out and in again."""

    def __init__(self, bundle: Bundle, modality: Modality, samples: NDArray[Any]) -> None:
        spec, hop_s = modality.encoder, bundle.manifest.hop_s
        self.session = open_bare(bundle, spec.files)
        self._input, self._shape = spec.input.name, spec.input.shape
        self._names = [spec.output.name, *(state.output for state in spec.states)]
        self._states = {state.input: np.zeros(state.shape, np.float32) for state in spec.states}
        self._count = modality.samples_in(hop_s)
        self._window = modality.samples_in(spec.window_s or hop_s)
        # A copy of its own: what the other way has just read lies in the cache. A window begins before the recording.
        zeros = np.zeros((self._window - self._count, *samples.shape[1:]), samples.dtype)
        self._samples = np.concatenate((zeros, samples))

    def __call__(self, hop: int) -> NDArray[np.float32]:
        begin = hop * self._count
        feeds = {self._input: self._samples[begin : begin + self._window].reshape(self._shape), **self._states}
        tokens, *following = self.session.run(self._names, feeds)
        self._states = dict(zip(self._states, following, strict=True))
        return tokens  # type: ignore[no-any-return]


class Bare:
    """All encoders of a recording's modalities, and the fusion on a whole context that is always the same."""

    def __init__(self, bundle: Bundle, recording: Recording) -> None:
        manifest = bundle.manifest
        self.encoders = {
            name: BareEncoder(bundle, manifest.modality(name), samples) for name, samples in recording.samples.items()
        }
        self._fusion = open_bare(bundle, manifest.fusion.files)
        self._context = whole_context(manifest, list(recording.samples))
        self._outputs = [manifest.fusion.logits, manifest.fusion.embedding]

    def encode(self, hop: int) -> None:
        """The encoders only."""
        for encoder in self.encoders.values():
            encoder(hop)

    def __call__(self, hop: int) -> None:
        self.encode(hop)
        self._fusion.run(self._outputs, self._context)


def whole_context(manifest: Manifest, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """What the fusion takes when every hop of the context is there, oldest first, as the engine orders it."""
    counts = [manifest.modality(name).encoder.tokens_per_hop for name in names]
    hops, fusion = manifest.context_hops, manifest.fusion
    numbers = [np.full(hops * count, manifest.index(name)) for name, count in zip(names, counts, strict=True)]
    ages = [np.repeat(np.arange(hops)[::-1], count) for count in counts]
    total = hops * sum(counts)
    return {
        fusion.tokens: noise(total * fusion.token_dim).reshape(1, total, -1).astype(np.float32),
        fusion.modality: np.concatenate(numbers)[None].astype(np.int32),
        fusion.age: np.concatenate(ages)[None].astype(np.int32),
    }


def open_bare(bundle: Bundle, files: Sequence[ModelFile]) -> Any:
    """An onnxruntime session with the options that mmg's has: one thread that does not spin. Raises BundleError."""
    import onnxruntime

    for file in files:
        if (file.backend, file.precision) == ("onnx", "fp32"):
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            options.log_severity_level = 4
            return onnxruntime.InferenceSession(bundle.read(file), options, providers=["CPUExecutionProvider"])
    raise BundleError(str(bundle.path), "benchmark", "has no fp32 file for onnxruntime")
