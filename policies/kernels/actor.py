"""The actor of a deployed policy: a tanh MLP; numpy and numba only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arithmetic import INPUT_TILE, copy, linear, pack_linear, tanh_all
from .backend import helper, kernel


@kernel
def act(weights, layers, squash, x, h, first, action):
    """Actions [B, A] from observations x [B, I] and the part of the state h [B, H] that the cell shows, from `first` on.

    weights: the linear maps from `pack_linear`, one after the other; layers [M, 2]: inputs and outputs of each. The last layer is
    squashed by tanh, or clipped to [-1, 1]. Row by row.
    """
    widest = layers.max() + INPUT_TILE
    read, work = np.empty(widest, x.dtype), np.empty(widest, x.dtype)
    inputs, outputs = x.shape[1], layers[0, 0] - x.shape[1]
    for b in range(x.shape[0]):
        copy(x[b], read)
        copy(h[b, first : first + outputs], read[inputs : inputs + outputs])
        at = 0
        for i in range(layers.shape[0]):
            at = linear(weights, at, read, layers[i, 0], work, layers[i, 1])
            if i + 1 < layers.shape[0] or squash:
                tanh_all(work[: layers[i, 1]])
            else:
                _clip(work[: layers[i, 1]])
            copy(work[: layers[i, 1]], read)
        for k in range(action.shape[1]):
            action[b, k] = read[k]


@helper
def _clip(x):
    """To [-1, 1]; NaN passes through."""
    for i in range(x.size):
        x[i] = -1 if x[i] < -1 else (1 if x[i] > 1 else x[i])  # noqa: FURB136


def prepare(maps: Sequence[tuple[NDArray[Any], NDArray[Any]]], squash: bool) -> tuple[Any, ...]:
    """The leading arguments of `act`, from weight [out, in] and bias [out] of each layer."""
    packed = np.concatenate([pack_linear(weight, bias) for weight, bias in maps])
    return packed, np.array([weight.shape[::-1] for weight, _ in maps]), squash


def compile_for(dtype: str) -> None:
    """Compile `act`, or load it from the cache, for "float32" or "float64"."""
    one = np.zeros((1, 1), dtype)
    act(*prepare([(np.zeros((1, 2), dtype), np.zeros(1, dtype))], False), one, one, 0, np.zeros((1, 1)))
