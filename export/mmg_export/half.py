"""Weights stored as float16: half the size for the same arithmetic, as a runtime widens them when it loads them.

Rounding comes first, in the module that everything is then compared with. What a file does after it loses nothing: only
what float16 holds exactly is stored so.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from mmg_export.onnx_file import strip

# Of the largest value. A weight that loses more in float16, too large or too small for it, stays as it is.
TOLERANCE = 1e-3

M = TypeVar("M", bound=nn.Module)


def rounded(module: M) -> M:
    """A copy whose weights, parameters and buffers of two axes or more, are values of float16."""
    made = copy.deepcopy(module)
    with torch.no_grad():
        for value in (*made.parameters(), *made.buffers()):
            if value.dtype == torch.float32 and value.dim() >= 2:
                half = near(value.detach().numpy())
                if half is not None:
                    value.copy_(torch.from_numpy(half.astype(np.float32)))
    return made


def near(value: NDArray[np.float32]) -> NDArray[np.float16] | None:
    """The values as float16; None where that is not near enough."""
    if not value.size:
        return None
    with np.errstate(over="ignore"):
        half = value.astype(np.float16)
    return half if np.abs(half.astype(np.float32) - value).max() <= TOLERANCE * np.abs(value).max() else None


def exact(value: NDArray[np.float32]) -> NDArray[np.float16] | None:
    """The values as float16, where that holds every one of them."""
    half = near(value)
    return half if half is not None and np.array_equal(half.astype(np.float32), value) else None


def halve_onnx(data: bytes) -> bytes:
    """The file with every weight as float16 that loses nothing by it, and a Cast, which onnxruntime does once."""
    model = onnx.load_from_string(data)
    casts, kept = [], []
    for one in model.graph.initializer:
        half = exact(numpy_helper.to_array(one)) if one.data_type == TensorProto.FLOAT and len(one.dims) >= 2 else None
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
