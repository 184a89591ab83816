"""The gated recurrent unit, the smaller of the two gated baselines."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..cell import Cell
from ..kernels.backend import check_backend, choose
from .arrays import array, reset_array, timed_linear
from .threads import apply_in_blocks


class GRU(Cell):
    """Gated recurrent unit that reads elapsed time as one more input, dt / period - 1.

    r, z = sigmoid(.), each linear in x, dt / period - 1 and the state h
    n = tanh(W_n [x, dt / period - 1] + b_n + r (U_n h + c_n))
    h' = (1 - z) n + z h

    At the nominal period the time input is zero, and the cell is `torch.nn.GRU`. The gates' weights are stacked in the order
    r, z, n. Recurrent weights start orthogonal, one matrix a gate, biases at zero.

    Source: Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder", arXiv:1406.1078; the reset gate after
    the product, as in cuDNN and torch.

    Parameters
    ----------
    input_size : number of inputs I.
    units : number of units H; all of them are outputs.
    period : nominal time between steps, s.
    backend : "numba" computes sequences on the CPU with compiled kernels, "torch" with a loop over `step`; "auto" takes numba
        where it works. Single steps and other devices always use torch.

    Raises ValueError on an unknown backend.
    """

    def __init__(self, input_size: int, units: int, period: float = 0.02, backend: str = "auto") -> None:
        super().__init__(input_size, units, units, period)
        check_backend(backend)
        self.backend = backend
        self.input = nn.Linear(input_size + 1, 3 * units)
        self.recurrent = nn.Linear(units, 3 * units)
        with torch.no_grad():
            for weight in self.input.weight.split(units):
                nn.init.xavier_uniform_(weight)
            for weight in self.recurrent.weight.split(units):
                nn.init.orthogonal_(weight)
            self.input.bias.zero_()
            self.recurrent.bias.zero_()

    @property
    def config(self) -> dict[str, Any]:
        return {"cell": "gru", "input_size": self.input_size, "units": self.state_size, "period": self.period}

    def step(self, x: Tensor, h: Tensor, dt: Tensor | None = None) -> Tensor:
        _, z, n = self._activate(x, h, dt)
        return torch.lerp(n, h, z)

    def gates(self, x: Tensor, h: Tensor, dt: Tensor | None = None) -> dict[str, Tensor]:
        r, z, _ = self._activate(x, h, dt)
        return {"reset": r, "update": z}

    def states(self, x: Tensor, h: Tensor, dt: Tensor | None, reset: Tensor | None) -> Tensor:
        kernels = choose(self.backend, "gru", x)
        if kernels is None:
            return super().states(x, h, dt, reset)
        shared = self.recurrent.weight, self.recurrent.bias
        axes = None, 1, 0, None, None, 1
        return apply_in_blocks(_Sequence, self.threads, axes, kernels, self._drive(x, dt), h, *shared, reset)

    def _activate(self, x: Tensor, h: Tensor, dt: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        r, z, n = self._drive(x, dt).chunk(3, 1)
        recalled_r, recalled_z, recalled_n = self.recurrent(h).chunk(3, 1)
        r = torch.sigmoid(r + recalled_r)
        return r, torch.sigmoid(z + recalled_z), torch.tanh(n + r * recalled_n)

    def _drive(self, x: Tensor, dt: Tensor | None) -> Tensor:
        """What inputs x [..., I] and elapsed times dt [...] in s contribute to the gates, [..., 3H]."""
        return timed_linear(self.input, x, None if dt is None else (dt / self.period).to(x.dtype))


class _Sequence(torch.autograd.Function):
    """`GRU.states` on the kernels; `kernels.gru` describes the arrays."""

    @staticmethod
    def forward(
        ctx: Any, kernels: Any, drive: Tensor, state: Tensor, recurrent: Tensor, bias: Tensor, reset: Tensor | None
    ) -> Tensor:
        steps, rows, units = *drive.shape[:2], state.shape[1]
        states, entering = (torch.empty(steps, rows, units, dtype=drive.dtype) for _ in range(2))
        activity = np.empty((steps, rows, 4, units), states.numpy().dtype)
        resets = reset_array(reset, steps, rows)
        kernels.forward(
            *map(array, (drive, state, recurrent.T, bias)), resets, states.numpy(), entering.numpy(), activity
        )
        ctx.kernels, ctx.arrays = kernels, (resets, activity)
        ctx.save_for_backward(recurrent, entering)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_states: Tensor) -> tuple[Tensor | None, ...]:
        recurrent, entering = ctx.saved_tensors
        steps, rows, units = entering.shape
        resets, activity = ctx.arrays
        d_drive, d_recalled = (entering.new_empty(steps, rows, 3 * units) for _ in range(2))
        d_state = entering.new_empty(rows, units)
        ctx.kernels.backward(
            *map(array, (d_states, recurrent)),
            resets,
            entering.numpy(),
            activity,
            *(gradient.numpy() for gradient in (d_drive, d_recalled, d_state)),
        )
        d_recurrent = d_recalled.flatten(0, 1).T @ entering.flatten(0, 1)
        return None, d_drive, d_state, d_recurrent, d_recalled.sum((0, 1)), None
