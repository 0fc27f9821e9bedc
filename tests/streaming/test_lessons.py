"""Teaching while a run goes on, on scripted ports and a scripted clock."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from chores import REST, TAUGHT
from mmg.bundle import Bundle
from mmg.errors import ConfigError
from mmg.runs.controls import Controls
from mmg.runs.lessons import Lessons, Teaching
from mmg.runs.live import LivePipeline
from mmg.runs.settings import Settings
from mmg.runs.step import Step
from mmg.runs.teaching import judged
from mmg.teaching.store import change_taught, read_taught
from mmg.teaching.taught import Taught, encoder_digests
from mmg.types import Decision
from room import Room

NAMES = ("imu", "audio")


@pytest.fixture(scope="module")
def bundle() -> Iterator[Bundle]:
    with Bundle.open("starter") as opened:
        yield opened


class Run:
    """A live run in a room, in which may be taught. ``told``: how that went."""

    def __init__(self, bundle: Bundle, path: Path, may: tuple[str, ...] = NAMES, *, as_tokens: bool = False) -> None:
        self.room, self.path, self.told, self.steps = Room(NAMES), path, list[Teaching](), list[Step]()
        self.pipeline = LivePipeline(
            bundle,
            self.room.ports,
            Settings(),
            record=self.steps.append,
            origin_ns=0,
            monotonic_ns=self.now_ns,
        )
        if as_tokens:
            self.pipeline.keep_tokens(["audio"])
        manifest = bundle.manifest
        lessons = Lessons(
            self.pipeline,
            manifest,
            Taught(encoder_digests(manifest)),
            path,
            may,
            tell=self.told.append,
            monotonic_ns=self.now_ns,
        )
        self.controls = Controls(can_record=False, can_pause=True, can_teach=True)
        self.controls.attach(self.pipeline, None, lessons)
        self.pipeline.start()
        self.waits = True

    def now_ns(self) -> int:
        return self.room.now_ns

    def go(self, seconds: float) -> list[Decision]:
        made = []
        for decision in self.room.run(self.pipeline, seconds):
            made.append(decision)
            if self.waits:
                self.judged()
        return made

    def judged(self) -> None:
        """Wait until the thread that judges an example has."""
        for thread in threading.enumerate():
            if thread.name == "mmg teaching":
                thread.join()

    def teach(self, name: str) -> list[str]:
        """One example of what is done meanwhile; what was told of it."""
        before = len(self.told)
        self.controls.do("teach", {"name": name})
        self.go(3.0)
        self.room.doing = name
        self.go(6.5)
        self.room.doing = REST
        return [one.phase for one in self.told[before:]]


def test_what_is_taught_in_a_run_is_known_by_it_from_then_on(bundle: Bundle, tmp_path: Path) -> None:
    run = Run(bundle, tmp_path / "mine.taught")
    before = run.go(20.0)
    for chore in TAUGHT:
        for number in range(3):
            assert run.teach(chore) == ["get_ready", "now", "kept"], run.told
            assert (run.told[-1].example, run.told[-1].of) == (number + 1, 5)
            run.go(4.0)
    assert not any(decision.taught for decision in before)
    for chore in TAUGHT:
        run.room.doing = chore
        labels = [decision.label for decision in run.go(8.0)]
        assert labels[-6:] == [chore] * 6
        run.room.doing = REST
        run.go(5.0)
    made = read_taught(run.path)
    assert [(one.name, len(one.examples), one.modalities) for one in made.activities] == [
        (chore, 3, ("audio", "imu")) for chore in TAUGHT
    ]
    assert all(sum(trace.hops for trace in made.background[name]) >= 30 for name in NAMES)


def test_what_is_tried_between_examples_stays_known(bundle: Bundle, tmp_path: Path) -> None:
    run = Run(bundle, tmp_path / "mine.taught")
    run.go(20.0)
    first, second = TAUGHT
    for _ in range(3):
        run.teach(first)
        run.go(4.0)
    run.room.doing = first
    run.go(12.0)
    run.room.doing = REST
    run.go(6.0)
    assert run.teach(second)[-1] == "kept"
    run.go(4.0)
    run.room.doing = first
    labels = [decision.label for decision in run.go(12.0)]
    assert labels[-16:] == [first] * 16


def test_an_example_in_which_nothing_was_done_is_told_and_not_kept(bundle: Bundle, tmp_path: Path) -> None:
    run = Run(bundle, tmp_path / "mine.taught")
    run.go(12.0)
    run.controls.do("teach", {"name": "stirring"})
    decisions = run.go(9.0)
    assert [one.phase for one in run.told] == ["get_ready", "now", "bad"]
    assert run.told[-1].text.endswith(": once more")
    assert not run.path.exists()
    assert len(decisions) == 18
    assert run.teach("stirring")[-1] == "kept"


def test_a_file_that_cannot_be_written_is_told_and_the_run_goes_on(bundle: Bundle, tmp_path: Path) -> None:
    run = Run(bundle, tmp_path / "gone" / "mine.taught")
    run.go(12.0)
    assert run.teach("stirring") == ["get_ready", "now", "bad"]
    assert "cannot be written" in run.told[-1].text
    assert len(run.go(2.0)) == 4
    assert not any(decision.taught for decision in run.go(1.0))


def test_while_an_example_is_judged_the_run_goes_on_and_nothing_else_begins(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, go = Run(bundle, tmp_path / "mine.taught"), threading.Event()

    def slowly(*words: object) -> object:
        go.wait()
        return judged(*words)  # type: ignore[arg-type]

    monkeypatch.setattr("mmg.runs.lessons.judged", slowly)
    run.go(12.0)
    run.waits = False
    assert run.teach("stirring") == ["get_ready", "now"]
    assert len(run.go(10.0)) == 20
    with pytest.raises(ConfigError, match="wait until that example is over"):
        run.controls.do("teach", {"name": "sawing"})
    go.set()
    run.judged()
    run.waits = True
    assert [one.phase for one in run.told] == ["get_ready", "now", "kept"]
    assert run.teach("stirring") == ["get_ready", "now", "kept"]


def test_what_fails_unforeseen_ends_that_example_and_no_other(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(bundle, tmp_path / "mine.taught")
    run.go(12.0)
    with monkeypatch.context() as patch:
        patch.setattr("mmg.runs.lessons.judged", lambda *_: 1 / 0)
        assert run.teach("stirring") == ["get_ready", "now", "bad"]
    assert run.told[-1].text == "stirring: ZeroDivisionError: division by zero"
    assert run.teach("stirring")[-1] == "kept"


def test_one_is_taught_at_a_time_under_a_name_that_can_be(bundle: Bundle, tmp_path: Path) -> None:
    run = Run(bundle, tmp_path / "mine.taught")
    for name in ("walking", "Walking", "unknown", "", "a\nb", 7, None):
        with pytest.raises(ConfigError):
            run.controls.do("teach", {"name": name})
    run.go(1.0)
    run.controls.do("teach", {"name": "stirring"})
    run.go(0.5)
    assert "too little was heard" in run.told[-1].text
    run.go(10.0)
    run.controls.do("teach", {"name": "stirring"})
    with pytest.raises(ConfigError, match="wait until that example is over"):
        run.controls.do("teach", {"name": "sawing"})


def test_what_may_not_be_kept_is_not_taught_with(bundle: Bundle, tmp_path: Path) -> None:
    run = Run(bundle, tmp_path / "mine.taught", ("imu",))
    run.go(12.0)
    assert run.teach("stirring")[-1] == "kept"
    made = read_taught(run.path)
    assert made.activities[0].modalities == ("imu",)
    assert set(made.background) == {"imu"}


@pytest.mark.parametrize("as_tokens", [False, True])
def test_what_is_recorded_is_the_same_beside_teaching(bundle: Bundle, tmp_path: Path, as_tokens: bool) -> None:
    run = Run(bundle, tmp_path / "mine.taught", as_tokens=as_tokens)
    beside = Run(bundle, tmp_path / "mine.taught", as_tokens=as_tokens)
    beside.pipeline._hear = None
    if not as_tokens:
        beside.pipeline.engine.kept.clear()
    run.go(3.0)
    beside.go(3.0)
    assert {chunk.modality for step in run.steps for chunk in step.chunks} == ({"imu"} if as_tokens else set(NAMES))
    assert {one.modality for step in run.steps for one in step.encoded} == ({"audio"} if as_tokens else set())
    for one, other in zip(run.steps, beside.steps, strict=True):
        assert one.now_ns == other.now_ns
        assert [chunk.samples.tobytes() for chunk in one.chunks] == [chunk.samples.tobytes() for chunk in other.chunks]
        assert [hop.hop for made in one.encoded for hop in made.hops] == [
            hop.hop for made in other.encoded for hop in made.hops
        ]


def test_what_others_teach_meanwhile_stays_in_the_file(bundle: Bundle, tmp_path: Path) -> None:
    run = Run(bundle, tmp_path / "mine.taught")
    run.go(12.0)
    assert run.teach("stirring")[-1] == "kept"
    assert "too little background (" in run.told[-1].text
    run.go(30.0)
    example = read_taught(run.path).activities[0].examples[0]
    change_taught(run.path, lambda now: now.add("theirs", example))
    assert run.teach("stirring")[-1] == "kept"
    assert {one.name: len(one.examples) for one in read_taught(run.path).activities} == {"stirring": 2, "theirs": 1}
    run.path.unlink()
    assert run.teach("stirring")[-1] == "kept"
    assert "too little" not in run.told[-1].text
    assert run.told[-1].text.endswith("mine.taught was gone: it is written anew, with all that was taught here")
    assert {one.name: len(one.examples) for one in read_taught(run.path).activities} == {"stirring": 3, "theirs": 1}
