"""Gradients while a sequence runs, for any cell: real-time recurrent learning and its sparse approximation SnAp-1."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .cell import Cell

APPROXIMATIONS = ("full", "snap1")


class RTRL:
    """Carries the sensitivity of the state to every parameter forward in time, so that no past has to be kept.

    S_t = dh_t / dtheta = J_t S_{t-1} + I_t, with J_t = dh_t / dh_{t-1} and I_t = dh_t / dtheta at fixed h_{t-1}. The gradient
    of a loss that reads h_t is (dL/dh_t) S_t. With "full" it is that of backpropagation through the whole past. With "snap1"
    an entry of S stays zero unless its parameter reaches its state variable within one step; exact where each state
    variable is driven by itself alone, as in the diagonal cell, else biased; docs/reading-a-cell.md says by how much.

    Memory is B x H x P numbers and a step costs B x H^2 x P multiplications for either: meant for small cells. Parameters may
    change between steps; S then mixes old and new ones, as in every online use of the method.

    Sources: Williams and Zipser 1989, "A learning algorithm for continually running fully recurrent neural networks",
    doi:10.1162/neco.1989.1.2.270; Menick et al. 2021, "Practical real time recurrent learning with a sparse approximation",
    arXiv:2006.07232.

    Parameters
    ----------
    cell : any `Cell` with parameters.
    approximation : "full" or "snap1".

    Raises ValueError on an unknown approximation or a cell that has nothing to learn.
    """

    def __init__(self, cell: Cell, approximation: str = "full") -> None:
        if approximation not in APPROXIMATIONS:
            raise ValueError(f"unknown approximation {approximation!r}; choose one of {', '.join(APPROXIMATIONS)}")
        self.cell = cell
        self._step = _Step(cell)
        self._names = [name for name, parameter in cell.named_parameters() if parameter.requires_grad]
        if not self._names:
            raise ValueError("the cell has no parameter that requires a gradient")
        self._reach = self._measure_reach() if approximation == "snap1" else None
        self.sensitivity: Tensor | None = None

    def step(self, x: Tensor, h: Tensor, dt: Tensor | None = None, reset: Tensor | None = None) -> Tensor:
        """One step of the cell, and of the sensitivity [B, H, P].

        x [B, I], h [B, H] the state that the last call returned, dt [B] elapsed time in s (None: one period), reset [B] bool
        or 0/1, where state and sensitivity are zeroed before the step. Returns the new state [B, H], detached.
        Raises ValueError when the number of rows changes; `restart` first.
        """
        past = h.new_zeros(*h.shape, self._count) if self.sensitivity is None else self.sensitivity
        if len(past) != len(h):
            raise ValueError(f"the sensitivity is that of {len(past)} rows, got {len(h)}; call restart() before others")
        if reset is not None:
            keep = ~reset.bool()
            h, past = h * keep[:, None], past * keep[:, None, None]
        after, transition, immediate = self._linearize(self._parameters(), x.detach(), h.detach(), dt)
        sensitivity = transition @ past + immediate
        self.sensitivity = sensitivity if self._reach is None else sensitivity * self._reach
        return after

    def gradient(self, d_state: Tensor) -> dict[str, Tensor]:
        """The gradient of a loss with respect to each parameter, by name; d_state [B, H] is that to the last state.

        Rows are summed. What a loss on `cell.output` owes to parameters that only the output reads is not in it.
        Raises ValueError before the first step.
        """
        if self.sensitivity is None:
            raise ValueError("call step() before gradient()")
        flat = torch.einsum("bh,bhp->p", d_state, self.sensitivity)
        parameters = self._parameters()
        parts = flat.split([parameter.numel() for parameter in parameters.values()])
        return {name: part.view_as(parameters[name]) for name, part in zip(parameters, parts, strict=True)}

    def restart(self) -> None:
        """Forget the past, as at the start of an episode in all rows."""
        self.sensitivity = None

    @property
    def _count(self) -> int:
        return sum(parameter.numel() for parameter in self._parameters().values())

    def _parameters(self) -> dict[str, Tensor]:
        return {name: self.cell.get_parameter(name).detach() for name in self._names}

    def _linearize(
        self, parameters: dict[str, Tensor], x: Tensor, h: Tensor, dt: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The next state [B, H], and its derivatives to state [B, H, H] and parameters [B, H, P]."""
        dt = torch.full_like(h[:, 0], self.cell.period) if dt is None else dt

        def step(parameters: dict[str, Tensor], h: Tensor, x: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
            named = {f"cell.{name}": parameter for name, parameter in parameters.items()}
            after = torch.func.functional_call(self._step, named, (x[None], h[None], dt[None]))[0]
            return after, after

        jacobian = torch.func.jacrev(step, argnums=(0, 1), has_aux=True)
        (by_parameter, transition), after = torch.func.vmap(jacobian, in_dims=(None, 0, 0, 0))(parameters, h, x, dt)
        immediate = torch.cat([by_parameter[name].flatten(2) for name in parameters], 2)
        return after.detach(), transition.detach(), immediate.detach()

    def _measure_reach(self) -> Tensor:
        """bool [H, P]: which parameters reach which state variables within one step, seen at random parameters and states."""
        rng = torch.Generator().manual_seed(0)
        parameters = {
            name: 0.1 * torch.randn(value.shape, generator=rng).to(value)  # small: nothing saturates
            for name, value in self._parameters().items()
        }
        like = next(iter(parameters.values()))
        x = torch.randn(8, self.cell.input_size, generator=rng).to(like)
        h = torch.randn(8, self.cell.state_size, generator=rng).to(like)
        return (self._linearize(parameters, x, h, None)[2] != 0).any(0)


class _Step(nn.Module):
    """A cell whose call is its step, as torch.func wants it."""

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor, h: Tensor, dt: Tensor) -> Tensor:
        return self.cell.step(x, h, dt)
