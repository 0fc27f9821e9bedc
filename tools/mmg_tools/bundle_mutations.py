"""Mutations of a signed bundle, each opened with trust and read whole: none may be accepted, slow or large.

A mutation counts as accepted where opening the bundle with the key and reading every file in it raises nothing,
whatever was changed: a signed bundle has one form, so that there are no changes without a meaning.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from mmg.bundle import Bundle, write_bundle
from mmg.bundle.keys import make_keys, read_private_key
from mmg.bundle.writer import put_signature
from mmg.cli.progress import Progress
from mmg.cli.reporting import stderr_reporter
from mmg.errors import MmgError
from msgspec import json as manifest_json
from msgspec.structs import replace

_report = stderr_reporter("bundle_mutations")
FORMS = ("folder", "zip")
LONGEST_S, MOST_MIB = 1.0, 200
HANGS_S, LIMIT_BYTES = 20, 2 << 30
FILE_BYTES = 600
Contents = dict[str, bytes]


@dataclass
class Told:
    """What became of the mutations. accepted, crashed: the numbers of those. longest_s: processor time of one;
    most_mib: of the whole process that opened them, Python included."""

    count: int = 0
    accepted: list[int] = field(default_factory=list)
    crashed: list[int] = field(default_factory=list)
    longest_s: float = 0.0
    most_mib: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether it is as promised."""
        return not self.accepted and not self.crashed and self.longest_s < LONGEST_S and self.most_mib < MOST_MIB


def main(arguments: list[str] | None = None) -> int:
    """Mutate both forms, print the figures, and return 0 where they are as promised, else 1."""
    parser = argparse.ArgumentParser(
        prog="python -m mmg_tools.bundle_mutations",
        description="Change a signed bundle at random, as a folder and as a .mmg file, and open each with its key.",
    )
    parser.add_argument("--count", type=int, default=10_000, help="half of them of each form (default 10000)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other mutations (default 0)")
    options = parser.parse_args(arguments)
    whole = True
    with Progress(_report, "mutated"), tempfile.TemporaryDirectory(prefix="mmg-mutations-") as made:
        for form in FORMS:
            _report(f"{form}: {options.count // len(FORMS)} mutations")
            told = mutate_all(options.count // len(FORMS), options.seed, form, Path(made) / form)
            whole = whole and told.holds
            figures = f"longest {told.longest_s * 1e3:.0f} ms, most memory {told.most_mib:.0f} MiB"
            print(
                f"{form}: {told.count} mutations, {len(told.accepted)} accepted, {len(told.crashed)} crashed, {figures}"
            )
            for number in (*told.accepted, *told.crashed):
                print(f"  number {number} of seed {options.seed}")
    return 0 if whole else 1


def mutate_all(count: int, seed: int, form: str, folder: Path) -> Told:
    """Open so many mutations of one form in a child with limits, another one after each that ends it."""
    folder.mkdir(parents=True, exist_ok=True)
    make_signed(folder, form)
    told = Told()
    while told.count < count:
        words = [str(folder), form, str(seed), str(told.count), str(count)]
        child = subprocess.run(
            [sys.executable, "-c", "from mmg_tools.bundle_mutations import work; work()", *words],
            stdout=subprocess.PIPE,
            check=False,
        )
        for line in child.stdout.splitlines():
            one = json.loads(line)
            told.count += 1
            told.longest_s, told.most_mib = max(told.longest_s, one["s"]), max(told.most_mib, one["mib"])
            if one["accepted"]:
                told.accepted.append(one["number"])
        if child.returncode:
            told.crashed.append(told.count)
            told.count += 1
    return told


def make_signed(folder: Path, form: str) -> None:
    """``signed`` or ``signed.mmg`` and ``key.pub``: the starter's manifest, a card, files of some hundred bytes."""
    with Bundle.open("starter") as starter:
        document = json.loads(starter.manifest_bytes)
    files: Contents = {"MODEL_CARD.md": b"# A card\n"}
    _fill(document, files, random.Random(1))
    manifest = manifest_json.decode(json.dumps(document).encode(), type=type(starter.manifest))
    make_keys(str(folder / "key"))
    path = folder / ("signed" if form == "folder" else "signed.mmg")
    write_bundle(path, replace(manifest), files)
    put_signature(path, read_private_key(folder / "key.key"))


def _fill(part: object, files: Contents, dice: random.Random) -> None:
    """Give every file that a manifest names bytes of its own."""
    if isinstance(part, dict):
        if "sha256" in part:
            data = files[part["path"]] = dice.randbytes(FILE_BYTES)
            part |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for inner in part.values():
            _fill(inner, files, dice)
    elif isinstance(part, list):
        for inner in part:
            _fill(inner, files, dice)


def work() -> None:
    """In the child: make mutations, open them, and print what became of each as a line of JSON."""
    folder, form, seed, first, end = Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
    original, key = folder / ("signed" if form == "folder" else "signed.mmg"), folder / "key.pub"
    place = folder / f"changed{original.suffix}"
    for number in range(first, end):
        dice = random.Random(f"{seed}/{form}/{number}")
        if form == "folder":
            _change_folder(original, place, dice)
        else:
            right = original.read_bytes()
            while (changed := _changed_zip(right, dice)) == right:
                pass
            place.write_bytes(changed)
        signal.alarm(HANGS_S)
        began_s = time.process_time()
        accepted = _opens(place, key)
        told = {"number": number, "accepted": accepted, "s": time.process_time() - began_s}
        signal.alarm(0)
        told["mib"] = _most_mib()
        print(json.dumps(told), flush=True)


def _most_mib() -> float:
    """The most memory that this program held; getrusage would count that of the process which started it too."""
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def _opens(path: Path, key: Path) -> bool:
    try:
        with Bundle.open(path, trust=key) as bundle:
            for file in bundle.manifest.stored():
                bundle.read(file)
            bundle.read_card()
            bundle.read_signature()
    except MmgError:
        return False
    return True


def _change_folder(original: Path, place: Path, dice: random.Random) -> None:
    """A copy with one thing changed: bytes of a file, its name, its kind, or something added or taken out."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(original, place)
    files = sorted(path for path in place.rglob("*") if path.is_file())
    one, other = dice.sample(files, 2)
    kind = dice.randrange(12)
    if kind == 0 and one.read_bytes() != other.read_bytes():
        spare = one.with_name("spare")
        one.rename(spare), other.rename(one), spare.rename(other)
    elif kind == 1:
        one.rename(one.with_name(f"{one.name}{dice.choice('.0~_')}"))
    elif kind == 2:
        one.unlink()
    elif kind == 3:
        (place / dice.choice((".hidden", "more.onnx", "manifest.json.bak", "imu.onnx.data", "a b"))).touch()
    elif kind == 4:
        (place / dice.choice(("models", ".git", "a/b"))).mkdir(parents=True)
    elif kind == 5:
        one.unlink()
        dice.choice((one.mkdir, lambda: os.mkfifo(one), lambda: one.symlink_to(original / one.relative_to(place))))()
    elif kind == 6:
        shutil.copy(one, place / f"copy-{one.name}")
    else:
        right = one.read_bytes()
        while (changed := _changed(right, dice)) == right:
            pass
        one.write_bytes(changed)


def _changed_zip(right: bytes, dice: random.Random) -> bytes:
    kind = dice.randrange(10)
    if kind == 0:
        return _packed_anew(right, dice)
    if kind <= 3:  # among what is no file's data: heads of entries, the list and the end
        marks = [place for mark in (b"PK\3\4", b"PK\1\2", b"PK\5\6") for place in _places(right, mark)]
        begin = dice.choice(marks)
        return right[:begin] + _changed(right[begin : begin + 80], dice) + right[begin + 80 :]
    if kind == 4:
        more = dice.randbytes(dice.randint(1, 40))
        return dice.choice((more + right, right + more))
    return _changed(right, dice)


def _places(data: bytes, mark: bytes) -> list[int]:
    found, place = [], data.find(mark)
    while place >= 0:
        found.append(place)
        place = data.find(mark, place + 1)
    return found


def _packed_anew(right: bytes, dice: random.Random) -> bytes:
    """The same files or nearly, as another program packs them."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(right)) as archive:
        files = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    kind = dice.randrange(8)
    if kind == 0:
        dice.shuffle(files)
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED if kind == 1 else zipfile.ZIP_STORED) as archive:
        for name, data in files:
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, dice.choice((0, 2)) if kind == 2 else 0))
            entry.external_attr = 0o644 << 16 if kind != 3 else 0o755 << 16
            entry.extra = b"UT\5\0\3\0\0\0\0" if kind == 4 else b""
            entry.comment = b"a file" if kind == 5 else b""
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED if kind == 1 else zipfile.ZIP_STORED)
        if kind == 6:
            archive.writestr(dice.choice((".hidden", "models/", "more.onnx")), b"")
        if kind == 7:
            name, data = dice.choice(files)
            archive.comment = name.encode()
    return made.getvalue()


def _changed(data: bytes, dice: random.Random) -> bytes:
    """With one place changed: a bit, some bytes, cut out, doubled, put in, or the end cut off."""
    place = dice.randrange(max(len(data), 1))
    length = dice.choice((1, 1, 2, 4, 16))
    before, there, after = data[:place], data[place : place + length], data[place + length :]
    return dice.choice(
        (
            before + bytes([there[0] ^ 1 << dice.randrange(8)]) + there[1:] + after,
            before + dice.randbytes(len(there)) + after,
            before + after,
            before + there + there + after,
            before + dice.randbytes(length) + there + after,
            before + bytes(len(there)) + after,
            before,
        )
    )


if __name__ == "__main__":
    sys.exit(main())
