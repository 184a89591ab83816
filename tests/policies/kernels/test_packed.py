"""pack: what kernels read, in one array."""

from functools import partial
from typing import NamedTuple

import numpy as np

from undrift.policies.kernels.backend import OPTIONS, helper
from undrift.policies.kernels.packed import by_blocks, by_rows, integer, integers, pack, real, reals, singles
from undrift.policies.kernels.views import CACHE_LINE

returns_arrays = partial(helper, options=OPTIONS)


class Known(NamedTuple):
    gain: float
    places: np.ndarray
    matrix: np.ndarray
    none: np.ndarray
    first: int
    used: bool
    weights: np.ndarray
    which: np.ndarray


KNOWN = Known(
    gain=0.1,
    places=np.array([7, -1, 3]),
    matrix=np.arange(6.0).reshape(2, 3),
    none=np.zeros(0),
    first=-1,
    used=True,
    weights=np.array([1.5, -0.1, np.nan, 2.0], np.float32),
    which=np.array([True, False]),
)


@returns_arrays
def unpacked(packed):
    matrix, numbers = by_rows(reals(packed, 2), 3), (integer(packed, 4), integer(packed, 5))
    return (
        real(packed, 0),
        integers(packed, 1),
        matrix,
        reals(packed, 3),
        *numbers,
        singles(packed, 6),
        integers(packed, 7),
    )


def test_a_kernel_has_every_field_back_as_it_was():
    packed = pack(KNOWN)
    for value, expected in zip(unpacked(packed), KNOWN, strict=True):
        np.testing.assert_array_equal(value, expected)
    assert [value.dtype for value in (unpacked(packed)[1], unpacked(packed)[6])] == [np.int64, np.float32]
    assert packed[0] == len(packed)


def test_an_odd_number_of_float32_has_a_zero_more():
    packed = pack((np.ones(3, np.float32),))
    np.testing.assert_array_equal(singles(packed, 0), [1.0, 1.0, 1.0, 0.0])


@returns_arrays
def nested(packed):
    return reals(reals(packed, 1), 2)


def test_what_was_packed_can_be_packed_again_and_arrays_begin_on_cache_lines():
    outer = pack((3, pack(KNOWN)))
    for inner in (nested(outer), singles(reals(outer, 1), 6), integers(outer, 1)):
        assert inner.ctypes.data % CACHE_LINE == 0
    np.testing.assert_array_equal(nested(outer), KNOWN.matrix.ravel())


def test_a_flat_array_is_had_by_rows_and_by_blocks():
    flat = np.arange(24.0)
    np.testing.assert_array_equal(by_rows(flat, 3), flat.reshape(8, 3))
    np.testing.assert_array_equal(by_blocks(flat, 3, 4), flat.reshape(2, 3, 4))
