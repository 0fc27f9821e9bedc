"""From a traced part to ONNX: what torch's converter alone would get wrong."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
import torch
from mmg_export.onnx_file import OPSET, to_onnx
from mmg_export.parts import Part
from mmg_export.trace import trace
from torch import Tensor, nn


class Looking(nn.Module):
    """A value inside, that of ``nn.Embedding``, has the name of an output."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(4, 3)

    def forward(self, modality: Tensor) -> dict[str, Tensor]:
        rows = self.table(modality)
        return {"logits": rows.sum(dim=1), "embedding": 2.0 * rows}


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of torch's converter, about itself
def test_a_value_inside_may_have_the_name_of_an_output() -> None:
    torch.manual_seed(1)
    module = Looking().eval()
    modality = torch.tensor([[3, 0]], dtype=torch.int32)
    part = Part("fusion", module, {"modality": modality}, ("logits", "embedding"), {})

    data = to_onnx(trace(part), list(part.inputs), part.outputs)

    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["logits", "embedding"]
    for got, wanted in zip(session.run(None, {"modality": modality.numpy()}), module(modality).values(), strict=True):
        np.testing.assert_allclose(got, wanted.detach().numpy(), rtol=1e-6)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_torchs_table_of_operators_is_made_once_and_gives_the_same_file(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    torch.manual_seed(1)
    inputs = {"modality": torch.tensor([[3, 0]], dtype=torch.int32)}
    program = trace(Part("fusion", Looking().eval(), inputs, ("logits", "embedding"), {}))
    data = to_onnx(program, ["modality"], ["logits", "embedding"])
    kept = ONNXRegistry.from_torchlib
    assert kept(opset_version=OPSET) is kept(opset_version=OPSET)
    monkeypatch.setattr(ONNXRegistry, "from_torchlib", kept.__wrapped__)  # type: ignore[attr-defined]
    assert to_onnx(program, ["modality"], ["logits", "embedding"]) == data
