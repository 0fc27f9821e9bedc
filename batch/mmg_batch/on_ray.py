"""The same tasks on a Ray cluster, one a recording.

Ray ends a driver whose cluster goes away, from C++ and with pages of its own. So the driver is a process of its own,
and what it says last is one line of ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from mmg.counts import count_of
from mmg.errors import BackendUnavailable, MmgError

from mmg_batch.child import Child
from mmg_batch.pool import BatchFailed
from mmg_batch.task import Failure, Part, Setup, Task

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""No report of usage to Ray's maker, and no warning of a change to come."""
Answer = tuple[int, list[Part]] | Failure
"""The parts of the task with this number."""


class ClusterLost(MmgError):
    """The cluster went away, or was never there."""

    exit_code = 3


def decide_on_ray(
    tasks: Sequence[Task], setup: Setup, names: Mapping[str, str], address: str
) -> Iterator[tuple[Task, Part]]:
    """The parts of all tasks, as they are made; the tasks begin in their order.

    names: bundle digest -> name. address: ``local`` for a cluster of this machine alone, ``auto`` for the one that it
    belongs to, or the cluster's. Raises BackendUnavailable, BatchFailed, ClusterLost.
    """
    if find_spec("ray") is None:
        raise BackendUnavailable("ray, which --ray needs,", "ray")
    left = len(tasks)
    if not left:
        return
    bundles = {digest: _files(Path(path)) for digest, path in setup.bundles.items()}
    driver = Child("mmg_batch.ray_driver", QUIET, is_quiet=True)
    try:
        driver.send((address, setup, dict(names), bundles, list(tasks)))
        while left:
            try:
                answer: Answer = driver.take()
            except EOFError as error:
                why = f"the Ray cluster {address} went away with {count_of(left, 'recording')} to go"
                raise ClusterLost(f"{why}: the same command decides them") from error
            if isinstance(answer, Failure):
                raise BatchFailed(answer)
            number, parts = answer
            left -= 1
            for part in parts:
                yield tasks[number], part
    finally:
        driver.ask_to_end()
        driver.close()


def _files(path: Path) -> dict[str, bytes]:
    """A bundle as it travels to a node: its files by their paths in it, or the one ``.mmg`` file by its name."""
    if path.is_dir():
        return {str(one.relative_to(path)): one.read_bytes() for one in sorted(path.rglob("*")) if one.is_file()}
    return {path.name: path.read_bytes()}
