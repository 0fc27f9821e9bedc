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
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from mmg.errors import ModelError
from numpy.typing import NDArray

from mmg_export.parts import first_line
from mmg_export.quantise_onnx import fingerprint

LINEAR = "FULLY_CONNECTED"
CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


def quantise_litert(data: bytes, fixed: Iterable[NDArray[Any]] = ()) -> bytes:
    """The int8 variant of a file that still has its tensors' names. The same bytes each time.

    fixed: the values of the module's buffers, which nobody trained: a window, a Fourier transform, mel bands.

    Raises ModelError where ai-edge-quantizer is not installed, or cannot do it.
    """
    try:
        from ai_edge_quantizer import Quantizer, qtyping
        from ai_edge_quantizer.algorithm_manager import AlgorithmName
    except ImportError as error:
        raise ModelError(
            "ai-edge-quantizer is not installed: in mmg's folder, pip install -e '.[export-litert]'"
        ) from error
    half = qtyping.OpQuantizationConfig(
        weight_tensor_config=qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT),
        compute_precision=qtyping.ComputePrecision.FLOAT,
        explicit_dequantize=True,
    )
    operations = {name: qtyping.TFLOperationName(name) for name in (LINEAR, *CONVOLUTIONS)}
    quantizer = Quantizer(data)
    quantizer.add_dynamic_config(".*", operations[LINEAR], 8, granularity=qtyping.QuantGranularity.TENSORWISE)
    for name in CONVOLUTIONS:
        quantizer.add_weight_only_config(".*", operations[name], 8)
    try:
        # The later setting holds.
        for name, output in _fixed_layers(data, {fingerprint(array) for array in fixed}):
            scope = f"^{re.escape(output)};$"
            quantizer.update_quantization_recipe(scope, operations[name], half, AlgorithmName.FLOAT_CASTING)
        with contextlib.redirect_stderr(io.StringIO()):  # one of its two progress bars cannot be turned off
            made = quantizer.quantize(enable_progress_bar=False, enable_progress_report=False).quantized_model
    except (ValueError, RuntimeError, KeyError, IndexError, TypeError) as error:
        raise ModelError(f"int8: ai-edge-quantizer cannot quantise it: {first_line(error)}") from error
    return bytes(made)


def _fixed_layers(data: bytes, fixed: set[bytes]) -> Iterator[tuple[str, str]]:
    """The operation, and the name of the output, of each layer with a fixed weight."""
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(data)
    for graph in model.subgraphs:
        for operator in graph.operators:
            name = flatbuffer_utils.opcode_to_name(model, operator.opcodeIndex)
            if name not in (LINEAR, *CONVOLUTIONS):
                continue
            weight = model.buffers[graph.tensors[operator.inputs[1]].buffer].data
            if weight is not None and fingerprint(np.frombuffer(weight, np.float32)) in fixed:
                yield name, graph.tensors[operator.outputs[0]].name.decode()
