"""The liquid time-constant cell over a sequence, forward and backward, and one step; numpy and numba only.

Arrays are C-ordered float32 or float64 with the batch last, T steps, B rows, I inputs, H units, S synapses, K unfolds:

    synapses     [S, 2]        number of the source and of the target of each
    coefficients [S, 4]        slope and offset of its gate's argument, half its weight times its reversal potential, half its weight
    neurons      [3, H]        membrane capacitance, and what is there without synapses: current, and conductance (positive)
    elapsed      [T, B]        duration of one unfold in units of the period
    reset        [T, B]        nonzero where the state is zeroed before the step

A synapse opens by gate(slope v + offset) = 2 sigmoid(2 (slope v + offset)). The limit of the gate's argument is an argument of all
functions, because LLVM makes worse code of a constant one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..wiring import Wiring
from .actor import act
from .arithmetic import INPUT_TILE, add, copy, divide, fill
from .backend import check_tensors, helper, kernel, lean, numba
from .by_address import address_of, period_and_actor, vehicle, whole
from .packed import by_rows, integer, integers, real, singles
from .views import scratch, view

SOLVERS = ("semi_implicit", "euler", "rk4")
#: The parameters of a synapse.
SYNAPSE = ("weight", "reversal", "slope", "threshold")
#: Added to every conductance, as in ncps: all conductances of a neuron may underflow together.
LEAST_CONDUCTANCE = 1e-8

# tanh(x) = x P(x^2) / Q(x^2) on |x| <= 7, fitted for the smallest largest error, 1e-6; it never reaches 1, so gates are positive.
GATE_LIMIT = 7.0
_P0, _P1, _P2 = np.float32(0.9999954556417896), np.float32(0.12300440443736481), np.float32(0.0022755412049289287)
_P3, _Q1 = np.float32(3.923936497763643e-06), np.float32(0.4563224331309473)
_Q2, _Q3 = np.float32(0.02106513130932832), np.float32(0.00014220198488842754)
_ONE = np.float32(1.0)


def gate(x, limit):
    """1 + tanh(x): float32 to 1.3e-6 by a rational function that vectorises, float64 exactly."""
    return 1.0 + math.tanh(x)


if numba is not None:

    @numba.extending.overload(gate, inline="always")
    def _gate(x, limit):
        if x != numba.types.float32:
            return lambda x, limit: 1.0 + math.tanh(x)

        def rational(x, limit):
            # comparisons written so that NaN passes through
            x = -limit if x < -limit else x  # noqa: FURB136
            x = limit if x > limit else x  # noqa: FURB136
            u = x * x
            q = ((_Q3 * u + _Q2) * u + _Q1) * u + _ONE
            return (x * (((_P3 * u + _P2) * u + _P1) * u + _P0) + q) / q

        return rational


# The loops below take whole arrays and indices: a slice costs a reference count, which is as much as a row of arithmetic.


@helper
def _open(source, synapses, coefficients, limit, current, conductance):
    """Add what the synapses from source [., N] let through to current and conductance [H, N]."""
    for s in range(synapses.shape[0]):
        i, j = synapses[s, 0], synapses[s, 1]
        slope, offset, drive, weight = coefficients[s, 0], coefficients[s, 1], coefficients[s, 2], coefficients[s, 3]
        for b in range(source.shape[1]):
            opening = gate(slope * source[i, b] + offset, limit)
            current[j, b] += drive * opening
            conductance[j, b] += weight * opening


@helper
def _open_backward(source, synapses, coefficients, limit, d_current, d_conductance, d_source, d_coefficients):
    """Add to the gradients d_source [., N] and d_coefficients [S, 4]."""
    two = source.dtype.type(2)
    for s in range(synapses.shape[0]):
        i, j = synapses[s, 0], synapses[s, 1]
        slope, offset, drive, weight = coefficients[s, 0], coefficients[s, 1], coefficients[s, 2], coefficients[s, 3]
        by_slope = by_offset = by_drive = by_weight = source.dtype.type(0)
        for b in range(source.shape[1]):
            opening = gate(slope * source[i, b] + offset, limit)
            d_argument = (drive * d_current[j, b] + weight * d_conductance[j, b]) * (opening * (two - opening))
            d_source[i, b] += slope * d_argument
            by_slope += d_argument * source[i, b]
            by_offset += d_argument
            by_drive += d_current[j, b] * opening
            by_weight += d_conductance[j, b] * opening
        d_coefficients[s, 0] += by_slope
        d_coefficients[s, 1] += by_offset
        d_coefficients[s, 2] += by_drive
        d_coefficients[s, 3] += by_weight


@kernel
def sense(x, synapses, coefficients, neurons, limit, current, conductance):
    """What reaches the neurons without each other, at all steps: inputs x [I, T B] -> current and conductance [H, T B]."""
    for j in range(current.shape[0]):
        for b in range(current.shape[1]):
            current[j, b] = neurons[1, j]
        for b in range(current.shape[1]):
            conductance[j, b] = neurons[2, j]
    _open(x, synapses, coefficients, limit, current, conductance)


@kernel
def sense_backward(x, synapses, coefficients, neurons, limit, d_current, d_conductance, d_x, d_coefficients, d_neurons):
    """Adds to the gradients d_x [I, T B], d_coefficients [S, 4] and d_neurons [3, H]."""
    for j in range(d_current.shape[0]):
        by_current = by_conductance = d_neurons.dtype.type(0)
        for b in range(d_current.shape[1]):
            by_current += d_current[j, b]
            by_conductance += d_conductance[j, b]
        d_neurons[1, j] += by_current
        d_neurons[2, j] += by_conductance
    _open_backward(x, synapses, coefficients, limit, d_current, d_conductance, d_x, d_coefficients)


@kernel
def forward(
    sensed_current,
    sensed_conductance,
    state,
    elapsed,
    reset,
    synapses,
    coefficients,
    neurons,
    limit,
    potentials,
    inverse,
    rates,
):
    """Run T steps of K semi-implicit unfolds from state [H, B] under what was sensed, [H, T, B] each.

    Writes potentials [T, K + 1, H, B] before each unfold and after the last, inverse [T, K, H, B] of the denominators, and, where it
    is not empty, rates [T, K, H, B] = d potential / d elapsed.
    """
    steps, unfolds, units, rows = inverse.shape
    current, conductance = np.empty_like(state), np.empty_like(state)
    for t in range(steps):
        before = state if t == 0 else potentials[t - 1, unfolds]
        _enter(before, reset, t, potentials)
        for k in range(unfolds):
            for j in range(units):
                for b in range(rows):
                    current[j, b] = sensed_current[j, t, b]
                for b in range(rows):
                    conductance[j, b] = sensed_conductance[j, t, b]
            _open(potentials[t, k], synapses, coefficients, limit, current, conductance)
            _advance(current, conductance, elapsed, t, k, neurons, potentials, inverse)
            if rates.size > 0:
                _differentiate(current, conductance, t, k, potentials, inverse, rates)


@helper
def _enter(before, reset, t, potentials):
    for j in range(before.shape[0]):
        for b in range(before.shape[1]):
            # not a product: a state that is not finite is forgotten as well
            potentials[t, 0, j, b] = 0 if reset[t, b] else before[j, b]


@helper
def _advance(current, conductance, elapsed, t, k, neurons, potentials, inverse):
    """v' = (C v + elapsed current) / (C + elapsed conductance)."""
    one = neurons.dtype.type(1)
    for j in range(current.shape[0]):
        capacitance = neurons[0, j]
        for b in range(current.shape[1]):
            inverse[t, k, j, b] = one / (capacitance + elapsed[t, b] * conductance[j, b])
        for b in range(current.shape[1]):
            charge = capacitance * potentials[t, k, j, b] + elapsed[t, b] * current[j, b]
            potentials[t, k + 1, j, b] = charge * inverse[t, k, j, b]


@helper
def _differentiate(current, conductance, t, k, potentials, inverse, rates):
    for j in range(current.shape[0]):
        for b in range(current.shape[1]):
            rates[t, k, j, b] = (current[j, b] - potentials[t, k + 1, j, b] * conductance[j, b]) * inverse[t, k, j, b]


@kernel
def backward(
    d_states,
    elapsed,
    reset,
    synapses,
    coefficients,
    neurons,
    limit,
    potentials,
    inverse,
    rates,
    d_sensed_current,
    d_sensed_conductance,
    d_state,
    d_elapsed,
    d_coefficients,
    d_neurons,
):
    """Back-propagate the gradient of the states [T, H, B] through T steps.

    Adds to the gradients, which start from zero: d_sensed_* [H, T, B], d_state [H, B] of the state before step 0, d_elapsed
    [T, B] where rates is not empty, d_coefficients [S, 4], d_neurons [3, H], of which only the capacitance.
    """
    steps, unfolds, units, rows = inverse.shape
    d_current, d_conductance = np.empty_like(d_state), np.empty_like(d_state)
    for t in range(steps - 1, -1, -1):
        for j in range(units):
            for b in range(rows):
                d_state[j, b] += d_states[t, j, b]
        for k in range(unfolds - 1, -1, -1):
            if rates.size > 0:
                for j in range(units):
                    for b in range(rows):
                        d_elapsed[t, b] += d_state[j, b] * rates[t, k, j, b]
            _retreat(elapsed, t, k, neurons, potentials, inverse, d_state, d_current, d_conductance, d_neurons)
            for j in range(units):
                for b in range(rows):
                    d_sensed_current[j, t, b] += d_current[j, b]
                for b in range(rows):
                    d_sensed_conductance[j, t, b] += d_conductance[j, b]
            before = potentials[t, k]
            _open_backward(before, synapses, coefficients, limit, d_current, d_conductance, d_state, d_coefficients)
        for b in range(rows):
            if reset[t, b]:
                for j in range(units):
                    d_state[j, b] = 0


@helper
def _retreat(elapsed, t, k, neurons, potentials, inverse, d_state, d_current, d_conductance, d_neurons):
    """Back through `_advance`: d_state becomes that of the potential before it, as far as no synapse is passed."""
    for j in range(d_state.shape[0]):
        capacitance, by_capacitance = neurons[0, j], neurons.dtype.type(0)
        for b in range(d_state.shape[1]):
            d_state[j, b] *= inverse[t, k, j, b]
        for b in range(d_state.shape[1]):
            by_capacitance += d_state[j, b] * (potentials[t, k, j, b] - potentials[t, k + 1, j, b])
        for b in range(d_state.shape[1]):
            d_current[j, b] = d_state[j, b] * elapsed[t, b]
        for b in range(d_state.shape[1]):
            d_conductance[j, b] = -d_current[j, b] * potentials[t, k + 1, j, b]
        for b in range(d_state.shape[1]):
            d_state[j, b] *= capacitance
        d_neurons[0, j] += by_capacitance


def prepare(config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> tuple[Any, ...]:
    """The leading arguments of `step`, from `LTC.config` and its parameters. Raises ValueError on a wrong name, shape or solver.

    weights [2, 4, H, W] hold the coefficients of the synapses of each neuron, first those from inputs, then those from neurons,
    with zeros where there is none; reach [2, H] tells up to which source to read, in whole tiles: vector loops over those leave no
    scalar remainder; then neurons [3, H].
    """
    inputs, units = config["input_size"], config["units"]
    if config["solver"] not in SOLVERS:
        raise ValueError(f"unknown solver {config['solver']!r}; choose one of {', '.join(SOLVERS)}")
    wiring = Wiring.from_dict(config["wiring"])
    shapes: dict[str, tuple[int, ...]] = {"input_gain": (inputs,), "input_bias": (inputs,)}
    shapes |= {"output_gain": (wiring.outputs,), "output_bias": (wiring.outputs,)}
    shapes |= {name: (units,) for name in ("capacitance", "leak_conductance", "leak_potential")}
    for name, count in (("sensory", inputs), ("recurrent", units)):
        shapes |= {f"{name}.{each}": (count, units) for each in SYNAPSE}
    check_tensors(tensors, shapes)
    leak = _softplus(tensors["leak_conductance"])
    current = leak * tensors["leak_potential"]
    neurons = np.stack([_softplus(tensors["capacitance"]), current, leak + leak.dtype.type(LEAST_CONDUCTANCE)])
    weights = np.zeros((2, 4, units, _whole_tiles(max(inputs, units))), leak.dtype)
    reach = np.zeros((2, units), np.int64)
    parts = (
        ("sensory", wiring.sensory != 0, tensors["input_gain"], tensors["input_bias"]),
        ("recurrent", wiring.recurrent != 0, np.ones_like(leak), np.zeros_like(leak)),
    )
    for part, (name, mask, gain, bias) in enumerate(parts):
        weight, reversal, slope, threshold = (tensors[f"{name}.{each}"] for each in SYNAPSE)
        slope, share = slope / 2, _softplus(weight) / 2
        packed = np.stack([slope * gain[:, None], slope * (bias[:, None] - threshold), share * reversal, share])
        weights[part, :, :, : len(mask)] = (packed * mask).transpose(0, 2, 1)
        reach[part] = _whole_tiles(np.where(mask.any(0), len(mask) - np.argmax(mask[::-1], 0), 0))
    limit = leak.dtype.type(GATE_LIMIT)
    return weights, reach, neurons, SOLVERS.index(config["solver"]), int(config["unfolds"]), limit


def output_map(config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Gain and bias [O] between the potentials of the motor neurons and the output."""
    return tensors["output_gain"], tensors["output_bias"]


def _whole_tiles(count: Any) -> Any:
    return -(-count // INPUT_TILE) * INPUT_TILE


def _softplus(x: NDArray[Any]) -> NDArray[Any]:
    return np.logaddexp(x.dtype.type(0), x)


@lean
def step(weights, reach, neurons, solver, unfolds, limit, period, scale, maps, sizes, squash, shown, x, dt, h, action):
    """Advance h [B, H] in place, row by row, by the elapsed time dt [B] under the inputs x [B, I] / scale; then `act`."""
    units = h.shape[1]
    circuit, inputs, v = (
        (weights, reach, limit),
        scratch((weights.shape[3],), h.dtype),
        scratch((weights.shape[3],), h.dtype),
    )
    sensed, total = scratch(neurons.shape, h.dtype), scratch(neurons.shape, h.dtype)
    increments = scratch((4, units), h.dtype)
    fill(inputs, 0)
    fill(v, 0)
    for b in range(h.shape[0]):
        elapsed = h.dtype.type(dt[b] / period / unfolds)
        divide(x[b], scale, inputs)
        _listen(circuit, 0, inputs, neurons, sensed)
        copy(h[b], v)
        for _ in range(unfolds):
            if solver == 0:
                _listen(circuit, 1, v, sensed, total)
                _relax(total, elapsed, v)
            elif solver == 1:
                _increment(circuit, v, sensed, elapsed, total, increments[0])
                add(increments[0], v[:units])
            else:
                _runge_kutta(circuit, v, sensed, elapsed, total, increments)
        copy(v[:units], h[b])
    act(scale, maps, sizes, squash, shown, x, h, action)


def single(policy, observation, dt, state, action):
    """`step` of one vehicle, to be called `by_address`."""
    p = whole(policy)
    units = integer(p, 1)
    weights, reach = singles(p, 3), by_rows(integers(p, 4), units)
    weights = view(weights, 0, (2, 4, units, weights.size // (8 * units)), np.float32)
    neurons, limit = view(singles(p, 5), 0, (3, units), np.float32), np.float32(real(p, 8))
    numbers = integer(p, 6), integer(p, 7), limit
    step(weights, reach, neurons, *numbers, *period_and_actor(p, 9), *vehicle(p, observation, dt, state, action))


@helper
def _listen(circuit, part, v, base, total):
    """total [3, H]: capacitance, current and conductance of the base, and what the synapses from v let through added."""
    weights, reach, limit = circuit
    for j in range(total.shape[1]):
        current = conductance = v.dtype.type(0)
        for i in range(reach[part, j]):
            opening = gate(weights[part, 0, j, i] * v[i] + weights[part, 1, j, i], limit)
            current += weights[part, 2, j, i] * opening
            conductance += weights[part, 3, j, i] * opening
        total[0, j] = base[0, j]
        total[1, j] = base[1, j] + current
        total[2, j] = base[2, j] + conductance


@helper
def _relax(total, elapsed, v):
    """The semi-implicit unfold."""
    for j in range(total.shape[1]):
        v[j] = (total[0, j] * v[j] + elapsed * total[1, j]) / (total[0, j] + elapsed * total[2, j])


@helper
def _increment(circuit, v, sensed, elapsed, total, increment):
    """elapsed dv/dt, with rates of at most one per unfold."""
    one = v.dtype.type(1)
    _listen(circuit, 1, v, sensed, total)
    for j in range(total.shape[1]):
        rate = elapsed * total[2, j] / total[0, j]
        rate = one if rate > one else rate  # noqa: FURB136 - NaN passes through
        increment[j] = rate * (total[1, j] / total[2, j] - v[j])


@helper
def _runge_kutta(circuit, v, sensed, elapsed, total, increments):
    one, half, two, six = v.dtype.type(1), v.dtype.type(0.5), v.dtype.type(2), v.dtype.type(6)
    stage = scratch(v.shape, v.dtype)
    copy(v, stage)
    for s in range(4):
        _increment(circuit, stage, sensed, elapsed, total, increments[s])
        share = one if s == 2 else half
        for j in range(total.shape[1]):
            stage[j] = v[j] + share * increments[s, j]
    for j in range(total.shape[1]):
        v[j] += (increments[0, j] + two * (increments[1, j] + increments[2, j]) + increments[3, j]) / six


def compile_for(dtype: str) -> None:
    """Compile, or load from the cache, the kernels for "float32" or "float64", by one step with one neuron and one synapse."""

    def zeros(*shape: int) -> NDArray[Any]:
        return np.zeros(shape, dtype)

    synapse, neurons, reset = np.zeros((1, 2), np.int64), np.ones((3, 1), dtype), np.zeros((1, 1), np.bool_)
    limit = np.dtype(dtype).type(GATE_LIMIT)
    graph = synapse, zeros(1, 4), neurons, limit
    sense(zeros(1, 1), *graph, zeros(1, 1), zeros(1, 1))
    record = zeros(1, 2, 1, 1), zeros(1, 1, 1, 1), zeros(1, 1, 1, 1)
    forward(zeros(1, 1, 1), zeros(1, 1, 1), zeros(1, 1), zeros(1, 1), reset, *graph, *record)
    d_neurons = zeros(3, 1)
    backward(
        zeros(1, 1, 1),
        zeros(1, 1),
        reset,
        *graph,
        *record,
        zeros(1, 1, 1),
        zeros(1, 1, 1),
        zeros(1, 1),
        zeros(1, 1),
        zeros(1, 4),
        d_neurons,
    )
    sense_backward(zeros(1, 1), *graph, zeros(1, 1), zeros(1, 1), zeros(1, 1), zeros(1, 4), d_neurons)
    if dtype == "float32":
        address_of(single)
