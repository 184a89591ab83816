from __future__ import annotations

import copy
import inspect

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from undrift.policies import CELLS, Cell, CfC, Wiring, make_cell

COMPILED = [name for name, cell in CELLS.items() if "backend" in inspect.signature(cell).parameters]


def pair(name: str, inputs: int, units: int, dtype: torch.dtype = torch.float64) -> tuple[Cell, Cell]:
    """The same cell on both backends, its parameters moved away from zero."""
    fast, slow = (make_cell({"cell": name}, input_size=inputs, units=units, backend=b) for b in ("numba", "torch"))
    with torch.no_grad():
        for parameter in fast.parameters():
            parameter.add_(0.5 * units**-0.5 * torch.randn_like(parameter))
    slow.load_state_dict(fast.state_dict())
    return fast.to(dtype), slow.to(dtype)


def run(cell: Cell, x: Tensor, h: Tensor, dt: Tensor | None, reset: Tensor | None) -> list[Tensor]:
    """Outputs, last state, and the gradients of a random loss by everything that has one."""
    inputs = [tensor.clone().requires_grad_() for tensor in (x, h, dt) if tensor is not None]
    y, final = cell.sequence(inputs[0], inputs[1], inputs[2] if dt is not None else None, reset)
    torch.manual_seed(1)
    weights = (torch.randn(shown.shape, dtype=torch.float64).to(shown) for shown in (y, final))
    loss = sum((shown * weight).sum() for shown, weight in zip((y, final), weights, strict=True))
    return [y, final, *torch.autograd.grad(loss, [*inputs, *cell.parameters()])]


def relative(value: Tensor, expected: Tensor) -> float:
    return ((value - expected).abs().max() / expected.abs().max().clamp_min(1e-3)).item()


@pytest.mark.parametrize("name", COMPILED)
@settings(max_examples=8, deadline=None)
@given(
    steps=st.integers(1, 5),
    rows=st.integers(1, 6),
    inputs=st.integers(1, 4),
    units=st.integers(1, 9),
    timed=st.booleans(),
    resets=st.booleans(),
    seed=st.integers(0, 99),
)
def test_both_backends_compute_the_same_states_and_gradients(
    name: str, steps: int, rows: int, inputs: int, units: int, timed: bool, resets: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    fast, slow = pair(name, inputs, units)
    x, h = torch.randn(steps, rows, inputs).double(), torch.randn(rows, fast.state_size).double()
    dt = 3.0 * fast.period * torch.rand(steps, rows).double() if timed else None
    reset = torch.rand(steps, rows) < 0.3 if resets else None
    for value, expected in zip(run(fast, x, h, dt, reset), run(slow, x, h, dt, reset), strict=True):
        assert relative(value, expected) < 1e-11


@pytest.mark.parametrize("name", COMPILED)
def test_single_precision_is_as_exact_as_it_can_be_at_the_size_of_a_training_batch(name: str) -> None:
    torch.manual_seed(0)
    fast, slow = pair(name, 18, 64, torch.float32)
    x, h, reset = torch.randn(32, 16, 18), torch.zeros(16, fast.state_size), torch.rand(32, 16) < 0.05
    dt = fast.period * (0.2 + 2.0 * torch.rand(32, 16))
    y, final, *gradients = run(fast, x, h, dt, reset)
    y64, final64, *gradients64 = run(slow.double(), x.double(), h.double(), dt.double(), reset)
    assert max(relative(y, y64), relative(final, final64)) < 1e-5
    assert max(map(relative, gradients, gradients64)) < 1e-4


@pytest.mark.parametrize("backend", ["torch", "numba"])
@pytest.mark.parametrize("name", COMPILED)
def test_a_reset_forgets_even_a_state_that_is_not_finite(name: str, backend: str) -> None:
    cell = make_cell({"cell": name}, input_size=3, units=5, backend=backend)
    h = torch.full((2, cell.state_size), float("nan"), requires_grad=True)
    y, _ = cell.sequence(torch.randn(4, 2, 3), h, reset=torch.tensor([[1, 0]] + [[0, 0]] * 3))
    assert torch.isfinite(y[:, 0]).all() and torch.isnan(y[:, 1]).all()
    y[:, 0].square().sum().backward()
    assert (h.grad[0] == 0).all()


@pytest.mark.parametrize("name", COMPILED)
def test_inputs_of_any_memory_layout_and_times_of_any_precision_are_accepted(name: str) -> None:
    cell = make_cell({"cell": name}, input_size=3, units=5, backend="numba")
    x, dt = torch.randn(2, 5, 3), torch.rand(2, 5, dtype=torch.float64)
    y, _ = cell.sequence(x.transpose(0, 1), cell.initial_state(2), dt.T)
    expected, _ = cell.sequence(x.transpose(0, 1).contiguous(), cell.initial_state(2), dt.T.float().contiguous())
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, expected)


@pytest.mark.parametrize("name", COMPILED)
def test_a_copy_and_a_second_backward_pass_work(name: str) -> None:
    cell = copy.deepcopy(make_cell({"cell": name}, input_size=3, units=5, backend="numba"))
    y, _ = cell.sequence(torch.randn(4, 2, 3), cell.initial_state(2))
    parameters = list(cell.parameters())
    first = torch.autograd.grad(y.square().sum(), parameters, retain_graph=True)
    second = torch.autograd.grad(y.square().sum(), parameters)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("name", COMPILED)
def test_an_unknown_backend_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="choose one of auto, torch, numba"):
        make_cell({"cell": name}, input_size=3, units=5, backend="cuda")


@pytest.mark.parametrize("threads", [2, 3, 9])
@pytest.mark.parametrize("name", COMPILED)
def test_blocks_of_rows_on_threads_compute_the_same_states_and_gradients(name: str, threads: int) -> None:
    torch.manual_seed(threads)
    cell, _ = pair(name, 3, 7)
    x, h = torch.randn(6, 5, 3).double(), torch.randn(5, cell.state_size).double()
    for dt, reset in ((None, None), (0.04 * torch.rand(6, 5).double(), torch.rand(6, 5) < 0.3)):
        cell.threads = 1
        alone = run(cell, x, h, dt, reset)
        cell.threads = threads
        for value, expected in zip(run(cell, x, h, dt, reset), alone, strict=True):
            assert relative(value, expected) < 1e-12


def test_a_wired_cell_learns_on_threads_as_on_one() -> None:
    torch.manual_seed(0)
    cell = CfC(3, 12, wiring=Wiring.auto_ncp(3, 12, 2)).double()
    x, h = torch.randn(4, 5, 3).double(), torch.zeros(5, 12).double()
    alone = run(cell, x, h, None, None)
    cell.threads = 2
    for value, expected in zip(run(cell, x, h, None, None), alone, strict=True):
        assert relative(value, expected) < 1e-12


def test_backward_can_be_repeated_and_an_error_in_a_block_is_not_lost() -> None:
    cell = CfC(3, 4)
    cell.threads = 2
    y, _ = cell.sequence(torch.randn(3, 4, 3), torch.zeros(4, 4))
    first = torch.autograd.grad(y.sum(), list(cell.parameters()), retain_graph=True)
    again = torch.autograd.grad(y.sum(), list(cell.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    cell.layers[0].heads.bias = torch.nn.Parameter(torch.zeros(3))
    with pytest.raises(Exception, match="size|shape|dimension|mismatch|broadcast"):
        cell.sequence(torch.randn(3, 4, 3), torch.zeros(4, 4))
