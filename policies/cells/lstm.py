"""Long short-term memory, the baseline with gates and a protected memory."""

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


class LSTM(Cell):
    """Long short-term memory that reads elapsed time as one more input, dt / period - 1.

    i, f, o = sigmoid(.), g = tanh(.), each linear in x, dt / period - 1 and the hidden state h
    c' = f c + i g,  h' = o tanh(c')

    At the nominal period the time input is zero, and the cell is `torch.nn.LSTM` with b_ih + b_hh as its bias. The state is
    [h, c], the output h. The gates' weights are stacked in the order i, f, g, o. Recurrent weights start orthogonal, one
    matrix a gate, and the forget gate starts open, with a bias of 1.

    Sources: Hochreiter and Schmidhuber 1997, "Long short-term memory", doi:10.1162/neco.1997.9.8.1735; the forget gate Gers et
    al. 2000, doi:10.1162/089976600300015015, and its bias Jozefowicz et al. 2015, "An empirical exploration of recurrent
    network architectures".

    Parameters
    ----------
    input_size : number of inputs I.
    units : number of memory cells U; the state has 2U variables.
    period : nominal time between steps, s.
    backend : "numba" computes sequences on the CPU with compiled kernels, "torch" with a loop over `step`; "auto" takes numba
        where it works. Single steps and other devices always use torch.

    Raises ValueError on an unknown backend.
    """

    def __init__(self, input_size: int, units: int, period: float = 0.02, backend: str = "auto") -> None:
        super().__init__(input_size, 2 * units, units, period)
        check_backend(backend)
        self.backend = backend
        self.input = nn.Linear(input_size + 1, 4 * units)
        self.recurrent = nn.Linear(units, 4 * units, bias=False)
        with torch.no_grad():
            for weight in self.input.weight.split(units):
                nn.init.xavier_uniform_(weight)
            for weight in self.recurrent.weight.split(units):
                nn.init.orthogonal_(weight)
            self.input.bias.zero_()
            self.input.bias[units : 2 * units] = 1.0

    @property
    def config(self) -> dict[str, Any]:
        return {"cell": "lstm", "input_size": self.input_size, "units": self.output_size, "period": self.period}

    def step(self, x: Tensor, h: Tensor, dt: Tensor | None = None) -> Tensor:
        i, f, g, o = self._activate(x, h, dt)
        memory = f * h[:, self.output_size :] + i * g
        return torch.cat([o * torch.tanh(memory), memory], 1)

    def gates(self, x: Tensor, h: Tensor, dt: Tensor | None = None) -> dict[str, Tensor]:
        i, f, _, o = self._activate(x, h, dt)
        return {"input": i, "forget": f, "output": o}

    def output(self, h: Tensor) -> Tensor:
        return h[..., : self.output_size]

    def states(self, x: Tensor, h: Tensor, dt: Tensor | None, reset: Tensor | None) -> Tensor:
        kernels = choose(self.backend, "lstm", x)
        if kernels is None:
            return super().states(x, h, dt, reset)
        axes = None, 1, 0, None, 1
        return apply_in_blocks(
            _Sequence, self.threads, axes, kernels, self._drive(x, dt), h, self.recurrent.weight, reset
        )

    def _activate(self, x: Tensor, h: Tensor, dt: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        i, f, g, o = (self._drive(x, dt) + self.recurrent(h[:, : self.output_size])).chunk(4, 1)
        return torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)

    def _drive(self, x: Tensor, dt: Tensor | None) -> Tensor:
        """What inputs x [..., I] and elapsed times dt [...] in s contribute to the gates, [..., 4U]."""
        return timed_linear(self.input, x, None if dt is None else (dt / self.period).to(x.dtype))


class _Sequence(torch.autograd.Function):
    """`LSTM.states` on the kernels; `kernels.lstm` describes the arrays."""

    @staticmethod
    def forward(
        ctx: Any, kernels: Any, drive: Tensor, state: Tensor, recurrent: Tensor, reset: Tensor | None
    ) -> Tensor:
        steps, rows, units = *drive.shape[:2], recurrent.shape[1]
        states = torch.empty(steps, rows, 2 * units, dtype=drive.dtype)
        entering = torch.empty(steps, rows, units, dtype=drive.dtype)
        activity = np.empty((steps, rows, 5, units), states.numpy().dtype)
        resets = reset_array(reset, steps, rows)
        kernels.forward(
            array(drive), array(state), array(recurrent.T), resets, states.numpy(), entering.numpy(), activity
        )
        ctx.kernels, ctx.arrays = kernels, (resets, activity)
        ctx.save_for_backward(state, recurrent, states, entering)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_states: Tensor) -> tuple[Tensor | None, ...]:
        state, recurrent, states, entering = ctx.saved_tensors
        steps, rows, units = entering.shape
        d_drive = states.new_empty(steps, rows, 4 * units)
        d_hidden, d_memory = states.new_empty(2, rows, units)
        ctx.kernels.backward(
            *map(array, (d_states, state, states, recurrent)),
            *ctx.arrays,
            *(gradient.numpy() for gradient in (d_drive, d_hidden, d_memory)),
        )
        d_recurrent = d_drive.flatten(0, 1).T @ entering.flatten(0, 1)
        return None, d_drive, torch.cat([d_hidden, d_memory], 1), d_recurrent, None
