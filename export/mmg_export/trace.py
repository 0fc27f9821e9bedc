"""From a module to the graph that every converter starts from, refusing what cannot be one."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from mmg.errors import ModelError
from torch.export import Dim, ExportedProgram
from torch.fx.experimental.symbolic_shapes import free_unbacked_symbols

from mmg_export.parts import Part, first_line

# What torch says of a shape or a branch that depends on values.
DEPENDS = ("data-dependent", "Data-dependent", "DataDependent", "unbacked", "Dynamic control flow")


class Tracer:
    """Traces each part once, for however many backends: of a large one that takes as long as a conversion."""

    def __init__(self) -> None:
        self._traced: list[tuple[Part, ExportedProgram]] = []

    def trace(self, part: Part) -> ExportedProgram:
        """See ``trace``."""
        for known, program in self._traced:
            if known is part:
                return program
        program = trace(part)
        self._traced.append((part, program))
        return program


def trace(part: Part) -> ExportedProgram:
    """The part as a graph. Raises ModelError where its shapes or its branches depend on the data, or torch cannot
    follow it."""
    free = {name: {axis: Dim("N", min=1, max=4096)} for name, axis in part.free.items()}
    shapes = {name: free.get(name) for name in part.inputs} if free else None
    logger = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    level = logger.level
    try:
        # What it cannot follow it dumps as a graph of forty lines; ours is one.
        logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            traced = torch.export.export(part.module, (), dict(part.inputs), dynamic_shapes=shapes, strict=False)
            # Without operators that work in place, which a constant made in ``forward`` brings.
            program: ExportedProgram = traced.run_decompositions({})
    except Exception as error:  # torch.export raises many kinds, and anyone's module its own
        text = str(error)
        if any(word in text or word in type(error).__name__ for word in DEPENDS):
            raise ModelError(f"{part.name}: shapes or branches depend on the data{_user_line(error)}") from error
        if "Constraints violated" in text:
            raise ModelError(
                f"{part.name}: its shapes or branches hold for some numbers of tokens only; there are 1 to all of the "
                "context's"
            ) from error
        if any(isinstance(inner, torch.jit.ScriptModule) for inner in part.module.modules()):
            raise ModelError(
                f"{part.name}: torch.export cannot follow what torch.jit.script made: give the module that it is "
                "made of"
            ) from error
        raise ModelError(f"{part.name}: torch.export cannot follow it: {first_line(error)}") from error
    finally:
        logger.setLevel(level)
    for node in program.graph.nodes:
        if any(free_unbacked_symbols(value) for value in _tensors(node.meta.get("val"))):
            raise ModelError(
                f"{part.name}: the shape of {operator_name(node)} depends on the data, in {place_of(node)}"
            )
    return program


def find_operator(program: ExportedProgram, text: str) -> str:
    """The operator of the graph that a converter's message names, with where it is in the module; empty where the
    message names none. A converter may name what it was decomposed into, ``prims.bessel_j0`` for
    ``aten.special_bessel_j0``."""
    named = {match[1] for match in re.finditer(r"(?:aten|prims)[.:]+([a-z0-9_]{3,})", text)}
    for node in program.graph.nodes:
        if node.op == "call_function":
            name = operator_name(node).partition(".")[2].partition(".")[0]
            if name in named or any(name.endswith(f"_{one}") for one in named):
                return f"{operator_name(node)}, in {place_of(node)}"
    return ""


def find_bfloat16(program: ExportedProgram) -> str:
    """The first operator that computes with bfloat16, with where it is in the module; empty where there is none, as
    where values are but cast to it and back."""
    for node in program.graph.nodes:
        taken = [value for one in node.all_input_nodes for value in _tensors(one.meta.get("val"))]
        made = list(_tensors(node.meta.get("val")))
        if all(any(value.dtype == torch.bfloat16 for value in values) for values in (taken, made)):
            return f"{operator_name(node)}, in {place_of(node)}"
    return ""


def operator_name(node: torch.fx.Node) -> str:
    """Such as ``aten.fft_rfft``."""
    return str(node.target).removesuffix(".default")


def place_of(node: torch.fx.Node) -> str:
    """The path of the submodule that the node comes from, and its class: ``layers.3 (MyLayer)``."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    if not stack:
        return "the module itself"
    path, kind = stack[-1]
    # "L['self'].module.layers" or "module.layers": the wrapper is ours, and not the user's.
    path = str(path).removeprefix("L['self']").strip(".").removeprefix("module").strip(".")
    name = kind if isinstance(kind, str) else kind.__qualname__
    return f"{path or 'the module itself'} ({name.rpartition('.')[2]})"


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for one in value:
            yield from _tensors(one)


def _user_line(error: BaseException) -> str:
    """The innermost line of code that is neither torch's nor ours."""
    frames, trace = [], error.__traceback__
    while trace is not None:
        frames.append((trace.tb_frame.f_code.co_filename, trace.tb_lineno))
        trace = trace.tb_next
    for file, line in reversed(frames):
        if "/torch/" not in file and "mmg_export" not in file and not file.startswith("<"):
            return f", at {file}:{line}"
    return ""
