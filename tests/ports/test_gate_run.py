"""mmg-run --gate on a real pty and a real ALSA device: the microphone is really closed while it sleeps."""

from __future__ import annotations

import json
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from mmg_tools.attached import AttachedRun
from mmg_tools.virtual.wearable import VirtualWearable
from recordings import need_ports

need_ports()

START_S = 20.0


def gate(tmp_path: Path, *lines: str) -> list[str]:
    """The flags of a run in which the IMU watches, and these lines say what wakes the microphone."""
    profile = tmp_path / "own.toml"
    table = ["[gate]", 'watch = ["imu"]', "[gate.wake.audio]", *lines]
    profile.write_text("\n".join(['name = "own"', 'description = "own"', *table]))
    return ["--gate", "--profile", str(profile)]


def has_sound(run: AttachedRun, wearable: VirtualWearable) -> bool:
    """Whether the process holds the FIFO that is the device's sound."""
    feed, held = str(wearable.devices["audio"]._fifo), list[str]()
    for link in Path(f"/proc/{run.pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            held.append(str(link.readlink()))
    return feed in held


def audio(run: AttachedRun) -> str:
    """Its state by the newest decision."""
    return str(run.decisions[-1].line["sensors"]["audio"]["state"]) if run.decisions else ""


def test_the_microphone_is_closed_while_it_sleeps_and_comes_when_it_is_asked(
    wearable: VirtualWearable, tmp_path: Path
) -> None:
    with AttachedRun(wearable.urls, wearable.environment, gate(tmp_path, "look_s = 4")) as run:
        assert run.wait_for(lambda: audio(run) == "live", START_S), run.notes
        assert run.wait_for(lambda: audio(run) == "asleep", START_S), run.notes
        decided = len(run.decisions)
        assert run.wait_for(lambda: len(run.decisions) > decided, START_S)
        assert not has_sound(run, wearable)
        # It is closed soon after the hop that heard it was decided, and never before.
        assert run.wait_for(lambda: audio(run) != "asleep" and has_sound(run, wearable), START_S), run.notes
        assert run.wait_for(lambda: audio(run) == "live", START_S), run.notes
        assert run.stop()[0] == 0
    lines = [decision.line for decision in run.decisions]
    for line in lines:
        assert set(line["gate"]["awake"]) | set(line["gate"]["asleep"]) == {"imu", "audio"}
        assert (line["sensors"]["audio"]["state"] == "asleep") == ("audio" in line["gate"]["asleep"])
    assert [note for note in run.notes if "gate: audio was awake" in note]
    assert not [note for note in run.notes if "Traceback" in note], json.dumps(run.notes)


@pytest.mark.realtime
def test_it_is_open_and_decides_within_two_hops(wearable: VirtualWearable, tmp_path: Path) -> None:
    with AttachedRun(wearable.urls, wearable.environment, gate(tmp_path, "look_s = 3")) as run:
        assert run.wait_for(lambda: len(run.decisions) > 40, 2 * START_S), run.notes
        run.stop()
    lines = [decision.line for decision in run.decisions]
    woken = [
        place
        for place in range(1, len(lines) - 2)
        if "audio" in lines[place - 1]["gate"]["asleep"] and "audio" in lines[place]["gate"]["awake"]
    ]
    assert len(woken) >= 3
    assert all("audio" in lines[place + 1]["modalities"] for place in woken)
    times = [line["t"] for line in lines]
    assert all(later - earlier == pytest.approx(0.5) for earlier, later in pairwise(times[2:]))
