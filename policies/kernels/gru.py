"""The recurrence of a GRU over a whole sequence, forward and backward, and one step; numpy and numba only.

The caller multiplies inputs by their weights for all steps at once, before the recurrence, and computes the gradient of the
recurrent weights for all steps at once after it. Arrays are C-ordered float32 or float64, T steps, B rows, U units:

    drive     [T, B, 3U]    input part of the reset gate, the update gate and the candidate, biases included
    recurrent [U, 3U]       weight of the state, transposed, with its own bias [3U]
    reset     [T, B]        nonzero where the state is zeroed before the step
    activity  [T, B, 4, U]  reset gate, update gate, candidate, and the state's part of the candidate before the reset gate
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .actor import act, no_actor
from .arithmetic import (
    INPUT_TILE,
    OUTPUT_TILE,
    add,
    copy,
    divide,
    fill,
    linear,
    multiply,
    pack_linear,
    padded,
    sigmoid,
    tanh,
)
from .backend import check_tensors, helper, kernel, lean
from .views import scratch


@helper
def _activate(drive, recalled, before, activity, after):
    """One row, one step: state `before` -> `after` [U] from drive and the recurrent part `recalled`, both [3U]."""
    units = before.size
    r, z, n, m = activity[0], activity[1], activity[2], activity[3]
    for k in range(units):
        r[k] = sigmoid(drive[k] + recalled[k])
    for k in range(units):
        z[k] = sigmoid(drive[units + k] + recalled[units + k])
    for k in range(units):
        m[k] = recalled[2 * units + k]
    for k in range(units):
        n[k] = tanh(drive[2 * units + k] + r[k] * m[k])
    for k in range(units):
        after[k] = n[k] + z[k] * (before[k] - n[k])


@kernel
def forward(drive, state, recurrent, bias, reset, states, entering, activity):
    """Run T steps from state [B, U]; writes states and entering [T, B, U], after and before each step, and activity."""
    steps, rows, units = states.shape
    recalled = np.empty((rows, 3 * units), states.dtype)
    for t in range(steps):
        before = state if t == 0 else states[t - 1]
        for b in range(rows):
            if reset[t, b]:
                fill(entering[t, b], 0)
            else:
                copy(before[b], entering[t, b])
        multiply(entering[t], recurrent, recalled)
        for b in range(rows):
            add(bias, recalled[b])
            _activate(drive[t, b], recalled[b], entering[t, b], activity[t, b], states[t, b])


@helper
def _differentiate(d_after, before, activity, d_drive, d_recalled, d_state):
    """One row, one step back; leaves in d_state what reaches the state before past the recurrent product."""
    units, one = before.size, before.dtype.type(1)
    r, z, n, m = activity[0], activity[1], activity[2], activity[3]
    for k in range(units):
        d_state[k] += d_after[k]
    for k in range(units):
        d_drive[2 * units + k] = d_state[k] * (one - z[k]) * (one - n[k] * n[k])
    for k in range(units):
        d_drive[units + k] = d_state[k] * (before[k] - n[k]) * z[k] * (one - z[k])
    for k in range(units):
        d_state[k] *= z[k]
    for k in range(units):
        d_drive[k] = d_drive[2 * units + k] * m[k] * r[k] * (one - r[k])
    copy(d_drive[: 2 * units], d_recalled)
    for k in range(units):
        d_recalled[2 * units + k] = d_drive[2 * units + k] * r[k]


@kernel
def backward(d_states, recurrent, reset, entering, activity, d_drive, d_recalled, d_state):
    """Back-propagate the gradient of the states [T, B, U] through T steps; `recurrent` [3U, U] comes transposed.

    Writes d_drive and d_recalled [T, B, 3U], the gradients of the drive and of the recurrent product, and d_state [B, U] of the
    state before step 0.
    """
    steps, rows = d_states.shape[:2]
    through = np.empty_like(d_state)
    fill(d_state.ravel(), 0)
    for t in range(steps - 1, -1, -1):
        for b in range(rows):
            _differentiate(d_states[t, b], entering[t, b], activity[t, b], d_drive[t, b], d_recalled[t, b], d_state[b])
        multiply(d_recalled[t], recurrent, through)
        add(through.ravel(), d_state.ravel())
        for b in range(rows):
            if reset[t, b]:
                fill(d_state[b], 0)


def prepare(config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> tuple[NDArray[Any], ...]:
    """The leading arguments of `step`, from `GRU.config` and its parameters. Raises ValueError on a wrong name or shape."""
    inputs, units = config["input_size"], config["units"]
    shapes = {
        "input.weight": (3 * units, inputs + 1),
        "input.bias": (3 * units,),
        "recurrent.weight": (3 * units, units),
        "recurrent.bias": (3 * units,),
    }
    check_tensors(tensors, shapes)
    return tuple(pack_linear(tensors[f"{name}.weight"], tensors[f"{name}.bias"]) for name in ("input", "recurrent"))


@lean
def step(weight, recurrent, period, scale, maps, sizes, squash, shown, x, dt, h, action):
    """Advance h [B, U] in place, row by row, by the elapsed time dt [B] under the inputs x [B, I] / scale; then `act`."""
    inputs, units = x.shape[1], h.shape[1]
    read, before = scratch((padded(inputs + 1, INPUT_TILE),), h.dtype), scratch((padded(units, INPUT_TILE),), h.dtype)
    room = scratch((2, padded(3 * units, OUTPUT_TILE)), h.dtype)
    drive, recalled = room[0], room[1]
    activity = scratch((4, units), h.dtype)
    for b in range(x.shape[0]):
        divide(x[b], scale, read)
        read[inputs] = dt[b] / period - 1.0
        copy(h[b], before)
        linear(weight, 0, read, inputs + 1, drive, 3 * units)
        linear(recurrent, 0, before, units, recalled, 3 * units)
        _activate(drive, recalled, before[:units], activity, h[b])
    act(scale, maps, sizes, squash, shown, x, h, action)


def compile_for(dtype: str) -> None:
    """Compile, or load from the cache, the kernels for "float32" or "float64", by one step with one unit."""
    one, gates, reset = np.zeros((1, 1, 1), dtype), np.zeros((1, 1, 3), dtype), np.zeros((1, 1), np.bool_)
    activity = np.zeros((1, 1, 4, 1), dtype)
    forward(gates, one[0], gates[0], gates[0, 0], reset, one.copy(), one, activity)
    backward(one, gates[0].T.copy(), reset, one, activity, gates, gates.copy(), one[0])
    weights = (pack_linear(np.zeros((3, inputs), dtype), gates[0, 0]) for inputs in (2, 1))
    step(*weights, 1.0, *no_actor(1, dtype), np.zeros((1, 1)), np.ones(1), one[0].copy(), np.zeros((1, 0)))
