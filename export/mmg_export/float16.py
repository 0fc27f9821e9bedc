"""Weights stored as float16: half the size for the same arithmetic, as a runtime widens them when it loads them."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mmg_export.onnx_file import strip

# Of the largest value. A weight that loses more in float16, too large or too small for it, stays as it is.
TOLERANCE = 1e-3


def near(value: NDArray[np.float32]) -> NDArray[np.float16] | None:
    """The values as float16; None where that is not near enough."""
    if not value.size:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        half = value.astype(np.float16)
        return half if np.abs(half.astype(np.float32) - value).max() <= TOLERANCE * np.abs(value).max() else None


def halve_onnx(data: bytes) -> bytes:
    """The file with its float32 constants of two axes or more as float16, and a Cast for each, which onnxruntime does
    once, when it loads them."""
    model = onnx.load_from_string(data)
    casts, kept = [], []
    for one in model.graph.initializer:
        half = near(numpy_helper.to_array(one)) if one.data_type == TensorProto.FLOAT and len(one.dims) >= 2 else None
        if half is None:
            kept.append(one)
            continue
        kept.append(numpy_helper.from_array(half, f"{one.name}/half"))
        casts.append(helper.make_node("Cast", [f"{one.name}/half"], [one.name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)
    strip(model)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)  # type: ignore[no-any-return]
