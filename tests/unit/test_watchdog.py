"""When a command that does not hear of a signal is ended, and how hops that take far too long are told."""

from __future__ import annotations

import pytest
from fakes import HOP_S, audio_modality, imu_chunk, signal_modality, write_tiny_bundle
from mmg.bundle import Bundle
from mmg.cli.watchdog import AGAIN_S, CLEANING_S, LAST_S, PATIENCE_S, Patience
from mmg.engine import Engine
from mmg.runs.slow_hops import MOST_HOPS, SlowHops

LIMIT_S = MOST_HOPS * HOP_S
MODEL = "imu encoder imu.onnx"


def test_a_main_thread_that_never_hears_of_a_signal_is_ended_within_two_seconds() -> None:
    patience = Patience()
    patience.asked(10.0)
    assert not patience.is_over(10.0 + PATIENCE_S - 0.01)
    assert patience.is_over(10.0 + PATIENCE_S)
    assert PATIENCE_S + LAST_S < 2


def test_one_that_heard_of_it_is_never_ended_for_it() -> None:
    patience = Patience()
    patience.asked(10.0)
    patience.heard()
    assert patience.due_s is None
    assert not patience.is_over(1e9)


def test_a_second_request_that_is_not_heard_either_ends_it_at_once() -> None:
    patience = Patience()
    patience.asked(10.0)
    patience.asked(10.0 + AGAIN_S)
    assert patience.is_over(10.0 + AGAIN_S)


def test_a_signal_that_is_sent_twice_in_a_moment_is_one_request() -> None:
    patience = Patience()
    patience.asked(10.0)
    patience.asked(10.001)
    assert not patience.is_over(10.0 + PATIENCE_S - 0.01)
    assert patience.is_over(10.0 + PATIENCE_S)


def test_a_second_signal_while_a_driver_is_slow_to_close_cuts_nothing_off() -> None:
    patience = Patience()
    patience.asked(10.0)
    patience.heard()
    patience.asked(11.0)
    assert not patience.is_over(14.0)
    assert patience.is_over(11.0 + CLEANING_S)


class Watched:
    """Hops whose time a test says, and what is told of them, by which thread."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.told: list[str] = []
        self.hops = SlowHops(
            HOP_S,
            lambda line: self.told.append(f"over: {line}"),
            lambda line: self.told.append(f"hangs: {line}"),
            monotonic_ns=lambda: round(self.now_s * 1e9),
        )


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_a_hop_that_takes_more_than_ten_hops_is_told_while_it_hangs_and_when_it_is_over(watched: Watched) -> None:
    watched.hops.at_work(MODEL)
    watched.now_s += LIMIT_S
    watched.hops.look()
    assert watched.told == []
    watched.now_s += 0.2
    watched.hops.look()
    watched.now_s += 1.0
    watched.hops.look()
    assert watched.told == [f"hangs: {MODEL} hangs: a hop takes 5.2 s so far"]
    assert watched.hops.at_work_on() == f"{MODEL}, at work for 6.2 s,"
    watched.hops.at_work("")
    assert watched.told[1:] == [f"over: {MODEL} took 6.2 s for a hop; 1 so far"]
    assert watched.hops.at_work_on() == ""


def test_each_slow_hop_is_counted_also_where_nobody_could_look_meanwhile(watched: Watched) -> None:
    for _ in range(2):
        watched.hops.at_work(MODEL)
        watched.now_s += LIMIT_S + 1
        watched.hops.at_work("")
        watched.hops.look()
    assert watched.told[-1] == f"over: {MODEL} took 6.0 s for a hop; 2 so far"
    assert watched.hops.count == len(watched.told) == 2


def test_usual_hops_tell_nothing_and_wake_nobody_more_often_than_every_ten(watched: Watched) -> None:
    for _ in range(50):
        assert watched.hops.wait_s() == LIMIT_S
        watched.hops.at_work(MODEL)
        watched.now_s += 0.3
        watched.hops.at_work("")
        watched.hops.look()
    assert (watched.told, watched.hops.count) == ([], 0)


def test_a_hop_that_is_at_work_at_a_look_is_looked_at_again_when_it_is_too_long(watched: Watched) -> None:
    watched.hops.at_work(MODEL)
    watched.now_s += 2.0
    assert watched.hops.wait_s() == pytest.approx(LIMIT_S - 2.0)
    watched.now_s += 4.0
    watched.hops.look()
    assert watched.hops.wait_s() == LIMIT_S


def test_the_engine_says_which_model_works(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = write_tiny_bundle(tmp_path_factory.mktemp("watched") / "tiny", signal_modality(), audio_modality())
    with Bundle.open(path) as bundle:
        engine = Engine(bundle, ["imu"])
        heard: list[str] = []
        engine.at_work = heard.append
        assert len(engine.push(imu_chunk(0, HOP_S + 0.1))) == 1
    assert heard == [MODEL, "", "fusion fusion.onnx", ""]
