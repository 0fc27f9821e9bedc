"""The channels of a model, from what an IMU measures: acceleration and angular rate, in m/s^2 and rad/s."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mmg.bundle.manifest import Modality
from mmg.errors import SourceError
from mmg.sources.columns import Column
from mmg.sources.units import canonical, quantity

if TYPE_CHECKING:
    from numpy.typing import NDArray

AXES = ("x", "y", "z")
ABSENT = 6
"""The place of a channel that no IMU has, behind three accelerations and three angular rates."""


@dataclass(frozen=True, slots=True)
class ImuChannels:
    """picked ``(C,)``: of ``[ax, ay, az, gx, gy, gz, 0]`` each channel's place. scale ``(C,)``: from SI to its unit.
    missing: the channels that are zeros."""

    picked: tuple[int, ...]
    scale: NDArray[np.float64]
    missing: tuple[str, ...]

    @classmethod
    def of(
        cls, url: str, owner: str, modality: Modality, has: tuple[str, ...] = ("acceleration", "gyro")
    ) -> ImuChannels:
        """The channels that ``owner``, which measures what it ``has``, gives a model. Raises SourceError where one is
        lacking that the model requires."""
        roles = [Column.of(0, channel.name).role() for channel in modality.channels]
        given = [role if role and role[0] in has else None for role in roles]
        missing = [channel for channel, role in zip(modality.channels, given, strict=True) if role is None]
        if required := [channel.name for channel in missing if not channel.optional]:
            raise SourceError(url, f"{owner} has no {', '.join(required)}")
        picked = tuple(AXES.index(role[1]) + 3 * (role[0] == "gyro") if role else ABSENT for role in given)
        tables = [(quantity(channel.unit), canonical(channel.unit)) for channel in modality.channels]
        scale = np.array([1.0 / table[unit] if table and unit else 1.0 for table, unit in tables])
        return cls(picked, scale, tuple(channel.name for channel in missing))

    def notes(self, name: str) -> list[str]:
        """A line about what the file does not have."""
        return [f"{name} has no {', '.join(self.missing)}: filled with zeros"] if self.missing else []

    def samples(self, rows: NDArray[np.float64]) -> NDArray[np.float32]:
        """The model's samples ``(T, C)`` of rows ``(T, 7)``, the last of them zero."""
        return (rows[:, self.picked] * self.scale).astype(np.float32)
