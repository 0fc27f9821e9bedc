"""A broker as a sink, without one: what a URL may say, and what is retained."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from mmg.errors import ConfigError
from mmg.sinks.mqtt.address import Address, read_address
from mmg.sinks.mqtt.credentials import read_credentials, tls_context
from mmg.sinks.mqtt.state import EVERY_S, Newest, nothing_decided, state_of, utc
from mmg.sinks.places import check_places
from mmg.types import UNKNOWN, Decision, SensorState

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
        ("mqtt://broker/a/#", "what follows a # is not read"),
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
    lines: list[str] = []
    assert read_credentials(address(f"mqtts://broker/x?credentials={path}"), lines.append) == ("anna", "p:ä ß")
    assert read_credentials(address("mqtt://broker/x"), lines.append) is None
    assert read_credentials(address(f"mqtt://127.0.0.1/x?credentials={path}"), lines.append) == ("anna", "p:ä ß")
    assert lines == []
    read_credentials(address(f"mqtt://broker/x?credentials={path}"), lines.append)
    [line] = lines
    assert "the password goes over the network in the clear" in line


@pytest.mark.parametrize("text", ["", "anna:secret\n", "anna\n\n", "anna\nsecret\nmore\n", "\nsecret\n"])
def test_a_file_of_anything_else_is_refused_without_showing_it(tmp_path: Path, text: str) -> None:
    path = secret(tmp_path / "login", text)
    with pytest.raises(ConfigError, match="the username on the first line and the password on the second") as refused:
        read_credentials(address(f"mqtt://broker/x?credentials={path}"), print)
    assert "secret" not in str(refused.value)


def test_credentials_that_every_user_can_read_are_refused_with_the_command_that_mends_it(tmp_path: Path) -> None:
    path = secret(tmp_path / "my login", "anna\nsecret\n", 0o644)
    with pytest.raises(ConfigError, match=re.escape(f"chmod o= '{path}'")):
        read_credentials(address(f"mqtt://broker/x?credentials={path}"), print)
    path.chmod(0o640)  # a service's file belongs to root and the service's group
    assert read_credentials(address(f"mqtt://broker/x?credentials={path}"), print)


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


@pytest.mark.parametrize("kind", ["", "RSA ", "EC ", "ENCRYPTED "])
def test_a_certificate_with_its_key_in_one_file_is_refused_where_every_user_can_read_it(
    tmp_path: Path, kind: str
) -> None:
    path = secret(tmp_path / "me.pem", f"-----BEGIN CERTIFICATE-----\n-----BEGIN {kind}PRIVATE KEY-----\n", 0o644)
    with pytest.raises(ConfigError, match=re.escape(f"every user can read {path}: chmod o= {path}")):
        tls_context(address(f"mqtts://broker/x?cert={path}"))
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="no certificate with its key in PEM"):
        tls_context(address(f"mqtts://broker/x?cert={path}"))


def test_a_certificate_alone_may_be_read_by_all(tmp_path: Path) -> None:
    cert = secret(tmp_path / "me.pem", "-----BEGIN CERTIFICATE-----\n", 0o644)
    key = secret(tmp_path / "me.key", "-----BEGIN PRIVATE KEY-----\n")
    for options in (f"cert={cert}", f"cert={cert}&key={key}"):
        with pytest.raises(ConfigError, match="in PEM"):
            tls_context(address(f"mqtts://broker/x?{options}"))


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
    sensed = nothing_decided(("imu", "audio"), AT, {"imu": SensorState("absent", 0.0, 0, "unplugged")})
    assert sensed["sensors"] == {
        "imu": {"state": "absent", "reason": "unplugged"},
        "audio": {"state": None, "reason": "nothing is decided"},
    }


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


# --- the end -------------------------------------------------------------------------------------------------------


def test_pahos_thread_may_end_while_it_is_stopped() -> None:
    """Where it ends between the two, paho looks at it and then waits for None: nothing is told of that."""
    paho = pytest.importorskip("paho.mqtt.client")
    from mmg.sinks.mqtt.client import stop_loop
    from paho.mqtt.enums import CallbackAPIVersion

    class Ending(paho.Client):  # type: ignore[misc, name-defined]
        looks = 0

        @property
        def _thread(self) -> threading.Thread | None:
            self.looks += 1
            return threading.main_thread() if self.looks < 3 else None

        @_thread.setter
        def _thread(self, _thread: threading.Thread | None) -> None:
            self.looks = 0

    client, told = Ending(CallbackAPIVersion.VERSION2), list[object]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading, "excepthook", told.append)
        stop_loop(client, 10)
    assert client.looks == 3
    assert told == []
