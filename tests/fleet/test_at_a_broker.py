"""mmg-fleet at a real mosquitto, with wearables as mmg-run is one."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from broker_runs import decided, need_broker
from fakes import signal_modality, write_tiny_bundle
from mmg.bundle import Bundle
from mmg.bundle.fetch import fetch
from mmg.bundle.index import write_index
from mmg.bundle.keys import make_keys, read_private_key
from mmg.bundle.writer import put_signature
from mmg.sinks.event import About
from mmg.sinks.mqtt.sink import MqttSink, open_mqtt
from mmg.sinks.places import check_places
from mmg_tools.broker import Broker, Listener
from mmg_tools.fleet_run import PATIENCE_S, FleetRun
from mmg_tools.simulated_fleet import play

need_broker()
pytest.importorskip("microdot", reason="the page's server is not installed: pip install -e '.[fleet]'")


LISTENING = re.compile("connected: listening below mmg/")
ABOUT = About("starter", ("still", "walking"), {"imu": "serial:///dev/x"}, 0.5, "raspberry-pi-4", digest="a" * 64)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path) as started:
        yield started


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    return tmp_path / "store" / "fleet.sqlite"


def watched(broker: Broker, store: Path, *words: str) -> FleetRun:
    fleet = FleetRun(f"mqtt://127.0.0.1:{broker.port}", store, *words)
    fleet.wait_for(LISTENING)
    return fleet


def wearable(broker: Broker, topic: str, about: About = ABOUT) -> MqttSink:
    """As a run opens it."""
    [url] = check_places([f"mqtt://localhost:{broker.port}/{topic}?retry=1"])
    return open_mqtt(url, about, lambda _: None)


def rows(fleet: FleetRun, heard: int) -> dict[str, dict[str, object]]:
    return {row["topic"]: row for row in fleet.wait_until(heard)["rows"]}


def test_a_run_is_seen_with_its_bundle_its_board_and_what_it_does(broker: Broker, store: Path) -> None:
    with watched(broker, store) as fleet:
        sink = wearable(broker, "mmg/anna/wrist")
        sink._connection.require()
        sink.write(decided("walking"))
        row = rows(fleet, 6)["mmg/anna/wrist"]  # about, state, status; decision, event, state
        shown = {key: row[key] for key in ("word", "bundle", "digest", "board", "label", "ill")}
        assert shown == {
            "word": "deciding",
            "bundle": "starter",
            "digest": "a" * 12,
            "board": "raspberry-pi-4",
            "label": "walking",
            "ill": {},
        }
        sink.close()
        assert rows(fleet, 7)["mmg/anna/wrist"]["word"] == "offline"
        assert fleet.stop() == 0
        assert fleet.lines[-1] == "mmg-fleet: stopped"


def test_no_message_that_was_delivered_is_left_out_and_what_was_known_is_known_again(
    broker: Broker, store: Path
) -> None:
    with watched(broker, store) as fleet:
        counts = asyncio.run(play(broker.port, 40, 3))
        sent = counts.published + counts.wills
        before = fleet.wait_until(sent)
        assert before["totals"]["heard"] == sent
        assert before["totals"]["taken"] == sent
        assert fleet.stop() == 0
    with closing(sqlite3.connect(store)) as kept:
        assert kept.execute("SELECT count(*), sum(messages) FROM wearables").fetchone() == (40, sent)
    with FleetRun(f"mqtt://127.0.0.1:{broker.port}", store) as fleet:
        after = fleet.asked()
    assert {row["topic"]: _lasting(row) for row in after["rows"]} == {
        row["topic"]: _lasting(row) for row in before["rows"]
    }
    assert after["totals"]["taken"] >= sent


def test_what_is_heard_is_below_the_prefix_of_now_and_none_of_before(broker: Broker, store: Path) -> None:
    with watched(broker, store) as fleet:
        assert fleet.stop() == 0
    with FleetRun(f"mqtt://127.0.0.1:{broker.port}/ward", store) as fleet, Listener(broker.port) as at_broker:
        fleet.wait_for(re.compile("connected: listening below ward/"))
        at_broker.say("mmg/anna/wrist/status", "online")
        at_broker.say("ward/bob/status", "online")
        told = fleet.wait_until(1)
        assert (told["totals"]["heard"], [row["topic"] for row in told["rows"]]) == (1, ["ward/bob"])


def test_who_is_killed_has_lost_no_more_than_a_moment(broker: Broker, store: Path) -> None:
    with watched(broker, store) as fleet, Listener(broker.port) as at_broker:
        at_broker.say("mmg/anna/wrist/status", "online")
        fleet.wait_until(1)
        until(lambda: _count(store) > 0)
        fleet.kill()
    with watched(broker, store) as fleet:
        assert [row["topic"] for row in fleet.asked()["rows"]] == ["mmg/anna/wrist"]


def write_offers(folder: Path, *names: str) -> None:
    """An index of these files."""
    digest = "a" * 64
    offers = [
        {"name": name, "version": 1, "digest": digest, "sha256": digest, "bytes": 1, "url": name} for name in names
    ]
    (folder / "index.json").write_text(json.dumps({"index": {"schema": "mmg-index/1", "bundles": offers}}))


def until(is_so: Callable[[], bool]) -> None:
    """Wait a while for what another process does. Raises TimeoutError."""
    until_s = time.monotonic() + PATIENCE_S
    while not is_so():
        if time.monotonic() > until_s:
            raise TimeoutError
        time.sleep(0.02)


def read_slowly(url: str, path: str) -> int:
    """Bytes of an answer, by who takes few at a time: the last ones wait here as the connection is closed."""
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect((host, int(port)))
        reader.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        size = 0
        while block := reader.recv(2048):
            size += len(block)
    return size


def _lasting(row: dict[str, Any]) -> dict[str, Any]:
    """Without what is of the last minute of decisions."""
    return {key: value for key, value in row.items() if key != "latency"}


def _count(store: Path, table: str = "wearables") -> int:
    """Rows that are kept."""
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as kept:
        return int(kept.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_a_broker_that_goes_and_comes_is_told_and_heard_again(broker: Broker, store: Path) -> None:
    with watched(broker, store) as fleet:
        broker.kill()
        fleet.wait_for(re.compile("the connection is lost: trying again"))
        assert fleet.asked()["problem"] == "the connection is lost"
        broker.start()
        with Listener(broker.port) as at_broker:
            until(lambda: not fleet.asked()["problem"])
            at_broker.say("mmg/anna/wrist/status", "online")
            assert "mmg/anna/wrist" in rows(fleet, 1)


def test_what_cannot_be_is_one_line_whatever_it_is(broker: Broker, store: Path) -> None:
    with watched(broker, store) as fleet, Listener(broker.port) as at_broker:
        for payload in ("{", "x" * (1 << 20), "\0\1\2"):
            for _ in range(5):
                at_broker.say("mmg/anna/wrist/decision", payload)
        at_broker.say("mmg/anna/wrist/decision", "x" * (8 << 20))  # more than the broker is asked for
        at_broker.say("mmg/anna/wrist/status", "online")
        told = fleet.wait_until(16)
        assert {row["topic"] for row in told["rows"]} == {"mmg/anna/wrist"}
        assert (told["totals"]["refused"], told["totals"]["taken"]) == (15, 1)
        assert sum("mmg/anna/wrist: decision: " in line for line in fleet.lines) == 1
        assert all(line.isprintable() and len(line) < 700 for line in fleet.lines)


def test_the_profile_of_a_wearable_is_kept(broker: Broker, store: Path) -> None:
    report = json.dumps({"schema": "mmg-profile/1", "cases": []})
    with watched(broker, store) as fleet, Listener(broker.port) as at_broker:
        at_broker.say("mmg/anna/wrist/profile", report)
        assert rows(fleet, 1)["mmg/anna/wrist"]["profile"]
        until(lambda: _count(store, "profiles") > 0)
        with urlopen(f"{fleet.url}/profile.json?topic=mmg/anna/wrist") as answer:
            assert answer.read().decode() == report


def test_devices_fetch_the_bundles_that_the_fleet_offers(broker: Broker, store: Path, tmp_path: Path) -> None:
    offers = tmp_path / "offers"
    offers.mkdir()
    make_keys(str(tmp_path / "acme"))
    key = read_private_key(tmp_path / "acme.key")
    put_signature(write_tiny_bundle(offers / "tiny.mmg", signal_modality()), key)
    write_index(offers, key, lambda _: None)
    (offers / "secret.txt").write_text("not offered")
    with watched(broker, store, "--bundles", str(offers)) as fleet:
        path, offer, is_new = fetch(f"{fleet.url}/bundles/", key.public, tmp_path / "device.mmg")
        assert (offer.version, is_new) == (1, True)
        with Bundle.open(path) as bundle:
            about = About("tiny", ("still",), {"imu": "x"}, 0.5, "x", digest=bundle.digest)
        sinks = [wearable(broker, "mmg/anna/wrist", about), wearable(broker, "mmg/ben/wrist")]
        told = rows(fleet, 6)
        assert (told["mmg/anna/wrist"]["version"], told["mmg/anna/wrist"]["odd"]) == (1, "")
        assert "was never offered here" in str(told["mmg/ben/wrist"]["odd"])
        fleet.wait_for(
            re.compile("mmg/ben/wrist: runs a bundle starter that was never offered here, digest aaaaaaaaaaaa")
        )
        for sink in sinks:
            sink.close()
        (offers / "big.mmg").write_bytes(os.urandom(4 << 20))
        (offers / "more.mmg").write_bytes(b"not in the index")
        (offers / "link.mmg").symlink_to(store)
        write_offers(offers, "big.mmg", "link.mmg")
        for method, expected in (("GET", 4 << 20), ("HEAD", 0)):
            with urlopen(Request(f"{fleet.url}/bundles/big.mmg", method=method)) as answer:
                assert answer.headers["Content-Length"] == str(4 << 20)
                assert len(answer.read()) == expected
        assert read_slowly(fleet.url, "/bundles/big.mmg") > 4 << 20
        for name in ("secret.txt", "..%2Ffleet.sqlite", ".hidden.mmg", "none.mmg", "more.mmg", "link.mmg"):
            with pytest.raises(HTTPError, match="404"):
                urlopen(f"{fleet.url}/bundles/{name}")
        assert fleet.stop() == 0
        assert all(line.startswith("mmg-fleet: ") for line in fleet.lines), fleet.lines


def test_the_page_is_for_who_has_its_token_and_bundles_are_for_all(broker: Broker, store: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a-token-of-this-test\n")
    token.chmod(0o600)
    (tmp_path / "index.json").write_text('{"index":{"schema":"mmg-index/1"}}')
    with FleetRun(
        f"mqtt://127.0.0.1:{broker.port}", store, "--page", f":0?token_file={token}", "--bundles", str(tmp_path)
    ) as fleet:
        url = fleet.url.partition("/?token=")[0]
        for path in ("/", "/fleet.json", "/page.js", "/profile.json?topic=x"):
            with pytest.raises(HTTPError, match="401"):
                urlopen(f"{url}{path}")
        for path in ("/", "/fleet.json", "/page.js"):
            with urlopen(Request(f"{url}{path}", headers={"Authorization": "Bearer a-token-of-this-test"})) as answer:
                assert answer.status == 200
        with urlopen(f"{url}/?token=a-token-of-this-test") as answer:  # the link
            cookie = answer.headers["Set-Cookie"].partition(";")[0]
        with urlopen(Request(f"{url}/fleet.json", headers={"Cookie": cookie})) as answer:
            assert answer.status == 200
        with pytest.raises(HTTPError, match="401"):
            urlopen(Request(f"{url}/fleet.json", headers={"Cookie": f"{cookie}x"}))
        with pytest.raises(HTTPError, match="404"):
            urlopen(f"{url}/bundles/none.mmg")


def test_who_fetches_and_does_not_read_takes_no_place_from_the_page(
    broker: Broker, store: Path, tmp_path: Path
) -> None:
    (tmp_path / "big.mmg").write_bytes(os.urandom(3 << 20))
    write_offers(tmp_path, "big.mmg")
    with FleetRun(f"mqtt://127.0.0.1:{broker.port}", store, "--bundles", str(tmp_path)) as fleet, ExitStack() as open_:
        host, port = fleet.url.removeprefix("http://").split(":")
        for _ in range(70):
            reader = open_.enter_context(socket.socket())
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.connect((host, int(port)))
            reader.sendall(f"GET /bundles/big.mmg HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert reader.recv(5) == b"HTTP/"
        assert fleet.asked()["totals"]["heard"] == 0
        assert read_slowly(fleet.url, "/bundles/big.mmg") > 3 << 20


def test_a_wearable_that_is_no_more_is_forgotten(broker: Broker, store: Path) -> None:
    with watched(broker, store) as fleet, Listener(broker.port) as at_broker:
        for topic in ("mmg/old", "mmg/new"):
            at_broker.say(f"{topic}/status", "online")
        fleet.wait_until(2)
        assert fleet.stop() == 0
    for _ in range(2):  # as a unit that starts again
        with watched(broker, store, "--forget", "mmg/old", "--forget", "mmg/none") as fleet:
            assert [row["topic"] for row in fleet.asked()["rows"]] == ["mmg/new"]
            assert "mmg-fleet: --forget mmg/none: no such wearable is known" in fleet.lines
            assert fleet.stop() == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("http://broker",), "http://broker: names no sink"),
        (("mqtt://broker/a/#",), "mqtt://broker/a/#: what follows a # is not read"),
        (("mqtt://broker", "--bundles", "/none"), "--bundles /none: is no folder"),
        (("broker",), "broker: names no sink: write mqtt://HOST, for example"),
        (("mqtt://anna:x@broker",), "a password in a URL is seen"),
        (("mqtt://broker?credentials=/none",), "mqtt://broker?credentials=/none: /none: No such file"),
        (("mqtt://broker", "--page", ":0?bad=1"), "--page :0?bad=1: unknown option 'bad'"),
        (("mqtt://broker", "--page", "192.0.2.1:8421"), "--page 192.0.2.1:8421: cannot be served"),
        (("mqtt://broker", "--page", "nowhere:x"), "--page nowhere:x: is no address"),
        (("mqtt://broker", "--store", "/none/fleet.sqlite"), "--store /none/fleet.sqlite: cannot be"),
    ],
)
def test_what_cannot_be_asked_for_is_one_line(words: tuple[str, ...], told: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mmg_fleet.cli", *words], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith(f"mmg-fleet: {told}")
