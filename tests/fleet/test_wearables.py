"""What is known of wearables, from their messages alone."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from mmg.bundle.index import INDEX
from mmg.errors import ConfigError
from mmg.sinks.event import About
from mmg.sinks.jsonl import line_of
from mmg.sinks.mqtt.state import about_of, nothing_decided, state_of
from mmg.types import UNKNOWN, Decision, SensorState
from mmg_fleet import wearables as limits
from mmg_fleet.figures import Figures, differing
from mmg_fleet.messages import MOST_BYTES, MOST_PROFILE_BYTES
from mmg_fleet.offered import Known, Offered
from mmg_fleet.store import Batch, Store, row_of
from mmg_fleet.watching import Watching
from mmg_fleet.wearables import Fleet, Totals, Wearable

WRIST, GLASSES = "mmg/anna/wrist", "mmg/anna/glasses"
LIVE = SensorState("live", 3.0, 2)
BEGAN_S = 1000.0


def decision(label: str = "walking", audio: SensorState = LIVE) -> Decision:
    sensors = {"imu": LIVE, "audio": audio}
    return Decision(3, 1.5, label, 0.9, {label: 0.9}, ("imu",), sensors, (), {"event_to_decision": 12.5})


def about(bundle: str = "starter", digest: str = "a" * 64, board: str = "raspberry-pi-4", hop_s: float = 0.5) -> bytes:
    made = About(bundle, ("still",), {"imu": "x"}, hop_s, board, digest=digest)
    return json.dumps(about_of(made, "0.1.0")).encode()


class Heard:
    """A fleet, and the time at which it hears."""

    def __init__(self, offered: Offered | None = None) -> None:
        self.fleet = Fleet("mmg", offered or Offered(), now_s=BEGAN_S)
        self.now_s = BEGAN_S

    def hear(self, topic: str, payload: bytes | str, *, is_retained: bool = False) -> str:
        data = payload.encode() if isinstance(payload, str) else payload
        return self.fleet.take(topic, data, is_retained=is_retained, now_s=self.now_s)

    def decide(self, topic: str, label: str = "walking", audio: SensorState = LIVE) -> str:
        return self.hear(f"{topic}/decision", line_of(decision(label, audio)))

    def pass_s(self, seconds: float) -> None:
        self.now_s += seconds
        self.fleet.tick(self.now_s)

    def __getitem__(self, topic: str) -> Wearable:
        return self.fleet.wearables[topic]


@pytest.fixture
def heard() -> Heard:
    return Heard()


# --- what a wearable says ------------------------------------------------------------------------------------------


def test_a_wearable_is_known_by_what_a_run_sends(heard: Heard) -> None:
    heard.hear(f"{WRIST}/about", about())
    heard.hear(f"{WRIST}/status", "online", is_retained=True)
    state = {**state_of(decision(audio=SensorState("stale", 9.0, 5, "unplugged")), "at"), "temperature_c": 48.5}
    heard.hear(f"{WRIST}/state", json.dumps(state))
    heard.decide(WRIST, audio=SensorState("stale", 9.0, 5, "unplugged"))
    heard.hear(f"{WRIST}/notice", json.dumps({"at": "", "text": "imu: unplugged"}))
    heard.hear(f"{WRIST}/event", json.dumps({"from": None, "to": "walking"}))
    one = heard[WRIST]
    assert (one.bundle, one.digest, one.board, one.mmg, one.group) == (
        "starter",
        "a" * 64,
        "raspberry-pi-4",
        "0.1.0",
        "anna",
    )
    assert (one.label, one.temperature_c, one.dropped, one.latency_ms) == ("walking", 48.5, 7, 12.5)
    assert one.ill == {"audio": ("stale", "unplugged")}
    assert (one.notice, one.word(heard.now_s)) == ("imu: unplugged", "deciding")
    assert (one.messages, one.decisions, one.refused) == (6, 1, 0)
    totals = heard.fleet.totals
    assert (totals.heard, totals.taken, totals.retained, totals.refused) == (6, 6, 1, 0)


def test_it_is_silent_idle_while_nothing_is_decided_and_offline_when_its_last_will_says_so(heard: Heard) -> None:
    heard.decide(WRIST)
    heard.pass_s(limits.LEAST_SILENCE_S + 1)
    assert heard[WRIST].word(heard.now_s) == "silent"
    [row] = Figures(heard.fleet).since("", 0, heard.now_s)["rows"]
    assert (row["word"], row["heard"]) == ("silent", BEGAN_S)
    heard.decide(WRIST)
    heard.hear(f"{WRIST}/state", json.dumps(nothing_decided(("imu",), "at")))
    assert (heard[WRIST].word(heard.now_s), heard[WRIST].label) == ("idle", None)
    heard.hear(f"{WRIST}/status", "offline")
    assert heard[WRIST].word(heard.now_s) == "offline"


def test_a_bundle_that_decides_once_a_minute_is_not_silent_in_between(heard: Heard) -> None:
    heard.hear(f"{WRIST}/about", about(hop_s=60.0))
    heard.decide(WRIST)
    heard.pass_s(limits.SILENT_HOPS * 60 - 1)
    assert heard[WRIST].word(heard.now_s) == "deciding"
    heard.pass_s(1)
    assert heard[WRIST].word(heard.now_s) == "silent"


def test_since_when_a_label_is_what_it_is_survives_what_says_the_same(heard: Heard) -> None:
    heard.decide(WRIST, "still")
    heard.pass_s(3)
    heard.decide(WRIST, "still")
    assert heard[WRIST].label_s == BEGAN_S
    heard.decide(WRIST, "walking")
    assert heard[WRIST].label_s == BEGAN_S + 3


def test_what_a_broker_retains_is_not_taken_for_newer_than_what_was_heard(heard: Heard) -> None:
    heard.decide(WRIST, "walking")
    old = {**state_of(decision("still"), "at"), "temperature_c": 20.0}
    heard.hear(f"{WRIST}/state", json.dumps(old), is_retained=True)
    assert heard[WRIST].label == "walking"
    heard.hear(f"{GLASSES}/state", json.dumps(old), is_retained=True)
    assert (heard[GLASSES].label, heard[GLASSES].heard_s) == ("still", 0.0)


def test_what_happened_while_nobody_listened_is_known_from_what_the_broker_retains(heard: Heard) -> None:
    heard.decide(WRIST, "walking")
    heard.fleet.begin()  # connected again
    new = {**state_of(decision("still", SensorState("faulty", 1.0, 0, "no gravity")), "at"), "temperature_c": 20.0}
    heard.hear(f"{WRIST}/state", json.dumps(new), is_retained=True)
    assert (heard[WRIST].label, heard[WRIST].ill) == ("still", {"audio": ("faulty", "no gravity")})


def test_a_decision_that_somebody_had_retained_decides_nothing(heard: Heard) -> None:
    heard.hear(f"{WRIST}/status", "offline", is_retained=True)
    heard.hear(f"{WRIST}/decision", line_of(decision()), is_retained=True)
    one = heard[WRIST]
    assert (one.word(heard.now_s), one.label, one.decided_s, one.decisions) == ("offline", None, 0.0, 0)


# --- who disagrees -------------------------------------------------------------------------------------------------


def test_those_of_one_group_that_say_different_things_disagree_since_then(heard: Heard) -> None:
    for second in range(8):
        heard.decide(WRIST, "walking")
        heard.decide(GLASSES, "still" if second >= 2 else "walking")
        heard.decide("mmg/ben/wrist", "drinking")
        heard.pass_s(1)
    assert heard.fleet.differing == {"anna": BEGAN_S + 3}
    [row] = differing(heard.fleet, heard.now_s)
    assert row == {"group": "anna", "since": BEGAN_S + 3, "says": {WRIST: "walking", GLASSES: "still"}}
    heard.decide(GLASSES, "walking")
    heard.pass_s(limits.SETTLING_S)
    assert heard.fleet.differing == {}


@pytest.mark.parametrize("how", ["unknown", "offline", "silent", "no group"])
def test_who_says_nothing_disagrees_with_nobody(how: str, heard: Heard) -> None:
    one, other = ("mmg/one", "mmg/other") if how == "no group" else (WRIST, GLASSES)
    heard.decide(other, UNKNOWN if how == "unknown" else "still")
    if how == "offline":
        heard.hear(f"{other}/status", "offline")
    if how == "silent":
        heard.pass_s(limits.LEAST_SILENCE_S)
    heard.decide(one, "walking")
    heard.pass_s(0.5)
    assert heard.fleet.differing == {}


# --- what cannot be ------------------------------------------------------------------------------------------------

BAD: list[tuple[str, bytes]] = [
    (f"{WRIST}/decision", b""),
    (f"{WRIST}/decision", b"\xff\xfe"),
    (f"{WRIST}/decision", b"{}"),
    (f"{WRIST}/decision", b'{"label": 3}'),
    (f"{WRIST}/decision", b"[" * 100_000),
    (f"{WRIST}/decision", b'{"label":"' + b"x" * MOST_BYTES + b'"}'),
    (f"{WRIST}/decision", b'{"label":"a","confidence":1e999,"sensors":{},"latency_ms":{}}'),
    (f"{WRIST}/state", json.dumps({"label": None, "sensors": {str(n): {"state": "live"} for n in range(33)}}).encode()),
    (f"{WRIST}/state", json.dumps({"label": None, "sensors": {"n" * 101: {"state": "live"}}}).encode()),
    (f"{WRIST}/decision", b'{"label":"a","confidence":1,"sensors":{},"latency_ms":{"event_to_decision":1.7e308}}'),
    (f"{WRIST}/state", b'{"label":null,"sensors":{},"temperature_c":1.7e308}'),
    (f"{WRIST}/state", b'{"label":null,"sensors":{},"dropped":99999999999999999999}'),
    (f"{WRIST}/about", about(digest="A" * 64)),
    (f"{WRIST}/about", about(bundle="b" * 201)),
    (f"{WRIST}/status", b"perhaps"),
    (f"{WRIST}/profile", b'{"schema":"mmg-profile/2"}'),
    (f"{WRIST}/profile", b" " * (MOST_PROFILE_BYTES + 1)),
    ("mmg/an\nna/status", b"online"),
    ("mmg/\x1b[2Janna/status", b"online"),
    ("mmg/" + "a" * 300 + "/status", b"online"),
    ("elsewhere/status", b"online"),
]


@pytest.mark.parametrize(("topic", "payload"), BAD)
def test_what_cannot_be_is_one_line_and_counted(topic: str, payload: bytes, heard: Heard) -> None:
    heard.decide(WRIST)
    line = heard.hear(topic, payload)
    assert line
    assert line.isprintable()
    assert len(line) < 700
    assert heard.hear(topic, payload) == ""  # once
    assert (heard.fleet.totals.refused, heard.fleet.totals.taken) == (2, 1)
    assert set(heard.fleet.wearables) == {WRIST}
    assert heard[WRIST].label == "walking"
    assert heard[WRIST].refused == (2 if topic.startswith(WRIST) else 0)


def test_other_topics_are_left_alone(heard: Heard) -> None:
    assert heard.hear("mmg/anna/wrist/temperature", b"3") == ""
    assert (heard.fleet.totals.ignored, heard.fleet.wearables) == (1, {})


def test_texts_of_strangers_are_cut_and_printable(heard: Heard) -> None:
    heard.decide(WRIST, "a\x1b[2J" + "b" * 1000, SensorState("stale", 1.0, 0, "c\n" * 1000))
    one = heard[WRIST]
    assert one.label is not None
    for text in (one.label, one.sensors["audio"][1]):
        assert text.isprintable()
        assert len(text) == limits.LONGEST_TEXT


def test_memory_is_bounded_whoever_sends_what(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_WEARABLES", 5)
    monkeypatch.setattr(limits, "MOST_TOLD", 3)
    lines = [heard.hear(f"mmg/{number}/status", "online") for number in range(20)]
    assert len(heard.fleet.wearables) == 5
    assert sum(map(bool, lines)) == 3
    assert heard.fleet.totals.refused == 15
    for _ in range(1000):
        heard.decide("mmg/1")
    assert len(heard.fleet.latencies["mmg/1"]) == limits.LATENCIES


@pytest.mark.fuzz
def test_any_bytes_are_taken_or_refused_and_what_was_taken_is_kept(heard: Heard, tmp_path: Path) -> None:
    chosen, store = random.Random(7), Store(tmp_path / "fleet.sqlite")
    state = json.dumps({**state_of(decision(), "at"), "temperature_c": 48.5}).encode()
    good = {"decision": line_of(decision()).encode(), "about": about(), "status": b"online", "state": state}
    for count in range(1, 2001):
        kind, data = chosen.choice(list(good.items()))
        changed = bytearray(data)
        for _ in range(chosen.randrange(1, 4)):
            changed[chosen.randrange(len(changed))] = chosen.randrange(256)
        heard.hear(f"{WRIST}/{kind}", bytes(changed))
        totals = heard.fleet.totals
        assert totals.heard == count == totals.taken + totals.refused
        if not count % 20:
            store.write(batch(heard.fleet))
            assert store.wearables() == list(heard.fleet.wearables.values())
            Figures(heard.fleet).since("", 0, heard.now_s)
    store.close()


# --- which bundle --------------------------------------------------------------------------------------------------


def offering(folder: Path, *bundles: tuple[str, int, str]) -> Offered:
    index = [
        {"name": name, "version": version, "digest": digest, "sha256": digest, "bytes": 9, "url": f"{name}.mmg"}
        for name, version, digest in bundles
    ]
    (folder / INDEX).write_text(json.dumps({"index": {"schema": "mmg-index/1", "newest": 9, "bundles": index}}))
    offered = Offered(folder)
    offered.reread()
    return offered


def test_a_wearable_with_an_older_bundle_is_seen_and_one_that_lies_is_told_once(tmp_path: Path) -> None:
    old, new = "a" * 64, "b" * 64
    heard = Heard(offering(tmp_path, ("starter", 1, old)))
    figures = Figures(heard.fleet)
    assert heard.hear(f"{WRIST}/about", about("starter", old)) == ""
    offering(tmp_path, ("starter", 2, new), ("ward", 3, "c" * 64))
    assert heard.fleet.offered.reread()
    assert not heard.fleet.offered.reread()
    heard.fleet.look_at_offers()
    rows = {row["topic"]: row for row in figures.since("", 0, heard.now_s)["rows"]}
    assert (rows[WRIST]["version"], rows[WRIST]["old"], rows[WRIST]["odd"]) == (1, True, "")
    line = heard.hear(f"{GLASSES}/about", about("starter", "f" * 64))
    assert line == f"{GLASSES}: runs a bundle starter that was never offered here, digest ffffffffffff"
    assert heard.hear(f"{GLASSES}/about", about("starter", "f" * 64)) == ""
    line = heard.hear("mmg/ben/wrist/about", about("ward", new))
    assert line == "mmg/ben/wrist: calls its bundle ward, and its digest is that of starter"
    counted = {row["digest"]: row["count"] for row in figures.since("", 0, heard.now_s + 1)["bundles"]}
    assert counted == {"a" * 12: 1, "f" * 12: 1, "b" * 12: 1, "c" * 12: 0}


def test_a_folder_without_an_index_says_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mmg-bundle index makes it"):
        Offered(tmp_path).reread()
    (tmp_path / INDEX).write_text("{}")
    with pytest.raises(ConfigError, match="is not an index of bundles"):
        Offered(tmp_path).reread()


# --- what the page is told -----------------------------------------------------------------------------------------


def test_a_page_is_told_what_has_changed_since_it_asked(heard: Heard) -> None:
    heard.decide(WRIST)
    heard.decide(GLASSES)
    figures = Figures(heard.fleet)
    first = figures.since("", 0, heard.now_s)
    assert [row["topic"] for row in first["rows"]] == [WRIST, GLASSES]
    heard.decide(GLASSES, "still")
    second = figures.since(first["run"], first["number"], heard.now_s + 1)
    assert [row["topic"] for row in second["rows"]] == [GLASSES]
    assert figures.since(first["run"], second["number"], heard.now_s + 2)["rows"] == []
    assert len(Figures(heard.fleet).since(first["run"], second["number"], heard.now_s)["rows"]) == 2  # started again


def test_latency_and_heat_are_by_board_of_those_that_are_there(heard: Heard) -> None:
    for topic, board, degrees in ((WRIST, "a", 40.0), (GLASSES, "a", 60.0), ("mmg/ben", "b", 80.0)):
        heard.hear(f"{topic}/about", about(board=board))
        heard.decide(topic)
        heard.hear(f"{topic}/state", json.dumps({**state_of(decision(), "at"), "temperature_c": degrees}))
    heard.hear("mmg/ben/status", "offline")
    a, b = Figures(heard.fleet).since("", 0, heard.now_s)["boards"]
    assert a == {"board": "a", "here": 2, "all": 2, "p50": 12, "p95": 12, "warm": 50.0, "hottest": 60.0}
    assert b == {"board": "b", "here": 0, "all": 1, "p50": None, "p95": None, "warm": None, "hottest": None}


# --- what is kept --------------------------------------------------------------------------------------------------


def batch(fleet: Fleet, **more: Any) -> Batch:
    rows = [row_of(one) for one in fleet.wearables.values()]
    given = {
        "profiles": fleet.profiles,
        "differing": fleet.differing,
        "offers": {},
        "totals": fleet.totals,
        "at_s": 1.0,
    }
    return Batch(wearables=rows, **{**given, **more})


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
    name = store.client_id()
    store.close()
    again = Store(place)
    assert {one.topic: one for one in again.wearables()} == heard.fleet.wearables
    assert (again.totals(), again.differing(), again.offers()) == (heard.fleet.totals, heard.fleet.differing, known)
    assert again.profile(WRIST) == b'{"schema":"mmg-profile/1","board":"x"}'
    assert again.profile("mmg/none") is None
    assert again.client_id() == name
    fleet = Fleet("mmg", Offered(), again.wearables(), again.totals(), again.differing(), now_s=heard.now_s + 60)
    fleet.tick(heard.now_s + 61)  # nobody was heard yet
    assert fleet.differing == {"anna": BEGAN_S + 1}
    again.close()


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
    name = store.client_id()
    store.close()
    shutil.copy(tmp_path / "fleet.sqlite", tmp_path / "copy.sqlite")
    for path, is_same in (("copy.sqlite", False), ("fleet.sqlite", True)):
        store = Store(tmp_path / path)
        assert (store.client_id() == name) is is_same
        store.close()


def test_two_do_not_use_one_store(tmp_path: Path) -> None:
    store = Store(tmp_path / "fleet.sqlite")
    with pytest.raises(ConfigError, match="another mmg-fleet uses it"):
        Store(tmp_path / "fleet.sqlite")
    store.close()
    Store(tmp_path / "fleet.sqlite").close()


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
