"""Constants of kernels, side by side in memory: numba reads one array much faster than a tuple of twenty."""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import inlined


def pack(constants: tuple[Any, ...]) -> np.ndarray:
    """The F numbers and arrays of a NamedTuple as one float64 array: F + 1 places, where each begins and the last ends,
    and then all values.

    A kernel has the k-th of them back by `real` or `integer`, and an array, in one dimension, by `reals` or `integers`.
    """
    fields = [np.asarray(value, dtype=np.float64).ravel() for value in constants]
    places = np.cumsum([len(fields) + 1, *map(len, fields)])
    return np.concatenate([places, *fields])


@inlined
def real(packed, k):  # type: ignore[no-untyped-def]
    return packed[int(packed[k])]


@inlined
def integer(packed, k):  # type: ignore[no-untyped-def]
    return int(packed[int(packed[k])])


@inlined
def reals(packed, k):  # type: ignore[no-untyped-def]
    return packed[int(packed[k]) : int(packed[k + 1])]


@inlined
def integers(packed, k):  # type: ignore[no-untyped-def]
    return reals(packed, k).astype(np.int64)
