"""The child: loads each model that it is given, runs it on the golden inputs or zeros, and answers how it went.

It is started by ``mmg.trial.process`` and speaks through its standard streams; see ``frames``.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

import msgspec
import numpy as np

from mmg.backends import load_library, open_session
from mmg.bundle.golden import Golden, encoder_error, fusion_error, unpack
from mmg.bundle.manifest import Manifest, decode
from mmg.engine.encoder import Encoder
from mmg.engine.fusion import Fusion
from mmg.errors import BackendUnavailable, BundleError, MmgError, ShapeMismatch, shortage
from mmg.trial import frames
from mmg.trial.limits import close_process, die_with_parent, limit_file

if TYPE_CHECKING:
    from mmg.backends import Session

WITHOUT_MEMORY = ("bad_alloc", "failed to allocate", "cannot allocate")
"""What a library says that got no memory, in small letters."""


def main(parent: int) -> None:
    """Answer until nothing more comes. parent: the process to end with."""
    die_with_parent(parent)
    asks, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb", buffering=0)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)  # what a library prints is no answer
    os.close(nowhere)
    task = msgspec.json.decode(frames.read_frame(asks) or b"", type=frames.Task)
    for backend in task.backends:
        with suppress(BackendUnavailable):  # each of its files will say so
            load_library(backend)
    limit_s = max(task.least_s, task.pace * time.process_time())
    # From here on this process can do nothing but compute.
    close_process(task.memory_bytes, limit_s * task.files)
    _answer(answers, frames.Ready(limit_s))
    manifest = decode(frames.read_frame(asks) or b"")
    golden = _golden(frames.read_frame(asks) or b"", manifest)
    while (asked := frames.read_frame(asks)) is not None:
        limit_file(limit_s)
        _answer(answers, _try(msgspec.json.decode(asked, type=frames.File), asks, manifest, golden))


def _answer(answers: BinaryIO, answer: frames.Answer) -> None:
    answers.write(msgspec.json.encode(answer) + b"\n")


def _golden(data: bytes, manifest: Manifest) -> Golden | None:
    try:
        return unpack(data, manifest, "") if data else None
    except BundleError:
        return None


def _try(file: frames.File, asks: BinaryIO, manifest: Manifest, golden: Golden | None) -> frames.Answer:
    try:
        data = frames.read_frame(asks) or b""
        session = open_session(file.backend, data, file.name)
        if file.part is None:
            _run_fusion(manifest, session, golden)
        else:
            _run_encoder(file.part, manifest, session, golden)
    except MemoryError:
        return frames.TooMuch()
    except BackendUnavailable:
        return frames.Unavailable()
    except ShapeMismatch as error:
        return frames.Misfit(
            error.name, *(one if isinstance(one, list) else str(one) for one in (error.expected, error.got))
        )
    except MmgError as error:
        without = shortage(error) or any(words in str(error).lower() for words in WITHOUT_MEMORY)
        return frames.TooMuch() if without else frames.Failed(str(error))
    except Exception as error:  # whatever a library's Python part meets in a file that is not right
        line = str(error).strip().partition("\n")[0]
        return frames.Failed(f"{file.name}: cannot be run: {type(error).__name__}: {line}")
    return frames.Ran()


def _run_encoder(name: str, manifest: Manifest, session: Session, golden: Golden | None) -> None:
    """As a run does, from zeros on, or through the golden hops."""
    modality = manifest.modality(name)
    if golden is not None:
        encoder_error(modality, manifest, session, golden)
        return
    encoder = Encoder(modality, manifest, session)
    hop = np.zeros((modality.samples_in(manifest.hop_s), *modality.sample_shape), modality.encoder.input.dtype)
    runs = 0
    while runs < 2:  # a window encoder takes hops until its window is full, and runs with the next ones
        runs += encoder.encode(hop) is not None


def _run_fusion(manifest: Manifest, session: Session, golden: Golden | None) -> None:
    """As a run does, with one token and with a whole context, or with the golden ones."""
    fusion = Fusion(manifest, session)
    if golden is not None:
        fusion_error(manifest, session, golden)
        return
    tokens, modalities, ages = [], [], []
    for index, modality in enumerate(manifest.modalities):
        for age in range(manifest.context_hops):
            tokens.append(np.zeros((modality.encoder.tokens_per_hop, manifest.fusion.token_dim), np.float32))
            modalities.append(index)
            ages.append(age)
    fusion.fuse(tokens, modalities, ages)
