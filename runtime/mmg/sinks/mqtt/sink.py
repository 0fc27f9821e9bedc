"""Decisions to a broker: each as it comes, and the newest retained."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mmg.errors import BackendUnavailable
from mmg.sinks.event import About, Decided, Event, Notice, Sensed
from mmg.sinks.jsonl import ENCODER
from mmg.sinks.mqtt.address import KEEPALIVE_S, Address, read_address
from mmg.sinks.mqtt.credentials import read_credentials, tls_context
from mmg.sinks.mqtt.discovery import config_topic, device_config
from mmg.sinks.mqtt.state import Newest, about_of, differs, nothing_decided, state_of, utc
from mmg.sinks.url import SinkUrl
from mmg.version import installed_version

if TYPE_CHECKING:
    import ssl

    from mmg.types import SensorState

TOPICS = ("about", "decision", "event", "notice", "state", "status")
ONLINE, OFFLINE = "online", "offline"
LEAST_SILENCE_S, SILENT_HOPS = 5.0, 4
"""After so long without a decision, or so many hops, the retained one is taken back; and so is how the sensors are,
where that is not told either."""
LOOK_EVERY_S = 0.5
OUTLIVED_S = 2.0 * KEEPALIVE_S
"""So long after connecting, no broker holds the connection any more that a power cut took from the run before: it tells
that run's last will after 1.5 times its keep-alive (MQTT 3.1.1, section 3.1.2.10)."""


def open_mqtt(url: SinkUrl, about: About, report: Callable[[str], None]) -> MqttSink:
    """Begin to connect. Raises ConfigError for a URL or file that cannot be, BackendUnavailable without paho-mqtt."""
    address = read_address(url)
    context, credentials = tls_context(address), read_credentials(address, report)
    return MqttSink(address, about, context=context, credentials=credentials)


class MqttSink:
    """Sends below its topic: ``decision``, ``event``, ``notice``; and retained ``about``, ``state``, ``status``."""

    takes: tuple[type[Event], ...] = (Decided, Notice, Sensed)

    def __init__(
        self, address: Address, about: About, *, context: ssl.SSLContext | None, credentials: tuple[str, str] | None
    ) -> None:
        try:
            from mmg.sinks.mqtt.client import Connection
        except ImportError as error:
            raise BackendUnavailable("paho-mqtt 2", "paho-mqtt>=2") from error
        self._address, self._about = address, about
        self._topics = {name: f"{address.topic}/{name}" for name in TOPICS}
        self._newest = Newest(nothing_decided(about.sensors, utc(time.time())))
        self._lock = threading.Lock()
        """Of the newest state, which must never be sent after a newer one."""
        self._silence_s = max(LEAST_SILENCE_S, SILENT_HOPS * about.hop_s)
        self._decided_s: float | None = None
        self._sensed: Mapping[str, SensorState] = {}
        self._sensed_s = 0.0
        self._announced_s: float | None = None
        """When ``status`` was told, until it is told once more."""
        self._closed = threading.Event()
        birth = (f"{address.discovery}/status", self._on_birth) if address.discovery else None
        self._connection = Connection(
            address,
            context=context,
            credentials=credentials,
            last_words=(self._topics["status"], OFFLINE),
            heard=birth,
            on_up=self._announce,
        )
        self._connection.open()
        self._watch = threading.Thread(target=self._watch_for_silence, name="mmg mqtt silence", daemon=True)
        self._watch.start()

    def write(self, event: Event) -> None:
        """Raises SinkError where the line is lost."""
        at = utc(time.time())
        if isinstance(event, Notice):
            self._connection.require()
            self._send("notice", {"at": at, "text": event.text})
        elif isinstance(event, Decided):
            self._decide(event, at)
        elif isinstance(event, Sensed):
            with self._lock:
                self._sensed, self._sensed_s = event.sensors, time.monotonic()
            return  # the next look sends it
        self._connection.flush()

    def close(self) -> None:
        """Leave the newest state, say offline, and go."""
        self._closed.set()
        self._watch.join()
        with self._lock:
            if self._connection.is_up and not self._newest.is_sent:
                self._send_state()
        self._connection.close()

    def _decide(self, event: Decided, at: str) -> None:
        state = state_of(event.decision, at)
        if event.decision.label not in self._about.labels:  # taught meanwhile: it must be announced first
            self._about = replace(self._about, labels=(*self._about.labels, event.decision.label))
            if self._connection.is_up:
                self._announce()
        with self._lock:
            before, self._newest.state = self._newest.state, state
            self._decided_s = time.monotonic()
        self._connection.require()
        self._connection.send(self._topics["decision"], event.line)
        if before["label"] != state["label"]:
            change = {"from": before["label"], "to": state["label"]}
            self._send("event", change | {key: state[key] for key in ("confidence", "t", "at")})
        with self._lock:
            if self._newest.is_due(time.monotonic()):
                self._send_state()

    def _watch_for_silence(self) -> None:
        while not self._closed.wait(LOOK_EVERY_S):
            with self._lock:
                self._look(time.monotonic())
                if self._connection.is_up and self._newest.is_news:
                    self._send_state()
            self._outlive(time.monotonic())

    def _outlive(self, now_s: float) -> None:
        """The last will of the run before, which the broker may tell after this one's ``online``, must not stand."""
        told_s = self._announced_s
        if self._connection.is_up and told_s is not None and now_s - told_s >= OUTLIVED_S:
            self._announced_s = None
            self._connection.send(self._topics["status"], ONLINE, retain=True)

    def _look(self, now_s: float) -> None:
        """Where nothing is decided, let the newest state say so, and how the sensors are."""
        if self._decided_s is not None and now_s - self._decided_s < self._silence_s:
            return
        self._decided_s = None
        sensed = self._sensed if now_s - self._sensed_s < self._silence_s else None
        state = nothing_decided(self._about.sensors, utc(time.time()), sensed)
        if differs(state, self._newest.state):
            self._newest.state = state

    def _announce(self) -> None:
        if self._address.discovery:
            topic = config_topic(self._address.discovery, self._address.topic)
            config = device_config(self._about, self._address.topic, installed_version())
            self._connection.send(topic, ENCODER.encode(config), retain=True)
        about = about_of(self._about, installed_version())
        self._connection.send(self._topics["about"], ENCODER.encode(about), retain=True)
        with self._lock:
            self._send_state()
        self._connection.send(self._topics["status"], ONLINE, retain=True)
        self._announced_s = time.monotonic()

    def _on_birth(self, payload: bytes) -> None:
        """Home Assistant has started, and wants to be told all again."""
        if payload == ONLINE.encode():
            self._announce()

    def _send_state(self) -> None:
        from mmg.board.machine.condition import read_temperature

        state = {**self._newest.sent(time.monotonic()), "temperature_c": read_temperature()}
        self._connection.send(self._topics["state"], ENCODER.encode(state), retain=True)

    def _send(self, name: str, values: dict[str, Any]) -> None:
        self._connection.send(self._topics[name], ENCODER.encode(values))
