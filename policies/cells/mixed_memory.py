"""A long short-term memory beside any cell, against vanishing gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..cell import Cell
from .lstm import LSTM

_SHARED = {"input_size", "units", "period"}


class MixedMemory(Cell):
    """Any cell with an LSTM beside it: the LSTM decides what is remembered, the cell evolves what is shown of it in time.

    [m, c'] = LSTM(x, [h, c], dt),  h' = cell(x, m, dt)

    The memory c passes from step to step through the forget gate alone, so gradients through it do not vanish where the gate
    is open; h, which the LSTM reads and the cell writes, is continuous in time. The state is [h, c], twice that of the cell,
    and the output what the cell shows of h. The LSTM reads elapsed time as one more input, dt / period - 1, which the source
    and ncps do not have; with these weights at zero the equations are theirs (`mixed_memory=True`).

    Source: Lechner and Hasani 2020, "Learning long-term dependencies in irregularly-sampled time series", arXiv:2006.04418.

    Parameters
    ----------
    input_size : number of inputs I.
    units : `units` of the inner cell; the memory is as large as its state.
    inner : the name of the inner cell in `CELLS`, or a config of it, without sizes and period: {"cell": "ltc", "unfolds": 6}.
    period : nominal time between steps, s.
    backend : of both: "auto", "torch" or "numba".

    Raises ValueError on a wrong inner config or an unknown backend.
    """

    def __init__(
        self,
        input_size: int,
        units: int,
        inner: str | Mapping[str, Any] = "cfc",
        period: float = 0.02,
        backend: str = "auto",
    ) -> None:
        from . import make_cell  # the registry names this file

        given = {"cell": inner} if isinstance(inner, str) else dict(inner)
        if clash := sorted(_SHARED & set(given)):
            raise ValueError(f"{clash[0]} of the inner cell is that of the whole; leave it out of `inner`")
        if backend != "auto":
            given["backend"] = backend
        cell = make_cell(given, input_size=input_size, units=units, period=period)
        super().__init__(input_size, 2 * cell.state_size, cell.output_size, period)
        self.units = units
        self.inner = cell
        self.memory = LSTM(input_size, cell.state_size, period, backend)

    @property
    def config(self) -> dict[str, Any]:
        return {
            "cell": "mixed_memory",
            "input_size": self.input_size,
            "units": self.units,
            "inner": {key: value for key, value in self.inner.config.items() if key not in _SHARED},
            "period": self.period,
        }

    def step(self, x: Tensor, h: Tensor, dt: Tensor | None = None) -> Tensor:
        recalled, memory = self.memory.step(x, h, dt).chunk(2, 1)
        return torch.cat([self.inner.step(x, recalled, dt), memory], 1)

    def gates(self, x: Tensor, h: Tensor, dt: Tensor | None = None) -> dict[str, Tensor]:
        """Those of the memory, and, with "inner." before their names, those of the inner cell."""
        recalled = self.memory.output(self.memory.step(x, h, dt))
        inner = self.inner.gates(x, recalled, dt)
        return self.memory.gates(x, h, dt) | {f"inner.{name}": gate for name, gate in inner.items()}

    def output(self, h: Tensor) -> Tensor:
        return self.inner.output(h[..., : self.inner.state_size])

    def states(self, x: Tensor, h: Tensor, dt: Tensor | None, reset: Tensor | None) -> Tensor:
        # Each reads what the other wrote at the step before: sequences of one step on the kernels of both.
        states = []
        for t in range(len(x)):
            now = slice(t, t + 1)
            elapsed = None if dt is None else dt[now]
            state = self.memory.states(x[now], h, elapsed, None if reset is None else reset[now])[0]
            recalled, memory = state.chunk(2, 1)
            h = torch.cat([self.inner.states(x[now], recalled, elapsed, None)[0], memory], 1)
            states.append(h)
        return torch.stack(states)
