"""The runs of a study on a Ray cluster: each in a process of its own on some node, whose files come back."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from mmg.atomic_write import atomic_write
from mmg.errors import BackendUnavailable, ConfigError
from mmg.own_process import command_of
from mmg.trial.limits import die_with_parent

from mmg_training import checkpoint
from mmg_training.evaluation.study import LOG, RESULTS, SETTINGS, Run
from mmg_training.evaluation.study_pool import Process

RETRIES = 3
"""How often a run begins anew because its node was lost."""
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""No report of usage to Ray's maker, and no warning of a change to come."""
Files = dict[str, bytes]


class RayCluster:
    """A connection to a cluster, as a context. address: ``local``, ``auto``, or the cluster's.

    Raises BackendUnavailable, ConfigError.
    """

    def __init__(self, address: str) -> None:
        os.environ.update(QUIET)
        try:
            import ray
        except ImportError as error:
            raise BackendUnavailable("ray, which --ray needs,", "ray") from error
        options: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
        except Exception as error:  # Ray's own errors share no base with these of its transport
            why = str(error).strip().partition("\n")[0]
            raise ConfigError(f"--ray {address}: the cluster cannot be reached: {why}") from error
        self._ray: Any = ray
        self._train = ray.remote(num_cpus=1, max_retries=RETRIES)(train)

    @property
    def processors(self) -> int:
        """Of all its nodes, one at least."""
        resources: dict[str, float] = self._ray.cluster_resources()
        return max(int(resources.get("CPU", 1)), 1)

    def start(self, run: Run) -> Process:
        """The run on some node, from its settings and from what it had trained."""
        files = _files(run.folder, but=(LOG, RESULTS))
        return _OnNode(self._ray, self._train.remote(files, str(Path.cwd())), run)

    def __enter__(self) -> RayCluster:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._ray.shutdown()


class _OnNode:
    """A run under way; see ``Process``."""

    def __init__(self, ray: Any, reference: Any, run: Run) -> None:
        self._ray, self._reference, self._run = ray, reference, run
        self._code: int | None = None

    def poll(self) -> int | None:
        if self._code is None and self._ray.wait([self._reference], timeout=0)[0]:
            self._code = self._take()
        return self._code

    def terminate(self) -> None:
        self._ray.cancel(self._reference, force=True)

    def wait(self) -> int:
        self._ray.wait([self._reference])
        return -signal.SIGTERM if self._code is None else self._code

    def _take(self) -> int:
        """Its exit code; its files are here then, the results last."""
        try:
            code, files = self._ray.get(self._reference)
        except self._ray.exceptions.RayError as error:
            (self._run.folder / LOG).write_text(f"the cluster lost it: {error}\n", encoding="utf-8")
            return 1
        (self._run.folder / checkpoint.RESUME).unlink(missing_ok=True)  # it comes back where it is still needed
        for name in sorted(files, key=lambda name: name == RESULTS):
            with atomic_write(self._run.folder / name) as stream:
                stream.write(files[name])
        return int(code)


def train(files: Files, folder: str) -> tuple[int, Files]:
    """On a node: the exit code of ``study_run`` with these files, and those that it left.

    folder: from which paths in the settings count, where it is there.
    """
    with tempfile.TemporaryDirectory(prefix="mmg-study-") as name:
        place = Path(name)
        for one, data in files.items():
            (place / one).write_bytes(data)
        with (place / LOG).open("wb") as log:
            process = subprocess.Popen(
                [*command_of("mmg_training.evaluation.study_run"), name],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder if Path(folder).is_dir() else None,
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                preexec_fn=partial(die_with_parent, os.getpid()),
            )
            code = process.wait()
        return code, _files(place, but=(SETTINGS,))


def _files(folder: Path, but: tuple[str, ...]) -> Files:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name not in but}
