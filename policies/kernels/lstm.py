"""The recurrence of an LSTM over a whole sequence, forward and backward, and one step; numpy and numba only.

The caller multiplies inputs by their weights for all steps at once, before the recurrence, and computes the gradient of the
recurrent weights for all steps at once after it. Arrays are C-ordered float32 or float64, T steps, B rows, U units:

    drive     [T, B, 4U]  input part of the gates, biases included: input, forget, candidate, output
    recurrent [U, 4U]     weight of the hidden state, transposed
    state     [B, 2U]     hidden state, then cell state
    reset     [T, B]      nonzero where the state is zeroed before the step
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
    tanh_all,
)
from .backend import check_tensors, helper, kernel, lean
from .views import scratch, view


@helper
def _activate(activity, before, after):
    """One row, one step: cell state `before` [U] -> state `after` [2U].

    activity [5, U] holds the arguments of the four gates, and then their values and tanh of the new cell state.
    """
    units = before.size
    i, f, g, o, shown = activity[0], activity[1], activity[2], activity[3], activity[4]
    hidden, cell = after[:units], after[units:]
    for k in range(units):
        i[k] = sigmoid(i[k])
    for k in range(units):
        f[k] = sigmoid(f[k])
    tanh_all(g)
    for k in range(units):
        o[k] = sigmoid(o[k])
    for k in range(units):
        cell[k] = f[k] * before[k] + i[k] * g[k]
    copy(cell, shown)
    tanh_all(shown)
    for k in range(units):
        hidden[k] = o[k] * shown[k]


@kernel
def forward(drive, state, recurrent, reset, states, entering, activity):
    """Run T steps from state [B, 2U].

    Writes states [T, B, 2U] after each step, entering [T, B, U] the hidden state before it (resets applied), and activity
    [T, B, 5, U]: the gates and tanh of the cell state.
    """
    steps, rows, units = entering.shape
    recalled = np.empty((rows, 4 * units), states.dtype)
    zero = np.zeros(units, states.dtype)
    for t in range(steps):
        before = state if t == 0 else states[t - 1]
        for b in range(rows):
            copy(zero if reset[t, b] else before[b, :units], entering[t, b])
        multiply(entering[t], recurrent, recalled)
        for b in range(rows):
            gates = activity[t, b].ravel()
            copy(drive[t, b], gates)
            add(recalled[b], gates[: 4 * units])
            _activate(activity[t, b], zero if reset[t, b] else before[b, units:], states[t, b])


@helper
def _differentiate(d_after, before, activity, d_gates, d_hidden, d_cell):
    """One row, one step back: from the gradients of the states to those of the gates' arguments and of the cell state before."""
    units, one = before.size, before.dtype.type(1)
    i, f, g, o, shown = activity[0], activity[1], activity[2], activity[3], activity[4]
    d_i, d_f, d_g, d_o = d_gates[0], d_gates[1], d_gates[2], d_gates[3]
    add(d_after[:units], d_hidden)
    add(d_after[units:], d_cell)
    for k in range(units):
        d_o[k] = d_hidden[k] * shown[k] * o[k] * (one - o[k])
    for k in range(units):
        d_cell[k] += d_hidden[k] * o[k] * (one - shown[k] * shown[k])
    for k in range(units):
        d_i[k] = d_cell[k] * g[k] * i[k] * (one - i[k])
    for k in range(units):
        d_f[k] = d_cell[k] * before[k] * f[k] * (one - f[k])
    for k in range(units):
        d_g[k] = d_cell[k] * i[k] * (one - g[k] * g[k])
    for k in range(units):
        d_cell[k] *= f[k]


@kernel
def backward(d_states, state, states, recurrent, reset, activity, d_drive, d_hidden, d_cell):
    """Back-propagate the gradient of the states [T, B, 2U] through T steps; `recurrent` [4U, U] comes transposed.

    Writes d_drive [T, B, 4U] and the gradients d_hidden and d_cell [B, U] of the state before step 0.
    """
    steps, rows, units = activity.shape[0], activity.shape[1], activity.shape[3]
    zero, d_gates = np.zeros(units, states.dtype), d_drive.reshape(steps, rows, 4, units)
    fill(d_hidden.ravel(), 0)
    fill(d_cell.ravel(), 0)
    for t in range(steps - 1, -1, -1):
        before = state if t == 0 else states[t - 1]
        for b in range(rows):
            cell = zero if reset[t, b] else before[b, units:]
            _differentiate(d_states[t, b], cell, activity[t, b], d_gates[t, b], d_hidden[b], d_cell[b])
        multiply(d_drive[t], recurrent, d_hidden)
        for b in range(rows):
            if reset[t, b]:
                fill(d_hidden[b], 0)
                fill(d_cell[b], 0)


def prepare(config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> tuple[NDArray[Any], ...]:
    """The leading argument of `step`, from `LSTM.config` and its parameters. Raises ValueError on a wrong name or shape."""
    inputs, units = config["input_size"], config["units"]
    shapes = {
        "input.weight": (4 * units, inputs + 1),
        "input.bias": (4 * units,),
        "recurrent.weight": (4 * units, units),
    }
    check_tensors(tensors, shapes)
    weight = np.concatenate([tensors["input.weight"], tensors["recurrent.weight"]], 1)
    return (pack_linear(weight, tensors["input.bias"]),)


@lean
def step(weight, period, scale, maps, sizes, squash, shown, x, dt, h, action):
    """Advance h [B, 2U] in place, row by row, by the elapsed time dt [B] under the inputs x [B, I] / scale; then `act`."""
    inputs, units = x.shape[1], h.shape[1] // 2
    read = scratch((padded(inputs + 1 + units, INPUT_TILE),), h.dtype)
    gates = scratch((padded(5 * units, OUTPUT_TILE),), h.dtype)
    activity, before = view(gates, 0, (5, units), h.dtype), scratch((units,), h.dtype)
    for b in range(x.shape[0]):
        divide(x[b], scale, read)
        read[inputs] = dt[b] / period - 1.0
        copy(h[b, :units], read[inputs + 1 :])
        copy(h[b, units:], before)
        linear(weight, 0, read, inputs + 1 + units, gates, 4 * units)
        _activate(activity, before, h[b])
    act(scale, maps, sizes, squash, shown, x, h, action)


def compile_for(dtype: str) -> None:
    """Compile, or load from the cache, the kernels for "float32" or "float64", by one step with one unit."""
    one, state, reset = np.zeros((1, 1, 1), dtype), np.zeros((1, 1, 2), dtype), np.zeros((1, 1), np.bool_)
    gates, activity = np.zeros((1, 1, 4), dtype), np.zeros((1, 1, 5, 1), dtype)
    forward(gates, state[0], gates[0], reset, state.copy(), one, activity)
    backward(state, state[0], state, gates[0].T.copy(), reset, activity, gates, one[0], one[0])
    none = 1.0, *no_actor(1, dtype), np.zeros((1, 1)), np.ones(1), state[0].copy(), np.zeros((1, 0))
    step(pack_linear(np.zeros((4, 3), dtype), gates[0, 0]), *none)


def state_size(config: Mapping[str, Any]) -> int:
    """Number of state variables: hidden and cell state."""
    size: int = 2 * config["units"]
    return size


def output_slice(config: Mapping[str, Any]) -> slice:
    """The part of the state that the cell shows: the hidden state."""
    return slice(0, config["units"])
