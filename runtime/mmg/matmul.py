"""Products of matrices, without the warnings that are none."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Number = TypeVar("Number", np.float32, np.float64)


def matmul(a: NDArray[Number], b: NDArray[Number]) -> NDArray[Number]:
    """``a @ b``, whatever flags the processor is left with.

    OpenBLAS multiplies float32 on Arm in a way that sets those of a division by zero, an overflow and an invalid value
    with figures that have none of it, and numpy warns of them (github.com/numpy/numpy/issues/28687).
    """
    with np.errstate(all="ignore"):
        product: NDArray[Number] = a @ b
    return product
