"""What one device on a serial port has said so far: its parser, its clock, what was lost, and how long it is silent."""

from __future__ import annotations

from dataclasses import dataclass

from mmg.sources.clock.sample_clock import Arrivals, SampleClock
from mmg.sources.protocols import Counters, Parser, Samples

TRY_S, TRY_BYTES = 2.0, 512
"""How much is listened to without a valid sample before the parser begins anew and the next baud rate is tried."""
REOPEN_S = 5.0
"""Silence after which the port is opened again, as adapters hang."""
KNOWN_SAMPLES, KNOWN_S = 50, 2.0
"""After so many, and so long, it is known how often they come: before that each is listened for."""
STEADY_S = 0.06
"""What comes less often may come in batches: it is listened for too, as only its arrival tells when it was taken."""
HELD_BYTES = 2048
"""A terminal of Linux holds 4096 for who does not read (N_TTY_BUF_SIZE), and drivers more before it."""
FADING = 0.9
"""So much of a rate that was higher is left at each look at it."""
FRAMES_A_SAMPLE = 1.5
"""A device with more frames a sample than that sends each sample in several, or others between them."""


@dataclass(frozen=True, slots=True)
class News:
    """What happened on the way to the newest samples.

    gaps: samples that the device counted and that did not come. damaged: samples that came and could not be used.
    is_damage: whether anything came damaged, a sample or not. others: lines of another kind that came between.
    """

    gaps: int = 0
    damaged: int = 0
    is_damage: bool = False
    others: int = 0


class Conversation:
    """What a device has said since it was plugged in; it outlasts opening the port again. Times are monotonic, in s.

    heard_s: when it last said anything. woke_s: when it was last left alone until. listened_s: since when everything
    that it says has come soon after what was before.
    """

    def __init__(self, parser: Parser, now_s: float) -> None:
        self.heard_s = self.tuned_s = self.woke_s = now_s
        self.reopen_s = now_s + REOPEN_S
        self.has_spoken = self.is_silent = False
        self.begin(parser, now_s)

    def begin(self, parser: Parser, now_s: float) -> None:
        """With another parser, whose samples have nothing to do with those before."""
        self.parser, self.clock, self.arrivals = parser, SampleClock(), Arrivals()
        self._understood_s = self.listened_s = now_s
        self._seen: Counters | None = None  # as of the newest sample
        self._bytes_per_s, self._measured = 0.0, (0, 0.0)

    @property
    def has_tried_enough(self) -> bool:
        """A slow device may take longer than TRY_S to say enough."""
        understood = 0 if self._seen is None else self._seen.bytes_fed
        return self.parser.counters.bytes_fed - understood >= TRY_BYTES

    def measure(self, now_s: float) -> None:
        """Find out how many bytes come in a second: the most of what was measured lately."""
        fed, since_s = self._measured
        end = self.parser.counters.bytes_fed
        if since_s and now_s > since_s:
            self._bytes_per_s = max((end - fed) / (now_s - since_s), self._bytes_per_s * FADING)
        self._measured = end, now_s

    def rest_s(self, now_s: float) -> float:
        """How long this device may be left alone now; not at all while its clock is in doubt, to end that soon."""
        known = self.parser.counters.samples >= KNOWN_SAMPLES and now_s - self.listened_s > KNOWN_S
        if not known or not self._bytes_per_s or self.clock.is_in_doubt:
            return 0.0
        return HELD_BYTES / self._bytes_per_s

    def hear(self, now_s: float) -> bool:
        """Notes that bytes came; returns whether they end a silence."""
        if now_s - max(self.heard_s, self.woke_s) > STEADY_S:
            self.listened_s = now_s
        ends_silence = self.is_silent
        if ends_silence:
            self._understood_s = now_s
            self.clock.skip(round((now_s - self.heard_s) * 1e9))
        self.heard_s, self.reopen_s = now_s, now_s + REOPEN_S
        self.has_spoken, self.is_silent = True, False
        return ends_silence

    def understand(self, now_s: float) -> News:
        """Notes that samples came. What a parser passed over before its first sample is nothing lost."""
        now, seen = self.parser.counters, self._seen
        self._seen, self._understood_s = now.copy(), now_s
        if seen is None:
            return News()
        # Where a sample takes several frames a damaged one leaves it incomplete, or was of something else.
        one_frame_each = now.frames - now.malformed < FRAMES_A_SAMPLE * now.samples
        wrong = now.checksum_errors - seen.checksum_errors
        unusable = now.malformed - seen.malformed + now.incomplete - seen.incomplete
        damaged = unusable + (wrong if one_frame_each else 0)
        return News(now.gaps - seen.gaps, damaged, wrong + unusable > 0, now.other - seen.other)

    def losses(self, news: News, samples: Samples, arrival_ns: int) -> tuple[int, int]:
        """How many samples were lost before these, the newest of which came at ``arrival_ns``, and by how many their
        numbers go on.

        What the device counts as missing and what arrived damaged are the same samples. Where it counts nothing, its
        time or the rate tells whether any are missing: a damaged frame, or a line of another kind, may be none.
        """
        lost = max(news.gaps, news.damaged)
        if news.gaps or not (news.is_damage or news.others):
            return lost, news.gaps
        missing = self.clock.missing(samples, arrival_ns, is_damage=news.is_damage)
        if missing is None:
            return lost, 0
        if self.clock.is_timed or not news.is_damage:
            missing = min(missing, news.damaged + news.others)
        return missing, missing

    def wait_on(self, now_s: float) -> None:
        """What comes is understood, though it gives no samples, and none is lost by that: look again later."""
        self._understood_s = now_s
        self._seen = self._seen and self.parser.counters.copy()

    def has_tuned_long(self, now_s: float) -> bool:
        """Whether the present baud rate has had its time."""
        return now_s - self.tuned_s > TRY_S

    def makes_no_sense(self, now_s: float) -> bool:
        """Whether bytes have come for long and none of them became a sample."""
        return now_s - self._understood_s > TRY_S
