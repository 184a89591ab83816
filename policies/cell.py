"""The contract of every memory cell."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Cell(nn.Module, ABC):
    """A recurrent memory in continuous time, batched, with its state passed explicitly.

    A cell reads an input x, advances a state h by the time dt that has elapsed since its last step, and shows an output y.
    Every row of a batch is an independent sequence with its own clock. Elapsed time enters the equations in units of `period`,
    so parameters keep their scale whatever the control rate.

    A concrete cell implements `step` and may override `output` and `sequence` (with a faster path that computes the same).
    Its parameters must stay valid after *any* gradient step: express a constraint by a parametrisation (softplus, sigmoid),
    never by a clamp that a caller has to remember. `undrift.policies.check_cell` tests all of this.

    Parameters
    ----------
    input_size : number of input channels I.
    state_size : number of state variables H.
    output_size : number of output channels O.
    period : nominal time between steps, s.
    """

    def __init__(self, input_size: int, state_size: int, output_size: int, period: float) -> None:
        super().__init__()
        for name, size in (("input_size", input_size), ("state_size", state_size), ("output_size", output_size)):
            if size < 1:
                raise ValueError(f"{name} must be at least 1, got {size}")
        if not 0.0 < period < float("inf"):
            raise ValueError(f"period is the nominal time between steps in seconds and must be positive, got {period}")
        self.input_size = input_size
        self.state_size = state_size
        self.output_size = output_size
        self.period = period

    @abstractmethod
    def step(self, x: Tensor, h: Tensor, dt: Tensor | None = None) -> Tensor:
        """Advance the state by one step; pure.

        x [B, I] input, h [B, H] state, dt [B] elapsed time in s (None: one `period`). Returns the new state [B, H].
        """

    def output(self, h: Tensor) -> Tensor:
        """What the cell shows of its state: h [B, H] -> y [B, O]. The whole state unless a cell says otherwise."""
        return h

    def sequence(
        self, x: Tensor, h: Tensor, dt: Tensor | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run a whole sequence.

        x [T, B, I] inputs; h [B, H] state before the first step; dt [T, B] elapsed time before each step in s
        (None: every step lasts one `period`); reset [T, B] bool or 0/1, where the state is zeroed *before* step t.
        Returns the outputs y [T, B, O] and the state after the last step [B, H]. Raises ValueError on a wrong shape.
        """
        self.check_sequence(x, h, dt, reset)
        outputs = []
        for t in range(x.shape[0]):
            if reset is not None:
                h = torch.where(reset[t].bool()[:, None], torch.zeros_like(h), h)
            h = self.step(x[t], h, None if dt is None else dt[t])
            outputs.append(self.output(h))
        return torch.stack(outputs), h

    def initial_state(self, batch_size: int) -> Tensor:
        """The state at the start of an episode: zeros [batch_size, H]."""
        parameter = next(self.parameters())
        return parameter.new_zeros(batch_size, self.state_size)

    def check_sequence(self, x: Tensor, h: Tensor, dt: Tensor | None, reset: Tensor | None) -> None:
        """Raise a ValueError that names the argument of `sequence` whose shape is wrong."""
        if x.dim() != 3 or x.shape[0] < 1 or x.shape[2] != self.input_size:
            raise ValueError(f"x must be [T >= 1, B, {self.input_size}], got {list(x.shape)}")
        steps, rows = x.shape[:2]
        if tuple(h.shape) != (rows, self.state_size):
            raise ValueError(f"h must be [B, H] = [{rows}, {self.state_size}], got {list(h.shape)}")
        for name, value in (("dt", dt), ("reset", reset)):
            if value is not None and tuple(value.shape) != (steps, rows):
                raise ValueError(f"{name} must be [T, B] = [{steps}, {rows}], got {list(value.shape)}")
