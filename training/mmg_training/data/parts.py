"""Who is in which part of a loaded data set, in words: what every report of figures states."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from mmg.counts import count_of

from mmg_training.data.sessions import Dataset, Session
from mmg_training.data.split import counted
from mmg_training.metrics import Split


def told(dataset: Dataset) -> Split:
    """From the sessions that the parts really have, whatever the settings say."""
    training = [session for pool in dataset.training for session in pool.sessions]
    learnt, labels = _known(training), dataset.task.labels
    people, several = _people(dataset, dataset.calibration), len(dataset.training) > 1
    pools = "; ".join(f"{pool.name}, {len(pool.sessions)} sessions" for pool in dataset.training)
    return Split(
        training=pools if several else _people(dataset, training),
        validation=", and ".join(part for part in (people, *(one.name for one in dataset.known)) if part),
        test=_people(dataset, dataset.test),
        held_out=dataset.held_out if dataset.test else "",
        begun=dataset.begun if dataset.test or dataset.novel else "",
        both=_people(dataset, [one for one in dataset.test if one.subject in learnt]),
        novel=_people(dataset, dataset.novel),
        novel_in_training=_people(dataset, [one for one in dataset.novel if one.subject in learnt]),
        novel_labels_trained=tuple(labels[at] for at in sorted(_labels(training) & _labels(dataset.novel))),
    )


def trained_sha256(dataset: Dataset) -> str:
    """A digest that changes with who is trained on, with their sessions and with the labels of these."""
    # In ASCII: what letters repr writes as they are is another matter with each Python.
    digest = hashlib.sha256(ascii((dataset.task.labels, dataset.task.kinds)).encode())
    for one in (session for pool in dataset.training for session in pool.sessions):
        person = dataset.people.get(one.subject, one.subject) if one.subject >= 0 else ""
        shapes = sorted((name, values.shape) for name, values in one.samples.items())
        digest.update(ascii((one.source, person, shapes)).encode() + one.labels.tobytes())
    return digest.hexdigest()


def _known(sessions: Sequence[Session]) -> set[int]:
    return {one.subject for one in sessions if one.subject >= 0}


def _labels(sessions: Sequence[Session]) -> set[int]:
    return {label for one in sessions for label in set(one.labels.tolist()) if label >= 0}


def _people(dataset: Dataset, sessions: Sequence[Session]) -> str:
    """Subjects below nothing are those of whom nobody knows who they are, a number for each recording."""
    names = [dataset.people.get(number, str(number)) for number in sorted(_known(sessions))]
    unknown = len({one.subject for one in sessions if one.subject < 0})
    told = [counted(names)] if names else []
    told += [f"{count_of(unknown, 'recording')} of people whom nobody names"] if unknown else []
    return ", and ".join(told)
