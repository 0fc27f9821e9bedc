"""Few-shot episodes on labels that training never had: supports of one modality, queries of the same or of another.

An episode has some labels, some support clips and query clips of each. A query is given the label whose prototype, the
mean of its normalised supports, it is most alike by cosine (Snell et al. 2017; across modalities: MMG-Ego4D).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from mmg.counts import count_of
from mmg.errors import ConfigError
from numpy.typing import NDArray

from mmg_training.data.sessions import Session
from mmg_training.evaluation.decide import Decisions, shared
from mmg_training.evaluation.scores import Z
from mmg_training.evaluation.subsets import Decider, Subset
from mmg_training.evaluation.tables import Cell, Figure, Table, plus
from mmg_training.ranges import Count, Range
from mmg_training.task import Task

SCORES = ("embedding", "sequence", "both")
Floats = NDArray[Any]


@dataclass(frozen=True)
class FewshotConfig:
    """ways: labels of an episode; queries: clips to decide of each label, fewer where there are not so many. score: by
    the clips' embeddings, by the sequences of their hops' tokens, or by the sum of both cosines."""

    ways: Annotated[int, Range(2)] = 5
    shots: tuple[int, ...] = (1, 5)
    queries: Count = 5
    episodes: Count = 600
    score: str = "both"
    seed: Annotated[int, Range(0)] = 0

    def __post_init__(self) -> None:
        if not self.shots or min(self.shots) < 1 or self.ways < 2 or self.episodes < 1:
            raise ConfigError("few-shot needs at least 2 ways, 1 shot and 1 episode")


@dataclass(frozen=True)
class View:
    """Clips as one subset of the modalities shows them: embedding (N, E) and tokens (N, hops, D), rows of length 1."""

    embedding: Floats
    tokens: Floats | None


@dataclass(frozen=True)
class Episodes:
    """support (episodes, ways, shots) and query (episodes, ways, queries): numbers of clips. apart: the share of
    episodes whose supports and queries are of different people."""

    support: NDArray[np.int64]
    query: NDArray[np.int64]
    apart: float


@dataclass(frozen=True)
class FewshotScore:
    """support and query: subsets of the modalities. accuracy: the mean over episodes, with half its 95 % interval."""

    support: Subset
    query: Subset
    shots: int
    accuracy: Figure
    apart: float


def measure_fewshot(
    decider: Decider, task: Task, novel: Sequence[Session], config: FewshotConfig
) -> tuple[FewshotScore, ...]:
    """Every pair of two single modalities, same and crossed, and the full set; all meet the same episodes. Raises
    ConfigError where the clips are too few."""
    names = shared(task, novel)
    subsets: list[Subset] = [(name,) for name in names]
    if len(names) > 1:
        subsets.append(names)
    made = decider(novel, subsets)
    views = {subset: view(decisions) for subset, decisions in made.items()}
    labels = made[subsets[0]].labels.numpy()
    people = np.array([session.subject for session in novel])
    singles = [subset for subset in subsets if len(subset) == 1]
    pairs = [(a, b) for a in singles for b in singles] + [(s, s) for s in subsets if len(s) > 1]
    scores = []
    for shots in config.shots:
        episodes = draw_episodes(labels, people, shots, config)
        for support, query in pairs:
            right = episode_accuracy(episodes, views[support], views[query], config.score)
            half = Z * float(right.std(ddof=1)) / len(right) ** 0.5 if len(right) > 1 else None
            figure = Figure(float(right.mean()), half, len(right))
            scores.append(FewshotScore(support, query, shots, figure, episodes.apart))
    return tuple(scores)


def view(decisions: Decisions) -> View:
    """Tokens of several modalities are normalised and put side by side: the cosine is then the mean of theirs."""
    parts = [_normal(tokens.numpy()) for tokens in decisions.tokens.values()]
    tokens = _normal(np.concatenate(parts, axis=2)) if parts else None
    return View(_normal(decisions.embedding.numpy()), tokens)


def draw_episodes(labels: NDArray[np.int64], people: NDArray[np.int64], shots: int, config: FewshotConfig) -> Episodes:
    """The same for the same clips and settings. No clip is both support and query; nor is any person in an episode,
    where enough people have clips of all of its labels. Raises ConfigError."""
    kinds, kind = np.unique(labels, return_inverse=True)
    if len(kinds) < config.ways:
        raise ConfigError(f"few-shot: {len(kinds)} new labels, an episode of {config.ways} ways needs as many")
    smallest = int(np.bincount(kind).min())
    queries = min(config.queries, smallest - shots)
    if queries < 1:
        raise ConfigError(f"few-shot: a label has {smallest} clips, {shots} shots and a query need {shots + 1}")
    persons, person = np.unique(people, return_inverse=True)
    counts = np.zeros((len(kinds), len(persons)), np.int64)
    np.add.at(counts, (kind, person), 1)
    rng, apart = np.random.default_rng((config.seed, shots, 0xF5)), 0
    support = np.empty((config.episodes, config.ways, shots), np.int64)
    query = np.empty((config.episodes, config.ways, queries), np.int64)
    for episode in range(config.episodes):
        chosen = rng.choice(len(kinds), config.ways, replace=False)
        order = rng.permutation(len(persons))
        before = counts[chosen][:, order].cumsum(axis=1)
        enough = ((before >= shots) & (before[:, -1:] - before >= queries)).all(axis=0)
        teachers = order[: int(enough.argmax()) + 1] if enough.any() else order
        apart += bool(enough.any())
        for place, label in enumerate(chosen):
            clips = rng.permutation(np.flatnonzero(kind == label))
            taught = np.isin(person[clips], teachers)
            support[episode, place] = clips[taught][:shots]
            rest = clips[~taught] if enough.any() else clips[shots:]
            query[episode, place] = rest[:queries]
    return Episodes(support, query, apart / config.episodes)


def episode_accuracy(episodes: Episodes, support: View, query: View, score: str) -> NDArray[np.float64]:
    """(episodes,): the share of queries that get their own label."""
    cosines: Floats = np.zeros(1)
    if score in ("embedding", "both"):
        cosines = cosines + _cosines(episodes, support.embedding[:, None], query.embedding[:, None])
    if score in ("sequence", "both"):
        if support.tokens is None or query.tokens is None:
            raise ConfigError("few-shot: an engine gives no tokens; choose --fewshot-score embedding")
        if support.tokens.shape[2] != query.tokens.shape[2]:
            raise ConfigError("few-shot: sequences of unlike subsets cannot be compared")
        cosines = cosines + _cosines(episodes, support.tokens, query.tokens)
    ways, each = episodes.query.shape[1:]
    accuracy: NDArray[np.float64] = (cosines.argmax(axis=2) == np.arange(ways).repeat(each)).mean(axis=1)
    return accuracy


def _cosines(episodes: Episodes, support: Floats, query: Floats) -> Floats:
    """Sequences (N, T, D) -> (episodes, ways * queries, ways): the mean over T of the cosine to each prototype."""
    prototypes = _normal(support[episodes.support].mean(axis=2))  # (episodes, ways, T, D)
    asked = query[episodes.query.reshape(len(episodes.query), -1)]  # (episodes, ways * queries, T, D)
    flat = (*asked.shape[:2], -1)
    matched = asked.reshape(flat) @ prototypes.reshape(*prototypes.shape[:2], -1).swapaxes(1, 2)
    return np.asarray(matched / support.shape[1])


def _normal(values: Floats) -> Floats:
    length: Floats = np.linalg.norm(values, axis=-1, keepdims=True)
    normal: Floats = values / np.maximum(length, 1e-12)
    return normal


def fewshot_table(scores: Sequence[FewshotScore], config: FewshotConfig, kind: str, notes: Sequence[str]) -> Table:
    """A row for each pair, a column for each number of shots."""
    pairs: dict[tuple[Subset, Subset], dict[int, Figure]] = {}
    for score in scores:
        pairs.setdefault((score.support, score.query), {})[score.shots] = score.accuracy
    rows: list[tuple[Cell, ...]] = [
        (plus(support), plus(query), "same" if support == query else "crossed", *(by.get(n) for n in config.shots))
        for (support, query), by in pairs.items()
    ]
    head = ("support", "query", "modalities", *(shot_column(shots) for shots in config.shots))
    return Table("fewshot", f"Few-shot, {config.ways} ways", head, tuple(rows), kind, (*notes, _note(scores, config)))


def shot_column(shots: int) -> str:
    """The head of a column."""
    return count_of(shots, "shot")


def _note(scores: Sequence[FewshotScore], config: FewshotConfig) -> str:
    by_shots: Mapping[int, float] = {score.shots: score.apart for score in scores}
    apart = ", ".join(f"{share:.0%} at {shot_column(shots)}" for shots, share in by_shots.items())
    return (
        f"{config.episodes} episodes, drawn with seed {config.seed}, ± is a 95 % interval over them; score: "
        f"{config.score}. No clip is both support and query; of different people in {apart} of the episodes. "
        f"Chance is {1 / config.ways:.3f}."
    )
