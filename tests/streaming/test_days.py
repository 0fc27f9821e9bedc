"""Hours of three sensors and thousands of faults on a scripted clock; and that who watches would notice.

``make days`` is the long form: 72 hours, and a million faults.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from itertools import pairwise

import pytest
from mmg.bundle import Bundle
from mmg.types import Chunk

pytest.importorskip("serial", reason="pyserial is not installed: pip install -e '.[serial]'")
pytest.importorskip("av", reason="PyAV is not installed: pip install -e '.[video]'")
pytest.importorskip("sounddevice", reason="sounddevice is not installed: pip install -e '.[audio]'")
from mmg_tools.days.__main__ import main, wear
from mmg_tools.days.bundle import write_days_bundle
from mmg_tools.days.faults import DENSE, KINDS, WORN, Fault, draw_faults
from mmg_tools.days.imu import FAR
from mmg_tools.days.report import Report, make_report
from mmg_tools.days.run import Run

CALM = replace(WORN, calm_s=(1e6, 1e7), calms=(0.0, (1.0, 2.0)))
"""No fault in hours."""
MEASURED = {"wall_s", "cpu_s", "mib_a_day", "resident_mib", "objects_grown", "blocks_grown", "files"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bundle]:
    path = tmp_path_factory.mktemp("days") / "days"
    write_days_bundle(path)
    with Bundle.open(path) as opened:
        yield opened


def test_twenty_minutes_with_a_fault_now_and_then_keeps_every_promise() -> None:
    report = wear(3, hours=1 / 3)
    assert report.problems == {}, report.examples
    assert report.owed > 0.9 * report.hops
    assert sum(report.used.values()) > 2 * report.owed


def test_thousands_of_faults_one_upon_the_other_keep_every_promise() -> None:
    report = wear(4, events=6000)
    assert report.problems == {}, report.examples
    assert set(report.faults) == {"plug", "stall", "corrupt", "lie", "clock"}
    assert sum(report.faults.values()) >= 6000
    assert report.owed > 100
    assert report.told > 10


def test_the_same_seed_gives_the_same_run_and_another_one_another(bundle: Bundle) -> None:
    one, same, other = (figures(bundle, seed) for seed in (5, 5, 6))
    assert one == same
    assert one != other


def figures(bundle: Bundle, seed: int) -> dict[str, object]:
    """Of a minute and more, without what depends on the machine."""
    report = asdict(make_report(Run(bundle, DENSE, seed, is_made=True).go(90), seed))
    return {name: figure for name, figure in report.items() if name not in MEASURED}


# --- who watches the watcher -----------------------------------------------------------------------------------------


def calm(bundle: Bundle, change: Callable[[Run], None] = lambda _: None) -> Report:
    """Forty seconds without a fault, but for what ``change`` does."""
    run = Run(bundle, CALM, 1, is_made=True)
    change(run)
    return make_report(run.go(40), 1)


def test_a_calm_minute_is_decided_from_all_three_and_every_token_is_right(bundle: Bundle) -> None:
    report = calm(bundle)
    assert report.problems == {}
    assert report.used == {"imu": report.owed, "audio": report.owed, "video": report.owed}
    assert min(report.compared.values()) >= report.owed > 50
    assert report.latest_ms < 200


def each_chunk(run: Run, name: str, change: Callable[[Chunk], Chunk | None]) -> None:
    """What this port delivers is changed on its way, from 20 s on."""
    inbox = run.pipeline._listening._inbox
    put = inbox.put

    def changed(chunk: Chunk) -> None:
        is_late = chunk.modality == name and run.world.now_ns - run.pipeline.origin_ns > 20e9
        given = change(chunk) if is_late else chunk
        if given is not None:
            put(given)

    inbox.put = changed  # type: ignore[method-assign]


@pytest.mark.parametrize("name", ["imu", "audio", "video"])
def test_samples_that_are_lost_without_a_word_are_noticed(bundle: Bundle, name: str) -> None:
    report = calm(bundle, lambda run: each_chunk(run, name, lambda _: None))
    assert report.problems[f"{name}: samples that nobody counted"] > 0
    assert report.problems[f"{name} is well and not used"] > 10


@pytest.mark.parametrize("name", ["imu", "audio"])
def test_stamps_that_are_off_by_40_ms_show_in_the_tokens(bundle: Bundle, name: str) -> None:
    def shift(chunk: Chunk) -> Chunk:
        return replace(chunk, times_ns=chunk.times_ns - 40_000_000)

    report = calm(bundle, lambda run: each_chunk(run, name, shift))
    assert report.problems[f"{name}'s token is of other samples"] > 10


def test_samples_of_another_time_show_in_the_tokens(bundle: Bundle) -> None:
    report = calm(
        bundle, lambda run: each_chunk(run, "imu", lambda chunk: replace(chunk, samples=chunk.samples[::-1].copy() + 1))
    )
    assert report.problems["imu's token is of other samples"] > 10


def test_an_engine_that_waits_for_longer_than_the_grace_is_noticed(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stall_the_sound(run: Run) -> None:
        each_chunk(run, "audio", lambda _: None)
        monkeypatch.setattr(run.pipeline.engine, "_grace_ns", 400_000_000)

    assert calm(bundle, stall_the_sound).problems["late"] >= 1


def test_a_run_that_skips_a_decision_is_noticed(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def skip(run: Run) -> None:
        step = run.pipeline.step
        monkeypatch.setattr(run.pipeline, "step", lambda: [one for one in step() if one.hop != 60])

    assert calm(bundle, skip).problems["hop lost"] == 1


def test_a_lie_that_is_taken_for_the_truth_is_noticed(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def lie(run: Run) -> None:
        fault = Fault("audio", "clipped", run.world.now_ns + 20 * 10**9, run.world.now_ns + 35 * 10**9, 0.5)
        run.world._next["audio"], run.world._due_ns["audio"] = fault, fault.begin_ns

    assert calm(bundle, lie).problems == {}
    monkeypatch.setattr("mmg.engine.health.health.CLIPPED_LEVEL_AUDIO", 2.0)
    assert calm(bundle, lie).problems["audio clipped is not told in 1.6 s"] > 10


def test_rows_under_a_header_with_more_than_two_letters_lost_are_nobodys_until_a_whole_one_comes(
    bundle: Bundle,
) -> None:
    imu = Run(bundle, CALM, 1, is_made=True).world.imu
    for harmed, is_unread in ((1, True), (0, False), (2, False), (3, True), (1, True), (0, False)):
        imu._print_header(harmed)
        assert (imu.unread[-1][1] == FAR) == is_unread
    assert len(imu.unread) == 2


def test_every_kind_of_fault_is_drawn_and_one_is_over_before_the_next() -> None:
    for sensor, kinds in KINDS.items():
        faults = draw_faults(sensor, DENSE, 1, 0)
        drawn = [next(faults) for _ in range(500)]
        assert {fault.name for fault in drawn} == set(kinds)
        assert all(one.end_ns < other.begin_ns for one, other in pairwise(drawn))


def test_the_command_prints_its_figures_and_ends_with_1_where_a_promise_was_broken(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["--hours", "0.01", "--seed", "2"]) == 0
    assert "hops in which a sensor was well: " in capsys.readouterr().out
    monkeypatch.setattr("mmg_tools.days.judge.PROMPT_NS", 1)
    assert main(["--hours", "0.01", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["problems"]["held up by a sensor that is gone"] > 1


def test_the_starters_own_models_run_too() -> None:
    report = wear(1, hours=0.01, starter=True)
    assert report.problems == {}, report.examples
    assert report.used["imu"] == report.used["audio"] == report.used["video"] > 40
