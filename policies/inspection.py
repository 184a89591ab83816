"""Reading a cell: what its states, time constants and gates do over a sequence, and how far back its gradients reach."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .cell import Cell


@dataclass(frozen=True)
class Trace:
    """What a cell did over a sequence of T steps of B rows.

    states : [T, B, H] after each step.
    time_constants : [T, B, H] effective time constant of each state variable, s. See `trace`.
    gates : the cell's own gates by name, each [T, B, units]; see `Cell.gates`.
    """

    states: Tensor
    time_constants: Tensor
    gates: dict[str, Tensor]


@dataclass(frozen=True)
class GradientHorizon:
    """How the gradient of a last output shrinks with its distance to the state.

    norms : [K + 1] root mean square over rows of the Frobenius norm of dy_T / dh_{T-k}, k = 0 ... K.
    elapsed : [K + 1] mean time from T - k to T, s.
    steps, seconds : the first k, and its time, at which the norm is below the share of that at k = 0; inf where it never is.
    """

    norms: Tensor
    elapsed: Tensor
    steps: float
    seconds: float


def trace(cell: Cell, x: Tensor, dt: Tensor | None = None, h: Tensor | None = None) -> Trace:
    """Run a cell over a sequence and record its states, effective time constants and gates.

    The effective time constant of state variable k is the time over which a small disturbance of it alone decays by 1/e,

        tau_k = -dt / log|dh'_k / dh_k|,

    from the derivative of the step that was taken: one definition for every cell, with or without a differential equation.
    Where the derivative is zero tau is 0, where it is at least 1 in magnitude (no decay) inf. For a linear leak it is the
    leak's time constant, for a neuron of Hasani et al. 2021, "Liquid time-constant networks", the liquid time constant
    1 / (1/tau + f), as long as the neuron does not feed itself. What a disturbance does by way of other neurons it leaves out;
    `gradient_horizon` counts it.

    x [T, B, I], dt [T, B] elapsed times in s (None: one period each), h [B, H] state before the first step (None: zeros).
    Raises ValueError on a wrong shape.
    """
    h = cell.initial_state(x.shape[1]) if h is None else h
    with torch.no_grad():
        states = _states(cell, x, h, dt)
        rows, before, elapsed = _steps(cell, x, h, dt, states)
        retained = torch.diagonal(_transitions(cell, rows, before, elapsed), dim1=1, dim2=2).abs()
        tau = -elapsed[:, None] / torch.log(retained)
        time_constants = torch.where(retained < 1.0, tau, math.inf).view_as(states)
        gates = cell.gates(rows, before, elapsed)
    return Trace(states, time_constants, {name: gate.unflatten(0, x.shape[:2]) for name, gate in gates.items()})


def gradient_horizon(
    cell: Cell,
    x: Tensor | None = None,
    dt: Tensor | None = None,
    share: float = math.exp(-1.0),
    warm_up: int = 64,
) -> GradientHorizon:
    """Measure how fast the gradient of the last output vanishes, going back from the end of a sequence.

    x [T, B, I] inputs (None: white noise of unit variance, 8 rows of 256 steps, the same at every call), dt [T, B] elapsed
    times in s (None: one period each), share: the part of the norm that marks the horizon. The sequence starts from a zero
    state; the first `warm_up` steps only bring the cell to the states it works in, so that K = T - warm_up.

    The norm is that of Pascanu et al. 2013, "On the difficulty of training recurrent neural networks", arXiv:1211.5063.
    Raises ValueError on a wrong shape, or when `warm_up` leaves no step.
    """
    if x is None:
        like = cell.initial_state(1)
        x = torch.randn(256, 8, cell.input_size, generator=torch.Generator().manual_seed(0)).to(like)
    steps = len(x) - warm_up
    if warm_up < 0 or steps < 1:
        raise ValueError(f"warm_up must lie between 0 and one less than the {len(x)} steps, got {warm_up}")
    h = cell.initial_state(x.shape[1])
    with torch.no_grad():
        states = _states(cell, x, h, dt)
        rows, before, elapsed = _steps(cell, x, h, dt, states)
        later = slice(warm_up * x.shape[1], None)
        transitions = _transitions(cell, rows[later], before[later], elapsed[later]).unflatten(0, (steps, -1))
        gradient = torch.func.vmap(torch.func.jacrev(cell.output))(states[-1])
        norms = [gradient.square().sum((1, 2)).mean().sqrt()]
        for transition in transitions.flip(0):
            gradient = gradient @ transition
            norms.append(gradient.square().sum((1, 2)).mean().sqrt())
        since = elapsed[later].view(steps, -1).mean(1).flip(0).cumsum(0)
    ratios, since = torch.stack(norms), torch.cat([since.new_zeros(1), since])
    below = (ratios < share * ratios[0]).nonzero()
    first = int(below[0]) if len(below) else None
    horizon = (math.inf, math.inf) if first is None else (float(first), float(since[first]))
    return GradientHorizon(ratios, since, *horizon)


def _states(cell: Cell, x: Tensor, h: Tensor, dt: Tensor | None) -> Tensor:
    cell._check_sequence(x, h, dt, None, None)
    return cell.states(x, h, dt, None)


def _steps(cell: Cell, x: Tensor, h: Tensor, dt: Tensor | None, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The arguments of all steps of a sequence as rows of one batch: x [T B, I], state before the step [T B, H], dt [T B]."""
    before = torch.cat([h[None], states[:-1]])
    elapsed = x.new_full(x.shape[:2], cell.period) if dt is None else dt.to(x.dtype)
    return x.flatten(0, 1), before.flatten(0, 1), elapsed.flatten()


def _transitions(cell: Cell, x: Tensor, h: Tensor, dt: Tensor) -> Tensor:
    """dh' / dh of every row, [N, H, H]."""

    def step(h: Tensor, x: Tensor, dt: Tensor) -> Tensor:
        return cell.step(x[None], h[None], dt[None])[0]

    return torch.func.vmap(torch.func.jacrev(step))(h, x, dt)
