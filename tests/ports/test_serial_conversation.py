"""What counts as lost between the samples of a device, from made reads: by its time, by the rate, by neither."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from mmg.sources.ports.serial.conversation import Conversation
from mmg.sources.protocols import open_parser
from mmg.sources.protocols.text import encode_csv, encode_header, encode_json

MS = 10**6
BOOT_NS = 7_000 * 10**9
BAUD = 115200
ROW = [0.5, -2.25, 9.75, 0.5, -0.25, 0.125]


class Desk:
    """A conversation that hears what is said a hundred times a second, with a jitter of 2 ms."""

    def __init__(self, protocol: str = "text", **options: str) -> None:
        self.talk = Conversation(open_parser(protocol, **options), BOOT_NS / 1e9)
        self._jitter = np.random.default_rng(5)
        self.lost = self.samples = 0

    def hear(self, said: bytes, at_ms: float) -> None:
        arrival_ns = BOOT_NS + round((at_ms + abs(self._jitter.normal(0, 2))) * MS)
        samples = self.talk.parser.feed(said)
        self.talk.arrivals.note(self.talk.parser.counters.bytes_fed, arrival_ns, BAUD)
        if len(samples):
            news = self.talk.understand(arrival_ns / 1e9)
            arrivals_ns = self.talk.arrivals.of(samples.last_byte)
            lost, gaps = self.talk.losses(news, samples, int(arrivals_ns[-1]))
            self.talk.clock.stamp(samples, arrivals_ns, gaps)
            self.lost += lost
            self.samples += len(samples)


def timed(n: int) -> bytes:
    return encode_json([n % 100 / 100, *ROW[1:]], n * 10 * MS)


def untimed(n: int) -> bytes:
    return timed(n).replace(b'"t_us"', b'"id"')


OTHERS = [b'{"mx":1.5,"my":2.5,"mz":3.5}\n', b"loop took 3 ms\n", b"1.5,2.5,3.5\n", b"mx:1,my:2,mz:3\n"]


@pytest.mark.parametrize("say", [timed, untimed])
@pytest.mark.parametrize("every", [1, 3, 20])
def test_what_a_board_prints_between_its_samples_is_no_loss(say: Callable[[int], bytes], every: int) -> None:
    desk = Desk()
    for n in range(1000):
        desk.hear(say(n) + (OTHERS[n // every % 4] if n % every == 0 else b""), n * 10)
    assert (desk.samples, desk.lost) == (1000, 0)


@pytest.mark.parametrize("say", [timed, untimed])
def test_samples_whose_lines_were_cut_short_or_damaged_are_lost(say: Callable[[int], bytes]) -> None:
    desk = Desk()
    for n in range(1000):
        damage = {200: say(n)[:20] + b"\n", 300: say(n)[:-9] + b"#" * 8 + b"\n", 400: say(n)[20:]}
        desk.hear(damage.get(n, say(n)), n * 10)
    assert desk.samples == 997
    # Of a single one that is missing without a time of its own the arrival need not tell.
    assert desk.lost == 3 if say is timed else 1 <= desk.lost <= 3


@pytest.mark.parametrize("say", [timed, untimed])
def test_many_cut_samples_among_other_lines_do_not_go_unseen(say: Callable[[int], bytes]) -> None:
    desk, draw = Desk(), np.random.default_rng(8)
    cut = draw.random(3000) < 0.2
    for n in range(3000):
        desk.hear((say(n)[:25] + b"\n" if cut[n] else say(n)) + OTHERS[1], n * 10)
    assert desk.lost == pytest.approx(cut.sum(), rel=0.1)


def test_a_pause_of_the_device_is_no_loss_by_its_own_time() -> None:
    desk = Desk()
    for n in range(500):
        pause_ms = 700 if n >= 250 else 0
        said = encode_json(ROW, (n * 10 + pause_ms) * MS).replace(b"0.5", b"%d" % n)
        desk.hear((b"calibrating\n" if n == 250 else b"") + said, n * 10 + pause_ms)
    assert desk.lost <= 1


def test_the_first_lines_of_a_device_are_no_losses() -> None:
    desk = Desk()
    boot = b"ets Jun  8 2016 00:22:57\n\nrst:0x1 (POWERON_RESET)\nready\n"
    desk.hear(b"12,0.3\n" + boot + encode_header() + encode_csv(ROW, 0), 0)
    for n in range(1, 50):
        desk.hear(encode_csv(ROW, n * 10 * MS), n * 10)
    assert (desk.samples, desk.lost) == (50, 0)
