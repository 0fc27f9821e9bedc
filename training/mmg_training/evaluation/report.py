"""All tables of one run or one bundle: what ``mmg-eval`` prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmg import Bundle
from mmg.cli.reporting import Reporter
from mmg.errors import ConfigError

from mmg_training.config import DataConfig
from mmg_training.data.sessions import Dataset
from mmg_training.evaluation.fewshot import FewshotConfig, fewshot_table, measure_fewshot
from mmg_training.evaluation.missing import column, measure_missing, missing_table
from mmg_training.evaluation.plots import plot_bars, plot_missing
from mmg_training.evaluation.subsets import (
    Decider,
    calibrating,
    extra_table,
    fit_temperatures,
    measurable,
    subset_table,
    unfitted,
    zeroshot_table,
)
from mmg_training.evaluation.tables import Figure, Table
from mmg_training.evaluation.unknown import Teller, kept_table, unknown_table
from mmg_training.metrics import Split
from mmg_training.models.multimodal import MultimodalModel

TABLES = ("subsets", "extra", "unknown", "kept", "missing", "fewshot", "zeroshot")


@dataclass(frozen=True)
class Candidate:
    """What is measured: who decides, and the model where there is one (a bundle has none). split: who is in which part,
    as far as that is known. other: the data set is not the one that it was trained for. tell: who tells what is none of
    the labels, where somebody does. bundle: where it is one."""

    decider: Decider
    model: MultimodalModel | None
    dataset: Dataset
    data: DataConfig
    notes: tuple[str, ...] = ()
    split: Split | None = None
    other: bool = False
    tell: Teller | None = None
    bundle: Bundle | None = None

    @property
    def measured(self) -> tuple[str, ...]:
        """Who was trained on and fitted on, where known, and who is measured."""
        if self.split is None:
            return (f"Measured: {self.dataset.held_out or 'the test sessions'}.",)
        return tuple(line for line in self.split.lines if line != self.split.episodes)

    @property
    def episodes(self) -> tuple[str, ...]:
        """Who is trained on, and who is in the few-shot episodes, where known."""
        return () if self.split is None else (self.split.lines[0], self.split.episodes)

    def missing_for(self, table: str) -> str:
        """Why there can be no such table, or an empty string."""
        labelled = self.data.labelled
        partly = bool(labelled) and set(labelled) < set(self.dataset.task.modalities)
        nothing = "" if self.dataset.test else "the data set holds nothing out"
        task = self.dataset.task
        apart = (
            "" if task.modalities in measurable(task, self.dataset.test) else "no session of the test has every sensor"
        )
        untold = "it does not tell what is none of its labels"
        if self.other and table not in ("subsets", "extra"):
            return "of another data set, only the labels that are shared can be measured"
        reasons = {
            "subsets": nothing,
            "extra": "" if self.dataset.extra else "the data set has no further tests",
            "unknown": ("" if self.dataset.unknown else "the data set has no other life") if self.tell else untold,
            "kept": nothing if self.tell else untold,
            "missing": nothing
            or apart
            or ("" if self.model else "needs a checkpoint: a bundle's engine takes no mask"),
            "fewshot": "" if self.dataset.novel else "the test has no new labels; set data.split",
            "zeroshot": nothing or ("" if partly else "all labels were used; set data.labelled when training"),
        }
        return reasons[table]


def report(
    candidate: Candidate, wanted: Sequence[str], fewshot: FewshotConfig, progress: Reporter, plots: Path | None = None
) -> list[Table]:
    """The wanted tables in their order, or all that there can be. Raises ConfigError for one that cannot."""
    for name in wanted:
        if reason := candidate.missing_for(name):
            raise ConfigError(f"--tables {name}: {reason}")
    names = [name for name in TABLES if (name in wanted if wanted else not candidate.missing_for(name))]
    if not names:
        raise ConfigError(
            "there is nothing to measure: nothing was held out; --data 'test_people=[5]' names people of the set, and "
            "--config OTHER.toml or --data set=NAME measures on another one"
        )
    dataset, decider, kind = candidate.dataset, candidate.decider, candidate.dataset.kind
    task, notes = dataset.task, (*candidate.notes, *candidate.measured)
    test, novel = dataset.test, dataset.novel
    subsets = measurable(task, test)
    tables, temperatures = [], {}
    if candidate.model is not None and {"subsets", "extra"} & set(names):
        progress(f"fitting temperatures on {sum(map(len, calibrating(dataset)))} sessions")
        temperatures = fit_temperatures(decider, task, calibrating(dataset), subsets)
    raw = ("ECE of the scores as they come: the data set has nobody to fit temperatures on.",)
    calibrated = raw if candidate.model is not None and not temperatures else ()
    if told := unfitted(temperatures, subsets):
        calibrated = (
            f"ECE of {told}: of the scores as they come, as nobody to fit temperatures on has these sensors.",
        )
    made = {}
    if {"subsets", "zeroshot"} & set(names):
        progress(f"{len(subsets)} subsets of the modalities on {len(test)} sessions")
        made = decider(test, subsets)
    if "subsets" in names:
        tables.append(subset_table(task, made, test, temperatures, kind, (*notes, *calibrated)))
    if "extra" in names:
        progress(f"{len(dataset.extra)} further tests")
        tables.append(extra_table(task, decider, dataset.extra, temperatures, (*candidate.notes, *calibrated)))
    if "unknown" in names and candidate.tell is not None:
        progress(f"none of the labels: {len(dataset.unknown)} sets of other life")
        tables.append(unknown_table(task, candidate.tell, dataset, candidate.notes))
    if "kept" in names and candidate.tell is not None:
        progress("what is known beside none of the labels")
        tables.append(kept_table(task, candidate.tell, dataset, candidate.notes))
    if "missing" in names and candidate.model is not None:
        progress("hops that are missing")
        curves = measure_missing(candidate.model, test)
        tables.append(missing_table(curves, kind, notes))
        if plots is not None:
            shown = {column(name): row for name, row in curves.accuracy.items()}
            plot_missing(plots / "missing.png", curves.rates, shown, f"{task.name} ({kind})")
    if "fewshot" in names:
        progress(f"{fewshot.episodes} episodes on {len(novel)} clips of new labels")
        scores = measure_fewshot(decider, task, novel, fewshot)
        tables.append(fewshot_table(scores, fewshot, kind, (*candidate.notes, *candidate.episodes)))
    if "zeroshot" in names:
        tables.append(zeroshot_table(task, made, test, candidate.data.labelled, kind, notes))
    if plots is not None and "subsets" in names:
        rows = {str(row[0]): row[1] for row in tables[0].rows}
        bars = {name: Figure(value, None, 1) for name, value in rows.items() if isinstance(value, float)}
        plot_bars(plots / "subsets.png", bars, "accuracy", f"{task.name} ({kind})")
    return tables
