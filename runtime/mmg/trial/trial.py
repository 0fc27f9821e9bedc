"""A bundle's models, one after another: refused for what they say, known, or tried in a child."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

import msgspec

from mmg.backends import is_installed, load_library, require_whole
from mmg.counts import count_of
from mmg.errors import BundleError, ModelError
from mmg.trial.frames import File
from mmg.trial.known import Known, key_of
from mmg.trial.process import Ended, TrialProcess

if TYPE_CHECKING:
    from mmg.bundle import Bundle, ModelFile


class Trial:
    """Tries files of one bundle in a child, which is started when it is needed, and again where a file has ended it.

    files: all that may be asked about. To be closed, which tells what was tried.
    """

    def __init__(self, bundle: Bundle, files: Sequence[ModelFile]) -> None:
        self._bundle, self._files = bundle, files
        self._known = Known()
        self._process: TrialProcess | None = None
        self._tried, self._failed, self._spent_s, self._unkept = 0, False, 0.0, ""

    def require(self, file: ModelFile) -> None:
        """Return if it may run in this process: it is whole, and it is known or ran in the child, or nothing runs it.

        Raises BundleError where its bytes are not the manifest's, ModelError, ShapeMismatch and BackendUnavailable.
        """
        data, name = self._bundle.read(file), self._bundle.place_of(file)
        require_whole(file.backend, data, name)
        key = key_of(file.backend, file.sha256, self._inputs(file))
        if not is_installed(file.backend) or self._known.has(key):
            return
        begun_s = time.monotonic()
        try:
            ran = self._open().run(File(self._part(file), file.backend, name), data)
        except Ended as end:
            self._failed = True
            self._stop()
            raise ModelError(f"{name}: {end.how}") from end
        except ModelError:
            self._failed = True
            raise
        finally:
            self._spent_s += time.monotonic() - begun_s
        if not ran:
            load_library(file.backend)  # raises where it cannot be loaded here either
            raise ModelError(f"{name}: cannot be tried: its library loads here, and not in a process of its own")
        self._tried += 1
        self._unkept = self._known.add(key)

    def close(self) -> None:
        """End the child, and tell what was tried if all of it ran."""
        self._stop()
        if self._tried and not self._failed:
            files = f"{count_of(self._tried, 'model file')} of bundle {self._bundle.path}"
            known = f"at every start: {self._unkept}" if self._unkept else "known from now on"
            self._bundle.tell(f"tried {files} in {self._spent_s:.1f} s: {known}")

    def __enter__(self) -> Trial:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._failed = self._failed or error is not None
        self.close()

    def _open(self) -> TrialProcess:
        if self._process is None:
            backends = tuple(dict.fromkeys(file.backend for file in self._files if is_installed(file.backend)))
            self._process = TrialProcess(backends, len(self._files), self._bundle.manifest_bytes, self._golden())
        return self._process

    def _stop(self) -> None:
        if self._process is not None:
            self._process.close()
            self._process = None

    def _golden(self) -> bytes:
        """Nothing where there are no golden inputs, or not those of the manifest: zeros do then."""
        golden = self._bundle.manifest.golden
        try:
            return b"" if golden is None else self._bundle.read(golden)
        except BundleError:
            return b""

    def _inputs(self, file: ModelFile) -> bytes:
        """What says on what the file is run."""
        manifest, part = self._bundle.manifest, self._part(file)
        spec = manifest.fusion if part is None else manifest.modality(part).encoder
        golden = manifest.golden.sha256 if manifest.golden else ""
        spans = (manifest.hop_s, manifest.context_hops)
        return msgspec.json.encode((part, msgspec.structs.replace(spec, files=()), spans, golden))

    def _part(self, file: ModelFile) -> str | None:
        """The name of the modality that it encodes, None for the fusion's."""
        for modality in self._bundle.manifest.modalities:
            if file in modality.encoder.files:
                return modality.name
        return None


def require_models(bundle: Bundle, files: Sequence[ModelFile]) -> None:
    """Have all of these tried, or known. Raises BundleError, ModelError, ShapeMismatch for the first that is not."""
    with Trial(bundle, files) as trial:
        for file in files:
            trial.require(file)
