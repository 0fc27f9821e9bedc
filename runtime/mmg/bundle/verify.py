"""Verifying a bundle where it runs: every file's hash, and what every model file gives for the golden inputs."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from numpy.typing import NDArray

from mmg.backends import Session, open_session
from mmg.bundle import unknown
from mmg.bundle.golden import Golden, encoder_error, fusion_error, unpack
from mmg.bundle.manifest import ModelFile, StoredFile
from mmg.bundle.reader import Bundle
from mmg.errors import BackendUnavailable, BundleError, ModelError

# Kernels differ from processor to processor, and LiteRT's from those of the training library more than onnxruntime's.
FP32_LIMITS = {"onnx": 1e-4, "litert": 1e-3}
INT8_LIMIT = 1e-3

Replay = Callable[[Session, Golden], float]
Require = Callable[[ModelFile], object]


@dataclass(frozen=True, slots=True)
class Checked:
    """What verifying one file gave.

    result: ``ok``, ``hashed`` where there is no golden output to compare with, ``skipped`` where its backend is not
        installed, or ``failed``; reason says why.
    backend, precision: empty for a file that is no model.
    error: largest difference from the golden outputs; limit: what it may be; run_ms: median time of one run.
    refused: of a model that failed, whether it cannot be run at all.
    """

    path: str
    result: Literal["ok", "hashed", "skipped", "failed"]
    reason: str = ""
    backend: str = ""
    precision: str = ""
    error: float | None = None
    limit: float | None = None
    run_ms: float | None = None
    refused: bool = False


def check_files(bundle: Bundle, starting: Callable[[str], object]) -> Iterator[Checked]:
    """Each file of the bundle, the golden ones first, then what tells the unknown.

    starting: called with a file's path before it is worked on.
    """
    manifest, golden = bundle.manifest, None
    if manifest.golden:
        starting(manifest.golden.path)
        try:
            golden = unpack(bundle.read(manifest.golden), manifest, str(bundle.path))
            yield Checked(manifest.golden.path, "ok")
        except BundleError as error:
            yield Checked(manifest.golden.path, "failed", error.problem)
    if manifest.unknown:
        starting(manifest.unknown.path)
        yield _check_unknown(bundle, manifest.unknown)
    parts: list[tuple[tuple[ModelFile, ...], Replay]] = [
        (modality.encoder.files, partial(encoder_error, modality, manifest)) for modality in manifest.modalities
    ]
    parts.append((manifest.fusion.files, partial(fusion_error, manifest)))
    with ExitStack() as at_end:
        require = _trial_of(bundle, at_end)
        for files, replay in parts:
            for file in files:
                starting(file.path)
                yield _check_file(bundle, file, require, replay, golden)


def _trial_of(bundle: Bundle, at_end: ExitStack) -> Require:
    """What has a file tried before it runs in this process; it ends at the end."""
    if bundle.trusted:
        return lambda _file: None
    from mmg.trial import Trial

    return at_end.enter_context(Trial(bundle, bundle.manifest.files())).require


def _check_unknown(bundle: Bundle, file: StoredFile) -> Checked:
    try:
        unknown.unpack(bundle.read(file), bundle.manifest, str(bundle.path))
    except BundleError as error:
        return Checked(file.path, "failed", error.problem)
    return Checked(file.path, "ok")


def limit_of(file: ModelFile) -> float:
    """How far its outputs may be from the golden ones: what its kind allows, or twice as far as they were when it was
    exported where that is more, as in int8, and in fp32 whose weights are stored as float16."""
    allowed = FP32_LIMITS[file.backend] if file.precision == "fp32" else INT8_LIMIT
    return max(allowed, 2 * (file.error or 0.0))


def _check_file(bundle: Bundle, file: ModelFile, require: Require, replay: Replay, golden: Golden | None) -> Checked:
    made = partial(Checked, file.path, backend=file.backend, precision=file.precision)
    try:
        data = bundle.read(file)
        require(file)
        if golden is None:
            return made("hashed")
        session = _Timed(open_session(file.backend, data, bundle.place_of(file)))
        error, limit = replay(session, golden), limit_of(file)
    except BackendUnavailable as problem:
        return made("skipped", str(problem))
    except BundleError as problem:
        return made("failed", problem.problem)
    except ModelError as problem:
        # The row names the file.
        reason = str(problem).removeprefix(f"{bundle.place_of(file)}: ")
        return made("failed", reason, refused=True)
    if error <= limit:
        return made("ok", error=error, limit=limit, run_ms=session.median_ms)
    reason = "too far from the golden outputs" if math.isfinite(error) else "an output is not finite"
    return made("failed", reason, error=error, limit=limit, run_ms=session.median_ms)


class _Timed:
    """A session that remembers how long each run took."""

    def __init__(self, session: Session) -> None:
        self._session, self._spent_ns = session, list[int]()
        self.inputs, self.outputs = session.inputs, session.outputs

    def run(self, names: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        began_ns = time.perf_counter_ns()
        outputs = self._session.run(names, feeds)
        self._spent_ns.append(time.perf_counter_ns() - began_ns)
        return outputs

    def bind(self, feeds: Mapping[str, NDArray[Any]], results: Mapping[str, NDArray[Any]]) -> Callable[[], None]:
        call = self._session.bind(feeds, results)

        def timed() -> None:
            began_ns = time.perf_counter_ns()
            call()
            self._spent_ns.append(time.perf_counter_ns() - began_ns)

        return timed

    @property
    def median_ms(self) -> float:
        return statistics.median(self._spent_ns) / 1e6
