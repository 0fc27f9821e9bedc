"""The int8 variants: which layers become integers, which do not, and that they still say nearly the same; and weights
that are stored as float16."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from mmg.errors import ModelError
from mmg_export.float16 import halve_onnx, near
from mmg_export.onnx_file import IR_VERSION, to_onnx
from mmg_export.parts import Part
from mmg_export.quantise_onnx import quantise_onnx
from mmg_export.trace import trace
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

Feed = dict[str, NDArray[Any]]
WIDTH = 32


class Tiny(nn.Module):
    """Sound (1, 1, 256) and a mask (1, 15) -> (1, 4): a fixed filter bank, two convolutions, attention, a linear layer.

    The third channel of the second convolution has a bias and next to nothing else.
    """

    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        time = torch.arange(32.0)
        self.register_buffer("filters", torch.cos(torch.arange(1.0, 9.0)[:, None] * time * torch.pi / 16)[:, None] / 16)
        self.first, self.second = nn.Conv1d(8, WIDTH, 3, padding=1), nn.Conv1d(WIDTH, WIDTH, 3, padding=1)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, 4)
        nn.init.constant_(self.second.weight[2], 1e-12)
        assert self.second.bias is not None
        nn.init.constant_(self.second.bias[2], 1.5)

    def forward(self, samples: Tensor, mask: Tensor) -> dict[str, Tensor]:
        power = nn.functional.conv1d(samples, self.filters, stride=16) ** 2
        x = torch.relu(self.first(torch.log(power + 1e-6)))
        x = torch.relu(self.second(x)).transpose(1, 2)
        q, k, v = self.qkv(x).split(WIDTH, dim=2)
        scores = torch.matmul(q, k.transpose(1, 2)) / WIDTH**0.5 + mask[:, None] * -1e4
        return {"y": self.out(torch.matmul(torch.softmax(scores, dim=2), v)[:, 0])}


class Shared(nn.Module):
    """One convolution, used on two feet."""

    def __init__(self) -> None:
        super().__init__()
        self.entry, self.conv = nn.Conv1d(3, 8, 3), nn.Conv1d(8, 8, 3)

    def forward(self, left: Tensor, right: Tensor) -> dict[str, Tensor]:
        return {"y": self.conv(self.entry(left)) + self.conv(0.01 * self.entry(right))}


class Layer(nn.Module):
    """One linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 64)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"y": self.linear(x)}


def convert(module: nn.Module, **inputs: Tensor) -> bytes:
    part = Part("tiny", module.eval(), inputs, ("y",), {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return to_onnx(trace(part), list(inputs), ["y"])


def sound(seed: int, loudness: float = 1.0) -> Feed:
    noise = np.random.default_rng(seed)
    mask = np.zeros((1, 15), np.float32)
    mask[:, 9:] = seed % 2
    return {"samples": (loudness * noise.standard_normal((1, 1, 256))).astype(np.float32), "mask": mask}


FEEDS = [sound(seed, loudness) for seed in range(10) for loudness in (1e-3, 1.0)]
BUFFERS = [buffer.numpy() for buffer in Tiny().buffers()]


@pytest.fixture(scope="module")
def whole() -> bytes:
    torch.manual_seed(0)
    return convert(Tiny(), samples=torch.zeros(1, 1, 256), mask=torch.zeros(1, 15))


@pytest.fixture(scope="module")
def small(whole: bytes) -> bytes:
    return quantise_onnx(whole, FEEDS, BUFFERS)


def run(data: bytes, feed: Feed) -> NDArray[np.float32]:
    (y,) = ort.InferenceSession(data, providers=["CPUExecutionProvider"]).run(["y"], feed)
    return np.asarray(y)


def nodes(data: bytes, kind: str) -> list[onnx.NodeProto]:
    return [node for node in onnx.load_from_string(data).graph.node if node.op_type == kind]


def makers(data: bytes) -> dict[str, str]:
    """The kind of node that gives each tensor."""
    return {name: node.op_type for node in onnx.load_from_string(data).graph.node for name in node.output}


def stored(data: bytes) -> dict[str, NDArray[Any]]:
    return {one.name: numpy_helper.to_array(one) for one in onnx.load_from_string(data).graph.initializer}


def test_int8_is_smaller_and_nearly_the_same(whole: bytes, small: bytes) -> None:
    assert len(small) < 0.6 * len(whole)  # the names of a tiny graph weigh as much as its weights
    for feed in (sound(100), sound(101), sound(102, 1e-3)):
        np.testing.assert_allclose(run(small, feed), run(whole, feed), atol=0.03)


def test_a_convolution_after_a_learned_layer_is_between_quantise_and_dequantise(small: bytes) -> None:
    made = makers(small)
    *_, second = nodes(small, "Conv")
    assert [made[name] for name in second.input] == ["DequantizeLinear"] * 3
    (relu,) = (node for node in nodes(small, "Relu") if node.input[0] == second.output[0])
    assert any(node.input[0] == relu.output[0] for node in nodes(small, "QuantizeLinear"))
    readers = {node.output[0]: node for node in nodes(small, "DequantizeLinear")}
    (_, step, _), (weight, steps, _), (_, units, _) = ([*readers[name].input] for name in second.input)
    values = stored(small)
    assert values[weight].dtype == np.int8
    assert np.abs(values[weight]).max() == 64
    # Only then is it one integer operator for onnxruntime.
    np.testing.assert_array_equal(values[units], values[steps] * values[step])


def test_the_fixed_filters_and_the_first_convolution_keep_floats(whole: bytes, small: bytes) -> None:
    made = makers(small)
    filters, first, _ = nodes(small, "Conv")
    assert filters.input[0] == "samples"
    assert made[first.input[0]] == "Log"
    assert made[filters.input[1]] == made[first.input[1]] == "Cast"
    (kept,) = (value for value in stored(small).values() if value.shape == (8, 1, 32))
    assert kept.dtype == np.float16
    np.testing.assert_allclose(kept, stored(whole)["filters"], atol=1e-4)


def test_without_the_buffers_a_filter_is_a_first_convolution_and_keeps_floats(whole: bytes) -> None:
    made = makers(data := quantise_onnx(whole, FEEDS))
    filters, first, _ = nodes(data, "Conv")
    assert made[filters.input[1]] == "Cast"
    assert made[first.input[1]] == "DequantizeLinear"


def test_a_filter_that_float16_cannot_hold_stays_as_it_is(whole: bytes) -> None:
    model = onnx.load_from_string(whole)
    tiny = (1e-7 * stored(whole)["filters"]).astype(np.float32)
    (place,) = (one for one in model.graph.initializer if one.name == "filters")
    place.CopyFrom(numpy_helper.from_array(tiny, "filters"))
    data = quantise_onnx(model.SerializeToString(), FEEDS, [tiny])
    np.testing.assert_array_equal(stored(data)["filters"], tiny)


def test_linear_layers_are_dynamic_and_attention_is_not_touched(small: bytes) -> None:
    kinds, made = Counter(makers(small).values()), makers(small)
    assert kinds["MatMulInteger"] == 2
    assert kinds["Gemm"] == 0
    products = nodes(small, "MatMul")
    assert len(products) == 2
    for node in (*products, *nodes(small, "Softmax")):
        assert not {made.get(name, "") for name in node.input} & {"DequantizeLinear", "Cast"}
    assert all(made.get(node.input[0]) in ("Relu", "Log") for node in nodes(small, "QuantizeLinear"))


def test_it_loads_in_older_runtimes_and_carries_no_metadata(small: bytes) -> None:
    model = onnx.load_from_string(small)
    assert model.ir_version <= IR_VERSION
    assert 13 <= model.opset_import[0].version <= 20
    assert [one.domain for one in model.opset_import] == [""]
    assert not model.graph.value_info
    assert not model.producer_version


def test_the_same_bytes_twice(whole: bytes, small: bytes) -> None:
    assert quantise_onnx(whole, FEEDS, BUFFERS) == small


def test_a_shared_convolution_has_the_range_of_each_of_its_inputs() -> None:
    torch.manual_seed(0)
    foot = torch.zeros(1, 3, 20)
    whole = convert(Shared(), left=foot, right=foot)
    noise = np.random.default_rng(0)
    feeds = [{name: noise.standard_normal((1, 3, 20)).astype(np.float32) for name in ("left", "right")} for _ in "ab"]
    data = quantise_onnx(whole, feeds)
    np.testing.assert_allclose(run(data, feeds[0]), run(whole, feeds[0]), atol=0.03)
    assert sum(value.shape == (8, 8, 3) for value in stored(data).values()) == 1


@pytest.mark.parametrize(
    ("feeds", "said"),
    [
        ([], "need recordings to be calibrated with"),
        ([{"samples": FEEDS[0]["samples"]}], "cannot calibrate: .*mask"),
        ([{**FEEDS[0], "samples": np.zeros((1, 1, 99), np.float32)}], "cannot calibrate: .*samples"),
        ([{**FEEDS[0], "samples": np.full((1, 1, 256), np.nan, np.float32)}], "not finite"),
    ],
    ids=["none", "an input missing", "another shape", "not a number"],
)
def test_feeds_that_cannot_calibrate_are_told_in_one_line(whole: bytes, feeds: Sequence[Feed], said: str) -> None:
    with pytest.raises(ModelError, match=said) as raised:
        quantise_onnx(whole, feeds, BUFFERS)
    assert "\n" not in str(raised.value)


def test_a_file_without_convolutions_needs_no_feeds() -> None:
    torch.manual_seed(0)
    whole = convert(Layer(), x=torch.zeros(1, 3, 64))
    feed = {"x": np.random.default_rng(0).standard_normal((1, 3, 64)).astype(np.float32)}
    np.testing.assert_allclose(run(quantise_onnx(whole, []), feed), run(whole, feed), atol=0.03)


class Normed(nn.Module):
    """Norms in front of and behind weights, which converters put into them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv1d(3, 32, 5), nn.BatchNorm1d(32)
        self.layer_norm, self.linear = nn.LayerNorm(32), nn.Linear(32, 64)
        nn.init.uniform_(self.norm.weight, 0.5, 2.0)
        nn.init.uniform_(self.layer_norm.weight, 0.5, 2.0)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"y": self.linear(self.layer_norm(self.norm(self.conv(x)).transpose(1, 2)))}


def test_weights_as_float16_are_half_and_nearly_the_same(whole: bytes) -> None:
    data = halve_onnx(whole)
    assert halve_onnx(whole) == data
    assert len(data) < 0.7 * len(whole)
    for feed in (sound(100), sound(102, 1e-3)):
        assert 0 < np.abs(run(data, feed) - run(whole, feed)).max() < 1e-3
    assert {value.dtype for value in stored(data).values() if value.ndim >= 2} == {np.dtype(np.float16)}
    assert all(value.dtype != np.float16 for value in stored(data).values() if value.ndim < 2)
    widened = {node.input[0] for node in nodes(data, "Cast")}
    assert widened == {name for name, value in stored(data).items() if value.ndim >= 2}


def test_weights_that_a_converter_put_a_norm_into_are_halved_too() -> None:
    torch.manual_seed(0)
    whole = convert(Normed(), x=torch.zeros(1, 3, 20))
    data = halve_onnx(whole)
    assert {value.dtype for value in stored(data).values() if value.ndim >= 2} == {np.dtype(np.float16)}
    feed = {"x": np.random.default_rng(0).standard_normal((1, 3, 20)).astype(np.float32)}
    np.testing.assert_allclose(run(data, feed), run(whole, feed), atol=5e-3)


@pytest.mark.parametrize("value", [1e5, 1e-8, np.nan, -np.inf])
def test_a_weight_that_float16_cannot_hold_stays_as_it_is(value: float) -> None:
    assert near(np.full((2, 2), value, np.float32)) is None
    layer = Layer()
    with torch.no_grad():
        layer.linear.weight.fill_(value)
    whole = convert(layer, x=torch.zeros(1, 3, 64))
    assert not nodes(halve_onnx(whole), "Cast")


CONVERSION = """
import sys, torch
from pathlib import Path
from mmg_export.litert_file import to_litert
Path(sys.argv[2]).write_bytes(to_litert({"serve": torch.export.load(sys.argv[1])}))
"""


@pytest.fixture(scope="module")
def whole_litert(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    pytest.importorskip("ai_edge_quantizer")
    torch.manual_seed(0)
    folder, inputs = (
        tmp_path_factory.mktemp("litert"),
        {key: torch.from_numpy(value) for key, value in FEEDS[0].items()},
    )
    torch.export.save(trace(Part("tiny", Tiny().eval(), inputs, ("y",), {})), folder / "tiny.pt2")
    command = [sys.executable, "-c", CONVERSION, str(folder / "tiny.pt2"), str(folder / "tiny.tflite")]
    subprocess.run(command, check=True, capture_output=True)
    return (folder / "tiny.tflite").read_bytes()


def run_litert(data: bytes, feed: Feed) -> NDArray[np.float32]:
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_content=data).get_signature_runner("serve")
    return np.asarray(runner(**feed)["y"])


def weights_litert(data: bytes, kind: str) -> list[tuple[str, int]]:
    """The type of what each node of a kind reads as its weight, and how many steps it has."""
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    names = {code: name for name, code in vars(schema.TensorType).items() if isinstance(code, int)}
    model = flatbuffer_utils.read_model_from_bytearray(data)
    (graph,) = model.subgraphs
    given = {operator.outputs[0]: operator for operator in graph.operators}
    found = []
    for operator in graph.operators:
        if flatbuffer_utils.opcode_to_name(model, operator.opcodeIndex) == kind:
            index = operator.inputs[1]
            if index in given and flatbuffer_utils.opcode_to_name(model, given[index].opcodeIndex) == "DEQUANTIZE":
                index = given[index].inputs[0]
            scale = getattr(graph.tensors[index].quantization, "scale", None)
            found.append((names[graph.tensors[index].type], 0 if scale is None else len(scale)))
    return found


def test_a_tflite_file_is_quantised_by_operator_type(whole_litert: bytes) -> None:
    from mmg_export.litert_file import strip_litert
    from mmg_export.quantise_litert import quantise_litert

    data = quantise_litert(whole_litert, BUFFERS)
    assert quantise_litert(whole_litert, BUFFERS) == data
    assert len(data) < len(strip_litert(whole_litert)) < len(whole_litert)
    for feed in (sound(100), sound(101), sound(102, 1e-3)):
        exact = run_litert(whole_litert, feed)
        np.testing.assert_array_equal(run_litert(strip_litert(whole_litert), feed), exact)
        np.testing.assert_allclose(run_litert(data, feed), exact, atol=0.03)
    assert weights_litert(data, "CONV_2D") == [("INT8", WIDTH)] * 2
    assert weights_litert(data, "DEPTHWISE_CONV_2D") == [("FLOAT16", 0)]
    assert weights_litert(quantise_litert(whole_litert), "DEPTHWISE_CONV_2D") == [("INT8", 8)]
    # Attention's two products may be either kind of node.
    products = weights_litert(data, "FULLY_CONNECTED") + weights_litert(data, "BATCH_MATMUL")
    assert sorted(products) == [("FLOAT32", 0)] * 2 + [("INT8", 1)] * 2


def test_weights_of_a_tflite_file_are_stored_as_float16(whole_litert: bytes) -> None:
    from mmg_export.litert_file import strip_litert
    from mmg_export.quantise_litert import halve_litert

    data = halve_litert(whole_litert)
    assert halve_litert(whole_litert) == data
    assert len(data) < 0.75 * len(strip_litert(whole_litert))
    for feed in (sound(100), sound(101)):
        assert 0 < np.abs(run_litert(data, feed) - run_litert(whole_litert, feed)).max() < 1e-3
    for kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        assert {made for made, _ in weights_litert(data, kind)} == {"FLOAT16"}
    products = weights_litert(data, "FULLY_CONNECTED") + weights_litert(data, "BATCH_MATMUL")
    assert sorted(made for made, _ in products) == ["FLOAT16"] * 2 + ["FLOAT32"] * 2  # attention's own are no weights
