"""pack: what kernels read of a component, in one array."""

from typing import NamedTuple

import numpy as np

from undrift.agents.adaptation.compiled import helper
from undrift.agents.adaptation.packed import pack, real, reals, whole, wholes


class Known(NamedTuple):
    gain: float
    places: np.ndarray
    matrix: np.ndarray
    none: np.ndarray
    first: int
    used: bool


@helper
def unpacked(packed):
    matrix = reals(packed, 2).reshape(-1, 3)
    return real(packed, 0), wholes(packed, 1), matrix, reals(packed, 3), whole(packed, 4), whole(packed, 5)


def test_a_kernel_has_every_field_back_as_it_was():
    known = Known(0.1, np.array([7, -1, 3]), np.arange(6.0).reshape(2, 3), np.zeros(0), -1, True)
    for value, expected in zip(unpacked(pack(known)), known, strict=True):
        np.testing.assert_array_equal(value, expected)
    assert unpacked(pack(known))[1].dtype == np.int64
