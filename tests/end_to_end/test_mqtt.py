"""Decisions at a real broker: mosquitto on a free port of 127.0.0.1, which is killed, stopped and started again."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from broker_runs import (
    FIRST_ANSWER_S,
    ODD,
    OF_ONE_DEVICE,
    PATIENCE_S,
    decided,
    is_state,
    is_status,
    need_broker,
    problem,
    retained,
    wearable,
)
from forked import mmg_run
from home_assistant import problems_of
from mmg.bundle import Bundle
from mmg.errors import SinkError
from mmg.sinks.event import Notice, Sensed
from mmg.sinks.mqtt import sink as mqtt
from mmg.sinks.outbox import CLOSING_S, Outbox
from mmg.types import SensorState
from mmg_tools.attached import AttachedRun
from mmg_tools.broker import Broker, Listener, Message

need_broker()


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FIRST_ANSWER_S, PATIENCE_S)


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
    assert left.keys() == {"about", "config", "state", "status"}
    with Bundle.open("starter") as bundle:
        assert (left["about"].values["bundle"], left["about"].values["digest"]) == ("starter", bundle.digest)
    assert "temperature_c" in left["state"].values
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


@pytest.fixture
def soon_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wearable without decisions counts as silent after 0.2 s."""
    monkeypatch.setattr(mqtt, "LEAST_SILENCE_S", 0.2)
    monkeypatch.setattr(mqtt, "SILENT_HOPS", 0)
    monkeypatch.setattr(mqtt, "LOOK_EVERY_S", 0.02)


@pytest.mark.usefixtures("soon_silent")
def test_the_last_will_of_a_run_that_lost_its_power_does_not_leave_the_next_one_offline(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def text(of: str) -> bytes:
        return len(of).to_bytes(2, "big") + of.encode()

    will = 0b00100110  # that is retained, in a session of its own (MQTT 3.1.1, section 3.1.2.3)
    connect = text("MQTT") + bytes((4, will, 0, 30)) + text("before") + text("wrist/status") + text("offline")
    with socket.create_connection(("127.0.0.1", broker.port), PATIENCE_S) as before, Listener(broker.port) as listener:
        before.sendall(bytes((0x10, len(connect))) + connect)
        assert before.recv(4) == b"\x20\x02\0\0"
        with wearable(broker.port):
            listener.wait_for(is_status("online"))
            before.close()
            listener.wait_for(is_status("offline"))
            heard = len(listener.messages)
            monkeypatch.setattr(mqtt, "OUTLIVED_S", 0.0)
            listener.wait_for(is_status("online"), after=heard)
            assert retained(broker.port)["status"].text == "online"


def test_nothing_is_said_to_be_done_before_the_first_decision_nor_once_decisions_stop(broker: Broker) -> None:
    with Listener(broker.port) as listener, wearable(broker.port) as sink:
        listener.wait_for(is_state(None))
        sink.write(decided("walking"))
        listener.wait_for(is_state("walking"))
        listener.wait_for(is_state(None), after=len(listener.messages) - 1)
        sink.write(decided("walking", 9))
        listener.wait_for(is_state("walking"), after=len(listener.messages) - 1)
        # Someone who walks on after a silence has begun to walk as far as anyone knows.
        assert [one.values["from"] for one in listener.of("wrist/event")] == [None, None]


@pytest.mark.usefixtures("soon_silent")
def test_why_a_sensor_gives_nothing_is_told_while_nothing_is_decided_and_not_left_standing(broker: Broker) -> None:
    def is_sensor(state: str | None, reason: str) -> Callable[[Message], bool]:
        said = {"label": None, "sensors": {"imu": {"state": state, "reason": reason}}}
        return lambda message: message.topic == "wrist/state" and said.items() <= message.values.items()

    with Listener(broker.port) as listener, wearable(broker.port) as sink:
        listener.wait_for(is_sensor(None, "nothing is decided"))
        sink.write(Sensed({"imu": SensorState("absent", 0.0, 0, "there is no such device")}))
        listener.wait_for(is_sensor("absent", "there is no such device"))
        listener.wait_for(is_sensor(None, "nothing is decided"), after=len(listener.messages) - 1)


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


def test_an_activity_that_is_taught_meanwhile_is_announced_before_it_is_the_state(broker: Broker) -> None:
    with Listener(broker.port) as listener, wearable(broker.port) as sink:
        sink.write(decided("walking"))
        sink.write(decided("kneading", 2))
        listener.wait_for(is_state("kneading"))
    said = listener.messages
    configs = [place for place, one in enumerate(said) if one.topic.endswith("/config")]
    [state, *_] = [place for place, one in enumerate(said) if is_state("kneading")(one)]
    known = ["kneading" in said[place].values["cmps"]["activity"]["options"] for place in configs]
    assert known == [False, True]
    assert configs[-1] < state


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


def test_a_message_of_any_size_takes_no_memory_and_decisions_go_on(broker: Broker) -> None:
    with wearable(broker.port) as sink:
        connection, problems, fail = sink._connection, list[str](), sink._connection._fail

        def note(problem: str) -> None:
            problems.append(problem)
            fail(problem)

        connection._fail = note  # type: ignore[method-assign]
        with Listener(broker.port, topics="wrist/#") as listener:
            listener.wait_for(is_status("online"))
            before = len(listener.messages)
            flood = "x" * (64 << 20)
            listener.say("homeassistant/status", flood)
            listener.wait_for(is_status("online"), PATIENCE_S, after=before)
            listener.say("homeassistant/status", flood)
            sink.write(decided("walking"))
            listener.wait_for(is_state("walking"))
            assert connection.is_up
        broker.kill()
        broker.start()
        with Listener(broker.port, topics="wrist/#") as listener:
            listener.wait_for(is_status("online"), PATIENCE_S)
    assert problems[0] == "too large a message came on homeassistant/status, which is heard no more"
    assert problems[1] == "the connection is lost"


# --- the end -------------------------------------------------------------------------------------------------------


OVERTAKING_S = 0.5
"""So long a connection that has just announced itself lets its end overtake it, which must not come about."""


def test_a_wearable_that_ends_while_it_connects_does_not_stay_online(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from paho.mqtt.client import Client

    announced, overtaken = threading.Event(), threading.Event()
    announce, disconnect = mqtt.MqttSink._announce, Client.disconnect

    def announce_and_linger(sink: mqtt.MqttSink) -> None:
        announce(sink)
        announced.set()
        overtaken.wait(OVERTAKING_S)

    def disconnect_and_tell(client: Client) -> None:
        disconnect(client)
        overtaken.set()

    monkeypatch.setattr(mqtt.MqttSink, "_announce", announce_and_linger)
    # What Home Assistant's topic is answered with may be unread at the end: that resets the connection, and the will is
    # told after all.
    with Listener(broker.port) as listener:
        with monkeypatch.context() as patch, wearable(broker.port, "&discovery=off"):
            assert announced.wait(PATIENCE_S)
            patch.setattr(Client, "disconnect", disconnect_and_tell)
        listener.wait_for(is_status("offline"))
    assert retained(broker.port)["status"].text == "offline"


def test_a_wearable_that_ends_while_its_broker_starts_anew_says_its_last_words(broker: Broker) -> None:
    asked = threading.Event()
    with wearable(broker.port) as sink:
        with Listener(broker.port) as listener:
            listener.wait_for(is_status("online"))
        broker.kill()
        sink._connection._client.on_socket_register_write = lambda *_: asked.set()
        broker.start()
        broker.signal(signal.SIGSTOP)
        assert asked.wait(PATIENCE_S)  # it asks to be connected, and nobody answers
    broker.signal(signal.SIGCONT)
    with Listener(broker.port) as listener:
        listener.wait_for(is_status("offline"))


def test_home_assistant_that_starts_at_a_wearables_end_is_not_told_that_it_is_online(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from paho.mqtt.client import Client

    listener, heard, disconnect = Listener(broker.port), threading.Event(), Client.disconnect

    def hear_and_disconnect(client: Client) -> None:
        hear: Any = client.on_message

        def hear_and_tell(*message: Any) -> None:
            hear(*message)
            heard.set()

        client.on_message = hear_and_tell
        listener.say("homeassistant/status", "online")
        heard.wait(PATIENCE_S)
        disconnect(client)

    with listener:
        with monkeypatch.context() as patch, wearable(broker.port):
            listener.wait_for(is_status("online"))
            patch.setattr(Client, "disconnect", hear_and_disconnect)
        assert heard.is_set()
        listener.wait_for(is_status("offline"))
    assert retained(broker.port)["status"].text == "offline"


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
        assert time.monotonic() - begin_s < 2
        broker.signal(signal.SIGCONT)
