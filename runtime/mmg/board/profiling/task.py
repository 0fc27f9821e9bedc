"""The task that the process of one case is given."""

from __future__ import annotations

import msgspec

from mmg.board.profiling.result import Mode


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure. spawned_ns: host monotonic time at which the process was asked for. root: of /proc and /sys.
    tried: the digest of the bundle whose models were tried already; nothing where none was.

    bundle, root: as ``os.fsencode`` gives them: of a path that is no UTF-8 there is no text in JSON.
    """

    bundle: bytes
    modalities: tuple[str, ...]
    backend: str
    precision: str
    threads: int
    providers: tuple[str, ...]
    mode: Mode
    hops: int
    grace_s: float
    unknown: float
    deadline_ms: float
    spawned_ns: int
    meter: str
    core_w: float | None
    root: bytes
    tried: str = ""
