"""Constants of kernels, side by side in memory: numba reads one array much faster than a tuple of twenty."""

from __future__ import annotations

from typing import Any

import numpy as np

from .arithmetic import aligned, padded
from .backend import inlined
from .views import CACHE_LINE, view

_LINE = CACHE_LINE // 8
"""Numbers in a cache line."""


def pack(constants: tuple[Any, ...]) -> np.ndarray:
    """The numbers and arrays of a tuple as one float64 array: how long it is, then where each begins and ends, then all values.

    A kernel has the k-th of them back by `real` or `integer`, and an array, in one dimension, by `reals`, or `integers` or
    `singles` if it came as one of whole numbers or of float32: these are stored bit by bit, so that a kernel has a view of
    them, not a copy; that of `singles` is of even length, with a zero more where the array's was odd. An array begins on a cache
    line.
    """
    fields = [_stored(value) for value in constants]
    places, end = [], 1 + 2 * len(fields)
    for value, field in zip(constants, fields, strict=True):
        begin = padded(end, _LINE) if np.ndim(value) else end
        end = begin + len(field)
        places += [begin, end]
    packed = aligned(np.zeros(end))
    packed[0] = end
    packed[1 : 1 + len(places)] = places
    for k, field in enumerate(fields):
        packed[places[2 * k] : places[2 * k + 1]] = field
    return packed


def _stored(value: Any) -> np.ndarray:
    values = np.asarray(value).ravel() if np.ndim(value) else np.asarray([value], np.float64)
    if values.dtype.kind in "iub":
        return values.astype(np.int64).view(np.float64)
    if values.dtype == np.float32:
        return np.append(values, np.zeros(len(values) % 2, np.float32)).view(np.float64)
    return values.astype(np.float64)


@inlined
def real(packed, k):
    return packed[int(packed[1 + 2 * k])]


@inlined
def integer(packed, k):
    return int(packed[int(packed[1 + 2 * k])])


@inlined
def reals(packed, k):
    begin, end = int(packed[1 + 2 * k]), int(packed[2 + 2 * k])
    return view(packed, begin, (end - begin,), np.float64)


@inlined
def integers(packed, k):
    begin, end = int(packed[1 + 2 * k]), int(packed[2 + 2 * k])
    return view(packed, begin, (end - begin,), np.int64)


@inlined
def singles(packed, k):
    begin, end = int(packed[1 + 2 * k]), int(packed[2 + 2 * k])
    return view(packed, begin, (2 * (end - begin),), np.float32)


@inlined
def by_rows(array, columns):
    """A flat array in rows of so many columns."""
    return view(array, 0, (array.size // columns, columns), array.dtype)


@inlined
def by_blocks(array, rows, columns):
    """A flat array in blocks of so many rows and columns."""
    return view(array, 0, (array.size // (rows * columns), rows, columns), array.dtype)
