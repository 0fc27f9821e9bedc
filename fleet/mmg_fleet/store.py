"""What is known, in a file of SQLite: one transaction a second. Others may read it meanwhile."""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import msgspec
from mmg.errors import ConfigError

from mmg_fleet.offered import Known
from mmg_fleet.wearables import Totals, Wearable

APPLICATION, FORM = int.from_bytes(b"mmgF", "big"), 1
"""The file's ``application_id``, and the form of its tables, its ``user_version``."""
MOST_PROFILES_BYTES = 1 << 30
"""Of all profiles: of more the oldest go."""
COLUMNS = Wearable.__struct_fields__
NAMES = ", ".join(f'"{name}"' for name in COLUMNS)  # "group" is a word of SQL
TABLES = f"""
CREATE TABLE wearables ({NAMES}, PRIMARY KEY (topic)) WITHOUT ROWID;
CREATE TABLE profiles (topic PRIMARY KEY, at_s, report);
CREATE TABLE differing ("group" PRIMARY KEY, since_s);
CREATE TABLE offers (digest PRIMARY KEY, name, version);
CREATE TABLE totals (name PRIMARY KEY, value);
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {FORM};
"""
KEEP_PROFILE = """
INSERT INTO profiles VALUES (?, ?, ?) ON CONFLICT (topic)
DO UPDATE SET at_s = excluded.at_s, report = excluded.report WHERE report <> excluded.report
"""
"""A broker gives what it retains anew with each connection: what is here is not written again."""
TOO_MANY_PROFILES = """
DELETE FROM profiles WHERE topic IN (
    SELECT topic FROM (SELECT topic, sum(length(report)) OVER (ORDER BY at_s DESC, topic) AS total FROM profiles)
    WHERE total > ?
)
"""
SENSORS = COLUMNS.index("sensors")


class Batch(NamedTuple):
    """What has changed since the last one. differing, offers and totals are whole."""

    wearables: Sequence[tuple[object, ...]]
    profiles: Mapping[str, bytes]
    differing: Mapping[str, float]
    offers: Mapping[str, Known]
    totals: Totals
    at_s: float


def row_of(wearable: Wearable) -> tuple[object, ...]:
    """A wearable as the store holds it: its sensors as JSON."""
    values = list(msgspec.structs.astuple(wearable))
    values[SENSORS] = msgspec.json.encode(values[SENSORS]).decode()
    return tuple(values)


class Store:
    """One file, for one mmg-fleet at a time. Raises ConfigError where it cannot be opened or is another's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        place = path.with_name(f"{path.name}.lock")
        is_first = not place.exists()
        self._lock = _lock(path, place)
        self._written: tuple[object, ...] = ()
        try:
            self._open(path)
        except ConfigError:
            if is_first:
                place.unlink()
            raise

    def _open(self, path: Path) -> None:
        """Raises ConfigError, and holds the lock no longer then."""
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._file = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            os.close(self._lock)
            raise ConfigError(f"--store {path}: cannot be opened: {error}") from error
        try:
            self._set_up()
            self.wearables()
            self.totals()
            self.differing()
            self.offers()
        except sqlite3.OperationalError as error:  # such as of a full disk: the file may be a good one
            self.close()
            raise ConfigError(f"--store {path}: cannot be used: {error}") from error
        except (sqlite3.Error, msgspec.MsgspecError, TypeError, UnicodeDecodeError) as error:
            self.close()
            raise ConfigError(f"--store {path}: cannot be used: {error}: name another file") from error
        except ConfigError:
            self.close()
            raise

    def _set_up(self) -> None:
        """Raises sqlite3.Error, and ConfigError for a file of something else."""
        [form] = self._file.execute("PRAGMA user_version").fetchone()
        [application] = self._file.execute("PRAGMA application_id").fetchone()
        [tables] = self._file.execute("SELECT count(*) FROM sqlite_master").fetchone()
        is_new = not form and not application and not tables
        if (application, form) != (APPLICATION, FORM) and not is_new:
            raise ConfigError(f"--store {self.path}: is a store of another kind: name another file")
        self._file.execute("PRAGMA journal_mode = WAL")  # a reader does not hold the writer up
        self._file.execute("PRAGMA synchronous = FULL")  # or a power cut takes what came since the last checkpoint
        if is_new:
            self._file.executescript(f"BEGIN; {TABLES} COMMIT;")

    def wearables(self) -> list[Wearable]:
        """All that are kept."""
        found = []
        for row in self._file.execute(f"SELECT {NAMES} FROM wearables"):
            values = dict(zip(COLUMNS, row, strict=True))
            values["sensors"] = msgspec.json.decode(values["sensors"])
            found.append(msgspec.convert(values, Wearable, strict=False))
        return found

    def totals(self) -> Totals:
        """Of all messages so far."""
        return msgspec.convert(dict(self._file.execute("SELECT name, value FROM totals WHERE name <> 'id'")), Totals)

    def differing(self) -> dict[str, float]:
        """The groups that disagree, and since when."""
        return msgspec.convert(dict(self._file.execute('SELECT "group", since_s FROM differing')), dict[str, float])

    def offers(self) -> dict[str, Known]:
        """All bundles that were ever offered, by digest."""
        found = self._file.execute("SELECT digest, name, version FROM offers")
        return {digest: msgspec.convert((name, version), Known) for digest, name, version in found}

    def client_id(self, prefix: str) -> str:
        """By which the broker knows this fleet again, and a copy of this file as another one: of two clients of one
        name a broker throws one out. prefix: of another one too, or what was heard below the one before would go on
        coming, as its session does."""
        made = f"mmg-fleet-{secrets.token_hex(8)}"
        with self._told():
            self._file.execute("INSERT OR IGNORE INTO totals VALUES ('id', ?)", (made,))
            [name] = self._file.execute("SELECT value FROM totals WHERE name = 'id'").fetchone()
        return f"{name}-{self.path.stat().st_ino:x}-{crc32(prefix.encode()):x}"

    def profile(self, topic: str) -> bytes | None:
        """The report of a wearable. To be called on any thread: it reads beside the writer."""
        with closing(sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True)) as reading:
            row = reading.execute("SELECT report FROM profiles WHERE topic = ?", (topic,)).fetchone()
        return None if row is None else bytes(row[0])

    def write(self, batch: Batch) -> None:
        """All of it or nothing; nothing too where nothing has changed. Raises sqlite3.Error, such as of a full disk."""
        do, rest = self._file, (batch.differing, batch.offers, batch.totals)
        if rest == self._written and not batch.wearables and not batch.profiles:
            return
        do.execute("BEGIN")
        try:
            places = ", ".join("?" * len(COLUMNS))
            do.executemany(f"INSERT OR REPLACE INTO wearables VALUES ({places})", batch.wearables)
            profiles = [(topic, batch.at_s, report) for topic, report in batch.profiles.items()]
            do.executemany(KEEP_PROFILE, profiles)
            if profiles:
                do.execute(TOO_MANY_PROFILES, (MOST_PROFILES_BYTES,))
            do.execute("DELETE FROM differing")
            do.executemany("INSERT INTO differing VALUES (?, ?)", batch.differing.items())
            offers = [(digest, *known) for digest, known in batch.offers.items()]
            do.executemany("INSERT OR REPLACE INTO offers VALUES (?, ?, ?)", offers)
            do.executemany("INSERT OR REPLACE INTO totals VALUES (?, ?)", msgspec.structs.asdict(batch.totals).items())
            do.execute("COMMIT")
            self._written = rest
        except BaseException:
            if do.in_transaction:
                do.execute("ROLLBACK")
            raise

    def forget(self, topics: Sequence[str]) -> list[str]:
        """These wearables and their reports. Returns the topics of which no wearable is known. Raises
        ConfigError."""
        with self._told():
            may_be = [topic for topic in topics if topic.isprintable()]  # as SQLite takes it, and every wearable's is
            self._file.executemany("DELETE FROM profiles WHERE topic = ?", [(topic,) for topic in may_be])
            forgotten = "DELETE FROM wearables WHERE topic = ?"
            found = [topic for topic in may_be if self._file.execute(forgotten, (topic,)).rowcount]
        return [topic for topic in topics if topic not in found]

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Before messages come, what goes wrong, as on a full disk or in a damaged file, is the store's owner's to
        mend."""
        try:
            yield
        except sqlite3.Error as error:
            raise ConfigError(f"--store {self.path}: cannot be used: {error}") from error

    def close(self) -> None:
        """Let go of the file. Twice is fine."""
        self._file.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _lock(path: Path, place: Path) -> int:
    """Held by a file beside it: SQLite's own locks are given up where anyone here closes the file."""
    try:
        descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"--store {path}: cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise ConfigError(f"--store {path}: another mmg-fleet uses it") from error
        raise ConfigError(f"--store {path}: cannot be locked: {error.strerror}: choose one on a local disk") from error
    return descriptor
