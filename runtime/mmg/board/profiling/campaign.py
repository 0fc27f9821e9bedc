"""Every case, one after another, each in a process of its own, and the report of all."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import combinations, product
from typing import TYPE_CHECKING

import msgspec

from mmg.backends import BACKENDS, INSTALL, NAMES, is_installed
from mmg.board.machine import read_commit, read_versions
from mmg.board.profiling import result
from mmg.board.profiling.budget import check_budget
from mmg.board.profiling.gate import gate_costs
from mmg.board.profiling.result import Case, Mode, Report
from mmg.board.profiling.task import Task
from mmg.bundle import Bundle, Manifest
from mmg.errors import BackendUnavailable, BundleError, ConfigError
from mmg.own_process import command_of
from mmg.printable import encodable

if TYPE_CHECKING:
    from mmg_device_profiles import Board, Profile

    from mmg.types import Reached

SIGNAL = "synthetic samples: noise, gravity on one axis; no sensor was opened"
PRECISIONS = ("fp32", "int8")
HOPS = {"paced": 12, "backtoback": 200}
"""Counted ones of each case: with these the starter's 28 cases take under six minutes."""
PACED_ONLY = ("cpu_percent", "power_mw")
EXPLAINED = (2, 4)
"""Exit codes of a case's process whose last line says all."""
START_S, SLOWEST = 60.0, 20.0
"""A case may take so long to start, and be so many times slower than its pace, before it is given up."""
COMMAND = command_of("mmg.board.profiling.measure")

Subset = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure: every combination of these, as far as the bundle has it.

    subsets: None for every non-empty one. deadline_ms: None for the profile's ``budget.decision_ms``, or the hop.
    keep_budget: whether each case is held against the profile's budget. root: of /proc and /sys.
    """

    bundle: str
    profile: Profile
    subsets: tuple[Subset, ...] | None = None
    backends: tuple[str, ...] = BACKENDS
    precisions: tuple[str, ...] = PRECISIONS
    threads: tuple[int, ...] = (1,)
    mode: Mode = "paced"
    hops: int | None = None
    deadline_ms: float | None = None
    keep_budget: bool = False
    root: str = "/"


def run_campaign(
    plan: Plan,
    board: Board,
    command: Sequence[str],
    progress: Reached,
    tell: Callable[[str], object] | None = None,
) -> Report:
    """Measure it all; Ctrl-C ends it with the cases that are done. progress: gets the name of each case as it begins.
    tell: called with a line that is worth reading.

    Raises ConfigError, BundleError, ModelError where a model may not run here, and KeyboardInterrupt where no case is
    done yet.
    """
    begun, begin_s = datetime.now(timezone.utc), time.monotonic()
    with Bundle.open(plan.bundle, tell=tell) as bundle:
        manifest = bundle.manifest
        if plan.keep_budget:
            budget_of(plan.profile, plan.mode)  # told before minutes have passed
        wanted = list(_cases(plan, bundle))
        tried = _try_models(bundle, [case for case in wanted if case.outcome == "measured"])
        cases: list[Case] = []
        try:
            for case in wanted:
                if case.outcome == "measured":
                    done = sum(one.outcome != "unavailable" for one in cases)
                    progress(done, sum(one.outcome == "measured" for one in wanted), case.name)
                    case = _measure(plan, case, manifest, tried)
                cases.append(case)
        except KeyboardInterrupt:
            if not any(case.outcome == "measured" for case in cases):
                raise
        left = [
            msgspec.structs.replace(case, outcome="unavailable", reason="not measured: stopped earlier")
            if case.outcome == "measured"
            else case
            for case in wanted[len(cases) :]
        ]
        report = Report(
            schema=result.SCHEMA,
            made=begun.isoformat(timespec="seconds"),
            command=tuple(map(encodable, command)),
            took_s=round(time.monotonic() - begin_s, 1),
            mode=plan.mode,
            signal=SIGNAL,
            profile=plan.profile.name,
            budget={},
            bundle=result.Bundle(
                path=encodable(plan.bundle),
                name=manifest.name,
                version=manifest.version,
                manifest_sha256=hashlib.sha256(msgspec.json.encode(manifest)).hexdigest(),
                hop_s=manifest.hop_s,
                video=tuple(modality.name for modality in manifest.modalities if modality.kind == "video"),
            ),
            machine=_machine(board, plan.root),
            cases=(*cases, *left),
            stopped=bool(left),
            gate=gate_costs(manifest),
        )
    return hold(report, plan.profile) if plan.keep_budget else report


def all_subsets(names: Sequence[str]) -> tuple[Subset, ...]:
    """Every non-empty one, the small ones first."""
    return tuple(subset for size in range(1, len(names) + 1) for subset in combinations(names, size))


def _cases(plan: Plan, bundle: Bundle) -> Iterator[Case]:
    """Each wanted one: ``measured`` if it can be, else ``unavailable`` with the reason."""
    manifest = bundle.manifest
    known = [modality.name for modality in manifest.modalities]
    for name in (name for subset in plan.subsets or () for name in subset):
        if name not in known:
            raise ConfigError(f"bundle {manifest.name} has no sensor {name!r}; it has {', '.join(known)}")
    for backend, precision, threads in product(plan.backends, plan.precisions, plan.threads):
        for subset in plan.subsets or all_subsets(known):
            ordered = tuple(name for name in known if name in subset)
            parts = [manifest.modality(name).encoder.files for name in ordered] + [manifest.fusion.files]
            reason = ""
            if not all(any((f.backend, f.precision) == (backend, precision) for f in part) for part in parts):
                reason = f"the bundle has no {backend} files in {precision}"
            elif not is_installed(backend):
                reason = str(BackendUnavailable(NAMES[backend], INSTALL[backend]))
            yield Case(
                modalities=ordered,
                backend=backend,
                precision=precision,
                threads=threads,
                outcome="unavailable" if reason else "measured",
                reason=reason,
            )


def _try_models(bundle: Bundle, cases: Sequence[Case]) -> str:
    """The bundle's digest once every model of these cases may run here, so that no case need ask again; nothing where
    a file is damaged, which each case tells of its own. Raises ModelError, ShapeMismatch."""
    manifest = bundle.manifest
    used = {(name, case.backend, case.precision) for case in cases for name in (*case.modalities, None)}
    parts = [(None, manifest.fusion.files), *((one.name, one.encoder.files) for one in manifest.modalities)]
    files = [file for name, part in parts for file in part if (name, file.backend, file.precision) in used]
    try:
        bundle.require_tried(files)
    except BundleError:
        return ""
    return bundle.digest


def _measure(plan: Plan, case: Case, manifest: Manifest, tried: str = "") -> Case:
    profile, hops = plan.profile, plan.hops or HOPS[plan.mode]
    task = Task(
        bundle=os.fsencode(plan.bundle),
        modalities=case.modalities,
        backend=case.backend,
        precision=case.precision,
        threads=case.threads,
        providers=profile.providers,
        mode=plan.mode,
        hops=hops,
        grace_s=profile.grace_s,
        unknown=profile.unknown,
        deadline_ms=plan.deadline_ms or profile.budget.decision_ms or manifest.hop_s * 1e3,
        spawned_ns=time.monotonic_ns(),
        meter=profile.energy.meter,
        core_w=profile.energy.core_w,
        root=os.fsencode(plan.root),
        tried=tried,
    )
    limit_s = START_S + (manifest.context_hops + hops + 20) * manifest.hop_s * SLOWEST
    try:
        done = subprocess.run(
            COMMAND, input=msgspec.json.encode(task), capture_output=True, timeout=limit_s, check=False
        )
    except OSError as error:
        reason = f"{COMMAND[0]} cannot be started: {error.strerror}"
        return msgspec.structs.replace(case, outcome="failed", reason=reason)
    except subprocess.TimeoutExpired:
        return msgspec.structs.replace(case, outcome="failed", reason=f"gave nothing within {limit_s:.0f} s")
    if done.returncode == 0:
        try:
            return msgspec.json.decode(done.stdout, type=Case)
        except msgspec.DecodeError as error:
            return msgspec.structs.replace(case, outcome="failed", reason=f"its process gave no result: {error}")
    words = done.stderr.decode(errors="replace").strip().splitlines() or ["it printed nothing"]
    if done.returncode in EXPLAINED:
        return msgspec.structs.replace(case, outcome="failed", reason=words[-1])
    how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
    return msgspec.structs.replace(case, outcome="failed", reason=f"its process ended with {how}: {words[-1]}")


def hold(report: Report, profile: Profile) -> Report:
    """The same report, held against this profile's budget. Raises ConfigError where it has none."""
    budget = budget_of(profile, report.mode)
    cases = tuple(
        msgspec.structs.replace(case, budget=check_budget(case, budget)) if case.outcome == "measured" else case
        for case in report.cases
    )
    return msgspec.structs.replace(report, cases=cases, budget=budget, profile=profile.name)


def budget_of(profile: Profile, mode: Mode) -> dict[str, float]:
    """The profile's limits, as far as they hold in this mode. Raises ConfigError where there is none."""
    limits = {key: limit for key, limit in msgspec.structs.asdict(profile.budget).items() if limit is not None}
    if mode == "backtoback":  # what a second costs is a matter of the pace
        limits = {key: limit for key, limit in limits.items() if key not in PACED_ONLY}
    if not limits and mode == "backtoback" and any(getattr(profile.budget, key) is not None for key in PACED_ONLY):
        raise ConfigError(f"the budget of profile {profile.name} applies to the real pace: leave out --mode backtoback")
    if not limits:
        raise ConfigError(f"profile {profile.name} has no budget: give one, as in --set budget.memory_mib=80")
    return limits


def _machine(board: Board, root: str) -> result.Machine:
    return result.Machine(
        model=board.model if root == "/" else f"{board.model or 'unknown'}, according to {root}",
        cpu=board.cpu,
        cores=board.cores,
        memory_mib=board.memory_mib,
        architecture=board.machine,
        features=board.features,
        versions=read_versions(),
        commit=read_commit(),
    )
