"""The evaluation: its figures by hand, few-shot where the answer is known, missing data, the engine, the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmg import Bundle
from mmg.errors import ConfigError
from mmg.streams import HopGrid, open_stream
from mmg_training import checkpoint
from mmg_training.cli.evaluate import main
from mmg_training.config import DataConfig, TrainConfig
from mmg_training.data.sessions import TICKS_PER_HOP, Dataset, NamedTest, Session
from mmg_training.data.starter import TASK as STARTER
from mmg_training.data.utd_mhad import TASK as UTD
from mmg_training.data.utd_mhad import novel_labels
from mmg_training.evaluation import decide as decide_module
from mmg_training.evaluation.decide import Decisions, decide, decide_each
from mmg_training.evaluation.engine import HOP_NS, as_chunk, by_engine, task_of
from mmg_training.evaluation.fewshot import FewshotConfig, View, draw_episodes, episode_accuracy, measure_fewshot
from mmg_training.evaluation.missing import EVERY, measure_missing, missing_hops
from mmg_training.evaluation.report import Candidate
from mmg_training.evaluation.scores import accuracy, calibration_error, interval, macro_f1, wilson
from mmg_training.evaluation.subsets import by_model, in_groups, score_subsets, subset_table
from mmg_training.evaluation.tables import Figure, Table, as_json, markdown, over_seeds
from mmg_training.metrics import Metrics
from mmg_training.metrics import save as save_metrics
from mmg_training.models.multimodal import MultimodalModel
from mmg_training.task import CONTEXT_HOPS, Task
from training.tiny import TINY

CLIPS = Task("tiny", ("a", "b", "c"), ("imu", "video"), frame=(16, 16), clips=True)
HOPS = replace(CLIPS, modalities=("imu", "audio", "video"), clips=False)
FEW = FewshotConfig(ways=5, queries=3, episodes=300)


def make_model(task: Task) -> MultimodalModel:
    torch.manual_seed(0)
    model = MultimodalModel(task, TINY).eval()
    # Far from even scores, so that decisions that differ show.
    torch.nn.init.normal_(model.fusion.classify.weight, std=3.0)
    return model


def make_sessions(task: Task, count: int, hops: int = CONTEXT_HOPS) -> list[Session]:
    """Sensors that look healthy, of people of two sessions each."""
    rng, sessions = np.random.default_rng(0), []
    for number in range(count):
        imu = (rng.standard_normal((hops * 25, 6)) * 2 + [0, 0, 9.8, 0, 0, 0]).astype(np.float32)
        samples: dict[str, Any] = {
            "imu": imu,
            "audio": rng.integers(-3000, 3000, hops * 8000).astype(np.int16),
            "video": rng.integers(0, 256, (hops * task.samples_per_hop("video"), *task.frame, 3), dtype=np.uint8),
        }
        labels = np.full(hops * TICKS_PER_HOP + 1, number % len(task.labels), np.int16)
        sessions.append(Session("made", number // 2, labels, {name: samples[name] for name in task.modalities}))
    return sessions


def clips_of(labels: int, people: int, each: int) -> tuple[Any, Any]:
    """Label and person of every clip."""
    grid = np.indices((labels, people, each)).reshape(3, -1)
    return grid[0], grid[1]


# --- figures -------------------------------------------------------------------------------------------------------


def test_macro_f1_is_the_mean_over_the_labels_that_occur() -> None:
    logits = torch.eye(3)[[0, 1, 1, 1]]
    # Label 0: 1 right, 1 missed. Label 1: 2 right, 1 too many. Label 2 does not occur.
    assert macro_f1(logits, torch.tensor([0, 0, 1, 1])) == pytest.approx((2 / 3 + 4 / 5) / 2)


def test_the_calibration_error_weighs_each_bin_by_its_decisions() -> None:
    probabilities = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.55, 0.45], [0.45, 0.55]])
    # At 0.9 half are right, at 0.55 all are.
    assert calibration_error(probabilities, torch.tensor([0, 1, 0, 1])) == pytest.approx(0.5 * 0.4 + 0.5 * 0.45)


def test_wilsons_interval_is_that_of_the_books() -> None:
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(10, 10)[1] == pytest.approx(1.0)


def test_an_interval_resamples_people_where_there_are_enough_of_them() -> None:
    right, people = np.repeat([1, 1, 1, 1, 0, 0, 0, 0], 50), np.repeat(np.arange(8), 50)
    few, many = interval(right, people % 4), interval(right, people)
    assert "Wilson" in few.method
    assert many.method == "bootstrap over 8 clusters"
    # Each person is all right or all wrong: 400 decisions tell no more than 8.
    assert many.high - many.low > 3 * (few.high - few.low)


def test_an_interval_of_few_people_holds_the_truth_as_often_as_it_says() -> None:
    rng, people, held = np.random.default_rng(5), np.repeat(np.arange(6), 50), 0
    for _ in range(400):
        shares = rng.normal(0.7, 0.1, 6).clip(0, 1)
        found = interval((rng.random(300) < np.repeat(shares, 50)).astype(int), people)
        held += found.low <= 0.7 <= found.high
    assert held / 400 > 0.92  # as percentiles are, 0.88 of the times


def test_figures_have_the_sample_standard_deviation() -> None:
    assert over_seeds([1.0, 4.0, 7.0]) == Figure(4.0, 3.0, 3)
    assert over_seeds([1.0]) == Figure(1.0, None, 1)


def test_a_table_begins_with_its_command_and_its_kind_of_data() -> None:
    table = Table("t", "Title", ("who", "accuracy"), (("a", 0.51234), ("b", Figure(0.5, 0.25, 3)), ("c", None)), "real")
    lines = markdown([table], "mmg-eval runs/a").splitlines()
    assert lines[:5] == ["## Title", "", "`mmg-eval runs/a`", "", "Data: real."]
    assert [line.split("|")[2].strip() for line in lines[8:]] == ["0.512", "0.500 ± 0.250", "-"]
    rows = json.loads(as_json([table], "mmg-eval runs/a"))["tables"]["t"]["rows"]
    assert rows[0]["accuracy"] == 0.51234
    assert rows[1]["accuracy"] == {"mean": 0.5, "spread": 0.25, "count": 3}


# --- decisions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [CLIPS, HOPS], ids=["clips", "hops"])
def test_deciding_several_subsets_at_once_is_deciding_each(task: Task) -> None:
    longer = CONTEXT_HOPS if task.clips else 10
    model, sessions = make_model(task), [*make_sessions(task, 3), *make_sessions(task, 2, hops=longer)]
    made = decide_each(model, sessions, [(names, None) for names in task.subsets()])
    for names, together in zip(task.subsets(), made, strict=True):
        alone = decide(model, sessions, names)
        torch.testing.assert_close(together.logits, alone.logits)
        assert len(together.labels) == (5 if task.clips else 3 * CONTEXT_HOPS + 2 * longer)
        assert set(together.tokens) == (set(names) if task.clips else set())


@pytest.mark.parametrize("task", [CLIPS, HOPS], ids=["clips", "hops"])
def test_a_long_session_is_decided_a_stretch_at_a_time(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    model, sessions = make_model(task), make_sessions(task, 3)
    [whole] = decide_each(model, sessions, [(task.modalities, None)])
    monkeypatch.setattr(decide_module, "AT_ONCE", 9)
    seen: list[int] = []
    model.encoder("imu").register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[1]))
    [parted] = decide_each(model, sessions, [(task.modalities, None)])
    assert [length // task.samples_per_hop("imu") for length in seen] == [3, 3, 2]
    torch.testing.assert_close(parted.logits, whole.logits)
    torch.testing.assert_close(parted.means, whole.means)


def test_subsets_that_the_sessions_do_not_have_are_left_out_and_shown_as_a_dash() -> None:
    model, sessions = make_model(CLIPS), [one.without(["video"]) for one in make_sessions(CLIPS, 6)]
    assert [score.modalities for score in score_subsets(model, [sessions], sessions)] == [("imu",)]
    table = subset_table(CLIPS, by_model(model)(sessions, [("imu",)]), sessions, {}, "simulated", ())
    assert [row[1] is None for row in table.rows] == [False, True, True]
    assert [score.temperature for score in score_subsets(model, (), sessions)] == [1.0]
    assert score_subsets(model, (), ()) == ()


# --- missing hops --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_hops_go_missing_at_the_rate_and_in_stretches(rate: float) -> None:
    gone = missing_hops(np.random.default_rng(0), rate, 4000, 40)
    assert gone.mean() == pytest.approx(rate, abs=0.02)
    assert np.ptp(gone.mean(axis=0)) < 0.06
    begun = (gone[:, 1:] & ~gone[:, :-1]).sum()
    if 0 < rate < 1:
        assert gone[:, 1:].sum() / begun > 2.5


@pytest.mark.parametrize("task", [CLIPS, HOPS], ids=["clips", "hops"])
def test_the_ends_of_the_missing_curves_are_the_subsets(task: Task) -> None:
    model, sessions = make_model(task), make_sessions(task, 9)
    curves = measure_missing(model, sessions, (0.0, 1.0))
    for name in task.modalities:
        others = [one for one in task.modalities if one != name]
        for place, names in enumerate((task.modalities, others)):
            made = decide(model, sessions, names)
            assert curves.accuracy[name][place] == pytest.approx(accuracy(made.logits, made.labels))
    assert curves.accuracy[EVERY][1] == pytest.approx(1 / 3)
    assert curves.nothing == (0.0, 1.0)


def test_missing_hops_are_measured_where_every_sensor_is_and_told_where_there_is_no_such_session() -> None:
    model, whole = make_model(HOPS), make_sessions(HOPS, 6)
    paused = [one.without(["audio", "video"]) for one in whole[:2]] + [one.without(["imu"]) for one in whole[2:4]]
    assert measure_missing(model, [*whole, *paused], (0.5,)) == measure_missing(model, whole, (0.5,))
    for test, told in (((*whole, *paused), ""), (tuple(paused), "no session of the test has every sensor")):
        data = Dataset(HOPS, "real", (), test=test)
        assert Candidate(by_model(model), model, data, DataConfig()).missing_for("missing") == told


# --- few-shot ------------------------------------------------------------------------------------------------------


def test_no_clip_and_where_possible_no_person_is_support_and_query() -> None:
    labels, people = clips_of(8, 4, 4)
    for shots in (1, 5):
        episodes = draw_episodes(labels, people, shots, FEW)
        assert episodes.apart == 1.0
        for support, query in zip(episodes.support, episodes.query, strict=True):
            assert (support.shape, query.shape) == ((5, shots), (5, 3))
            assert not np.isin(support, query).any()
            assert not np.isin(people[support], people[query]).any()
            assert (labels[support] == labels[query][:, :1]).all()
    alone = draw_episodes(labels, np.zeros_like(people), 5, FEW)
    assert alone.apart == 0.0
    assert not any(np.isin(s, q).any() for s, q in zip(alone.support, alone.query, strict=True))


@pytest.mark.parametrize("score", ["embedding", "sequence", "both"])
def test_a_space_that_knows_the_labels_is_always_right_and_crossing_uses_the_querys_space(score: str) -> None:
    labels, people = clips_of(8, 4, 4)
    episodes = draw_episodes(labels, people, 5, FEW)
    known = View(np.eye(8)[labels], np.eye(8)[labels][:, None].repeat(3, axis=1))
    turned = View(np.eye(8)[(labels + 1) % 8], np.eye(8)[(labels + 1) % 8][:, None].repeat(3, axis=1))
    assert episode_accuracy(episodes, known, known, score).mean() == 1.0
    assert episode_accuracy(episodes, turned, turned, score).mean() == 1.0
    assert episode_accuracy(episodes, known, turned, score).mean() < 0.15


def test_a_space_of_noise_is_right_as_often_as_chance() -> None:
    labels, people = clips_of(20, 4, 25)
    noise = View(np.random.default_rng(0).standard_normal((len(labels), 16)), None)
    right = episode_accuracy(draw_episodes(labels, people, 1, FEW), noise, noise, "embedding")
    assert abs(right.mean() - 0.2) < 1.96 * right.std() / len(right) ** 0.5 + 0.01


def test_few_shot_measures_every_pair_and_the_full_set() -> None:
    task = replace(CLIPS, labels=tuple("abcdef"))
    scores = measure_fewshot(
        by_model(make_model(task)), task, make_sessions(task, 36), replace(FEW, shots=(1,), episodes=20)
    )
    pairs = [(score.support, score.query) for score in scores]
    imu, video = ("imu",), ("video",)
    assert pairs == [(imu, imu), (imu, video), (video, imu), (video, video), (imu + video, imu + video)]
    assert all(0 <= score.accuracy.mean <= 1 for score in scores)


def test_too_few_labels_or_clips_are_told() -> None:
    labels, people = clips_of(4, 2, 1)
    with pytest.raises(ConfigError, match="4 new labels"):
        draw_episodes(labels, people, 1, FEW)
    with pytest.raises(ConfigError, match="a label has 2 clips, 2 shots and a query need 3"):
        draw_episodes(labels, people, 2, replace(FEW, ways=4))


# --- the engine ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["imu", "audio", "video"])
def test_the_runtimes_streams_give_back_the_samples_of_every_hop(name: str) -> None:
    with Bundle.open("starter") as bundle:
        modality = bundle.manifest.modality(name)
    frame = modality.frame or (16, 16)
    session = make_sessions(replace(HOPS, frame=frame), 1)[0]
    task = replace(HOPS, frame=frame)
    hops = open_stream(modality, HopGrid(0, HOP_NS)).push(as_chunk(task, session, name))
    assert [hop.index for hop in hops] == list(range(CONTEXT_HOPS))
    whole = np.concatenate([hop.samples for hop in hops if hop.samples is not None])
    wanted = session.samples[name]
    np.testing.assert_allclose(whole, wanted[:, None] / 32768 if name == "audio" else wanted, atol=1e-4)


def test_a_bundle_of_other_labels_is_refused() -> None:
    with Bundle.open("starter") as bundle, pytest.raises(ConfigError, match="are not those of the data set tiny"):
        by_engine(bundle, CLIPS, print)


def test_a_hop_that_the_engine_does_not_decide_is_wrong_whatever_its_label() -> None:
    with Bundle.open("starter") as bundle:
        task = task_of(bundle.manifest)
        for label in (0, 3):
            dead = Session("dead", 1, np.full(17, label, np.int16), {"audio": np.zeros(64_000, np.int16)})
            made = by_engine(bundle, task, lambda _: None)([dead], [("audio",)])[("audio",)]
            undecided = (made.embedding == 0).all(1)
            assert undecided[-1]
            assert not (made.logits.argmax(1) == label)[undecided].any()
            spread = torch.softmax(made.logits, dim=1)[undecided] - 1 / len(task.labels)
            assert spread.abs().max() < 1e-3


@pytest.mark.usefixtures("shared_conversions")
def test_the_engine_decides_as_the_trained_model(tmp_path: Path) -> None:
    from mmg_export.cli import main as export

    model, sessions = make_model(HOPS), make_sessions(HOPS, 6)
    checkpoint.save(tmp_path, model, TrainConfig(model=TINY))
    metrics = Metrics(
        created="2026-01-01T00:00:00Z",
        seed=1,
        config_sha256="0" * 64,
        weights_sha256=checkpoint.sha256(tmp_path),
        device="1 x cpu, 1 thread each",
        wall_s=0,
        tools={},
        data=(),
        held_out="",
        subsets=score_subsets(model, [sessions], sessions),
    )
    save_metrics(metrics, tmp_path / checkpoint.METRICS)
    words = ["--backends", "onnx", "--no-data", "--hops", "20"]
    assert export([str(tmp_path), "-o", str(tmp_path / "tiny.mmg"), *words]) == 0
    with Bundle.open(tmp_path / "tiny.mmg") as bundle:
        for task in (HOPS, replace(HOPS, clips=True)):
            model.task = task
            for names, made in by_engine(bundle, task, print)(sessions, task.subsets()).items():
                wanted = decide(model, sessions, names)
                assert torch.equal(made.labels, wanted.labels)
                assert (made.logits.argmax(1) == wanted.logits.argmax(1)).float().mean() >= 0.998
                scores = torch.softmax(wanted.logits / bundle.manifest.temperature(names), dim=1)
                torch.testing.assert_close(torch.softmax(made.logits, dim=1), scores, atol=1e-3, rtol=0)
                torch.testing.assert_close(made.embedding, wanted.embedding, atol=1e-3, rtol=0)


# --- the command ---------------------------------------------------------------------------------------------------


def make_recordings(root: Path) -> None:
    """UTD-MHAD's files with noise: three base and three novel actions of split 0, all people, two trials."""
    rng = np.random.default_rng(0)
    inertial, depth = dict[str, Any](), dict[str, Any]()
    novel = novel_labels(0)
    actions = [*novel[:3], *[label for label in range(27) if label not in novel][:3]]
    for action in actions:
        for subject in (1, 3, 5, 7):
            for trial in (1, 2):
                key = f"a{action + 1}_s{subject}_t{trial}"
                inertial[key] = rng.standard_normal((40, 6)).astype(np.float32)
                depth[key] = rng.integers(0, 256, (10, 60, 80), dtype=np.uint8)
    (root / "utd-mhad").mkdir(parents=True)
    np.savez(root / "utd-mhad" / "inertial_odd_subjects.npz", **inertial)
    np.savez(root / "utd-mhad" / "depth_odd_subjects.npz", **depth)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with an untrained model, which saw the labels of the IMU only."""
    folder = tmp_path_factory.mktemp("run")
    make_recordings(folder / "data")
    config = DataConfig(set="utd-mhad", root=str(folder / "data"), split=0, labelled=("imu",))
    checkpoint.save(folder, make_model(UTD), TrainConfig(model=TINY, data=config))
    return folder


def test_the_command_prints_every_table_that_the_data_allow(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--ways", "3", "--shots", "1", "--episodes", "20", "--json", str(tmp_path / "a.json")]
    assert main([str(run), *options, "--markdown", str(tmp_path / "a.md"), "--plots", str(tmp_path / "plots")]) == 0
    printed = capsys.readouterr().out
    titles = [line for line in printed.splitlines() if line.startswith("## ")]
    assert [title.split()[1] for title in titles] == ["Every", "Accuracy", "Few-shot,", "Cross-modal"]
    assert printed.count(f"`mmg-eval {run}") == printed.count("Data: real.") == 4
    assert (tmp_path / "a.md").read_text() == printed
    tables = json.loads((tmp_path / "a.json").read_text())["tables"]
    zeroshot = {row["modalities"]: row["their labels used"] for row in tables["zeroshot"]["rows"]}
    assert zeroshot == {"imu": "all", "video": "never (zero-shot)", "imu + video": "of a part"}
    missing, subsets = tables["missing"]["rows"], tables["subsets"]["rows"]
    assert missing[-1]["imu goes missing"] == pytest.approx(subsets[1]["accuracy"])
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {"subsets.png", "missing.png"}


def test_it_tells_how_long_it_takes_and_json_holds_nothing_of_it(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mmg.cli.progress.AFTER_S", 0.0)
    assert main([str(run), "--tables", "subsets", "--json", "-", "--data", "leave_out=5"]) == 0
    out, err = capsys.readouterr()
    assert "mmg-eval: measuring: 0 s so far\n" in err
    assert json.loads(out)["tables"].keys() == {"subsets"}


def test_json_to_standard_output_replaces_the_tables(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(run), "--tables", "subsets", "--json", "-", "--data", "leave_out=5"]) == 0
    table = json.loads(capsys.readouterr().out)["tables"]["subsets"]
    assert table["notes"][0].startswith("Not the data settings that the run was trained with")
    assert [row["decisions"] for row in table["rows"]] == [6, 6, 6]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere"], "mmg-train writes one"),
        (["starter"], "give --config or --data set=NAME"),
        (["RUN", "--tables", "subset"], "--tables subset: is not one of subsets, extra"),
        (["RUN", "--tables", "extra"], "--tables extra: the data set has no further tests"),
        (["RUN", "--tables", "missing", "--data", "leave_out=0"], "--tables missing: the data set holds nothing out"),
        (["RUN", "--tables", "zeroshot", "--data", "leave_out=0"], "--tables zeroshot: the data set holds nothing out"),
        (["RUN", "--data", "leave_out"], "--data leave_out: is not KEY=VALUE"),
        (["RUN", "--data", "leave=3"], "leave: is not a setting"),
        (["RUN", "--shots", "some"], "--shots some: is not a list of numbers"),
        (["RUN", "--tables", "fewshot", "--ways", "9"], "few-shot: 3 new labels"),
        (
            ["RUN", "--tables", "subsets", "--json", "/nowhere/a.json"],
            "--json /nowhere/a.json: there is no such folder",
        ),
    ],
)
def test_errors_are_one_line(run: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str) -> None:
    assert main([str(run) if one == "RUN" else one for one in arguments]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("mmg-eval: ")
    assert told in last


def test_a_bundle_of_fewer_sensors_than_the_data_says_how_to_measure_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    more = replace(STARTER, modalities=(*STARTER.modalities, "touch"))
    monkeypatch.setattr("mmg_training.data.load", lambda *_: Dataset(more, "simulated", ()))
    assert main(["starter", "--data", "set=starter"]) == 2
    told = 'starter: has imu + audio + video; give --data \'modalities=["imu", "audio", "video"]\''
    assert told in capsys.readouterr().err


def test_groups_of_labels_are_decided_by_their_summed_probability() -> None:
    task = Task("made up", ("walking", "running", "typing", "drinking"))
    probabilities = torch.tensor([[0.3, 0.25, 0.4, 0.05], [0.1, 0.1, 0.2, 0.6]])
    made = Decisions(probabilities.log(), torch.tensor([1, 2]), torch.zeros(2, 1), {})
    test = NamedTest("sounds", "real", (), {"steps": ("walking", "running"), "keys": ("typing",)})
    grouped, names = in_groups(task, test, made, 1.0)
    assert names == ("steps", "keys")
    torch.testing.assert_close(grouped.logits.exp(), torch.tensor([[0.55, 0.4], [0.2, 0.2]]))
    assert grouped.labels.tolist() == [0, 1]
    plain, labels = in_groups(task, NamedTest("sounds", "real", ()), made, 2.0)
    torch.testing.assert_close(plain.logits, made.logits / 2)
    assert labels == task.labels
