"""Teaching live, on scripted ports and a scripted clock: what a person is told, and what is taught in the end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from chores import REST, SOUND_HZ
from fakes import FRAME, VIDEO_HZ, times_ns, video_modality, write_tiny_bundle
from mmg.bundle import Bundle
from mmg.cli.teach import build_parser
from mmg.cli.teach_live import MOST_BAD, teach_by
from mmg.errors import ConfigError, NoSensorError
from mmg.runs.live import LivePipeline
from mmg.runs.settings import Settings
from mmg.runs.step import Step
from mmg.runs.teaching import Ear
from mmg.teaching.check import estimate
from mmg.teaching.kept import Kept
from mmg.teaching.store import change_taught, read_taught
from mmg.teaching.taught import Taught, encoder_digests
from mmg.types import Chunk
from numpy.typing import NDArray
from room import LOOP_S, Room

CHORE = "stirring"
NOISE_DBFS = -70.0


def quiet(seed: int) -> NDArray[np.float32]:
    """``(N, 1)``: a room in which a microphone hears nothing but its own noise."""
    noise = np.random.default_rng(seed).normal(0, 10 ** (NOISE_DBFS / 20), round(LOOP_S * SOUND_HZ))
    return (np.round(noise * 32767) / 32767).astype(np.float32)[:, None]


def knocking(peak_dbfs: float) -> NDArray[np.float32]:
    """The same room, in which somebody knocks every 0.8 s."""
    heard, instants = quiet(7), np.arange(round(0.15 * SOUND_HZ)) / SOUND_HZ
    thud = np.sin(2 * np.pi * 200 * instants) * np.exp(-instants / 0.03)
    for at in range(0, len(heard) - len(thud), round(0.8 * SOUND_HZ)):
        heard[at : at + len(thud), 0] += thud / np.abs(thud).max() * 10 ** (peak_dbfs / 20)
    return heard


Does = Callable[[str], None]
"""What a person does who reads this line."""


class Lesson:
    """Teaching in a room. ``lines``: what was said, each with the second in which it was."""

    def __init__(self, bundle: Bundle, path: Path, *names: str) -> None:
        self.room, self.path, self.pressed = Room(names or ("imu", "audio")), path, threading.Event()
        self.lines: list[tuple[float, str]] = []
        self._bundle = bundle
        self.does: Does = self.obey

    def obey(self, line: str) -> None:
        """As one is told."""
        if line.endswith("press Enter, then begin"):
            self.room.doing = CHORE
            self.pressed.set()
        elif "recorded" in line or "once more" in line:
            self.room.doing = REST

    def teach(self, *words: str, has_keys: bool = True, known: Taught | None = None) -> Taught:
        """known: what the file has already."""
        options = build_parser().parse_args([CHORE, "-o", str(self.path), *words])

        def report(line: str) -> None:
            self.lines.append((self.room.now_ns / 1e9, line))
            self.does(line)

        def open_pipeline(record: Callable[[Step], None]) -> LivePipeline:
            settings = Settings(unknown=0.0)
            ports, clock = self.room.ports, lambda: self.room.now_ns
            return LivePipeline(self._bundle, ports, settings, report=lambda _: None, record=record, monotonic_ns=clock)

        ear = Ear(open_pipeline, lambda: self.room.now_ns, lambda wait_s: self.room.elapse(max(wait_s, 1e-3)))
        manifest = self._bundle.manifest
        kept = Kept(self.path, manifest, known or Taught(encoder_digests(manifest)))
        lesson = CHORE, kept, manifest.context_hops
        pressed = self.pressed if has_keys else None
        try:
            teach_by(ear, options, lesson, manifest, pressed, report)
        finally:
            ear.close()
        return kept.taught

    @property
    def said(self) -> list[str]:
        return [line for _, line in self.lines]

    @property
    def kept(self) -> int:
        """How many examples the file has."""
        return sum(len(one.examples) for one in read_taught(self.path).activities)


@pytest.fixture(scope="module")
def bundle() -> Iterator[Bundle]:
    with Bundle.open("starter") as opened:
        yield opened


@pytest.fixture
def lesson(bundle: Bundle, tmp_path: Path) -> Callable[..., Lesson]:
    return lambda *names: Lesson(bundle, tmp_path / "mine.taught", *names)


def test_it_listens_for_twenty_seconds_says_when_to_begin_and_counts(lesson: Callable[..., Lesson]) -> None:
    one = lesson()
    taught = one.teach("--shots", "2")
    assert one.said == [
        "listening for 20 s, or until you press Enter: do anything but stirring",
        "listening: 15 s more",
        "listening: 10 s more",
        "listening: 5 s more",
        "example 1 of 2: press Enter, then begin",
        "example 1 of 2: begin now, and go on for 4 s",
        "example 1 of 2: recorded",
        "example 2 of 2: press Enter, then begin",
        "example 2 of 2: begin now, and go on for 4 s",
        "example 2 of 2: recorded",
    ]
    seconds = dict(reversed([(line, at_s) for at_s, line in one.lines]))
    assert seconds["example 1 of 2: press Enter, then begin"] - seconds["listening: 5 s more"] == pytest.approx(
        5, abs=0.2
    )
    assert seconds["example 1 of 2: recorded"] - seconds["example 1 of 2: begin now, and go on for 4 s"] < 6
    assert one.kept == 2
    assert all(set(example.traces) == {"imu", "audio"} for example in taught.activities[0].examples)
    assert {name: sum(trace.hops for trace in kept) >= 38 for name, kept in taught.background.items()} == {
        "imu": True,
        "audio": True,
    }


def test_what_is_taught_already_and_done_meanwhile_is_no_background(lesson: Callable[..., Lesson]) -> None:
    known = lesson().teach("--shots", "3")
    again = lesson()
    again.room.doing = CHORE

    def does(line: str) -> None:
        again.room.doing = REST if "10 s more" in line else again.room.doing
        again.obey(line)

    again.does = does
    taught = again.teach("--shots", "1", known=known)
    assert "what is taught already was done meanwhile: that is no background" in again.said
    more = {name: sum(one.hops for one in traces) - 40 for name, traces in taught.background.items()}
    assert all(2 <= hops <= 20 for hops in more.values()), more
    assert estimate(taught).recall == {CHORE: 1.0}


def test_enter_ends_the_listening_but_not_at_once(lesson: Callable[..., Lesson]) -> None:
    one = lesson()

    def impatient(line: str) -> None:
        if line.startswith("listening for"):
            one.pressed.set()
        one.obey(line)

    one.does = impatient
    taught = one.teach("--shots", "1")
    [begin_s] = [at_s for at_s, line in one.lines if line == "example 1 of 1: press Enter, then begin"]
    assert 2 <= begin_s < 5
    assert not any("more" in line for line in one.said)
    assert set(taught.background) == {"imu", "audio"}


@pytest.mark.parametrize("has_keys", [True, False], ids=["auto", "no terminal"])
def test_without_keys_it_counts_down_from_three(lesson: Callable[..., Lesson], has_keys: bool) -> None:
    one = lesson()

    def begins(line: str) -> None:
        one.room.doing = CHORE if "begin now" in line else REST if "recorded" in line else one.room.doing

    one.does = begins
    one.teach("--shots", "1", "--listen", "2", *["--auto"] * has_keys, has_keys=has_keys)
    counted = [(at_s, line) for at_s, line in one.lines if line.startswith("example")]
    assert [line for _, line in counted] == [
        *(f"example 1 of 1: {left}" for left in (3, 2, 1)),
        "example 1 of 1: begin now, and go on for 4 s",
        "example 1 of 1: recorded",
    ]
    assert np.diff([at_s for at_s, _ in counted[:4]]) == pytest.approx([1, 1, 1], abs=0.1)


def test_an_example_in_which_nothing_moved_is_asked_for_again(lesson: Callable[..., Lesson]) -> None:
    one = lesson("imu")

    def slow(line: str) -> None:
        one.obey(line)
        if line == "example 2 of 2: press Enter, then begin" and line not in one.said[:-1]:
            one.room.doing = REST  # the first time

    one.does = slow
    one.teach("--shots", "2", "--listen", "2")
    told = [line for line in one.said if line.startswith("example 2")]
    assert [line.partition(": ")[2] for line in told] == [
        "press Enter, then begin",
        "begin now, and go on for 4 s",
        "imu: nothing moved: once more",
        "press Enter, then begin",
        "begin now, and go on for 4 s",
        "recorded",
    ]
    assert one.kept == 2


def test_after_five_that_are_none_it_gives_up_and_nothing_is_written(lesson: Callable[..., Lesson]) -> None:
    one = lesson("imu")
    one.does = lambda line: one.pressed.set() if "press Enter" in line else None
    with pytest.raises(ConfigError, match="5 examples in a row were none, the last as imu: nothing moved"):
        one.teach("--listen", "2")
    assert sum("begin now" in line for line in one.said) == MOST_BAD
    assert not one.path.exists()


def test_a_sensor_that_is_unplugged_in_an_example_costs_that_example(lesson: Callable[..., Lesson]) -> None:
    one = lesson()
    begun: list[str] = []

    def clumsy(line: str) -> None:
        one.obey(line)
        begun.extend([line] * ("begin now" in line))
        if line == "example 2 of 3: begin now, and go on for 4 s" and begun.count(line) == 1:
            pull(one.room, 1.5)
        elif "once more" in line:
            one.room.plug("imu")

    one.does = clumsy
    one.teach("--shots", "3", "--listen", "2")
    [again] = [line for line in one.said if "once more" in line]
    assert again.startswith("example 2 of 3: imu gave ")
    assert one.kept == 3


def test_a_sensor_that_stays_away_ends_it_and_what_was_taught_stays_whole(lesson: Callable[..., Lesson]) -> None:
    one = lesson()

    def clumsy(line: str) -> None:
        one.obey(line)
        if line == "example 2 of 3: begin now, and go on for 4 s":
            pull(one.room, 1.5)

    one.does = clumsy
    with pytest.raises(NoSensorError) as told:
        one.teach("--shots", "3", "--listen", "2")
    assert "5 examples in a row were none, the last as imu gave nothing" in str(told.value)
    assert str(told.value).isprintable()
    assert one.kept == 1


def pull(room: Room, after_s: float) -> None:
    """The IMU's plug comes out so much later."""
    at_ns, tick = room.now_ns + round(after_s * 1e9), room.tick

    def ticking() -> None:
        tick()
        if room.now_ns >= at_ns:
            room.unplug("imu")
            del room.tick

    room.tick = ticking  # type: ignore[method-assign]


def test_what_others_teach_meanwhile_stays(lesson: Callable[..., Lesson]) -> None:
    one = lesson()

    def beside(line: str) -> None:
        one.obey(line)
        if line == "example 1 of 2: recorded":
            change_taught(one.path, lambda now: now.add("theirs", now.activities[0].examples[0]))

    one.does = beside
    one.teach("--shots", "2", "--listen", "2")
    assert {each.name: len(each.examples) for each in read_taught(one.path).activities} == {CHORE: 2, "theirs": 1}


def test_stopped_in_an_example_what_was_taught_before_stays(lesson: Callable[..., Lesson]) -> None:
    one = lesson()

    def leaves(line: str) -> None:
        one.obey(line)
        if line.startswith("example 2 of 3: begin"):
            raise KeyboardInterrupt

    one.does = leaves
    with pytest.raises(KeyboardInterrupt):
        one.teach("--shots", "3", "--listen", "2")
    assert one.said[-1] == f"1 of 3 examples of stirring are in {one.path}"
    assert one.kept == 1


@pytest.mark.parametrize("peak_dbfs", [-20.0, -45.0], ids=["a knock", "a soft knock"])
def test_a_sound_that_is_not_there_is_asked_for_again_and_a_soft_one_is_taken(
    lesson: Callable[..., Lesson], peak_dbfs: float
) -> None:
    one = lesson("audio")
    one.room.hears, knock, asked = quiet(1), knocking(peak_dbfs), []

    def shy(line: str) -> None:
        one.obey(line)
        if "press Enter, then" in line:
            asked.append(line)
            one.room.hears = quiet(2) if len(asked) == 1 else knock
        elif "recorded" in line:
            one.room.hears = quiet(3)

    one.does = shy
    one.teach("--shots", "2")
    said = [line for line in one.said if line.startswith("example") and "nter" not in line and "begin" not in line]
    assert said == [
        "example 1 of 2: audio: nothing but what was there before: too soft, or too far away: once more",
        "example 1 of 2: recorded",
        "example 2 of 2: recorded",
    ]
    assert one.kept == 2


def test_a_motion_without_a_sound_is_taken_and_this_is_said(lesson: Callable[..., Lesson]) -> None:
    one = lesson()
    one.room.hears = quiet(1)
    one.teach("--shots", "1")
    assert one.said[-1] == "example 1 of 1: recorded, though audio gave nothing but what was there before"
    assert one.kept == 1


class Filmed(Room):
    """A camera that sees a wall in light that flickers, always in the same way."""

    def __init__(self) -> None:
        super().__init__(("video",))
        self._pictures = 0

    def _sample(self) -> None:
        if self._pictures / VIDEO_HZ <= self.now_ns / 1e9:
            super()._sample()

    def _chunk(self, name: str) -> Chunk:
        times = times_ns(self._pictures / VIDEO_HZ, 1, VIDEO_HZ)
        self._pictures += 1
        return Chunk(name, np.full((1, *FRAME, 3), 100 + self._pictures % 10, np.uint8), times, VIDEO_HZ)


def test_a_picture_is_not_judged_by_how_far_a_sound_stands_out(tmp_path: Path) -> None:
    with Bundle.open(write_tiny_bundle(tmp_path / "tiny", video_modality(), context_hops=8)) as bundle:
        one = Lesson(bundle, tmp_path / "mine.taught", "video")
        one.room = Filmed()
        one.teach("--shots", "1")
    assert one.said[-1] == "example 1 of 1: recorded"
    assert one.kept == 1
