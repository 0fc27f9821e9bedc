"""What a run uses of the machine; the rest is what the kernel closes."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Uses(NamedTuple):
    """camera, sound: whether one is opened. network: whether a source or sink needs one.

    daemons: whether programs of this machine are talked to over its own sockets, as one that finds names in .local.
    terminals: whether a port is a terminal of another program, below /dev/pts.
    serial: whether devices are opened that come and go, such as a serial port. sysfs: whether a sensor is switched on
    by writing there. accelerator: whether models run on something beside the processor, which has nodes of its own.
    firmware: whether a Raspberry Pi's firmware is asked what holds the clock down and what power is drawn.
    writes: the folders that it may write in, and single files that are no regular ones; None where the file system is
    left as it is.
    """

    camera: bool = False
    sound: bool = False
    network: bool = False
    daemons: bool = False
    serial: bool = False
    terminals: bool = False
    sysfs: bool = False
    accelerator: bool = False
    firmware: bool = False
    writes: tuple[Path, ...] | None = ()
