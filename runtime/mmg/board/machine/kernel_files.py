"""Numbers in the small files of sysfs and procfs. A file that is missing or cannot be read holds none."""

from __future__ import annotations

from pathlib import Path

from mmg_device_profiles.regular_file import read_text


def read_number(path: Path) -> int | None:
    """A decimal number; None where there is none."""
    try:
        return int(read_text(path))
    except ValueError:
        return None


def read_numbers(folder: Path, pattern: str) -> list[int]:
    """The number in each file that fits the glob pattern, in the order of their paths, without those that have none."""
    found = (read_number(path) for path in sorted(folder.glob(pattern)))
    return [number for number in found if number is not None]


def read_table(path: Path) -> dict[str, int]:
    """``/proc/meminfo``: the first number of each line by the name before its colon, there in KiB."""
    table: dict[str, int] = {}
    for line in read_text(path).splitlines():
        name, _, rest = line.partition(":")
        number = rest.split()[:1]
        if number and number[0].isdecimal():
            table[name] = int(number[0])
    return table
