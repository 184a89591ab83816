"""The contract of every memory cell."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from itertools import chain
from typing import Any, Self

import torch
from torch import Tensor, nn

from .prepared import PreparedCell, prepared
from .wiring import Wiring


class Cell(nn.Module, ABC):
    """A recurrent memory in continuous time, batched, with its state passed explicitly.

    A cell reads an input x, advances a state h by the time dt that has elapsed since its last step, and shows an output y.
    Every row of a batch is an independent sequence with its own clock. Elapsed time enters the equations in units of `period`,
    so parameters keep their scale whatever the control rate.

    A concrete cell implements `step` and `config`, and may override `output` and `states` (with a faster path that computes
    the same). Its parameters must stay valid after *any* gradient step: express a constraint by a parametrisation (softplus,
    sigmoid), never by a clamp that a caller has to remember. `undrift.policies.check_cell` tests all of this.

    Parameters
    ----------
    input_size : number of input channels I.
    state_size : number of state variables H.
    output_size : number of output channels O.
    period : nominal time between steps, s.
    """

    threads = 1
    """On how many threads compiled sequences run, a block of rows on each; set it where batches are large."""

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

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """What rebuilds the cell, weights aside: JSON-able, its name in `CELLS` under "cell" and the constructor's arguments.

        `from_config` and `make_cell` read it back. The backend is left out: it belongs to the machine.
        """

    @classmethod
    def from_config(cls, config: Mapping[str, Any], **arguments: Any) -> Self:
        """The cell that `config` describes, with fresh weights; further arguments, such as `backend`, as the constructor's.

        Raises ValueError on an argument that the cell does not have.
        """
        given = {**config, **arguments}
        name = given.pop("cell")
        if isinstance(given.get("wiring"), Mapping):
            given["wiring"] = Wiring.from_dict(given["wiring"])
        try:
            return cls(**given)
        except TypeError as error:
            raise ValueError(f"cell {name!r}: {error}") from None

    @abstractmethod
    def step(self, x: Tensor, h: Tensor, dt: Tensor | None = None) -> Tensor:
        """Advance the state by one step; pure.

        x [B, I] input, h [B, H] state, dt [B] elapsed time in s (None: one `period`). Returns the new state [B, H].
        """

    def output(self, h: Tensor) -> Tensor:
        """What the cell shows of its state: h [..., H] -> y [..., O]. The whole state unless a cell says otherwise."""
        return h

    def gates(self, x: Tensor, h: Tensor, dt: Tensor | None = None) -> dict[str, Tensor]:
        """What opens and closes within one step, by name, each [B, units]; arguments as those of `step`. Nothing unless a cell
        says otherwise."""
        return {}

    def states(self, x: Tensor, h: Tensor, dt: Tensor | None, reset: Tensor | None) -> Tensor:
        """Every state of a sequence, [T, B, H]; arguments as those of `sequence`, already checked."""
        states = []
        for t in range(x.shape[0]):
            if reset is not None:
                h = torch.where(reset[t].bool()[:, None], torch.zeros_like(h), h)
            h = self.step(x[t], h, None if dt is None else dt[t])
            states.append(h)
        return torch.stack(states)

    def sequence(
        self,
        x: Tensor,
        h: Tensor,
        dt: Tensor | None = None,
        reset: Tensor | None = None,
        present: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Run a whole sequence.

        x [T, B, I] inputs; h [B, H] state before the first step; dt [T, B] elapsed time before each step in s
        (None: every step lasts one `period`); reset [T, B] bool or 0/1, where the state is zeroed *before* step t;
        present [T, B] bool or 0/1, where a sample arrived (None: everywhere). Without one the state stays, its input is not
        read, and the elapsed time counts towards the next sample of that row. A sequence that is shorter than its batch
        is absent at its end.

        Returns the outputs y [T, B, O] and the state after the last step [B, H]. Raises ValueError on a wrong shape.
        """
        self._check_sequence(x, h, dt, reset, present)
        states = self.states(x, h, dt, reset) if present is None else self._sampled(x, h, dt, reset, present.bool())
        return self.output(states), states[-1]

    def prepared(self) -> PreparedCell:
        """The cell with its present weights prepared for single steps without torch; see `PreparedCell`."""
        return prepared(self)

    def initial_state(self, batch_size: int) -> Tensor:
        """The state at the start of an episode: zeros [batch_size, H]."""
        like = next(chain(self.parameters(), self.buffers()))
        return like.new_zeros(batch_size, self.state_size)

    def _sampled(self, x: Tensor, h: Tensor, dt: Tensor | None, reset: Tensor | None, present: Tensor) -> Tensor:
        """`states` where samples are missing: each row's samples are moved together, run, and spread out again."""
        rows, count = torch.arange(x.shape[1], device=x.device), present.cumsum(0)
        # A stable sort lists the present steps of each row first, in their order. What fills up the shorter rows is run for
        # nothing, on zeros: a NaN that stands for "missing" would spoil the gradients.
        order = torch.sort((~present).byte(), dim=0, stable=True).indices[: max(int(count[-1].max()), 1)]
        filler = torch.arange(len(order), device=x.device)[:, None] >= count[-1]
        samples = torch.where(present[..., None], x, 0.0).gather(0, order[..., None].expand(-1, -1, x.shape[2]))
        elapsed = torch.full_like(present, self.period, dtype=torch.float64) if dt is None else dt
        clock = elapsed.double().cumsum(0).gather(0, order)
        since = torch.cat([clock[:1], clock.diff(dim=0)]).to(x.dtype).masked_fill(filler, self.period)
        if reset is None:
            return torch.cat([h[None], self.states(samples, h, since, None)])[count, rows]
        begun = reset.bool().cumsum(0)
        read = torch.cat([begun.new_zeros(1, x.shape[1]), begun.gather(0, order)])
        states = torch.cat([h[None], self.states(samples, h, since, read.diff(dim=0) > 0)])[count, rows]
        # between a reset and the next sample the state is zero
        return torch.where((begun > read[count, rows])[..., None], 0.0, states)

    def _check_sequence(
        self, x: Tensor, h: Tensor, dt: Tensor | None, reset: Tensor | None, present: Tensor | None
    ) -> None:
        """Raise a ValueError that names the argument of `sequence` whose shape is wrong."""
        if x.dim() != 3 or x.shape[0] < 1 or x.shape[2] != self.input_size:
            raise ValueError(f"x must be [T >= 1, B, {self.input_size}], got {list(x.shape)}")
        steps, rows = x.shape[:2]
        if tuple(h.shape) != (rows, self.state_size):
            raise ValueError(f"h must be [B, H] = [{rows}, {self.state_size}], got {list(h.shape)}")
        for name, value in (("dt", dt), ("reset", reset), ("present", present)):
            if value is not None and tuple(value.shape) != (steps, rows):
                raise ValueError(f"{name} must be [T, B] = [{steps}, {rows}], got {list(value.shape)}")
