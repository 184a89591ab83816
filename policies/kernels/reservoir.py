"""One step of a reservoir; numpy and numba only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .actor import act, no_actor
from .arithmetic import INPUT_TILE, OUTPUT_TILE, copy, divide, linear, pack_linear, padded, tanh_all
from .backend import check_tensors, helper, lean
from .views import scratch


def prepare(config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> tuple[Any, ...]:
    """The leading arguments of `step`, from `Reservoir.config` and its buffers. Raises ValueError on a wrong name or shape."""
    inputs, units = config["input_size"], config["units"]
    check_tensors(tensors, {"input_weight": (units, inputs), "recurrent_weight": (units, units), "bias": (units,)})
    weight = np.concatenate([tensors["input_weight"], tensors["recurrent_weight"]], 1)
    return pack_linear(weight, tensors["bias"]), 1.0 - config["leak"]


@lean
def step(weight, kept_in_period, period, scale, maps, sizes, squash, shown, x, dt, h, action):
    """Advance h [B, H] in place, row by row, by the elapsed time dt [B] under the inputs x [B, I] / scale; then `act`."""
    inputs, units = x.shape[1], h.shape[1]
    read = scratch((padded(inputs + units, INPUT_TILE),), h.dtype)
    drive = scratch((padded(units, OUTPUT_TILE),), h.dtype)
    for b in range(x.shape[0]):
        divide(x[b], scale, read)
        copy(h[b], read[inputs:])
        linear(weight, 0, read, inputs + units, drive, units)
        tanh_all(drive[:units])
        _relax(h[b], drive, h.dtype.type(kept_in_period ** (dt[b] / period)))
    act(scale, maps, sizes, squash, shown, x, h, action)


@helper
def _relax(h, drive, kept):
    for k in range(h.size):
        h[k] = drive[k] + kept * (h[k] - drive[k])


def compile_for(dtype: str) -> None:
    """Compile, or load from the cache, the kernel for "float32" or "float64", by one step with one unit."""
    one = np.zeros((1, 1), dtype)
    step(
        pack_linear(np.zeros((1, 2), dtype), one[0]),
        0.5,
        1.0,
        *no_actor(1, dtype),
        np.zeros((1, 1)),
        np.ones(1),
        one,
        np.zeros((1, 0)),
    )
