"""The recurrence of a CfC layer over a whole sequence, forward and backward; numpy and numba only.

The caller multiplies inputs by their weights, for all steps at once, before the recurrence, and computes the gradients of
all weights, also for all steps at once, after it: only what depends on the previous state remains here. Arrays are C-ordered
float32 or float64, T steps, B rows, H units, Z backbone units, G = 3H or 4H heads:

    drive     [T, B, Z or G]  input part of the backbone (of the heads, where there is no backbone), bias included
    recurrent [H, Z or G]     weight of the previous state
    heads     [Z, G]          weight of the backbone's output; ff1, ff2, time (G = 3H) or ff1, ff2, time_a, time_b (G = 4H)
    periods   [T, B]          elapsed time in units of the period, read where G = 4H
    reset     [T, B]          nonzero where the state is zeroed before the step

The time head is halved before its nonlinearity: sigmoid(u) = 1/2 + tanh(u/2)/2 lets one loop apply tanh to all heads.
"""

from __future__ import annotations

import math

import numba as nb
import numpy as np
from numba import types
from numba.extending import overload

# no "nnan": a NaN must come out as NaN
_OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz", "arcp", "reassoc"}}
_LECUN_GAIN, _LECUN_SLOPE = 1.7159, 0.666

# OpenBLAS computes a product of up to so many multiplications on the calling thread.
_ONE_THREAD = 1 << 18

# The padding of a linear map of `policy_step`: vector loops over whole tiles leave no scalar remainder.
INPUT_TILE, OUTPUT_TILE = 32, 4

# tanh(x) = x P(x^2) / Q(x^2) on |x| <= 9, fitted for the smallest largest relative error, 2e-8 before rounding.
_TANH_LIMIT = np.float32(9.0)
_P0, _P1, _P2 = np.float32(0.9999999794650775), np.float32(0.13381026843136287), np.float32(0.0034955895319341655)
_P3, _P4 = np.float32(2.0609104317462887e-05), np.float32(1.3354689706750702e-08)
_Q1, _Q2 = np.float32(0.46714342438152595), np.float32(0.02587698760806258)
_Q3, _Q4 = np.float32(0.0003285637068828496), np.float32(7.776570337453365e-07)
_ONE = np.float32(1.0)


def tanh(x):
    """tanh: float32 to 4e-7 by a rational function that vectorises, float64 exactly."""
    return math.tanh(x)


@overload(tanh, inline="always")
def _tanh(x):
    if x != types.float32:
        return lambda x: math.tanh(x)

    def rational(x):
        # comparisons written so that NaN passes through
        x = -_TANH_LIMIT if x < -_TANH_LIMIT else x  # noqa: FURB136
        x = _TANH_LIMIT if x > _TANH_LIMIT else x  # noqa: FURB136
        u = x * x
        p = (((_P4 * u + _P3) * u + _P2) * u + _P1) * u + _P0
        return x * p / ((((_Q4 * u + _Q3) * u + _Q2) * u + _Q1) * u + _ONE)

    return rational


@nb.njit(**_OPTIONS)
def _multiply(a, b, product):
    """product = a @ b, a few rows at a time: BLAS starts no threads for small products, whose start costs more than they save."""
    rows = max(_ONE_THREAD // b.size, 1)
    for i in range(0, a.shape[0], rows):
        np.dot(a[i : i + rows], b, product[i : i + rows])


@nb.njit(**_OPTIONS)
def _fill(y, value):
    for i in range(y.size):
        y[i] = value


@nb.njit(**_OPTIONS)
def _copy(x, y):
    """y[: len(x)] = x"""
    for i in range(x.size):
        y[i] = x[i]


@nb.njit(**_OPTIONS)
def _add(x, y):
    """y += x, element by element."""
    for i in range(y.size):
        y[i] += x[i]


@nb.njit(**_OPTIONS)
def _tanh_all(x):
    for i in range(x.size):
        x[i] = tanh(x[i])


@nb.njit(**_OPTIONS)
def _lecun_tanh(x):
    gain, slope = x.dtype.type(_LECUN_GAIN), x.dtype.type(_LECUN_SLOPE)
    for i in range(x.size):
        x[i] = gain * tanh(slope * x[i])


@nb.njit(**_OPTIONS)
def _lecun_tanh_backward(z, gradient):
    """gradient *= d lecun_tanh, from the activation z."""
    peak, bend = z.dtype.type(_LECUN_GAIN * _LECUN_SLOPE), z.dtype.type(_LECUN_SLOPE / _LECUN_GAIN)
    for i in range(z.size):
        gradient[i] *= peak - bend * z[i] * z[i]


@nb.njit(**_OPTIONS)
def _reset_rows(x, reset):
    for b in range(x.shape[0]):
        if reset[b]:
            _fill(x[b], 0)


# The loops below each write one array and never one they also read under another name: else they are not vectorised.


@nb.njit(**_OPTIONS)
def _merge_time(heads, periods, merged):
    """[B, 4, H] -> [B, 3, H]: time / 2, where time = time_a * periods + time_b."""
    half, units = merged.dtype.type(0.5), merged.shape[2]
    for b in range(merged.shape[0]):
        row, out, elapsed = heads[b], merged[b], periods[b]
        for k in range(units):
            out[0, k] = row[0, k]
        for k in range(units):
            out[1, k] = row[1, k]
        for k in range(units):
            out[2, k] = half * (row[2, k] * elapsed + row[3, k])


@nb.njit(**_OPTIONS)
def _halve_time(heads):
    half = heads.dtype.type(0.5)
    for b in range(heads.shape[0]):
        time = heads[b, 2]
        for k in range(time.size):
            time[k] *= half


@nb.njit(**_OPTIONS)
def _interpolate(activity, state):
    """state = f + s (g - f), s = (1 + tanh) / 2, from activity [B, 3, H] = f, g, tanh."""
    half = activity.dtype.type(0.5)
    for b in range(state.shape[0]):
        row, out = activity[b], state[b]
        for k in range(state.shape[1]):
            f, g = row[0, k], row[1, k]
            out[k] = half * (f + g + row[2, k] * (g - f))


@nb.njit(**_OPTIONS)
def _interpolate_backward(activity, gradient, d_heads):
    """d_heads [B, 3 or 4, H] from the gradient [B, H] of the state: ff1, ff2, and the last head, time."""
    quarter, half, one = activity.dtype.type(0.25), activity.dtype.type(0.5), activity.dtype.type(1.0)
    units, last = gradient.shape[1], d_heads.shape[1] - 1
    for b in range(gradient.shape[0]):
        row, d, out = activity[b], gradient[b], d_heads[b]
        for k in range(units):
            out[0, k] = half * d[k] * (one - row[2, k]) * (one - row[0, k] * row[0, k])
        for k in range(units):
            out[1, k] = half * d[k] * (one + row[2, k]) * (one - row[1, k] * row[1, k])
        for k in range(units):
            out[last, k] = quarter * d[k] * (row[1, k] - row[0, k]) * (one - row[2, k] * row[2, k])


@nb.njit(**_OPTIONS)
def _time_a_backward(periods, d_heads):
    """The gradient of time_a, from that of time_b, in d_heads [B, 4, H]."""
    for b in range(d_heads.shape[0]):
        time_a, time_b, elapsed = d_heads[b, 2], d_heads[b, 3], periods[b]
        for k in range(time_a.size):
            time_a[k] = time_b[k] * elapsed


@nb.njit(cache=True, **_OPTIONS)
def forward(drive, state, periods, reset, recurrent, heads, bias, states, entering, features, activity, pre):
    """Run T steps from state [B, H].

    Writes states [T, B, H] after each step, entering [T, B, H] before it (resets applied), features [T, B, Z] of the
    backbone (Z = 0 where there is none), activity [T, B, 3, H] the heads after tanh. Scratch: pre [B, 4H], empty where G = 3H.
    """
    steps, rows, units = states.shape
    elapsed = pre.size > 0
    for t in range(steps):
        before = state if t == 0 else states[t - 1]
        _copy(before.ravel(), entering[t].ravel())
        _reset_rows(entering[t], reset[t])
        total = pre if elapsed else activity[t].reshape(rows, 3 * units)
        if features.shape[2] == 0:
            _multiply(entering[t], recurrent, total)
            _add(drive[t].ravel(), total.ravel())
        else:
            z = features[t]
            _multiply(entering[t], recurrent, z)
            _add(drive[t].ravel(), z.ravel())
            _lecun_tanh(z.ravel())
            _multiply(z, heads, total)
            _add_rows(bias, total)
        if elapsed:
            _merge_time(pre.reshape(rows, 4, units), periods[t], activity[t])
        else:
            _halve_time(activity[t])
        _tanh_all(activity[t].ravel())
        _interpolate(activity[t], states[t])


@nb.njit(**_OPTIONS)
def _add_rows(bias, y):
    for b in range(y.shape[0]):
        _add(bias, y[b])


@nb.njit(cache=True, **_OPTIONS)
def backward(d_states, periods, reset, recurrent, heads, features, activity, d_drive, d_heads, d_state):
    """Back-propagate through T steps.

    d_states [T, B, H] is the gradient of the states; recurrent [Z or G, H] and heads [G, Z] come transposed. Writes d_drive
    [T, B, Z or G], d_heads [T, B, G] (the same array where there is no backbone), d_state [B, H] of the state before step 0.
    """
    steps, rows, units = d_states.shape
    _fill(d_state.ravel(), 0)
    for t in range(steps - 1, -1, -1):
        _add(d_states[t].ravel(), d_state.ravel())
        by_head = d_heads[t].reshape(rows, d_heads.shape[2] // units, units)
        _interpolate_backward(activity[t], d_state, by_head)
        if by_head.shape[1] == 4:
            _time_a_backward(periods[t], by_head)
        if features.shape[2] > 0:
            _multiply(d_heads[t], heads, d_drive[t])
            _lecun_tanh_backward(features[t].ravel(), d_drive[t].ravel())
        _multiply(d_drive[t], recurrent, d_state)
        _reset_rows(d_state, reset[t])


@nb.njit(cache=True, **_OPTIONS)
def policy_step(weights, layers, actor, scale, squash, period, observation, dt, state, action, x, y):
    """One control step of a policy, row by row: the CfC layers, then the tanh MLP of the actor.

    weights: all linear maps from `pack_linear`, one after the other; layers [L, 6]: inputs, units, backbone units (0: none), first
    neuron, where backbone and heads start in the weights; actor [M, 3]: inputs, outputs, where they start;
    observation [B, I], scale [I] its typical magnitude, dt [B] and period in s. Advances state [B, H] in place, writes action
    [B, A]: the actor's last layer, squashed by tanh or clipped to [-1, 1]. Scratch: x and y, as long as the largest padded features.
    """
    inputs, outputs = observation.shape[1], actor[0, 0] - observation.shape[1]
    for row in range(observation.shape[0]):
        _divide(observation[row], scale, x)
        for i in range(layers.shape[0]):
            own = state[row, layers[i, 3] : layers[i, 3] + layers[i, 1]]
            _layer_step(weights, layers[i], x, dt[row] / period, own, y)
            _copy(own, x)
        _divide(observation[row], scale, x)
        _copy(state[row, :outputs], x[inputs : inputs + outputs])
        for i in range(actor.shape[0]):
            _linear(weights, actor[i, 2], x, actor[i, 0], y, actor[i, 1])
            if i + 1 < actor.shape[0] or squash:
                _tanh_all(y[: actor[i, 1]])
            else:
                _clip(y[: actor[i, 1]])
            _copy(y[: actor[i, 1]], x)
        for k in range(action.shape[1]):
            action[row, k] = x[k]


@nb.njit(**_OPTIONS)
def _layer_step(weights, layer, x, elapsed, own, y):
    """Advance the layer's own states [H] from its inputs x[:I]; x and y are overwritten."""
    inputs, units, backbone = layer[0], layer[1], layer[2]
    features, half = inputs + units, own.dtype.type(0.5)
    _copy(own, x[inputs:features])
    if backbone > 0:
        _linear(weights, layer[4], x, features, y, backbone)
        _lecun_tanh(y[:backbone])
        _copy(y[:backbone], x)
        features = backbone
    _linear(weights, layer[5], x, features, y, 4 * units)
    for k in range(2 * units, 3 * units):
        y[k] = half * (y[k] * elapsed + y[k + units])
    _tanh_all(y[: 3 * units])
    _interpolate(y[: 3 * units].reshape(1, 3, units), own.reshape(1, units))


@nb.njit(**_OPTIONS)
def _linear(weights, at, x, inputs, y, outputs):
    """y[:outputs] = W x[:inputs] + bias, with the map that `pack_linear` put at `at`; x and y are written up to their padding."""
    width, height = _padded(inputs, INPUT_TILE), _padded(outputs, OUTPUT_TILE)
    zero = weights.dtype.type(0)
    _fill(x[inputs:width], 0)
    _copy(weights[at : at + height], y)
    w = weights[at + height : at + height + height * width].reshape(height, width)
    for k in range(0, height, OUTPUT_TILE):
        # four outputs at once, so that each input is loaded once
        rows = w[k : k + OUTPUT_TILE]
        a = b = c = d = zero
        for i in range(width):
            v = x[i]
            a += rows[0, i] * v
            b += rows[1, i] * v
            c += rows[2, i] * v
            d += rows[3, i] * v
        y[k] += a
        y[k + 1] += b
        y[k + 2] += c
        y[k + 3] += d


def pack_linear(weight, bias):
    """Weight [outputs, inputs] and bias [outputs], zero-padded to whole tiles, as the flat array that `policy_step` reads."""
    outputs, inputs = weight.shape
    packed = np.zeros((_padded(outputs, OUTPUT_TILE), _padded(inputs, INPUT_TILE)), weight.dtype)
    packed[:outputs, :inputs] = weight
    head = np.zeros(len(packed), bias.dtype)
    head[:outputs] = bias
    return np.concatenate([head, packed.ravel()])


@nb.njit(**_OPTIONS)
def _padded(size, tile):
    return (size + tile - 1) // tile * tile


@nb.njit(**_OPTIONS)
def _divide(x, scale, y):
    for i in range(x.size):
        y[i] = x[i] / scale[i]


@nb.njit(**_OPTIONS)
def _clip(x):
    """To [-1, 1]; NaN passes through."""
    for i in range(x.size):
        x[i] = -1 if x[i] < -1 else (1 if x[i] > 1 else x[i])  # noqa: FURB136


def compile_for(dtype: str) -> None:
    """Compile, or load from the cache, the kernels for "float32" or "float64", by one step with one unit.

    Raises RuntimeError where numba is told not to compile.
    """
    if nb.config.DISABLE_JIT:
        raise RuntimeError("NUMBA_DISABLE_JIT is set")
    one, gate, activity = np.zeros((1, 1, 1), dtype), np.zeros((1, 3), dtype), np.zeros((1, 1, 3, 1), dtype)
    reset = np.zeros((1, 1), np.bool_)
    forward(one, one[0], one[0], reset, one[0], gate, gate[0], one.copy(), one, one, activity, gate[:0])
    backward(one, one[0], reset, one[0], gate.T.copy(), one, activity, one, activity.reshape(1, 1, 3), one[0])
