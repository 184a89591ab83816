"""The actor of a deployed policy: a tanh MLP; numpy and numba only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .arithmetic import INPUT_TILE, aligned, copy, divide, linear, pack_linear, tanh_all
from .backend import helper, lean
from .views import scratch


@lean
def act(scale, maps, sizes, squash, shown, x, h, action):
    """Actions [B, A] from x [B, I] / scale and the part of the state h [B, H] that the cell shows, from `shown` on.

    maps: the linear maps from `pack_linear`, one after the other; sizes [M, 2]: inputs and outputs of each. The last layer is
    squashed by tanh, or clipped to [-1, 1]. Row by row. Every cell's kernel ends with it, so that a policy's step is one call
    from Python; where there are no maps (`no_actor`) it does nothing.
    """
    if sizes.shape[0] == 0:
        return
    widest = 0
    for i in range(sizes.shape[0]):
        widest = max(widest, sizes[i, 0], sizes[i, 1])
    room = scratch((2, widest + INPUT_TILE), h.dtype)
    read, work = room[0], room[1]
    inputs, last = x.shape[1], sizes.shape[0] - 1
    for b in range(x.shape[0]):
        divide(x[b], scale, read)
        copy(h[b, shown : shown + sizes[0, 0] - inputs], read[inputs:])
        at = 0
        for i in range(last + 1):
            at = linear(maps, at, read, sizes[i, 0], work, sizes[i, 1])
            if i < last or squash:
                tanh_all(work[: sizes[i, 1]])
            else:
                _clip(work[: sizes[i, 1]])
            read, work = work, read
        copy(read[: action.shape[1]], action[b])


@helper
def _clip(x):
    """To [-1, 1]; NaN passes through."""
    for i in range(x.size):
        x[i] = -1 if x[i] < -1 else (1 if x[i] > 1 else x[i])  # noqa: FURB136


def prepare(
    scale: Sequence[float], maps: Sequence[tuple[NDArray[Any], NDArray[Any]]], squash: bool, shown: int
) -> tuple[Any, ...]:
    """The leading arguments of `act`, from weight [out, in] and bias [out] of each layer."""
    packed = aligned(np.concatenate([pack_linear(weight, bias) for weight, bias in maps]))
    return np.array(scale, packed.dtype), packed, np.array([weight.shape[::-1] for weight, _ in maps]), squash, shown


def no_actor(inputs: int, dtype: DTypeLike) -> tuple[Any, ...]:
    """What stands for the leading arguments of `act` where a cell is stepped without one."""
    return np.ones(inputs, dtype), np.zeros(0, dtype), np.zeros((0, 2), np.int64), False, 0


def compile_for(dtype: str) -> None:
    """Compile `act`, or load it from the cache, for "float32" or "float64"."""
    act(*no_actor(1, dtype), np.zeros((1, 1)), np.zeros((1, 1), dtype), np.zeros((1, 0)))
