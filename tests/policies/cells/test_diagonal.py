from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from undrift.policies.cells import Diagonal

PERIOD = 0.02


def random_cell(inputs: int, units: int, scale: float = 1.0) -> Diagonal:
    cell = Diagonal(inputs, units, period=PERIOD).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.normal_(std=scale)
    return cell


def test_without_feedback_a_constant_input_gives_the_exact_exponential_however_the_time_is_cut() -> None:
    torch.manual_seed(0)
    cell = random_cell(3, 8)
    with torch.no_grad():
        cell.feedback.zero_()
    x, h = torch.randn(1, 3).double(), torch.rand(1, 8).double()
    z, drive = cell.input(x).chunk(2, 1)
    rate = torch.log1p(cell.leak.exp()) + torch.log1p(z.exp())
    target = torch.tanh(drive)
    expected = target + (h - target) * torch.exp(-rate * 0.07 / PERIOD)
    for cuts in ([0.07], [0.035, 0.035], [0.01, 0.05, 0.0, 0.01]):
        dt = torch.tensor(cuts, dtype=torch.float64)[:, None]
        _, final = cell.sequence(x.expand(len(cuts), 1, 3), h, dt)
        torch.testing.assert_close(final, expected, rtol=1e-13, atol=1e-13)


@given(scale=st.floats(0.0, 1e3), dt=st.floats(0.0, 1e6), seed=st.integers(0, 99))
def test_the_state_stays_between_where_it_was_and_its_target_whatever_the_parameters(
    scale: float, dt: float, seed: int
) -> None:
    torch.manual_seed(seed)
    cell = random_cell(2, 6, scale)
    h = cell.step(
        scale * torch.randn(4, 2).double(), 2.0 * torch.rand(4, 6).double() - 1.0, torch.full((4,), dt).double()
    )
    assert (h.abs() <= 1.0).all()


def test_no_elapsed_time_leaves_the_state() -> None:
    cell, h = random_cell(2, 6), torch.rand(4, 6).double()
    assert torch.equal(cell.step(torch.randn(4, 2).double(), h, torch.zeros(4).double()), h)


def test_at_rest_the_time_constants_are_evenly_spread_on_a_logarithmic_scale() -> None:
    cell = Diagonal(3, 5, time_constants=(2.0, 32.0), period=PERIOD).double()
    update = cell.gates(torch.zeros(1, 3).double(), torch.zeros(1, 5).double())["update"][0]
    periods = -1.0 / torch.log1p(-update)
    torch.testing.assert_close(periods, torch.tensor([2.0, 4.0, 8.0, 16.0, 32.0]).double(), rtol=1e-5, atol=0)


def test_inputs_shorten_time_constants_without_bound_and_lengthen_them_tenfold() -> None:
    cell = Diagonal(1, 1, time_constants=(5.0, 5.0)).double()
    with torch.no_grad():
        cell.input.weight.fill_(1.0)
    x = torch.tensor([[1e3], [-1e3]]).double()
    update = cell.gates(x, torch.zeros(2, 1).double())["update"][:, 0]
    assert update[0] == 1.0 and math.isclose(-1.0 / math.log1p(-update[1].item()), 50.0, rel_tol=1e-6)


def test_after_one_period_without_leak_it_is_a_gru_with_diagonal_recurrence_and_no_reset_gate() -> None:
    torch.manual_seed(0)
    cell, x, h = random_cell(3, 8), torch.randn(4, 3).double(), torch.randn(4, 8).double()
    with torch.no_grad():
        cell.leak.fill_(-100.0)
    z, candidate = cell.input(x).chunk(2, 1)
    keep = torch.sigmoid(-(z + cell.feedback[0] * h))
    expected = keep * h + (1.0 - keep) * torch.tanh(candidate + cell.feedback[1] * h)
    torch.testing.assert_close(cell.step(x, h), expected, rtol=1e-12, atol=1e-12)


def test_a_neuron_depends_on_no_other() -> None:
    cell = random_cell(2, 6)
    jacobian = torch.func.jacrev(lambda h: cell.step(torch.ones(1, 2).double(), h[None])[0])(torch.rand(6).double())
    assert torch.equal(jacobian, torch.diag(torch.diagonal(jacobian)))


def test_elapsed_time_counts_in_periods() -> None:
    fast, slow = Diagonal(3, 8, period=0.01), Diagonal(3, 8, period=0.1)
    slow.load_state_dict(fast.state_dict())
    x, h, dt = torch.randn(4, 2, 3), torch.zeros(2, 8), torch.rand(4, 2)
    torch.testing.assert_close(fast.sequence(x, h, dt * 0.01)[0], slow.sequence(x, h, dt * 0.1)[0])


@pytest.mark.parametrize("wrong", [(0.0, 1.0), (5.0, 1.0), (1.0, math.inf)])
def test_time_constants_that_are_not_positive_and_in_order_are_refused(wrong: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="the shortest and the longest, in periods"):
        Diagonal(3, 8, time_constants=wrong)
