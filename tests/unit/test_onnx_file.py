"""A model is whole in its file: what refers to another file, or to operators of others, reaches no library."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import onnx
import pytest
from fakes import fusion_model, mean_encoder
from mmg.backends import onnx_file, open_session, require_whole
from mmg.errors import ModelError
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper
from onnx.external_data_helper import uses_external_data

ELSEWHERE = r"imu: has weights in another file: a model must be whole in its file$"


def model() -> ModelProto:
    return onnx.load_from_string(mean_encoder(25, 6))


def outside(tensor: TensorProto) -> TensorProto:
    """The tensor with its data in a file of the current folder."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    return tensor


def constant() -> TensorProto:
    return outside(numpy_helper.from_array(np.zeros(4, np.float32), "far"))


def graph(*nodes: onnx.NodeProto) -> GraphProto:
    return helper.make_graph(nodes, "inner", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])])


def in_an_initializer(made: ModelProto) -> None:
    outside(made.graph.initializer[0])


def in_an_attribute(made: ModelProto) -> None:
    made.graph.node.append(helper.make_node("Constant", [], ["far"], value=constant()))


def in_a_list_of_tensors(made: ModelProto) -> None:
    made.graph.node[0].attribute.append(helper.make_attribute("many", [constant()]))


def in_a_sparse_initializer(made: ModelProto) -> None:
    made.graph.sparse_initializer.add(values=constant(), dims=[4])


def in_a_sparse_attribute(made: ModelProto) -> None:
    made.graph.node[0].attribute.add(name="few").sparse_tensor.indices.CopyFrom(constant())


def in_nested_graphs(made: ModelProto) -> None:
    inner = graph(helper.make_node("Constant", [], ["y"], value=constant()))
    for _ in range(3):
        inner = graph(helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=graph()))
    made.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=graph()))


def in_a_list_of_graphs(made: ModelProto) -> None:
    inner = graph(helper.make_node("Constant", [], ["y"], value=constant()))
    made.graph.node[0].attribute.append(helper.make_attribute("many", [inner]))


def in_a_function(made: ModelProto) -> None:
    node = helper.make_node("Constant", [], ["y"], value=constant())
    made.functions.append(helper.make_function("own", "F", [], ["y"], [node], [helper.make_opsetid("", 17)]))


def in_the_training_part(made: ModelProto) -> None:
    made.training_info.add().initialization.initializer.append(constant())


PLACES = [
    in_an_initializer,
    in_an_attribute,
    in_a_list_of_tensors,
    in_a_sparse_initializer,
    in_a_sparse_attribute,
    in_nested_graphs,
    in_a_list_of_graphs,
    in_a_function,
    in_the_training_part,
]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: str(place.__name__))
def test_data_in_another_file_are_refused_wherever_they_are(place: Callable[[ModelProto], None]) -> None:
    made = model()
    place(made)
    with pytest.raises(ModelError, match=ELSEWHERE):
        open_session("onnx", made.SerializeToString(), "imu")


def test_a_location_alone_or_a_place_alone_is_refused_too() -> None:
    for field in ("data_location", "external_data"):
        made = model()
        outside(made.graph.initializer[0]).ClearField(field)
        with pytest.raises(ModelError, match=ELSEWHERE):
            require_whole("onnx", made.SerializeToString(), "imu")


def test_a_location_in_more_bytes_than_it_needs_is_seen() -> None:
    tensor = numpy_helper.from_array(np.zeros(1, np.float32), "w").SerializeToString() + b"\x70\x81\x80\x00"
    inner = b"\x2a" + bytes([len(tensor)]) + tensor
    data = b"\x3a" + bytes([len(inner)]) + inner
    with pytest.raises(ModelError, match=ELSEWHERE):
        require_whole("onnx", data, "imu")


def test_operators_of_an_unknown_domain_are_refused() -> None:
    made = model()
    made.graph.node[0].domain = "com.example\x1b[2J"
    with pytest.raises(ModelError, match=r"imu: uses operators of the domain 'com.example\?\[2J', which mmg does not"):
        open_session("onnx", made.SerializeToString(), "imu")


def test_an_operator_that_loads_a_file_is_refused() -> None:
    made = model()
    made.graph.node.append(helper.make_node("EPContext", [], ["y"], domain="com.microsoft", ep_cache_context="a.bin"))
    with pytest.raises(ModelError, match="imu: its operator EPContext reads another file"):
        require_whole("onnx", made.SerializeToString(), "imu")


def test_a_models_own_functions_and_onnxruntimes_operators_are_let_through() -> None:
    made = model()
    made.graph.node.append(helper.make_node("F", [], ["far"], domain="own"))
    made.graph.node.append(helper.make_node("Gelu", ["tokens"], ["other"], domain="com.microsoft"))
    node = helper.make_node("Constant", [], ["y"], value_float=1.0)
    made.functions.append(helper.make_function("own", "F", [], ["y"], [node], [helper.make_opsetid("", 17)]))
    require_whole("onnx", made.SerializeToString(), "imu")


def test_onnxruntimes_own_format_is_refused_even_where_it_is_a_message_too() -> None:
    # A field without a meaning whose bytes begin with the mark.
    data = b"\xfa\x01\x85\x00ORTM\x00" + mean_encoder(25, 6)
    require_whole("onnx", data.replace(b"ORTM", b"ORTX"), "imu")
    with pytest.raises(ModelError, match="imu: is in onnxruntime's own format, not in ONNX"):
        require_whole("onnx", data, "imu")


def test_what_is_cut_or_no_message_is_refused() -> None:
    whole = mean_encoder(25, 6)
    for length in range(len(whole)):
        data = whole[:length]
        try:
            onnx.load_from_string(data)
        except Exception:  # protobuf has an error of its own
            with pytest.raises(ModelError, match="imu: is not an ONNX file"):
                require_whole("onnx", data, "imu")


def test_whatever_the_bytes_are_the_walk_ends_in_one_error_or_none() -> None:
    drawn = random.Random(5)
    for whole in (mean_encoder(25, 6), fusion_model()):
        for _ in range(2000):
            data = bytearray(whole)
            for _ in range(drawn.randint(1, 4)):
                data[drawn.randrange(len(data))] = drawn.randrange(256)
            with suppress(ModelError):  # and nothing else
                require_whole("onnx", bytes(data), "imu")


def test_what_the_library_of_onnx_finds_in_another_file_is_refused_however_the_bytes_are_changed() -> None:
    made = model()
    in_nested_graphs(made)
    in_an_initializer(made)
    drawn, whole, found = random.Random(7), made.SerializeToString(), 0
    for _ in range(2000):
        data = bytearray(whole)
        for _ in range(drawn.randint(1, 3)):
            data[drawn.randrange(len(data))] = drawn.randrange(256)
        try:
            read = onnx.load_from_string(bytes(data))
        except Exception:  # protobuf has an error of its own
            continue
        if any(uses_external_data(tensor) for tensor in read.graph.initializer):
            found += 1
            with pytest.raises(ModelError):
                require_whole("onnx", bytes(data), "imu")
    assert found > 500


def test_more_parts_than_a_graph_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "PARTS_LIMIT", 50)
    require_whole("onnx", b"\x08\x08" * 50, "imu")
    with pytest.raises(ModelError, match="imu: has more than a million parts"):
        require_whole("onnx", b"\x08\x08" * 51, "imu")


def test_graphs_in_graphs_without_end_are_walked_without_recursion() -> None:
    data = b""
    for _ in range(3000):
        attribute = _field(6, data)
        data = _field(1, _field(5, attribute))
    require_whole("onnx", _field(7, data), "imu")


def _field(number: int, data: bytes) -> bytes:
    length, head = len(data), bytearray([number << 3 | 2])
    while length > 127:
        head.append(length & 127 | 128)
        length >>= 7
    return bytes([*head, length]) + data


# --- TFLite --------------------------------------------------------------------------------------------------------


def table(*places: int) -> bytes:
    """A file whose root table has these fields' places."""
    head = struct.pack(f"<HH{len(places)}H", 4 + 2 * len(places), 4, *places)
    return struct.pack("<I4s", 8 + len(head), b"TFL3") + head + struct.pack("<i", len(head))


def test_a_tflite_file_that_names_another_is_refused() -> None:
    require_whole("litert", table(4, 4, 4, 4, 4, 4, 4, 4, 0, 0), "imu")
    for places in ((0,) * 8 + (4,), (0,) * 9 + (4,)):
        with pytest.raises(ModelError, match=ELSEWHERE):
            require_whole("litert", table(*places), "imu")


@pytest.mark.parametrize("data", [b"", b"no model at all", b"\xff\xff\xff\xffTFL3", b"\x08\0\0\0TFL3\xff\xff\xff\x7f"])
def test_what_is_no_tflite_is_refused(data: bytes) -> None:
    with pytest.raises(ModelError, match=r"imu: is not a (whole )?TFLite file"):
        require_whole("litert", data, "imu")
