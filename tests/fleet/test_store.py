"""What is kept of wearables: whole or not at all, known again, and its owner's alone."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from heard import BEGAN_S, GLASSES, WRIST, Heard, about, batch, offering
from mmg.bundle.index import INDEX
from mmg.errors import ConfigError
from mmg.types import SensorState
from mmg_fleet.figures import differing
from mmg_fleet.offered import Known, Offered
from mmg_fleet.store import Store
from mmg_fleet.watching import Watching
from mmg_fleet.wearables import Fleet, Moment, Totals


def test_a_store_that_is_opened_again_knows_what_it_knew(tmp_path: Path, heard: Heard) -> None:
    heard.hear(f"{WRIST}/about", about())
    heard.decide(WRIST, audio=SensorState("stale", 9.0, 5, "unplugged"))
    heard.decide(GLASSES, "still")
    heard.hear(f"{WRIST}/profile", b'{"schema":"mmg-profile/1","board":"x"}')
    heard.pass_s(1)
    place = tmp_path / "a ?fleet#1%.sqlite"
    store = Store(place)
    known = {"a" * 64: Known("starter", 3)}
    store.write(batch(heard.fleet, offers=known))
    name = store.client_id("mmg")
    store.close()
    again = Store(place)
    assert {one.topic: one for one in again.wearables()} == heard.fleet.wearables
    assert (again.totals(), again.differing(), again.offers()) == (heard.fleet.totals, heard.fleet.differing, known)
    assert again.profile(WRIST) == b'{"schema":"mmg-profile/1","board":"x"}'
    assert again.profile("mmg/none") is None
    assert again.client_id("mmg") == name
    fleet = Fleet("mmg", Offered(), again.wearables(), again.totals(), again.differing(), now=Moment(BEGAN_S + 60, 0))
    fleet.tick(Moment(BEGAN_S + 61, 1))  # nobody was heard yet
    assert fleet.differing == {"anna": BEGAN_S + 1}
    again.close()


def test_who_is_in_the_store_is_silent_until_it_is_heard_again(tmp_path: Path, heard: Heard) -> None:
    heard.decide(WRIST)
    heard.decide(GLASSES, "still")
    heard.pass_s(1)
    store = Store(tmp_path / "fleet.sqlite")
    store.write(batch(heard.fleet))
    heard.set_clock(-3600)  # before it starts again
    heard.fleet = Fleet("mmg", Offered(), store.wearables(), store.totals(), store.differing(), now=heard.now)
    assert (heard.word(WRIST), heard.word(GLASSES), differing(heard.fleet, heard.now)) == ("silent", "silent", [])
    heard.decide(WRIST)
    heard.decide(GLASSES, "still")
    assert (heard.word(WRIST), heard.word(GLASSES)) == ("deciding", "deciding")
    assert [row["group"] for row in differing(heard.fleet, heard.now)] == ["anna"]
    store.close()


def test_a_group_of_which_one_is_forgotten_disagrees_no_more(tmp_path: Path, heard: Heard) -> None:
    heard.decide(WRIST)
    heard.decide(GLASSES, "still")
    heard.pass_s(1)
    store = Store(tmp_path / "fleet.sqlite")
    store.write(batch(heard.fleet))
    assert store.differing() == {"anna": BEGAN_S + 1}
    assert store.forget([GLASSES, "mmg/none", "mmg/\udcff"]) == ["mmg/none", "mmg/\udcff"]
    watching = Watching("mmg", store, Offered(), lambda _: None)
    watching.take(f"{WRIST}/status", b"online", is_retained=True)
    watching.close()
    assert store.differing() == {}
    store.close()


def test_a_store_that_cannot_be_written_before_anything_is_heard_is_one_line(tmp_path: Path) -> None:
    store = Store(tmp_path / "fleet.sqlite")
    store._file.executescript("DROP TABLE profiles; DROP TABLE totals")  # as good as a damaged page
    with pytest.raises(ConfigError, match=r"fleet\.sqlite: cannot be used: no such table: profiles"):
        store.forget([WRIST])
    with pytest.raises(ConfigError, match=r"fleet\.sqlite: cannot be used: no such table: totals"):
        store.client_id("mmg")
    store.close()


def test_a_batch_is_kept_whole_or_not_at_all(tmp_path: Path, heard: Heard) -> None:
    heard.decide(WRIST)
    store = Store(tmp_path / "fleet.sqlite")
    store.write(batch(heard.fleet))
    heard.decide(WRIST, "still")
    with pytest.raises(sqlite3.Error):
        store.write(batch(heard.fleet, offers={"a": Known(object(), 1)}))  # type: ignore[arg-type]
    [kept] = store.wearables()
    assert (kept.label, store.totals().heard) == ("walking", 1)
    store.write(batch(heard.fleet))
    assert store.totals() == Totals(heard=2, taken=2)
    store.close()


def test_a_copy_of_a_store_has_another_name_at_the_broker(tmp_path: Path) -> None:
    store = Store(tmp_path / "fleet.sqlite")
    name = store.client_id("mmg")
    store.close()
    shutil.copy(tmp_path / "fleet.sqlite", tmp_path / "copy.sqlite")
    for path, is_same in (("copy.sqlite", False), ("fleet.sqlite", True)):
        store = Store(tmp_path / path)
        assert (store.client_id("mmg") == name) is is_same
        store.close()


def test_each_batch_is_on_the_disk_before_the_next(tmp_path: Path) -> None:
    """A power cut that cannot be tried: without this the log is brought to the disk every 1,000 pages."""
    store = Store(tmp_path / "fleet.sqlite")
    [mode] = store._file.execute("PRAGMA synchronous").fetchone()
    assert mode == 2  # FULL
    store.close()


def test_two_do_not_use_one_store(tmp_path: Path) -> None:
    store = Store(tmp_path / "fleet.sqlite")
    with pytest.raises(ConfigError, match="another mmg-fleet uses it"):
        Store(tmp_path / "fleet.sqlite")
    store.close()
    Store(tmp_path / "fleet.sqlite").close()


def test_a_store_on_a_disk_that_locks_nothing_is_told_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(ConfigError, match="cannot be locked: Function not implemented: choose one on a local disk"):
        Store(tmp_path / "fleet.sqlite")


def test_a_store_is_for_its_owner_alone(tmp_path: Path, heard: Heard) -> None:
    store = Store(tmp_path / "fleet.sqlite")
    store.write(batch(heard.fleet))
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == dict.fromkeys(
        ("fleet.sqlite", "fleet.sqlite-wal", "fleet.sqlite-shm", "fleet.sqlite.lock"), 0o600
    )
    store.close()


def test_nothing_is_written_where_nothing_has_changed(tmp_path: Path) -> None:
    store = Store(tmp_path / "fleet.sqlite")
    watching = Watching("mmg", store, Offered(), lambda _: None)
    watching.close()
    before = store._file.total_changes
    watching._keep()
    assert store._file.total_changes == before
    watching.take("other/x", b"", is_retained=False)
    watching._keep()
    assert store._file.total_changes > before
    store.close()


def test_a_profile_that_the_broker_gives_again_is_not_written_again(tmp_path: Path, heard: Heard) -> None:
    store, log, sizes = Store(tmp_path / "fleet.sqlite"), tmp_path / "fleet.sqlite-wal", []
    for at_s in range(2):
        store.write(batch(heard.fleet, profiles={WRIST: b"x" * 100_000}, at_s=float(at_s)))
        sizes.append(log.stat().st_size)
    assert sizes[1] - sizes[0] < 50_000 < sizes[0]
    store.write(batch(heard.fleet, profiles={WRIST: b"y"}, at_s=2.0))
    assert store.profile(WRIST) == b"y"
    assert store._file.execute("SELECT at_s FROM profiles").fetchall() == [(2.0,)]
    store.close()


def test_of_too_many_profiles_the_oldest_go(tmp_path: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmg_fleet.store.MOST_PROFILES_BYTES", 250)
    store = Store(tmp_path / "fleet.sqlite")
    for number in range(4):
        store.write(batch(heard.fleet, profiles={f"mmg/{number}": b"x" * 100}, at_s=float(number)))
    assert [store.profile(f"mmg/{number}") is not None for number in range(4)] == [False, False, True, True]
    store.close()


@pytest.mark.parametrize("change", ["sensors = '{'", "sensors = 3", "latency_ms = 1.7e308", "label_s = 'now'"])
def test_a_store_with_a_bad_cell_is_one_line(change: str, tmp_path: Path, heard: Heard) -> None:
    heard.decide(WRIST)
    store = Store(tmp_path / "fleet.sqlite")
    store.write(batch(heard.fleet))
    store._file.execute(f"UPDATE wearables SET {change}")
    store.close()
    with pytest.raises(ConfigError, match=r"cannot be used: .*: name another file"):
        Store(tmp_path / "fleet.sqlite")


def test_a_failure_of_any_kind_while_keeping_is_told_and_tried_again(tmp_path: Path) -> None:
    store, lines = Store(tmp_path / "fleet.sqlite"), list[str]()
    watching = Watching("mmg", store, Offered(), lines.append)
    watching.close()
    watching.take(f"{WRIST}/status", b"online", is_retained=False)
    watching.fleet.wearables[WRIST].label = "\ud800"  # no text of SQLite's
    watching._keep()
    assert "nothing is kept" in lines[0]
    watching.fleet.wearables[WRIST].label = "still"
    watching._keep()
    assert lines[1:] == ["what was not kept is kept now"]
    assert store.wearables()[0].label == "still"
    store.close()


@pytest.mark.parametrize("what", ["text", "other", "another program's", "folder", "nowhere"])
def test_what_is_no_store_is_refused_and_left_alone(what: str, tmp_path: Path) -> None:
    path = tmp_path / "fleet.sqlite"
    if what == "another program's":
        with sqlite3.connect(path) as other:
            other.executescript("CREATE TABLE diary (page); PRAGMA user_version = 1;")
        other.close()
    elif what == "text":
        path.write_text("a diary, and no store at all" * 100)
    elif what == "other":
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE diary (page)")
        other.close()
    elif what == "folder":
        path.mkdir()
    else:
        path = tmp_path / "none" / "fleet.sqlite"
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(ConfigError, match=r"^--store .*fleet\.sqlite: "):
        Store(path)
    assert not before or path.read_bytes() == before
    assert not path.with_name("fleet.sqlite.lock").exists()


def test_what_a_full_disk_does_not_take_is_kept_when_there_is_room(tmp_path: Path) -> None:
    store, lines = Store(tmp_path / "fleet.sqlite"), list[str]()
    watching = Watching("mmg", store, Offered(), lines.append)
    watching.close()  # its thread, and not what it knows
    [pages] = store._file.execute("PRAGMA page_count").fetchone()
    store._file.execute(f"PRAGMA max_page_count = {pages + 2}")  # SQLite's own full disk
    for number in range(500):
        watching.take(f"mmg/{number:03}/notice", json.dumps({"text": "x" * 200}).encode(), is_retained=False)
    watching._keep()
    watching._keep()
    assert store.wearables() == []
    [line] = lines
    assert line.endswith("fleet.sqlite: nothing is kept: database or disk is full: trying again")
    store._file.execute("PRAGMA max_page_count = 100000")
    watching.take("mmg/000/status", b"online", is_retained=False)
    watching._keep()
    assert lines[1:] == ["what was not kept is kept now"]
    assert {one.topic: one for one in store.wearables()} == watching.fleet.wearables
    store.close()


def test_many_profiles_at_once_are_kept_before_more_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmg_fleet.watching.MOST_WAITING_BYTES", 1000)
    store = Store(tmp_path / "fleet.sqlite")
    watching = Watching("mmg", store, Offered(), lambda _: None)
    watching.close()
    report = json.dumps({"schema": "mmg-profile/1", "cases": "x" * 300}).encode()
    for number in range(20):
        watching.take(f"mmg/{number}/profile", report, is_retained=True)
        assert sum(map(len, watching.fleet.profiles.values())) < 1000
    watching._keep()
    assert all(store.profile(f"mmg/{number}") == report for number in range(20))
    store.close()


def test_an_index_that_is_broken_meanwhile_is_told_once_and_what_was_offered_holds(tmp_path: Path) -> None:
    offered = offering(tmp_path, ("starter", 1, "a" * 64))
    store, lines = Store(tmp_path / "fleet.sqlite"), list[str]()
    watching = Watching("mmg", store, offered, lines.append)
    watching.close()
    (tmp_path / INDEX).write_text("{")
    for _ in range(3):
        watching._look_at_offers()
        watching._keep()
    [line] = lines
    assert line.endswith("what was offered before holds")
    assert "is not an index of bundles" in line
    assert offered.newest == {"starter": 1}
    offering(tmp_path, ("starter", 2, "b" * 64))
    watching._look_at_offers()
    assert lines[1:] == ["the index of bundles is whole again"]
    assert offered.newest == {"starter": 2}
    store.close()
