"""A decoded TOML table becomes a Profile, or one line that says which key is wrong and what is allowed."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, get_args, get_origin

import msgspec
from msgspec.structs import fields

from mmg_device_profiles.schema import Profile

_LONGEST = 60  # characters of a key or a value that a message shows


class ProfileProblem(ValueError):
    """A profile that cannot be used: ``path`` is the file or "--set", ``key`` the dotted key.

    ``problem`` says what is wrong and what is allowed. Text and key are one printable line, whatever the file holds.
    """

    def __init__(self, path: str, key: str, problem: str) -> None:
        self.path, self.key, self.problem = path, _one_line(key), _one_line(problem)
        where = f"{_one_line(path)}: {self.key}" if key else _one_line(path)
        super().__init__(f"{where}: {self.problem}")


def check_profile(raw: Mapping[str, Any], path: str) -> Profile:
    """The profile that ``raw`` is. Raises ProfileProblem, with ``path`` as its path."""
    _check_table(raw, Profile, "", path)
    profile = msgspec.convert(raw, Profile)
    values = set(value_keys(raw))
    for key in profile.documents:
        if key not in values:
            problem = f"names a value that is not set here{_suggest(key, values)}"
            raise ProfileProblem(path, f"documents.{_short(key)}", problem)
    return profile


def value_keys(raw: Mapping[str, Any]) -> Iterable[str]:
    """The dotted keys of all values of a checked profile, in its order, those of [documents] left out."""
    for name, value in raw.items():
        if name == "documents":
            continue
        if isinstance(value, dict):
            yield from (f"{name}.{inner}" for inner in value)
        else:
            yield name


def _check_table(raw: Mapping[str, Any], struct: type[msgspec.Struct], prefix: str, path: str) -> None:
    known = {field.name: field for field in fields(struct)}
    for name, value in raw.items():
        key = prefix + _short(name)
        if name not in known:
            raise ProfileProblem(
                path, key, f"is not a known key{_suggest(name, known)}; allowed are {', '.join(known)}"
            )
        kind = known[name].type
        if get_origin(kind) is dict:
            for inner, item in _table(value, key, "of modality = value", path).items():
                _check_key(item, get_args(kind)[1], f"{key}.{_short(inner)}", path)
        else:
            _check_key(value, kind, key, path)
    for name, field in known.items():
        if field.required and name not in raw:
            raise ProfileProblem(path, prefix + name, f"is missing: it must be {_allowed(field.type)}")


def _check_key(value: Any, kind: Any, key: str, path: str) -> None:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        names = ", ".join(field.name for field in fields(kind))
        _check_table(_table(value, key, f"with {names}", path), kind, f"{key}.", path)
    else:
        _check_value(value, kind, key, path)


def _table(value: Any, key: str, content: str, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ProfileProblem(path, key, f"must be a table {content}, not {_shown(value)}")
    return value


def _check_value(value: Any, kind: Any, key: str, path: str) -> None:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        item = re.search(r" - at `\$\[(\d+)\]`$", str(error))  # the one of a list that is wrong
        wrong = value[int(item[1])] if item else value
        raise ProfileProblem(path, key, f"must be {_allowed(kind)}, not {_shown(wrong)}") from error
    if isinstance(value, float) and not math.isfinite(value):
        raise ProfileProblem(path, key, f"must be {_allowed(kind)}, not {value}")
    if isinstance(value, list) and len(set(value)) != len(value):
        twice = next(item for item, count in Counter(value).items() if count > 1)
        raise ProfileProblem(path, key, f"names {_shown(twice)} twice")


def _allowed(kind: Any) -> str:
    """The description of a type, or of the one of a union that has one."""
    for meta in getattr(kind, "__metadata__", ()):
        if meta.description:
            return str(meta.description)
    return next(filter(None, map(_allowed, get_args(kind))), "")


def _suggest(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name[:_LONGEST], list(known), n=1)
    return f", did you mean {close[0]}?" if close else ""


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{_short(value)}"'
    if isinstance(value, int):
        # Python refuses to print an integer of very many digits.
        return str(value) if abs(value) < 2**64 else "a number too large"
    if isinstance(value, float):
        return str(value)
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    return "a table" if isinstance(value, dict) else "a date or time"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
