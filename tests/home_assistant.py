"""What Home Assistant's documentation says of a device's discovery message, as a check of one.

The keys are those of https://www.home-assistant.io/integrations/mqtt/ ("Device discovery payload", "Supported
abbreviations", "Using availability topics") and https://www.home-assistant.io/integrations/sensor.mqtt/ ("Configuration
variables"). It takes unknown keys without a word, so that a misspelt one would be lost unseen.
"""

from __future__ import annotations

import re
from typing import Any

ABBREVIATIONS = {
    "avty": "availability",
    "cmps": "components",
    "dev": "device",
    "dev_cla": "device_class",
    "ent_cat": "entity_category",
    "exp_aft": "expire_after",
    "ic": "icon",
    "o": "origin",
    "ops": "options",
    "p": "platform",
    "stat_cla": "state_class",
    "stat_t": "state_topic",
    "sug_dsp_prc": "suggested_display_precision",
    "uniq_id": "unique_id",
    "unit_of_meas": "unit_of_measurement",
    "val_tpl": "value_template",
}
DEVICE_ABBREVIATIONS = {
    "cns": "connections",
    "cu": "configuration_url",
    "hw": "hw_version",
    "ids": "identifiers",
    "mdl": "model",
    "mdl_id": "model_id",
    "mf": "manufacturer",
    "sa": "suggested_area",
    "sn": "serial_number",
    "sw": "sw_version",
}
ORIGIN_ABBREVIATIONS = {"sw": "sw_version", "url": "support_url"}

AVAILABILITY = {"payload_available", "payload_not_available", "topic", "value_template"}
AVAILABILITY_OPTIONS = {
    "availability",
    "availability_mode",
    "availability_template",
    "availability_topic",
    "payload_available",
    "payload_not_available",
}
SHARED = {"device", "origin", "components", "command_topic", "state_topic", "qos", "encoding"} | AVAILABILITY_OPTIONS
DEVICE = {*DEVICE_ABBREVIATIONS.values(), "name", "via_device"}
ORIGIN = {*ORIGIN_ABBREVIATIONS.values(), "name"}
SENSOR = AVAILABILITY_OPTIONS | {
    "device",
    "device_class",
    "enabled_by_default",
    "encoding",
    "entity_category",
    "entity_picture",
    "expire_after",
    "force_update",
    "icon",
    "json_attributes_template",
    "json_attributes_topic",
    "last_reset_value_template",
    "name",
    "object_id",
    "options",
    "platform",
    "qos",
    "state_class",
    "state_topic",
    "suggested_display_precision",
    "unique_id",
    "unit_of_measurement",
    "value_template",
}
STATE_CLASSES = {"measurement", "measurement_angle", "total", "total_increasing"}
"""https://developers.home-assistant.io/docs/core/entity/sensor#available-state-classes"""
TOPIC = re.compile(r"[^/]+(/[^/]+)*/device/[a-zA-Z0-9_-]+/config")


def problems_of(topic: str, config: dict[str, Any]) -> list[str]:
    """What the documentation does not allow, in words; nothing where all is well."""
    told = [] if TOPIC.fullmatch(topic) else [f"{topic} is no discovery topic of a device"]
    whole = _spelled_out(config, ABBREVIATIONS)
    told += [f"no {key}" for key in ("device", "origin", "components") if not whole.get(key)]
    if told:
        return told
    device, origin = (
        _spelled_out(whole["device"], DEVICE_ABBREVIATIONS),
        _spelled_out(whole["origin"], ORIGIN_ABBREVIATIONS),
    )
    for name, values, known in (("", whole, SHARED), ("device", device, DEVICE), ("origin", origin, ORIGIN)):
        told += [f"{name} {key} is not documented" for key in values.keys() - known]
    if not device.get("identifiers") and not device.get("connections"):
        told.append("nothing identifies the device")
    if not origin.get("name"):
        told.append("the origin has no name")
    for one in whole.get("availability", []):
        told += [f"availability {key} is not documented" for key in one.keys() - AVAILABILITY]
        told += [] if one.get("topic") else ["availability has no topic"]
    entities = [_spelled_out(values, ABBREVIATIONS) for values in whole["components"].values()]
    for entity in entities:
        told += _problems_of_sensor({"state_topic": whole.get("state_topic"), **entity})
    ids = [entity.get("unique_id") for entity in entities]
    return told + [f"{one} is not unique" for one in {*ids} if ids.count(one) > 1]


def _problems_of_sensor(sensor: dict[str, Any]) -> list[str]:
    told = [f"sensor {key} is not documented" for key in sensor.keys() - SENSOR]
    told += [f"a sensor has no {key}" for key in ("platform", "unique_id", "state_topic") if not sensor.get(key)]
    if sensor["platform"] != "sensor":
        told.append(f"a {sensor['platform']} is not checked here")
    if "options" in sensor:
        if not sensor["options"] or len({*sensor["options"]}) != len(sensor["options"]):
            told.append("options are empty or not unique")
        if sensor.get("device_class") != "enum" or {"state_class", "unit_of_measurement"} & sensor.keys():
            told.append("options are for a device_class of enum, without state_class and unit")
    if sensor.get("entity_category", "diagnostic") != "diagnostic":
        told.append("a sensor's category can only be diagnostic")
    if sensor.get("state_class", "measurement") not in STATE_CLASSES:
        told.append(f"no such state_class: {sensor['state_class']}")
    return told


def _spelled_out(values: dict[str, Any], abbreviations: dict[str, str]) -> dict[str, Any]:
    return {abbreviations.get(key, key): value for key, value in values.items()}
