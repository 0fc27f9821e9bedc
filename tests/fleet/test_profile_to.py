"""``mmg-profile --to``: a broker retains the report, and mmg-fleet finds it there."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from broker_runs import need_broker
from forked import mmg
from mmg.board.profiling.result import encode
from mmg.errors import SinkError
from mmg.sinks.mqtt.publish import Publisher
from mmg.sinks.url import parse_sink_url
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


def test_a_broker_that_lets_one_in_and_goes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def serve(server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                connection.recv(4096)
                connection.sendall(b"\x20\x02\x00\x00")  # CONNACK
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()

    monkeypatch.setattr("mmg.sinks.mqtt.publish.WITHIN_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        broker = threading.Thread(target=serve, args=(server,))
        broker.start()
        url = parse_sink_url(f"mqtt://127.0.0.1:{server.getsockname()[1]}/wrist", ("mqtt",))
        for _ in range(8):  # it goes before the report is handed over, or after
            with pytest.raises(SinkError):
                Publisher(url, print).publish("profile", b"{}" * 100_000)
        server.shutdown(socket.SHUT_RDWR)
        broker.join()


def test_a_broker_that_closes_without_an_answer_is_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmg.sinks.mqtt.publish.WITHIN_S", 5.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        broker = threading.Thread(target=lambda: server.accept()[0].close())
        broker.start()
        url = parse_sink_url(f"mqtt://127.0.0.1:{server.getsockname()[1]}/wrist", ("mqtt",))
        with pytest.raises(SinkError, match="is closed without an answer: does it want mqtts:"):
            Publisher(url, print).publish("profile", b"{}")
        broker.join()


def test_a_report_that_no_fleet_takes_is_not_sent() -> None:
    with pytest.raises(SinkError, match="has 4194305 bytes, and may have 4194304"):
        Publisher(parse_sink_url("mqtt://127.0.0.1:1/wrist", ("mqtt",)), print).publish("profile", b" " * 4_194_305)


@pytest.mark.parametrize("url", ["jsonl:profile.json", "http://broker", "mqtt://broker/a/%23", "mqtt:///wrist"])
def test_a_place_that_is_none_is_told_before_anything_is_measured(url: str, report: Path) -> None:
    done = mmg("profile", "--show", report, "--to", url)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith(f"mmg-profile: --to {url}: ")
