"""Who may look: the token, the name by which this machine was called, and the page that a request comes from."""

from __future__ import annotations

import hmac
import ipaddress
import os
import secrets
import socket
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from mmg_device_profiles.regular_file import open_regular

from mmg.errors import ConfigError

ONWARD = '<!doctype html><meta charset="utf-8"><title>mmg</title><meta http-equiv="refresh" content="0; url=/">\n'
"""A browser that follows a link from another site brings the strict cookie only where this page sends it on."""
TOKEN_BYTES = 24
LEAST_TOKEN, MOST_TOKEN_BYTES = 16, 4096
"""Characters of a token in a file: fewer can be guessed. What is longer is another file."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP status, and why in one line."""

    status: int
    why: str


@dataclass(frozen=True, slots=True)
class Asked:
    """Of a request: what access hangs on. headers: names in lower case. here: the address at which it arrived.

    token: as the URL, a header or the cookie gives it.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    here: str
    token: str


class Access:
    """address: where the page is served. token: empty where none is needed. names: by which it may be called too."""

    def __init__(self, address: str, token: str, names: Iterable[str] = ()) -> None:
        self.token = token
        self._names = {"localhost", *(name.lower() for name in names if name)}
        if not is_loopback(address):
            name = socket.gethostname().lower()
            self._names |= {name, f"{name.partition('.')[0]}.local"}

    def refusal(self, asked: Asked) -> Refusal | None:
        """Why this request is not answered; None where it is."""
        host = asked.headers.get("host", "")
        if not self._is_here(host, asked.here):
            return Refusal(403, "the Host header names another machine: ?host=NAME of the page's URL allows a name")
        if not _is_same_origin(asked, host):
            return Refusal(403, "asked for from another origin")
        if self.token and not hmac.compare_digest(asked.token.encode(), self.token.encode()):
            return Refusal(401, "no token, or not the one that was shown: open its link, or send Authorization")
        kind = asked.headers.get("content-type", "").partition(";")[0].strip().lower()
        if asked.method == "POST" and kind != "application/json":
            return Refusal(415, "send Content-Type: application/json")
        return None

    def _is_here(self, host: str, here: str) -> bool:
        """A foreign name that its owner points at this machine (DNS rebinding) is refused."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self._names or _as_address(name) in (_as_address(here), *LOOPBACKS)


LOOPBACKS = ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")


def _as_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | object:
    """Equal to no other where it is none."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return object()
    return getattr(address, "ipv4_mapped", None) or address


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches it."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _is_same_origin(asked: Asked, host: str) -> bool:
    """A link of another page may lead to the page itself; nothing else may be asked for from there."""
    is_page = asked.method in ("GET", "HEAD") and asked.path == "/"
    if is_page and asked.headers.get("sec-fetch-mode", "navigate") == "navigate":
        return True
    if asked.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return False
    origin = asked.headers.get("origin")
    return origin is None or origin in (f"http://{host}", f"https://{host}")


def new_token() -> str:
    """One that nobody guesses."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def token_in(path: Path) -> str:
    """The token that a file holds, which is made where it is missing. Raises ConfigError."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return _read_token(path)
    except OSError as error:
        raise ConfigError(f"token_file={path}: cannot be made: {error.strerror}") from error
    token = new_token()
    try:
        with os.fdopen(file, "w") as made:
            made.write(f"{token}\n")
    except OSError as error:
        path.unlink()  # an empty one would be taken for a token that is too short
        raise ConfigError(f"token_file={path}: cannot be written: {error.strerror}") from error
    return token


def _read_token(path: Path) -> str:
    try:
        with open_regular(path) as file:
            mode, data = os.fstat(file.fileno()).st_mode, file.read(MOST_TOKEN_BYTES)
    except OSError as error:
        raise ConfigError(f"token_file={path}: cannot be read: {error.strerror}") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"token_file={path}: others may read it: chmod 600 {path}")
    token = data.decode("ascii", errors="replace").strip()
    if len(token) < LEAST_TOKEN or not set(token) <= TOKEN_CHARACTERS:
        raise ConfigError(f"token_file={path}: a token is {LEAST_TOKEN} or more letters, digits, - and _")
    return token


TOKEN_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
