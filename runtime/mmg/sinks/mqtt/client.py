"""The connection to a broker, which comes and goes: it is kept up for ever, and says why it is down."""

from __future__ import annotations

import secrets
import socket
import ssl
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from mmg.errors import SinkError
from mmg.sinks.mqtt.address import KEEPALIVE_S, Address

FIRST_ANSWER_S = 1.0
"""So long the first line waits for a connection, which takes a moment."""
TAKEN_WITHIN_S = 0.5
LAST_WORDS_S, STOP_S = 1.0, 0.3
MOST_HEARD_BYTES = 65_536
"""Whoever may publish where this listens may publish up to 256 MB, of which paho makes three copies."""
TAKES_NOTHING = "the broker takes nothing"
NOT_KNOWN = (18, 19, 20)
"""OpenSSL's numbers of certificates that nobody vouches for (x509_vfy.h)."""
LOST = "the connection is lost"


class BoundedClient(paho.Client):
    """It ends the connection at a message that is larger than any that is wanted, before it asks memory for it."""

    was_flooded = is_flooded = False
    """Whether that ever came about, and whether it did in the connection of now."""

    def __init__(
        self,
        address: Address,
        name: str,
        protocol: MQTTProtocolVersion,
        most_bytes: int,
        *,
        context: ssl.SSLContext | None,
        credentials: tuple[str, str] | None,
    ) -> None:
        """name: by which the broker tells clients apart. most_bytes: of a message with its topic."""
        super().__init__(CallbackAPIVersion.VERSION2, name, protocol=protocol)
        self._most_bytes = most_bytes
        self.reconnect_delay_set(1, address.retry_s)
        if context:
            self.tls_set_context(context)
        if credentials:
            self.username_pw_set(*credentials)

    def _sock_recv(self, bufsize: int) -> bytes:
        if bufsize > self._most_bytes:  # what is still to come of one message
            self.was_flooded = self.is_flooded = True
            raise ConnectionError(f"a message of {bufsize} bytes")
        return super()._sock_recv(bufsize)


class Connection:
    """To one broker, on paho's thread. Everything goes at QoS 0: what did not get there is told anew, or counted.

    on_up: called on that thread on every connect, before anything else is taken. last_words: topic and text that the
    broker retains when this end is gone. heard: topic, and what to call on that thread with a message there that is not
    retained. ``close`` waits for either call, and begins neither afterwards: neither may wait for it, or close.
    """

    def __init__(
        self,
        address: Address,
        *,
        context: ssl.SSLContext | None,
        credentials: tuple[str, str] | None,
        last_words: tuple[str, str],
        heard: tuple[str, Callable[[bytes], None]] | None,
        on_up: Callable[[], None],
    ) -> None:
        self._address, self._on_up, self._last_words, self._heard = address, on_up, last_words, heard
        self._problem = "no answer yet"
        self._is_up = self._is_refused = self._closing = False
        self._lock = threading.Lock()
        """Held while ``on_up`` or ``heard`` announces: after the last words that would stand at the broker for good.
        ``_disconnect`` must not want it: paho calls that on any thread."""
        self._answered, self._down = threading.Event(), threading.Event()
        self._sent: paho.MQTTMessageInfo | None = None
        self._stuck: paho.MQTTMessageInfo | None = None
        # 3.1.1 is what every broker speaks. A name of its own for each run: a broker drops the older of two clients
        # of one name.
        name = f"mmg-{secrets.token_hex(8)}"
        client = BoundedClient(address, name, paho.MQTTv311, MOST_HEARD_BYTES, context=context, credentials=credentials)
        client.will_set(*last_words, retain=True)
        client.on_pre_connect = self._pre_connect
        client.on_connect = self._connect
        client.on_connect_fail = self._connect_fail
        client.on_disconnect = self._disconnect
        client.on_message = self._message
        self._client = client

    def open(self) -> None:
        """Begin to connect, and return at once."""
        self._client.connect_async(self._address.host, self._address.port, KEEPALIVE_S)
        self._client.loop_start()

    @property
    def is_up(self) -> bool:
        """Whether the broker takes messages, as far as is known."""
        return self._is_up

    def send(self, topic: str, text: str, *, retain: bool = False) -> None:
        """Hand a message over, without waiting. What is sent while the connection is down is lost."""
        self._sent = self._client.publish(topic, text, retain=retain)

    def require(self) -> None:
        """Raises SinkError where nothing can be sent now. At first, waits a moment for the connection."""
        if not self._answered.wait(FIRST_ANSWER_S):
            self._answered.set()
        if not self._is_up:
            raise self._error(self._problem)
        if self._stuck and not _is_taken(self._stuck):
            raise self._error(TAKES_NOTHING)

    def flush(self) -> None:
        """Wait a moment until the network has what was sent. Raises SinkError where it does not."""
        if not (sent := self._sent):
            return
        try:
            sent.wait_for_publish(TAKEN_WITHIN_S)
        except RuntimeError as error:
            raise self._error(self._problem) from error
        if not _is_taken(sent):
            self._stuck = sent
            raise self._error(TAKES_NOTHING)

    def close(self) -> None:
        """Say the last words and go. Within 1.5 s of what is being announced, even where the broker does not answer."""
        with self._lock:
            self._closing, was_up = True, self._is_up
        # Also to a broker that has not answered yet: it may keep what an earlier connection announced.
        self.send(*self._last_words, retain=True)
        if not was_up:
            self._down.set()
        self._client.disconnect()
        self._down.wait(LAST_WORDS_S)
        stop_loop(self._client, STOP_S)

    def _error(self, problem: str) -> SinkError:
        return SinkError(str(self._address.url), problem)

    # --- on paho's thread, where nothing may be raised --------------------------------------------------------------

    def _pre_connect(self, _client: paho.Client, _data: Any) -> None:
        self._is_refused = False

    def _connect(self, client: paho.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        if reason.is_failure:
            self._is_refused = True
            self._fail(refusal(str(reason), has_credentials=client.username is not None))
            return
        with self._lock:
            if self._closing:
                client.disconnect()
                return
            if self._heard and not self._client.was_flooded:
                client.subscribe(self._heard[0])
            self._on_up()
            self._problem, self._is_up = LOST, True
            self._down.clear()
            self._answered.set()

    def _connect_fail(self, _client: paho.Client, _data: Any) -> None:
        self._fail(problem_of_now())

    def _disconnect(self, _client: paho.Client, _data: Any, _flags: Any, _reason: ReasonCode, _properties: Any) -> None:
        if self._is_up:
            heard = self._heard[0] if self._heard and self._client.is_flooded else ""
            self._client.is_flooded = False
            self._fail(f"too large a message came on {heard}, which is heard no more" if heard else LOST)
        elif not self._is_refused:
            self._fail(unanswered(self._address))
        self._down.set()

    def _message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        if not self._heard or message.retain:
            return
        with self._lock:
            if not self._closing:
                self._heard[1](bytes(message.payload))

    def _fail(self, problem: str) -> None:
        self._problem, self._is_up = problem, False
        self._answered.set()


def _is_taken(sent: paho.MQTTMessageInfo) -> bool:
    try:
        return sent.is_published()
    except RuntimeError:  # lost with its connection; the next one owes nothing
        return True


def refusal(reason: str, *, has_credentials: bool) -> str:
    """What to tell of a broker that answers with a no."""
    told = f"the broker refuses: {reason.lower()}"
    is_about_who = reason in ("Bad user name or password", "Not authorized")
    return told if has_credentials or not is_about_who else f"{told}: give it ?credentials=FILE"


def unanswered(address: Address) -> str:
    """What to tell of a broker that closes the connection before it answers at all."""
    why = "does it want a certificate of yours?" if address.is_tls else "does it want mqtts:?"
    return f"the connection is closed without an answer: {why}"


def problem_of_now() -> str:
    """``problem_of`` what paho handles just now, and does not tell: for ``on_connect_fail``."""
    error = sys.exc_info()[1]
    if error:  # its frames hold a socket open that failed at TLS, for as long as paho waits
        traceback.clear_frames(error.__traceback__)
    return problem_of(error)


def problem_of(error: BaseException | None) -> str:
    """Why there is no connection, in a few words and what to do."""
    if isinstance(error, ssl.SSLCertVerificationError):
        hint = ": is ?ca=FILE that of its authority?" if error.verify_code in NOT_KNOWN else ""
        return f"its certificate is refused: {error.verify_message.rstrip('.')}{hint}"
    if isinstance(error, ssl.SSLError):
        why = getattr(error, "reason", None) or error.strerror  # not every one has a reason
        return f"TLS fails ({why}): is the port one for TLS?"
    if isinstance(error, socket.gaierror):
        return f"the host is not found: {error.strerror}"
    if isinstance(error, ConnectionResetError):
        return "the connection is closed without an answer: is the port one for TLS, or for none?"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused: no broker listens there"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"{type(error).__name__}: {error}"


def stop_loop(client: paho.Client, within_s: float) -> None:
    """End paho's thread, and wait for it so long.

    It may hang in a name's look-up or a handshake, and then dies with the process.
    """

    def stop() -> None:
        with suppress(AttributeError):  # it may end between loop_stop's look at it and its wait for it (paho-mqtt 2.1)
            client.loop_stop()

    thread = threading.Thread(target=stop, name="mmg mqtt stop", daemon=True)
    thread.start()
    thread.join(within_s)
