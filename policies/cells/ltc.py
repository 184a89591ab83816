"""The liquid time-constant cell."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..cell import Cell
from ..kernels.backend import check_backend, choose
from ..kernels.ltc import GATE_LIMIT, LEAST_CONDUCTANCE, SOLVERS
from ..wiring import Wiring
from .arrays import array, inverse_softplus, reset_array, softplus
from .threads import apply_in_blocks


class Synapses(nn.Module):
    """Conductance-based synapses: each opens with the potential before it and pulls the one behind it to its reversal potential.

    Parameters are matrices [sources, targets], as in ncps; entries without a synapse are not read. `weight` is the largest
    conductance before softplus.

    Parameters
    ----------
    polarity : int8 [sources, targets], the sign of the initial reversal potential, 0 where there is no synapse.
    """

    mask: Tensor

    def __init__(self, polarity: NDArray[np.int8]) -> None:
        super().__init__()
        shape = polarity.shape
        self.weight = nn.Parameter(inverse_softplus(torch.empty(shape).uniform_(0.001, 1.0)))
        self.reversal = nn.Parameter(torch.from_numpy(polarity.astype(np.float32)))
        self.slope = nn.Parameter(torch.empty(shape).uniform_(3.0, 8.0))
        self.threshold = nn.Parameter(torch.empty(shape).uniform_(0.3, 0.8))
        self.register_buffer("mask", torch.from_numpy(polarity != 0), persistent=False)
        targets, sources = np.nonzero(polarity.T)
        self.pairs = np.stack([sources, targets], 1).astype(np.int64)

    def forward(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """v [B, sources] -> the current without the target's own part, sum w s E, and the conductance, sum w s, [B, targets]."""
        opening = torch.sigmoid(self.slope * (v[:, :, None] - self.threshold))
        conductance = self.conductances() * opening
        return (conductance * self.reversal).sum(1), conductance.sum(1)

    def conductances(self) -> Tensor:
        """The largest conductance of each synapse, [sources, targets]."""
        return torch.where(self.mask, softplus(self.weight), 0.0)

    def coefficients(self) -> Tensor:
        """[S, 4], what `kernels.ltc` computes with, synapse by synapse in the order of `pairs`."""
        at = tuple(torch.from_numpy(self.pairs.T))
        slope, share = 0.5 * self.slope[at], 0.5 * softplus(self.weight[at])
        return torch.stack([slope, -slope * self.threshold[at], share * self.reversal[at], share], 1)


class LTC(Cell):
    """Liquid time-constant cell: neurons with membrane potential v, leak and conductance-based synapses.

        C dv/dt = g (E_leak - v) + sum_i w_i s_i (E_i - v),  s_i = sigmoid(slope_i (v_i - threshold_i))

    over the synapses i of a neuron, from other neurons with their potential v_i and from inputs, mapped by a gain and a bias
    each; time counts in periods. With the conductance G = g + sum w s and the current J = g E_leak + sum w s E, the neuron
    moves to J / G with the time constant C / G, which its inputs change. C, g and w are positive through softplus, so J / G
    stays between the leak and the reversal potentials, whatever the parameters. The output is the potential of the motor
    neurons, mapped by a gain and a bias each. Inputs are held during a step, which is `unfolds` substeps of the length d:

    - "semi_implicit", the fused solver: v' = (C v + d J) / (C + d G). Order 1. v' lies between v and J / G for any d: it is
      stable with any parameters.
    - "euler": v' = v + r (J / G - v), r = d G / C, order 1, and "rk4", the classical Runge-Kutta method on the same
      equation, order 4. Explicit steps explode where r is large, so here r is at most 1: a neuron that is faster than a
      substep is slowed down to it. v' then is a weighted mean of v and values of J / G, so both too are stable with any parameters,
      but they solve the equation only where d < C / G. As it is initialised, and driven by white noise of unit variance, a dense
      cell of 64 units needs about 40 unfolds a period for that, one on `Wiring.auto_ncp(18, 64, 4)` about 14.

    Sources: Hasani et al. 2021, "Liquid time-constant networks", doi:10.1609/aaai.v35i9.16936 (equation and fused solver);
    Lechner et al. 2020, "Neural circuit policies enabling auditable autonomy", doi:10.1038/s42256-020-00237-3 (synapses);
    parameters and initial values as in ncps 1.0.1.

    Parameters
    ----------
    input_size : number of inputs I.
    units : number of neurons H.
    wiring : a `Wiring` of the same sizes; its polarities are the initial reversal potentials. None: every synapse, two in
        three of them excitatory, `Wiring.random` without sparsity.
    solver : "semi_implicit", "euler" or "rk4".
    unfolds : substeps of a step.
    time_constants : shortest and longest initial time constant with all synapses half open, in periods: neurons are evenly
        spread between them on a logarithmic scale. None: capacitances between 0.4 and 0.6, as in ncps, with which half of the
        neurons of a dense cell of 64 units are faster than a fortieth of a period.
    period : nominal time between steps, s.
    backend : "numba" computes sequences with the semi-implicit solver on the CPU with compiled kernels, "torch" with a loop
        over `step`; "auto" takes numba where it works. Single steps, other solvers and other devices always use torch.

    Raises ValueError on sizes that disagree, time constants that are not positive and in order, or an unknown solver or backend.
    """

    def __init__(
        self,
        input_size: int,
        units: int,
        wiring: Wiring | None = None,
        solver: str = "semi_implicit",
        unfolds: int = 6,
        time_constants: tuple[float, float] | None = None,
        period: float = 0.02,
        backend: str = "auto",
    ) -> None:
        wiring = Wiring.random(input_size, units, sparsity=0.0) if wiring is None else wiring
        super().__init__(input_size, units, wiring.outputs, period)
        if (wiring.inputs, wiring.units) != (input_size, units):
            raise ValueError(
                f"the wiring has {wiring.inputs} inputs and {wiring.units} units, the cell {input_size} and {units}"
            )
        if solver not in SOLVERS:
            raise ValueError(f"unknown solver {solver!r}; choose one of {', '.join(SOLVERS)}")
        if unfolds < 1:
            raise ValueError(f"unfolds must be at least 1, got {unfolds}")
        if time_constants is not None and not 0.0 < time_constants[0] <= time_constants[1] < math.inf:
            raise ValueError(f"time_constants are the shortest and the longest, in periods, got {time_constants}")
        check_backend(backend)
        self.wiring = wiring
        self.solver, self.unfolds, self.backend = solver, unfolds, backend
        self.time_constants = None if time_constants is None else (time_constants[0], time_constants[1])
        self.input_gain, self.input_bias = nn.Parameter(torch.ones(input_size)), nn.Parameter(torch.zeros(input_size))
        self.sensory, self.recurrent = Synapses(wiring.sensory), Synapses(wiring.recurrent)
        self.leak_potential = nn.Parameter(torch.empty(units).uniform_(-0.2, 0.2))
        self.leak_conductance = nn.Parameter(inverse_softplus(torch.empty(units).uniform_(0.001, 1.0)))
        self.capacitance = nn.Parameter(inverse_softplus(self._initial_capacitance()))
        self.output_gain = nn.Parameter(torch.ones(wiring.outputs))
        self.output_bias = nn.Parameter(torch.zeros(wiring.outputs))

    @property
    def config(self) -> dict[str, Any]:
        return {
            "cell": "ltc",
            "input_size": self.input_size,
            "units": self.state_size,
            "wiring": self.wiring.to_dict(),
            "solver": self.solver,
            "unfolds": self.unfolds,
            "time_constants": None if self.time_constants is None else list(self.time_constants),
            "period": self.period,
        }

    def step(self, x: Tensor, h: Tensor, dt: Tensor | None = None) -> Tensor:
        periods = torch.ones_like(h[:, :1]) if dt is None else (dt / self.period).to(h.dtype)[:, None]
        sensed = self._sense(x)
        for _ in range(self.unfolds):
            h = self._unfold(h, sensed, periods / self.unfolds)
        return h

    def gates(self, x: Tensor, h: Tensor, dt: Tensor | None = None) -> dict[str, Tensor]:
        """The part of each neuron's conductance that is open before the step, of what there is with all synapses open."""
        most = self._conductance(1.0)
        return {"conductance": self._drive(h, self._sense(x))[1] / most}

    def output(self, h: Tensor) -> Tensor:
        return h[..., : self.output_size] * self.output_gain + self.output_bias

    def states(self, x: Tensor, h: Tensor, dt: Tensor | None, reset: Tensor | None) -> Tensor:
        kernels = choose(self.backend, "ltc", x) if self.solver == "semi_implicit" else None
        if kernels is None:
            return super().states(x, h, dt, reset)
        periods = x.new_ones(x.shape[:2]) if dt is None else (dt / self.period).to(x.dtype)
        inputs = x * self.input_gain + self.input_bias
        leak = softplus(self.leak_conductance)
        neurons = torch.stack([softplus(self.capacitance), leak * self.leak_potential, leak + LEAST_CONDUCTANCE])
        pairs = self.sensory.pairs, self.recurrent.pairs
        coefficients = self.sensory.coefficients(), self.recurrent.coefficients()
        axes = None, None, None, 1, 0, 1, 1, None, None, None
        arguments = kernels, pairs, self.unfolds, inputs, h, periods / self.unfolds, reset, *coefficients, neurons
        return apply_in_blocks(_Sequence, self.threads, axes, *arguments)

    def _sense(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Current and conductance [B, H] without the synapses between the neurons."""
        current, conductance = self.sensory(x * self.input_gain + self.input_bias)
        leak = softplus(self.leak_conductance)
        return current + leak * self.leak_potential, conductance + leak + LEAST_CONDUCTANCE

    def _drive(self, v: Tensor, sensed: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Current J and conductance G at the potentials v, [B, H]."""
        current, conductance = self.recurrent(v)
        return sensed[0] + current, sensed[1] + conductance

    def _unfold(self, v: Tensor, sensed: tuple[Tensor, Tensor], elapsed: Tensor) -> Tensor:
        """One substep of elapsed [B, 1] periods."""
        if self.solver == "semi_implicit":
            current, conductance = self._drive(v, sensed)
            capacitance = softplus(self.capacitance)
            return (capacitance * v + elapsed * current) / (capacitance + elapsed * conductance)
        first = self._increment(v, sensed, elapsed)
        if self.solver == "euler":
            return v + first
        second = self._increment(v + 0.5 * first, sensed, elapsed)
        third = self._increment(v + 0.5 * second, sensed, elapsed)
        fourth = self._increment(v + third, sensed, elapsed)
        return v + (first + 2.0 * (second + third) + fourth) / 6.0

    def _increment(self, v: Tensor, sensed: tuple[Tensor, Tensor], elapsed: Tensor) -> Tensor:
        """elapsed dv/dt, with rates of at most one per substep."""
        current, conductance = self._drive(v, sensed)
        rate = (elapsed * conductance / softplus(self.capacitance)).clamp(max=1.0)
        return rate * (current / conductance - v)

    def _initial_capacitance(self) -> Tensor:
        if self.time_constants is None:
            return torch.empty(self.state_size).uniform_(0.4, 0.6)
        shortest, longest = self.time_constants
        tau = torch.linspace(math.log(shortest), math.log(longest), self.state_size).exp()
        with torch.no_grad():
            return tau * self._conductance(0.5)

    def _conductance(self, opening: float) -> Tensor:
        """Of each neuron [H], with all synapses opened alike."""
        synaptic = self.sensory.conductances().sum(0) + self.recurrent.conductances().sum(0)
        return softplus(self.leak_conductance) + opening * synaptic


class _Sequence(torch.autograd.Function):
    """`LTC.states` on the kernels; `kernels.ltc` describes the arrays."""

    @staticmethod
    def forward(
        ctx: Any,
        kernels: ModuleType,
        pairs: tuple[NDArray[np.int64], NDArray[np.int64]],
        unfolds: int,
        x: Tensor,
        state: Tensor,
        elapsed: Tensor,
        reset: Tensor | None,
        sensory: Tensor,
        recurrent: Tensor,
        neurons: Tensor,
    ) -> Tensor:
        steps, rows, units = *elapsed.shape, state.shape[1]
        inputs, times, per_neuron = array(x.flatten(0, 1).T), array(elapsed), array(neurons)
        resets, limit = reset_array(reset, steps, rows), inputs.dtype.type(GATE_LIMIT)
        sensed = np.empty((2, units, steps * rows), inputs.dtype)
        potentials = np.empty((steps, unfolds + 1, units, rows), inputs.dtype)
        inverse = np.empty((steps, unfolds, units, rows), inputs.dtype)
        rates = np.empty_like(inverse) if ctx.needs_input_grad[5] else inverse[:0]
        ctx.sensory = inputs, pairs[0], array(sensory), per_neuron, limit
        ctx.recurrent = times, resets, pairs[1], array(recurrent), per_neuron, limit
        ctx.kernels, ctx.record = kernels, (potentials, inverse, rates)
        kernels.sense(*ctx.sensory, *sensed)
        kernels.forward(*sensed.reshape(2, units, steps, rows), array(state.T), *ctx.recurrent, *ctx.record)
        return torch.from_numpy(potentials[:, -1].transpose(0, 2, 1).copy())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_states: Tensor) -> tuple[Tensor | None, ...]:
        inputs, _, sensory, neurons, _ = ctx.sensory
        elapsed, _, _, recurrent, _, _ = ctx.recurrent
        d_x, d_sensory, d_neurons, d_elapsed, d_recurrent = map(
            np.zeros_like, (inputs, sensory, neurons, elapsed, recurrent)
        )
        steps, rows, units = d_states.shape
        d_sensed = np.zeros((2, units, steps, rows), inputs.dtype)
        d_state = np.zeros((units, rows), inputs.dtype)
        ctx.kernels.backward(
            array(d_states.transpose(1, 2)),
            *ctx.recurrent,
            *ctx.record,
            *d_sensed,
            d_state,
            d_elapsed,
            d_recurrent,
            d_neurons,
        )
        ctx.kernels.sense_backward(*ctx.sensory, *d_sensed.reshape(2, units, -1), d_x, d_sensory, d_neurons)
        gradients = [
            torch.from_numpy(each)
            for each in (d_x.T.reshape(steps, rows, -1), d_state.T, d_elapsed, d_sensory, d_recurrent, d_neurons)
        ]
        return None, None, None, *gradients[:3], None, *gradients[3:]
