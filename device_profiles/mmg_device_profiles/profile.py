"""The schema of a device profile, and which profile suits this board."""

from __future__ import annotations

import platform
from pathlib import Path

import msgspec

BOARDS = Path(__file__).resolve().parent


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a board runs best with. The command line's flags go before it.

    grace_s: how long after a hop's end a late sensor is waited for.
    sensors: modality -> URL of the port or file it is on.
    """

    name: str
    description: str
    backend: str = "auto"
    threads: int = 1
    grace_s: float = 0.2
    sensors: dict[str, str] = {}


class ProfileProblem(ValueError):
    """A profile that cannot be used: ``path`` is the file, ``key`` the offending key, ``problem`` what is wrong."""

    def __init__(self, path: str, key: str, problem: str) -> None:
        self.path, self.key, self.problem = path, key, problem
        super().__init__(f"{path}: {key}: {problem}" if key else f"{path}: {problem}")


def detect_board() -> str:
    """The name of the profile for the machine that this runs on."""
    return "generic-aarch64" if platform.machine() in ("aarch64", "arm64") else "generic-x86-64"


def load_profile(name_or_path: str) -> Profile:
    """A board's profile by its name, or one's own by its path. Raises ProfileProblem."""
    own = "/" in name_or_path or name_or_path.endswith(".toml")
    path = Path(name_or_path) if own else BOARDS / f"{name_or_path}.toml"
    if not own and path not in BOARDS.glob("*.toml"):
        boards = ", ".join(sorted(board.stem for board in BOARDS.glob("*.toml")))
        raise ProfileProblem(name_or_path, "", f"there is no such board; there are {boards}, or give a path")
    try:
        if path.exists() and not path.is_file():
            raise ProfileProblem(str(path), "", "is not a regular file")
        profile = msgspec.toml.decode(path.read_bytes(), type=Profile)
    except OSError as error:
        raise ProfileProblem(str(path), "", error.strerror or "cannot be read") from error
    except msgspec.ValidationError as error:
        text, _, where = str(error).partition(" - at `")
        # "Object contains unknown field `x`" has no place: the field is the key.
        key = where.rstrip("`").removeprefix("$.") or text.partition("`")[2].rstrip("`")
        raise ProfileProblem(str(path), key, text) from error
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, msgspec's DecodeError, bad UTF-8; deep nesting
        raise ProfileProblem(str(path), "", f"not TOML: {error}") from error
    if not 1 <= profile.threads <= 64:
        raise ProfileProblem(str(path), "threads", "must be 1 to 64")
    if not 0 <= profile.grace_s <= 10:
        raise ProfileProblem(str(path), "grace_s", "must be 0 to 10 seconds")
    return profile
