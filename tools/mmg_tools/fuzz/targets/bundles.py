"""What comes with a model: its manifest, signature, arrays and zip; a key; and what was taught."""

from __future__ import annotations

import io
import zipfile
from contextlib import suppress
from functools import cache

import msgspec
from mmg.board.profiling.gate import gate_costs
from mmg.bounded_zip import ZIP_ERRORS
from mmg.bundle import Bundle
from mmg.bundle.arrays import MAGIC, read_arrays
from mmg.bundle.golden import unpack as unpack_golden
from mmg.bundle.keys import read_private_key, read_public_key
from mmg.bundle.manifest import Manifest, ManifestError, decode, encode
from mmg.bundle.reader import STARTER
from mmg.bundle.signature import parse_signature
from mmg.bundle.unknown import unpack as unpack_unknown
from mmg.errors import MmgError
from mmg.teaching import store

from mmg_tools.fuzz.target import Broken
from mmg_tools.fuzz.targets.scratch import written

NAMES = ("imu/samples", "imu/tokens", "fusion/0/tokens", "imu/center", "imu/basis", "imu/lean", "a", "audio/samples")


def manifest(data: bytes) -> None:
    """Decoded and checked; what was taken has costs, and is the same when it is written and read again."""
    try:
        found = decode(data)
    except ManifestError:
        return
    gate_costs(found)
    if decode(encode(found)) != found:
        raise Broken("written and read again, a manifest is another")


def bundle(data: bytes) -> None:
    """A ``.mmg`` file: opened, and all of it read."""
    path = written("model.mmg", data)
    with suppress(MmgError), Bundle.open(path) as opened:
        opened.read_card()
        opened.read_signature()
        for file in opened.manifest.stored():
            opened.read(file)


def signature(data: bytes) -> None:
    """A bundle's ``manifest.sig``."""
    with suppress(MmgError):
        made = parse_signature(data, "model.mmg", "manifest.sig")
        if len(made.signer.data) != 32 or len(bytes.fromhex(made.signature)) != 64:
            raise Broken("a signature of another size is taken")


def key(data: bytes) -> None:
    """A file of a key, as either kind."""
    path = written("own.key", data)
    for read in (read_public_key, read_private_key):
        with suppress(MmgError):
            read(path)


def golden(data: bytes) -> None:
    """Golden arrays of the bundle that mmg carries, as a file or as the arrays of a right one."""
    for stored in (data, _archived(data)):
        with suppress(*ZIP_ERRORS):
            _check_arrays(stored)
        with suppress(MmgError):
            unpack_golden(stored, _starter(), "model.mmg")


def unknown(data: bytes) -> None:
    """The same of what tells the unknown."""
    for stored in (data, _archived(data)):
        with suppress(MmgError):
            unpack_unknown(stored, _starter(), "model.mmg")


def taught(data: bytes) -> None:
    """What was taught, with its own digest and with the right one."""
    for stored in (data, _sealed(data)):
        with suppress(MmgError):
            found = store.read_taught(written("own.taught", stored))
            if len(set(found.names)) != len(found.names):
                raise Broken("an activity is there twice")


def _check_arrays(stored: bytes) -> None:
    held = sum(array.nbytes for array in read_arrays(stored).values())
    if held > len(stored):
        raise Broken("arrays hold more than their file")


def _archived(data: bytes) -> bytes:
    """A zip whose checksums are right: each part, up to four zero bytes and a number, is one array."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for number, part in enumerate(data.split(b"\0\0\0\0")[:8]):
            header, _, content = part.partition(b"\n")
            head = MAGIC + len(header + b"\n").to_bytes(2, "little") + header + b"\n"
            with suppress(UserWarning):
                archive.writestr(f"{NAMES[number]}.npy", head + content)
    return made.getvalue()


def _sealed(data: bytes) -> bytes:
    """With the digest that it should have, where it is whole otherwise."""
    try:
        file = msgspec.msgpack.decode(data, type=store._File)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return data
    return msgspec.msgpack.encode(msgspec.structs.replace(file, sha256=store._digest(file)))


@cache
def _starter() -> Manifest:
    return decode((STARTER / "manifest.json").read_bytes())
