"""What was taught: activities by their examples, and what the sensors gave beside them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from mmg.errors import ConfigError
from mmg.teaching.trace import POINTS, Trace
from mmg.types import UNKNOWN

if TYPE_CHECKING:
    from mmg.bundle import Manifest

MOST_ACTIVITIES, MOST_EXAMPLES = 200, 50
LONGEST_NAME = 40
LONGEST_HOPS = 600
"""Of an example."""
MOST_HOPS = 4000
"""Of all examples of a modality: each is compared with each when a run starts, which takes their square in time."""
MOST_BACKGROUND_HOPS = 7200
"""Of a modality: an hour of hops of half a second. The oldest goes first."""
MOST_ALIGNED = 20_000
"""Tokens of an example that has a shape: they are aligned, which takes their square in time and memory."""
HOP_S = 0.5
"""Of the starter, and where a file names none."""
RESERVED = ("none", UNKNOWN)


@dataclass(frozen=True, slots=True)
class Example:
    """One time that the activity was done: its trace by modality."""

    traces: Mapping[str, Trace]


@dataclass(frozen=True, slots=True)
class Activity:
    """A name and its examples, the oldest first."""

    name: str
    examples: tuple[Example, ...]

    @property
    def modalities(self) -> tuple[str, ...]:
        """Those of any of its examples, in order of their names."""
        return tuple(sorted({name for example in self.examples for name in example.traces}))


@dataclass(frozen=True, slots=True)
class Taught:
    """encoders: modality -> digest of the encoder whose tokens these are. background: modality -> traces of what was
    none of the activities. hop_s: seconds of each hop. It never changes: each change gives another. Raises ConfigError
    where it cannot be.
    """

    encoders: Mapping[str, str]
    activities: tuple[Activity, ...] = ()
    background: Mapping[str, tuple[Trace, ...]] = field(default_factory=dict)
    hop_s: float = HOP_S

    @property
    def names(self) -> tuple[str, ...]:
        """Of the activities."""
        return tuple(activity.name for activity in self.activities)

    def has(self, name: str, example: Example) -> bool:
        """Whether this activity has an example of which a trace is the same: the same time that it was done."""
        return any(
            modality in known.traces and trace.is_same(known.traces[modality])
            for one in self.activities
            if one.name == name
            for known in one.examples
            for modality, trace in example.traces.items()
        )

    def add(self, name: str, example: Example) -> Taught:
        """With one more example of this activity, or with the first; the same, where it has that example."""
        if self.has(check_name(name), example):
            return self
        grown = self.with_kept(name, example)
        check_comparable(grown)
        return grown

    def with_kept(self, name: str, example: Example) -> Taught:
        """With an example that was taught before and is not in it; all of them may be more than can be compared."""
        name = check_name(name)
        _check_example(name, example, self.encoders)
        if name not in self.names:
            check_case(name, self.names)
            if len(self.activities) >= MOST_ACTIVITIES:
                raise ConfigError(f"{name}: {MOST_ACTIVITIES} activities are taught, and no more can be: remove one")
            return replace(self, activities=(*self.activities, Activity(name, (example,))))
        grown = []
        for activity in self.activities:
            if activity.name == name:
                if len(activity.examples) >= MOST_EXAMPLES:
                    raise ConfigError(f"{name}: has {MOST_EXAMPLES} examples, and can have no more")
                activity = Activity(name, (*activity.examples, example))
            grown.append(activity)
        return replace(self, activities=tuple(grown))

    def remove(self, name: str) -> Taught:
        """Without this activity."""
        if name not in self.names:
            raise ConfigError(f"{name!r} is not taught: {', '.join(self.names) or 'nothing is'}")
        return replace(self, activities=tuple(one for one in self.activities if one.name != name))

    def merge(self, other: Taught) -> Taught:
        """With all of another's: the examples of both where a name is in both."""
        for modality, digest in other.encoders.items():
            if self.encoders.get(modality, digest) != digest:
                raise ConfigError(f"taught with different {modality} encoders: what they gave cannot be put together")
        if self.hop_s != other.hop_s:
            hops = f"a hop of {other.hop_s:g} s, and not of {self.hop_s:g} s"
            raise ConfigError(f"taught with {hops}: what they gave cannot be put together")
        whole = replace(self, encoders={**self.encoders, **other.encoders})
        for activity in other.activities:
            for example in activity.examples:
                whole = whole.add(activity.name, example)
        for modality, traces in other.background.items():
            whole = whole.with_background(modality, traces)
        for modality in whole.background:
            examples = (example for activity in whole.activities for example in activity.examples)
            taken = [example.traces[modality] for example in examples if modality in example.traces]
            whole = whole.without_background(modality, taken)
        return whole

    def with_background(self, modality: str, traces: Iterable[Trace]) -> Taught:
        """With more of what is none of the activities, each trace once; the oldest is forgotten where it is too much.
        The same, where it has them all."""
        if modality not in self.encoders:
            raise ConfigError(f"background of {modality}: no encoder of it is known here")
        known = list(self.background.get(modality, ()))
        keys = {trace.key() for trace in known}
        for trace in traces:
            _check_trace(f"background of {modality}", trace)
            if (key := trace.key()) not in keys:
                keys.add(key)
                known.append(trace)
        if len(known) == len(self.background.get(modality, ())):
            return self
        kept: list[Trace] = []
        left = MOST_BACKGROUND_HOPS
        for trace in reversed(known):
            part = trace.part(max(trace.hops - left, 0), trace.hops)
            left -= part.hops
            if part.hops:
                kept.append(part)
        return replace(self, background={**self.background, modality: tuple(reversed(kept))})

    def without_background(self, modality: str, traces: Iterable[Trace]) -> Taught:
        """Without the hops of background that are in any of these traces as well; the same, where it has none. What a
        trace of it has more than once stays, as of a sensor at rest that gives the same again: it is of no one time."""
        if not (known := self.background.get(modality)):
            return self
        keys = [[hop.key() for hop in trace.each()] for trace in known]
        every = {key for own in keys for key in own}
        gone = {key for trace in traces for hop in trace.each() if (key := hop.key()) in every}
        kept: list[Trace] = []
        for trace, own in zip(known, keys, strict=True):
            times = Counter(own)
            kept += trace.runs([key not in gone or times[key] > 1 for key in own])
        if sum(trace.hops for trace in kept) == sum(trace.hops for trace in known):
            return self
        return replace(self, background={**self.background, modality: tuple(kept)})


def check_name(name: str) -> str:
    """The name of an activity, without blanks around it. Raises ConfigError."""
    name = name.strip()
    shown = ascii(name[:LONGEST_NAME])
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise ConfigError(f"{shown}: a name is 1 to {LONGEST_NAME} printable characters")
    if name.lower() in RESERVED:
        raise ConfigError(f"{shown}: means that it is none of the activities; choose another name")
    return name


def check_case(name: str, others: Iterable[str]) -> None:
    """Raises ConfigError where it is one of these but for its case: nobody would tell the two apart."""
    for other in others:
        if name != other and name.casefold() == other.casefold():
            raise ConfigError(f"{name}: is {other} but for its case: write {other}, or choose another name")


def check_comparable(taught: Taught) -> None:
    """Raises ConfigError where the examples of a modality are more than can be compared with each other in time."""
    hops: Counter[str] = Counter()
    for activity in taught.activities:
        for example in activity.examples:
            hops.update({modality: trace.hops for modality, trace in example.traces.items()})
    for modality, count in hops.items():
        if count > MOST_HOPS:
            whole = f"over {MOST_HOPS * taught.hop_s / 60:.0f} minutes of {modality} examples, all that can be compared"
            raise ConfigError(f"{whole}: remove an activity (mmg-teach --delete)")


def encoder_digests(manifest: Manifest) -> dict[str, str]:
    """Modality -> SHA-256 over the hashes of its encoder's files: tokens of another encoder mean something else."""
    digests = {}
    for modality in manifest.modalities:
        hashes = sorted(file.sha256 for file in modality.encoder.files)
        digests[modality.name] = hashlib.sha256(" ".join(hashes).encode()).hexdigest()
    return digests


def check_encoders(taught: Taught, manifest: Manifest) -> None:
    """Raises ConfigError where what was taught is of other encoders or other hops than the bundle's."""
    known = encoder_digests(manifest)
    for modality in sorted({name for activity in taught.activities for name in activity.modalities}):
        if taught.encoders.get(modality) != known.get(modality):
            raise ConfigError(f"taught with another {modality} encoder than bundle {manifest.name} has: teach it again")
    if taught.activities and taught.hop_s != manifest.hop_s:
        hops = f"a hop of {taught.hop_s:g} s, and that of bundle {manifest.name} is {manifest.hop_s:g} s"
        raise ConfigError(f"taught with {hops}: teach it again")


def nothing_taught(manifest: Manifest) -> Taught:
    """With this bundle's encoders, so far."""
    return Taught(encoder_digests(manifest), hop_s=manifest.hop_s)


def for_bundle(taught: Taught, manifest: Manifest) -> Taught:
    """The same, with which examples of all the bundle's modalities go. Of a sensor that nothing was taught with, what
    another encoder gave is of no use, and is left out. Raises ConfigError as ``check_encoders``."""
    check_encoders(taught, manifest)
    begun = nothing_taught(manifest)
    is_same = {one: taught.encoders.get(one) == begun.encoders.get(one) for one in taught.background}
    same = {one: traces for one, traces in taught.background.items() if is_same[one] and taught.hop_s == begun.hop_s}
    return replace(begun, activities=taught.activities, background=same)


def _check_example(name: str, example: Example, encoders: Mapping[str, str]) -> None:
    if not example.traces:
        raise ConfigError(f"{name}: an example without any sensor")
    for modality, trace in example.traces.items():
        if modality not in encoders:
            raise ConfigError(f"{name}: an example of {modality}, and no encoder of it is known here")
        _check_trace(f"{name}, {modality}", trace)
        if not 1 <= trace.hops <= LONGEST_HOPS:
            raise ConfigError(f"{name}: an example of {trace.hops} hops of {modality}; 1 to {LONGEST_HOPS} can be")
        tokens = trace.hops * trace.tokens.shape[1]
        if trace.has_shape and tokens > MOST_ALIGNED:
            raise ConfigError(f"{name}: an example of {tokens} tokens of {modality}; {MOST_ALIGNED} can be compared")


def _check_trace(what: str, trace: Trace) -> None:
    if trace.tokens.ndim != 3 or trace.shape.ndim != 3 or len(trace.shape) != len(trace.tokens):
        raise ConfigError(f"{what}: tokens and shape are not of the same hops")
    if trace.shape.shape[1] not in (0, POINTS):
        raise ConfigError(f"{what}: a shape of {trace.shape.shape[1]} points a hop; {POINTS}, or none, can be")
    if not (np.isfinite(trace.tokens).all() and np.isfinite(trace.shape).all()):
        raise ConfigError(f"{what}: holds numbers that are not finite")
