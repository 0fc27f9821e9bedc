"""A batch: what is to be decided, what of it is there already, and the rest decided."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from mmg.bundle import Bundle
from mmg.engine.variant import choose_file, choose_variant
from mmg.errors import ConfigError, MmgError
from mmg.runs.settings import Settings

from mmg_batch.recording import Entry, as_noted, bytes_of, state_of
from mmg_batch.results import Results, key_of
from mmg_batch.task import ALL, WHOLE, Part, Setup, Task

Engine = Callable[[Sequence[Task]], Iterator[tuple[Task, Part]]]
"""What decides tasks, which are in the order in which they should begin."""


@dataclass
class Tally:
    """What a batch came to. done: recordings that it is through with. known: those of them that were done before.
    failing: the names of recordings with a problem, now or before. decided: those of which something was decided."""

    recordings: int = 0
    done: int = 0
    known: int = 0
    decisions: int = 0
    judged: int = 0
    right: int = 0
    failing: set[str] = field(default_factory=set)
    decided: set[str] = field(default_factory=set)

    @property
    def failed(self) -> int:
        """Recordings with a problem."""
        return len(self.failing)

    def note(self, name: str, *, is_failed: bool, is_decided: bool) -> None:
        """A part of this recording, made now or before."""
        if is_failed:
            self.failing.add(name)
        if is_decided:
            self.decided.add(name)


def open_setup(
    paths: Sequence[str], settings: Settings, subsets: str, patience_s: float, *, trust: str | None, tell: Any
) -> tuple[Setup, dict[str, str]]:
    """What workers need, and each bundle's digest -> name. The bundles are verified, and their models tried.

    Raises ConfigError, BundleError, ModelError.
    """
    if not paths:
        raise ConfigError("--bundles: names no bundle: give starter, or paths as in a.mmg,b.mmg")
    bundles: dict[str, str] = {}
    names: dict[str, str] = {}
    sensors: dict[str, tuple[str, ...]] = {}
    for path in paths:
        with Bundle.open(path, trust=trust, tell=tell) as bundle:
            manifest = bundle.manifest
            known = [one.name for one in manifest.modalities]
            asked = _names_in(subsets) or [one.name for one in manifest.modalities if _may(one.kind, settings)]
            for name in asked:
                if name not in known:
                    raise ConfigError(f"bundle {manifest.name} has no sensor {name!r}; it has {', '.join(known)}")
                if not _may(manifest.modality(name).kind, settings):
                    raise ConfigError(f"{name} is off: add --allow-video, or leave it out of --subsets")
            variant = choose_variant(bundle, asked, settings.backend, settings.precision, settings.preferred_backend)
            settings = replace(settings, backend=variant.backend)  # all recordings by the same one, now and later
            parts = [manifest.modality(name).encoder.files for name in asked] + [manifest.fusion.files]
            files = [choose_file(bundle, part, "model", variant) for part in parts]
            for file in files:
                bundle.read(file)
            bundle.require_tried(files)
            if manifest.name in names.values():
                raise ConfigError(f"--bundles: two are called {manifest.name}: the table would not tell them apart")
            sensors[manifest.name] = tuple(known)
            bundles[bundle.digest], names[bundle.digest] = str(bundle.path), manifest.name
    return Setup(bundles, settings, _ordered(subsets, known), patience_s, sensors), names


def described(setup: Setup, names: dict[str, str]) -> dict[str, Any]:
    """What the results depend on, beside the recordings."""
    settings = setup.settings
    kept = ("allow_video", "grace_s", "look_ahead_s", "backend", "precision", "threads", "providers", "unknown")
    told = {key: value for key, value in asdict(replace(settings, taught=None, gate=None)).items() if key in kept}
    return {
        "bundles": {name: digest for digest, name in sorted(names.items(), key=lambda item: item[1])},
        "subsets": setup.subsets,
        "settings": json.loads(json.dumps(told)),
    }


def check_subsets(text: str) -> str:
    """``whole``, ``all`` or a list of subsets, as it is kept. Raises ConfigError."""
    if text in (WHOLE, ALL):
        return text
    subsets = [[name.strip() for name in part.split("+")] for part in text.split(",")]
    if not all(name for subset in subsets for name in subset) or any(len(set(one)) < len(one) for one in subsets):
        raise ConfigError(f"--subsets {text}: must be all, whole, or a list such as imu,imu+audio")
    if len({frozenset(subset) for subset in subsets}) < len(subsets):
        raise ConfigError(f"--subsets {text}: a subset is named twice")
    return ",".join("+".join(subset) for subset in subsets)


def plan(entries: Iterable[Entry], setup: Setup, results: Results, tally: Tally, *, is_retried: bool) -> Iterator[Task]:
    """A task for each recording of which something is not there yet. is_retried: those that failed, too."""
    for entry in entries:
        tally.recordings += 1
        try:
            found = state_of(entry)
        except MmgError:
            found = []  # its task will say why
        state, size = as_noted(entry, found), bytes_of(found)
        keys, known = {}, {}
        for digest in setup.bundles:
            key = key_of(entry.name, digest)
            there = results.kept(key)
            is_wanted = there is None or not found or there.state != state or (is_retried and there.is_failed)
            if there and not is_wanted:
                tally.note(entry.name, is_failed=there.is_failed, is_decided=there.is_decided or not there.is_failed)
                continue
            keys[digest] = key
            if there and there.fingerprint and not (is_retried and there.is_failed):
                known[digest] = there.fingerprint
        if keys:
            yield Task(entry, keys, state, size, known)
        else:
            tally.done += 1
            tally.known += 1


def run(
    tasks: Sequence[Task], engine: Engine, results: Results, tally: Tally, tell: Callable[[str], None]
) -> Iterator[Tally]:
    """Decide the tasks, the largest first, and keep each part as it comes; yields after each recording.

    A part without decisions never takes the place of one with some: a disk that is away costs nothing that was decided.
    tell: called with a line for a recording that failed.
    """
    left = {task.entry.name: len(task.keys) for task in tasks}
    for task, part in engine(sorted(tasks, key=lambda task: (-task.size, task.entry.name))):
        outcome = part.outcome
        there = results.kept(part.key) if outcome.problem or not part.decisions else None
        is_kept_back = bool(outcome.problem and not outcome.decisions and there and there.is_decided)
        if not is_kept_back:
            results.keep(part, task)
        is_failed = bool(outcome.problem) or (there is not None and not part.decisions and there.is_failed)
        tally.note(outcome.name, is_failed=is_failed, is_decided=outcome.decisions > 0 or not is_failed)
        tally.decisions += outcome.decisions
        tally.judged += outcome.judged
        tally.right += outcome.right
        if outcome.problem:
            is_said = outcome.problem.startswith(outcome.name)
            line = outcome.problem if is_said else f"{outcome.name}: {outcome.problem}"
            tell(f"{line}; what was decided before is kept" if is_kept_back else line)
        left[outcome.name] -= 1
        if not left[outcome.name]:
            tally.done += 1
        yield tally


def _ordered(subsets: str, names: Sequence[str]) -> str:
    """The same subsets, whatever the order in which they were named: that of ``all``."""
    if subsets in (WHOLE, ALL):
        return subsets
    found = sorted((sorted(names.index(name) for name in part.split("+")) for part in subsets.split(",")), key=_by_size)
    return ",".join("+".join(names[number] for number in part) for part in found)


def _by_size(part: list[int]) -> tuple[int, list[int]]:
    return len(part), part


def _names_in(subsets: str) -> list[str]:
    if subsets in (WHOLE, ALL):
        return []
    return list(dict.fromkeys(name for part in subsets.split(",") for name in part.split("+")))


def _may(kind: str, settings: Settings) -> bool:
    return kind != "video" or settings.allow_video
