"""All messages below a prefix of a broker, on paho's thread: none that the broker delivers is left out.

MQTT 5, for two things that 3.1.1 lacks: a session that outlives this process for a while, so that what goes at QoS 1
waits for it, and a largest packet, so that the broker keeps the rest. From one that does not, it is not taken either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mmg.sinks.mqtt.address import Address
from mmg.sinks.mqtt.client import LOST, BoundedClient, problem_of_now, refusal, stop_loop, unanswered
from paho.mqtt import client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from mmg_fleet.messages import MOST_PROFILE_BYTES

if TYPE_CHECKING:
    import ssl

KEEPALIVE_S = 30
SESSION_S = 7 * 86_400
MOST_PACKET_BYTES = MOST_PROFILE_BYTES + (66 << 10)
"""A profile with the longest topic."""
FLOODED = f"a packet of more than {MOST_PACKET_BYTES >> 20} MiB came, which the broker was told to keep"
QOS = 1
"""Decisions are sent at 0, and come at 0; profiles are sent at 1."""
STOP_S = 2.0

Take = Callable[[str, bytes, bool], None]


class Listener:
    """begin: called on paho's thread before the broker is asked for what it retains. take: called there with topic,
    payload and whether the broker had it before. problem: why nothing is heard just now; empty while all is well."""

    def __init__(
        self,
        address: Address,
        *,
        context: ssl.SSLContext | None,
        credentials: tuple[str, str] | None,
        client_id: str,
        begin: Callable[[], None],
        take: Take,
        report: Callable[[str], None],
    ) -> None:
        self._address, self._begin, self._take, self._report = address, begin, take, report
        self.problem = "not connected yet"
        self._is_refused = self._is_up = False
        """Of the connection of now: whether the broker said no, to it or to what shall be heard, and whether yes."""
        client = BoundedClient(
            address, client_id, paho.MQTTv5, MOST_PACKET_BYTES, context=context, credentials=credentials
        )
        client.on_pre_connect = self._pre_connect
        client.on_connect = self._connect
        client.on_connect_fail = self._connect_fail
        client.on_subscribe = self._subscribe
        client.on_disconnect = self._disconnect
        client.on_message = self._message
        self._client = client

    def open(self) -> None:
        """Begin to connect, and return at once."""
        wanted = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        wanted.SessionExpiryInterval, wanted.MaximumPacketSize = SESSION_S, MOST_PACKET_BYTES
        self._client.connect_async(
            self._address.host, self._address.port, KEEPALIVE_S, clean_start=False, properties=wanted
        )
        self._client.loop_start()

    def close(self) -> None:
        """Take no more. What comes later waits at the broker, where it was sent at QoS 1."""
        self._client.disconnect()
        stop_loop(self._client, STOP_S)

    # --- on paho's thread, where nothing may be raised --------------------------------------------------------------

    def _pre_connect(self, _client: paho.Client, _data: Any) -> None:
        self._is_refused = self._is_up = self._client.is_flooded = False

    def _connect(self, client: paho.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        self._is_refused, self._is_up = reason.is_failure, not reason.is_failure
        if self._is_refused:
            self._fail(refusal(str(reason), has_credentials=client.username is not None))
            return
        self._begin()
        client.subscribe(f"{self._address.topic}/#", QOS)

    def _subscribe(
        self, client: paho.Client, _data: Any, _id: int, reasons: list[ReasonCode], _properties: Any
    ) -> None:
        below = f"below {self._address.topic}/"
        self._is_refused = any(reason.is_failure for reason in reasons)
        if self._is_refused:
            self._fail(
                f"{refusal(str(reasons[0]), has_credentials=client.username is not None)}: nothing is heard {below}", ""
            )
            return
        self.problem = ""
        self._report(f"{self._address.url}: connected: listening {below}")

    def _connect_fail(self, _client: paho.Client, _data: Any) -> None:
        self._fail(problem_of_now())

    def _disconnect(self, _client: paho.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        if not reason.is_failure or self._is_refused:
            return
        if self._client.is_flooded:
            self._fail(FLOODED)
        else:
            self._fail(LOST if self._is_up else unanswered(self._address))

    def _message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""  # no broker lets it through
        try:
            self._take(topic, bytes(message.payload), bool(message.retain))
        except Exception as error:  # of one message, which must not end this thread
            self._report(f"a message is lost: {type(error).__name__}: {error}")

    def _fail(self, problem: str, then: str = "trying again") -> None:
        if problem != self.problem:
            self._report(": ".join(filter(None, (str(self._address.url), problem, then))))
        self.problem = problem
