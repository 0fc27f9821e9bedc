"""Labels from a file, whose format its content tells."""

from __future__ import annotations

from pathlib import Path

from mmg_device_profiles.regular_file import read_within

from mmg.errors import ConfigError
from mmg.labels import audacity, elan, table
from mmg.labels.label import Label

LARGEST_BYTES = 32 << 20
NEEDS = "needs the columns start_s, end_s (seconds) and label"


def read_labels(path: str | Path, tier: str = "") -> tuple[Label, ...]:
    """The labels in a file, by their start: mmg's CSV, a label track of Audacity, ELAN's ``.eaf`` or what it exports as
    tab-delimited text. tier: which of ELAN's tiers, where it has several.

    Raises ConfigError, one line, where the file cannot be read, is none of these, or has a label that cannot be.
    """
    path = Path(path)
    text = _text(path)
    if not text.strip():
        raise ConfigError(f"{path}: has no row with start_s, end_s and label")
    try:
        labels = _parse(text, tier)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    if not labels:
        raise ConfigError(f"{path}: has no row with start_s, end_s and label")
    return tuple(sorted(labels, key=lambda label: label.start_s))


def _parse(text: str, tier: str) -> list[Label]:
    if elan.is_document(text):
        return elan.parse_document(text, tier)
    if table.is_table(text):
        labels = table.parse(text)
    elif audacity.is_track(text):
        labels = audacity.parse(text)
    elif elan.is_export(text):
        return elan.parse_export(text, tier)
    else:
        first = next(line for line in text.splitlines() if line.strip())
        raise ValueError(f"{NEEDS}, or is to be a label track of Audacity or of ELAN (it begins with {first[:40]!a})")
    if tier:
        raise ValueError("has no tiers: leave out --tier")
    return labels


def _text(path: Path) -> str:
    try:
        data = read_within(path, LARGEST_BYTES)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: {NEEDS} as UTF-8 text ({error}): save it as UTF-8") from error
    if "\0" in text:
        raise ConfigError(f"{path}: {NEEDS}, and is no text")
    return text
