"""Decisions at a real broker: mosquitto on a free port of 127.0.0.1, which is killed, stopped and started again."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from certificates import Authority
from home_assistant import problems_of
from mmg.errors import SinkError
from mmg.sinks.event import About, Decided, Notice
from mmg.sinks.mqtt import sink as mqtt
from mmg.sinks.mqtt.sink import MqttSink, open_mqtt
from mmg.sinks.outbox import CLOSING_S, Outbox
from mmg.sinks.places import check_places
from mmg.types import Decision, SensorState
from mmg_tools.attached import AttachedRun
from mmg_tools.broker import MOSQUITTO, Broker, Listener, Message
from recordings import mmg_run

if importlib.util.find_spec("paho") is None:
    pytest.skip("paho-mqtt is not installed: it is in the extra mqtt", allow_module_level=True)
if MOSQUITTO is None:
    pytest.skip("mosquitto is not installed: sudo apt-get install mosquitto", allow_module_level=True)

# paho leaves the socket of a handshake that failed to Python to close.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")

client = importlib.import_module("mmg.sinks.mqtt.client")
ODD = 'mein "Tanz"/#+ ✓ {{ x }}'
ABOUT = About("starter", ("still", "walking", ODD), {"imu": "serial:///dev/x"}, 0.5)
PATIENCE_S = 20.0
OF_ONE_DEVICE = re.compile(
    "wrist/(decision|event|notice|state|status)|homeassistant/device/mmg_wrist_[0-9a-f]{8}/config"
)


def decided(label: str, hop: int = 1) -> Decided:
    sensors = {"imu": SensorState("live", 3.0, 0)}
    return Decided(Decision(hop, hop / 2, label, 0.9, {label: 0.9}, ("imu",), sensors, ()))


def is_state(label: str | None) -> Callable[[Message], bool]:
    return lambda message: message.topic == "wrist/state" and message.values["label"] == label


def is_status(text: str) -> Callable[[Message], bool]:
    return lambda message: message.topic == "wrist/status" and message.text == text


@contextmanager
def wearable(
    port: int, options: str = "", *, scheme: str = "mqtt", told: list[str] | None = None
) -> Iterator[MqttSink]:
    """A sink at ``localhost``, as a run opens it."""
    [url] = check_places([f"{scheme}://localhost:{port}/wrist?retry=1{options}"])
    sink = open_mqtt(url, ABOUT, (told if told is not None else []).append)
    try:
        yield sink
    finally:
        sink.close()


def problem(sink: MqttSink) -> str:
    """Why a decision is lost."""
    with pytest.raises(SinkError) as lost:
        sink.write(decided("walking"))
    return lost.value.problem


def retained(port: int) -> dict[str, Message]:
    """What a broker tells of the wrist to one who comes later."""
    with Listener(port) as late:
        late.wait_for(lambda message: message.topic == "wrist/status")
        return {message.topic.rpartition("/")[2]: message for message in late.messages if message.retained}


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may take its time to connect."""
    monkeypatch.setattr(client, "FIRST_ANSWER_S", PATIENCE_S)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path) as running:
        yield running


# --- a run ---------------------------------------------------------------------------------------------------------


def test_a_run_tells_a_broker_each_decision_each_change_and_what_holds_at_its_end(broker: Broker) -> None:
    with Listener(broker.port) as listener:
        to = ("--to", f"mqtt://127.0.0.1:{broker.port}/wrist")
        done = mmg_run("--demo", "--duration", "10", "--format", "jsonl", *to)
        listener.wait_for(is_status("offline"))
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert [message.text for message in listener.of("wrist/decision")] == lines
        labels = [None, *(message.values["label"] for message in listener.of("wrist/decision"))]
        changes = [[before, after] for before, after in pairwise(labels) if before != after]
        assert [[one.values["from"], one.values["to"]] for one in listener.of("wrist/event")] == changes
        assert [message.text for message in listener.of("wrist/status")] == ["online", "offline"]
        assert all(OF_ONE_DEVICE.fullmatch(message.topic) for message in listener.messages)
        assert "lost" not in done.stderr
    left = retained(broker.port)
    assert left.keys() == {"config", "state", "status"}
    assert left["state"].values["t"] == 10.0
    assert left["state"].values["label"] == labels[-1]
    assert left["status"].text == "offline"
    assert problems_of(left["config"].topic, left["config"].values) == []


def test_a_run_without_its_broker_loses_the_lines_and_not_one_decision() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        to = f"mqtt://127.0.0.1:{free.getsockname()[1]}/wrist"
    done = mmg_run("--demo", "--duration", "5", "--format", "jsonl", "--to", to)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 10
    told = [line for line in done.stderr.splitlines() if to in line]
    why = "connection refused: no broker listens there"
    assert told == [
        f"mmg-run: {to}: {why}: its lines are lost until that is over; decisions go on",
        f"mmg-run: {to}: 10 of 10 lines lost ({why})",
    ]


def test_a_url_that_cannot_be_ends_a_run_before_it_begins() -> None:
    done = mmg_run("--demo", "--to", "mqtt://broker/a/+/b")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1


def test_a_broker_that_is_killed_and_started_again_knows_all_again_and_no_decision_is_lost(broker: Broker) -> None:
    to = f"mqtt://127.0.0.1:{broker.port}/wrist?retry=1"
    with AttachedRun({}, {}, ["--demo", "--pace", "realtime", "--to", to]) as run:
        assert run.wait_for(lambda: len(run.decisions) > 1, PATIENCE_S), run.notes
        before = retained(broker.port)
        broker.kill()
        lost = f"{to}: the connection is lost: its lines are lost until that is over; decisions go on"
        assert run.wait_for(lambda: any(lost in note for note in run.notes), PATIENCE_S), run.notes
        broker.start()
        with Listener(broker.port) as listener:
            listener.wait_for(is_status("online"))
            assert listener.of(before["config"].topic)[0].text == before["config"].text
            assert listener.of("wrist/state")[0].values["label"] == run.decisions[-1].line["label"]
            again = f"{to}: takes lines again; "
            assert run.wait_for(lambda: any(again in note for note in run.notes), PATIENCE_S), run.notes
            assert run.stop()[0] == 0
            listener.wait_for(is_status("offline"))
            heard = len(listener.of("wrist/decision"))
        ended = [note for note in run.notes if "lines lost" in note]
        times = [one.t_s for one in run.decisions]
    assert len(ended) == 1
    assert times == [(hop + 1) / 2 for hop in range(len(times))]
    assert 0 < heard < len(times)
    assert not [note for note in run.notes if "Traceback" in note]


def test_a_run_that_dies_is_told_offline_by_the_broker(broker: Broker) -> None:
    with Listener(broker.port) as listener:
        to = f"mqtt://127.0.0.1:{broker.port}/wrist"
        with AttachedRun({}, {}, ["--demo", "--pace", "realtime", "--to", to]) as run:
            listener.wait_for(is_status("online"), PATIENCE_S)
            os.kill(run.pid, signal.SIGKILL)
            listener.wait_for(is_status("offline"))


# --- what the broker is told ---------------------------------------------------------------------------------------


def test_nothing_is_said_to_be_done_before_the_first_decision_nor_once_decisions_stop(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "LEAST_SILENCE_S", 0.2)
    monkeypatch.setattr(mqtt, "SILENT_HOPS", 0)
    monkeypatch.setattr(mqtt, "LOOK_EVERY_S", 0.02)
    with Listener(broker.port) as listener, wearable(broker.port) as sink:
        listener.wait_for(is_state(None))
        sink.write(decided("walking"))
        listener.wait_for(is_state("walking"))
        listener.wait_for(is_state(None), after=len(listener.messages) - 1)
        sink.write(decided("walking", 9))
        listener.wait_for(is_state("walking"), after=len(listener.messages) - 1)
        # Someone who walks on after a silence has begun to walk as far as anyone knows.
        assert [one.values["from"] for one in listener.of("wrist/event")] == [None, None]


def test_an_old_state_at_the_broker_is_taken_back_by_a_new_run(broker: Broker) -> None:
    with wearable(broker.port) as sink:
        sink.write(decided("walking"))
    assert retained(broker.port)["state"].values["label"] == "walking"
    with Listener(broker.port) as listener, wearable(broker.port):
        listener.wait_for(is_status("online"))
    assert retained(broker.port)["state"].values["label"] is None


def test_odd_labels_and_notices_are_in_the_text_and_never_in_a_topic(broker: Broker) -> None:
    with Listener(broker.port) as listener, wearable(broker.port) as sink:
        sink.write(decided(ODD))
        sink.write(Notice("imu: unplugged ✓\n"))
        listener.wait_for(lambda message: message.topic == "wrist/notice")
        assert listener.of("wrist/notice")[0].values["text"] == "imu: unplugged ✓\n"
        assert listener.of("wrist/event")[0].values["to"] == ODD
        [config] = [message for message in listener.messages if message.topic.endswith("/config")]
        assert ODD in config.values["cmps"]["activity"]["options"]
        assert all(OF_ONE_DEVICE.fullmatch(message.topic) for message in listener.messages)
    assert retained(broker.port)["state"].values["label"] == ODD


def test_home_assistant_that_starts_again_is_told_all_again(broker: Broker) -> None:
    with Listener(broker.port) as listener, wearable(broker.port, "&discovery=home/ha") as sink:
        sink.write(decided("walking"))
        listener.wait_for(is_state("walking"))
        for text, announced in (("offline", 1), ("online", 2)):
            before = len(listener.messages)
            listener.say("home/ha/status", text)
            if text == "online":
                listener.wait_for(is_status("online"), after=before)
            sink.write(Notice(text))
            listener.wait_for(lambda one: one.topic == "wrist/notice", after=before)
            configs = [one for one in listener.messages if one.topic.startswith("home/ha/device/")]
            assert len(configs) == announced
        assert listener.of("wrist/state")[-1].values["label"] == "walking"


def test_home_assistant_is_not_told_where_that_is_off(broker: Broker) -> None:
    with Listener(broker.port) as listener, wearable(broker.port, "&discovery=off") as sink:
        sink.write(decided("walking"))
        listener.wait_for(is_state("walking"))
        assert not [message for message in listener.messages if message.topic.endswith("/config")]


# --- a broker that hangs -------------------------------------------------------------------------------------------


def test_a_broker_that_accepts_and_says_nothing_holds_up_neither_a_line_for_long_nor_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    with socket.create_server(("127.0.0.1", 0)) as mute:
        told: list[str] = []
        with wearable(mute.getsockname()[1]) as sink:
            box = Outbox(sink, name="broker", report=told.append)
            begin_s = time.monotonic()
            box.put(decided("walking"))
            box.put(decided("still"))
            box.close()
            assert time.monotonic() - begin_s < CLOSING_S
    assert told == [
        "broker: no answer yet: its lines are lost until that is over; decisions go on",
        "broker: 2 of 2 lines lost (no answer yet)",
    ]


def test_a_broker_that_freezes_holds_up_the_end_for_no_longer_than_a_run_waits(broker: Broker) -> None:
    with wearable(broker.port) as sink:
        sink.write(decided("walking"))
        broker.signal(signal.SIGSTOP)
        sink.write(decided("still"))
        begin_s = time.monotonic()
        sink.close()
        assert time.monotonic() - begin_s < CLOSING_S
        broker.signal(signal.SIGCONT)


def test_what_a_frozen_broker_does_not_take_is_counted_and_never_piles_up(broker: Broker) -> None:
    with wearable(broker.port) as sink:
        sink.write(decided("walking"))
        broker.signal(signal.SIGSTOP)
        large = replace(decided("walking"), truth="x" * 4_000_000)  # more than the kernel's buffers hold
        with pytest.raises(SinkError, match="the broker takes nothing"):  # noqa: PT012
            for _ in range(5):
                sink.write(large)
        begin_s = time.monotonic()
        for _ in range(100):
            assert problem(sink) == "the broker takes nothing"
        assert time.monotonic() - begin_s < 0.5
        broker.signal(signal.SIGCONT)


# --- who may ------------------------------------------------------------------------------------------------------


def test_a_password_opens_a_broker_that_refuses_others(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    maker = Path(MOSQUITTO or "").resolve().parent.parent / "bin" / "mosquitto_passwd"
    subprocess.run([maker, "-c", "-b", passwords, "anna", "secret"], check=True, capture_output=True)
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    for file, text in ((right, "anna\nsecret\n"), (wrong, "anna\nguess\n")):
        file.write_text(text)
        file.chmod(0o600)
    with Broker(tmp_path, ["allow_anonymous false", f"password_file {passwords}"]) as broker:
        with wearable(broker.port) as sink:
            assert problem(sink) == "the broker refuses: not authorized: give it ?credentials=FILE"
        with wearable(broker.port, f"&credentials={wrong}") as sink:
            assert problem(sink) == "the broker refuses: not authorized"
        with (
            Listener(broker.port, credentials=("anna", "secret")) as listener,
            wearable(broker.port, f"&credentials={right}") as sink,
        ):
            sink.write(decided("walking"))
            listener.wait_for(is_state("walking"))


@pytest.mark.parametrize(("host", "lines"), [("0.0.0.0", 1), ("127.0.0.1", 0)])
def test_a_password_that_leaves_the_machine_in_the_clear_is_told(
    broker: Broker, tmp_path: Path, host: str, lines: int
) -> None:
    login, told = tmp_path / "login", list[str]()
    login.write_text("anna\nsecret\n")
    login.chmod(0o600)
    [url] = check_places([f"mqtt://{host}:{broker.port}/wrist?credentials={login}"])
    open_mqtt(url, ABOUT, told.append).close()
    assert len(told) == lines
    assert all("in the clear: write mqtts:" in line and "secret" not in line for line in told)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (socket.gaierror(-2, "Name or service not known"), "the host is not found: Name or service not known"),
        (ConnectionRefusedError(111, "Connection refused"), "connection refused: no broker listens there"),
        (TimeoutError("timed out"), "no answer in time"),
        (OSError(113, "No route to host"), "No route to host"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] odd"), "TLS fails ([SSL: WRONG_VERSION_NUMBER] odd)"),
        (OSError("odd"), "odd"),
    ],
)
def test_why_there_is_no_connection_is_told_in_a_few_words(error: OSError, told: str) -> None:
    assert client.problem_of(error).startswith(told)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


def tls_broker(folder: Path, authority: Authority, host: str, *lines: str) -> Broker:
    certificate, key = authority.sign(host)
    return Broker(folder, ["allow_anonymous true", f"certfile {certificate}", f"keyfile {key}", *lines])


def test_tls_is_verified_by_the_authority_that_the_url_names(tmp_path: Path, authority: Authority) -> None:
    trusted = f"&ca={authority.certificate}"
    with tls_broker(tmp_path, authority, "localhost") as broker:
        with wearable(broker.port, scheme="mqtts") as sink:
            why = problem(sink)
            assert why.startswith("its certificate is refused: ")
            assert why.endswith(": give its authority's with ?ca=FILE")
        with wearable(broker.port) as sink:
            assert problem(sink) == "the connection is closed without an answer: does it want mqtts:?"
        context = ssl.create_default_context(cafile=authority.certificate)
        with Listener(broker.port, tls=context) as listener, wearable(broker.port, trusted, scheme="mqtts") as sink:
            sink.write(decided("walking"))
            listener.wait_for(is_state("walking"))


def test_a_certificate_for_another_host_is_refused(tmp_path: Path, authority: Authority) -> None:
    with (
        tls_broker(tmp_path, authority, "elsewhere") as broker,
        wearable(broker.port, f"&ca={authority.certificate}", scheme="mqtts") as sink,
    ):
        why = problem(sink)
    assert why.startswith("its certificate is refused: Hostname mismatch")
    assert "ca=FILE" not in why


def test_tls_at_a_port_without_it_is_told(broker: Broker, authority: Authority) -> None:
    with wearable(broker.port, f"&ca={authority.certificate}", scheme="mqtts") as sink:
        assert problem(sink).startswith(("TLS fails (", "Connection reset"))


def test_a_broker_that_wants_a_certificate_is_given_the_urls(tmp_path: Path, authority: Authority) -> None:
    trusted = f"&ca={authority.certificate}"
    wants = (f"cafile {authority.certificate}", "require_certificate true")
    certificate, key = authority.sign("elsewhere")
    with tls_broker(tmp_path, authority, "localhost", *wants) as broker:
        with wearable(broker.port, trusted, scheme="mqtts") as sink:
            assert problem(sink) == "the connection is closed without an answer: does it want a certificate of yours?"
        with wearable(broker.port, f"{trusted}&cert={certificate}&key={key}", scheme="mqtts") as sink:
            sink.write(decided("walking"))


def test_a_key_with_a_password_is_refused_and_asks_nobody(tmp_path: Path, authority: Authority) -> None:
    certificate, key = authority.sign("elsewhere")
    locked = tmp_path / "locked.key"
    command = ["openssl", "pkcs8", "-topk8", "-in", str(key), "-out", str(locked), "-passout", "pass:secret"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    to = f"mqtts://localhost/wrist?cert={certificate}&key={locked}"
    done = mmg_run("--demo", "--duration", "1", "--to", to)
    assert done.returncode == 2
    assert done.stderr == f"mmg-run: --to {to}: the key has a password: store it without, readable only by you\n"


def test_a_key_of_another_certificate_is_refused(authority: Authority) -> None:
    (certificate, _), (_, key) = authority.sign("elsewhere"), authority.sign("localhost")
    done = mmg_run("--demo", "--duration", "1", "--to", f"mqtts://localhost/wrist?cert={certificate}&key={key}")
    assert done.returncode == 2
    assert done.stderr.endswith(f"{certificate} with {key}: the key belongs to another certificate\n")
