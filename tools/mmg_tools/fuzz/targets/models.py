"""Model files: looked through, and tried in the child that takes the blow of those that nobody vouches for."""

from __future__ import annotations

import atexit
import struct
from contextlib import suppress
from functools import cache

from mmg.backends import require_whole
from mmg.bundle import Bundle
from mmg.bundle.manifest import ModelFile
from mmg.errors import MmgError, ModelError
from mmg.trial.frames import File
from mmg.trial.process import Ended, TrialProcess

CHANGE = struct.Struct("<IBI")
"""A place, what is done there, and a number."""
MOST_CHANGES = 16


def model_file(data: bytes) -> None:
    """Any bytes as a file of either kind."""
    for backend in ("onnx", "litert"):
        with suppress(ModelError):
            require_whole(backend, data, "imu")


def model(data: bytes) -> None:
    """A model of the starter with some bytes, words and lengths changed; the first byte chooses which."""
    if not data:
        return
    trial = _Trial.one()
    file, stored = trial.files[data[0] % len(trial.files)]
    changed = _changed(stored, data[1:])
    with suppress(MmgError):
        require_whole(file.backend, changed, file.path)
        trial.run(file, changed)


def _changed(stored: bytes, changes: bytes) -> bytes:
    data = bytearray(stored)
    whole = changes[: len(changes) // CHANGE.size * CHANGE.size]
    for place, what, number in list(CHANGE.iter_unpack(whole))[:MOST_CHANGES]:
        if not data:
            break
        at = place % len(data)
        if what % 8 == 0:
            del data[at:]
        elif what % 8 == 1:
            del data[at : at + number % 4096]
        elif what % 8 < 4:
            data[at : at + 4] = number.to_bytes(4, "little")
        elif what % 8 == 4:
            data[at:at] = number.to_bytes(4, "little")
        else:
            data[at] ^= number & 0xFF or 1
    return bytes(data)


class _Trial:
    """The starter's models, and a child that has not died yet."""

    def __init__(self) -> None:
        with Bundle.open("starter") as bundle:
            self._manifest = bundle.manifest
            self._manifest_bytes = bundle.manifest_bytes
            self.files = [(file, bundle.read(file)) for file in self._manifest.files()]
        self._parts = {
            file.path: modality.name for modality in self._manifest.modalities for file in modality.encoder.files
        }
        self._process: TrialProcess | None = None
        atexit.register(self._stop)

    @staticmethod
    @cache
    def one() -> _Trial:
        """The one of this process."""
        return _Trial()

    def run(self, file: ModelFile, data: bytes) -> None:
        """Have it tried. Raises ModelError, ShapeMismatch."""
        if self._process is None:
            # The limit on a child's processor time is for so many files.
            self._process = TrialProcess(("onnx", "litert"), 1000, self._manifest_bytes, b"")
        try:
            self._process.run(File(self._parts.get(file.path), file.backend, file.path), data)
        except Ended:
            self._stop()

    def _stop(self) -> None:
        if self._process is not None:
            self._process.close()
            self._process = None
