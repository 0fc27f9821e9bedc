"""One message that a broker retains, from a command that ends then."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from typing import Any

from mmg.errors import BackendUnavailable, SinkError
from mmg.sinks.mqtt.address import Address, read_address
from mmg.sinks.mqtt.credentials import read_credentials, tls_context
from mmg.sinks.url import SinkUrl

WITHIN_S = 20.0
LARGEST_BYTES = 4 << 20
"""What mmg-fleet takes: a broker would drop more for it without a word."""


class Publisher:
    """To the topic of a URL. report: told of a password that others can read. Raises ConfigError for a URL that cannot
    be, BackendUnavailable without paho-mqtt."""

    def __init__(self, url: SinkUrl, report: Callable[[str], object]) -> None:
        try:
            import paho.mqtt.client  # noqa: F401
        except ImportError as error:
            raise BackendUnavailable("paho-mqtt 2", "paho-mqtt>=2") from error
        self.address: Address = read_address(url)
        self._context, self._credentials = tls_context(self.address), read_credentials(self.address, report)

    def publish(self, name: str, payload: bytes) -> str:
        """Have the broker retain it at ``TOPIC/name``, which this returns. Raises SinkError where it does not say that
        it does."""
        from paho.mqtt import client as paho

        from mmg.sinks.mqtt.client import (
            LOST,
            MOST_HEARD_BYTES,
            BoundedClient,
            problem_of_now,
            refusal,
            stop_loop,
            unanswered,
        )

        if len(payload) > LARGEST_BYTES:
            problem = f"is not sent: it has {len(payload)} bytes, and may have {LARGEST_BYTES}"
            raise SinkError(str(self.address.url), problem)
        topic, problems, is_answered = f"{self.address.topic}/{name}", ["no answer in time"], threading.Event()

        def connected(_client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
            told = refusal(str(reason), has_credentials=bool(self._credentials)) if reason.is_failure else ""
            problems.append(told)
            is_answered.set()

        def failed(_client: Any, _data: Any) -> None:
            problems.append(problem_of_now())
            is_answered.set()

        def left(*_: Any) -> None:
            if not is_answered.is_set():
                problems.append(unanswered(self.address))
                is_answered.set()

        client = BoundedClient(
            self.address,
            f"mmg-{secrets.token_hex(8)}",
            paho.MQTTv311,
            MOST_HEARD_BYTES,
            context=self._context,
            credentials=self._credentials,
        )
        client.on_connect, client.on_connect_fail, client.on_disconnect = connected, failed, left
        client.connect_async(self.address.host, self.address.port)
        client.loop_start()
        try:
            is_answered.wait(WITHIN_S)
            if problem := problems[-1]:
                raise SinkError(str(self.address.url), problem)
            sent = client.publish(topic, payload, qos=1, retain=True)
            try:
                sent.wait_for_publish(WITHIN_S)
            except (RuntimeError, ValueError) as error:
                raise SinkError(str(self.address.url), LOST) from error
            if not sent.is_published():
                raise SinkError(str(self.address.url), "the broker does not take it")
            client.disconnect()
        finally:
            stop_loop(client, 0)
        return topic
