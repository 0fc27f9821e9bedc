"""What a training run measured and used: ``metrics.json``, which the exporter quotes and never computes again."""

from __future__ import annotations

from pathlib import Path

import msgspec
from mmg.bundle.unknown_fit import UnknownFit
from mmg.errors import ConfigError
from mmg_device_profiles.regular_file import read_within


class SubsetScore(msgspec.Struct, frozen=True, kw_only=True):
    """Held-out sessions with exactly these modalities; the temperature, and how none of the labels is told, were fitted
    on others; the temperature is 1 where nobody of these has the modalities."""

    modalities: tuple[str, ...]
    temperature: float
    accuracy: float
    macro_f1: float
    ece: float
    samples: int
    recall: dict[str, float]
    unknown: UnknownFit | None = None


class ExtraScore(msgspec.Struct, frozen=True, kw_only=True):
    """A further test; ``kind``: real, class-paired or simulated. ece: with the subset's temperature."""

    name: str
    kind: str
    modalities: tuple[str, ...]
    accuracy: float
    ece: float
    samples: int
    recall: dict[str, float]


class UnknownScore(msgspec.Struct, frozen=True, kw_only=True):
    """Activities without a label. auroc: beside what is known from these modalities; accepted: taken for a label, as
    shipped, and accepted_kept where 95 % of the known is kept; taken_for: as which, in words."""

    name: str
    kind: str
    modalities: tuple[str, ...]
    auroc: float
    accepted: float
    accepted_kept: float
    taken_for: str
    samples: int


class DataSource(msgspec.Struct, frozen=True, kw_only=True):
    """Something trained on: what it is, how much of it and under which licence. modalities: what it has; empty for all
    of the set's."""

    name: str
    what: str
    licence: str
    modalities: tuple[str, ...] = ()


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """Who is trained on, whom temperatures are fitted on (validation) and who is measured, by numbers or names, each
    empty where nobody is. held_out: what the test is. both: those of the test who are trained on too. novel: who is
    in the few-shot episodes, and of these novel_in_training; novel_labels_trained: its labels that training has. begun:
    a sentence where a run that training began with may have seen who is held out."""

    training: str
    validation: str = ""
    test: str = ""
    held_out: str = ""
    both: str = ""
    novel: str = ""
    novel_in_training: str = ""
    novel_labels_trained: tuple[str, ...] = ()
    begun: str = ""

    @property
    def measured(self) -> str:
        """The part that was held out from the training, or that there is none."""
        if not self.test:
            return NOTHING_HELD_OUT
        again = f", of whom {self.both} are trained on too" if self.both else ""
        return " ".join(filter(None, (f"Test: {self.held_out or self.test}{again}.", self.begun)))

    @property
    def episodes(self) -> str:
        """Who is in the few-shot episodes, and whether the training has them; empty without episodes."""
        if not self.novel:
            return ""
        known = self.novel_in_training
        people = f"of whom {known} are in training" if known else "who are in no training"
        if self.novel_labels_trained:
            told = f"Few-shot: {self.novel}, {people}; its labels are NOT new: {', '.join(self.novel_labels_trained)}."
        else:
            told = f"Few-shot: {self.novel}, {people}, with labels that training does not have."
        return " ".join(filter(None, (told, self.begun)))

    @property
    def lines(self) -> tuple[str, ...]:
        """A sentence for each part."""
        fitted = f"Validation: {self.validation}." if self.validation else "Validation: nobody, so no temperatures."
        sentences = (f"Trained on: {self.training or 'nobody'}.", fitted, self.measured, self.episodes)
        return tuple(one for one in sentences if one)


LARGEST_BYTES = 16 << 20
NOTHING_HELD_OUT = "Nothing was held out: no figure of this run says how it does on people whom it was not trained on."


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """created: ISO date and time, UTC. weights_sha256: of the file that was measured. tools: name -> version. wall_s:
    how long the training took, after ``--resume`` only its last part, on ``device``. held_out: who is measured in
    ``subsets``. extra: further tests; unknown: what is none of the labels. limits: what the data do not show. split:
    who is in which part, where known."""

    created: str
    seed: int
    config_sha256: str
    weights_sha256: str
    device: str
    wall_s: float
    tools: dict[str, str]
    data: tuple[DataSource, ...]
    held_out: str
    subsets: tuple[SubsetScore, ...] = ()
    extra: tuple[ExtraScore, ...] = ()
    unknown: tuple[UnknownScore, ...] = ()
    limits: tuple[str, ...] = ()
    split: Split | None = None


def save(metrics: Metrics, path: Path) -> None:
    """Write it as indented JSON."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(metrics), indent=2) + b"\n")


def load(path: Path) -> Metrics:
    """Raises ConfigError where the file is missing or is not such metrics."""
    try:
        return msgspec.json.decode(read_within(path, LARGEST_BYTES), type=Metrics)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; train first: mmg-train") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: {error}") from error
