"""``mmg-profile --to``: a broker retains the report, and mmg-fleet finds it there."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from broker_runs import need_broker
from forked import mmg
from mmg.board.profiling.result import encode
from mmg_tools.broker import Broker, Listener
from mmg_tools.fleet_run import FleetRun
from profile_reports import made_report

need_broker()


@pytest.fixture
def report(tmp_path: Path) -> Path:
    path = tmp_path / "report.json"
    path.write_bytes(encode(made_report()))
    return path


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path) as started:
        yield started


def test_the_report_is_retained_below_the_wearables_topic(broker: Broker, report: Path, tmp_path: Path) -> None:
    done = mmg("profile", "--show", report, "--to", f"mqtt://127.0.0.1:{broker.port}/mmg/anna/wrist")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "mmg-profile: retained at mmg/anna/wrist/profile"
    with Listener(broker.port) as late:
        message = late.wait_for(lambda one: one.topic == "mmg/anna/wrist/profile")
    assert message.retained
    assert message.text.encode() == report.read_bytes()
    with FleetRun(f"mqtt://127.0.0.1:{broker.port}", tmp_path / "fleet.sqlite") as fleet:
        [row] = fleet.wait_until(1)["rows"]
        assert row["profile"]


def test_a_broker_that_is_not_there_is_told_after_the_report_is_printed(report: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    done = mmg("profile", "--show", report, "--json", "--to", f"mqtt://127.0.0.1:{port}/wrist")
    assert done.returncode == 2
    assert done.stdout.encode() == report.read_bytes()
    [line] = done.stderr.splitlines()
    assert line == f"mmg-profile: mqtt://127.0.0.1:{port}/wrist: connection refused: no broker listens there"


@pytest.mark.parametrize("url", ["jsonl:profile.json", "http://broker", "mqtt://broker/a/%23", "mqtt:///wrist"])
def test_a_place_that_is_none_is_told_before_anything_is_measured(url: str, report: Path) -> None:
    done = mmg("profile", "--show", report, "--to", url)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith(f"mmg-profile: --to {url}: ")
