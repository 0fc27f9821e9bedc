"""The run or the bundle that ``mmg-eval`` measures, with its data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from mmg import Bundle
from mmg.bundle.unknown import UNKNOWN_FILE
from mmg.cli.reporting import Reporter
from mmg.errors import ConfigError

from mmg_training import checkpoint, data, unknown
from mmg_training import metrics as metrics_file
from mmg_training.config import DataConfig, TrainConfig, load, override, parse_setting
from mmg_training.data.parts import told
from mmg_training.data.sessions import Dataset, Session
from mmg_training.data.split import counted
from mmg_training.evaluation.decide import Decisions
from mmg_training.evaluation.engine import by_engine, decide_with_engine, task_of
from mmg_training.evaluation.other_set import as_known, shared_subjects
from mmg_training.evaluation.report import Candidate
from mmg_training.evaluation.subsets import by_model
from mmg_training.evaluation.tables import plus
from mmg_training.evaluation.unknown import Teller, by_fit
from mmg_training.metrics import Split
from mmg_training.models.multimodal import MultimodalModel
from mmg_training.starting import with_start
from mmg_training.task import Task

ENGINE = "Decided by the engine from the bundle's files."
OTHER = "Not the data settings that the run was trained with"
GONE = "The recordings that it was trained on have changed since: it may have seen these sessions."


@contextmanager
def open_candidate(
    what: str, config_path: Path | None, changes: Sequence[str], progress: Reporter
) -> Iterator[Candidate]:
    """``what`` names; ``changes`` of the data's settings, KEY=VALUE. Raises MmgError."""
    settings = {f"data.{key}": value for key, value in (parse_setting(text, "--data") for text in changes)}
    if is_bundle(what):
        if config_path is None and "data.set" not in settings:
            raise ConfigError(f"{what}: a bundle does not say what to measure it on; give --config or --data set=NAME")
        config = override(load(config_path) if config_path else TrainConfig(), settings, "--data")
        with Bundle.open(what, tell=progress) as bundle:
            yield _bundle(what, bundle, config.data, progress)
        return
    model, own = checkpoint.load(Path(what))
    # Another set has no use for what the run's own settings say of its own one.
    other = settings.get("data.set", own.data.set) != own.data.set
    base = replace(own, data=DataConfig(root=own.data.root)) if other else own
    config = override(load(config_path) if config_path else base, settings, "--data")
    yield _run(Path(what), model, own, config.data, progress)


def is_bundle(what: str) -> bool:
    """Whether this names a bundle and not a run."""
    return what == "starter" or what.endswith(".mmg") or (Path(what) / "manifest.json").is_file()


def _bundle(what: str, bundle: Bundle, asked: DataConfig, progress: Reporter) -> Candidate:
    dataset, own = data.load(asked, progress), task_of(bundle.manifest)
    if _is_other(own, dataset.task, asked):
        trained_on = bundle.manifest.provenance.data
        both = [source.name for source in dataset.sources if source.name in trained_on]
        dataset, sentences = as_known(dataset, own)
        decider = by_engine(bundle, replace(own, clips=dataset.task.clips), progress)
        return Candidate(decider, None, dataset, asked, (ENGINE, *sentences, *_doubts(both)), other=True, bundle=bundle)
    decider = by_engine(bundle, dataset.task, progress)
    _check_modalities(what, own.modalities, dataset.task)
    tells = bundle.manifest.unknown is not None

    def tell(sessions: Sequence[Session], names: tuple[str, ...]) -> Decisions:
        return decide_with_engine(bundle, dataset.task, sessions, names, progress)

    return Candidate(decider, None, dataset, asked, (ENGINE,), tell=tell if tells else None, bundle=bundle)


def _run(run: Path, model: MultimodalModel, own: TrainConfig, asked: DataConfig, progress: Reporter) -> Candidate:
    dataset = data.load(asked, progress)
    if _is_other(model.task, dataset.task, asked):
        both = [source.name for source in dataset.sources if source.name in _sources(run)]
        dataset, sentences = as_known(dataset, model.task)
        model.task = replace(model.task, clips=dataset.task.clips)
        return Candidate(by_model(model), model, dataset, asked, (*sentences, *_doubts(both)), other=True)
    _check_modalities(str(run), model.task.modalities, dataset.task)
    tell = _teller(run, model)
    if asked == own.data:
        if not checkpoint.is_trained_on(run, dataset):
            return Candidate(by_model(model), model, dataset, asked, (GONE,), tell=tell)
        return Candidate(by_model(model), model, dataset, asked, split=told(with_start(dataset, own)), tell=tell)
    note, split = _changed(run, dataset, own, asked, progress)
    return Candidate(by_model(model), model, dataset, asked, (note,), split, tell=tell)


def _teller(run: Path, model: MultimodalModel) -> Teller | None:
    """With what was fitted for the run; None where that is nothing, or its metrics are gone."""
    if not ((run / UNKNOWN_FILE).exists() and (run / checkpoint.METRICS).exists()):
        return None
    metrics = metrics_file.load(run / checkpoint.METRICS)
    temperatures = {score.modalities: score.temperature for score in metrics.subsets}
    return by_fit(model, unknown.load(run, metrics, model.config.token_dim), temperatures)


def _changed(
    run: Path, dataset: Dataset, own: TrainConfig, asked: DataConfig, progress: Reporter
) -> tuple[str, Split | None]:
    """What is to be said where a run is measured on other parts of its data set, or of one with the same labels; and
    who is in which part, where the training's own data can be looked at."""
    unknown = f"{OTHER}: it may have seen these sessions."
    if asked.set != own.data.set or (asked.set == "folder" and asked.root != own.data.root):
        return unknown, None
    try:
        learnt = data.load(own.data, progress)
    except ConfigError:
        return unknown, None
    if not checkpoint.is_trained_on(run, learnt):
        return f"{OTHER}. {GONE}", None
    trained = [one for pool in learnt.training for one in pool.sessions]
    split = told(with_start(replace(dataset, training=learnt.training), own))
    if seen := shared_subjects(trained, (*dataset.test, *dataset.novel), dataset.people):
        return f"{OTHER}, which has recordings of {counted(seen)} that are measured here: it has seen them.", split
    return f"{OTHER}, but no recording that is measured was trained on.", split


def _sources(run: Path) -> tuple[str, ...]:
    """The names of what a run was trained on, as far as it says so."""
    try:
        return tuple(source.name for source in metrics_file.load(run / checkpoint.METRICS).data)
    except ConfigError:
        return ()


def _doubts(both: Sequence[str]) -> tuple[str, ...]:
    return (f"Both rest on {plus(both)}: it may have seen these sessions.",) if both else ()


def _is_other(own: Task, task: Task, asked: DataConfig) -> bool:
    """Whether a data set has other labels, or is a folder that lacks a sensor: no setting brings that back."""
    return own.labels != task.labels or (asked.set == "folder" and not set(own.modalities) <= set(task.modalities))


def _check_modalities(what: str, own: tuple[str, ...], task: Task) -> None:
    if set(own) != set(task.modalities):
        names = ", ".join(f'"{name}"' for name in own)
        raise ConfigError(f"{what}: has {plus(own)}; give --data 'modalities=[{names}]'")
