"""The device profile that a command runs with: its flags, and what is wrong with it in one line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mmg.errors import ProfileError

if TYPE_CHECKING:
    from mmg_device_profiles import Profile

    from mmg.runs.settings import Settings


def add_profile_flags(parser: argparse.ArgumentParser) -> None:
    """``--profile`` and ``--set``."""
    parser.add_argument("--profile", metavar="BOARD|PATH", help="a device profile (default: the one for this board)")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="one value in place of the profile's, such as threads=2 or budget.memory_mib=80; may be repeated",
    )


def folder(text: str) -> Path:
    """A flag's folder, such as ``--root``'s. Raises ArgumentTypeError where there is none."""
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is not a folder")
    return path


def board_settings(options: argparse.Namespace, profile: Profile) -> Settings:
    """How a run is made: what ``--allow-video``, ``--backend`` and ``--precision`` say first, then the profile."""
    from mmg.runs.settings import Settings

    return Settings(
        allow_video=options.allow_video,
        grace_s=profile.grace_s,
        backend=options.backend or "auto",
        preferred_backend=profile.backend,
        precision=options.precision or profile.precision,
        threads=profile.threads,
        providers=profile.providers,
        unknown=profile.unknown,
    )


def load_board(options: argparse.Namespace) -> Profile:
    """The profile that was asked for, or the one that suits this board. Raises ProfileError."""
    from mmg_device_profiles import ProfileProblem, detect_board, load_profile

    try:
        # mmg-profile can look at another board's files.
        name = detect_board(getattr(options, "root", Path("/"))) if options.profile is None else options.profile
        return load_profile(name, options.set)
    except ProfileProblem as problem:
        raise ProfileError(problem.path, problem.key, problem.problem) from problem
