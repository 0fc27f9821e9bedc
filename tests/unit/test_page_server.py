"""The page's server: what it sends, and that nobody who looks costs the run anything."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import resource
import socket
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
from fuzzing import times
from mmg.runs.controls import Controls
from mmg.runs.step import Step
from mmg.sinks.event import Notice, Sensed
from mmg.sinks.outbox import Outbox
from mmg.sinks.page import connections
from mmg.sinks.page.connections import MOST_ASKING, MOST_OPEN, MOST_TOGETHER
from mmg.sinks.page.hub import MOST_WAITING
from mmg.sinks.page.server import Page
from mmg.sources.ports.port import PortStatus
from mmg.types import Chunk, SensorState
from page_client import (
    ABOUT,
    EVENTS,
    LIVE,
    PATIENCE_S,
    Looking,
    ask,
    connect,
    decided,
    everything,
    page_at,
    post,
    settle,
)

CONNECTED = PortStatus(connected=True, reason="", device="witmotion on /dev/ttyUSB0")


def step(*chunks: Chunk) -> Step:
    return Step(0, chunks, {"imu": CONNECTED, "audio": CONNECTED})


def chunk(modality: str, samples: np.ndarray, rate_hz: float = 0.0) -> Chunk:
    times_ns = np.arange(len(samples), dtype=np.int64) * 20_000_000
    return Chunk(modality, samples.astype(np.float32), times_ns, rate_hz)


@pytest.fixture
def page() -> Iterator[Page]:
    opened = page_at()
    yield opened
    opened.close()


def test_a_viewer_is_told_what_holds_then_the_past_and_then_what_comes(page: Page) -> None:
    page.write(decided(1, "still"))
    page.write(Notice("imu: unplugged"))
    with Looking(page) as viewer:
        kind, hello = viewer.next()
        assert kind == "hello"
        assert hello["schema"] == 1
        assert (hello["bundle"], hello["labels"], hello["hop_s"]) == ("tiny", list(ABOUT.labels), 0.5)
        assert hello["sensors"] == dict(ABOUT.sensors)
        assert hello["camera"] == {"state": "off", "by": []}
        assert hello["controls"] == {"mark": False, "record": False, "pause": False, "teach": False}
        kind, history = viewer.next()
        assert kind == "history"
        [past], [notice] = history["decisions"], history["notices"]
        assert sorted(past) == ["at", "confidence", "label", "modalities", "t"]
        assert (past["t"], past["label"], notice["text"]) == (0.5, "still", "imu: unplugged")
        page.write(decided(2))
        assert viewer.until("decision")["t"] == 1.0
        assert viewer.until("sensors")["sensors"]["imu"]["state"] == "live"
        page.write(Notice("imu: connected"))
        assert viewer.until("notice")["text"] == "imu: connected"
        page._hub.send_vitals()
        vitals = viewer.until("vitals")
        assert (vitals["viewers"], vitals["decisions"], vitals["paused"]) == (1, 2, False)
        assert vitals["memory_mib"] > 1
        assert vitals["latency_ms"] == {"p50": 21.5, "p95": 21.5}
        page.close()
        assert [kind for kind, _ in viewer] == ["bye"]


def test_events_are_numbered_without_a_gap_and_none_comes_twice(page: Page) -> None:
    with connect(page, EVENTS) as bare:
        came = b""
        while b"event: history" not in came:
            came += bare.recv(65536)
        for hop in range(1, 21):
            page.write(decided(hop))
        page.close()
        came += everything(bare)
    numbers = [int(line[4:]) for line in came.split(b"\n") if line.startswith(b"id: ")]
    assert numbers == [0, *range(42)]  # hello and history know of nothing; twenty decisions, sensors, and the end


def test_sensors_are_shown_by_envelopes_and_never_by_samples(page: Page) -> None:
    shake = np.zeros((25, 6))
    shake[:, 2] = np.linspace(9.0, 10.0, 25)
    noise = np.tile([[0.5], [-0.5]], (4000, 1))
    with Looking(page) as viewer:
        viewer.until("history")
        page.write(step(chunk("imu", shake), chunk("audio", noise, 16000.0)))
        page.write(decided(1))
        sensors = viewer.until("sensors")["sensors"]
    imu, audio = sensors["imu"], sensors["audio"]
    assert len(imu["envelope"]) == len(audio["envelope"]) == 8
    assert imu["envelope"][0][0] == 9.0
    assert imu["envelope"][-1][1] == 10.0
    assert all(low == high == 0.5 for low, high in audio["envelope"])
    assert (imu["rate_hz"], audio["rate_hz"]) == (50.0, 16000.0)
    assert imu["device"] == "witmotion on /dev/ttyUSB0"
    assert imu["clock"] == {"drift_ppm": 12.0, "jitter_ms": 0.5, "uncertainty_ms": 0.1}


def test_of_pictures_and_of_tokens_nothing_is_shown() -> None:
    about = replace(ABOUT, sensors={"video": "v4l2://0"}, kinds={"video": "video"}, camera={"state": "open", "by": []})
    page = page_at(about=about)
    with Looking(page) as viewer:
        assert viewer.until("hello")["camera"] == {"state": "open", "by": []}
        page.write(step(chunk("video", np.full((2, 4, 4, 3), 200))))
        page.write(decided(1, video=LIVE))
        assert viewer.until("sensors")["sensors"]["video"]["envelope"] == []
    page.close()


def test_figures_that_are_no_numbers_do_not_reach_json(page: Page) -> None:
    odd = np.full((25, 6), np.nan)
    odd[3] = np.inf
    with Looking(page) as viewer:
        viewer.until("history")
        page.write(step(chunk("imu", odd)))
        page.write(decided(1))
        text = json.dumps(viewer.until("sensors"))
    assert "NaN" not in text
    assert "Infinity" not in text


def test_sensors_are_told_while_nothing_is_decided(page: Page) -> None:
    gone = SensorState("stale", 900.0, 0, "unplugged")
    with Looking(page) as viewer:
        viewer.until("history")
        page.write(Sensed({"imu": gone}))
        imu = viewer.until("sensors")["sensors"]["imu"]
    assert (imu["state"], imu["reason"]) == ("stale", "unplugged")
    assert "imu: stale: unplugged" in json.loads(ask(page, "/health")[2])["reasons"]


def test_programs_read_the_newest_decision_and_the_health(page: Page) -> None:
    assert ask(page, "/decision")[0] == 204
    status, _, body = ask(page, "/health")
    assert status == 503
    assert json.loads(body) == {"status": "unwell", "reasons": ["imu: not heard yet", "audio: not heard yet"]}
    page.write(decided(7))
    status, headers, body = ask(page, "/decision")
    assert (status, headers["content-type"]) == (200, "application/json")
    assert (json.loads(body)["t"], json.loads(body)["label"]) == (3.5, "walking")
    assert json.loads(body)["at"] > 1e9
    assert ask(page, "/health")[::2] == (200, '{"status": "ok", "reasons": []}\n')
    page.write(decided(8, imu=LIVE, audio=SensorState("doubted", 1.0, 0, "very quiet")))
    assert json.loads(ask(page, "/health")[2])["reasons"] == ["audio: doubted: very quiet"]


def test_prometheus_reads_decisions_latency_sensors_and_losses(page: Page) -> None:
    with Looking(page) as viewer:
        viewer.until("history")
        page.write(decided(1))
        page.write(decided(2, "still"))
        ask(page, "/nowhere")
        status, headers, body = ask(page, "/metrics")
    assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    lines = set(body.splitlines())
    assert lines >= {
        'mmg_decisions_total{label="walking"} 1.0',
        'mmg_decisions_total{label="unknown"} 0.0',
        'mmg_hop_latency_seconds_bucket{le="0.02"} 0.0',
        'mmg_hop_latency_seconds_bucket{le="0.03"} 2.0',
        "mmg_hop_latency_seconds_count 2.0",
        "mmg_hop_latency_seconds_sum 0.043",
        'mmg_sensor_state{sensor="imu",state="live"} 1.0',
        'mmg_sensor_state{sensor="imu",state="stale"} 0.0',
        'mmg_sensor_dropped_samples_total{sensor="imu"} 3.0',
        'mmg_sensor_clock_drift_ppm{sensor="audio"} 12.0',
        "mmg_page_viewers 1.0",
        "mmg_page_refused_requests_total 1.0",
        "mmg_unwell 0.0",
    }


def test_what_the_other_sinks_lost_is_told() -> None:
    class Counts:
        name, written, lost = "jsonl:day.jsonl", 9, 4

    page = page_at()
    page._hub._state.about.sinks.append(Counts())
    with Looking(page) as viewer:
        viewer.until("history")
        page._hub.send_vitals()
        assert viewer.until("vitals")["lost"]["sinks"] == {"jsonl:day.jsonl": 4}
    assert 'mmg_sink_lost_events_total{sink="jsonl:day.jsonl"} 4.0' in ask(page, "/metrics")[2]
    page.close()


# --- those who look badly ------------------------------------------------------------------------------------------


def test_fifty_viewers_that_never_read_are_dropped_and_the_one_that_reads_gets_all(page: Page) -> None:
    box = Outbox(page, name="page")
    with ExitStack() as at_end:
        viewer = at_end.enter_context(Looking(page))
        viewer.until("history")
        for _ in range(50):
            at_end.callback(connect(page, EVENTS, held_bytes=4096).close)
        read: list[float] = []
        hop = waiting = 0
        while not (page._hub._state.viewers == 1 and page._hub._state.dropped == 50):
            assert hop < 2000, f"only {page._hub._state.dropped} were dropped"
            hop += 1
            box.put(decided(hop))
            read.append(viewer.until("decision")["t"])
            settle(page)
            waiting = max([waiting, *(len(one._waiting) for one in page._hub.viewers)])
        assert waiting <= MOST_WAITING
        assert read == [hop / 2 for hop in range(1, hop + 1)]
        assert (box.lost, ask(page, "/health")[0]) == (0, 200)
    assert "mmg_page_dropped_viewers_total 50.0" in ask(page, "/metrics")[2]


@pytest.mark.parametrize(
    "rubbish",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP\r\n\r\n",
        b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n",
        b"GET /?a=%zz HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /do/mark HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /do/mark HTTP/1.1\r\nHost: localhost\r\nContent-Length: many\r\n\r\n",
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X-Header: 12345678901234567890\r\n" * 1000 + b"\r\n",
        bytes(range(256)) * 40 + b"\n\n",
    ],
)
def test_rubbish_is_answered_with_a_refusal_and_the_next_one_is_served(
    page: Page, rubbish: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    bare = connect(page)
    with bare:
        try:
            bare.sendall(rubbish)
            bare.shutdown(socket.SHUT_WR)
        except ConnectionError:
            pass  # it has read enough
        answer = everything(bare)
    # Where more comes than is read, the answer may be lost on its way.
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert ask(page, "/")[0] == 200
    assert page._hub._state.refused == 1
    assert capfd.readouterr().err == ""


ASKED = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    EVENTS,
    b"POST /do/mark HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nCookie: a=b; c\r\nAuthorization: Bearer\r\n\r\n",
    b"HEAD /events HTTP/1.0\r\nHost: [::1]:8\r\n\r\n",
    b"OPTIONS /health HTTP/1.1\r\nHost: localhost\r\nOrigin: x\r\n\r\n",
    b"GET /?token=%41 HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site\r\n\r\n",
)


def bent(request: bytes, chance: random.Random) -> bytes:
    """A request with bytes changed, left out, put in or repeated."""
    made = bytearray(request)
    for _ in range(chance.choice((1, 1, 2, 5))):
        place = chance.randrange(len(made) + 1)
        change = chance.randrange(4)
        if change == 0:
            made[place : place + 1] = chance.randbytes(1)
        elif change == 1:
            del made[place : place + chance.randrange(10)]
        elif change == 2:
            made[place:place] = chance.randbytes(chance.randrange(20))
        else:
            made += made[place:] * chance.choice((1, 2, 50))
    return bytes(made)


@pytest.mark.fuzz
def test_requests_bent_at_random_leave_nothing_behind(page: Page, capfd: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(0)
    for hop in range(times(200)):
        with connect(page) as bare:
            try:
                bare.sendall(bent(chance.choice(ASKED), chance))
                bare.shutdown(socket.SHUT_WR)
                if chance.random() < 0.8:
                    bare.recv(1)
            except ConnectionError:
                pass  # it has read enough
        page.write(decided(hop))
    assert ask(page, "/")[0] == 200
    while page._connections.open:
        page.write(decided(0))
        settle(page)
    assert (page._hub._state.viewers, page._routes._viewers) == (0, {})
    assert capfd.readouterr().err == ""


def test_a_line_may_fill_the_head_as_the_cookies_of_other_ports_do(page: Page) -> None:
    assert ask(page, "/", headers={"Cookie": "other=" + "a" * 7900})[0] == 200
    assert ask(page, "/", headers={"Cookie": "other=" + "a" * 8192})[0] == 400


def test_a_body_that_is_too_large_is_not_read(page: Page) -> None:
    head = (
        b"POST /do/mark HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 999999\r\n\r\n"
    )
    with connect(page, head) as bare:
        assert everything(bare).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("body", ["{", "[" * 15_000])
def test_an_order_that_is_no_json_is_refused(body: str, capfd: pytest.CaptureFixture[str]) -> None:
    page = page_at(about=replace(ABOUT, controls=Controls(can_record=True, can_pause=True)))
    status, _, told = ask(page, "/do/mark", method="POST", headers={"Content-Type": "application/json"}, body=body)
    page.close()
    assert (status, json.loads(told)) == (400, {"error": "the body is no JSON"})
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\n"])
def test_who_does_not_finish_asking_is_sent_away(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "ASKING_S", 0.05)
    page = page_at()
    with connect(page, sent) as bare:
        assert everything(bare) == b""
    page.close()


def test_who_comes_just_as_the_page_ends_leaves_nothing_open(page: Page) -> None:
    assert ask(page, "/")[0] == 200  # it serves
    holds, held = threading.Event(), threading.Event()
    page._loop.call_soon_threadsafe(holds.set)
    page._loop.call_soon_threadsafe(held.wait, PATIENCE_S)
    holds.wait(PATIENCE_S)
    with connect(page, ASKED[0]) as bare:
        page._loop.call_soon_threadsafe(page._ended.set)  # seen in the same turn of the loop as the connection
        held.set()
        page.close()
        assert everything(bare).startswith(b"HTTP/1.1 200 OK\r\n")
    gc.collect()  # a transport that is open would be told of as it goes: a warning, and here those are errors


def test_beyond_the_limit_of_connections_the_next_one_is_told_to_come_again(page: Page) -> None:
    with ExitStack() as at_end:
        for _ in range(MOST_OPEN):
            at_end.enter_context(Looking(page))
        with connect(page, EVENTS) as bare:
            assert everything(bare).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    while page._connections.open:
        settle(page)
    assert ask(page, "/")[0] == 200


@pytest.mark.parametrize(("hop_s", "most"), [(0.01, 3200), (0.5, 64), (10.0, 64)])
def test_a_viewer_may_be_behind_for_seconds_however_short_the_hops_are(hop_s: float, most: int) -> None:
    page = page_at(about=replace(ABOUT, hop_s=hop_s))
    viewer, _ = page._hub.join(lambda: None)
    assert viewer.put([b""] * most)
    assert not viewer.put([b""])
    page._hub.leave(viewer)
    page.close()


def test_whoever_connects_and_asks_nothing_shuts_nobody_out(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "TOGETHER_S", 0.05)
    with ExitStack() as at_end:
        silent = [at_end.enter_context(connect(page)) for _ in range(2 * MOST_TOGETHER)]
        viewer = at_end.enter_context(Looking(page))
        assert ask(page, "/")[0] == 200
        assert [everything(one) for one in silent[:-MOST_ASKING]] == [b""] * (2 * MOST_TOGETHER - MOST_ASKING)
        assert page._connections.open <= MOST_ASKING + 2
        page.write(decided(1))
        assert viewer.until("decision")["t"] == 0.5
    assert page._hub._state.refused >= 2 * MOST_TOGETHER - MOST_ASKING


def test_whoever_has_no_token_shuts_nobody_out() -> None:
    page = page_at("http://127.0.0.1:0?host=wrist.example")
    token = page._routes._access.token
    with ExitStack() as at_end:
        for _ in range(2 * MOST_TOGETHER):
            at_end.enter_context(connect(page, EVENTS))
        assert ask(page, "/decision", headers={"Authorization": f"Bearer {token}"})[0] == 204
    page.close()


def test_many_who_ask_at_once_are_all_answered(page: Page) -> None:
    async def wait_for_all() -> None:
        came.wait(10)  # the page's thread looks at none until all have asked

    came = threading.Event()
    waiting = asyncio.run_coroutine_threadsafe(wait_for_all(), page._loop)
    with ExitStack() as at_end:
        asking = [at_end.enter_context(connect(page, ASKED[0])) for _ in range(3 * MOST_ASKING)]
        came.set()
        waiting.result(10)
        assert all(everything(one).startswith(b"HTTP/1.1 200 OK\r\n") for one in asking)


def test_a_viewer_that_leaves_in_the_middle_is_forgotten(page: Page) -> None:
    with Looking(page) as viewer:
        viewer.until("history")
        assert page._hub._state.viewers == 1
    hop = 0
    while page._hub._state.viewers:
        hop += 1
        assert hop < 10_000
        page.write(decided(hop))
        settle(page)
    assert page._hub._state.dropped == 0


def test_the_end_waits_for_no_viewer(page: Page) -> None:
    with connect(page, EVENTS, held_bytes=4096), connect(page), Looking(page) as viewer:
        viewer.until("history")
        for hop in range(1, 21):
            page.write(decided(hop))
        page.close()
        assert not page._thread.is_alive()
        assert [data for kind, data in viewer if kind == "bye"] == [{"why": "run ended"}]
    page.close()  # twice is fine


def test_history_is_bounded_to_ten_minutes_whatever_the_pace() -> None:
    page = page_at(about=replace(ABOUT, is_live=False))
    for hop in range(1, 5001):
        page.write(decided(hop))
    with Looking(page) as viewer:
        history = viewer.until("history")["decisions"]
    assert len(history) == 1200
    assert history[-1]["t"] == 2500.0
    page.close()


def test_a_run_of_recordings_waits_for_who_reads(page: Page) -> None:
    page._is_live = False
    with Looking(page) as viewer:
        viewer.until("history")
        writing = threading.Thread(target=lambda: deque(map(page.write, map(decided, range(1, 501)))))
        writing.start()
        assert [viewer.until("decision")["t"] for _ in range(500)] == [hop / 2 for hop in range(1, 501)]
        writing.join()


def test_of_a_run_that_takes_no_orders_nothing_can_be_asked(page: Page) -> None:
    orders = {"mark": {"label": "walk"}, "record": {"on": True}, "pause": {"on": True}, "teach": {"name": "knock"}}
    for name, order in orders.items():
        status, told = post(page, f"/do/{name}", order)
        assert (status, list(told)) == (409, ["error"])
    assert post(page, "/do/dance", {})[0] == 404


def test_the_head_of_an_answer_can_be_asked_for_alone(page: Page) -> None:
    for path in ("/", "/events", "/health"):
        assert ask(page, path, method="HEAD")[2] == ""
    assert page._hub._state.viewers == 0


def test_who_comes_while_descriptors_lack_waits_and_nothing_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("asyncio.constants.ACCEPT_RETRY_DELAY", 0.01)
    came = asyncio.Event()

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        writer.close()

    async def be_short() -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            server = await connections.start_serving(serve, listening)
            with socket.create_connection(listening.getsockname()):
                os.close(lowest := os.dup(0))
                resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
                try:
                    for _ in range(5):
                        await asyncio.sleep(0)
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                assert not came.is_set()
                await asyncio.wait_for(came.wait(), PATIENCE_S)
            server.close()

    asyncio.run(be_short())
    assert caplog.records == []
