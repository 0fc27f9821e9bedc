"""A TFLite file's int8 variant, by operator type: linear layers dynamic, convolutions by weight only, all else as is.

Every convolution computes with floats, so that a quiet sound is not lost in the range of a loud one, and needs no
calibration. It costs no time: LiteRT widens the weights once. (Static 8 bits by ai-edge-quantizer, which takes a moving
average for the range, cost the starter 7 points.) Fixed filters become float16.

The weights of a linear layer have one step for all of them: where each channel has its own, tflite-runtime 2.14 takes
the first one's, and says nothing. The starter's logits err by 0.08 at most so, and by 0.06 with a step for each.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from mmg.errors import ModelError
from numpy.typing import NDArray

from mmg_export.float16 import near
from mmg_export.parts import first_line
from mmg_export.quantise_onnx import fingerprint

LINEAR = "FULLY_CONNECTED"
CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


def quantise_litert(data: bytes, fixed: Iterable[NDArray[Any]] = ()) -> bytes:
    """The int8 variant of a file that still has its tensors' names. The same bytes each time.

    fixed: the values of the module's buffers, which nobody trained: a window, a Fourier transform, mel bands.

    Raises ModelError where ai-edge-quantizer is not installed, or cannot do it.
    """
    known = {fingerprint(array) for array in fixed}
    with _quantizer(data, "int8") as quantizer:
        from ai_edge_quantizer.qtyping import QuantGranularity, TFLOperationName

        quantizer.add_dynamic_config(".*", TFLOperationName(LINEAR), 8, granularity=QuantGranularity.TENSORWISE)
        for name in CONVOLUTIONS:
            quantizer.add_weight_only_config(".*", TFLOperationName(name), 8)
        _add_halves(quantizer, _layers(data, lambda weight: fingerprint(weight) in known))  # the later setting holds
        return _run(quantizer)


def halve_litert(data: bytes) -> bytes:
    """As ``halve_onnx``, of linear layers and convolutions in a file that still has its tensors' names; the file itself
    where that is not smaller, as other operators read the same weights. Raises ModelError where ai-edge-quantizer is
    not installed, or cannot do it."""
    layers = _layers(data, lambda weight: near(weight) is not None)
    if not layers:
        return data
    with _quantizer(data, "float16") as quantizer:
        _add_halves(quantizer, layers)
        return min(_run(quantizer), data, key=len)


@contextlib.contextmanager
def _quantizer(data: bytes, what: str) -> Iterator[Any]:
    try:
        from ai_edge_quantizer import Quantizer
    except ImportError as error:
        raise ModelError(
            "ai-edge-quantizer is not installed: in mmg's folder, pip install -e '.[export-litert]'"
        ) from error
    try:
        yield Quantizer(data)
    except (ValueError, RuntimeError, KeyError, IndexError, TypeError) as error:
        raise ModelError(f"{what}: ai-edge-quantizer cannot quantise it: {first_line(error)}") from error


def _add_halves(quantizer: Any, layers: Iterable[tuple[str, str]]) -> None:
    """Have the weights of these layers stored as float16."""
    from ai_edge_quantizer import qtyping
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    half = qtyping.OpQuantizationConfig(
        weight_tensor_config=qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT),
        compute_precision=qtyping.ComputePrecision.FLOAT,
        explicit_dequantize=True,
    )
    for name, output in layers:
        scope = f"^{re.escape(output)};$"
        quantizer.update_quantization_recipe(scope, qtyping.TFLOperationName(name), half, AlgorithmName.FLOAT_CASTING)


def _run(quantizer: Any) -> bytes:
    with contextlib.redirect_stderr(io.StringIO()):  # one of its two progress bars cannot be turned off
        return bytes(quantizer.quantize(enable_progress_bar=False, enable_progress_report=False).quantized_model)


def _layers(data: bytes, wanted: Callable[[NDArray[np.float32]], bool]) -> list[tuple[str, str]]:
    """The operation, and the name of the output, of each linear layer and convolution with such a weight."""
    from ai_edge_litert.tools import flatbuffer_utils

    found, model = [], flatbuffer_utils.read_model_from_bytearray(data)
    for graph in model.subgraphs:
        for operator in graph.operators:
            name = flatbuffer_utils.opcode_to_name(model, operator.opcodeIndex)
            if name not in (LINEAR, *CONVOLUTIONS):
                continue
            weight = model.buffers[graph.tensors[operator.inputs[1]].buffer].data
            if weight is not None and wanted(np.frombuffer(weight, np.float32)):
                found.append((name, graph.tensors[operator.outputs[0]].name.decode()))
    return found
