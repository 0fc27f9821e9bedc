"""Relief by itself: which subset decides where decisions are late, and when more is tried again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import pytest
from fakes import audio_modality, signal_modality, tiny_manifest, video_modality
from mmg.board.machine.watch import Throttling, read_throttling, until_it_fails, watch_throttling
from mmg.bundle import Manifest, Modality
from mmg.bundle.manifest import Subset
from mmg.engine.relief import CALM_HOPS, Relief

MS = 1_000_000
NAMES = ("imu", "audio", "video")
ACCURACIES = {"imu": 0.8, "audio": 0.7, "video": 0.6, "imu audio": 0.87, "imu video": 0.85, "imu audio video": 0.9}


def manifest_of(accuracies: Mapping[str, float] = ACCURACIES, **macs: int) -> Manifest:
    """A bundle in which the microphone costs the most."""
    macs = macs or {"imu": 1000, "audio": 9000, "video": 4000}

    def dear(modality: Modality) -> Modality:
        encoder = msgspec.structs.replace(modality.encoder, macs=macs.get(modality.name))
        return msgspec.structs.replace(modality, encoder=encoder)

    manifest = tiny_manifest(*map(dear, (signal_modality(), audio_modality(), video_modality())))
    subsets = [Subset(modalities=tuple(n.split()), temperature=1.0, accuracy=one) for n, one in accuracies.items()]
    return msgspec.structs.replace(manifest, subsets=tuple(subsets))


def relief(limit_ms: int = 350) -> Relief:
    return Relief(manifest_of(), limit_ms * MS)


def test_the_rungs_are_dearer_and_better_from_one_to_the_next() -> None:
    rungs = relief().rungs(NAMES)
    assert [sorted(rung) for rung in rungs] == [["imu"], ["imu", "video"], ["audio", "imu"], ["audio", "imu", "video"]]
    assert [sorted(rung) for rung in relief().rungs(("audio", "video"))] == [["video"], ["audio"], ["audio", "video"]]


def test_without_counts_the_first_sensor_is_the_cheapest() -> None:
    rungs = Relief(manifest_of(nothing=1), MS).rungs(("imu", "audio"))
    assert [sorted(rung) for rung in rungs] == [["imu"], ["audio", "imu"]]


def test_late_the_cheapest_decides_and_in_time_nothing_changes() -> None:
    one = relief()
    assert not one.look(350 * MS, "", NAMES, NAMES)
    assert one.allowed is None
    assert one.look(351 * MS, "", NAMES, NAMES)
    assert one.allowed == frozenset({"imu"})
    assert one.why == "decisions were 0.4 s behind"


def test_calm_hops_try_the_next_best_and_then_all() -> None:
    one = relief()
    one.look(900 * MS, "", NAMES, NAMES)
    tried = [one.allowed for _ in range(3 * CALM_HOPS) if one.calm(1, "", NAMES)]
    assert tried == [{"imu", "audio"}, None]
    assert 2 * CALM_HOPS + 2 <= 10, "with a hop or two to open, it is back within ten"


def test_two_sensors_are_back_after_one_try() -> None:
    one = relief()
    one.look(900 * MS, "", NAMES[:2], NAMES[:2])
    assert [one.calm(1, "", ("imu", "audio")) for _ in range(CALM_HOPS)] == [False] * (CALM_HOPS - 1) + [True]
    assert one.allowed is None


def test_late_again_begins_again() -> None:
    one = relief()
    one.look(900 * MS, "", NAMES, NAMES)
    one.calm(CALM_HOPS, "", NAMES)
    assert one.look(400 * MS, "", NAMES[:2], ("imu",))
    assert one.allowed == frozenset({"imu"})
    assert not one.calm(CALM_HOPS - 1, "", NAMES)


def test_a_sensor_that_watches_is_in_every_rung() -> None:
    rungs = Relief(manifest_of(), MS, ("audio",)).rungs(NAMES)
    assert [sorted(rung) for rung in rungs] == [["audio"], ["audio", "imu"], ["audio", "imu", "video"]]
    without_it = Relief(manifest_of(), MS, ("audio",)).rungs(("imu", "video"))
    assert [sorted(rung) for rung in without_it] == [["imu"], ["imu", "video"]]


def test_tries_that_fail_become_rare_until_all_went_well_for_a_minute() -> None:
    one = relief()
    waited = []
    for _ in range(30):
        one.look(900 * MS, "", NAMES[:2], NAMES[:2])
        waited.append(next(hop for hop in range(1, 1000) if one.calm(1, "", ("imu", "audio"))))
    assert waited[:5] == [CALM_HOPS] * 5
    assert waited[-1] >= sum(waited) // 10
    one.calm(120, "", ("imu", "audio"))
    one.look(900 * MS, "", NAMES[:2], NAMES[:2])
    assert one.calm(CALM_HOPS, "", ("imu", "audio"))


def test_where_the_few_give_nothing_all_are_tried() -> None:
    one = relief()
    assert not one.give_up()
    one.look(900 * MS, "", NAMES, NAMES)
    assert one.give_up()
    assert one.allowed is None


def test_a_subset_that_cannot_decide_now_is_no_relief() -> None:
    one = relief()
    assert one.look(900 * MS, "", NAMES, ("audio", "video"))
    assert one.allowed == frozenset({"video"})
    assert not relief().look(900 * MS, "", ("imu", "audio"), ())


def test_one_sensor_alone_has_nothing_to_give_up() -> None:
    assert not relief().look(9000 * MS, "", ("audio",), ("audio",))
    assert not relief().look(9000 * MS, "", (), ())


def test_a_processor_that_is_slowed_does_with_the_next_best_until_it_is_not() -> None:
    one = relief()
    assert one.look(0, "soft temperature limit", NAMES, NAMES)
    assert (one.allowed, one.why) == (frozenset({"imu", "audio"}), "the processor is slowed: soft temperature limit")
    assert not one.look(0, "soft temperature limit", NAMES, NAMES)
    assert not one.calm(100, "soft temperature limit", NAMES)
    assert one.calm(1, "", NAMES)
    assert one.allowed is None


def test_a_bundle_that_states_no_accuracy_has_no_rungs() -> None:
    one = Relief(manifest_of({}), MS)
    assert not one.look(9000 * MS, "", NAMES, NAMES)


class Turns:
    """Lets the thread that watches go on a turn at a time."""

    def __init__(self) -> None:
        self.ended, self.goes_on = threading.Semaphore(0), threading.Semaphore(0)

    def sleep(self, _seconds: float) -> None:
        self.ended.release()
        self.goes_on.acquire()

    def wait(self) -> None:
        assert self.ended.acquire(timeout=10)


@pytest.mark.parametrize("told", ["", "throttled"])
def test_what_holds_the_clock_down_is_read_by_a_thread_of_its_own(told: str) -> None:
    turns = Turns()
    newest = watch_throttling(print, lambda: Throttling(told), turns.sleep)
    turns.wait()
    assert newest() == told


def test_a_look_that_fails_is_told_once_and_the_last_word_does_not_hold() -> None:
    def fail() -> Throttling:
        raise OSError("no such file")

    turns, lines = Turns(), list[str]()
    answers: Iterator[Callable[[], Throttling]] = iter(
        [lambda: Throttling("throttled"), fail, fail, lambda: Throttling("throttled")]
    )
    newest = watch_throttling(lines.append, lambda: next(answers)(), turns.sleep)
    known = []
    for _ in range(4):
        turns.wait()
        known.append(newest())
        turns.goes_on.release()
    assert known == ["throttled", "", "", "throttled"]
    assert lines[:1] == ["the processor may be slowed: it cannot be known: OSError: no such file"]
    assert len([line for line in lines if "OSError" in line]) == 1


def test_a_weak_supply_is_told_once_and_is_no_heat(tmp_path: Path) -> None:
    turns, lines = Turns(), list[str]()
    newest = watch_throttling(
        lines.append, lambda: read_throttling(tmp_path, lambda _: "throttled=0x50003"), turns.sleep
    )
    turns.wait()
    turns.goes_on.release()
    turns.wait()
    assert newest() == ""
    assert lines == ["the processor may be slowed: under-voltage, frequency capped"]
    assert read_throttling(tmp_path, lambda _: "throttled=0xd").heat == "throttled, soft temperature limit"


def test_a_tool_that_failed_thrice_in_a_row_is_not_run_again() -> None:
    hot = "throttled=0x4"
    ran, answers = list[str](), iter([hot, None, hot, None, None, None, hot])

    def tool(command: Sequence[str]) -> str | None:
        ran.extend(command)
        return next(answers)

    run = until_it_fails(tool)
    assert [run(["vcgencmd"]) for _ in range(8)] == [hot, None, hot, None, None, None, None, None]
    assert ran == ["vcgencmd"] * 6
