"""The same models run by their library alone, as a script of a few lines would: ready tensors in, tensors out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from mmg import Bundle
from mmg.backends.onnx import load_onnxruntime
from mmg.bundle import Manifest, Modality, ModelFile
from mmg.errors import BundleError
from numpy.typing import NDArray

from mmg_tools.bench.hops import Recording, noise

Run: TypeAlias = Callable[[Sequence[str], Mapping[str, NDArray[Any]]], list[NDArray[Any]]]


class BareEncoder:
    """One encoder. Its samples lie ready in the shape that it takes, a window's too; states go out and in again."""

    def __init__(self, bundle: Bundle, modality: Modality, samples: NDArray[Any], backend: str) -> None:
        spec, hop_s = modality.encoder, bundle.manifest.hop_s
        self._run = open_bare(bundle, spec.files, backend)
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
        tokens, *following = self._run(self._names, feeds)
        self._states = dict(zip(self._states, following, strict=True))
        return tokens


class BareEncoders:
    """All encoders of a recording's modalities."""

    def __init__(self, bundle: Bundle, recording: Recording, backend: str = "onnx") -> None:
        self.encoders = {
            name: BareEncoder(bundle, bundle.manifest.modality(name), samples, backend)
            for name, samples in recording.samples.items()
        }

    def __call__(self, hop: int) -> None:
        for encoder in self.encoders.values():
            encoder(hop)


class Bare(BareEncoders):
    """The encoders, and the fusion on a whole context that is always the same."""

    def __init__(self, bundle: Bundle, recording: Recording, backend: str = "onnx") -> None:
        super().__init__(bundle, recording, backend)
        self._fuse, self._context = open_bare_fusion(bundle, list(recording.samples), backend)
        self._outputs = [bundle.manifest.fusion.logits, bundle.manifest.fusion.embedding]

    def __call__(self, hop: int) -> None:
        super().__call__(hop)
        self._fuse(self._outputs, self._context)


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


def open_bare_fusion(bundle: Bundle, names: Sequence[str], backend: str) -> tuple[Run, dict[str, NDArray[Any]]]:
    """The fusion, and the whole context that it takes. LiteRT has it once for each number of tokens."""
    spec, context = bundle.manifest.fusion, whole_context(bundle.manifest, names)
    if backend == "onnx":
        return open_bare(bundle, spec.files, backend), context
    from ai_edge_litert.interpreter import Interpreter

    count = context[spec.age].shape[1]
    context[spec.present] = np.ones((1, count), np.float32)
    interpreter = Interpreter(model_content=_read(bundle, spec.files, backend), num_threads=1)
    runner = interpreter.get_signature_runner(f"fuse_{count}")

    def run(names: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        outputs = runner(**feeds)
        return [outputs[name] for name in names]

    return run, context


def open_bare(bundle: Bundle, files: Sequence[ModelFile], backend: str) -> Run:
    """A call that runs the fp32 file with mmg's own options: one thread that does not spin. Raises BundleError."""
    return (_by_onnxruntime if backend == "onnx" else _by_litert)(_read(bundle, files, backend))


def _read(bundle: Bundle, files: Sequence[ModelFile], backend: str) -> bytes:
    for file in files:
        if (file.backend, file.precision) == (backend, "fp32"):
            return bundle.read(file)
    raise BundleError(str(bundle.path), "benchmark", f"has no fp32 file for {backend}")


def _by_onnxruntime(data: bytes) -> Run:
    onnxruntime = load_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return session.run  # type: ignore[no-any-return]


def _by_litert(data: bytes) -> Run:
    """By the interpreter's own calls: those of a signature, which a model of one signature has as well, are slower."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=data, num_threads=1)
    signature = interpreter.get_signature_runner()
    ins = {name: one["index"] for name, one in signature.get_input_details().items()}
    outs = {name: one["index"] for name, one in signature.get_output_details().items()}
    del signature
    interpreter.allocate_tensors()

    def run(names: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        for name, value in feeds.items():
            interpreter.set_tensor(ins[name], value)
        interpreter.invoke()
        return [interpreter.get_tensor(outs[name]) for name in names]

    return run
