"""The schemas of what a recording holds: public ones for what sensors gave, mmg's own as JSON Schema.

The public ones are those of ROS 2's sensor_msgs and of Foxglove (foxglove_msgs), so that their tools show a recording.
"""

from __future__ import annotations

import json
from typing import Any, Literal, NamedTuple

SCHEMA = "mmg-recording/1"
"""In a file's metadata; a later one is not read."""
METADATA = "mmg"
SUFFIX = ".mcap"
"""Of a recording's files."""
STEPS, DECISIONS, MARKS = "/mmg/steps", "/mmg/decisions", "/mmg/marks"
TIME = "builtin_interfaces/Time"
TIME_PART = f"""
================================================================================
MSG: {TIME}
int32 sec
uint32 nanosec
"""
IMU_TEXT = f"""\
std_msgs/Header header
geometry_msgs/Quaternion orientation
float64[9] orientation_covariance
geometry_msgs/Vector3 angular_velocity
float64[9] angular_velocity_covariance
geometry_msgs/Vector3 linear_acceleration
float64[9] linear_acceleration_covariance
================================================================================
MSG: std_msgs/Header
{TIME} stamp
string frame_id{TIME_PART}\
================================================================================
MSG: geometry_msgs/Quaternion
float64 x
float64 y
float64 z
float64 w
================================================================================
MSG: geometry_msgs/Vector3
float64 x
float64 y
float64 z
"""
AUDIO_TEXT = f"""\
{TIME} timestamp
uint8[] data
string format
uint32 sample_rate
uint32 number_of_channels{TIME_PART}"""
IMAGE_TEXT = f"""\
{TIME} timestamp
string frame_id
uint32 width
uint32 height
string encoding
uint32 step
uint8[] data{TIME_PART}"""


class Schema(NamedTuple):
    """A schema as MCAP wants it, and how the messages of it are written."""

    name: str
    encoding: Literal["ros2msg", "jsonschema"]
    text: str

    @property
    def message_encoding(self) -> Literal["cdr", "json"]:
        """Of the messages."""
        return "cdr" if self.encoding == "ros2msg" else "json"


def _own(name: str, description: str, **properties: str) -> Schema:
    """properties: each one's type, ``array of`` its items' where it is one.

    Foxglove refuses a topic whose schema has an object without properties, or an array without the type of its items.
    """
    whole = {"type": "object", "description": description, "properties": {k: _type(v) for k, v in properties.items()}}
    return Schema(name, "jsonschema", json.dumps(whole))


def _type(kind: str) -> dict[str, Any]:
    if kind.startswith("array of "):
        return {"type": "array", "items": _type(kind.removeprefix("array of "))}
    return {"type": kind, "properties": {}} if kind == "object" else {"type": kind}


IMU = Schema("sensor_msgs/msg/Imu", "ros2msg", IMU_TEXT)
AUDIO = Schema("foxglove_msgs/msg/RawAudio", "ros2msg", AUDIO_TEXT)
IMAGE = Schema("foxglove_msgs/msg/RawImage", "ros2msg", IMAGE_TEXT)
SIGNAL = _own("mmg.Signal", "One sample of a sensor: its values in the order of its channels", values="array of number")
HOP = _own(
    "mmg.Hop",
    "What an encoder made of one hop: base64 of float32, count rows; and a signal's own shape, points rows",
    hop="integer",
    state="string",
    tokens="string",
    count="integer",
    shape="string",
    points="integer",
)
STEP = _own(
    "mmg.Step",
    "What came of all ports since the step before, by the messages of their topics, and how the ports were",
    now_ns="integer",
    chunks="array of object",
    ports="object",
    read_as="object",
    lost="integer",
    held_down="string",
)
DECISION = _own(
    "mmg.Decision",
    "One line of mmg-run --format jsonl",
    t="number",
    label="string",
    confidence="number",
    scores="object",
    modalities="array of string",
    sensors="object",
)
MARK = _own("mmg.Mark", "A label begins or ends", t="number", label="string", event="string")
