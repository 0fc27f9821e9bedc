"""Other places for decisions: each has a queue of its own, and what one loses costs nobody else."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from pathlib import Path

import pytest
from forked import mmg
from mmg.errors import ConfigError, SinkError
from mmg.runs.step import Step
from mmg.sinks.event import Decided, Event, Notice
from mmg.sinks.file import JsonFile
from mmg.sinks.outbox import Outbox, Outboxes
from mmg.sinks.places import check_places
from mmg.types import Decision

PATIENCE_S = 30.0


def decision(hop: int) -> Decision:
    return Decision(hop, hop / 2, "walking", 0.9, {"walking": 0.9, "still": 0.1}, ("imu",), {}, ())


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return mmg("run", *words, timeout_s=120)


class Place:
    """A sink that tests hold up and break. Each write waits for ``go`` and raises ``problem`` where there is one."""

    takes: tuple[type[Event], ...] = (Decided,)

    def __init__(self) -> None:
        self.hops: list[int] = []
        self.problem: Exception | None = None
        self.go = threading.Event()
        self.go.set()
        self.begun, self.closed = threading.Event(), threading.Event()

    def write(self, event: Event) -> None:
        assert isinstance(event, Decided)
        self.begun.set()
        assert self.go.wait(PATIENCE_S)
        if self.problem:
            raise self.problem
        self.hops.append(event.decision.hop)

    def close(self) -> None:
        self.closed.set()


def test_each_sink_gets_what_it_takes_in_order() -> None:
    place, told = Place(), list[str]()
    boxes = Outboxes([Outbox(place, name="place", report=told.append)])
    for hop in range(50):
        boxes.decided(decision(hop), None)
        boxes.notice("imu: unplugged")
    boxes.close()
    boxes.close()
    assert place.hops == list(range(50))
    assert place.closed.is_set()
    assert told == []


def test_a_sink_that_hangs_loses_its_oldest_lines_and_delays_neither_the_run_nor_another_sink() -> None:
    stuck, well, told = Place(), Place(), list[str]()
    stuck.go.clear()
    boxes = Outboxes(
        [
            Outbox(stuck, name="stuck", most=10, closing_s=0.0, report=told.append),
            Outbox(well, name="well", report=told.append),
        ]
    )
    boxes.decided(decision(0), None)
    assert stuck.begun.wait(PATIENCE_S)
    for hop in range(1, 31):
        boxes.decided(decision(hop), None)
    boxes.close()
    assert well.hops == list(range(31))
    assert stuck.hops == []
    assert told == ["stuck: is too slow: the oldest of its lines are lost", "stuck: 31 of 31 lines lost"]
    stuck.go.set()


def test_ctrl_c_while_one_sink_is_slow_to_end_costs_no_other_its_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    slow, well = Place(), Place()
    slow.go.clear()
    boxes = Outboxes([Outbox(slow, name="slow"), Outbox(well, name="well")])
    for hop in range(50):
        boxes.decided(decision(hop), None)

    def press(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(boxes.boxes[0]._thread, "join", press)
    with pytest.raises(KeyboardInterrupt):
        boxes.close()
    assert (well.hops, well.closed.is_set()) == (list(range(50)), True)
    slow.go.set()


def test_a_closed_sink_is_given_no_more_and_loses_nothing() -> None:
    place, told = Place(), list[str]()
    box = Outbox(place, name="place", report=told.append)
    box.finish()
    box.put(Decided(decision(1), None, None))
    box.close()
    assert (place.hops, box.lost, told) == ([], 0, [])


def test_a_sink_that_fails_is_given_the_next_line_all_the_same_and_told_of_once() -> None:
    place, told = Place(), list[str]()
    box = Outbox(place, name="place", report=told.append, patient=True, most=1)
    for hop in range(20):
        place.problem = SinkError("place", f"refused {hop} times") if 5 <= hop < 15 else None
        box.put(Decided(decision(hop)))
        box.put(Decided(decision(100 + hop)))  # of a queue of one: the one before is being written, or was
        box.put(Decided(decision(200 + hop)))
    box.close()
    assert box.lost + box.written == 60
    assert box.lost >= 20
    assert "place: refused 5 times: its lines are lost until that is over; decisions go on" in told
    assert f"place: takes lines again; {box.lost} were lost" in told
    assert told[-1] == f"place: {box.lost} of 60 lines lost"


def test_what_a_library_raises_unforeseen_ends_no_sink() -> None:
    place, told = Place(), list[str]()
    place.problem = ZeroDivisionError("odd")
    box = Outbox(place, name="place", report=told.append)
    box.put(Decided(decision(0)))
    box.close()
    assert place.closed.is_set()
    assert told == [
        "place: ZeroDivisionError: odd: its lines are lost until that is over; decisions go on",
        "place: 1 of 1 lines lost (ZeroDivisionError: odd)",
    ]


def test_a_run_of_recordings_waits_for_a_slow_sink_and_loses_nothing() -> None:
    place = Place()
    place.go.clear()
    box = Outbox(place, name="place", patient=True, most=5)

    def put_all() -> None:
        for hop in range(100):
            box.put(Decided(decision(hop)))

    writer = threading.Thread(target=put_all)
    writer.start()
    assert place.begun.wait(PATIENCE_S)
    assert writer.is_alive()
    place.go.set()
    writer.join(PATIENCE_S)
    box.close()
    assert place.hops == list(range(100))


def test_at_its_end_a_run_of_recordings_waits_for_as_long_as_lines_are_taken() -> None:
    place, turns = Place(), threading.Semaphore(0)
    place.go.clear()
    box = Outbox(place, name="place", patient=True, closing_s=0.05)
    for hop in range(20):
        box.put(Decided(decision(hop)))

    class Turn(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            turns.acquire(timeout=timeout)
            return True

    assert place.begun.wait(PATIENCE_S)
    place.go.set()
    place.go = Turn()

    def let_go() -> None:
        for _ in range(20):
            threading.Event().wait(0.01)  # slower than the whole moment, and faster each by itself
            turns.release()

    threading.Thread(target=let_go).start()
    box.close()
    assert place.hops == list(range(20))
    assert box.lost == 0


def test_a_notice_is_not_for_a_file_of_decisions() -> None:
    assert Notice not in JsonFile.takes


# --- the file ------------------------------------------------------------------------------------------------------


def json_file(path: str) -> JsonFile:
    [url] = check_places([f"jsonl:{path}"])
    return JsonFile(url)


def test_a_file_is_appended_to_so_that_a_service_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "odd ?name%20=.jsonl"
    for hop in range(2):
        sink = json_file(str(path))
        sink.write(Decided(decision(hop)))
        sink.close()
    assert [json.loads(line)["t"] for line in path.read_text().splitlines()] == [0.0, 0.5]


def test_a_line_that_a_power_cut_tore_is_not_joined_to_the_next(tmp_path: Path) -> None:
    path = tmp_path / "day.jsonl"
    path.write_text('{"t":1.0}\n{"t":1.5,"la')
    sink = json_file(str(path))
    sink.write(Decided(decision(4)))
    sink.close()
    lines = path.read_text().splitlines()
    assert lines[:2] == ['{"t":1.0}', '{"t":1.5,"la']
    assert json.loads(lines[2])["t"] == 2.0


def test_lines_are_lost_where_their_file_was_removed_and_go_on_where_it_was_only_renamed(tmp_path: Path) -> None:
    path, renamed = tmp_path / "day.jsonl", tmp_path / "day.jsonl.1"
    sink = json_file(str(path))
    sink.write(Decided(decision(0)))
    path.rename(renamed)
    path.touch()
    sink.write(Decided(decision(1)))
    assert len(renamed.read_text().splitlines()) == 2
    renamed.unlink()
    with pytest.raises(SinkError, match="the file was removed"):
        sink.write(Decided(decision(2)))
    sink.close()


def test_what_the_wearer_does_is_the_owners_to_read(tmp_path: Path) -> None:
    json_file(str(tmp_path / "day.jsonl")).close()
    assert (tmp_path / "day.jsonl").stat().st_mode & 0o077 == 0


def test_a_pipe_that_nobody_reads_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="nobody reads this pipe"):
        json_file(str(tmp_path / "pipe"))


def test_a_pipe_that_is_read_slowly_gets_every_line(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    box = Outbox(json_file(str(path)), name="pipe", patient=True)

    def put_all() -> None:
        for hop in range(1000):
            box.put(Decided(decision(hop)))
        box.close()

    filling = threading.Thread(target=put_all)
    filling.start()
    os.set_blocking(reader, True)
    data = b""
    while part := os.read(reader, 4096):
        data += part
    filling.join(PATIENCE_S)
    os.close(reader)
    assert [json.loads(line)["t"] for line in data.splitlines()] == [hop / 2 for hop in range(1000)]
    assert box.lost == 0


def test_a_line_that_a_full_disk_cuts_leaves_no_part_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, write = tmp_path / "day.jsonl", os.write
    sink = json_file(str(path))
    sink.write(Decided(decision(0)))
    room = [30]

    def until_full(file: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(28, "No space left on device")
        data, room[0] = data[: room[0]], 0
        return write(file, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", until_full)
        with pytest.raises(SinkError, match="No space left on device"):
            sink.write(Decided(decision(1)))
    sink.write(Decided(decision(2)))
    sink.close()
    assert [json.loads(line)["t"] for line in path.read_text().splitlines()] == [0.0, 1.0]


def test_a_full_disk_costs_the_lines_and_not_the_run(tmp_path: Path) -> None:
    good = tmp_path / "good.jsonl"
    words = ["--demo", "--duration", "5", "--format", "jsonl", "--to", "jsonl:/dev/full", "--to", f"jsonl:{good}"]
    done = run(*words)
    error = done.stderr
    assert done.returncode == 0
    assert done.stdout == good.read_text()
    assert len(done.stdout.splitlines()) == 10
    assert "jsonl:/dev/full: No space left on device: its lines are lost until that is over; decisions go on" in error
    assert "jsonl:/dev/full: 10 of 10 lines lost (No space left on device)" in error


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        (["decisions.jsonl"], "names no sink"),
        (["ftp://host/x"], "names no sink"),
        ([""], "names no sink"),
        (["jsonl:"], "names no file"),
        (["jsonl:folder/"], "names no file"),
        (["jsonl:a\0b"], "names no file"),
        (["jsonl:a.jsonl", "jsonl:./a.jsonl"], "is the same place as"),
        (["jsonl:a.jsonl", "jsonl://a.jsonl"], "is the same place as"),
        (["jsonl:///tmp/a.jsonl?depth"], "its options cannot be"),
        (["jsonl:///tmp/a#b.jsonl"], "what follows a # is not read"),
        (["http://127.0.0.1:8420?token_file=/tmp/t#1"], "what follows a # is not read"),
    ],
)
def test_a_url_that_cannot_be_is_refused_in_one_line(texts: list[str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        check_places(texts)


@pytest.mark.parametrize("path", ["/no/such/folder/a.jsonl", "/"])
def test_a_file_that_cannot_be_opened_ends_the_run_before_it_begins(path: str) -> None:
    done = run("--demo", "--duration", "1", "--to", f"jsonl:{path}")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert f"--to jsonl:{path}" in done.stderr


def test_a_step_is_given_with_what_comes_next_and_in_its_order() -> None:
    class Both(Place):
        takes: tuple[type[Event], ...] = (Decided, Step)

        def write(self, event: Event) -> None:
            self.hops.append(-event.now_ns if isinstance(event, Step) else 0)

    place = Both()
    boxes = Outboxes([Outbox(place, name="place")])
    boxes.step(Step(1, (), {}))
    boxes.step(Step(2, (), {}))
    boxes.decided(decision(0), None)
    boxes.step(Step(3, (), {}))
    boxes.close()
    assert place.hops == [-1, -2, 0, -3]
