"""The diagonal liquid cell over a sequence, forward and backward, one step, and exact forward-mode gradients; numpy and numba only.

The caller multiplies inputs by their weights for all steps at once. Arrays are C-ordered float32 or float64, T steps, B rows,
H units, I inputs; times count in periods:

    drive    [T, B, 2, H]  input part of the rate's argument z and of the target's, biases included
    feedback [2, H]        each neuron's weight of its own state, in z and in the target
    leak     [H]           slowest rate of each neuron, 1 / period
    periods  [T, B]        elapsed time in units of the period
    reset    [T, B]        nonzero where the state is zeroed before the step
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .actor import act, no_actor
from .arithmetic import INPUT_TILE, OUTPUT_TILE, add, copy, divide, fill, linear, pack_linear, padded, sigmoid, tanh
from .backend import check_tensors, helper, kernel, lean, numba
from .views import scratch, view

# log(1 + y) = s R(s^2) with s = y / (2 + y), on 0 <= y <= 1, fitted for the smallest largest relative error, 4e-9 before rounding.
_R0, _R1, _R2 = np.float32(2.0000000079200295), np.float32(0.6666631469566934), np.float32(0.40024909832779887)
_R3, _R4 = np.float32(0.27960607923804415), np.float32(0.281783158491869)
_ZERO, _HALF, _ONE, _TWO = np.float32(0.0), np.float32(0.5), np.float32(1.0), np.float32(2.0)


def softplus(x):
    """log(1 + exp(x)), which does not overflow; float32 by rational functions that vectorise."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def approach(x):
    """1 - exp(-x), accurate near zero; float32 by a rational function that vectorises."""
    return -math.expm1(-x)


if numba is not None:

    @numba.extending.overload(softplus)
    def _softplus(x):
        if x != numba.types.float32:
            return lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x)))

        def rational(x):
            t = tanh(_HALF * abs(x))
            t = _ONE if t > _ONE else t  # noqa: FURB136 - by a rounding error; min may swallow NaN
            y = (_ONE - t) / (_ONE + t)
            s = y / (_TWO + y)
            u = s * s
            return max(x, _ZERO) + s * ((((_R4 * u + _R3) * u + _R2) * u + _R1) * u + _R0)

        return rational

    @numba.extending.overload(approach)
    def _approach(x):
        if x != numba.types.float32:
            return lambda x: -math.expm1(-x)

        def rational(x):
            t = tanh(_HALF * x)
            t = _ONE if t > _ONE else t  # noqa: FURB136 - by a rounding error; min may swallow NaN
            return (t + t) / (_ONE + t)

        return rational


# The loops below write few arrays each and none that they also read under another name: else they are not vectorised.


@helper
def _advance(drive, feedback, leak, elapsed, before, gate, target, gain, after):
    """One row, one step: drive [2, H], before [H] -> after [H] and what its derivative needs, each [H]:

    gate = sigmoid(z), the derivative of softplus; target = tanh(...); gain = 1 - exp(-rate elapsed).
    """
    z_drive, target_drive, z_feedback, target_feedback = drive[0], drive[1], feedback[0], feedback[1]
    for k in range(before.size):
        gain[k] = z_drive[k] + z_feedback[k] * before[k]
    for k in range(before.size):
        gate[k] = sigmoid(gain[k])
    for k in range(before.size):
        gain[k] = approach(elapsed * (leak[k] + softplus(gain[k])))
    for k in range(before.size):
        target[k] = tanh(target_drive[k] + target_feedback[k] * before[k])
    for k in range(before.size):
        after[k] = before[k] + gain[k] * (target[k] - before[k])


@kernel
def forward(drive, state, feedback, leak, periods, reset, states, activity):
    """Run T steps from state [B, H]; writes states [T, B, H] and activity [T, B, 3, H]: gate, target and gain."""
    steps, rows, units = states.shape
    zero = np.zeros(units, states.dtype)
    for t in range(steps):
        for b in range(rows):
            before = zero if reset[t, b] else (state[b] if t == 0 else states[t - 1, b])
            row = activity[t, b]
            _advance(drive[t, b], feedback, leak, periods[t, b], before, row[0], row[1], row[2], states[t, b])


@kernel
def backward(d_states, state, states, feedback, periods, reset, activity, d_drive, d_feedback, d_exponent, d_state):
    """Back-propagate the gradient of the states [T, B, H] through T steps.

    Writes d_drive [T, B, 2, H], d_feedback [2, H], d_exponent [T, B, H] of the exponent, rate times elapsed time, d_state [B, H].
    """
    steps, rows, units = states.shape
    zero = np.zeros(units, states.dtype)
    fill(d_state.ravel(), 0)
    fill(d_feedback.ravel(), 0)
    for t in range(steps - 1, -1, -1):
        for b in range(rows):
            before = zero if reset[t, b] else (state[b] if t == 0 else states[t - 1, b])
            row, d_row = activity[t, b], d_drive[t, b]
            _retreat(d_states[t, b], before, feedback, periods[t, b], row, d_row, d_exponent[t, b], d_state[b])
            _accumulate(d_row[0], before, d_feedback[0])
            _accumulate(d_row[1], before, d_feedback[1])
            if reset[t, b]:
                fill(d_state[b], 0)


@helper
def _retreat(d_after, before, feedback, elapsed, activity, d_drive, d_exponent, d_state):
    """One row, one step back: from the gradient of the state after the step, which is added to d_state, to that before it."""
    one = before.dtype.type(1)
    gate, target, gain = activity[0], activity[1], activity[2]
    d_z, d_target, z_feedback, target_feedback = d_drive[0], d_drive[1], feedback[0], feedback[1]
    add(d_after, d_state)
    for k in range(before.size):
        d_exponent[k] = d_state[k] * (target[k] - before[k]) * (one - gain[k])
    for k in range(before.size):
        d_z[k] = d_exponent[k] * elapsed * gate[k]
    for k in range(before.size):
        d_target[k] = d_state[k] * gain[k] * (one - target[k] * target[k])
    for k in range(before.size):
        d_state[k] = d_state[k] * (one - gain[k]) + d_z[k] * z_feedback[k] + d_target[k] * target_feedback[k]


@helper
def _accumulate(a, b, total):
    for k in range(total.size):
        total[k] += a[k] * b[k]


def prepare(config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> tuple[NDArray[Any], ...]:
    """The leading arguments of `step` and `rtrl_step`, from `Diagonal.config` and its parameters.

    weight of the inputs for `linear`, feedback [2, H], leak [H]. Raises ValueError on a wrong name or shape.
    """
    inputs, units = config["input_size"], config["units"]
    shapes = {"input.weight": (2 * units, inputs), "input.bias": (2 * units,), "feedback": (2, units), "leak": (units,)}
    check_tensors(tensors, shapes)
    leak = tensors["leak"]
    weight = pack_linear(tensors["input.weight"], tensors["input.bias"])
    return weight, tensors["feedback"], np.logaddexp(leak.dtype.type(0), leak)


@lean
def step(weight, feedback, leak, period, scale, maps, sizes, squash, shown, x, dt, h, action):
    """Advance h [B, H] in place, row by row, by the elapsed time dt [B] under the inputs x [B, I] / scale; then `act`."""
    inputs, units = x.shape[1], leak.size
    drive, padded_x = (
        scratch((padded(2 * units, OUTPUT_TILE),), h.dtype),
        scratch((padded(inputs, INPUT_TILE),), h.dtype),
    )
    activity, before = scratch((3, units), h.dtype), scratch(leak.shape, h.dtype)
    for b in range(x.shape[0]):
        divide(x[b], scale, padded_x)
        linear(weight, 0, padded_x, inputs, drive, 2 * units)
        copy(h[b], before)
        heads, elapsed = view(drive, 0, (2, units), h.dtype), h.dtype.type(dt[b] / period)
        _advance(heads, feedback, leak, elapsed, before, activity[0], activity[1], activity[2], h[b])
    act(scale, maps, sizes, squash, shown, x, h, action)


@lean
def rtrl_step(weight, feedback, leak, x, periods, h, sensitivity):
    """`step`, which also carries the derivative of every state by every parameter of its neuron along, exactly.

    sensitivity [B, 2 (I + 2) + 1, H] = dh_k / d(parameter of neuron k): the weights of the inputs, the bias and the feedback
    of z, the same of the target, the leak. With J_k = dh'_k / dh_k it becomes J_k sensitivity + the direct derivative.
    """
    inputs, units = x.shape[1], leak.size
    drive, padded_x = (
        scratch((padded(2 * units, OUTPUT_TILE),), h.dtype),
        scratch((padded(inputs, INPUT_TILE),), h.dtype),
    )
    activity, before = scratch((3, units), h.dtype), scratch(leak.shape, h.dtype)
    direct, jacobian, one = scratch((3, units), h.dtype), scratch(leak.shape, h.dtype), h.dtype.type(1)
    for b in range(x.shape[0]):
        copy(x[b], padded_x)
        linear(weight, 0, padded_x, inputs, drive, 2 * units)
        copy(h[b], before)
        heads = view(drive, 0, (2, units), h.dtype)
        elapsed = h.dtype.type(periods[b])
        _advance(heads, feedback, leak, elapsed, before, activity[0], activity[1], activity[2], h[b])
        _differentiate(activity, feedback, elapsed, before, direct, jacobian)
        for head in range(2):
            own = sensitivity[b, head * (inputs + 2) : (head + 1) * (inputs + 2)]
            for i in range(inputs):
                _carry(jacobian, direct[head], x[b, i], own[i])
            _carry(jacobian, direct[head], one, own[inputs])
            _carry_product(jacobian, direct[head], before, own[inputs + 1])
        _carry(jacobian, direct[2], one, sensitivity[b, 2 * (inputs + 2)])


@helper
def _differentiate(activity, feedback, elapsed, before, direct, jacobian):
    """The derivatives of the new state by z, by the target's argument and by the leak, direct [3, H], and by the old, [H]."""
    one = before.dtype.type(1)
    gate, target, gain = activity[0], activity[1], activity[2]
    by_z, by_target, by_leak, z_feedback, target_feedback = direct[0], direct[1], direct[2], feedback[0], feedback[1]
    for k in range(before.size):
        by_leak[k] = (target[k] - before[k]) * (one - gain[k]) * elapsed
    for k in range(before.size):
        by_z[k] = by_leak[k] * gate[k]
    for k in range(before.size):
        by_target[k] = gain[k] * (one - target[k] * target[k])
    for k in range(before.size):
        jacobian[k] = one - gain[k] + by_z[k] * z_feedback[k] + by_target[k] * target_feedback[k]


@helper
def _carry(jacobian, direct, value, sensitivity):
    for k in range(sensitivity.size):
        sensitivity[k] = jacobian[k] * sensitivity[k] + direct[k] * value


@helper
def _carry_product(jacobian, direct, value, sensitivity):
    for k in range(sensitivity.size):
        sensitivity[k] = jacobian[k] * sensitivity[k] + direct[k] * value[k]


def compile_for(dtype: str) -> None:
    """Compile, or load from the cache, the kernels for "float32" or "float64", by one step with one unit."""
    one, pair, reset = np.zeros((1, 1, 1), dtype), np.zeros((1, 1, 2, 1), dtype), np.zeros((1, 1), np.bool_)
    activity = np.zeros((1, 1, 3, 1), dtype)
    forward(pair, one[0], pair[0, 0], one[0, 0], one[0], reset, one, activity)
    backward(one, one[0], one, pair[0, 0], one[0], reset, activity, pair.copy(), pair[0, 0], one.copy(), one[0])
    none = 1.0, *no_actor(1, dtype), np.zeros((1, 1)), np.ones(1), one[0].copy(), np.zeros((1, 0))
    step(pack_linear(pair[0, 0], pair[0, 0, :, 0]), pair[0, 0], one[0, 0], *none)
