"""The recurrence of a CfC layer over a whole sequence, forward and backward, and one step of the cell; numpy and numba only.

For sequences the caller multiplies inputs by their weights, for all steps at once, before the recurrence, and computes the
gradients of all weights, also for all steps at once, after it: only what depends on the previous state remains here. Arrays
are C-ordered float32 or float64, T steps, B rows, H units, Z backbone units, L backbone layers,
G = 3H heads (ff1, ff2, time) or G = 4H (ff1, ff2, time_a, time_b):

    first      [T, B, Z or G]  the first map, the first backbone layer or, where there is no backbone, the heads: given as the
                               part that reads the input, left as its output, in a backbone after the nonlinearity
    recurrent  [Z or G, H]     the part of its weight that reads the previous state, and its bias [Z or G]
    deeper     [L - 1, Z, Z]   weights of the further backbone layers, and deeper_bias [L - 1, Z]
    heads      [G, Z]          weight of the heads on a backbone, and heads_bias [G]; not read where there is none
    periods    [T, B]          elapsed time in units of the period, read where G = 4H
    reset      [T, B]          nonzero where the state is zeroed before the step
    gated      bool            whether the gate takes from one target what it gives to the other (mode "default")

The time head is halved before its nonlinearity: sigmoid(u) = 1/2 + tanh(u/2)/2 lets one loop apply tanh to all heads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..wiring import Wiring
from .actor import act, no_actor
from .arithmetic import INPUT_TILE, add, aligned, copy, divide, fill, linear, multiply, pack_linear, tanh, tanh_all
from .backend import check_tensors, helper, kernel, lean
from .by_address import address_of, period_and_actor, vehicle, whole
from .packed import by_rows, integer, integers, singles
from .views import scratch, view

MODES = ("default", "pure", "no_gate")
LECUN_GAIN, LECUN_SLOPE = 1.7159, 0.666


@helper
def _add_rows(bias, y):
    for b in range(y.shape[0]):
        add(bias, y[b])


@helper
def _add_both(bias, product, y):
    for b in range(y.shape[0]):
        row, own = y[b], product[b]
        for i in range(row.size):
            row[i] = row[i] + bias[i] + own[i]


@helper
def _lecun_tanh(x):
    gain, slope = x.dtype.type(LECUN_GAIN), x.dtype.type(LECUN_SLOPE)
    for i in range(x.size):
        x[i] = gain * tanh(slope * x[i])


@helper
def _lecun_tanh_backward(z, gradient):
    """gradient *= d lecun_tanh, from the activation z."""
    peak, bend = z.dtype.type(LECUN_GAIN * LECUN_SLOPE), z.dtype.type(LECUN_SLOPE / LECUN_GAIN)
    for i in range(z.size):
        gradient[i] *= peak - bend * z[i] * z[i]


@helper
def _reset_rows(x, reset):
    for b in range(x.shape[0]):
        if reset[b]:
            fill(x[b], 0)


@helper
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


@helper
def _halve_time(heads):
    half = heads.dtype.type(0.5)
    for b in range(heads.shape[0]):
        time = heads[b, 2]
        for k in range(time.size):
            time[k] *= half


@helper
def _interpolate(activity, gated, state):
    """state = f + s (g - f), or f + s g without the gate, s = (1 + tanh) / 2, from activity [B, 3, H] = f, g, tanh."""
    one, half = activity.dtype.type(1.0), activity.dtype.type(0.5)
    for b in range(state.shape[0]):
        row, out = activity[b], state[b]
        if gated:
            for k in range(state.shape[1]):
                f, g = row[0, k], row[1, k]
                out[k] = half * (f + g + row[2, k] * (g - f))
        else:
            for k in range(state.shape[1]):
                out[k] = row[0, k] + half * (one + row[2, k]) * row[1, k]


@helper
def _interpolate_backward(activity, gated, gradient, d_heads):
    """d_heads [B, 3 or 4, H] from the gradient [B, H] of the state: ff1, ff2, and the last head, time."""
    quarter, half, one = activity.dtype.type(0.25), activity.dtype.type(0.5), activity.dtype.type(1.0)
    units, last = gradient.shape[1], d_heads.shape[1] - 1
    for b in range(gradient.shape[0]):
        row, d, out = activity[b], gradient[b], d_heads[b]
        for k in range(units):
            out[1, k] = half * d[k] * (one + row[2, k]) * (one - row[1, k] * row[1, k])
        if gated:
            for k in range(units):
                out[0, k] = half * d[k] * (one - row[2, k]) * (one - row[0, k] * row[0, k])
            for k in range(units):
                out[last, k] = quarter * d[k] * (row[1, k] - row[0, k]) * (one - row[2, k] * row[2, k])
        else:
            for k in range(units):
                out[0, k] = d[k] * (one - row[0, k] * row[0, k])
            for k in range(units):
                out[last, k] = quarter * d[k] * row[1, k] * (one - row[2, k] * row[2, k])


@helper
def _time_a_backward(periods, d_heads):
    """The gradient of time_a, from that of time_b, in d_heads [B, 4, H]."""
    for b in range(d_heads.shape[0]):
        time_a, time_b, elapsed = d_heads[b, 2], d_heads[b, 3], periods[b]
        for k in range(time_a.size):
            time_a[k] = time_b[k] * elapsed


@kernel
def forward(
    first,
    state,
    periods,
    reset,
    recurrent,
    bias,
    deeper,
    deeper_bias,
    heads,
    heads_bias,
    gated,
    states,
    entering,
    features,
    activity,
    pre,
):
    """Run T steps from state [B, H].

    Writes states [T, B, H] after each step, entering [T, B, H] before it (resets applied), features [L - 1, T, B, Z] of the
    further backbone layers, activity [T, B, 3, H] the heads after tanh (the array `first` where there is no backbone and G = 3H).
    Scratch: pre [B, max(Z, G)].
    """
    steps, rows, units = states.shape
    backbone, elapsed = heads.shape[1] > 0, periods.size > 0
    product = pre.ravel()[: first[0].size].reshape(rows, first.shape[2])
    total = pre.ravel()[: rows * heads.shape[0]].reshape(rows, heads.shape[0])
    for t in range(steps):
        before = state if t == 0 else states[t - 1]
        copy(before.ravel(), entering[t].ravel())
        _reset_rows(entering[t], reset[t])
        multiply(entering[t], recurrent.T, product)
        _add_both(bias, product, first[t])
        if backbone:
            _lecun_tanh(first[t].ravel())
            z = first[t]
            for i in range(features.shape[0]):
                multiply(z, deeper[i].T, features[i, t])
                z = features[i, t]
                _add_rows(deeper_bias[i], z)
                _lecun_tanh(z.ravel())
            heads_out = total if elapsed else activity[t].reshape(rows, 3 * units)
            multiply(z, heads.T, heads_out)
            _add_rows(heads_bias, heads_out)
        if elapsed:
            _merge_time((total if backbone else first[t]).reshape(rows, 4, units), periods[t], activity[t])
        else:
            _halve_time(activity[t])
        tanh_all(activity[t].ravel())
        _interpolate(activity[t], gated, states[t])


@kernel
def backward(
    d_states,
    first,
    periods,
    reset,
    recurrent,
    deeper,
    heads,
    gated,
    features,
    activity,
    d_first,
    d_deeper,
    d_heads,
    d_state,
):
    """Back-propagate through T steps.

    d_states [T, B, H] is the gradient of the states. Writes the gradients before the nonlinearities: d_first [T, B, Z or G],
    d_deeper [L - 1, T, B, Z], d_heads [T, B, G] (the array d_first where there is no backbone), and d_state [B, H]
    of the state before step 0.
    """
    steps, rows, units = d_states.shape
    fill(d_state.ravel(), 0)
    for t in range(steps - 1, -1, -1):
        add(d_states[t].ravel(), d_state.ravel())
        by_head = d_heads[t].reshape(rows, d_heads.shape[2] // units, units)
        _interpolate_backward(activity[t], gated, d_state, by_head)
        if by_head.shape[1] == 4:
            _time_a_backward(periods[t], by_head)
        if heads.shape[1] > 0:
            d_z, weight = d_heads[t], heads
            for i in range(features.shape[0] - 1, -1, -1):
                multiply(d_z, weight, d_deeper[i, t])
                d_z, weight = d_deeper[i, t], deeper[i]
                _lecun_tanh_backward(features[i, t].ravel(), d_z.ravel())
            multiply(d_z, weight, d_first[t])
            _lecun_tanh_backward(first[t].ravel(), d_first[t].ravel())
        multiply(d_first[t], recurrent, d_state)
        _reset_rows(d_state, reset[t])


@lean
def step(weights, layers, depth, backbone, decay, gated, period, scale, maps, sizes, squash, shown, x, dt, h, action):
    """Advance h [B, H] in place, row by row, by the elapsed time dt [B] under the inputs x [B, I] / scale; then `act`.

    weights: the linear maps of all layers from `pack_linear`, in the order they are applied; layers [L, 3]: inputs, units,
    first neuron; depth and backbone: number and width of the backbone layers; decay [2, H] in mode "pure": rate and asymptote
    of each neuron, otherwise [2, 0].
    """
    widest = x.shape[1] + 4 * h.shape[1] + backbone + INPUT_TILE
    read, work = scratch((widest,), h.dtype), scratch((widest,), h.dtype)
    for b in range(x.shape[0]):
        divide(x[b], scale, read)
        at, elapsed = 0, dt[b] / period
        for i in range(layers.shape[0]):
            inputs, units, first = layers[i]
            own = h[b, first : first + units]
            copy(own, read[inputs : inputs + units])
            features = inputs + units
            for _ in range(depth):
                at = linear(weights, at, read, features, work, backbone)
                _lecun_tanh(work[:backbone])
                copy(work[:backbone], read)
                features = backbone
            if decay.size > 0:
                at = linear(weights, at, read, features, work, units)
                _decay(decay[:, first : first + units], elapsed, work[:units], own)
            else:
                at = linear(weights, at, read, features, work, 4 * units)
                _slide(elapsed, gated, work, own)
            copy(own, read)
    act(scale, maps, sizes, squash, shown, x, h, action)


def single(policy, observation, dt, state, action):
    """`step` of one vehicle, to be called `by_address`."""
    p = whole(policy)
    maps = singles(p, 3), by_rows(integers(p, 4), 3), integer(p, 5), integer(p, 6)
    decay, gated = singles(p, 7), integer(p, 8) != 0
    decay = view(decay, 0, (2, decay.size // 2), np.float32)
    step(*maps, decay, gated, *period_and_actor(p, 9), *vehicle(p, observation, dt, state, action))


@helper
def _slide(elapsed, gated, heads, own):
    """The new states of a layer [H] from its heads [4H] before their nonlinearities, which are overwritten."""
    units, half = own.size, own.dtype.type(0.5)
    for k in range(2 * units, 3 * units):
        heads[k] = half * (heads[k] * elapsed + heads[k + units])
    tanh_all(heads[: 3 * units])
    _interpolate(view(heads, 0, (1, 3, units), heads.dtype), gated, view(own, 0, (1, units), own.dtype))


@helper
def _decay(decay, elapsed, ff1, own):
    """The new states of a layer [H] in mode "pure": A - A exp(-(|w_tau| + |ff1|) elapsed) ff1."""
    for k in range(own.size):
        own[k] = decay[1, k] - decay[1, k] * math.exp(-elapsed * (decay[0, k] + abs(ff1[k]))) * ff1[k]


def check_options(
    wiring: Wiring,
    input_size: int,
    units: int,
    backbone_units: int | None,
    backbone_layers: int,
    mode: str,
    compat: str | None,
) -> None:
    """Raise a ValueError where these arguments of a CfC do not go together."""
    if (wiring.inputs, wiring.units) != (input_size, units):
        raise ValueError(
            f"the wiring has {wiring.inputs} inputs and {wiring.units} units, the cell {input_size} and {units}"
        )
    if backbone_units is not None and not (wiring.is_dense and backbone_units >= 1):
        raise ValueError(
            f"backbone_units must be a positive number on a dense wiring and None on a sparse one, got {backbone_units}"
        )
    if backbone_layers < 1:
        raise ValueError(
            f"backbone_layers must be at least 1, got {backbone_layers}; backbone_units=None is no backbone"
        )
    if mode not in MODES:
        raise ValueError(f"unknown mode {mode!r}; choose one of {', '.join(MODES)}")
    if compat not in (None, "ncps"):
        raise ValueError(f"compat must be None or 'ncps', got {compat!r}")


def prepare(config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> tuple[Any, ...]:
    """The leading arguments of `step`, from `CfC.config` and the parameters of the cell.

    Raises ValueError on an argument or a tensor that is missing, unknown or does not fit the others.
    """
    options = {key: value for key, value in config.items() if key not in ("cell", "period", "wiring")}
    sizes, mode = (config["input_size"], config["units"]), config["mode"]
    wiring = Wiring.dense(*sizes) if config["wiring"] is None else Wiring.from_dict(config["wiring"])
    check_options(wiring, **options)
    backbone = config["backbone_units"] or 0
    depth = config["backbone_layers"] if backbone else 0
    check_tensors(tensors, dict(_shapes(wiring, depth, backbone, mode)))
    parts: list[NDArray[Any]] = []
    decay = np.zeros((2, wiring.units if mode == "pure" else 0), next(iter(tensors.values())).dtype)
    for i, (synapses, neurons) in enumerate(zip(wiring.layer_synapses, wiring.layers, strict=True)):
        for name in _maps(i, depth):
            weight = tensors[f"{name}.weight"]
            if not synapses.all():
                weight = weight.copy()
                masked = len(weight) if config["compat"] is None else min(2 * len(neurons), len(weight))
                weight[:masked, : len(synapses)] *= np.tile(synapses.T, (masked // len(neurons), 1))
            parts.append(pack_linear(weight, tensors[f"{name}.bias"]))
        if mode == "pure":
            rate, asymptote = tensors[f"layers.{i}.w_tau"], tensors[f"layers.{i}.asymptote"]
            decay[:, neurons.start : neurons.stop] = np.abs(rate), asymptote
    layers = [
        (*synapses.shape, neurons.start) for synapses, neurons in zip(wiring.layer_synapses, wiring.layers, strict=True)
    ]
    return aligned(np.concatenate(parts)), np.array(layers), depth, backbone, decay, mode == "default"


def _maps(layer: int, depth: int) -> list[str]:
    """The names of a layer's linear maps, in the order they are applied."""
    backbone = ["backbone", *(f"deeper.{i}" for i in range(depth - 1))] if depth else []
    return [f"layers.{layer}.{name}" for name in (*backbone, "heads")]


def _shapes(wiring: Wiring, depth: int, backbone: int, mode: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The tensors of a cell and their shapes."""
    for i, synapses in enumerate(wiring.layer_synapses):
        features, units = sum(synapses.shape), synapses.shape[1]
        for name in _maps(i, depth):
            outputs = backbone if not name.endswith("heads") else units if mode == "pure" else 4 * units
            yield f"{name}.weight", (outputs, features)
            yield f"{name}.bias", (outputs,)
            features = outputs
        if mode == "pure":
            yield f"layers.{i}.w_tau", (units,)
            yield f"layers.{i}.asymptote", (units,)


def compile_for(dtype: str) -> None:
    """Compile, or load from the cache, the kernels for "float32" or "float64", by one step with one unit."""
    one, gate, activity = np.zeros((1, 1, 1), dtype), np.zeros((1, 3), dtype), np.zeros((1, 1, 3, 1), dtype)
    reset, z, heads = np.zeros((1, 1), np.bool_), np.zeros((1, 1, 1, 1), dtype), activity.reshape(1, 1, 3)
    weights = one[0], one[0, 0], one, one[0], gate.T.copy(), gate[0]
    forward(one, one[0], one[0, :, :0], reset, *weights, True, one.copy(), one, z, activity, gate)
    backward(one, one, one[0], reset, one[0], one, gate.T.copy(), True, z, activity, one, z, heads, one[0])
    layers, packed = np.array([[1, 1, 0]]), np.tile(pack_linear(np.zeros((4, 2), dtype), np.zeros(4, dtype)), 2)
    none = 1.0, *no_actor(1, dtype), np.zeros((1, 1)), np.ones(1), one[0], np.zeros((1, 0))
    step(packed, layers, 1, 1, np.zeros((2, 0), dtype), True, *none)
    if dtype == "float32":
        address_of(single)
