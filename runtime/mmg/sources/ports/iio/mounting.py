"""How a chip sits on its board, as the kernel and the user tell: what to read of it, and how to turn what was read.

``in_accel_mount_matrix``, ``in_mount_matrix`` or ``mount_matrix`` hold a rotation, ``0, 1, 0; 1, 0, 0; 0, 0, -1``, by
which an application is to multiply x, y, z (Documentation/ABI/testing/sysfs-bus-iio, from the device tree's
mount-matrix).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from mmg_device_profiles.regular_file import read_text

from mmg.errors import SourceError
from mmg.sources.axes import AXES, Triple, is_rotation
from mmg.sources.ports.iio.device import scan_elements

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mmg.sources.axes import Rotation


@dataclass(frozen=True, slots=True, eq=False)
class Mounting:
    """What to read of a device to have some of its elements turned.

    names: the elements to read: those wanted first, then those that the turning needs besides.
    has_matrix: whether the kernel's matrix turns any of them. problem: why one of its matrices does not; else empty.
    """

    names: tuple[str, ...]
    wanted: int
    rotations: tuple[tuple[Triple, Rotation], ...]
    has_matrix: bool
    problem: str

    def turn(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """``(T, C)`` of ``names`` to ``(T, wanted)``."""
        for triple, rotation in self.rotations:
            columns = list(triple)
            values[:, columns] = values[:, columns] @ rotation.T
        return values[:, : self.wanted]


def plan_mounting(folder: Path, wanted: Sequence[str], axes: Rotation | None, url: str) -> Mounting:
    """For the elements ``wanted`` of the device at ``folder``; the user's ``axes`` turn what the kernel's matrix gave.

    Raises SourceError where ``axes`` would need an axis that the chip does not give.
    """
    names, rotations, problems, has_matrix = list(wanted), [], [], False
    present = scan_elements(folder)
    for kind in dict.fromkeys(name.rpartition("_")[0] for name in wanted):
        matrix, problem = _mount_matrix(folder, kind)
        parts = [f"{kind}_{axis}" for axis in AXES]
        missing = [part for part in parts if part not in present]
        if axes is not None and missing:
            raise SourceError(url, f"axes= turns x, y and z together: this chip does not give in_{missing[0]}")
        if matrix is not None and missing:
            matrix, problem = None, f"its mount matrix is not applied, as it gives no in_{missing[0]}"
        problems += [problem] if problem else []
        turns = [each for each in (axes, matrix) if each is not None]
        if turns:
            has_matrix = has_matrix or matrix is not None
            names += [part for part in parts if part not in names]
            places = tuple(map(names.index, parts))
            rotations.append(((places[0], places[1], places[2]), turns[0] if len(turns) == 1 else turns[0] @ turns[1]))
    return Mounting(tuple(names), len(wanted), tuple(rotations), has_matrix, "; ".join(dict.fromkeys(problems)))


def _mount_matrix(folder: Path, kind: str) -> tuple[Rotation | None, str]:
    """The matrix, None where there is none or it changes nothing; and why it cannot be used."""
    texts = (read_text(folder / f"{prefix}mount_matrix") for prefix in (f"in_{kind}_", "in_", ""))
    text = next(filter(None, texts), "")
    if not text:
        return None, ""
    try:
        matrix = np.array([[float(cell) for cell in row.split(",")] for row in text.split(";")])
    except ValueError:
        matrix = np.empty(0)
    if matrix.shape != (3, 3) or not is_rotation(matrix):
        return None, f"its mount matrix {text[:60]!r} is no rotation, so it is not applied: give axes="
    return (None if np.array_equal(matrix, np.eye(3)) else matrix), ""
