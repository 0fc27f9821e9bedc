"""What a worker does with a task: one recording, decided by each bundle from each subset of its sensors."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmg.errors import BundleError, ConfigError, MmgError, NoSensorError, shortage, wants_memory
from mmg.labels import Label, labels_of, read_labels
from mmg.runs.recorded import Pipeline
from mmg.runs.whole import sensors_in
from mmg.sources.files.contents import container_of
from mmg.sources.files.folder import forget_unpacked, kinds_in
from mmg.sources.url import parse_url

from mmg_batch.columns import DecisionsFile, pairs, recordings_file, storable
from mmg_batch.faults import Faults
from mmg_batch.fetching import fetched
from mmg_batch.kept_bundle import KeptBundle
from mmg_batch.recording import Entry, digest_of, truth_of
from mmg_batch.task import ALL, WHOLE, Outcome, Part, Setup, Task
from mmg_batch.truth import TruthLine

if TYPE_CHECKING:
    from mmg.runs.replay import Replay
    from mmg.types import Decision

    Run = Pipeline | Replay

MOST_NOTES = 50
"""Lines that are kept of one run."""


@dataclass
class _Row:
    """Of one run, what becomes a row of the recordings."""

    span_s: float | None = None
    sensors: dict[str, None] = field(default_factory=dict)
    decisions: int = 0
    judged: int = 0
    right: int = 0
    losses: dict[str, int] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    notes: list[str] = field(default_factory=list)
    problem: str | None = None


class Runner:
    """Holds the opened bundles and their models. To be closed.

    alive: called whenever something was decided, and before each step that may take long.
    """

    def __init__(self, setup: Setup, alive: Callable[[], None] = lambda: None) -> None:
        """Raises BundleError."""
        self._setup, self._alive = setup, alive
        self._bundles: dict[str, KeptBundle] = {}
        for digest, path in setup.bundles.items():
            bundle = self._bundles[digest] = KeptBundle.open_kept(path)
            if bundle.digest != digest:
                raise BundleError(path, "", "was changed since the batch began")

    def close(self) -> None:
        """Let go of the bundles."""
        for bundle in self._bundles.values():
            bundle.close()

    def parts(self, task: Task) -> Iterator[Part]:
        """A part for each bundle. Raises BundleError: without a whole bundle no recording can be decided."""
        with tempfile.TemporaryDirectory(prefix="recording-") as folder:
            self._alive()
            try:
                entry = replace(task.entry, truth=truth_of(task.entry))
                local = fetched(entry, Path(folder), self._alive)
                digest = digest_of(local.places, self._alive)
                fingerprint = _fingerprint(task.entry, digest, local.truth)
                spans = _spans(local)
            except Exception as error:
                for bundle_digest, key in task.keys.items():
                    yield self._failed(task, key, bundle_digest, _words(error))
                return
            try:
                for bundle_digest, key in task.keys.items():
                    if task.known.get(bundle_digest) == fingerprint:
                        yield Part(key, b"", b"", Outcome(task.entry.name))
                        continue
                    made = _Decided(self._bundles[bundle_digest], self._setup, self._alive, task, local, folder)
                    yield made.part(key, digest, fingerprint, spans)
            finally:
                forget_unpacked()

    def _failed(self, task: Task, key: str, bundle_digest: str, problem: str) -> Part:
        bundle = self._bundles[bundle_digest]
        return failed_part(task, key, bundle_digest, bundle.manifest.name, problem)


def failed_part(task: Task, key: str, bundle_digest: str, bundle: str, problem: str) -> Part:
    """Of a recording that could not be decided at all."""
    row = _as_row(task, bundle, bundle_digest, "", "", _Row(problem=problem))
    recordings = recordings_file([row], task.state, "")
    return Part(key, DecisionsFile().close(), recordings, Outcome(task.entry.name, problem=problem))


class _Decided:
    """One recording and one bundle."""

    def __init__(
        self, bundle: KeptBundle, setup: Setup, alive: Callable[[], None], task: Task, local: Entry, folder: str
    ) -> None:
        self._bundle, self._setup, self._alive = bundle, setup, alive
        self._task, self._local, self._folder = task, local, folder
        self._file = DecisionsFile()

    def part(self, key: str, digest: str, fingerprint: str, spans: tuple[Label, ...]) -> Part:
        """Raises BundleError."""
        rows: dict[str, _Row] = {}
        try:
            urls = self._urls()
            for names in subsets_of(self._setup.subsets, tuple(urls)):
                row = rows["+".join(names)] = _Row()
                self._decide("+".join(names), {name: urls[name] for name in names if name in urls}, names, spans, row)
        except BundleError:
            raise
        except Exception as error:
            rows[""] = _Row(problem=self._clean(_words(error)))
        manifest = self._bundle.manifest
        told = self._task, manifest.name, self._bundle.digest
        made = [_as_row(*told, name, digest, row) for name, row in rows.items()]
        problems = [row.problem for row in rows.values() if row.problem]
        outcome = Outcome(
            self._task.entry.name,
            sum(row.decisions for row in rows.values()),
            sum(row.judged for row in rows.values()),
            sum(row.right for row in rows.values()),
            problems[0] if problems else "",
        )
        return Part(key, self._file.close(), recordings_file(made, self._task.state, fingerprint), outcome)

    def _urls(self) -> dict[str, str]:
        """Modality -> URL of what the recording has, in the bundle's order; video only where it is allowed."""
        manifest, given = self._bundle.manifest, self._local.urls
        for name in given:
            if name not in [one.name for one in manifest.modalities]:
                has = ", ".join(one.name for one in manifest.modalities)
                raise ConfigError(f"bundle {manifest.name} has no sensor {name!r}; it has {has}")
        found = given or sensors_in(self._local.name, manifest.modalities)
        allowed = {
            one.name: found[one.name]
            for one in manifest.modalities
            if one.name in found and (one.kind != "video" or self._setup.settings.allow_video)
        }
        if not allowed:
            raise NoSensorError({self._local.name: self._why_nothing(found)})
        return allowed

    def _why_nothing(self, found: Mapping[str, str]) -> str:
        """Why none of its sensors can be decided from; ``found`` are all films."""
        if found:
            return f"holds {', '.join(found)} alone, which stays closed without --allow-video"
        holds = ", ".join(sorted(kinds_in(parse_url(self._local.name)))) or "nothing that is known"
        return f"holds {holds}, and none of it is a sensor of bundle {self._bundle.manifest.name}"

    def _decide(
        self, subset: str, urls: dict[str, str], names: tuple[str, ...], spans: tuple[Label, ...], row: _Row
    ) -> None:
        """Fill in the row, and add the decisions to the file. Raises BundleError."""
        if lacking := [name for name in names if name not in urls]:
            row.problem = f"has no {', '.join(lacking)}"
            return
        truth, half_hop_s = TruthLine(spans), self._bundle.manifest.hop_s / 2

        def note(line: str) -> None:
            if len(row.notes) < MOST_NOTES:
                row.notes.append(self._clean(line))

        self._alive()
        try:
            with closing(self._open(urls, note)) as run:
                self._alive()
                for decision in run:
                    self._alive()
                    self._add(decision, subset, truth.at(decision.t_s - half_hop_s), row)
                row.span_s = run.duration_s
                if isinstance(run, Pipeline):
                    row.losses = {
                        f"{one.modality}: {kind}": count
                        for one in run.recordings
                        for kind, count in one.losses.items()
                        if count
                    }
        except BundleError:
            raise
        except Exception as error:
            row.problem = self._clean(_words(error))

    def _open(self, urls: dict[str, str], note: Callable[[str], None]) -> Run:
        self._bundle.begin_run()
        settings, url = self._setup.settings, parse_url(next(iter(urls.values())))
        path = Path(url.path)
        if self._local.urls or url.options or not path.is_file() or container_of(path) != "mcap":
            return Pipeline(self._bundle, urls, settings, report=note)
        from mmg.recording.reader import open_recording
        from mmg.runs.replay import Replay, as_recorded

        recording, names = open_recording(path), tuple(urls)
        recorded = as_recorded(
            recording,
            self._bundle,
            settings,
            note,
            names,
            grace=None,
            precision=settings.precision,
            unknown=settings.unknown,
        )
        return Replay(self._bundle, recording, names, recorded, report=note)

    def _add(self, decision: Decision, subset: str, truth: str | None, row: _Row) -> None:
        row.decisions += 1
        row.judged += truth is not None
        row.right += truth == decision.label
        row.sensors.update(dict.fromkeys(decision.modalities))
        row.faults.add(decision)
        self._file.add(
            {
                "recording": storable(self._task.entry.name),
                "bundle": self._bundle.manifest.name,
                "subset": subset,
                "hop": decision.hop,
                "t_s": decision.t_s,
                "label": decision.label,
                "confidence": decision.confidence,
                "truth": truth,
                "scores": pairs(decision.scores),
                "states": [(name, state.state) for name, state in decision.sensors.items()],
                "losses": [(name, state.dropped) for name, state in decision.sensors.items()],
            }
        )

    def _clean(self, line: str) -> str:
        """Without the names of folders for temporary files, which differ from run to run."""
        return line.replace(self._local.name, self._task.entry.name).replace(f"{self._folder}/", "")


def subsets_of(asked: str, names: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The subsets that are asked for of a recording with these sensors."""
    if asked == WHOLE:
        return [names]
    if asked == ALL:
        return [subset for size in range(1, len(names) + 1) for subset in combinations(names, size)]
    return [tuple(part.split("+")) for part in asked.split(",")]


def _spans(local: Entry) -> tuple[Label, ...]:
    if local.truth:
        return tuple(sorted(read_labels(parse_url(local.truth).path)))
    path = Path(parse_url(local.name).path)
    return tuple(sorted(labels_of(path))) if path.exists() else ()


def _fingerprint(entry: Entry, digest: str, truth: str) -> str:
    """Of all that the rows depend on, beside the bundle and the settings."""
    labels = digest_of([truth]) if truth else ""
    told = [digest, labels, sorted(entry.urls.items()), entry.person, entry.board]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _as_row(task: Task, bundle: str, bundle_digest: str, subset: str, digest: str, row: _Row) -> dict[str, Any]:
    return {
        "recording": storable(task.entry.name),
        "person": task.entry.person or None,
        "board": task.entry.board or None,
        "bundle": bundle,
        "bundle_digest": bundle_digest,
        "subset": subset,
        "digest": digest or None,
        "bytes": task.size,
        "span_s": row.span_s,
        "sensors": list(row.sensors),
        "decisions": row.decisions,
        "judged": row.judged,
        "correct": row.right,
        "accuracy": row.right / row.judged if row.judged else None,
        "losses": pairs(row.losses),
        "faults": row.faults.rows(),
        "notes": [storable(note) for note in row.notes],
        "problem": None if row.problem is None else storable(row.problem),
    }


def _words(error: Exception) -> str:
    """Why a recording could not be decided."""
    if wants_memory(error):
        return "there is not enough memory for it"
    if lacking := shortage(error):
        return lacking
    return str(error) if isinstance(error, MmgError) else f"{type(error).__name__}: {error}".partition("\n")[0]
