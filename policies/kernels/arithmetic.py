"""The loops that kernels share. Each writes one array, and none that it reads under another name: else it is not vectorised."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .backend import OPTIONS, helper, numba
from .views import CACHE_LINE, view

# tanh(x) = x P(x^2) / Q(x^2) on |x| <= 9, fitted for the smallest largest relative error, 2e-8 before rounding.
_TANH_LIMIT = np.float32(9.0)
_P0, _P1, _P2 = np.float32(0.9999999794650775), np.float32(0.13381026843136287), np.float32(0.0034955895319341655)
_P3, _P4 = np.float32(2.0609104317462887e-05), np.float32(1.3354689706750702e-08)
_Q1, _Q2 = np.float32(0.46714342438152595), np.float32(0.02587698760806258)
_Q3, _Q4 = np.float32(0.0003285637068828496), np.float32(7.776570337453365e-07)
_ONE, _HALF = np.float32(1.0), np.float32(0.5)

# Lambert's continued fraction of tanh up to its seventh power, x (1 + ...) / (1 + ...) of x^2: to the last bit where |x| < 2/3.
_L0, _L1, _L2 = 17325.0 / 135135.0, 378.0 / 135135.0, 1.0 / 135135.0
_M0, _M1, _M2 = 62370.0 / 135135.0, 3150.0 / 135135.0, 28.0 / 135135.0
_LAMBERT_LIMIT = 20.0

# OpenBLAS computes a product of up to so many multiplications on the calling thread.
_ONE_THREAD = 1 << 18

# The padding of a linear map: vector loops over whole tiles leave no scalar remainder.
INPUT_TILE, OUTPUT_TILE = 16, 8


def tanh(x):
    """tanh: float32 to 4e-7 by a rational function that vectorises, float64 to 2e-15 by one of x / 32, doubled five times."""
    return math.tanh(x)


def sigmoid(x):
    """1 / (1 + exp(-x)), as 1/2 + tanh(x / 2) / 2: it does not overflow, and in float32 vectorises."""
    return 0.5 + 0.5 * math.tanh(0.5 * x)


if numba is not None:
    from numba import types
    from numba.extending import overload

    @overload(tanh, inline="always")
    def _tanh(x):
        def lambert(x):
            # comparisons written so that NaN passes through
            x = -_LAMBERT_LIMIT if x < -_LAMBERT_LIMIT else x  # noqa: FURB136
            x = _LAMBERT_LIMIT if x > _LAMBERT_LIMIT else x  # noqa: FURB136
            y = 0.03125 * x
            u = y * y
            p = y * (((_L2 * u + _L1) * u + _L0) * u + 1.0)
            q = ((_M2 * u + _M1) * u + _M0) * u + 1.0
            # tanh 2y = 2pq / (p^2 + q^2) where tanh y = p / q: one division in the end
            p, q = 2.0 * p * q, p * p + q * q
            p, q = 2.0 * p * q, p * p + q * q
            p, q = 2.0 * p * q, p * p + q * q
            p, q = 2.0 * p * q, p * p + q * q
            p, q = 2.0 * p * q, p * p + q * q
            return p / q

        if x != types.float32:
            return lambert

        def rational(x):
            # comparisons written so that NaN passes through
            x = -_TANH_LIMIT if x < -_TANH_LIMIT else x  # noqa: FURB136
            x = _TANH_LIMIT if x > _TANH_LIMIT else x  # noqa: FURB136
            u = x * x
            p = (((_P4 * u + _P3) * u + _P2) * u + _P1) * u + _P0
            return x * p / ((((_Q4 * u + _Q3) * u + _Q2) * u + _Q1) * u + _ONE)

        return rational

    @overload(sigmoid, inline="always")
    def _sigmoid(x):
        if x != types.float32:
            return lambda x: 0.5 + 0.5 * math.tanh(0.5 * x)
        return lambda x: _HALF + _HALF * tanh(_HALF * x)


@helper
def fill(y, value):
    for i in range(y.size):
        y[i] = value


@helper
def copy(x, y):
    """y[: len(x)] = x"""
    for i in range(x.size):
        y[i] = x[i]


@helper
def divide(x, scale, y):
    """y[: len(x)] = x / scale, computed in the precision of y."""
    for i in range(x.size):
        y[i] = y.dtype.type(x[i]) / scale[i]


@helper
def add(x, y):
    """y += x, element by element."""
    for i in range(y.size):
        y[i] += x[i]


@partial(helper, options=OPTIONS)  # numpy's product returns an array
def multiply(a, b, product):
    """product = a @ b, a few rows at a time: BLAS starts no threads for small products, whose start costs more than they save."""
    rows = max(_ONE_THREAD // b.size, 1)
    for i in range(0, a.shape[0], rows):
        np.dot(a[i : i + rows], b, product[i : i + rows])


@helper
def tanh_all(x):
    for i in range(x.size):
        x[i] = tanh(x[i])


@helper
def padded(size, tile):
    return (size + tile - 1) // tile * tile


@helper
def linear(weights, at, x, inputs, y, outputs, biased=True):
    """y[:outputs] = W x[:inputs] + bias, with the map that `pack_linear` put at `at` of the weights. Returns where it ends.

    x and y are written up to their padding. Without its bias where not `biased`, as in derivatives.
    """
    width, height = padded(inputs, INPUT_TILE), padded(outputs, OUTPUT_TILE)
    zero = weights.dtype.type(0)
    fill(x[inputs:width], 0)
    if biased:
        copy(weights[at : at + height], y)
    else:
        fill(y[:height], 0)
    begin = at + padded(outputs, INPUT_TILE)
    for k in range(0, height, OUTPUT_TILE):
        # eight outputs at once, so that each input is loaded once
        rows = view(weights, begin + k * width, (OUTPUT_TILE, width), weights.dtype)
        a = b = c = d = e = f = g = h = zero
        for i in range(width):
            v = x[i]
            a += rows[0, i] * v
            b += rows[1, i] * v
            c += rows[2, i] * v
            d += rows[3, i] * v
            e += rows[4, i] * v
            f += rows[5, i] * v
            g += rows[6, i] * v
            h += rows[7, i] * v
        y[k] += a
        y[k + 1] += b
        y[k + 2] += c
        y[k + 3] += d
        y[k + 4] += e
        y[k + 5] += f
        y[k + 6] += g
        y[k + 7] += h
    return at + packed_size(inputs, outputs)


@helper
def linear_rows(weights, at, x, inputs, y, outputs, biased):
    """`linear` of every row of x [B, .] into that of y [B, .]; of four rows at once, so that each weight is loaded once."""
    width, height, whole = padded(inputs, INPUT_TILE), padded(outputs, OUTPUT_TILE), x.shape[0] // 4 * 4
    zero = weights.dtype.type(0)
    share = zero + biased
    begin = at + padded(outputs, INPUT_TILE)
    for n in range(0, whole, 4):
        four = x[n : n + 4]
        for row in range(4):
            fill(four[row, inputs:width], 0)
        for k in range(0, height, 2):
            rows = view(weights, begin + k * width, (2, width), weights.dtype)
            a = b = c = d = e = f = g = h = zero
            for i in range(width):
                u, v = rows[0, i], rows[1, i]
                a += four[0, i] * u
                b += four[0, i] * v
                c += four[1, i] * u
                d += four[1, i] * v
                e += four[2, i] * u
                f += four[2, i] * v
                g += four[3, i] * u
                h += four[3, i] * v
            first, second = share * weights[at + k], share * weights[at + k + 1]
            y[n, k], y[n, k + 1] = first + a, second + b
            y[n + 1, k], y[n + 1, k + 1] = first + c, second + d
            y[n + 2, k], y[n + 2, k + 1] = first + e, second + f
            y[n + 3, k], y[n + 3, k + 1] = first + g, second + h
    for n in range(whole, x.shape[0]):
        linear(weights, at, x[n], inputs, y[n], outputs, biased)
    return at + packed_size(inputs, outputs)


@helper
def packed_size(inputs, outputs):
    """Length of what `pack_linear` makes of a map."""
    return padded(outputs, INPUT_TILE) + padded(outputs, OUTPUT_TILE) * padded(inputs, INPUT_TILE)


def pack_linear(weight: NDArray[Any], bias: NDArray[Any]) -> NDArray[Any]:
    """Weight [outputs, inputs] and bias [outputs], zero-padded to whole tiles, as the flat array that `linear` reads.

    The tiles of a bias are those of inputs, so that the weights behind it begin on a cache line where the array does (`aligned`).
    """
    outputs, inputs = weight.shape
    packed = np.zeros((padded(outputs, OUTPUT_TILE), padded(inputs, INPUT_TILE)), weight.dtype)
    packed[:outputs, :inputs] = weight
    head = np.zeros(padded(outputs, INPUT_TILE), bias.dtype)
    head[:outputs] = bias
    return aligned(np.concatenate([head, packed.ravel()]))


def aligned(array: NDArray[Any]) -> NDArray[Any]:
    """A copy that begins on a cache line: numpy's own arrays do not, and each vector that is loaded across two lines takes two
    loads."""
    room = np.empty(array.nbytes + CACHE_LINE, np.uint8)
    begin = -room.ctypes.data % CACHE_LINE
    copied = room[begin : begin + array.nbytes].view(array.dtype)
    copied[:] = array
    return copied
