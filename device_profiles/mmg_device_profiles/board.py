"""What this board is, read from /proc and /sys, and which profile suits it."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mmg_device_profiles.profile import BOARDS, ProfileProblem, load_profile
from mmg_device_profiles.regular_file import open_regular

_FALLBACK = "generic-x86-64"  # a machine that no profile names
_MACHINES = {"arm64": "aarch64", "amd64": "x86_64"}
_LARGEST = 1 << 20  # bytes; /proc/cpuinfo of 256 cores is a third of it
# /proc/device-tree is an absolute link to the second, which leads out of a root that is not /.
_DEVICE_TREE = ("proc/device-tree", "sys/firmware/devicetree/base")
# (implementer, part) of the main ID register: Arm's manuals, collected in util-linux, sys-utils/lscpu-arm.c.
_CORES = {
    (0x41, 0xC07): "Cortex-A7",
    (0x41, 0xC08): "Cortex-A8",
    (0x41, 0xC09): "Cortex-A9",
    (0x41, 0xC0F): "Cortex-A15",
    (0x41, 0xD03): "Cortex-A53",
    (0x41, 0xD04): "Cortex-A35",
    (0x41, 0xD05): "Cortex-A55",
    (0x41, 0xD07): "Cortex-A57",
    (0x41, 0xD08): "Cortex-A72",
    (0x41, 0xD09): "Cortex-A73",
    (0x41, 0xD0A): "Cortex-A75",
    (0x41, 0xD0B): "Cortex-A76",
    (0x41, 0xD0C): "Neoverse-N1",
    (0x41, 0xD0D): "Cortex-A77",
    (0x41, 0xD0E): "Cortex-A76AE",
    (0x41, 0xD40): "Neoverse-V1",
    (0x41, 0xD41): "Cortex-A78",
    (0x41, 0xD42): "Cortex-A78AE",
    (0x41, 0xD44): "Cortex-X1",
    (0x41, 0xD46): "Cortex-A510",
    (0x41, 0xD47): "Cortex-A710",
    (0x41, 0xD49): "Neoverse-N2",
    (0x41, 0xD4B): "Cortex-A78C",
    (0x41, 0xD4D): "Cortex-A715",
    (0x41, 0xD4F): "Neoverse-V2",
    (0x4E, 0x000): "Denver",
    (0x4E, 0x003): "Denver 2",
    (0x4E, 0x004): "Carmel",
}


@dataclass(frozen=True, slots=True)
class Board:
    """A board as the kernel describes it. What it does not say is empty, or 0 for the memory.

    model: of the device tree, else the product name of DMI.
    compatible: of the device tree, from the board itself to its chip.
    machine: x86_64 or aarch64, or what else platform.machine() says.
    cpu: the processor's name; on Arm its cores' names, several kinds joined with " + ".
    features: the instruction sets of the first core, sorted.
    cores: how many this process may use, at least 1.
    memory_mib: memory of the board that the kernel manages, in MiB.
    """

    model: str
    compatible: tuple[str, ...]
    machine: str
    cpu: str
    features: tuple[str, ...]
    cores: int
    memory_mib: int


def read_board(root: Path = Path("/"), machine: str | None = None) -> Board:
    """Describe the board whose /proc and /sys are in ``root``. Missing and garbled files are no error."""
    machine = (platform.machine() if machine is None else machine).lower()
    strings = [_read_first(root, (f"{tree}/{name}" for tree in _DEVICE_TREE)) for name in ("model", "compatible")]
    model, *_ = *_split(strings[0], "\0"), *_split(_read(root, "sys/class/dmi/id/product_name"), "\0"), ""
    cpuinfo = _fields(_read(root, "proc/cpuinfo"))
    features = next((text for name, text in cpuinfo if name in ("flags", "Features")), "")
    memory = re.search(r"^MemTotal:\s*(\d{1,15})\s*kB", _read(root, "proc/meminfo"), re.ASCII | re.MULTILINE)
    return Board(
        model=model,
        compatible=_split(strings[1], "\0"),
        machine=_MACHINES.get(machine, machine),
        cpu=_name_cpu(cpuinfo),
        features=tuple(sorted(set(_split(features, " ")))),
        cores=_count_cores(_read(root, "proc/self/status"), cpuinfo),
        memory_mib=int(memory[1]) // 1024 if memory else 0,
    )


def detect_board(root: Path = Path("/"), machine: str | None = None, boards: Path = BOARDS) -> str:
    """The name of the profile for this board: by its device tree, else by its machine.

    Raises ProfileProblem where a file in ``boards`` is wrong, or two of them claim this board.
    """
    board = read_board(root, machine)
    # Decoding all profiles takes ten times as long as looking for the one that names the board.
    texts = {path: path.read_text(encoding="utf-8", errors="replace") for path in sorted(boards.glob("*.toml"))}
    for name in (*board.compatible, board.machine):
        naming = [path for path, text in texts.items() if name in text]
        if claiming := [path for path in naming if _claims(path, name)]:
            if len(claiming) > 1:
                raise ProfileProblem(str(claiming[1]), "detect", f'"{name}" is in {claiming[0].name} already')
            return claiming[0].stem
    return _FALLBACK


def _claims(path: Path, name: str) -> bool:
    detect = load_profile(str(path)).detect
    return name in detect.compatible or name == detect.machine


def _name_cpu(cpuinfo: list[tuple[str, str]]) -> str:
    texts: dict[str, list[str]] = {"CPU implementer": [], "CPU part": [], "model name": []}
    for name, text in cpuinfo:
        if name in texts:
            texts[name].append(text)
    # A 32-bit Arm kernel has a "model name" too, which says less than the part.
    kinds = dict.fromkeys(zip(texts["CPU implementer"], texts["CPU part"], strict=False))
    return " + ".join(_name_core(*kind) for kind in kinds) or next(iter(texts["model name"]), "")


def _name_core(implementer: str, part: str) -> str:
    known = None
    if all(re.fullmatch("0x[0-9a-fA-F]{1,8}", text) for text in (implementer, part)):
        known = _CORES.get((int(implementer, 16), int(part, 16)))
    return known or f"implementer {implementer} part {part}"


def _count_cores(status: str, cpuinfo: list[tuple[str, str]]) -> int:
    """Of Cpus_allowed_list, such as 0-2,5; else all that there are."""
    allowed = dict(_fields(status)).get("Cpus_allowed_list", "")
    ranges = [re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", part, re.ASCII) for part in allowed.split(",")]
    count = sum(max(int(part[2] or part[1]) - int(part[1]) + 1, 0) for part in ranges if part)
    return count or max(sum(name == "processor" for name, _ in cpuinfo), 1)


def _fields(text: str) -> list[tuple[str, str]]:
    """The ``name : value`` lines of a file of /proc, in order."""
    pairs = (line.partition(":") for line in text.splitlines())
    return [(name.strip(), _printable(value)) for name, separator, value in pairs if separator]


def _split(text: str, separator: str) -> tuple[str, ...]:
    return tuple(filter(None, map(_printable, text.split(separator))))


def _printable(text: str) -> str:
    return "".join(filter(str.isprintable, text)).strip()


def _read_first(root: Path, paths: Iterable[str]) -> str:
    return next(filter(None, (_read(root, path) for path in paths)), "")


def _read(root: Path, path: str) -> str:
    """A file's text, "" where there is none: never of a file outside ``root``, to which a link may lead."""
    try:
        file = (root / path).resolve()
        if not file.is_relative_to(root.resolve()):
            return ""
        with open_regular(file) as opened:
            return opened.read(_LARGEST).decode(errors="replace")
    except (OSError, RuntimeError, ValueError):  # RuntimeError: a loop of links, until Python 3.12
        return ""
