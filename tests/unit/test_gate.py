"""The gate by itself: what wakes a sensor, what lets it sleep again, and how little that flutters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from mmg.bundle.gate import Gate as BundleGate
from mmg.bundle.gate import GatePoint
from mmg.bundle.gate import problem_in as gate_problem_in
from mmg.engine.gate import LOOK, NOBODY, Gate
from mmg.runs.gating import as_json, from_json
from mmg.types import UNKNOWN, Decision, SensorState, State
from mmg_device_profiles import ProfileProblem, load_profile
from mmg_device_profiles.gate import GatePolicy, Wake, problem_in

S = 10**9
NAMES = ("imu", "audio", "video")


def decided(confidence: float, *live: str, unknown: float = 0.0, state: State = "warming") -> Decision:
    """A decision of this confidence, of these sensors and the IMU; the others are in another state."""
    sensors = {name: SensorState("live" if name in (*live, "imu") else state, 0.0, 0) for name in NAMES}
    scores = {"walking": confidence, UNKNOWN: unknown}
    return Decision(0, 0.5, "walking", confidence, scores, ("imu", *live), sensors, ())


class Hops:
    """A gate that is asked once every half second."""

    def __init__(self, wake: Wake, *others: Wake) -> None:
        policy = GatePolicy(watch=("imu",), wake=dict(zip(("audio", "video"), (wake, *others), strict=False)))
        self.gate, self.now_ns = Gate(policy, NAMES[: 2 + len(others)]), 0

    def hop(self, decision: Decision | None, motion: float | None = None) -> set[str]:
        """Who is awake after one more hop."""
        self.now_ns += S // 2
        return set(self.gate.decide(decision, self.now_ns, motion))

    def hops(self, count: int, confidence: float) -> list[bool]:
        """Whether audio is awake after each of so many hops, in which it decides as soon as it is."""
        found: list[bool] = []
        for _ in range(count):
            live = ("audio",) if found and found[-1] else ()
            found.append("audio" in self.hop(decided(confidence, *live)))
        return found


def test_only_those_that_watch_are_awake_at_first() -> None:
    gate = Gate(GatePolicy(watch=("imu",), wake={"audio": Wake(confidence=0.5)}), ("imu", "audio"))
    assert gate.awake == {"imu"}


def test_a_doubtful_decision_wakes_and_sure_ones_let_sleep_after_the_hold() -> None:
    hops = Hops(Wake(confidence=0.5, hold_s=1.0, look_s=0.0))
    assert hops.hops(3, 0.6) == [False, False, False]
    assert hops.hops(2, 0.4) == [True, True]
    assert hops.gate.why == {"audio": "confidence 0.40 below 0.5"}
    assert hops.hops(4, 0.6) == [True, False, False, False]


def test_between_the_two_thresholds_all_stays_as_it_is() -> None:
    hops = Hops(Wake(confidence=0.5, sure=0.8, hold_s=0.5, look_s=0.0))
    assert hops.hops(4, 0.7) == [False] * 4
    assert hops.hops(1, 0.4) == [True]
    assert hops.hops(20, 0.7) == [True] * 20
    assert hops.hops(2, 0.9)[-1] is False


def test_a_reason_must_last_where_the_policy_says_so() -> None:
    hops = Hops(Wake(confidence=0.5, after_s=1.0, look_s=0.0))
    assert [hops.hops(1, 0.4), hops.hops(1, 0.9), hops.hops(2, 0.4)] == [[False], [False], [False, False]]
    assert hops.hops(1, 0.4) == [True]


def test_motion_and_none_of_the_labels_wake_too() -> None:
    moved = Hops(Wake(motion=1.5, look_s=0.0))
    assert moved.hop(decided(0.9), 1.4) == {"imu"}
    assert moved.hop(decided(0.9), None) == {"imu"}
    assert moved.hop(decided(0.9), 1.6) == {"imu", "audio"}
    unknown = Hops(Wake(unknown=0.3, look_s=0.0))
    assert unknown.hop(decided(0.6, unknown=0.2)) == {"imu"}
    assert unknown.hop(decided(0.6, unknown=0.4)) == {"imu", "audio"}


def test_it_is_looked_at_now_and_then_for_one_hop_whatever_is_decided() -> None:
    hops = Hops(Wake(look_s=5.0))
    assert hops.hops(9, 0.9) == [False] * 9
    assert hops.hops(2, 0.9) == [True, False]
    assert hops.hops(8, 0.9) == [False] * 8


def test_a_look_waits_for_a_sensor_that_opens_slowly_but_not_for_ever() -> None:
    hops = Hops(Wake(look_s=5.0))
    hops.hops(9, 0.9)
    awake = ["audio" in hops.hop(decided(0.9)) for _ in range(13)]
    assert awake == [True] * 10 + [False] * 3
    assert hops.gate.why == {}


def test_the_camera_is_asked_only_once_the_microphone_has_been() -> None:
    hops = Hops(Wake(confidence=0.6, look_s=0.0), Wake(confidence=0.6, look_s=0.0))
    assert hops.hop(decided(0.4)) == {"imu", "audio"}
    assert hops.hop(decided(0.4)) == {"imu", "audio"}, "it is not there yet"
    assert hops.hop(decided(0.4, "audio")) == {"imu", "audio", "video"}
    gone = Hops(Wake(confidence=0.6, look_s=0.0), Wake(confidence=0.6, look_s=0.0))
    held_up = [gone.hop(decided(0.4, state="stale")) for _ in range(12)]
    assert held_up[9] == {"imu", "audio"}
    assert held_up[-1] == {"imu", "audio", "video"}, "one that never comes holds the next up for five seconds"


def test_where_nothing_decides_the_others_are_woken_in_their_turn() -> None:
    hops = Hops(Wake(confidence=0.1, after_s=60.0, look_s=0.0), Wake(look_s=600.0))
    hops.hop(decided(0.9))
    assert hops.hop(None) == {"imu", "audio"}
    assert [hops.hop(None) for _ in range(10)][-1] == {"imu", "audio", "video"}
    assert set(hops.gate.why.values()) == {NOBODY}


def heard_are(*live: str, confidence: float = 0.9) -> Decision:
    """A decision of these sensors; the others, that which watches among them, are lost."""
    sensors = {name: SensorState("live" if name in live else "stale", 0.0, 0) for name in NAMES}
    return Decision(0, 0.5, "walking", confidence, {"walking": confidence}, live, sensors, ())


def test_who_decides_in_place_of_the_one_that_watches_does_so_until_it_is_back() -> None:
    hops = Hops(Wake(confidence=0.5, look_s=0.0), Wake(confidence=0.5, look_s=0.0))
    hops.hop(decided(0.9))
    assert hops.hop(None) == {"imu", "audio"}
    assert {frozenset(hops.hop(heard_are("audio"))) for _ in range(120)} == {frozenset({"imu", "audio"})}
    assert hops.gate.why == {"audio": NOBODY}
    assert hops.hop(heard_are("audio", confidence=0.4)) == {"imu", "audio", "video"}, "it wakes the next as the IMU did"
    assert [hops.hop(decided(0.9, "audio", "video")) for _ in range(4)][-1] == {"imu"}


def test_one_that_watches_and_is_slow_to_start_wakes_nobody_unless_it_never_comes() -> None:
    hops = Hops(Wake(confidence=0.5, look_s=0.0))
    assert [hops.hop(None) for _ in range(9)] == [{"imu"}] * 9
    assert hops.hop(None) == {"imu", "audio"}
    assert hops.gate.why == {"audio": NOBODY}


def test_one_that_slept_is_not_woken_within_two_seconds_unless_nothing_decides() -> None:
    hops = Hops(Wake(confidence=0.5, hold_s=0.0, look_s=0.01))
    awake = [place for place in range(40) if "audio" in hops.hop(decided(0.9, "audio"))]
    assert np.diff(awake).min() == 5, "a hop awake, and four asleep"
    doubtful = Hops(Wake(confidence=0.5, hold_s=0.0, look_s=0.0))
    woken = doubtful.hop(decided(0.4)), doubtful.hop(decided(0.9, "audio"))
    assert woken == ({"imu", "audio"}, {"imu"})
    assert [doubtful.hop(decided(0.4)) for _ in range(4)] == [{"imu"}] * 3 + [{"imu", "audio"}]
    assert doubtful.hop(decided(0.9, "audio")) == {"imu"}
    assert doubtful.hop(None) == {"imu", "audio"}


def test_what_one_with_a_share_owes_is_paid_within_minutes() -> None:
    hops = Hops(Wake(confidence=0.5, share=0.1, look_s=60.0))
    hops.hop(decided(0.9))
    for _ in range(1200):
        hops.hop(heard_are("audio"))
    slept = [hops.hop(decided(0.9, "audio")) for _ in range(300)]
    assert {"imu", "audio"} in slept[10:], "it is looked at again"


def test_a_share_is_kept_over_minutes_however_doubtful_it_is() -> None:
    hops = Hops(Wake(confidence=0.5, share=0.1, look_s=0.0))
    awake = hops.hops(7200, 0.2)
    assert 0.09 <= sum(awake) / len(awake) <= 0.115
    assert hops.hop(None) == {"imu", "audio"}, "but for where nothing else decides"


def test_sensors_that_a_run_does_not_have_are_left_out() -> None:
    gate = Gate(GatePolicy(watch=("imu",), wake={"video": Wake(confidence=1.0)}), ("imu", "audio"))
    assert gate.decide(decided(0.1), S) == {"imu", "audio"}


def test_the_same_decisions_give_the_same_sleep() -> None:
    chances = [0.2, 0.9, 0.45, 0.7, 0.5, 0.1, 0.8, 0.95] * 40

    def sleep() -> list[tuple[str, ...]]:
        hops = Hops(Wake(confidence=0.5, look_s=7.0), Wake(confidence=0.3, share=0.2))
        return [tuple(sorted(hops.hop(decided(one, "audio")))) for one in chances]

    assert sleep() == sleep()


def test_a_look_says_that_it_is_one() -> None:
    hops = Hops(Wake(look_s=0.5))
    hops.hop(decided(0.9))
    assert hops.gate.why == {"audio": LOOK}


@pytest.mark.parametrize(
    ("policy", "key", "words"),
    [
        (GatePolicy(watch=("nose",), wake={"ear": Wake()}), "watch", "names no sensor of the bundle"),
        (GatePolicy(watch=("nose",), wake={"audio": Wake()}), "watch", "nothing would be awake"),
        (GatePolicy(watch=("imu",), wake={"imu": Wake()}), "wake.imu", "never sleeps"),
        (GatePolicy(watch=("imu",), wake={"audio": Wake(look_s=0.0)}), "wake.audio", "can never wake"),
        (GatePolicy(watch=("imu",), wake={"audio": Wake(look_s=1.0)}), "wake.audio.look_s", "0 or at least 2 seconds"),
        (GatePolicy(watch=("imu",), wake={"audio": Wake(confidence=0.5, sure=0.4)}), "wake.audio.sure", "below"),
    ],
)
def test_a_policy_that_cannot_be_is_told(policy: GatePolicy, key: str, words: str) -> None:
    problem = problem_in(policy, NAMES)
    assert problem is not None
    assert problem[0] == key
    assert words in problem[1]


def test_a_policy_is_a_table_of_a_profile(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    lines = ['name = "own"', 'description = "own"', "[gate]", 'watch = ["imu"]']
    lines += ["[gate.wake.audio]", "confidence = 0.5", "[gate.wake.video]", "look_s = 30"]
    path.write_text("\n".join(lines))
    policy = load_profile(str(path)).gate
    assert policy == GatePolicy(watch=("imu",), wake={"audio": Wake(confidence=0.5), "video": Wake(look_s=30.0)})
    assert list(policy.wake) == ["audio", "video"], "the order is the cascade's"
    assert from_json(as_json(policy)) == policy
    changed = load_profile(str(path), ["gate.wake.audio.confidence=0.7"]).gate
    assert changed.wake["audio"].confidence == 0.7


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["wake = 3"], "gate.wake: must be a table"),
        (["wake.audio = 3"], "gate.wake.audio: must be a table with confidence, sure"),
        (["wake.audio.loudness = 3"], "gate.wake.audio.loudness: is not a known key"),
        (["wake.audio.confidence = 3"], "gate.wake.audio.confidence: must be a number above 0, at most 1, not 3"),
        (["watch = [3]"], "gate.watch"),
    ],
)
def test_what_is_no_policy_is_told_by_its_key(tmp_path: Path, lines: Sequence[str], told: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text("\n".join(['name = "own"', 'description = "own"', "[gate]", *lines]))
    with pytest.raises(ProfileProblem) as caught:
        load_profile(str(path))
    assert told in str(caught.value)


def test_a_bundle_s_gate_must_fit_it() -> None:
    good = GatePolicy(watch=("imu",), wake={"audio": Wake()})
    point = GatePoint(policy="audio", awake={"audio": 0.5}, accuracy=0.9)
    assert gate_problem_in(BundleGate(policy=good, chosen=point, curve=(point,)), NAMES) is None
    wrong = msgspec.structs.replace(point, accuracy=1.5)
    assert gate_problem_in(BundleGate(policy=good, curve=(point, wrong)), NAMES) == (
        "curve[1]",
        "has a share that is not 0 to 1",
    )
    assert gate_problem_in(BundleGate(policy=good, chosen=wrong), NAMES) == ("chosen", "has a share that is not 0 to 1")
    other = GatePolicy(watch=("imu",), wake={"nose": Wake()})
    assert gate_problem_in(BundleGate(policy=other), NAMES) == ("policy", "the bundle has no nose")
    assert gate_problem_in(BundleGate(policy=GatePolicy()), NAMES) == (
        "policy.watch",
        "names no sensor of the bundle, which has imu, audio, video",
    )
