"""What the kernel closes before a run opens anything: cameras, sound, the network and files that it does not use.

Rungs, from the one that every board has to the one that few have: a filter of system calls, namespaces, Landlock, and a
service manager's policy. Each is tried; what this machine does not give is told. Then a camera is asked.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from mmg.privacy.uses import Uses

__all__ = ["RUNGS", "Closed", "Uses", "close_unused"]

RUNGS = ("namespace", "landlock", "seccomp")
"""In the order in which they are put on: what one does, the next may refuse."""


@dataclass(frozen=True, slots=True)
class Closed:
    """What holds for this process from now on.

    by: the rungs that hold, ``manager`` among them. without: those that do not, each with why. answers: what the kernel
    said when a camera was asked, as text; empty where this run uses one. closes_camera: whether it refused.
    uses_camera: whether this run uses one.
    """

    by: tuple[str, ...]
    without: dict[str, str]
    answers: tuple[str, ...] = ()
    closes_camera: bool = False
    uses_camera: bool = False

    @property
    def camera(self) -> dict[str, object]:
        """For JSON. ``state``: ``closed`` by the kernel, ``open`` where this run uses one, or ``off`` where nothing
        keeps it closed. ``by``: the rungs that do."""
        state = "open" if self.uses_camera else "closed" if self.closes_camera else "off"
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

    def make_camera() -> None:
        if not (uses.camera or made):
            made.append(ask.make_camera())

    by, without = ["manager"] * is_managed, {rung: "left out" for rung in RUNGS if rung in left_out}
    for rung in RUNGS:
        if rung in without:
            continue
        try:
            if rung == "namespace":
                if uses.serial and not uses.camera:
                    from mmg.privacy import doorkeeper

                    doorkeeper.begin()
                namespace.close(uses, make_camera)
            else:
                make_camera()
                {"landlock": landlock, "seccomp": seccomp}[rung].close(uses)
            by.append(rung)
        except Unavailable as error:
            without[rung] = str(error)
    if uses.camera:
        return Closed(tuple(by), without, uses_camera=True)
    answers = ask.ask_camera(made[0] if made else None, is_shut=bool({"namespace", "manager"} & set(by)))
    refused = is_managed or any(one.is_refusal for one in answers) or ask.is_without_devices()
    return Closed(tuple(by), without, tuple(map(str, answers)), refused)
