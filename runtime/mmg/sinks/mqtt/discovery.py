"""How Home Assistant finds the wearable: one retained message that describes the device and its entities.

Keys and abbreviations: https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload and
https://www.home-assistant.io/integrations/sensor.mqtt/.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any, get_args

from mmg.sinks.event import About
from mmg.types import UNKNOWN
from mmg.types import State as SensorWord

LONGEST_ID = 40
NONE_OF_THESE = "none of these"
PERCENT = {"unit_of_measurement": "%", "state_class": "measurement", "suggested_display_precision": 0}


def device_id(topic: str) -> str:
    """Of the characters that Home Assistant allows, ``[a-zA-Z0-9_-]``; another one for every topic."""
    plain = re.sub("[^a-zA-Z0-9_-]+", "_", topic)[:LONGEST_ID]
    return f"mmg_{plain}_{sha256(topic.encode()).hexdigest()[:8]}"


def config_topic(prefix: str, topic: str) -> str:
    """Where Home Assistant looks for the device."""
    return f"{prefix}/device/{device_id(topic)}/config"


def device_config(about: About, topic: str, version: str) -> dict[str, Any]:
    """The device and its entities: the activity, how sure that is, each sensor's state, and how the run does."""
    name = device_id(topic)
    return {
        "dev": {"ids": [name], "name": topic.rpartition("/")[2], "mf": "mmg", "mdl": _model(about), "sw": version},
        "o": {"name": "mmg", "sw": version},
        "cmps": {key: {"unique_id": f"{name}_{key}", **entity} for key, entity in _entities(about).items()},
        "state_topic": f"{topic}/state",
        "availability": [
            {"topic": f"{topic}/status", "payload_available": "online", "payload_not_available": "offline"}
        ],
    }


def _model(about: About) -> str:
    return f"{about.bundle} on {about.board}" if about.board else about.bundle


def _entities(about: About) -> dict[str, dict[str, Any]]:
    # It strips what a template makes, and a state called "unknown" would be its own word for none at all.
    activities = list(dict.fromkeys(NONE_OF_THESE if label == UNKNOWN else label.strip() for label in about.labels))
    activity = f"'{NONE_OF_THESE}' if value_json.label == '{UNKNOWN}' else value_json.label"
    entities: dict[str, dict[str, Any]] = {
        "activity": _choice("Activity", activities, activity) | {"icon": "mdi:run"},
        "confidence": _sensor("Confidence", _percent("confidence")) | PERCENT,
    }
    if UNKNOWN in about.labels:
        entities["unknown"] = _sensor("None of these", _percent("unknown")) | PERCENT
    for modality in about.sensors:
        words = list(get_args(SensorWord))
        # The entity stays until Home Assistant starts anew: a later run may be without this sensor.
        state = f"(value_json['sensors']['{modality}'] | default({{}}))['state'] | default(none)"
        entities[f"sensor_{modality}"] = _choice(f"Sensor {modality}", words, state)
    diagnostic = {"entity_category": "diagnostic"}
    milliseconds = {"unit_of_measurement": "ms", "state_class": "measurement"}
    entities["latency"] = _sensor("Latency", "{{ value_json.latency_ms }}") | milliseconds | diagnostic
    total = {"state_class": "total_increasing"}
    entities["dropped"] = _sensor("Dropped samples", "{{ value_json.dropped }}") | total | diagnostic
    return entities


def _sensor(name: str, template: str) -> dict[str, Any]:
    return {"p": "sensor", "name": name, "value_template": template}


def _choice(name: str, words: list[str], value: str) -> dict[str, Any]:
    return _sensor(name, f"{{{{ {value} }}}}") | {"device_class": "enum", "options": words}


def _percent(key: str) -> str:
    """A null stays one: Home Assistant takes what Jinja makes of it, ``None``, as not known."""
    value = f"value_json.{key}"
    return f"{{{{ none if {value} is none else ({value} * 100) | round(1) }}}}"
