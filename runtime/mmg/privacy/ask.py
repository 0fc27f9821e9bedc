"""Asking a camera: what the kernel answers, when everything is closed."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path
from typing import NamedTuple

from mmg.privacy.kernel import answer_of

QUERY_CAPABILITIES = 0x80685600
"""VIDIOC_QUERYCAP of linux/videodev2.h, the first thing that every program asks a camera."""
REFUSED = ("EPERM", "EACCES")
CAMERA = os.makedev(81, 255)
"""Of video4linux, and a number that no camera has: the kernel's Documentation/admin-guide/devices.txt."""
STAND_IN = Path("/dev/null")
OPENED, UNREFUSED = "opened", "nothing refuses it"
DEVICES, DRIVERS = Path("/dev"), Path("/sys/class/video4linux")
REQUESTS_ONLY = (
    *("uvcvideo", "rp1-cfe"),
    *("bcm2835-codec", "bcm2835-isp", "rpivid", "rpi-hevc-dec", "pispbe"),  # of each Raspberry Pi, with no camera too
)
"""Drivers that give nothing to a plain read(2). Many give pictures, as the Raspberry Pi's older bcm2835-v4l2 does."""
OSS = ("dsp*", "adsp*", "audio*")
"""Nodes that give sound to a plain read."""


class Answer(NamedTuple):
    """asked: such as ``open /dev/video0``. answer: the kernel's, such as ``EPERM``, or ``opened``.

    is_refusal: whether it shows that a camera is closed to this process, and not only that this user may not open it.
    """

    asked: str
    answer: str
    is_refusal: bool

    def __str__(self) -> str:
        return f"{self.asked}: {self.answer}"


def make_camera() -> int | None:
    """A node of a camera without a name, where this process may make one and there is none; else None.

    It is a descriptor that nothing can be read from, by which it can be opened.
    """
    if cameras():
        return None
    place = f"/dev/.mmg-camera-{os.getpid()}"
    try:
        os.mknod(place, stat.S_IFCHR | 0o600, CAMERA)
    except OSError:
        return None
    try:
        return os.open(place, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return None
    finally:
        os.unlink(place)  # noqa: PTH108


def cameras() -> list[Path]:
    """The nodes of all cameras that are there."""
    return sorted(DEVICES.glob("video*"))


def plain_reads() -> tuple[Answer, ...]:
    """Of the cameras that this user may open those whose pictures may come without a request, which a filter of system
    calls could refuse. Nothing is opened."""
    return tuple(
        Answer(f"a plain read of {node}", UNREFUSED, is_refusal=False)
        for node in cameras()
        if (DRIVERS / node.name).exists()
        and (DRIVERS / node.name / "device/driver").resolve().name not in REQUESTS_ONLY
        and os.access(node, os.R_OK)
    )


def hears_plainly() -> bool:
    """Whether sound may come so, from a node that this user may open."""
    return any(os.access(node, os.R_OK) for pattern in OSS for node in DEVICES.glob(pattern))


def is_without_devices() -> bool:
    """Whether the kernel says that no node in /dev can be opened, but those that are mounted there each by itself. It
    means what it says only where the namespace is of our making."""
    return bool(os.statvfs("/dev").f_flag & os.ST_NODEV)


def ask_camera(made: int | None = None, *, is_shut: bool) -> tuple[Answer, ...]:
    """Try to open a camera, and ask it for what it is; nothing is read from it. made: of ``make_camera``.

    is_shut: whether the namespace holds, in which no camera can be opened. Without it a real camera is left alone: to
    open it is what was promised not to happen. The second question goes to what could be opened, else to
    ``/dev/null``, which does not know it: the kernel says ENOTTY, if nothing stands before it.
    """
    there = [node for node in cameras() if os.access(node, os.R_OK | os.W_OK)]
    if there and is_shut:
        asked, place = str(there[0]), there[0]
    elif made is not None and not there:
        asked, place = "a camera's node made for this", Path(f"/proc/self/fd/{made}")
    else:
        return (_query(STAND_IN, str(STAND_IN)),)
    try:
        os.close(os.open(place, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        opened = Answer(f"open {asked}", answer_of(error), answer_of(error) in REFUSED)
        return opened, _query(STAND_IN, str(STAND_IN))
    return Answer(f"open {asked}", OPENED, is_refusal=False), _query(place, asked)


def _query(place: Path, asked: str) -> Answer:
    try:
        descriptor = os.open(place, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return Answer(f"open {asked}", answer_of(error), is_refusal=False)
    try:
        fcntl.ioctl(descriptor, QUERY_CAPABILITIES, bytearray(104))
        answer = "it answered"
    except OSError as error:
        answer = answer_of(error)
    finally:
        os.close(descriptor)
    return Answer(f"VIDIOC_QUERYCAP of {asked}", answer, answer == "EPERM")
