"""What may stand between this machine and a good run, and what mends it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mmg.backends import AUTO
from mmg.board.doctor.finding import Finding, Verdict
from mmg.board.doctor.libraries import Trial, judge_libraries, try_libraries
from mmg.board.doctor.permissions import User, check_permissions, this_user
from mmg.board.doctor.resources import check_python, check_resources
from mmg.board.doctor.sound import judge_portaudio
from mmg.board.doctor.timing import check_timing
from mmg.board.machine import Condition, Tool, read_commit, read_condition, read_versions, tool_under

if TYPE_CHECKING:
    from mmg_device_profiles.board import Board

    from mmg.types import Reached

__all__ = ["Examination", "Finding", "Verdict", "examine"]


@dataclass(frozen=True, slots=True)
class Examination:
    """board: None where the library that reads device profiles cannot be used. versions: with ``commit``, if known."""

    board: Board | None
    condition: Condition
    versions: dict[str, str]
    findings: tuple[Finding, ...]


def examine(
    root: Path = Path("/"),
    *,
    timeout_s: float = 30.0,
    folder: Path = Path(),
    may_write: bool | None = None,
    user: User | None = None,
    tool: Tool | None = None,
    progress: Reached = lambda _done, _of, _what: None,
    privacy: Sequence[Finding] = (),
) -> Examination:
    """Look at everything. Nothing is written, and no device is opened, but for what PortAudio does to list its own.

    root: where ``sys``, ``proc`` and ``dev`` lie; libraries, Python and clock are always this process's. timeout_s: for
    the import of one library. folder: where logs will be written. may_write:
    whether they can be, where writing was closed meanwhile. tool: runs vcgencmd. progress: of the
    libraries, which take longest. privacy: of ``check_privacy``.
    """
    tool, user = tool or tool_under(root), user or this_user()
    condition = read_condition(root, tool=tool)
    trials = try_libraries(timeout_s, progress=progress)
    progress(0, 0, "looking at the machine")
    board, profile, preferred = _find_board(root, trials)
    commit = read_commit()
    groups = {
        "libraries": [*check_python(), *judge_libraries(trials, timeout_s, preferred)],
        "devices": [*judge_portaudio(root, trials), *check_permissions(root, user)],
        "privacy": privacy,
        "timing": check_timing(root, condition),
        "resources": check_resources(root, condition, folder, may_write),
        "board": [profile, _judge_meter(root, tool, user)],
    }
    findings = tuple(replace(one, group=group) for group, found in groups.items() for one in found)
    return Examination(board, condition, read_versions() | ({"commit": commit} if commit else {}), findings)


def _find_board(root: Path, trials: Sequence[Trial]) -> tuple[Board | None, Finding, str]:
    """What the board is, whether a profile suits it, and the backend that this names.

    Profiles are read with msgspec, whose crash would be the doctor's own.
    """
    if any(trial.library.module == "msgspec" and (trial.absent or trial.status != 0) for trial in trials):
        return None, Finding("profile", "unknown", "profiles need msgspec"), AUTO
    from mmg_device_profiles import ProfileProblem, load_profile
    from mmg_device_profiles.board import detect_board, read_board

    board = read_board(root)
    try:
        name = detect_board(root)
        return board, Finding("profile", "ok", name), load_profile(name).backend
    except ProfileProblem as error:
        return board, Finding("profile", "problem", str(error), "reinstall mmg, as its README says"), AUTO


def _judge_meter(root: Path, tool: Tool, user: User) -> Finding:
    from mmg.board.profiling.energy import NoMeter, open_meter

    meter = open_meter("auto", root, tool=tool, access=user.access)
    if not isinstance(meter, NoMeter):
        return Finding("energy meter", "ok", f"{meter.kind}: {meter.scope}")
    if meter.do:
        return Finding("energy meter", "warning", meter.reason, meter.do)
    return Finding("energy meter", "ok", f"none: {meter.reason}")
