"""The live page of a run on virtual ports: a sensor that goes is seen to go, and the run takes the page's orders."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mmg.recording.marks import marked
from mmg.runs.live import LONGEST_WAIT_S
from mmg_tools.attached import AttachedRun
from mmg_tools.virtual.scenario import render
from mmg_tools.virtual.wearable import VirtualWearable
from page_client import events
from recordings import need_ports

pytestmark = pytest.mark.realtime
need_ports()

PATIENCE_S = 15.0
HOP_S = 0.5


@pytest.fixture
def wearable(tmp_path: Path) -> Iterator[VirtualWearable]:
    (tmp_path / "ports").mkdir()
    with VirtualWearable(render(seconds=24.0), tmp_path / "ports", loop=True) as plugged:
        yield plugged


def address(run: AttachedRun) -> str:
    assert run.wait_for(lambda: any("page: " in note for note in run.notes), PATIENCE_S), run.notes
    return next(note.partition("page: ")[2] for note in run.notes if "page: " in note)


def until(stream: Iterator[tuple[str, Any]], kind: str, happened: Callable[[Any], bool] = lambda _: True) -> Any:
    return next(data for one, data in stream if one == kind and happened(data))


def do(url: str, name: str, **asked: object) -> Any:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/do/{name}", json.dumps(asked).encode(), headers, method="POST")
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return json.load(answer)


def ills(url: str) -> list[str]:
    try:
        answer = urllib.request.urlopen(f"{url}/health", timeout=PATIENCE_S)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        told = json.load(answer)
    assert (answer.status, told["status"]) == ((503, "unwell") if told["reasons"] else (200, "ok"))
    return list(told["reasons"])


def is_gone(name: str, told: Any) -> bool:
    return bool(told["sensors"][name]["state"] != "live")


def test_a_sensor_that_is_unplugged_is_shown_so_and_the_others_go_on(wearable: VirtualWearable) -> None:
    with AttachedRun(wearable.urls, wearable.environment, ["--page", ":0"]) as run:
        url = address(run)
        stream = events(url)
        assert until(stream, "hello")["controls"]["pause"] is True
        well = until(stream, "sensors", lambda d: all(s["state"] == "live" for s in d["sensors"].values()))["sensors"]
        assert len(well["imu"]["envelope"]) == len(well["audio"]["envelope"]) == 8
        assert 5 < well["imu"]["envelope"][0][0] <= well["imu"]["envelope"][0][1] < 60
        assert all(0 <= low <= high <= 1 for low, high in well["audio"]["envelope"])
        assert (round(well["imu"]["rate_hz"], -1), well["audio"]["rate_hz"]) == (100.0, 16000.0)
        assert well["imu"]["device"].startswith("witmotion")
        assert ills(url) == []
        for name, device in wearable.devices.items():
            device.unplug()
            told = until(stream, "sensors", partial(is_gone, name))
            assert told["sensors"][name]["reason"], told
        # Nothing is decided any more, and the sensors are told of all the same.
        silent = [until(stream, "sensors") for _ in range(3)]
        assert silent[2]["at"] - silent[0]["at"] < 3 * LONGEST_WAIT_S
        assert len(ills(url)) >= 2
        run.stop()


def test_it_is_paused_resumed_marked_and_recorded_from_the_page(wearable: VirtualWearable, tmp_path: Path) -> None:
    day = tmp_path / "day.mcap"
    with AttachedRun(wearable.urls, wearable.environment, ["--page", ":0", "--record", str(day)]) as run:
        url = address(run)
        stream = events(url)
        assert "walking" in until(stream, "hello")["controls"]["mark"]
        until(stream, "decision")
        assert do(url, "mark", label="kneading") == {"ok": True, "mark": "kneading"}
        assert until(stream, "vitals", lambda d: d["recording"])["recording"]["path"] == str(day)
        assert until(stream, "vitals", lambda d: d["recording"])["recording"]["mark"] == "kneading"
        do(url, "record", on=False)
        assert until(stream, "vitals")["recording"] is None
        do(url, "pause", on=True)
        paused = until(stream, "vitals", lambda d: d["paused"])
        assert until(stream, "sensors", lambda d: d["at"] >= paused["at"])["sensors"]["imu"]["reason"] == "paused"
        assert ills(url) == ["paused"]
        decided = len(run.decisions)
        assert not run.wait_for(lambda: len(run.decisions) > decided, 3 * HOP_S)
        do(url, "pause", on=False)
        assert run.wait_for(lambda: len(run.decisions) > decided + 2, PATIENCE_S), run.notes
        until(stream, "sensors", lambda d: all(s["state"] == "live" for s in d["sensors"].values()))
        assert run.stop()[0] == 0
    assert [label.label for label in marked(day)] == ["kneading"]
