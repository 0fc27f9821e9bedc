"""The virtual wearer's benchmark: clips of 30 activities, base and novel ones, people apart. Simulated."""

from __future__ import annotations

from collections.abc import Callable

from mmg.errors import ConfigError

from mmg_training.config import DataConfig
from mmg_training.data.sessions import Dataset, Pool
from mmg_training.data.virtual import simulate_clips
from mmg_training.metrics import DataSource
from mmg_training.task import Task
from mmg_training.wearer import BASE, BENCHMARK, NOVEL
from mmg_training.wearer.people import held_out_subjects, training_subjects

TASK = Task("benchmark", BENCHMARK, clips=True)


def load(config: DataConfig, report: Callable[[str], None]) -> Dataset:
    """``config.sessions`` clips of every label by every person; with its split, 0, training has base labels only.
    Raises ConfigError."""
    if config.split > 0:
        raise ConfigError(f"data.split: {config.split} is neither 0, the benchmark's only split, nor -1 for all labels")
    labels = BASE if config.split >= 0 else BENCHMARK
    people, others = training_subjects(config.subjects), held_out_subjects(config.held_out)
    report(f"rendering {config.sessions} clips of {len(labels)} activities by {len(people)} and {len(others)} people")
    half = len(others) // 2
    return Dataset(
        task=TASK,
        kind="simulated",
        training=(Pool("virtual wearer", 1.0, simulate_clips(TASK, people, labels, config.sessions, report)),),
        calibration=simulate_clips(TASK, others[:half], labels, config.sessions, report),
        test=simulate_clips(TASK, others[half:], labels, config.sessions, report),
        novel=simulate_clips(TASK, others, NOVEL, config.sessions, report) if config.split >= 0 else (),
        sources=(DataSource(name="virtual wearer", what=f"clips of {len(people)} people", licence="Apache-2.0"),),
        limits=("Trained on a simulation only: the figures say nothing about people.",),
        held_out=f"virtual wearers {others[half]} to {others[-1]}",
    )
