"""PyTorch modules to ONNX bytes: one hop of an encoder with its states, and the fusion over N tokens."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import onnx
import torch
from mmg.errors import ModelError
from mmg_training.models.causal import StreamingEncoder
from mmg_training.models.fusion import Fusion
from torch import Tensor, nn

# 18 is the exporter's own; from 23 on there is an Attention operator on which onnxruntime fails for a broadcast mask.
OPSET = 18
# The newest that onnxruntime 1.20 reads.
IR_VERSION = 10
HIGHEST_RANK = 4


class HopEncoder(nn.Module):
    """One hop with flat arguments: ``(samples, *states) -> (tokens, *next states)``."""

    def __init__(self, encoder: StreamingEncoder) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder).eval()
        self.encoder.fold()

    def forward(self, samples: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        tokens, following = self.encoder(samples, states)
        return tokens, *following


def state_names(encoder: StreamingEncoder) -> list[tuple[str, str]]:
    """The input and output name of each state."""
    return [(f"history_{index}", f"next_history_{index}") for index in range(len(encoder.state_shapes))]


def export_encoder(encoder: StreamingEncoder, samples: Tensor) -> bytes:
    """The streaming graph for hops shaped like ``samples``: inputs ``samples, history_i``, outputs ``tokens,
    next_history_i``."""
    names = state_names(encoder)
    return to_onnx(
        HopEncoder(encoder),
        (samples, *encoder.initial()),
        ["samples", *(before for before, _ in names)],
        ["tokens", *(after for _, after in names)],
    )


def export_fusion(fusion: Fusion) -> bytes:
    """The graph with N free: inputs ``tokens, modality, age``, outputs ``logits, embedding``."""
    count, free = 5, {1: torch.export.Dim("N", min=1, max=4096)}
    arguments = (
        torch.zeros(1, count, fusion.norm.normalized_shape[0]),
        torch.zeros(1, count, dtype=torch.int32),
        torch.zeros(1, count, dtype=torch.int32),
    )
    return to_onnx(
        copy.deepcopy(fusion).eval(),
        arguments,
        ["tokens", "modality", "age"],
        ["logits", "embedding"],
        dynamic_shapes=(free, free, free),
    )


def to_onnx(
    module: nn.Module,
    arguments: tuple[Tensor, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
    dynamic_shapes: tuple[dict[int, Any], ...] | None = None,
) -> bytes:
    """Export, check and strip. Raises ModelError where an operator's result has more than four axes."""
    with _quiet():
        program = torch.onnx.export(
            module,
            arguments,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=dynamic_shapes,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    rank = highest_rank(model)
    if rank > HIGHEST_RANK:
        raise ModelError(f"the graph holds a tensor with {rank} axes; LiteRT takes {HIGHEST_RANK} at most")
    strip(model)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)  # type: ignore[no-any-return]


def highest_rank(model: onnx.ModelProto) -> int:
    """The most axes that any tensor of the graph has."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = [*graph.input, *graph.value_info, *graph.output]
    ranks = [len(value.type.tensor_type.shape.dim) for value in values]
    return max(ranks + [len(weight.dims) for weight in graph.initializer])


def strip(model: onnx.ModelProto) -> None:
    """Clear what no runtime reads and what differs from machine to machine (about 110 KB of source lines)."""
    model.ir_version = min(model.ir_version, IR_VERSION)
    model.producer_version = ""
    for part in (
        model,
        model.graph,
        *model.graph.node,
        *model.graph.input,
        *model.graph.output,
        *model.graph.initializer,
    ):
        del part.metadata_props[:]
        part.doc_string = ""
    del model.graph.value_info[:]


@contextmanager
def _quiet() -> Iterator[None]:
    # The exporter reports its own internals here; what matters is checked afterwards.
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
