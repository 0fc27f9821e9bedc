"""How a sensor is mounted: the rotation from its own axes to those that the model was trained with. Pure.

Acceleration and angular rate turn alike under a rotation. A mirror image would reverse the angular rate besides, and
no mounting makes one, so that it is always a mistake.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from mmg.errors import ConfigError
from mmg.sources.columns import Column

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mmg.bundle.manifest import Channel

    Rotation: TypeAlias = NDArray[np.float64]
    """``(3, 3)``: what it is multiplied with are the sensor's x, y, z."""

AXES = "xyz"
Triple: TypeAlias = tuple[int, int, int]
_AXES_TEXT = re.compile(",".join([r"\s*([+-]?)([xyz])\s*"] * 3))
_TOLERANCE = 0.02
"""Of the products of a matrix' rows: device trees give sines to two or three places."""


def parse_axes(text: str, url: str) -> Rotation:
    """``y,-x,z``: the new x is the sensor's y, the new y its x reversed.

    url: how errors name the sensor. Raises ConfigError.
    """
    match = _AXES_TEXT.fullmatch(text.lower())
    signs, names = (match.groups()[0::2], match.groups()[1::2]) if match else ((), ())
    if sorted(names) != list(AXES):
        raise ConfigError(f"{url}: axes={text}: name x, y and z once each, with a minus where reversed, such as y,-x,z")
    rotation = np.zeros((3, 3))
    for row, (sign, name) in enumerate(zip(signs, names, strict=True)):
        rotation[row, AXES.index(name)] = -1 if sign == "-" else 1
    if not is_rotation(rotation):
        first, second = (sign + name for sign, name in zip(signs[:2], names[:2], strict=True))
        third = names[2] if signs[2] == "-" else f"-{names[2]}"
        raise ConfigError(
            f"{url}: axes={text}: is a mirror image, which no mounting makes: is it {first},{second},{third}?"
        )
    return rotation


def is_rotation(matrix: Rotation) -> bool:
    """Whether this ``(3, 3)`` neither stretches nor mirrors."""
    is_orthogonal = bool(np.abs(matrix @ matrix.T - np.eye(3)).max() < _TOLERANCE)
    return is_orthogonal and float(np.linalg.det(matrix)) > 0


def triples_of(channels: Sequence[Channel]) -> list[Triple]:
    """The columns of x, y and z of each vector among a model's channels: of acceleration, of angular rate.

    Raises ConfigError for a vector that is not there as a whole, which cannot be turned.
    """
    places: dict[str, dict[str, int]] = {}
    for index, channel in enumerate(channels):
        role = Column.of(0, channel.name).role()
        if role:
            places.setdefault(role[0], {})[role[1]] = index
    for kind, found in places.items():
        if missing := [axis for axis in AXES if axis not in found]:
            raise ConfigError(f"axes= turns x, y and z together: this bundle's {kind} has no {', '.join(missing)}")
    return [(found["x"], found["y"], found["z"]) for found in places.values()]


def turn(samples: NDArray[np.float32], rotation: Rotation, triples: Sequence[Triple]) -> NDArray[np.float32]:
    """A copy of ``(T, C)`` samples in which each triple of columns is rotated; the others stay as they are."""
    turned = samples.copy()
    for triple in triples:
        columns = list(triple)
        turned[:, columns] = samples[:, columns] @ rotation.T.astype(samples.dtype)
    return turned
