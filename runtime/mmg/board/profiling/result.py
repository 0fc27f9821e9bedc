"""What ``mmg-profile`` measures, as data: the schema ``mmg-profile/1`` of its JSON. docs/profiling.md explains it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from mmg_device_profiles.regular_file import read_within

from mmg.errors import ConfigError

SCHEMA: Literal["mmg-profile/1"] = "mmg-profile/1"

LARGEST_BYTES = 32 << 20
"""Of a report: that of a whole campaign takes some hundred kB."""

Mode = Literal["paced", "backtoback"]


Number = Annotated[float, msgspec.Meta(ge=-1e18, le=1e18)]
"""As far as anything can be measured: with larger ones nothing can be drawn or compared."""


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Every part is immutable and refuses keys it does not know."""


class Histogram(_Part, frozen=True):
    """counts[i]: how many were from edges_ms[i] on and under edges_ms[i + 1]; nothing is left out, none is clipped."""

    edges_ms: tuple[Number, ...]
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.counts or len(self.edges_ms) != len(self.counts) + 1:
            raise ValueError("a histogram has one edge more than counts")


class Distribution(_Part, frozen=True):
    """Of one stage, in milliseconds. Percentiles are interpolated between samples; none is left out."""

    n: Annotated[int, msgspec.Meta(ge=1)]
    mean_ms: Number
    min_ms: Number
    p50_ms: Number
    p90_ms: Number
    p95_ms: Number
    p99_ms: Number
    max_ms: Number
    histogram: Histogram


class Cold(_Part, frozen=True):
    """The first seconds of the process, in seconds, each stage after the one before.

    start_s: from the start of the process to mmg's first line; import_s: what a run imports; verify_s: opening and
    hashing the bundle; sessions_s: loading the models; first_inference_s: the first hop's runs; first_decision_s: from
    the start of the process to the end of the first inference: a decision but for the wait for the sensors' first hop.
    """

    start_s: Number
    import_s: Number
    verify_s: Number
    sessions_s: Number
    first_inference_s: Number
    first_decision_s: Number


class Memory(_Part, frozen=True):
    """Resident memory of the process, in MiB.

    base_mib: after the imports, before a model was loaded; steady_mib: median while running; peak_mib: the most that
    the process ever had; slope_mib_per_hour: of a line through the samples while running, None where they are under a
    minute, which says nothing.
    """

    base_mib: Number
    steady_mib: Number
    peak_mib: Number
    slope_mib_per_hour: Number | None


class Energy(_Part, frozen=True):
    """While it ran. measured: by ``meter``; else an estimate, processor time by the profile's ``energy.core_w``.

    A meter counts what the whole board does, as far as it sees it, an estimate only what this process adds.
    """

    measured: bool
    meter: str
    joules: Number
    mean_w: Number
    mj_per_decision: Number


class BudgetCheck(_Part, frozen=True):
    """One line of the device profile's budget. value: None where it was not measured, which does not pass."""

    key: str
    limit: Number
    value: Number | None
    passed: bool


class Conditions(_Part, frozen=True):
    """The board before or after; None where the kernel does not say. See ``mmg.board.machine.Condition``."""

    governor: str | None
    frequency_mhz: Number | None
    temperature_c: Number | None
    throttled: tuple[str, ...]
    free_mib: int
    load: Number


class Case(_Part, frozen=True):
    """One subset of modalities on one backend, at one precision, with so many threads, in a process of its own.

    outcome: ``measured``; ``unavailable`` where the bundle has no such files or their library is not installed;
    ``failed``. The reason says why, and what was not measured is None or empty.
    stages: ``resample``, each modality's encoder by its name, ``fusion``, ``post``, ``sink``; ``capture_age``, the age
    of a hop's newest sample at the decision, and ``event_to_decision``, from the hop's end to it, in paced mode only;
    ``hop``, processor time of the engine's thread for the whole hop.
    deadline_ms: what event to decision is held to (in mode backtoback: the hop's time); misses: hops that took longer,
    missed_by_stalls: those of them that stalls of the machine itself explain: a thread that was due did not run for as
    long as the decision was late.
    real_time_factor: time that a hop takes over the time that it lasts.
    cpu_percent: processor time of the process over the time that passed in mode paced, in percent of one core.
    macs_per_s: multiply-accumulates a second of signal, None where the bundle does not say; model_bytes: its files.
    halves_differ: how far the medians of the two halves of the samples are apart, relative.
    valid: whether the figures can be relied on; if not, ``reasons`` says why not. A missed deadline is in ``warnings``.
    """

    modalities: tuple[str, ...]
    backend: str
    precision: str
    threads: int
    outcome: Literal["measured", "unavailable", "failed"]
    reason: str = ""
    cold: Cold | None = None
    stages: dict[str, Distribution] = {}
    hops: int = 0
    deadline_ms: Number | None = None
    misses: int = 0
    missed_by_stalls: int = 0
    real_time_factor: Number | None = None
    cpu_percent: Number | None = None
    memory: Memory | None = None
    macs_per_s: Number | None = None
    model_bytes: int = 0
    energy: Energy | None = None
    accuracy: Number | None = None
    halves_differ: Number | None = None
    before: Conditions | None = None
    after: Conditions | None = None
    valid: bool = False
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    budget: tuple[BudgetCheck, ...] = ()

    @property
    def name(self) -> str:
        """Such as ``imu+audio onnx fp32 1t``: the same in two reports for the same thing."""
        return f"{'+'.join(self.modalities)} {self.backend} {self.precision} {self.threads}t"

    @property
    def over_budget(self) -> tuple[BudgetCheck, ...]:
        """The lines of the budget that it does not keep."""
        return tuple(check for check in self.budget if not check.passed)


class Machine(_Part, frozen=True):
    """What it ran on. versions: package -> version, with ``kernel`` and ``python``; commit: of mmg's checkout."""

    model: str
    cpu: str
    cores: int
    memory_mib: int
    architecture: str
    features: tuple[str, ...]
    versions: dict[str, str]
    commit: str | None


class Bundle(_Part, frozen=True):
    """What was profiled. manifest_sha256: of its manifest, which names every file's hash.

    video: the modalities that a camera gives, whatever their names; a report without this key is of a bundle whose
    camera was called so.
    """

    path: str
    name: str
    version: str
    manifest_sha256: str
    hop_s: Number
    video: tuple[str, ...] = ("video",)


class GateCost(_Part, frozen=True):
    """A point of the curve of the bundle's gate. policy: ``all awake``, ``as learnt`` or what wakes which sensor.

    awake: of each sensor that may sleep, the part of the time that it was awake. accuracy: as the bundle states it.
    estimated_mw: see ``mmg.board.profiling.estimate``; no board measured it.
    """

    policy: str
    awake: dict[str, Number]
    accuracy: Number
    estimated_mw: Number


class Report(_Part, frozen=True):
    """One run of ``mmg-profile``.

    made: when it began, UTC, ISO 8601. command: its arguments. signal: where the samples came from.
    budget: key -> limit, as the device profile has them; empty without ``--budget``. stopped: whether Ctrl-C ended it
    before every case was measured. gate: the curve of the bundle's gate, the leanest first; empty where it has none.
    """

    schema: Literal["mmg-profile/1"]
    made: str
    command: tuple[str, ...]
    took_s: Number
    mode: Mode
    signal: str
    profile: str
    budget: dict[str, Number]
    bundle: Bundle
    machine: Machine
    cases: tuple[Case, ...]
    stopped: bool = False
    gate: tuple[GateCost, ...] = ()


def encode(report: Report) -> bytes:
    """The report as indented JSON, with a line end."""
    return msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n"


def read_report(path: str) -> Report:
    """A report that ``encode`` gave. Raises ConfigError for a file that is none."""
    try:
        return msgspec.json.decode(read_within(path, LARGEST_BYTES), type=Report)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or 'cannot be read'}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: is not a report of mmg-profile --json: {error}") from error
