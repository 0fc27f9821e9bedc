"""Profiles from files: a board's by its name, one's own by its path, with single values changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmg_device_profiles.checking import ProfileProblem, check_profile
from mmg_device_profiles.schema import Profile
from mmg_device_profiles.toml import MOST_DOTS, parse_toml, read_toml

__all__ = ["BOARDS", "SET", "Profile", "ProfileProblem", "list_boards", "load_profile"]

BOARDS = Path(__file__).resolve().parent
SET = "--set"  # the flag of the commands, and the path of a problem with an override


def load_profile(name_or_path: str, overrides: Sequence[str] = ()) -> Profile:
    """A board's profile by its name, or one's own by its path.

    Each override is ``key=value`` with a dotted key, ``budget.memory_mib=80``; the value is TOML, or a bare word that
    is taken as a string. Raises ProfileProblem, whose path is the file, or "--set" for an override.
    """
    path = _find(name_or_path)
    raw = _read(path)
    profile = check_profile(raw, str(path))
    if not overrides:
        return profile
    for override in overrides:
        _override(raw, override)
    changed = check_profile(raw, SET)
    if profile.privacy.video == "never" and changed.privacy.video != "never":
        raise ProfileProblem(SET, "privacy.video", f"is never in {path}: it can be changed only there")
    if not set(changed.privacy.record) <= set(profile.privacy.record):
        raise ProfileProblem(SET, "privacy.record", f"allows less in {path}: it can be widened only there")
    return changed


def list_boards() -> tuple[str, ...]:
    """The names of the boards that there are profiles for."""
    return tuple(sorted(path.stem for path in BOARDS.glob("*.toml")))


def _find(name_or_path: str) -> Path:
    if "/" in name_or_path or name_or_path.endswith(".toml"):
        return Path(name_or_path)
    boards = list_boards()
    if name_or_path not in boards:
        names = ", ".join(boards)
        raise ProfileProblem(name_or_path, "", f"there is no such board; there are {names}, or give a path")
    return BOARDS / f"{name_or_path}.toml"


def _read(path: Path) -> dict[str, Any]:
    """The file's table, not checked yet."""
    try:
        return read_toml(path)
    except OSError as error:
        raise ProfileProblem(str(path), "", error.strerror or "cannot be read") from error
    except ValueError as error:
        raise ProfileProblem(str(path), "", str(error)) from error


def _override(raw: dict[str, Any], override: str) -> None:
    """Set one value. What [documents] says of it was of the value before: it goes."""
    if not _is_text(override):
        raise ProfileProblem(SET, "", f"{override[:60]!a} holds bytes that are no text")
    key, separator, text = override.partition("=")
    *tables, name = (part.strip() for part in key.split("."))
    if not separator or not all((*tables, name)):
        raise ProfileProblem(SET, "", f'"{override[:60]}" must be KEY=VALUE, such as threads=2')
    if len(tables) > MOST_DOTS:
        raise ProfileProblem(SET, key[:60], f"has more than {MOST_DOTS} dots, and so is no key")
    key, table = ".".join((*tables, name)), raw
    for part in tables:
        inner = table.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ProfileProblem(SET, key, f"{part} holds one value: {part}={text}")
        table = inner
    table[name] = _parse_value(text.strip())
    documents = raw.get("documents")
    if tables[:1] != ["documents"] and isinstance(documents, dict):
        raw["documents"] = {of: said for of, said in documents.items() if of != key and not of.startswith(f"{key}.")}


def _is_text(words: str) -> bool:
    """Whether it can be written: Python keeps bytes of a command line that are no UTF-8 as surrogates."""
    try:
        words.encode()
    except UnicodeEncodeError:
        return False
    return True


def _parse_value(text: str) -> Any:
    try:
        parsed = parse_toml(f"value = {text}")
    except ValueError:
        return text
    # A line break in the text could smuggle in a second key.
    return parsed["value"] if list(parsed) == ["value"] else text
