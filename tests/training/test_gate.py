"""``mmg-eval --gate``: policies tried through the engine, thresholds learnt on some people and measured on others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import LABELS, audio_modality, signal_modality, tiny_files, tiny_manifest
from mmg.board.profiling.estimate import estimated_mw
from mmg.board.profiling.gate import gate_costs
from mmg.bundle import Bundle, write_bundle
from mmg.errors import ConfigError
from mmg_device_profiles import load_profile
from mmg_device_profiles.gate import GatePolicy, Wake
from mmg_training.data.sessions import Dataset, Session
from mmg_training.evaluation.engine import decide_with_engine
from mmg_training.evaluation.gate import (
    WORTH,
    Trial,
    choose,
    front,
    gate_table,
    learn,
    measure_gate,
    plot_learnt,
    policies,
    write_gated,
)
from mmg_training.task import AUDIO_HZ, IMU_HZ, Task

NAMES = ("imu", "audio")
TASK = Task("tiny", LABELS, NAMES)
QUIET = GatePolicy(watch=("imu",), wake={"audio": Wake(look_s=3.0)})


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bundle]:
    manifest = tiny_manifest(signal_modality(state_hops=4), audio_modality(AUDIO_HZ))
    path = tmp_path_factory.mktemp("gate") / "tiny"
    write_bundle(path, manifest, tiny_files(manifest))
    with Bundle.open(path, tell=lambda _: None) as opened:
        yield opened


def session(person: int, hops: int = 16) -> Session:
    """Someone who moves, and makes a noise."""
    random, seconds = np.random.default_rng(person), hops / 2
    imu = random.normal(0, 1, (round(seconds * IMU_HZ), 6)).astype(np.float32)
    imu[:, 2] += 9.81
    sound = random.normal(0, 3000, round(seconds * AUDIO_HZ)).astype(np.int16)
    return Session("made up", person, np.full(2 * hops + 1, person % 3, np.int16), {"imu": imu, "audio": sound})


def dataset(test: int, calibration: int = 0) -> Dataset:
    people = [session(person) for person in range(test + calibration)]
    return Dataset(TASK, "simulated", (), calibration=tuple(people[test:]), test=tuple(people[:test]))


def test_with_all_awake_it_is_what_the_engine_decides(bundle: Bundle) -> None:
    sessions = [session(person) for person in range(3)]
    trial = measure_gate(bundle, TASK, sessions, NAMES, None)
    made = decide_with_engine(bundle, TASK, sessions, NAMES)
    assert trial.decisions == 48
    assert trial.accuracy == pytest.approx(float((made.logits.argmax(1) == made.labels).float().mean()))
    assert trial.awake == {"audio": 1.0}


def test_a_clip_is_decided_at_its_end(bundle: Bundle) -> None:
    assert measure_gate(bundle, replace(TASK, clips=True), [session(1), session(2)], NAMES, None).decisions == 2


def test_a_sensor_that_sleeps_costs_no_time_awake(bundle: Bundle) -> None:
    trial = measure_gate(bundle, TASK, [session(person) for person in range(3)], NAMES, QUIET)
    assert 0.1 < trial.awake["audio"] < 0.4
    assert trial.busy_ms > 0


def test_the_leanest_of_those_that_lose_a_point_at_most_is_chosen(bundle: Bundle) -> None:
    def trial(accuracy: float, awake: float) -> Trial:
        return Trial(QUIET, accuracy, {"audio": awake}, 1.0, 100)

    full = Trial(None, 0.9, {"audio": 1.0}, 1.0, 100)
    good, lean, best = trial(0.9 - WORTH / 2, 0.5), trial(0.8, 0.1), trial(0.95, 0.7)
    assert choose(bundle.manifest, NAMES, [full, best, lean, good]) is good
    assert choose(bundle.manifest, NAMES, [full, lean, trial(0.7, 0.1)]) is lean
    assert front(bundle.manifest, NAMES, [full, good, lean, best]) == [lean, good, best]


def test_power_falls_with_the_time_awake(bundle: Bundle) -> None:
    awake, asleep = (estimated_mw(bundle.manifest, {"imu": 1.0, "audio": part}) for part in (1.0, 0.0))
    assert awake - asleep == pytest.approx(0.3, rel=0.1), "of so small a model the sensor is nearly all"
    assert asleep == pytest.approx(1.2, rel=0.1)


@pytest.mark.parametrize(("test", "calibration"), [(2, 2), (3, 0)])
def test_it_is_learnt_on_other_people_and_written_both_ways(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, test: int, calibration: int
) -> None:
    tried = [QUIET, GatePolicy(watch=("imu",), wake={"audio": Wake(confidence=0.9, look_s=60.0)})]
    monkeypatch.setattr("mmg_training.evaluation.gate.policies", lambda *_: tried)
    data = dataset(test, calibration)
    learnt = learn(bundle, data, lambda _: None)
    assert learnt.policy in tried
    assert [trial.policy for trial in learnt.trials] == [None, *tried]
    assert ("other people" in learnt.told or "on the others" in learnt.told) == (not calibration)
    table = gate_table(bundle, data, learnt, ())
    assert table.rows[0][0] == "as learnt"
    assert table.rows[1][:4] == ("all awake", learnt.trials[0].accuracy, 0.0, "100.0%")
    assert "estimate" in table.head[-1]
    write_gated(tmp_path / "gated", bundle, learnt, TASK)
    with Bundle.open(tmp_path / "gated", tell=lambda _: None) as gated:
        assert gated.manifest.gate is not None
        assert gated.manifest.gate.policy == learnt.policy
        write_gated(tmp_path / "gated", gated, learnt, TASK)  # over itself
        costs = gate_costs(gated.manifest)
        assert [one.estimated_mw for one in costs] == sorted(one.estimated_mw for one in costs)
        assert "as learnt" in {one.policy for one in costs}
    write_gated(tmp_path / "watch.toml", bundle, learnt, TASK)
    lines = (tmp_path / "watch.toml").read_text()
    (tmp_path / "watch.toml").write_text(f'name = "watch"\ndescription = "watch"\n{lines}')
    assert load_profile(str(tmp_path / "watch.toml")).gate == learnt.policy
    plot_learnt(tmp_path / "gate.png", bundle.manifest, learnt, "tiny")
    assert (tmp_path / "gate.png").stat().st_size > 1000


def test_one_person_alone_is_too_few(bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match="hold out at least two"):
        learn(bundle, dataset(1), lambda _: None)


def test_what_is_tried_differs_in_every_policy(bundle: Bundle) -> None:
    tried = policies(bundle.manifest, NAMES)
    assert len({str(policy) for policy in tried}) == len(tried) >= 10
    assert all(list(policy.wake) == ["audio"] for policy in tried)
