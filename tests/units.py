"""A unit's text as systemd reads it: sections are left out, settings keep their order."""

from __future__ import annotations

import re


def settings_of(unit: str) -> dict[str, list[str]]:
    """Each setting's values, in order; an empty one among them too."""
    settings: dict[str, list[str]] = {}
    for line in unit.splitlines():
        if line and line[0] not in "#[":
            name, _, value = line.partition("=")
            settings.setdefault(name, []).append(value)
    return settings


def words_of(value: str, *, is_command: bool = False) -> list[str]:
    """The words of a setting: quotes, backslashes and specifiers (systemd.syntax(7), systemd.service(5))."""
    words = []
    for match in re.finditer(r'"((?:[^"\\]|\\.)*)"|([^\s"\\]+)', value):
        word = re.sub(r"\\(.)", r"\1", match[1]) if match[1] is not None else match[2]
        assert not re.sub("%%", "", word).count("%"), f"a specifier in {word!r}"
        word = word.replace("%%", "%")
        if is_command:
            assert not word.replace("$$", "").count("$"), f"a variable in {word!r}"
            word = word.replace("$$", "$")
        words.append(word)
    return words


def command_of(unit: str) -> list[str]:
    """What ExecStart runs."""
    [line] = settings_of(unit)["ExecStart"]
    return words_of(line, is_command=True)
