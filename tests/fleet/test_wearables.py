"""What is known of wearables, from their messages alone."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from heard import BEGAN_S, GLASSES, WRIST, Heard, about, batch, decision, offering
from mmg.bundle.index import INDEX
from mmg.errors import ConfigError
from mmg.sinks.jsonl import line_of
from mmg.sinks.mqtt.state import nothing_decided, state_of
from mmg.types import UNKNOWN, SensorState
from mmg_fleet import wearables as limits
from mmg_fleet.figures import Figures, differing
from mmg_fleet.messages import MOST_BYTES, MOST_PROFILE_BYTES
from mmg_fleet.offered import Offered
from mmg_fleet.store import Store

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
    assert (one.notice, heard.word(WRIST)) == ("imu: unplugged", "deciding")
    assert (one.messages, one.decisions, one.refused) == (6, 1, 0)
    totals = heard.fleet.totals
    assert (totals.heard, totals.taken, totals.retained, totals.refused) == (6, 6, 1, 0)


def test_it_is_silent_idle_while_nothing_is_decided_and_offline_when_its_last_will_says_so(heard: Heard) -> None:
    heard.decide(WRIST)
    heard.pass_s(limits.LEAST_SILENCE_S + 1)
    assert heard.word(WRIST) == "silent"
    [row] = Figures(heard.fleet).since("", 0, heard.now)["rows"]
    assert (row["word"], row["heard"]) == ("silent", BEGAN_S)
    heard.decide(WRIST)
    heard.hear(f"{WRIST}/state", json.dumps(nothing_decided(("imu",), "at")))
    assert (heard.word(WRIST), heard[WRIST].label) == ("idle", None)
    heard.hear(f"{WRIST}/status", "offline")
    assert heard.word(WRIST) == "offline"


def test_a_sensor_without_a_state_is_ill_and_says_why(heard: Heard) -> None:
    gone = {"imu": SensorState("absent", 0.0, 0, "there is no such device")}
    heard.hear(f"{WRIST}/state", json.dumps(nothing_decided(("imu", "audio"), "at", gone)))
    heard.hear(f"{GLASSES}/state", json.dumps({"label": None, "sensors": {"imu": {"state": None}}}))
    ill = {row["topic"]: row["ill"] for row in Figures(heard.fleet).since("", 0, heard.now)["rows"]}
    assert ill[WRIST] == {"imu": "absent: there is no such device", "audio": "nothing is decided"}
    assert ill[GLASSES] == {"imu": "not known"}


def test_a_bundle_that_decides_once_a_minute_is_not_silent_in_between(heard: Heard) -> None:
    heard.hear(f"{WRIST}/about", about(hop_s=60.0))
    heard.decide(WRIST)
    heard.pass_s(limits.SILENT_HOPS * 60 - 1)
    assert heard.word(WRIST) == "deciding"
    heard.pass_s(1)
    assert heard.word(WRIST) == "silent"


@pytest.mark.parametrize("set_s", [-3600.0, 3600.0])
def test_whose_decisions_stop_is_silent_whatever_the_clock_is_set_to(set_s: float, heard: Heard) -> None:
    heard.decide(WRIST)
    heard.set_clock(set_s)
    heard.pass_s(limits.LEAST_SILENCE_S - 1)
    assert heard.word(WRIST) == "deciding"
    heard.pass_s(1)
    assert heard.word(WRIST) == "silent"
    heard.decide(WRIST)
    assert (heard.word(WRIST), heard[WRIST].decided_s) == ("deciding", BEGAN_S + set_s + limits.LEAST_SILENCE_S)


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
    assert (heard.word(WRIST), one.label, one.decided_s, one.decisions) == ("offline", None, 0.0, 0)


# --- who disagrees -------------------------------------------------------------------------------------------------


def test_those_of_one_group_that_say_different_things_disagree_since_then(heard: Heard) -> None:
    for second in range(8):
        heard.decide(WRIST, "walking")
        heard.decide(GLASSES, "still" if second >= 2 else "walking")
        heard.decide("mmg/ben/wrist", "drinking")
        heard.pass_s(1)
    assert heard.fleet.differing == {"anna": BEGAN_S + 3}
    [row] = differing(heard.fleet, heard.now)
    assert row == {"group": "anna", "since": BEGAN_S + 3, "says": {WRIST: "walking", GLASSES: "still"}}
    heard.decide(GLASSES, "walking")
    heard.pass_s(limits.SETTLING_S)
    assert heard.fleet.differing == {}


@pytest.mark.parametrize("set_s", [-3600.0, 3600.0])
def test_who_disagrees_is_shown_and_ends_it_whatever_the_clock_is_set_to(set_s: float, heard: Heard) -> None:
    for second in range(20):
        if second == 10:
            heard.set_clock(set_s)
        heard.decide(WRIST, "walking")
        heard.decide(GLASSES, "still")
        heard.pass_s(1)
        assert [row["since"] for row in differing(heard.fleet, heard.now)] == [BEGAN_S + 1] * (second >= 5)
    heard.decide(GLASSES, "walking")
    heard.pass_s(limits.SETTLING_S - 20)
    assert heard.fleet.differing
    heard.decide(WRIST, "walking")
    heard.decide(GLASSES, "walking")
    heard.pass_s(1)
    assert not heard.fleet.differing


def test_one_unknown_hop_does_not_end_a_disagreement(heard: Heard) -> None:
    for second in range(60):
        heard.decide(WRIST, "walking")
        heard.decide(GLASSES, UNKNOWN if second == 50 else "still")
        heard.pass_s(1)
        assert heard.fleet.differing == {"anna": BEGAN_S + 1}
        assert second < 5 or differing(heard.fleet, heard.now)
    heard.decide(GLASSES, "walking")
    heard.pass_s(1)
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
            Figures(heard.fleet).since("", 0, heard.now)
    store.close()


# --- which bundle --------------------------------------------------------------------------------------------------


def test_a_wearable_with_an_older_bundle_is_seen_and_one_that_lies_is_told_once(tmp_path: Path) -> None:
    old, new = "a" * 64, "b" * 64
    heard = Heard(offering(tmp_path, ("starter", 1, old)))
    figures = Figures(heard.fleet)
    assert heard.hear(f"{WRIST}/about", about("starter", old)) == ""
    offering(tmp_path, ("starter", 2, new), ("ward", 3, "c" * 64))
    assert heard.fleet.offered.reread()
    assert not heard.fleet.offered.reread()
    heard.fleet.look_at_offers()
    rows = {row["topic"]: row for row in figures.since("", 0, heard.now)["rows"]}
    assert (rows[WRIST]["version"], rows[WRIST]["old"], rows[WRIST]["odd"]) == (1, True, "")
    line = heard.hear(f"{GLASSES}/about", about("starter", "f" * 64))
    assert line == f"{GLASSES}: runs a bundle starter that was never offered here, digest ffffffffffff"
    assert heard.hear(f"{GLASSES}/about", about("starter", "f" * 64)) == ""
    line = heard.hear("mmg/ben/wrist/about", about("ward", new))
    assert line == "mmg/ben/wrist: calls its bundle ward, and its digest is that of starter"
    heard.pass_s(1)
    counted = {row["digest"]: row["count"] for row in figures.since("", 0, heard.now)["bundles"]}
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
    first = figures.since("", 0, heard.now)
    assert [row["topic"] for row in first["rows"]] == [WRIST, GLASSES]
    heard.decide(GLASSES, "still")
    heard.pass_s(1)
    second = figures.since(first["run"], first["number"], heard.now)
    assert [row["topic"] for row in second["rows"]] == [GLASSES]
    heard.pass_s(1)
    assert figures.since(first["run"], second["number"], heard.now)["rows"] == []
    assert len(Figures(heard.fleet).since(first["run"], second["number"], heard.now)["rows"]) == 2  # started again


def test_latency_and_heat_are_by_board_of_those_that_are_there(heard: Heard) -> None:
    for topic, board, degrees in ((WRIST, "a", 40.0), (GLASSES, "a", 60.0), ("mmg/ben", "b", 80.0)):
        heard.hear(f"{topic}/about", about(board=board))
        heard.decide(topic)
        heard.hear(f"{topic}/state", json.dumps({**state_of(decision(), "at"), "temperature_c": degrees}))
    heard.hear("mmg/ben/status", "offline")
    a, b = Figures(heard.fleet).since("", 0, heard.now)["boards"]
    assert a == {"board": "a", "here": 2, "all": 2, "p50": 12, "p95": 12, "warm": 50.0, "hottest": 60.0}
    assert b == {"board": "b", "here": 0, "all": 1, "p50": None, "p95": None, "warm": None, "hottest": None}
