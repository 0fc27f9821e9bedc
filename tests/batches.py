"""How tests run mmg-batch and mmg-report, read their tables, and make recordings that break who reads them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from mmg_batch.results import read_recordings

POISON = '''
import ctypes, os, shutil, signal
from fsspec.spec import AbstractFileSystem

class Poison(AbstractFileSystem):
    """Files whose names say what becomes of who reads them; one whose name says nothing is the file ``POISON``."""
    protocol = "poison"
    def isdir(self, path): return False
    def exists(self, path, **kwargs): return "labels" not in path
    def size(self, path): return 10**6
    def ukey(self, path): return "the same"
    def get_file(self, path, local, **kwargs):
        if "hang" in path: ctypes.PyDLL(None).pause()  # and no other thread of Python runs
        if "crash" in path: os.kill(os.getpid(), signal.SIGSEGV)
        if "exit" in path: os._exit(7)
        if "raise" in path: raise ZeroDivisionError("a bug")
        if "memory" in path: raise MemoryError
        shutil.copy(os.environ["POISON"], local)
'''


def command(*words: object) -> list[str]:
    """mmg-batch with these words."""
    return [sys.executable, "-m", "mmg_batch.cli", *map(str, words)]


def batch(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it on two processes."""
    return subprocess.run(
        command("--workers", 2, *words),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


def poison(folder: Path, file: Path) -> dict[str, str]:
    """An environment in which ``poison://NAME`` is a URL that fsspec knows; see ``POISON``."""
    (folder / "poison_files.py").write_text(POISON)
    about = folder / "poison_files-1.dist-info"
    about.mkdir(exist_ok=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: poison-files\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[fsspec.specs]\npoison=poison_files:Poison\n")
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths), "POISON": str(file)}


def decisions(folder: Path) -> pa.Table:
    """The table of decisions, sorted as the docs say."""
    table = pa.concat_tables(pq.read_table(path) for path in (folder / "decisions").glob("*.parquet"))
    return table.sort_by([(name, "ascending") for name in ("recording", "bundle", "subset", "hop")])


def recordings(folder: Path) -> dict[str, dict[str, Any]]:
    """The rows of the table of recordings, by the ends of their names and their subsets: ``a imu+audio``."""
    rows = read_recordings(folder).to_pylist()
    return {f"{row['recording'].rsplit('/', 1)[-1]} {row['subset']}".strip(): row for row in rows}


def assert_same(one: Path, other: Path) -> None:
    """Both tables hold the same."""
    assert decisions(one).equals(decisions(other))
    assert read_recordings(one).equals(read_recordings(other))


def link(recording: Path, folder: Path) -> None:
    """The same recording in another folder."""
    folder.mkdir(parents=True)
    for path in recording.iterdir():
        (folder / path.name).symlink_to(path)
