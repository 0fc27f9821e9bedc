"""What the kernel closes before a run opens anything: cameras, sound, the network and files that it does not use.

Rungs, from the one that every board has to the one that few have: a filter of system calls, namespaces, Landlock, and a
service manager's policy. Each is tried; what this machine does not give is told. Then a camera is asked.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from mmg.privacy.uses import Uses

if TYPE_CHECKING:
    from mmg.privacy.ask import Answer

__all__ = ["RUNGS", "Closed", "Uses", "close_unused"]

RUNGS = ("namespace", "landlock", "seccomp")
"""In the order in which they are put on: what one does, the next may refuse."""


class Closed(NamedTuple):
    """What holds for this process from now on.

    by: the rungs that hold, ``manager`` among them. without: those that do not, each with why. things: what they close
    together, of ``cameras``, ``microphones``, ``network`` and ``writing``. answers: what the kernel said when a camera
    was asked, as text; empty where this run uses one. uses_camera: whether this run uses one.
    """

    by: tuple[str, ...]
    without: dict[str, str]
    things: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    uses_camera: bool = False

    @property
    def camera(self) -> dict[str, object]:
        """For JSON. ``state``: ``closed`` by the kernel, ``open`` where this run uses one, or ``off`` where nothing
        keeps it closed. ``by``: the rungs that do."""
        state = "open" if self.uses_camera else "closed" if "cameras" in self.things else "off"
        return {"state": state, "by": [rung for rung in self.by if rung != "landlock"] if state == "closed" else []}


def close_unused(uses: Uses, left_out: Collection[str] = ()) -> Closed:
    """Close what this run does not use, then ask a camera, unless the run uses one. It cannot be undone.

    To be called before there is a second thread, for which namespaces and Landlock would not hold, and before anything
    of the run is opened. left_out: rungs that are not put on.
    """
    from mmg.privacy import ask, landlock, manager, namespace, seccomp
    from mmg.privacy.kernel import Unavailable

    made: list[int | None] = []
    is_managed = not uses.camera and manager.closes_cameras()
    _close_folders()

    def make_camera() -> None:
        if not (uses.camera or made):
            made.append(ask.make_camera())

    by, without = ["manager"] * is_managed, {rung: "left out" for rung in RUNGS if rung in left_out}
    for rung in RUNGS:
        if rung in without:
            continue
        try:
            if rung == "namespace":
                _close_by_namespace(uses, make_camera)
            else:
                make_camera()
                {"landlock": landlock, "seccomp": seccomp}[rung].close(uses)
            by.append(rung)
        except Unavailable as error:
            without[rung] = str(error)
    make_camera()
    answers = ask.ask_camera(made[0], is_shut="namespace" in by) if made else ()
    if made and not {"namespace", "manager"} & set(by):
        answers += ask.plain_reads()
    for descriptor in filter(None, made):
        os.close(descriptor)
    things = _things(uses, set(by), answers, is_cut=namespace.closes_network(uses))
    return Closed(tuple(by), without, things, tuple(map(str, answers)), uses.camera)


def _close_by_namespace(uses: Uses, make_camera: Callable[[], object]) -> None:
    from mmg.privacy import namespace
    from mmg.privacy.kernel import Unavailable

    if not uses.serial or uses.camera:
        namespace.close(uses, make_camera)
        return
    from mmg.privacy import doorkeeper

    doorkeeper.begin()
    try:
        namespace.close(uses, make_camera)
    except Unavailable:
        doorkeeper.end()
        raise


def _close_folders() -> None:
    """Those that whoever started this process left open: by them a file can be opened past every mount."""
    for name in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []:  # noqa: PTH112, PTH208
        with suppress(OSError):
            if stat.S_ISDIR(os.fstat(int(name)).st_mode) and int(name) > 2:
                os.close(int(name))


def _things(uses: Uses, by: set[str], answers: tuple[Answer, ...], *, is_cut: bool) -> tuple[str, ...]:
    from mmg.privacy import ask, landlock

    was_opened = any(one.answer == ask.OPENED for one in answers)
    can_be_read = any(one.answer == ask.UNREFUSED for one in answers)
    has_no_node = "namespace" in by and not uses.camera
    has_no_sound_device = has_no_node or ("seccomp" in by and not ask.hears_plainly())
    has_no_sound_server = "namespace" in by or ("seccomp" in by and not uses.daemons)
    is_refused = any(one.is_refusal for one in answers) or ("namespace" in by and ask.is_without_devices())
    return tuple(
        thing
        for thing, is_closed in {
            "cameras": not (uses.camera or was_opened) and ((is_refused and not can_be_read) or "manager" in by),
            "microphones": not uses.sound and has_no_sound_device and has_no_sound_server,
            "network": not uses.network and ("seccomp" in by or ("namespace" in by and is_cut)),
            "writing": uses.writes is not None
            and ("namespace" in by or ("landlock" in by and landlock.closes_writing())),
        }.items()
        if is_closed
    )
