"""The signature of a bundle: who vouches for its manifest, and by the hashes in it for every file.

What is signed is ``DOMAIN``, the SHA-256 of ``manifest.json`` and that of ``MODEL_CARD.md`` (of nothing where there is
no card), one after another. The manifest holds the SHA-256 of every other file, and those are compared when the file is
read: nothing of the bundle is outside the signature.
"""

from __future__ import annotations

import hashlib
from typing import Annotated

import msgspec

from mmg.bundle.keys import PrivateKey, PublicKey
from mmg.errors import BundleError

# Keeps a signature made for a bundle from standing for anything else that the same key signs.
DOMAIN = b"mmg-bundle/1 signature\n"
SIGNATURE_LIMIT_BYTES = 4096


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of ``manifest.sig``, in hexadecimal digits."""

    public_key: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    signature: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{128}\Z")]

    @property
    def signer(self) -> PublicKey:
        """The key that it claims to be of."""
        return PublicKey(bytes.fromhex(self.public_key))


def make_signature(manifest: bytes, card: bytes | None, key: PrivateKey) -> bytes:
    """What ``manifest.sig`` holds, the same for the same bytes and key. Raises BackendUnavailable."""
    return _encoded(Signature(key.public.data.hex(), key.sign(_message(manifest, card)).hex()))


def parse_signature(stored: bytes, path: str, name: str) -> Signature:
    """Read what ``manifest.sig`` holds, which has one form. path, name: the bundle and the file, for the BundleError
    that this raises."""
    try:
        signature = msgspec.json.decode(stored, type=Signature)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(path, name, f"is not a signature: {error}") from error
    if _encoded(signature) != stored:
        raise BundleError(path, name, "was altered since it was written: its spaces or the order of its keys differ")
    return signature


def check_signature(
    path: str, manifest: bytes, card: bytes | None, signature: Signature | None, key: PublicKey
) -> None:
    """Raises BundleError unless ``key`` signed exactly these bytes, and BackendUnavailable."""
    if signature is None:
        raise BundleError(path, "", f"is not signed, and only bundles signed by key {key.fingerprint} are trusted")
    if signature.signer != key:
        problem = f"is signed by key {signature.signer.fingerprint}, but only key {key.fingerprint} is trusted"
        raise BundleError(path, "", problem)
    if not key.verifies(_message(manifest, card), bytes.fromhex(signature.signature)):
        problem = f"its manifest or its card was altered since key {key.fingerprint} signed it: fetch it again"
        raise BundleError(path, "", problem)


def _encoded(signature: Signature) -> bytes:
    return msgspec.json.format(msgspec.json.encode(signature), indent=2) + b"\n"


def _message(manifest: bytes, card: bytes | None) -> bytes:
    return DOMAIN + hashlib.sha256(manifest).digest() + hashlib.sha256(card or b"").digest()
