"""A wearable at a broker, in a test's own process, and what the broker is told of it."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from mmg.errors import SinkError
from mmg.sinks.event import About, Decided
from mmg.sinks.mqtt.sink import MqttSink, open_mqtt
from mmg.sinks.places import check_places
from mmg.types import Decision, SensorState
from mmg_tools.broker import MOSQUITTO, Listener, Message

ODD = 'mein "Tanz"/#+ ✓ {{ x }}'
ABOUT = About("starter", ("still", "walking", ODD), {"imu": "serial:///dev/x"}, 0.5)
PATIENCE_S = 20.0
FIRST_ANSWER_S = "mmg.sinks.mqtt.client.FIRST_ANSWER_S"
"""For monkeypatch: on a busy machine a connection may take longer than a run waits."""
OF_ONE_DEVICE = re.compile(
    "wrist/(about|decision|event|notice|state|status)|homeassistant/device/mmg_wrist_[0-9a-f]{8}/config"
)


def need_broker() -> None:
    """For the top of a test module: it skips as a whole where no broker can be run and talked to."""
    if importlib.util.find_spec("paho") is None:
        pytest.skip("paho-mqtt is not installed: it is in the extra mqtt", allow_module_level=True)
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed: sudo apt-get install mosquitto", allow_module_level=True)


def decided(label: str, hop: int = 1) -> Decided:
    sensors = {"imu": SensorState("live", 3.0, 0)}
    return Decided(Decision(hop, hop / 2, label, 0.9, {label: 0.9}, ("imu",), sensors, ()))


def is_state(label: str | None) -> Callable[[Message], bool]:
    return lambda message: message.topic == "wrist/state" and message.values["label"] == label


def is_status(text: str) -> Callable[[Message], bool]:
    return lambda message: message.topic == "wrist/status" and message.text == text


@contextmanager
def wearable(port: int, options: str = "", *, scheme: str = "mqtt") -> Iterator[MqttSink]:
    """A sink at ``localhost``, as a run opens it."""
    [url] = check_places([f"{scheme}://localhost:{port}/wrist?retry=1{options}"])
    sink = open_mqtt(url, ABOUT, lambda _: None)
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
