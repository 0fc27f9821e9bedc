"""Finding out which protocol a device speaks by trying all of them at once."""

from __future__ import annotations

from collections.abc import Sequence

from mmg.sources.protocols.parser import Counters, Finding, Parser, Samples, join

REQUIRED_SAMPLES = 4
WITHIN_BYTES = 8192  # wide enough for the longest frames, too narrow for chance to fill


class Detector:
    """Speaks whichever candidate first gives four samples close together, and hands these on too.

    One sample can be chance, as an 8-bit sum is right once in 256 times; four within 8 KiB are not. A device
    that sends valid frames without acceleration in them is never chosen, but found.
    """

    def __init__(self, candidates: Sequence[Parser]) -> None:
        self._candidates = list(candidates)
        self._held: list[Samples] = []
        self._counters = Counters()
        self._chosen: Parser | None = None

    @property
    def name(self) -> str:
        """``auto`` until the protocol is known."""
        return "auto" if self._chosen is None else self._chosen.name

    @property
    def counters(self) -> Counters:
        """The chosen parser's, which has seen every byte; before that only ``bytes_fed`` counts."""
        return self._counters if self._chosen is None else self._chosen.counters

    @property
    def finding(self) -> Finding | None:
        """The chosen parser's; before that the first candidate's that has one: text, the most tolerant, is the last."""
        candidates = self._candidates if self._chosen is None else [self._chosen]
        return next((found for candidate in candidates if (found := candidate.finding)), None)

    def feed(self, data: bytes) -> Samples:
        """See ``Parser.feed``."""
        if self._chosen is not None:
            return self._chosen.feed(data)
        self._counters.bytes_fed += len(data)
        fresh = [candidate.feed(data) for candidate in self._candidates]
        if not self._held:
            self._held = [samples.since(len(samples)) for samples in fresh]
        self._held = [join(pair) for pair in zip(self._held, fresh, strict=True)]
        runs = [_first_run(samples) for samples in self._held]
        found = [
            (int(held.last_byte[run + REQUIRED_SAMPLES - 1]), which)
            for which, (held, run) in enumerate(zip(self._held, runs, strict=True))
            if run is not None
        ]
        if found:
            which = min(found)[1]
            chosen = self._held[which].since(runs[which] or 0)
            self._chosen = self._candidates[which]
            self._candidates, self._held = [], []
            return chosen
        self._held = [samples.since(max(0, len(samples) - REQUIRED_SAMPLES + 1)) for samples in self._held]
        return fresh[0].since(len(fresh[0]))


def _first_run(samples: Samples) -> int | None:
    """Where the first samples that lie close enough together begin."""
    spans = samples.last_byte[REQUIRED_SAMPLES - 1 :] - samples.last_byte[: -REQUIRED_SAMPLES + 1]
    close = (spans < WITHIN_BYTES).nonzero()[0]
    return int(close[0]) if len(close) else None
