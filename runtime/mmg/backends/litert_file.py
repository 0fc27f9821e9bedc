"""A TFLite file is looked at before LiteRT sees it: it may name no other file."""

from __future__ import annotations

import struct

from mmg.errors import ModelError

IDENTIFIER = b"TFL3"
_EXTERNAL = (8, 9)
"""Where ``Model`` of LiteRT's ``schema.fbs`` has ``external_buffer_groups``, which name files, and
``external_buffers``."""


def require_whole_litert(data: bytes, name: str) -> None:
    """Raises ModelError for a file that is no TFLite or that has weights in other files. name: of the file."""
    if data[4:8] != IDENTIFIER:
        raise ModelError(f"{name}: is not a TFLite file")
    try:
        [root] = struct.unpack_from("<I", data)
        [back] = struct.unpack_from("<i", data, root)
        if not 0 <= root - back <= len(data):
            raise struct.error("its table lies outside")
        [size] = struct.unpack_from("<H", data, root - back)
        places = struct.unpack_from(f"<{size // 2}H", data, root - back)[2:]
    except struct.error as error:
        raise ModelError(f"{name}: is not a whole TFLite file") from error
    if any(places[at] for at in _EXTERNAL if at < len(places)):
        raise ModelError(f"{name}: has weights in another file: a model must be whole in its file")
