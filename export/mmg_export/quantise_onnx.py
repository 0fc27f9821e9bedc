"""An ONNX file's int8 variant, by operator type: linear layers dynamic, convolutions static, all else as it is.

Only layers with weights: attention's products, softmax, masks and norms keep their floats. So do the layers that meet
a sensor's own values, as 8 bits for the range of a loud sound have no step for a quiet one: fixed filters, and the
convolutions that no learned layer comes before. Their weights become float16, which a runtime widens as it loads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from mmg.backends.onnx import load_onnxruntime
from mmg.errors import ModelError
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from mmg_export.float16 import near
from mmg_export.onnx_file import strip
from mmg_export.parts import first_line

# 7 bits of weight: the sum of two products with a uint8 then fits into the 16 bits in which x86 without VNNI adds them.
# With 8 it cuts large ones off: the logits of the starter's fusion err by 0.9 then, and by 0.16 with 7.
TOP = 64
LAYERS = ("Conv", "MatMul", "Gemm")

Feeds = Sequence[Mapping[str, NDArray[Any]]]
Weights = Mapping[str, NDArray[np.float32]]


def quantise_onnx(data: bytes, feeds: Feeds, fixed: Iterable[NDArray[Any]] = ()) -> bytes:
    """The int8 variant of a file of opset 13 or later; the same bytes for the same arguments.

    feeds: to calibrate the convolutions with, each all inputs of one run, the states too. They should be of real
        recordings, as what goes beyond their range is cut off. A file without convolutions needs none.
    fixed: the values of the module's buffers, which nobody trained: a window, a Fourier transform, mel bands.

    Raises ModelError where feeds are missing or do not fit.
    """
    model = onnx.load_from_string(data)
    graph = model.graph
    weights = {one.name: numpy_helper.to_array(one) for one in graph.initializer if one.data_type == TensorProto.FLOAT}
    plan = _plan(graph, weights, {fingerprint(array) for array in fixed})
    ranges = calibrate(model, {name for pair in plan.convs.values() for name in pair}, feeds)
    nodes, made = _Rewriter(weights, plan, ranges).rewrite(graph)
    del graph.node[:]
    graph.node.extend(nodes)
    read = {name for node in nodes for name in node.input} | {output.name for output in graph.output}
    kept = [one for one in (*graph.initializer, *made) if one.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    strip(model)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)  # type: ignore[no-any-return]


def fingerprint(array: NDArray[Any]) -> bytes:
    """Its values in order of size: the same however a converter names, transposes or reshapes a weight."""
    return (np.sort(np.asarray(array, np.float32), axis=None) + np.float32(0)).tobytes()  # + 0: no negative zeros


def calibrate(model: onnx.ModelProto, tensors: Iterable[str], feeds: Feeds) -> dict[str, tuple[float, float]]:
    """The least and the greatest value of each tensor over all feeds; zero is always within.

    To three digits, so that the last bit of another machine's arithmetic makes no other file. Raises ModelError.
    """
    wanted = sorted(set(tensors))
    if not wanted:
        return {}
    if not feeds:
        raise ModelError("int8: the convolutions need recordings to be calibrated with, and there are none")
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
    ort = load_onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    lows, highs = np.zeros(len(wanted)), np.zeros(len(wanted))
    try:
        session = ort.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
        for feed in feeds:
            values = session.run(wanted, dict(feed))
            lows = np.minimum(lows, [value.min() for value in values])
            highs = np.maximum(highs, [value.max() for value in values])
    except Exception as error:  # onnxruntime's kinds share no other base
        raise ModelError(f"int8: cannot calibrate: {first_line(error)}") from error
    if not (np.isfinite(lows).all() and np.isfinite(highs).all()):
        raise ModelError("int8: cannot calibrate: with these recordings the model gives values that are not finite")
    return {
        name: (float(f"{low:.3g}"), float(f"{high:.3g}")) for name, low, high in zip(wanted, lows, highs, strict=True)
    }


@dataclass(frozen=True)
class _Plan:
    """What becomes of which node, by its first output.

    exact: the weights to keep as float16. convs: the tensor that a static convolution reads, and the one that it gives,
    or its ReLU where that alone reads it. linear: linear layers.
    """

    exact: dict[str, list[str]] = field(default_factory=dict)
    convs: dict[str, tuple[str, str]] = field(default_factory=dict)
    linear: set[str] = field(default_factory=set)


def _plan(graph: GraphProto, weights: Weights, fixed: set[bytes]) -> _Plan:
    plan, learned = _Plan(), set[str]()
    users: dict[str, list[NodeProto | None]] = {output.name: [None] for output in graph.output}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    for node in graph.node:
        out, after_learned = node.output[0], any(name in learned for name in node.input)
        held = [name for name in node.input if name in weights and node.op_type in LAYERS and weights[name].ndim >= 2]
        filters = [name for name in held if fingerprint(weights[name]) in fixed]
        if filters or (node.op_type == "Conv" and held and not after_learned):
            plan.exact[out] = held
        elif node.op_type == "Conv" and all(name in weights for name in node.input[1:]):
            (reader, *others) = users[out]
            alone = reader is not None and reader.op_type == "Relu" and not others
            plan.convs[out] = (node.input[0], reader.output[0] if reader and alone else out)
        elif _is_linear(node, weights):
            plan.linear.add(out)
        if after_learned or (held and not filters):
            learned.update(name for name in node.output if name)
    return plan


def _is_linear(node: NodeProto, weights: Weights) -> bool:
    """Whether it is a product with a constant matrix on the right, and a bias at most."""
    if node.op_type not in ("MatMul", "Gemm") or node.input[1] not in weights or weights[node.input[1]].ndim != 2:
        return False
    given = _attributes(node)
    return not given.get("transA") and given.get("alpha", 1.0) == given.get("beta", 1.0) == 1.0


class _Rewriter:
    """Makes the int8 graph's nodes and the constants that they need."""

    def __init__(self, weights: Weights, plan: _Plan, ranges: Mapping[str, tuple[float, float]]) -> None:
        self._weights, self._plan, self._ranges = weights, plan, ranges
        self._nodes: list[NodeProto] = []
        # By their content: layers that share weights share the stored ones.
        self._made: dict[tuple[str, tuple[int, ...], bytes], TensorProto] = {}
        # By tensor: its name after it went through 8 bits, and their step. The second is for the linear layers.
        self._rounded: dict[str, tuple[str, np.float32]] = {}
        self._dynamic: set[str] = set()

    def rewrite(self, graph: GraphProto) -> tuple[list[NodeProto], list[TensorProto]]:
        """The nodes, in order of computation, and the new constants."""
        ends = {end for _, end in self._plan.convs.values()}
        for node in graph.node:
            out = node.output[0]
            if out in self._plan.linear:
                self._linear(node)
                continue
            for name in self._plan.exact.get(out, ()):
                node.input[list(node.input).index(name)] = self._half(name, out)
            if out in self._plan.convs:
                self._conv(node)
            self._nodes.append(node)
            if out in ends:
                node.output[0] = f"{out}/float"
                self._round(out, f"{out}/float", out)
        return self._nodes, list(self._made.values())

    def _conv(self, node: NodeProto) -> None:
        """Reads what DequantizeLinear gives, of which a runtime makes one integer operator."""
        entry, weight, *bias = node.input
        if entry not in self._rounded:
            self._round(entry, entry, f"{entry}/rounded")
        node.input[0], step = self._rounded[entry]
        offset = self._weights[bias[0]] if bias else np.zeros(len(self._weights[weight]), np.float32)
        # A channel of almost nothing but a bias: that must fit into 32 bits in units of both steps.
        values, steps = _whole(self._weights[weight], 0, np.abs(offset) / step / 2**30)
        out, units = node.output[0], steps * step
        node.input[1] = self._widen(f"{out}/weight", values, steps)
        if bias:
            node.input[2] = self._widen(f"{out}/bias", np.round(offset / units).astype(np.int32), units)

    def _linear(self, node: NodeProto) -> None:
        """Each run finds the range of its own input."""
        (entry, weight, *bias), out = node.input, node.output[0]
        matrix = self._weights[weight].T if _attributes(node).get("transB") else self._weights[weight]
        values, steps = _whole(matrix, 1, 0.0)
        made = [f"{entry}/dynamic_{part}" for part in ("int", "step", "zero")]
        if entry not in self._dynamic:
            self._dynamic.add(entry)
            self._add("DynamicQuantizeLinear", [entry], *made)
        self._add("MatMulInteger", [made[0], self._constant(f"{out}/weight/int", values), made[2]], f"{out}/sum")
        self._add("Cast", [f"{out}/sum"], f"{out}/float", to=TensorProto.FLOAT)
        self._add("Mul", [made[1], self._constant(f"{out}/weight/step", steps)], f"{out}/unit")
        self._add("Mul", [f"{out}/float", f"{out}/unit"], f"{out}/product" if bias else out)
        if bias:
            self._add("Add", [f"{out}/product", bias[0]], out)

    def _half(self, name: str, out: str) -> str:
        """The tensor of this weight of the node that gives ``out``, stored as float16 where that is near enough."""
        half = near(self._weights[name])
        if half is None:
            return name
        self._add("Cast", [self._constant(f"{name}/half", half)], f"{out}/{name}", to=TensorProto.FLOAT)
        return f"{out}/{name}"

    def _round(self, tensor: str, source: str, result: str) -> None:
        """Takes ``source`` through the 8 bits of the range of ``tensor``."""
        low, high = self._ranges[tensor]
        step = np.float32((high - low) / 255 or 1.0)
        names = [
            self._constant(f"{tensor}/step", np.array(step)),
            self._constant(f"{tensor}/zero", np.array(round(-low / step), np.uint8)),
        ]
        self._add("QuantizeLinear", [source, *names], f"{tensor}/int")
        self._add("DequantizeLinear", [f"{tensor}/int", *names], result)
        self._rounded[tensor] = result, step

    def _widen(self, name: str, values: NDArray[Any], steps: NDArray[np.float32]) -> str:
        """The tensor ``name`` of a stored weight or bias, with a step for each channel of its first axis."""
        zeros = self._constant(f"{name}/zero", np.zeros(len(steps), values.dtype))
        stored = [self._constant(f"{name}/int", values), self._constant(f"{name}/step", steps), zeros]
        self._add("DequantizeLinear", stored, name, axis=0)
        return name

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        key = (value.dtype.str, value.shape, value.tobytes())
        return self._made.setdefault(key, numpy_helper.from_array(value, name)).name

    def _add(self, kind: str, inputs: list[str], *outputs: str, **attributes: Any) -> None:
        self._nodes.append(helper.make_node(kind, inputs, list(outputs), **attributes))


def _whole(
    weight: NDArray[np.float32], axis: int, least: NDArray[Any] | float
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Its values in steps, and the step of each channel of ``axis``, at least ``least``."""
    others = tuple(one for one in range(weight.ndim) if one != axis)
    steps = np.maximum(np.abs(weight).max(axis=others) / TOP, least).astype(np.float32)
    steps[steps == 0] = 1.0
    return np.round(weight / np.expand_dims(steps, others)).astype(np.int8), steps


def _attributes(node: NodeProto) -> dict[str, Any]:
    return {one.name: helper.get_attribute_value(one) for one in node.attribute}
