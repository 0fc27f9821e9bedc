"""One run of a study, in a process of its own: train unless it is trained, measure, and write its results.

``main`` is called with a folder, where ``settings.json`` is.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import torch
from mmg.atomic_write import atomic_write
from mmg.cli.exit_codes import run_command
from mmg.cli.reporting import stderr_reporter
from mmg.errors import ConfigError

from mmg_training import checkpoint, data
from mmg_training.config import TrainConfig, build
from mmg_training.data.parts import told, trained_sha256
from mmg_training.data.sessions import Dataset
from mmg_training.evaluation import study
from mmg_training.evaluation.fewshot import measure_fewshot
from mmg_training.evaluation.late_fusion import save_predictions
from mmg_training.evaluation.missing import measure_missing
from mmg_training.evaluation.scores import accuracy, calibration_error, macro_f1
from mmg_training.evaluation.study import EvaluateConfig, FewshotFigures, Results, SubsetFigures
from mmg_training.evaluation.subsets import by_model, calibrating, fit_temperatures, measurable
from mmg_training.models.multimodal import MultimodalModel
from mmg_training.starting import with_start
from mmg_training.train import StepLog, train

report = stderr_reporter("mmg-study")


def is_other(folder: Path, config: TrainConfig) -> bool:
    """Whether a trained run with other settings is in the folder."""
    if not (folder / checkpoint.CONFIG).is_file():
        return False
    try:
        return _settings(folder)[0] != config
    except ConfigError:
        return True


def is_of_other_code(folder: Path) -> bool:
    """Whether what is in the folder was made by other code than this; of what older code left nobody knows."""
    return _made_by(folder) not in ("", study.code_digest())


def _made_by(folder: Path) -> str:
    """The digest of the code that began what is in the folder, empty where that is not known."""
    try:
        return str(json.loads((folder / study.SETTINGS).read_bytes()).get("code", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def prepare(folder: Path, config: TrainConfig, evaluate: EvaluateConfig) -> None:
    """Write the run's settings; the progress of a training with other ones goes, and what goes on is of the code that
    began it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / study.SETTINGS
    try:
        stale = _settings(folder)[0] != config
    except ConfigError:  # not there, or cut by a kill
        stale = True
    if stale:
        for name in (checkpoint.RESUME, study.RESULTS):
            (folder / name).unlink(missing_ok=True)
    is_begun = any((folder / name).is_file() for name in (checkpoint.RESUME, checkpoint.CONFIG))
    code = _made_by(folder) if is_begun else study.code_digest()
    told = {"config": dataclasses.asdict(config), "evaluate": dataclasses.asdict(evaluate), "code": code}
    with atomic_write(path) as stream:
        stream.write(json.dumps(told, indent=2).encode() + b"\n")


def work(folder: Path) -> None:
    """Do the run that ``prepare`` wrote down. Raises MmgError."""
    config, evaluate = _settings(folder)
    began_s = time.monotonic()
    dataset = with_start(data.load(config.data, report), config)
    model = _trained(folder, config, dataset)
    results = _measure(folder, model, dataset, config, evaluate, time.monotonic() - began_s)
    with atomic_write(folder / study.RESULTS) as stream:
        stream.write(msgspec.json.format(msgspec.json.encode(results), indent=2) + b"\n")


def _trained(folder: Path, config: TrainConfig, dataset: Dataset) -> MultimodalModel:
    if (folder / checkpoint.CONFIG).is_file():
        try:
            model = checkpoint.load(folder)[0]
        except ConfigError as error:
            raise ConfigError(f"{error}; delete {folder} to train it again") from error
        if not checkpoint.is_trained_on(folder, dataset):
            raise ConfigError(f"{folder}: was trained on other recordings than there are now; delete it to train again")
        return model
    log = StepLog(config)
    try:
        model = train(config, dataset, out=folder, resume=True, watch=log)
    finally:
        log.close()
    checkpoint.save(folder, model, config, trained_sha256(dataset))
    (folder / checkpoint.RESUME).unlink(missing_ok=True)
    return model


def _measure(
    folder: Path,
    model: MultimodalModel,
    dataset: Dataset,
    config: TrainConfig,
    evaluate: EvaluateConfig,
    wall_s: float,
) -> Results:
    task, decider = model.task, by_model(model)
    test, novel = dataset.test, dataset.novel
    subsets = measurable(task, test)
    if not subsets and not novel:
        raise ConfigError(
            f"{task.name}: nothing is held out that a study could measure; name data.test_people, or train with "
            "mmg-train and measure with mmg-eval RUN --config OTHER.toml"
        )
    temperatures = fit_temperatures(decider, task, calibrating(dataset), subsets)
    made, figures = decider(test, subsets) if subsets else {}, []
    for names in subsets:
        temperature, logits, labels = temperatures.get(names, 1.0), made[names].logits, made[names].labels
        figures.append(
            SubsetFigures(
                modalities=names,
                accuracy=accuracy(logits, labels),
                macro_f1=macro_f1(logits, labels),
                ece=calibration_error(torch.softmax(logits / temperature, dim=1), labels),
            )
        )
    if made:
        labels_of = next(iter(made.values())).labels.numpy()
        save_predictions(folder, labels_of, {names: decisions.logits.numpy() for names, decisions in made.items()})
    fewshot = measure_fewshot(decider, task, novel, evaluate.fewshot) if novel else ()
    curves = measure_missing(model, test) if evaluate.missing and task.modalities in subsets else None
    return Results(
        settings=study.digest(config, evaluate),
        kind=dataset.kind,
        held_out=dataset.held_out,
        labels=len(task.labels),
        modalities=task.modalities,
        wall_s=round(wall_s, 1),
        subsets=tuple(figures),
        fewshot=tuple(
            FewshotFigures(
                support=s.support,
                query=s.query,
                shots=s.shots,
                accuracy=s.accuracy.mean,
                apart=s.apart,
                half=s.accuracy.spread,
            )
            for s in fewshot
        ),
        rates=curves.rates if curves else (),
        missing=curves.accuracy if curves else {},
        split=told(dataset),
    )


def _settings(folder: Path) -> tuple[TrainConfig, EvaluateConfig]:
    path = folder / study.SETTINGS
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        return build(TrainConfig, described["config"], str(path)), build(
            EvaluateConfig, described["evaluate"], str(path)
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path}: is not a run of a study: {error}") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """The process of one run; returns its exit code."""
    (folder,) = sys.argv[1:] if arguments is None else arguments
    torch.set_num_threads(1)

    def run() -> int:
        work(Path(folder))
        return 0

    return run_command(run, report, stopped=130)


if __name__ == "__main__":
    raise SystemExit(main())
