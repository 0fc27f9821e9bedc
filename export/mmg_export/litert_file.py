"""A traced part to the bytes of a TFLite file, for LiteRT."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from mmg.errors import ModelError
from torch.export import ExportedProgram


def to_litert(programs: Mapping[str, ExportedProgram]) -> bytes:
    """Convert, a signature a program; the weights are shared. Inputs and outputs keep their names.

    Raises ModelError where litert-torch is not installed, and what it raises.
    """
    try:
        import litert_torch
    except ImportError as error:
        raise ModelError("litert-torch is not installed: in mmg's folder, pip install -e '.[export-litert]'") from error
    converter = None
    for name, program in programs.items():
        _, feeds = program.example_inputs or ((), {})
        add = litert_torch.signature if converter is None else converter.signature
        converter = add(name, program.module(), sample_kwargs=dict(feeds))
    if converter is None:
        raise ModelError("there is nothing to convert")
    model = converter.convert()
    with tempfile.TemporaryDirectory(prefix="mmg-litert-") as folder:
        path = Path(folder) / "model.tflite"
        model.export(str(path))
        return path.read_bytes()


def strip_litert(data: bytes) -> bytes:
    """The file without its tensors' names, which no runtime reads: a third of a small transformer with four signatures.
    Those of the signatures and of their inputs and outputs stay."""
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(data)
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            tensor.name = None
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))
