"""Sessions: stretches of recorded or simulated time with whichever modalities there are, and the label all along."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmg_training.metrics import DataSource
from mmg_training.task import Task

# Labels and cuts are on a grid of 4 a second.
TICK_S = 0.25
TICKS_PER_HOP = 2
UNLABELLED = -1


@dataclass(frozen=True)
class Session:
    """samples: imu (T, 6) float32 at 50 Hz in m/s^2 and rad/s, audio (T,) int16 at 16 kHz, video (T, H, W, 3) uint8 at
    the task's rate, those that there are. labels: (ticks + 1,) int16, the index of the label, or in training of the
    kind, at each tick, ``UNLABELLED`` where it is not known. source and subject say whose it is; what has one subject
    is alike: a person, or for sounds a ground, a key, a kind of surroundings."""

    source: str
    subject: int
    labels: NDArray[np.int16]
    samples: Mapping[str, NDArray[Any]]

    @property
    def hops(self) -> int:
        """Whole hops in it."""
        return (len(self.labels) - 1) // TICKS_PER_HOP

    def cut(self, task: Task, tick: int, hops: int) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64]]:
        """``hops`` hops from a tick on: samples (imu (T, 6), audio (T,), video (T, H, W, 3)) and the label (hops,) at
        the middle of each hop."""
        ticks = hops * TICKS_PER_HOP
        middles = np.arange(tick + 1, tick + ticks, TICKS_PER_HOP)
        samples = {}
        for name, array in self.samples.items():
            # Half a sample is nothing to a network, and the label's tick is kept whole.
            first = int(tick * TICK_S * task.rate_hz(name))
            samples[name] = array[first : first + hops * task.samples_per_hop(name)]
        return samples, self.labels[middles].astype(np.int64)

    def of_labels(self, task: Task) -> Session:
        """The same with the label of each kind in its place, ``UNLABELLED`` where it has none."""
        places = np.array([*range(len(task.labels)), *task.kinds_of, UNLABELLED], np.int16)
        return replace(self, labels=places[self.labels])

    def without(self, names: Sequence[str]) -> Session:
        """The same without some modalities."""
        kept = {name: array for name, array in self.samples.items() if name not in names}
        return replace(self, samples=kept)


@dataclass(frozen=True)
class Pool:
    """Sessions to draw from: this pool is chosen with a probability in proportion to ``share``, then a session of it,
    each as likely. anchored: the probability that a label that the pool has is drawn first, then a moment of it, and
    the stretch around that: rare labels are seen as often as the others."""

    name: str
    share: float
    sessions: tuple[Session, ...]
    anchored: float = 0.0


@dataclass(frozen=True)
class NamedTest:
    """Sessions that are measured by themselves: ``kind`` says whether they are simulated, real or class-paired.

    groups: where given, the decision is which of these groups of labels is the most probable, all others set aside.
    elsewhere: of another place or device than any that is trained on, so that it does not stand for what is known.
    """

    name: str
    kind: str
    sessions: tuple[Session, ...]
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    elsewhere: bool = False


@dataclass(frozen=True)
class Dataset:
    """training is drawn from; ``calibration`` fits the temperatures and ``test`` measures: no person, file or room of
    one is in another. kind: whether these two are simulated, class-paired or real. novel: clips of labels that training
    never has, for few-shot episodes. extra: further tests. known: sets of nobody who is trained on or measured, which
    temperatures, and what is none of the labels, are fitted on as well; unknown: activities that are in no training, to
    measure that on. held_out: who is in ``test``, in words; empty where nobody is. people: what a
    subject is called, where that is not its number. backgrounds: sound (T,) int16 to mix in.
    limits: what a model that is trained on these does not show, a sentence each. begun: a sentence where a run that
    training begins with may have seen who is held out."""

    task: Task
    kind: str
    training: tuple[Pool, ...]
    calibration: tuple[Session, ...] = ()
    test: tuple[Session, ...] = ()
    novel: tuple[Session, ...] = ()
    extra: tuple[NamedTest, ...] = ()
    known: tuple[NamedTest, ...] = ()
    unknown: tuple[NamedTest, ...] = ()
    sources: tuple[DataSource, ...] = ()
    held_out: str = ""
    backgrounds: tuple[NDArray[np.int16], ...] = field(default=())
    limits: tuple[str, ...] = ()
    people: Mapping[int, str] = field(default_factory=dict)
    begun: str = ""
