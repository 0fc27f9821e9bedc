"""A real mosquitto on a free port of 127.0.0.1, to be killed and started again, and a listener to all its topics."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TextIO

from mmg.errors import MmgError

MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
"""Debian keeps it where users do not look; None where it is not installed."""
LAST_WORDS_S, ANSWER_S = 10.0, 10.0


class Message(NamedTuple):
    """retained: whether the broker had it before the listener came."""

    topic: str
    text: str
    retained: bool

    @property
    def values(self) -> Any:
        """The text as JSON."""
        return json.loads(self.text)


class Broker:
    """A mosquitto without memory: what it retains is lost with it. It runs from ``with`` to its end.

    lines: of its configuration, beside a listener on ``port``.
    """

    def __init__(self, folder: Path, lines: Sequence[str] = ("allow_anonymous true",)) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._config = folder / f"mosquitto-{self.port}.conf"
        user = (
            ["user root"] if os.getuid() == 0 else []
        )  # else it gives up root, and may not read what is in the folder
        listener = [f"listener {self.port} 127.0.0.1", "persistence false", "log_dest stderr", *user]
        self._config.write_text("\n".join([*listener, *lines, ""]))
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Broker:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Returns once it listens. Raises MmgError where it is not installed or ends at once."""
        if MOSQUITTO is None:
            raise MmgError("mosquitto is not installed: sudo apt-get install mosquitto")
        process = subprocess.Popen([MOSQUITTO, "-c", str(self._config)], stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        told = []
        for line in process.stderr:
            told.append(line.strip())
            if line.rstrip().endswith(" running"):
                self._process = process
                threading.Thread(target=_read_on, args=(process.stderr,), daemon=True).start()
                return
        process.stderr.close()
        process.wait()
        raise MmgError("mosquitto ended: " + "; ".join(told[-3:]))

    def kill(self) -> None:
        """Without a word to its clients. Twice is fine."""
        if self._process:
            self._process.kill()
            self._process.wait(LAST_WORDS_S)
            self._process = None

    def signal(self, number: int) -> None:
        """Such as SIGSTOP."""
        if self._process:
            self._process.send_signal(number)


def _read_on(stream: TextIO) -> None:
    """Lest what writes there waits for a reader."""
    with stream:
        for _ in stream:
            pass


class Listener:
    """Hears every topic of a broker, or those asked for, from ``with`` to its end; ``messages`` grow meanwhile.

    tls: with which certificates, for a broker with TLS. It comes back by itself when the broker does.
    """

    def __init__(
        self,
        port: int,
        *,
        topics: str = "#",
        tls: ssl.SSLContext | None = None,
        credentials: tuple[str, str] | None = None,
    ) -> None:
        from paho.mqtt import client as paho
        from paho.mqtt.enums import CallbackAPIVersion

        self.messages: list[Message] = []
        self._grown, self._subscribed = threading.Condition(), threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.reconnect_delay_set(1, 1)
        if tls:
            self._client.tls_set_context(tls)
        if credentials:
            self._client.username_pw_set(*credentials)
        self._client.on_connect = lambda client, *_: client.subscribe(topics)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = lambda _client, _data, message: self._hear(message)
        self._client.connect_async("localhost" if tls else "127.0.0.1", port)

    def __enter__(self) -> Listener:
        self._client.loop_start()
        if not self._subscribed.wait(ANSWER_S):
            raise MmgError("the broker does not answer")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        from mmg.sinks.mqtt.client import stop_loop

        self._client.disconnect()
        stop_loop(self._client, ANSWER_S)

    def _hear(self, message: Any) -> None:
        with self._grown:
            self.messages.append(Message(message.topic, message.payload.decode(), bool(message.retain)))
            self._grown.notify_all()

    def wait_for(self, wanted: Callable[[Message], bool], timeout_s: float = ANSWER_S, *, after: int = 0) -> Message:
        """The first such message, or the first beyond the first ``after``. Raises TimeoutError."""
        with self._grown:
            if self._grown.wait_for(lambda: any(map(wanted, self.messages[after:])), timeout_s):
                return next(filter(wanted, self.messages[after:]))
        raise TimeoutError(f"no such message among {len(self.messages)}: {self.messages[-5:]}")

    def of(self, topic: str) -> list[Message]:
        """Those of one topic."""
        with self._grown:
            return [message for message in self.messages if message.topic == topic]

    def say(self, topic: str, text: str) -> None:
        """Send a message to the broker."""
        self._client.publish(topic, text)
