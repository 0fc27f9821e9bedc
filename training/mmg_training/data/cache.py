"""Rendered sessions kept on disk: minutes of rendering the first time, a second from then on.

They lie in ``MMG_CACHE``, else ``~/.cache/mmg``, under a digest of what was asked for and of the renderer's own source,
so that a changed renderer never meets old sessions. Delete the folder at any time.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from mmg.cli.progress import counted
from mmg.cli.reporting import Reporter

from mmg_training import wearer
from mmg_training.data.sessions import Session


def folder() -> Path:
    """Where rendered sessions are kept."""
    return Path(os.environ.get("MMG_CACHE", "~/.cache/mmg")).expanduser()


def cached(asked: str, render: Callable[[], Iterable[Session]], report: Reporter) -> tuple[Session, ...]:
    """The sessions of ``render``, all of one length and with the same modalities; from disk where ``asked`` was
    rendered before. Where nothing can be written (a full disk) they are only rendered, and that is said."""
    place = folder() / f"virtual-{_digest(asked)}"
    if place.is_dir():
        try:
            return _read(place)
        except (OSError, ValueError, EOFError) as error:
            report(f"rendered sessions in {place} are damaged and rendered again: {error}")
            shutil.rmtree(place, ignore_errors=True)
    sessions = tuple(counted(report, "rendered", render(), None, "sessions"))
    try:
        _write(sessions, place)
    except OSError as error:
        report(f"rendered sessions are not kept: {place.parent}: {error.strerror or error}")
    return sessions


def _digest(asked: str) -> str:
    digest = hashlib.sha256(asked.encode())
    own = Path(__file__).parent
    others = (own / "virtual.py", own / "sessions.py", own.parent / "task.py")
    for path in (*sorted(Path(wearer.__file__).parent.glob("*.py")), *others):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:24]


def _write(sessions: Sequence[Session], place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=place.parent))
    try:
        np.save(beside / "subject.npy", [one.subject for one in sessions])
        np.save(beside / "labels.npy", np.stack([one.labels for one in sessions]))
        for name in sessions[0].samples:
            np.save(beside / f"samples-{name}.npy", np.stack([one.samples[name] for one in sessions]))
        beside.rename(place)  # in one piece: a reader finds all or nothing
    except OSError:
        if not place.is_dir():  # else another process was first
            raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _read(place: Path) -> tuple[Session, ...]:
    labels, subjects = (np.load(place / f"{name}.npy") for name in ("labels", "subject"))
    samples = {path.stem.partition("-")[2]: np.load(path, mmap_mode="c") for path in sorted(place.glob("samples-*"))}
    return tuple(
        Session("virtual wearer", int(subject), label, {name: array[number] for name, array in sorted(samples.items())})
        for number, (subject, label) in enumerate(zip(subjects, labels, strict=True))
    )
