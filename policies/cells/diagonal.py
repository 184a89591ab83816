"""The diagonal liquid cell, whose exact online gradient costs no more than its step."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..cell import Cell
from ..kernels.backend import check_backend, choose
from .arrays import array, inverse_softplus, reset_array, softplus
from .threads import apply_in_blocks

# the share of a neuron's rate at rest that no input can take away
LEAK_SHARE = 0.1


class Diagonal(Cell):
    """Liquid neurons that each listen to the inputs and to themselves: the recurrence is diagonal.

    dh/dt = -(1/tau + f) (h - A),  f = softplus(z),  z = W_z x + u_z h + b_z,  A = tanh(W_A x + u_A h + b_A)

    with u_z, u_A, tau [H], and 1/tau = softplus(leak). The rate 1/tau + f is the inverse of an input-dependent time constant, at
    most tau; A is where the neuron is driven to. A step is the exact solution of this equation with f and A held at the
    values they have before the step,

    h' = h + (1 - exp(-(1/tau + f) dt / period)) (A - h),

    so h' lies between h and A whatever the parameters and however long the step: states that start in [-1, 1] stay there.
    With u_z = u_A = 0 and a constant input two steps of dt / 2 are one of dt; else the second one reads a new state. After one
    period exp(-f) = sigmoid(-z), and with 1/tau = 0 the cell is a GRU without reset gate and with a diagonal recurrence.

    Because state k depends on the past through itself alone, dh_k/dtheta is zero for the parameters of all other neurons:
    exact real-time recurrent learning carries H (2I + 5) numbers, one a parameter, instead of H times as many. See
    `undrift.policies.online.DiagonalRTRL`. The neurons have no synapses between them, so there is no wiring to choose. Input weights
    start normally distributed with a variance of 1 / I, feedback at zero.

    Sources: the equation Hasani et al. 2021, "Liquid time-constant networks", doi:10.1609/aaai.v35i9.16936, with the asymptote
    and the exponential of Hasani et al. 2022, doi:10.1038/s42256-022-00556-7; the diagonal recurrence and its online gradient
    Mozer 1989, "A focused backpropagation algorithm for temporal pattern recognition"; Javed et al. 2023, "Scalable real-time
    recurrent learning using columnar-constructive networks", arXiv:2302.05326; Zucchet et al. 2023, "Online learning of long-range
    dependencies", arXiv:2305.15947.

    Parameters
    ----------
    input_size : number of inputs I.
    units : number of neurons H; all of them are outputs.
    time_constants : shortest and longest time constant at rest, z = b_z, in periods: the neurons start evenly spread between
        them on a logarithmic scale. A tenth of each rate is 1/tau, so that inputs can make a time constant ten times as long.
    period : nominal time between steps, s.
    backend : "numba" computes sequences on the CPU with compiled kernels, "torch" with a loop over `step`; "auto" takes numba
        where it works. Single steps and other devices always use torch.

    Raises ValueError on time constants that are not positive and in order, or an unknown backend.
    """

    def __init__(
        self,
        input_size: int,
        units: int,
        time_constants: tuple[float, float] = (1.0, 100.0),
        period: float = 0.02,
        backend: str = "auto",
    ) -> None:
        super().__init__(input_size, units, units, period)
        check_backend(backend)
        shortest, longest = time_constants
        if not 0.0 < shortest <= longest < math.inf:
            raise ValueError(f"time_constants are the shortest and the longest, in periods, got {time_constants}")
        self.time_constants = shortest, longest
        self.backend = backend
        self.input = nn.Linear(input_size, 2 * units)
        self.feedback = nn.Parameter(torch.zeros(2, units))
        rate = torch.linspace(-math.log(shortest), -math.log(longest), units).exp()
        self.leak = nn.Parameter(inverse_softplus(LEAK_SHARE * rate))
        with torch.no_grad():
            self.input.weight.normal_(std=input_size**-0.5)
            self.input.bias.copy_(torch.cat([inverse_softplus((1.0 - LEAK_SHARE) * rate), torch.zeros(units)]))

    @property
    def config(self) -> dict[str, Any]:
        return {
            "cell": "diagonal",
            "input_size": self.input_size,
            "units": self.state_size,
            "time_constants": list(self.time_constants),
            "period": self.period,
        }

    def step(self, x: Tensor, h: Tensor, dt: Tensor | None = None) -> Tensor:
        gain, target = self._activate(x, h, dt)
        return torch.lerp(h, target, gain)

    def gates(self, x: Tensor, h: Tensor, dt: Tensor | None = None) -> dict[str, Tensor]:
        """The share of the way to its target that each neuron goes, 1 - exp(-(1/tau + f) dt / period)."""
        return {"update": self._activate(x, h, dt)[0]}

    def states(self, x: Tensor, h: Tensor, dt: Tensor | None, reset: Tensor | None) -> Tensor:
        kernels = choose(self.backend, "diagonal", x)
        if kernels is None:
            return super().states(x, h, dt, reset)
        periods = x.new_ones(x.shape[:2]) if dt is None else (dt / self.period).to(x.dtype)
        shared = self.feedback, softplus(self.leak)
        axes = None, 1, 0, None, None, 1, 1
        return apply_in_blocks(_Sequence, self.threads, axes, kernels, self.input(x), h, *shared, periods, reset)

    def _activate(self, x: Tensor, h: Tensor, dt: Tensor | None) -> tuple[Tensor, Tensor]:
        """The share of the way to its target that each neuron goes, and the target, [B, H]."""
        z, target = self.input(x).chunk(2, 1)
        rate = softplus(self.leak) + softplus(z + self.feedback[0] * h)
        if dt is not None:
            rate = rate * (dt / self.period).to(x.dtype)[:, None]
        return -torch.expm1(-rate), torch.tanh(target + self.feedback[1] * h)


class _Sequence(torch.autograd.Function):
    """`Diagonal.states` on the kernels; `kernels.diagonal` describes the arrays."""

    @staticmethod
    def forward(
        ctx: Any,
        kernels: Any,
        drive: Tensor,
        state: Tensor,
        feedback: Tensor,
        leak: Tensor,
        periods: Tensor,
        reset: Tensor | None,
    ) -> Tensor:
        steps, rows, units = *drive.shape[:2], state.shape[1]
        states = torch.empty(steps, rows, units, dtype=drive.dtype)
        activity = np.empty((steps, rows, 3, units), states.numpy().dtype)
        resets = reset_array(reset, steps, rows)
        heads = array(drive).reshape(steps, rows, 2, units)
        kernels.forward(
            heads, array(state), array(feedback), array(leak), array(periods), resets, states.numpy(), activity
        )
        ctx.kernels, ctx.arrays = kernels, (activity, resets)
        ctx.save_for_backward(drive, state, feedback, leak, periods, states)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_states: Tensor) -> tuple[Tensor | None, ...]:
        drive, state, feedback, leak, periods, states = ctx.saved_tensors
        activity, resets = ctx.arrays
        steps, rows, units = states.shape
        d_drive, d_state, d_feedback = torch.empty_like(drive), torch.empty_like(state), torch.empty_like(feedback)
        d_exponent = torch.empty_like(states)
        ctx.kernels.backward(
            *map(array, (d_states, state, states, feedback, periods)),
            resets,
            activity,
            d_drive.numpy().reshape(steps, rows, 2, units),
            *(gradient.numpy() for gradient in (d_feedback, d_exponent, d_state)),
        )
        d_leak = torch.mv(d_exponent.flatten(0, 1).T, periods.flatten())
        d_periods = None
        if ctx.needs_input_grad[5]:
            before = torch.cat([state[None], states[:-1]])
            before = before.masked_fill(torch.from_numpy(resets)[..., None], 0.0)
            rate = leak + softplus(drive[..., :units] + feedback[0] * before)
            d_periods = (d_exponent * rate).sum(2)
        return None, d_drive, d_state, d_feedback, d_leak, d_periods, None
