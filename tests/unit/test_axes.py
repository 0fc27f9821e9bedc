"""The rotation from a sensor's axes to the model's: all that a mounting can be, and nothing else."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from mmg.bundle.manifest import Channel
from mmg.errors import ConfigError
from mmg.sources.axes import is_rotation, parse_axes, triples_of, turn

ROW = np.array([[1, 2, 3, 4, 5, 6]], np.float32)
EVERY = [
    ",".join(sign + axis for sign, axis in zip(signs, order, strict=True))
    for order in permutations("xyz")
    for signs in product(("", "-"), repeat=3)
]


def test_the_new_axes_are_named_in_their_order() -> None:
    rotation = parse_axes("y,-x,z", "serial:///dev/ttyIMU")
    assert turn(ROW, rotation, [(0, 1, 2), (3, 4, 5)]).tolist() == [[2, -1, 3, 5, -4, 6]]
    assert ROW.tolist() == [[1, 2, 3, 4, 5, 6]]


@pytest.mark.parametrize("text", ["x,y,z", " +X , +y,z"])
def test_signs_and_spaces_and_capitals_are_free(text: str) -> None:
    assert turn(ROW, parse_axes(text, ""), [(0, 1, 2)]).tolist() == ROW.tolist()


def test_of_all_that_can_be_written_half_are_rotations_and_the_others_are_refused_with_one_that_is() -> None:
    refused = []
    for text in EVERY:
        try:
            assert is_rotation(parse_axes(text, ""))
        except ConfigError as error:
            refused.append(str(error))
    assert len(refused) == len(EVERY) / 2
    for message in refused:
        assert "is a mirror image" in message
        parse_axes(message.rpartition(" ")[2].rstrip("?"), "")


@pytest.mark.parametrize("text", ["x,y", "x,y,y", "x,y,w", "x,y,z,x", "", "--x,y,z", "xyz"])
def test_what_names_no_three_axes_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match=r"iio://imu: axes=.*such as y,-x,z"):
        parse_axes(text, "iio://imu")


def test_the_vectors_among_a_models_channels_are_found_by_their_names_in_any_order() -> None:
    names = ("gyro_z", "acc_x", "ppg", "acc_z", "gyro_x", "acc_y", "gyro_y")
    triples = triples_of([Channel(name=name, unit="") for name in names])
    assert sorted(triples) == [(1, 5, 3), (4, 6, 0)]


def test_a_vector_that_is_not_whole_cannot_be_turned() -> None:
    with pytest.raises(ConfigError, match="this bundle's gyro has no x, z"):
        triples_of([Channel(name=name, unit="") for name in ("ax", "ay", "az", "gy")])


def test_a_rotation_by_any_angle_is_one_and_a_stretch_is_none() -> None:
    turned = np.array([[0.866, -0.5, 0], [0.5, 0.866, 0], [0, 0, 1]])
    assert is_rotation(turned)
    assert not is_rotation(turned * 1.1)
    assert not is_rotation(np.diag([1.0, 1.0, -1.0]))
    assert not is_rotation(np.zeros((3, 3)))
