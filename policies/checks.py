"""The contract of a cell as a function, run by the tests over every registered cell and offered for your own."""

from __future__ import annotations

import json
from collections.abc import Callable

import torch
from torch import Tensor

from .cell import Cell


def check_cell(factory: Callable[[], Cell]) -> None:
    """Raise an AssertionError that names the broken clause of the `Cell` contract.

    `factory` builds a new cell, for example `lambda: CfC(3, 8)`; two steps of gradient descent are taken on it.
    """
    torch.manual_seed(0)
    cell = factory().double()
    _check_step(cell)
    _check_sequence(cell)
    _check_missing_samples(cell)
    _check_elapsed_time(cell)
    _check_gradients(cell)
    _check_any_gradient_step(cell)
    _check_state_dict(cell, factory)
    _check_config(cell)


def _sample(cell: Cell, steps: int = 5, rows: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs [T, B, I], a state the cell itself has reached [B, H], elapsed times [T, B] in s."""
    x = torch.randn(steps, rows, cell.input_size, dtype=torch.float64)
    h = cell.step(torch.randn_like(x[0]), cell.initial_state(rows)).detach()
    dt = cell.period * (0.25 + 2.0 * torch.rand(steps, rows, dtype=torch.float64))
    return x, h, dt


def _check_step(cell: Cell) -> None:
    x, h, dt = _sample(cell)
    before = h.clone()
    after = cell.step(x[0], h, dt[0])
    assert after.shape == (3, cell.state_size), "step returns a state [B, H]"
    assert torch.equal(h, before), "step leaves the state it is given unchanged"
    assert torch.equal(after, cell.step(x[0], h, dt[0])), "step is a pure function"
    assert cell.output(after).shape == (3, cell.output_size), "output returns [B, O]"
    alone = torch.cat([cell.step(x[0, b : b + 1], h[b : b + 1], dt[0, b : b + 1]) for b in range(3)])
    _assert_close(after, alone, "rows of a batch are independent")
    period = torch.full((3,), cell.period, dtype=torch.float64)
    _assert_close(cell.step(x[0], h), cell.step(x[0], h, period), "without dt a step lasts one period")


def _check_sequence(cell: Cell) -> None:
    x, h, dt = _sample(cell)
    reset = torch.zeros(5, 3, dtype=torch.bool)
    reset[0, 0] = reset[2, 1] = reset[4, 2] = True
    for elapsed in (None, dt):
        for start in (None, reset, reset.double()):
            y, final = cell.sequence(x, h, elapsed, start)
            states = Cell.states(cell, x, h, elapsed, start)
            _assert_close(y, cell.output(states), "sequence returns the outputs of its steps, zeroed where reset")
            _assert_close(final, states[-1], "sequence returns the state after its last step")
    first, middle = cell.sequence(x[:2], h, dt[:2], reset[:2])
    second, final = cell.sequence(x[2:], middle, dt[2:], reset[2:])
    whole, whole_final = cell.sequence(x, h, dt, reset)
    _assert_close(torch.cat([first, second]), whole, "a sequence can be cut and continued from its state")
    _assert_close(final, whole_final, "a sequence can be cut and continued from its state")
    _assert_refuses(cell, x[..., :-1], h, dt, reset)
    _assert_refuses(cell, x, h[:-1], dt, reset)
    _assert_refuses(cell, x, h, dt[:, :-1], reset)
    _assert_refuses(cell, x, h, dt, reset[:-1])
    _assert_refuses(cell, x, h, dt, reset, present=reset[:-1])


def _check_missing_samples(cell: Cell) -> None:
    x, h, dt = _sample(cell)
    present = torch.tensor([[1, 0, 0], [0, 1, 0], [1, 1, 0], [1, 0, 0], [0, 1, 0]], dtype=torch.bool)
    reset = torch.tensor([[0, 0, 0], [1, 0, 1], [0, 0, 0], [0, 1, 0], [0, 0, 0]])
    gappy = torch.where(present[..., None], x, torch.nan).requires_grad_()
    for start in (None, reset):
        y, final = cell.sequence(gappy, h, dt, start, present)
        for row in range(3):
            state, since = h[row : row + 1], torch.zeros(1, dtype=torch.float64)
            for t in range(5):
                if start is not None and start[t, row]:
                    state = torch.zeros_like(state)
                since = since + dt[t, row]
                if present[t, row]:
                    state, since = cell.step(x[t, row : row + 1], state, since), torch.zeros_like(since)
                _assert_close(y[t, row], cell.output(state)[0], "a missing sample leaves the state and lets time pass")
            _assert_close(final[row], state[0], "sequence returns the state after the last sample")
    everywhere = torch.ones(5, 3, dtype=torch.bool)
    _assert_close(cell.sequence(x, h, None, None, everywhere)[0], cell.sequence(x, h)[0], "all present is the default")
    y.square().sum().backward()
    found = [tensor.grad for tensor in (gappy, *cell.parameters()) if tensor.grad is not None]
    assert all(bool(torch.isfinite(gradient).all()) for gradient in found), "a missing sample spoils no gradient"
    cell.zero_grad()


def _check_elapsed_time(cell: Cell) -> None:
    x, h, _ = _sample(cell)
    dt = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64) * cell.period
    same = torch.cat([cell.step(x[0, :1], h[:1], elapsed[None]) for elapsed in dt])
    assert not torch.equal(same[0], same[1]) and not torch.equal(same[1], same[2]), "elapsed time changes the state"
    batch = cell.step(x[0, :1].expand(3, -1), h[:1].expand(3, -1), dt)
    _assert_close(batch, same, "every row has its own elapsed time")


def _check_gradients(cell: Cell) -> None:
    x, h, dt = _sample(cell, steps=3, rows=2)
    inputs = [tensor.requires_grad_() for tensor in (x, h, dt / cell.period)]
    for reset in (None, torch.tensor([[0, 0], [1, 0], [0, 0]])):

        def run(x: Tensor, h: Tensor, periods: Tensor, *_: Tensor) -> tuple[Tensor, Tensor]:
            return cell.sequence(x, h, periods * cell.period, reset)  # noqa: B023

        assert torch.autograd.gradcheck(run, (*inputs, *cell.parameters()), atol=1e-7), "gradients match differences"


def _check_any_gradient_step(cell: Cell) -> None:
    x, h, dt = _sample(cell)
    for direction in (1.0, -1.0):
        with torch.no_grad():
            for parameter in cell.parameters():
                parameter.add_(direction * 3.0 * torch.randn_like(parameter))
        y, final = cell.sequence(x, h, dt)
        assert bool(torch.isfinite(y).all() and torch.isfinite(final).all()), "any parameter values give a finite state"


def _check_state_dict(cell: Cell, factory: Callable[[], Cell]) -> None:
    x, h, dt = _sample(cell)
    twin = factory().double()
    twin.load_state_dict(cell.state_dict())
    assert torch.equal(twin.sequence(x, h, dt)[0], cell.sequence(x, h, dt)[0]), "the parameters hold the whole cell"


def _check_config(cell: Cell) -> None:
    x, h, dt = _sample(cell)
    twin = type(cell).from_config(json.loads(json.dumps(cell.config))).double()
    twin.load_state_dict(cell.state_dict())
    _assert_close(twin.sequence(x, h, dt)[0], cell.sequence(x, h, dt)[0], "config rebuilds the cell, as JSON too")


def _assert_close(value: Tensor, expected: Tensor, clause: str) -> None:
    error = (value - expected).abs().max().item()
    assert error < 1e-10, f"{clause}; they differ by {error:.1e}"


def _assert_refuses(cell: Cell, x: Tensor, h: Tensor, dt: Tensor, reset: Tensor, present: Tensor | None = None) -> None:
    try:
        cell.sequence(x, h, dt, reset, present)
    except ValueError:
        return
    raise AssertionError("sequence raises ValueError on a wrong shape")
