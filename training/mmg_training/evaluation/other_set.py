"""Another data set, as a model that was not trained for it can be measured on it: by the labels and sensors of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from mmg.errors import ConfigError

from mmg_training.data.sessions import UNLABELLED, Dataset, Session
from mmg_training.evaluation.tables import plus
from mmg_training.task import Task

NAMED_AT_MOST = 12


def as_known(other: Dataset, own: Task) -> tuple[Dataset, tuple[str, ...]]:
    """What the set holds out, with the labels of ``own`` where it has them and ``UNLABELLED`` elsewhere, and sentences
    that say what is shared and what was left out. Sessions without a shared label or sensor go; so does everything but
    the test and the further tests. Raises ConfigError where nothing is shared."""
    names = tuple(name for name in own.modalities if name in other.task.modalities and _alike(own, other.task, name))
    labels = tuple(label for label in own.labels if label in other.task.labels)
    if not names or not labels:
        what = "sensor in the same form" if labels else "label"
        raise ConfigError(
            f"data: {other.task.name} shares no {what} with {own.name}, which has "
            f"{plus(own.modalities)} and the labels {_some(own.labels)}"
        )
    places = np.array(
        [own.labels.index(label) if label in labels else UNLABELLED for label in other.task.labels] + [UNLABELLED],
        np.int16,
    )
    lacking = [name for name in other.task.modalities if name not in names]

    def known(sessions: Sequence[Session]) -> tuple[Session, ...]:
        # The last of the places is that of what has no label.
        turned = (replace(one.without(lacking), labels=places[one.labels]) for one in sessions)
        return tuple(one for one in turned if one.samples and (one.labels >= 0).any())

    test = known(other.test)
    if not test:
        raise ConfigError(
            f"data: {other.task.name} holds out nothing with the labels {_some(labels)}; name data.test_people"
        )
    kept = (replace(one, sessions=known(one.sessions), groups={}) for one in other.extra)
    narrowed = replace(
        other,
        task=replace(own, modalities=names, clips=other.task.clips),
        training=(),
        calibration=(),
        test=test,
        novel=(),
        extra=tuple(one for one in kept if one.sessions),
    )
    return narrowed, _sentences(other, own, names, labels, len(test))


def shared_subjects(own: Sequence[Session], test: Sequence[Session], people: Mapping[int, str]) -> tuple[str, ...]:
    """The subjects of ``test`` of whom a recording of the same name is in ``own``, as ``people`` calls them."""
    learnt = {(one.source, one.subject) for one in own}
    both = (one.subject for one in test if (one.source, one.subject) in learnt)
    return tuple(dict.fromkeys(people.get(subject, str(subject)) for subject in both))


def _alike(own: Task, other: Task, name: str) -> bool:
    """Whether a modality has the same form in both."""
    return name != "video" or (own.video_fps, own.frame) == (other.video_fps, other.frame)


def _sentences(
    other: Dataset, own: Task, names: tuple[str, ...], labels: tuple[str, ...], tested: int
) -> tuple[str, ...]:
    lacking = [name for name in other.task.modalities if name not in names]
    gone = f" Left out: {plus(lacking)}, which the model does not take in this form." if lacking else ""
    return (
        f"Measured on {other.task.name}, another data set than it was trained for.",
        f"Shared labels: {_some(labels)}; {len(labels)} of the model's {len(own.labels)}, of the set's "
        f"{len(other.task.labels)}. Only what has one of them counts ({tested} of {len(other.test)} sessions), and the "
        f"model chooses among all of its own.",
        f"Shared sensors: {plus(names)}.{gone}",
    )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMED_AT_MOST])
    return shown + (f" and {len(names) - NAMED_AT_MOST} more" if len(names) > NAMED_AT_MOST else "")
