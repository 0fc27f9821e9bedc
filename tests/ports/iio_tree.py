"""Made IIO chips: a sysfs tree of plain files, and a FIFO in place of each character device."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

AXES = ("x", "y", "z")
S16 = "le:s16/16>>0"
MONOTONIC = {"current_timestamp_clock": "realtime"}


@dataclass
class Chip:
    """One device. ``elements`` maps what its buffer can hold to the types, in the order of their index."""

    folder: Path
    node: Path
    elements: dict[str, str]
    fd: int = field(default=-1, init=False)

    def plug(self) -> None:
        """Hold the FIFO open, as the kernel does while the device is there."""
        self.fd = os.open(self.node, os.O_RDWR | os.O_NONBLOCK)

    def unplug(self) -> None:
        """What was written can still be read, then the end."""
        os.close(self.fd)
        self.fd = -1

    def write(self, data: bytes) -> None:
        """Make this available to the reader."""
        assert os.write(self.fd, data) == len(data)

    def says(self, name: str) -> str:
        """What a file of the device holds."""
        return (self.folder / name).read_text().strip()

    def scan(self, **raw: int) -> bytes:
        """One scan of these elements; the bits around each value are set, so that they must be cut off."""
        scan, largest = b"", 1
        for name in self.elements:
            if name not in raw:
                continue
            match = re.fullmatch(r"([bl])e:[su](\d+)/(\d+)>>(\d+)", self.elements[name])
            assert match is not None
            bits, storage_bits, shift = (int(text) for text in match.groups()[1:])
            mask = ((1 << bits) - 1) << shift
            word = ((1 << storage_bits) - 1) & ~mask | (raw[name] << shift) & mask
            size = storage_bits // 8
            largest = max(largest, size)
            scan += bytes(-len(scan) % size) + word.to_bytes(size, "big" if match[1] == "b" else "little")
        return scan + bytes(-len(scan) % largest)


class IioTree:
    """What stands in for ``/sys/bus/iio/devices`` and ``/dev``."""

    def __init__(self, root: Path) -> None:
        self.sysfs, self.dev = root / "sysfs", root / "dev"
        self.sysfs.mkdir()
        self.dev.mkdir()
        self.chips: list[Chip] = []

    def url(self, name: str, **options: object) -> str:
        """The URL of the device of this name in this tree."""
        more = "".join(f"&{option}={value}" for option, value in options.items())
        return f"iio://{name}?sysfs={self.sysfs}&dev={self.dev}{more}"

    def add(self, name: str, elements: dict[str, str], files: dict[str, str] | None = None) -> Chip:
        """Plug in a device; its number is the next one."""
        device = f"iio:device{len(self.chips)}"
        folder, node = self.sysfs / device, self.dev / device
        texts = {"name": name, "buffer/enable": "0", "buffer/length": "2", **(files or {})}
        for index, (element, kind) in enumerate(elements.items()):
            texts[f"scan_elements/in_{element}_en"] = "0"
            texts |= {f"scan_elements/in_{element}_index": str(index), f"scan_elements/in_{element}_type": kind}
        os.mkfifo(node)
        chip = Chip(folder, node, elements)
        chip.plug()
        # The name comes last: whoever looks for it must find a whole device.
        for path in sorted(texts, key=lambda path: path == "name"):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(texts[path] + "\n")
        self.chips.append(chip)
        return chip

    def close(self) -> None:
        """Let go of every FIFO."""
        for chip in self.chips:
            if chip.fd >= 0:
                chip.unplug()


def triple(kind: str, element_type: str = S16) -> dict[str, str]:
    """The three axes of ``accel`` or ``anglvel``."""
    return {f"{kind}_{axis}": element_type for axis in AXES}


def stamped(*parts: dict[str, str]) -> dict[str, str]:
    """These elements, and the time stamp that drivers put last."""
    elements: dict[str, str] = {}
    for part in parts:
        elements |= part
    return {**elements, "timestamp": "le:s64/64>>0"}
