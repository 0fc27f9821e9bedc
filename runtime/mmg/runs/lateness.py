"""How long after the end of a hop its samples arrive, and the ``--grace`` that would wait for them. Reads no clock."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmg.types import Times

HOPS = 20
"""The newest hops that are looked at."""
LATE_HOPS, STALE_HOPS, NEVER_LIVE_HOPS = 3, 5, 60
"""So many of them are no accident. Encoders that look back may take many hops to warm up."""
KNOWN_HOPS = 8
"""Where in a hop a batch comes changes from one to the next: after so many the longest was most likely seen."""
LONGEST_S = 2.0
"""What is later than that did not wait in a batch: a longer grace would make every decision as late."""
STEP_S, MARGIN_S = 0.1, 0.05


class Lateness:
    """Of one modality. It is told once, as a sensor that sends in batches does so for as long as it runs, and again
    only where the grace that was named turns out too short."""

    def __init__(self, origin_ns: int, hop_ns: int, grace_s: float) -> None:
        self._origin_ns, self._hop_ns, self._grace_s = origin_ns, hop_ns, grace_s
        self._late_s: deque[float] = deque(maxlen=HOPS)
        self._stale: deque[bool] = deque(maxlen=HOPS)
        self._not_live = 0  # hops in a row
        self._named_s = grace_s
        self._told_gaps = False

    def measure(self, times_ns: Times, before_ns: int | None, now_ns: int) -> str:
        """Take the times of samples that arrived at ``now_ns``; before_ns: of the newest one before them.

        Returns what is to be told, mostly nothing.
        """
        first_ns = int(times_ns[0])
        # What was not captured in a gap is not late.
        since_ns = first_ns if before_ns is None or first_ns - before_ns > self._hop_ns // 2 else before_ns
        end_ns = since_ns + self._hop_ns - (since_ns - self._origin_ns) % self._hop_ns
        late_s = (now_ns - end_ns) / 1e9
        if end_ns > int(times_ns[-1]) or late_s > LONGEST_S:
            return ""
        self._late_s.append(late_s)
        most_s = max(self._late_s)
        is_often = sum(each > self._grace_s for each in self._late_s) >= LATE_HOPS
        if most_s <= self._named_s or not is_often or len(self._late_s) < KNOWN_HOPS:
            return ""
        self._named_s = math.ceil((most_s + MARGIN_S) / STEP_S) * STEP_S
        return (
            f"its samples arrive up to {most_s:.2f} s after the end of a hop, as they do in batches: "
            f"--grace {self._named_s:.1f} waits for them"
        )

    def forgive(self) -> None:
        """What was missing lately has a reason that is told."""
        self._stale.clear()
        self._not_live = 0

    def follow(self, state: str, hops: int) -> str:
        """Take the state at the newest of so many hops that are past, of a sensor of which nothing else is known to be
        wrong. Returns what is to be told."""
        self._stale.extend([state == "stale"] * min(hops, HOPS))
        self._not_live = 0 if state == "live" else self._not_live + hops
        is_gappy = (len(self._stale) == HOPS and sum(self._stale) >= STALE_HOPS) or self._not_live >= NEVER_LIVE_HOPS
        if self._named_s > self._grace_s or self._told_gaps or not is_gappy:
            return ""
        self._told_gaps = True
        return "its samples leave gaps of more than half a hop, or come too late: some hops go without it"
