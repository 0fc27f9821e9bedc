"""A broker as a sink, without one: what a URL may say, what is retained, and what Home Assistant is told."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from home_assistant import problems_of
from mmg.errors import ConfigError
from mmg.sinks.event import About
from mmg.sinks.mqtt.address import Address, read_address
from mmg.sinks.mqtt.credentials import read_credentials, tls_context
from mmg.sinks.mqtt.discovery import config_topic, device_config, device_id
from mmg.sinks.mqtt.state import EVERY_S, Newest, nothing_decided, state_of, utc
from mmg.sinks.places import check_places
from mmg.types import UNKNOWN, Decision, SensorState

ABOUT = About(
    "starter", ("still", "walking", UNKNOWN, 'mein "Tanz"/#+ ✓'), {"imu": "a", "audio": "b"}, 0.5, "pi-zero-2"
)
AT = "2026-11-29T12:04:51.250Z"


def address(text: str) -> Address:
    [url] = check_places([text])
    return read_address(url)


def decision(label: str = "walking", *, state: SensorState | None = None, confidence: float = 0.91234567) -> Decision:
    scores = {label: confidence, UNKNOWN: 0.05}
    sensors = {"imu": state or SensorState("live", 3.0, 2), "audio": SensorState("absent", 0.0, 5, "unplugged")}
    return Decision(3, 1.5, label, confidence, scores, ("imu",), sensors, (), {"event_to_decision": 12.345})


# --- the URL -------------------------------------------------------------------------------------------------------


def test_a_url_says_where_the_broker_is_and_below_which_topic() -> None:
    plain, secure = (
        address("mqtt://Broker.local/home/wrist%20left/ü"),
        address("mqtts://[::1]:99/wrist?retry=5&ca=ca.pem"),
    )
    assert (plain.host, plain.port, plain.topic, plain.is_tls) == ("broker.local", 1883, "home/wrist left/ü", False)
    assert (secure.host, secure.port, secure.retry_s, secure.ca, secure.is_tls) == ("::1", 99, 5, "ca.pem", True)
    assert (address("mqtts://broker").port, plain.discovery, plain.retry_s) == (8883, "homeassistant", 60)
    assert address("mqtt://broker/x?discovery=off").discovery == ""
    assert address("mqtt://broker/x?discovery=home/ha").discovery == "home/ha"


@pytest.mark.parametrize("url", ["mqtt://broker", "mqtt://broker/"])
def test_without_a_topic_it_is_the_machines_own(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "anna's pi/#1")
    assert address(url).topic == "mmg/anna_s_pi__1"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("mqtt:broker/wrist", "names no broker: write mqtt://HOST/TOPIC"),
        ("mqtts:///wrist", "names no broker: write mqtts://HOST/TOPIC"),
        ("mqtt://broker:0/wrist", "a port is 1 to 65535"),
        ("mqtt://broker:70000/wrist", "cannot be"),
        ("mqtt://bro..ker/wrist", "cannot be a host's name"),
        ("mqtt://my broker/wrist", "cannot be a host's name"),
        ("mqtt://anna:secret@broker/wrist", "a password in a URL is seen by every user"),
        ("mqtt://broker/a/#", "cannot have a #"),
        ("mqtt://broker/a/%23", "cannot have a #"),
        ("mqtt://broker/a/+/b", r"cannot have a \+"),
        ("mqtt://broker/a%00b", r"cannot have '\\x00'"),
        ("mqtt://broker/a%0Ab", r"cannot have '\\n'"),
        ("mqtt://broker/a%FFb", "cannot have"),
        ("mqtt://broker/a\nb", r"cannot have '\\n'"),
        ("mqtt://broker/$SYS/a", r"cannot begin with \$"),
        ("mqtt://broker//a", "has an empty level"),
        ("mqtt://broker/a//b", "has an empty level"),
        ("mqtt://broker/a/", "has an empty level"),
        ("mqtt://broker/" + "ü" * 32_764, "is longer than 65526 bytes"),
        ("mqtt://broker/a?qos=2", "unknown option 'qos': choose from credentials, discovery, retry"),
        ("mqtt://broker/a?ca=ca.pem", "unknown option 'ca'"),
        ("mqtts://broker/a?key=key.pem", "a key without a certificate: add cert=FILE"),
        ("mqtts://broker/a?ca=", "ca is empty"),
        ("mqtt://broker/a?retry=0", "retry is the longest wait between two attempts, 1 to 3600 seconds"),
        ("mqtt://broker/a?retry=soon", "retry is the longest wait"),
        ("mqtt://broker/a?discovery=a/%2B", "discovery's prefix cannot have a"),
    ],
)
def test_a_broker_or_topic_that_cannot_be_is_refused_in_one_short_line(url: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as refused:
        address(url)
    assert len(str(refused.value)) < 400
    assert str(refused.value).isprintable()
    assert "secret" not in str(refused.value)


def test_the_longest_topic_that_fits_is_taken() -> None:
    assert len(address("mqtt://broker/" + "ü" * 32_763).topic.encode()) == 65_526


@pytest.mark.parametrize(
    "urls",
    [
        ["mqtt://broker/wrist", "mqtt://BROKER:1883/wrist?retry=5"],
        ["mqtts://broker", "mqtts://broker:8883/"],
    ],
)
def test_two_sinks_at_one_topic_are_refused(urls: list[str]) -> None:
    with pytest.raises(ConfigError, match="is the same place as"):
        check_places(urls)


# --- what others must not read -----------------------------------------------------------------------------------


def secret(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("text", ["anna\np:ä ß\n", "anna\r\np:ä ß", "anna\np:ä ß"])
def test_credentials_are_the_two_lines_of_a_file(tmp_path: Path, text: str) -> None:
    path = secret(tmp_path / "login", text)
    assert read_credentials(address(f"mqtt://broker/x?credentials={path}")) == ("anna", "p:ä ß")
    assert read_credentials(address("mqtt://broker/x")) is None


@pytest.mark.parametrize("text", ["", "anna:secret\n", "anna\n\n", "anna\nsecret\nmore\n", "\nsecret\n"])
def test_a_file_of_anything_else_is_refused_without_showing_it(tmp_path: Path, text: str) -> None:
    path = secret(tmp_path / "login", text)
    with pytest.raises(ConfigError, match="the username on the first line and the password on the second") as refused:
        read_credentials(address(f"mqtt://broker/x?credentials={path}"))
    assert "secret" not in str(refused.value)


def test_credentials_that_every_user_can_read_are_refused_with_the_command_that_mends_it(tmp_path: Path) -> None:
    path = secret(tmp_path / "my login", "anna\nsecret\n", 0o644)
    with pytest.raises(ConfigError, match=re.escape(f"chmod o= '{path}'")):
        read_credentials(address(f"mqtt://broker/x?credentials={path}"))
    path.chmod(0o640)  # a service's file belongs to root and the service's group
    assert read_credentials(address(f"mqtt://broker/x?credentials={path}"))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("ca={0}/none", "none: No such file"),
        ("ca={0}/text", "text: no certificates in PEM"),
        ("cert={0}/none", "none: No such file"),
        ("cert={0}/text", "text: no certificate with its key in PEM"),
        ("cert={0}/text&key={0}/none", "none: No such file"),
        ("cert={0}/text&key={0}/open", "every user can read"),
    ],
)
def test_certificates_that_cannot_be_read_are_refused_in_one_line(tmp_path: Path, options: str, problem: str) -> None:
    secret(tmp_path / "text", "hello\n")
    secret(tmp_path / "open", "hello\n", 0o644)
    with pytest.raises(ConfigError, match=problem):
        tls_context(address(f"mqtts://broker/x?{options.format(tmp_path)}"))


# --- what is retained ----------------------------------------------------------------------------------------------


def test_the_state_is_the_decision_in_short() -> None:
    assert state_of(decision(), AT) == {
        "label": "walking",
        "confidence": 0.9123,
        "unknown": 0.05,
        "modalities": ["imu"],
        "t": 1.5,
        "at": AT,
        "latency_ms": 12.3,
        "dropped": 7,
        "sensors": {
            "imu": {"state": "live", "reason": ""},
            "audio": {"state": "absent", "reason": "unplugged"},
        },
    }


def test_what_is_not_known_is_null_and_not_nought() -> None:
    untold = state_of(replace(decision(), scores={"walking": 1.0}, latency_ms={}), AT)
    assert (untold["unknown"], untold["latency_ms"]) == (None, None)
    nothing = nothing_decided(("imu",), AT)
    assert nothing.keys() == untold.keys()
    assert (nothing["label"], nothing["confidence"], nothing["sensors"]["imu"]["state"]) == (None, None, None)


def test_a_state_is_sent_at_once_when_it_changes_and_else_every_half_a_minute() -> None:
    newest = Newest(state_of(decision(), AT))
    assert newest.is_due(0.0)
    newest.sent(0.0)
    newest.state = state_of(decision(confidence=0.5), AT)
    assert not newest.is_due(EVERY_S - 0.1)
    assert newest.is_due(EVERY_S)
    for changed in (
        decision("still"),
        replace(decision(), modalities=("imu", "audio")),
        decision(state=SensorState("doubted", 3.0, 2, "a wrong unit")),
        decision(state=SensorState("live", 3.0, 2, "slow")),
    ):
        newest.state = state_of(changed, AT)
        assert newest.is_due(0.1)
    newest.state = state_of(decision(state=SensorState("live", 400.0, 90)), AT)
    assert not newest.is_due(0.1)


def test_a_time_is_in_utc_to_the_millisecond() -> None:
    assert utc(0.25) == "1970-01-01T00:00:00.250Z"
    assert utc(1.0) == "1970-01-01T00:00:01.000Z"


# --- Home Assistant --------------------------------------------------------------------------------------------------


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


def test_a_bundle_that_cannot_tell_the_unknown_has_no_such_entity() -> None:
    assert "unknown" not in device_config(replace(ABOUT, labels=("still",)), "wrist", "0.1.0")["cmps"]


def test_ids_are_plain_and_another_one_for_every_topic() -> None:
    topics = ["a/b", "a_b", "a b", "a/b/c", "ä", "ö", "x" * 300, "x" * 301]
    ids = [device_id(topic) for topic in topics]
    assert len({*ids}) == len(topics)
    assert all(re.fullmatch("[a-zA-Z0-9_-]{1,64}", one) for one in ids)
