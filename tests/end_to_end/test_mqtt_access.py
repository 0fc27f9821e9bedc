"""Who may talk to a broker, and which broker is trusted: passwords and certificates, with a real mosquitto."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from broker_runs import ABOUT, FIRST_ANSWER_S, PATIENCE_S, decided, is_state, need_broker, problem, wearable
from certificates import Authority
from forked import mmg_run
from mmg.sinks.mqtt.sink import open_mqtt
from mmg.sinks.places import check_places
from mmg_tools.broker import MOSQUITTO, Broker, Listener

need_broker()
# paho leaves the socket of a handshake that failed to Python to close.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FIRST_ANSWER_S, PATIENCE_S)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path) as running:
        yield running


def test_a_password_opens_a_broker_that_refuses_others(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    maker = Path(MOSQUITTO or "").resolve().parent.parent / "bin" / "mosquitto_passwd"
    subprocess.run([maker, "-c", "-b", passwords, "anna", "secret"], check=True, capture_output=True)
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    for file, text in ((right, "anna\nsecret\n"), (wrong, "anna\nguess\n")):
        file.write_text(text)
        file.chmod(0o600)
    with Broker(tmp_path, ["allow_anonymous false", f"password_file {passwords}"]) as broker:
        with wearable(broker.port) as sink:
            assert problem(sink) == "the broker refuses: not authorized: give it ?credentials=FILE"
        with wearable(broker.port, f"&credentials={wrong}") as sink:
            assert problem(sink) == "the broker refuses: not authorized"
        with (
            Listener(broker.port, credentials=("anna", "secret")) as listener,
            wearable(broker.port, f"&credentials={right}") as sink,
        ):
            sink.write(decided("walking"))
            listener.wait_for(is_state("walking"))


@pytest.mark.parametrize(("host", "lines"), [("0.0.0.0", 1), ("127.0.0.1", 0)])
def test_a_password_that_leaves_the_machine_in_the_clear_is_told(
    broker: Broker, tmp_path: Path, host: str, lines: int
) -> None:
    login, told = tmp_path / "login", list[str]()
    login.write_text("anna\nsecret\n")
    login.chmod(0o600)
    [url] = check_places([f"mqtt://{host}:{broker.port}/wrist?credentials={login}"])
    open_mqtt(url, ABOUT, told.append).close()
    assert len(told) == lines
    assert all("in the clear: write mqtts:" in line and "secret" not in line for line in told)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (socket.gaierror(-2, "Name or service not known"), "the host is not found: Name or service not known"),
        (ConnectionRefusedError(111, "Connection refused"), "connection refused: no broker listens there"),
        (TimeoutError("timed out"), "no answer in time"),
        (OSError(113, "No route to host"), "No route to host"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] odd"), "TLS fails ([SSL: WRONG_VERSION_NUMBER] odd)"),
        (OSError("odd"), "odd"),
    ],
)
def test_why_there_is_no_connection_is_told_in_a_few_words(error: OSError, told: str) -> None:
    from mmg.sinks.mqtt.client import problem_of

    assert problem_of(error).startswith(told)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


def tls_broker(folder: Path, authority: Authority, host: str, *lines: str) -> Broker:
    certificate, key = authority.sign(host)
    return Broker(folder, ["allow_anonymous true", f"certfile {certificate}", f"keyfile {key}", *lines])


def test_tls_is_verified_by_the_authority_that_the_url_names(tmp_path: Path, authority: Authority) -> None:
    trusted = f"&ca={authority.certificate}"
    with tls_broker(tmp_path, authority, "localhost") as broker:
        with wearable(broker.port, scheme="mqtts") as sink:
            why = problem(sink)
            assert why.startswith("its certificate is refused: ")
            assert why.endswith(": is ?ca=FILE that of its authority?")
        with wearable(broker.port) as sink:
            assert problem(sink) == "the connection is closed without an answer: does it want mqtts:?"
        context = ssl.create_default_context(cafile=authority.certificate)
        with Listener(broker.port, tls=context) as listener, wearable(broker.port, trusted, scheme="mqtts") as sink:
            sink.write(decided("walking"))
            listener.wait_for(is_state("walking"))


def test_a_certificate_for_another_host_is_refused(tmp_path: Path, authority: Authority) -> None:
    with (
        tls_broker(tmp_path, authority, "elsewhere") as broker,
        wearable(broker.port, f"&ca={authority.certificate}", scheme="mqtts") as sink,
    ):
        why = problem(sink)
    assert why.startswith("its certificate is refused: Hostname mismatch")
    assert "ca=FILE" not in why


def test_tls_at_a_port_without_it_is_told(broker: Broker, authority: Authority) -> None:
    with wearable(broker.port, f"&ca={authority.certificate}", scheme="mqtts") as sink:
        assert problem(sink).startswith(("TLS fails (", "the connection is closed without an answer"))


def test_a_broker_that_wants_a_certificate_is_given_the_urls(tmp_path: Path, authority: Authority) -> None:
    trusted = f"&ca={authority.certificate}"
    wants = (f"cafile {authority.certificate}", "require_certificate true")
    certificate, key = authority.sign("elsewhere")
    with tls_broker(tmp_path, authority, "localhost", *wants) as broker:
        with wearable(broker.port, trusted, scheme="mqtts") as sink:
            assert problem(sink) == "the connection is closed without an answer: does it want a certificate of yours?"
        with wearable(broker.port, f"{trusted}&cert={certificate}&key={key}", scheme="mqtts") as sink:
            sink.write(decided("walking"))


def test_a_key_with_a_password_is_refused_and_asks_nobody(tmp_path: Path, authority: Authority) -> None:
    certificate, key = authority.sign("elsewhere")
    locked = tmp_path / "locked.key"
    command = ["openssl", "pkcs8", "-topk8", "-in", str(key), "-out", str(locked), "-passout", "pass:secret"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    to = f"mqtts://localhost/wrist?cert={certificate}&key={locked}"
    done = mmg_run("--demo", "--duration", "1", "--to", to)
    assert done.returncode == 2
    assert done.stderr == f"mmg-run: --to {to}: the key has a password: store it without, readable only by you\n"


def test_a_key_of_another_certificate_is_refused(authority: Authority) -> None:
    (certificate, _), (_, key) = authority.sign("elsewhere"), authority.sign("localhost")
    done = mmg_run("--demo", "--duration", "1", "--to", f"mqtts://localhost/wrist?cert={certificate}&key={key}")
    assert done.returncode == 2
    assert done.stderr.endswith(f"{certificate} with {key}: the key belongs to another certificate\n")
