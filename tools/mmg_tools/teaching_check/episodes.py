"""Episodes: five activities, a few examples of each, and what these are to be known in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

WAYS = 5
Numbers = NDArray[Any]


class Episode(NamedTuple):
    """examples, queries: places in the list of clips. of_example, of_query: their actions. ways: which these are."""

    ways: Numbers
    examples: Numbers
    of_example: Numbers
    queries: Numbers
    of_query: Numbers


def episodes(
    actions: Numbers, people: Numbers, shots: int, count: int, seed: int, *, same_person: bool, one_giver: bool = False
) -> Iterator[Episode]:
    """Of the same person the examples and the queries are other clips; else none of the queries' person is an example.

    one_giver: all examples are one person's (or of one fold).
    """
    random = np.random.default_rng(seed)
    for _ in range(count):
        ways = random.choice(np.unique(actions), WAYS, replace=False)
        person = random.choice(np.unique(people))
        others = np.unique(people[people != person])
        giver = random.choice(others) if one_giver else others
        examples, queries = [], []
        for way in ways:
            own = random.permutation(np.flatnonzero((actions == way) & (people == person)))
            given = random.permutation(np.flatnonzero((actions == way) & np.isin(people, giver)))
            examples.append(own[:shots] if same_person else given[:shots])
            queries.append(own[shots:] if same_person else own)
        known, asked = np.concatenate(examples), np.concatenate(queries)
        yield Episode(ways, known, actions[known], asked, actions[asked])


def accuracy(found: Iterator[Episode], apart: Callable[[Episode], Numbers]) -> float:
    """Of the nearest example. apart: ``(examples, queries)`` of an episode."""
    right: list[bool] = []
    for episode in found:
        distances = apart(episode)
        near = np.stack([distances[episode.of_example == way].min(axis=0) for way in episode.ways])
        right += (episode.ways[near.argmin(axis=0)] == episode.of_query).tolist()
    return float(np.mean(right))


def beside(episode: Episode, between: Numbers) -> Numbers:
    """``(examples, 1)``: each one's mean distance to the examples of the other activities.

    between: ``(clips, clips)``, infinite where one is too short for the other.
    """
    rows = between[np.ix_(episode.examples, episode.examples)].astype(np.float64)
    is_other = (episode.of_example[:, None] != episode.of_example) & np.isfinite(rows)
    sums, counts = np.where(is_other, rows, 0).sum(axis=1), is_other.sum(axis=1)
    whole = sums.sum() / max(counts.sum(), 1)
    means: Numbers = np.where(counts > 0, sums / np.maximum(counts, 1), whole)[:, None]
    return means


def markdown(title: str, heads: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """A table."""
    lines = [f"| {title} | {' | '.join(heads)} |", "|---|" + "---:|" * len(heads)]
    return "\n".join([*lines, *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows), ""])
