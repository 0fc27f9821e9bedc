"""What Home Assistant is told of the wearable: documented keys, and templates that fit the state."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from home_assistant import problems_of
from mmg.sinks.event import About
from mmg.sinks.mqtt.discovery import config_topic, device_config, device_id
from mmg.sinks.mqtt.state import nothing_decided, state_of
from mmg.types import UNKNOWN, Decision, SensorState

ABOUT = About(
    "starter", ("still", "walking", UNKNOWN, 'mein "Tanz"/#+ ✓'), {"imu": "a", "audio": "b"}, 0.5, "pi-zero-2"
)
AT = "2026-11-29T12:04:51.250Z"


def decision(label: str = "walking") -> Decision:
    scores = {label: 0.91234567, UNKNOWN: 0.05}
    sensors = {"imu": SensorState("live", 3.0, 2), "audio": SensorState("absent", 0.0, 5, "unplugged")}
    return Decision(3, 1.5, label, 0.91234567, scores, ("imu",), sensors, (), {"event_to_decision": 12.345})


@pytest.mark.parametrize("topic", ["wrist", "mmg/pi", "a b/ü✓/'\"", "x" * 300])
def test_the_device_is_described_in_documented_keys_alone(topic: str) -> None:
    config = json.loads(json.dumps(device_config(ABOUT, topic, "0.1.0")))
    assert problems_of(config_topic("homeassistant", topic), config) == []
    assert config["cmps"].keys() == {
        "activity",
        "confidence",
        "unknown",
        "sensor_imu",
        "sensor_audio",
        "latency",
        "dropped",
    }
    assert config["cmps"]["activity"]["options"] == ["still", "walking", "none of these", 'mein "Tanz"/#+ ✓']
    assert config["state_topic"] == f"{topic}/state"
    assert config["availability"][0]["topic"] == f"{topic}/status"


def test_the_check_of_keys_finds_what_is_misspelt_or_missing() -> None:
    topic = config_topic("homeassistant", "wrist")

    def told(**changed: object) -> list[str]:
        return problems_of(topic, device_config(ABOUT, "wrist", "0.1.0") | changed)

    sensor = {"p": "sensor", "unique_id": "x", "value_template": "{{ value }}"}
    assert told() == []
    assert problems_of("homeassistant/device/a b/config", device_config(ABOUT, "wrist", "1")) != []
    assert told(state_topc="x") == [" state_topc is not documented"]
    assert told(o={}) == ["no origin"]
    assert told(dev={"name": "wrist"}) == ["nothing identifies the device"]
    assert told(cmps={"a": sensor | {"units": "%"}}) == ["sensor units is not documented"]
    assert told(cmps={"a": sensor, "b": sensor}) == ["x is not unique"]
    assert told(cmps={"a": {"p": "sensor"}}) == ["a sensor has no unique_id"]
    assert told(cmps={"a": sensor | {"options": ["a"]}}) != []
    assert told(cmps={"a": sensor | {"entity_category": "config"}}) != []


def test_every_value_template_names_what_the_state_has() -> None:
    """Home Assistant renders them with Jinja: a path of names and keys into the state's JSON."""
    states = state_of(decision(), AT), nothing_decided(ABOUT.sensors, AT)
    for entity in device_config(ABOUT, "wrist", "0.1.0")["cmps"].values():
        for path in re.findall(r"value_json((?:\.\w+|\['\w+'\])+)", entity["value_template"]):
            for value in states:
                for key in re.findall(r"\w+", path):
                    assert key in value, entity
                    value = value[key]


def test_what_home_assistant_makes_of_the_templates_is_among_the_options() -> None:
    jinja = pytest.importorskip("jinja2")
    entities = device_config(ABOUT, "wrist", "0.1.0")["cmps"]

    def shown(state: object) -> dict[str, str]:
        rendered = {
            key: jinja.Template(one["value_template"]).render(value_json=state) for key, one in entities.items()
        }
        for key, one in entities.items():  # None is Home Assistant's word for a value that is not known
            assert "options" not in one or rendered[key] in (*one["options"], "None")
        return rendered

    for label in ABOUT.labels:
        assert shown(state_of(decision(label), AT))["activity"] == ("none of these" if label == UNKNOWN else label)
    assert shown(state_of(decision(), AT)) == {
        "activity": "walking",
        "confidence": "91.2",
        "unknown": "5.0",
        "sensor_imu": "live",
        "sensor_audio": "absent",
        "latency": "12.3",
        "dropped": "7",
    }
    assert set(shown(nothing_decided(ABOUT.sensors, AT)).values()) == {"None"}
    without_sound = replace(decision(), sensors={"imu": SensorState("live", 3.0, 2)})
    assert shown(state_of(without_sound, AT))["sensor_audio"] == "None"


def test_a_bundle_that_cannot_tell_the_unknown_has_no_such_entity() -> None:
    assert "unknown" not in device_config(replace(ABOUT, labels=("still",)), "wrist", "0.1.0")["cmps"]


def test_ids_are_plain_and_another_one_for_every_topic() -> None:
    topics = ["a/b", "a_b", "a b", "a/b/c", "ä", "ö", "x" * 300, "x" * 301]
    ids = [device_id(topic) for topic in topics]
    assert len({*ids}) == len(topics)
    assert all(re.fullmatch("[a-zA-Z0-9_-]{1,64}", one) for one in ids)
