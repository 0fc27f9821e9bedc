"""Keys that sign bundles and that bundles are trusted by: Ed25519 (RFC 8032), in files of one line."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from mmg.errors import BackendUnavailable, ConfigError

PUBLIC, PRIVATE = "mmg-public-key", "mmg-private-key"
KEY_FILE_LIMIT_BYTES = 4096


@dataclass(frozen=True, slots=True)
class PublicKey:
    """32 bytes that anyone may know."""

    data: bytes

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of its SHA-256: for people to compare, never for mmg."""
        return hashlib.sha256(self.data).hexdigest()[:16]

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Whether this key's owner signed the message; signature: 64 bytes. Raises BackendUnavailable."""
        signing = _load_signing()
        try:
            signing.VerifyKey(self.data).verify(message, signature)
        except signing.exc.BadSignatureError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """32 bytes that only their owner may know."""

    seed: bytes = field(repr=False)

    @property
    def public(self) -> PublicKey:
        """The key that verifies what this one signs. Raises BackendUnavailable."""
        return PublicKey(bytes(_load_signing().SigningKey(self.seed).verify_key))

    def sign(self, message: bytes) -> bytes:
        """64 bytes, the same for the same message. Raises BackendUnavailable."""
        return bytes(_load_signing().SigningKey(self.seed).sign(message).signature)


def make_keys(name: str) -> PublicKey:
    """Write ``name.key``, which only its owner can read, and ``name.pub``. Raises ConfigError where one exists."""
    paths = Path(f"{name}.key"), Path(f"{name}.pub")
    for path in paths:
        if os.path.lexists(path):
            raise ConfigError(f"{path}: already exists, and a key is never overwritten: choose another name")
    private = PrivateKey(os.urandom(32))
    public = private.public
    _create(paths[0], f"{PRIVATE} {private.seed.hex()}\n", 0o600)
    try:
        _create(paths[1], f"{PUBLIC} {public.data.hex()}\n", 0o644)
    except OSError:
        paths[0].unlink()
        raise
    return public


def read_public_key(path: str | Path) -> PublicKey:
    """The key in a ``.pub`` file. Raises ConfigError."""
    return PublicKey(_read(Path(path), PUBLIC))


def read_private_key(path: str | Path) -> PrivateKey:
    """The key in a ``.key`` file. Raises ConfigError."""
    return PrivateKey(_read(Path(path), PRIVATE))


def _read(path: Path, wanted: str) -> bytes:
    try:
        # A pipe is not waited for: it holds nothing yet, and so no key.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:  # noqa: PTH123
            data = stream.read(KEY_FILE_LIMIT_BYTES) or b""
    except (OSError, ValueError) as error:  # ValueError for a path with a null character
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"key {path}: cannot be read: {reason}") from error
    found = re.fullmatch(rb"(mmg-(?:public|private)-key) ([0-9a-f]{64})\s*", data)
    if found is None:
        raise ConfigError(f"key {path}: is not an mmg key: mmg-bundle keygen makes a pair")
    if found[1].decode() != wanted:
        if wanted == PUBLIC:
            raise ConfigError(f"key {path}: is the private key, which stays with its owner: give the .pub beside it")
        raise ConfigError(f"key {path}: is the public key, which cannot sign: give the .key beside it")
    return bytes.fromhex(found[2].decode())


def _create(path: Path, line: str, mode: int) -> None:
    # O_EXCL: a file or a link that appeared since we looked is not written to.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with open(descriptor, "w", encoding="ascii") as stream:  # noqa: PTH123
            stream.write(line)
    except OSError:
        path.unlink()
        raise


def _load_signing() -> ModuleType:
    try:
        from nacl import signing
    except ImportError as error:
        raise BackendUnavailable("PyNaCl", "pynacl") from error
    return signing
