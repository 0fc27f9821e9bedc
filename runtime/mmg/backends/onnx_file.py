"""An ONNX file is looked through before onnxruntime sees it: it may name no other file, and no operators of others.

A walk over the protobuf wire format of ``onnx.proto``, without recursion and in linear time, that goes down only where
a tensor or a node can be. Whatever it cannot read it refuses, so that no reader finds in a file what this did not.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmg.errors import ModelError
from mmg.printable import printable

DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}
"""Whose operators a node may be: ONNX's own, and onnxruntime's, which files have that it quantised or fused. A model's
own functions may have any domain."""
READS_FILES = {("com.microsoft", "EPContext")}
"""Operators that load a file which they name."""
PARTS_LIMIT = 1_000_000
"""Of fields that are looked at: a graph of ten thousand nodes has some hundred thousand."""
_ORT_FORMAT = b"ORTM"
"""onnxruntime's own format, which it knows by these bytes from the fifth on, and which is not looked through."""

_NODE, _ATTRIBUTE, _TENSOR, _FUNCTION = "node", "attribute", "tensor", "function"
_BELOW: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: _FUNCTION},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: _NODE, 5: _TENSOR, 15: "sparse"},
    "sparse": {1: _TENSOR, 2: _TENSOR},
    _NODE: {5: _ATTRIBUTE},
    _ATTRIBUTE: {5: _TENSOR, 6: "graph", 10: _TENSOR, 11: "graph", 22: "sparse", 23: "sparse"},
    _FUNCTION: {7: _NODE, 11: _ATTRIBUTE},
    _TENSOR: {},
}
"""By the kind of a message: its fields that hold messages in which a tensor or a node can be."""
_OP_TYPE, _DOMAIN, _FUNCTION_DOMAIN, _EXTERNAL_DATA, _DATA_LOCATION = 4, 7, 10, 13, 14


def require_whole_onnx(data: bytes, name: str) -> None:
    """Raises ModelError for a file that is no ONNX, that has data outside itself (initialisers and attributes, in
    nested graphs and functions too) or operators of a domain that mmg does not know. name: of the file, for the error.
    """
    if data[4:8] == _ORT_FORMAT:
        raise ModelError(f"{name}: is in onnxruntime's own format, not in ONNX")
    used: set[tuple[str, str]] = set()
    functions: set[str] = set()
    try:
        _walk(data, name, used, functions)
    except (ValueError, IndexError) as error:
        raise ModelError(f"{name}: is not an ONNX file: {error}") from error
    for domain, operator in sorted(used):
        if domain not in DOMAINS | functions:
            shown = printable(domain)[:60]
            raise ModelError(f"{name}: uses operators of the domain {shown!r}, which mmg does not know")
        if (domain, operator) in READS_FILES:
            raise ModelError(f"{name}: its operator {operator} reads another file: a model must be whole in its file")


def _walk(data: bytes, name: str, used: set[tuple[str, str]], functions: set[str]) -> None:
    pending, left = [("model", 0, len(data))], PARTS_LIMIT
    while pending:
        kind, begin, end = pending.pop()
        below, domains, operators = _BELOW[kind], [""], [""]
        for field, value, stop in _fields(data, begin, end):
            left -= 1
            if left < 0:
                raise ModelError(f"{name}: has more than a million parts")
            if stop is not None and field in below:
                pending.append((below[field], value, stop))
            elif kind is _TENSOR and (field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value)):
                raise ModelError(f"{name}: has weights in another file: a model must be whole in its file")
            elif kind is _NODE and stop is not None and field in (_DOMAIN, _OP_TYPE):
                (domains if field == _DOMAIN else operators).append(data[value:stop].decode())
            elif kind is _FUNCTION and stop is not None and field == _FUNCTION_DOMAIN:
                functions.add(data[value:stop].decode())
        if kind is _NODE:  # the last one counts, but what stands twice is meant to deceive
            used.update((domain, operators[-1]) for domain in domains[1:] or domains)


def _fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int | None]]:
    """Each field's number, and its value and None, or where its bytes begin and end. Raises ValueError, IndexError."""
    while at < end:
        tag = data[at]  # most numbers are of one byte, and a call for each would take as long as all else
        tag, at = (tag, at + 1) if tag < 128 else _varint(data, at)
        field, wire = tag >> 3, tag & 7
        stop: int | None = None
        if wire == 0:
            value, at = _varint(data, at)
        elif wire == 2:
            length = data[at]
            length, value = (length, at + 1) if length < 128 else _varint(data, at)
            stop = at = value + length
        elif wire in (1, 5):
            value = 0
            at += 8 if wire == 1 else 4
        else:
            raise ValueError(f"there is no wire type {wire}")
        if at > end or not 0 < field < 1 << 29:
            raise ValueError("it is cut or damaged")
        yield field, value, stop


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of at most 64 bit, and where it ends. Raises ValueError, IndexError."""
    value = data[at]
    if value < 128:
        return value, at + 1
    value &= 127
    for shift in range(7, 70, 7):
        at += 1
        byte = data[at]
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at + 1
    raise ValueError("a number is too long")
