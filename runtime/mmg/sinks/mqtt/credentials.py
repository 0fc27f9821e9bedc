"""What a broker must not be told by others: credentials and keys, from files that others cannot read."""

from __future__ import annotations

import os
import shlex
import ssl
import stat
from collections.abc import Callable
from ipaddress import ip_address
from typing import BinaryIO, NoReturn

from mmg_device_profiles.regular_file import open_regular

from mmg.errors import ConfigError
from mmg.sinks.mqtt.address import Address

MOST_BYTES = 4096
"""Of a file of credentials: what is longer is another file."""
PRIVATE_KEY, MOST_PEM_BYTES = b"PRIVATE KEY-----", 1 << 20
"""How the first line of every kind of key in PEM ends (RFC 7468), and how far it is looked for."""


def read_credentials(address: Address, report: Callable[[str], object]) -> tuple[str, str] | None:
    """Username and password, the first and the second line of their file; None where the URL names none. report: told
    where others can read them on their way.

    Raises ConfigError where there are no such two lines, or others may read them.
    """
    if not address.credentials:
        return None
    try:
        with open_regular(address.credentials) as file:
            _refuse_if_open_to_others(address, address.credentials, file)
            lines = file.read(MOST_BYTES).decode().splitlines()
    except OSError as error:
        raise ConfigError(f"--to {address.url}: {address.credentials}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"--to {address.url}: {address.credentials}: is not UTF-8 text") from error
    if len(lines) != 2 or not all(lines) or any("\0" in line for line in lines):
        expected = "the username on the first line and the password on the second, and nothing else"
        raise ConfigError(f"--to {address.url}: {address.credentials}: write {expected}")
    if not address.is_tls and not _is_this_machine(address.host):
        report(f"{address.url}: the password goes over the network in the clear: write mqtts: where the broker has TLS")
    return lines[0], lines[1]


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


def tls_context(address: Address) -> ssl.SSLContext | None:
    """What verifies the broker, by the system's certificates or the URL's; None without TLS. Raises ConfigError."""
    if not address.is_tls:
        return None
    try:
        if address.ca:
            open_regular(address.ca).close()  # OpenSSL would wait for a pipe
        context = ssl.create_default_context(cafile=address.ca or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"--to {address.url}: {address.ca}: {_reason(error, 'certificates')}") from error
    if address.cert:
        _check_key(address)

        def refuse() -> NoReturn:  # else OpenSSL asks on the terminal, where a service has none
            raise ConfigError(f"--to {address.url}: the key has a password: store it without, readable only by you")

        try:
            context.load_cert_chain(address.cert, address.key or None, refuse)
        except (OSError, ssl.SSLError) as error:
            files = f"{address.cert}{f' with {address.key}' if address.key else ''}"
            problem = _reason(error, "certificate with its key")
            raise ConfigError(f"--to {address.url}: {files}: {problem}") from error
    return context


def _check_key(address: Address) -> None:
    """Raises ConfigError where others may read the key. The certificate's file may have it in it too: there OpenSSL
    looks for it where the URL names none."""
    for path in filter(None, (address.cert, address.key)):
        try:
            with open_regular(path) as file:
                if path == address.key or (not address.key and PRIVATE_KEY in file.read(MOST_PEM_BYTES)):
                    _refuse_if_open_to_others(address, path, file)
        except OSError as error:
            raise ConfigError(f"--to {address.url}: {path}: {error.strerror}") from error


def _reason(error: OSError, what: str) -> str:
    if "KEY_VALUES_MISMATCH" in str(error):
        return "the key belongs to another certificate"
    return f"no {what} in PEM" if isinstance(error, ssl.SSLError) else str(error.strerror)


def _refuse_if_open_to_others(address: Address, path: str, file: BinaryIO) -> None:
    if os.fstat(file.fileno()).st_mode & (stat.S_IROTH | stat.S_IWOTH):
        raise ConfigError(f"--to {address.url}: every user can read {path}: chmod o= {shlex.quote(path)}")
