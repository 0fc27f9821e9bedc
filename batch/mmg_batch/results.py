"""A folder of results: parts that are whole or not there, who may write to it, and whose results they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from mmg.atomic_write import atomic_write
from mmg.errors import ConfigError
from mmg.folder_lock import NAME, folder_lock
from pyarrow.dataset import dataset

from mmg_batch.columns import FINGERPRINT, STATE, storable, with_metadata
from mmg_batch.columns import RECORDINGS as COLUMNS
from mmg_batch.task import Part, Task

BATCH, DECISIONS, RECORDINGS = "batch.json", "decisions", "recordings"
SCHEMA = "mmg-batch/1"
SUFFIX = ".parquet"
AT_A_TIME = 200
"""Files that are read together."""


@dataclass(frozen=True)
class Kept:
    """What is there of a recording and a bundle. is_failed: not all was decided. is_decided: something was."""

    state: str
    fingerprint: str
    is_failed: bool
    is_decided: bool


class Results:
    """The folder, opened to write. A context: nobody else writes meanwhile."""

    def __init__(self, folder: Path, described: Mapping[str, Any], noted: Mapping[str, Any] | None = None) -> None:
        """described: what the results depend on. noted: what else a new folder's file says.

        Raises ConfigError where the folder is of another batch, of another kind, or another batch is at work in it.
        """
        self.folder = folder
        _check_name(folder)
        with ExitStack() as at_end:
            at_end.enter_context(folder_lock(folder, "mmg-batch"))
            _check(folder, {"schema": SCHEMA, **described}, dict(noted or {}))
            for name in (DECISIONS, RECORDINGS):
                (folder / name).mkdir(exist_ok=True)
                for left in (folder / name).glob(".*.mmg-*"):
                    left.unlink(missing_ok=True)  # what a killed batch was writing
            self._at_end = at_end.pop_all()

    def kept(self, key: str) -> Kept | None:
        """What is there under this key; None where nothing is, it is damaged, or its two files do not belong together,
        as of a batch that was killed between them."""
        path = self.folder / RECORDINGS / f"{key}{SUFFIX}"
        if not path.is_file() or not (self.folder / DECISIONS / path.name).is_file():
            return None
        try:
            count = pq.read_metadata(self.folder / DECISIONS / path.name).num_rows
            table = pq.read_table(path, columns=["problem", "decisions"])
        except (OSError, ValueError):
            return None
        if sum(table["decisions"].to_pylist()) != count:
            return None
        noted = table.schema.metadata or {}
        fingerprint = noted.get(FINGERPRINT, b"").decode()
        is_failed = table["problem"].null_count < len(table)
        return Kept(noted.get(STATE, b"").decode(), fingerprint, is_failed, count > 0)

    def keep(self, part: Part, task: Task) -> None:
        """Write a part: its decisions first, as the row that says that they are done comes last."""
        path = self.folder / RECORDINGS / f"{part.key}{SUFFIX}"
        recordings = part.recordings
        if part.decisions:
            write(self.folder / DECISIONS / path.name, part.decisions)
        else:  # the files were touched, and hold what they held
            table = pq.read_table(path)
            recordings = with_metadata(table, task.state, (table.schema.metadata or {})[FINGERPRINT].decode())
        write(path, recordings)

    def parts(self) -> int:
        """How many there are: one for each recording and bundle."""
        return len(_parts_in(self.folder))

    def close(self) -> None:
        """Let others write."""
        self._at_end.close()

    def __enter__(self) -> Results:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()


def key_of(name: str, bundle_digest: str) -> str:
    """The name of the part of this recording and this bundle. name: also as a row of a table has it."""
    return hashlib.sha256(f"{storable(name)}\0{bundle_digest}".encode()).hexdigest()[:32]


def described_in(folder: Path) -> dict[str, Any]:
    """What the results in a folder depend on. Raises ConfigError where there are none."""
    try:
        described = json.loads((folder / BATCH).read_bytes())
    except FileNotFoundError as error:
        raise ConfigError(f"{folder}: holds no results of mmg-batch: there is no {BATCH}") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder / BATCH}: cannot be read: {error}") from error
    if not isinstance(described, dict) or described.get("schema") != SCHEMA:
        raise ConfigError(f"{folder / BATCH}: is of another mmg: this one reads {SCHEMA}")
    return described


def read_recordings(folder: Path) -> pa.Table:
    """The table of recordings, sorted by recording, bundle and subset. Raises ConfigError where there are none."""
    _check_name(folder)
    described_in(folder)
    paths = _parts_in(folder)
    if not paths:
        raise ConfigError(f"{folder}: no recording is decided yet")
    try:
        table = pa.concat_tables(
            # Each file of a data set takes 100 KiB until the last one is read.
            dataset(paths[first : first + AT_A_TIME], schema=COLUMNS, format="parquet")
            .to_table(use_threads=False)
            .combine_chunks()
            for first in range(0, len(paths), AT_A_TIME)
        )
        if table["recording"].null_count:
            raise ValueError("it has rows without a recording")
    except (OSError, ValueError) as error:
        why = f"a file in {folder / RECORDINGS} is damaged, or is no part of a batch"
        raise ConfigError(f"{why}: the same mmg-batch again mends its own, remove any other: {error}") from error
    return table.sort_by([(name, "ascending") for name in ("recording", "bundle", "subset")])


def damaged_in(folder: Path) -> list[str]:
    """The files in the folder that are damaged or lack, of parts of which one file at least is there."""
    found = []
    for name in sorted(
        {path.name for kind in (DECISIONS, RECORDINGS) for path in (folder / kind).glob(f"[!.]*{SUFFIX}")}
    ):
        if not (folder / RECORDINGS / name).is_file():
            found.append(f"{RECORDINGS}/{name}")
            continue
        try:
            pq.read_metadata(folder / DECISIONS / name)
        except (OSError, ValueError):
            found.append(f"{DECISIONS}/{name}")
    return found


def _parts_in(folder: Path) -> list[Path]:
    return sorted((folder / RECORDINGS).glob(f"[!.]*{SUFFIX}"))


def _check_name(folder: Path) -> None:
    """Raises ConfigError for one by which pyarrow can open nothing."""
    try:
        str(folder).encode()
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"{folder}: is no UTF-8, as a folder of tables must be: rename it, or choose another"
        ) from error


def _check(folder: Path, described: dict[str, Any], noted: dict[str, Any]) -> None:
    if not (folder / BATCH).exists():
        if [path for path in folder.iterdir() if path.name != NAME and not path.name.startswith(f".{BATCH}.mmg-")]:
            raise ConfigError(f"{folder}: holds other files, and no results of mmg-batch: choose another folder")
        write(folder / BATCH, json.dumps({**described, **noted}, indent=2).encode() + b"\n")
        return
    there = described_in(folder)
    for key, value in described.items():
        if there.get(key) != value:
            has, asked = json.dumps(there.get(key)), json.dumps(value)
            raise ConfigError(f"{folder}: holds results with {key} {has}, and now it is {asked}: choose another folder")


def write(path: Path, data: bytes) -> None:
    """Replace the file by a whole one. Raises OSError."""
    with atomic_write(path) as stream:
        stream.write(data)
