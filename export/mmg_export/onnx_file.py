"""A traced part to the bytes of an ONNX file."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any

import onnx
import torch
from mmg.errors import ModelError
from torch.export import ExportedProgram

# The first with a GELU of its own, which was five operators before; from 23 on there is an Attention operator on which
# onnxruntime fails for a broadcast mask.
OPSET = 20
# The newest that onnxruntime 1.20 reads.
IR_VERSION = 10


def to_onnx(program: ExportedProgram, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """Convert, check and strip; inputs and outputs are named in order. Raises what torch raises."""
    _keep_operators()
    converted = torch.onnx.export(
        program,
        dynamo=True,
        opset_version=OPSET,
        input_names=list(inputs),
        verbose=False,
    )
    if converted is None:
        raise ModelError("torch.onnx.export gave nothing")
    _name_outputs(converted.model.graph, outputs)
    model = converted.model_proto
    strip(model)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)  # type: ignore[no-any-return]


@cache
def _keep_operators() -> None:
    """Have this process keep torch's table of operators, which torch makes anew for each conversion: for a small model
    half of the time. A conversion only looks things up in it. A torch that has it elsewhere goes on as before."""
    with suppress(ImportError, AttributeError):
        from torch.onnx._internal.exporter._registration import ONNXRegistry

        setattr(ONNXRegistry, "from_torchlib", staticmethod(cache(ONNXRegistry.from_torchlib)))  # noqa: B010


def _name_outputs(graph: Any, names: Sequence[str]) -> None:
    """Name the outputs of an ``onnx_ir.Graph`` in order. torch's own way does not look whether a value inside has the
    name already, as that of an ``nn.Embedding`` is ``embedding``."""
    for node in graph:
        for value in node.outputs:
            if value.name in names:
                value.name = f"{value.name}/inner"
    for value, name in zip(graph.outputs, names, strict=True):
        value.name = name


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
