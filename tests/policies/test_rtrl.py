from __future__ import annotations

import pytest
import torch
from torch import Tensor

from undrift.policies import Cell, CfC, Wiring
from undrift.policies.cells.diagonal import Diagonal
from undrift.policies.cells.gru import GRU
from undrift.policies.cells.lstm import LSTM
from undrift.policies.cells.ltc import LTC
from undrift.policies.cells.reservoir import Reservoir
from undrift.policies.online import DiagonalRTRL
from undrift.policies.rtrl import RTRL

STEPS, ROWS = 7, 2
CELLS = {
    "cfc": lambda: CfC(3, 5, backend="torch"),
    "cfc with backbone": lambda: CfC(3, 5, backbone_units=4, backend="torch"),
    "cfc-ncp": lambda: CfC(3, 9, Wiring.auto_ncp(3, 9, 2), backend="torch"),
    "ltc": lambda: LTC(3, 5, unfolds=3, backend="torch"),
    "ltc-ncp": lambda: LTC(3, 9, Wiring.auto_ncp(3, 9, 2), backend="torch"),
    "diagonal": lambda: Diagonal(3, 5, backend="torch"),
    "gru": lambda: GRU(3, 4, backend="torch"),
    "lstm": lambda: LSTM(3, 4, backend="torch"),
}


@pytest.fixture(params=CELLS)
def cell(request: pytest.FixtureRequest) -> Cell:
    return make(request.param)


def make(name: str) -> Cell:
    torch.manual_seed(0)
    cell = CELLS[name]().double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return cell


def sample(cell: Cell) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Inputs, elapsed times, resets and the weights of a loss that is linear in every state."""
    x = torch.randn(STEPS, ROWS, cell.input_size, dtype=torch.float64)
    dt = cell.period * (0.25 + 2.0 * torch.rand(STEPS, ROWS, dtype=torch.float64))
    reset = torch.zeros(STEPS, ROWS, dtype=torch.bool)
    reset[3, 1] = True
    return x, dt, reset, torch.randn(STEPS, ROWS, cell.state_size, dtype=torch.float64)


def online_gradient(cell: Cell, approximation: str) -> Tensor:
    x, dt, reset, weight = sample(cell)
    rtrl, h, total = RTRL(cell, approximation), cell.initial_state(ROWS), 0.0
    for t in range(STEPS):
        h = rtrl.step(x[t], h, dt[t], reset[t])
        total = total + flat(rtrl.gradient(weight[t]))
    return total


def true_gradient(cell: Cell) -> Tensor:
    x, dt, reset, weight = sample(cell)
    loss = (cell.states(x, cell.initial_state(ROWS), dt, reset) * weight).sum()
    gradients = torch.autograd.grad(loss, list(cell.parameters()), allow_unused=True, materialize_grads=True)
    return torch.cat([gradient.flatten() for gradient in gradients])


def flat(gradients: dict[str, Tensor]) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in gradients.values()])


def test_full_rtrl_has_the_gradient_of_backpropagation_through_time(cell: Cell) -> None:
    torch.manual_seed(1)
    online = online_gradient(cell, "full")
    torch.manual_seed(1)
    torch.testing.assert_close(online, true_gradient(cell), rtol=0, atol=1e-10)


def test_its_states_are_those_of_the_cell(cell: Cell) -> None:
    x, dt, reset, _ = sample(cell)
    rtrl, h, states = RTRL(cell), cell.initial_state(ROWS), []
    for t in range(STEPS):
        h = rtrl.step(x[t], h, dt[t], reset[t])
        states.append(h)
    expected = cell.states(x, cell.initial_state(ROWS), dt, reset)
    torch.testing.assert_close(torch.stack(states), expected.detach(), rtol=0, atol=1e-12)
    assert not h.requires_grad


def test_snap1_is_exact_where_the_recurrence_is_diagonal() -> None:
    cell = make("diagonal")
    torch.manual_seed(1)
    online = online_gradient(cell, "snap1")
    torch.manual_seed(1)
    torch.testing.assert_close(online, true_gradient(cell), rtol=0, atol=1e-10)


def test_snap1_follows_its_definition() -> None:
    """S_t = mask * (J_t S_{t-1} + I_t), the mask worked out by hand: a CfC head's weight reaches its own neuron only."""
    cell = make("cfc")
    torch.manual_seed(1)
    x, dt, _, _ = sample(cell)
    rtrl, h, units = RTRL(cell, "snap1"), cell.initial_state(ROWS), cell.state_size
    weight, bias = (torch.arange(4 * units) % units).repeat_interleave(3 + units), torch.arange(4 * units) % units
    mask = torch.cat([weight, bias])[None] == torch.arange(units)[:, None]
    expected = torch.zeros(ROWS, *mask.shape, dtype=torch.float64)
    for t in range(STEPS):
        for row in range(ROWS):
            expected[row] = mask * linearized_step(cell, x[t, row], h[row], dt[t, row], expected[row])
        h = rtrl.step(x[t], h, dt[t])
        torch.testing.assert_close(rtrl.sensitivity, expected, rtol=0, atol=1e-12)


def linearized_step(cell: Cell, x: Tensor, h: Tensor, dt: Tensor, past: Tensor) -> Tensor:
    """J S + I of one row by plain autograd, one state variable at a time."""
    h = h.clone().requires_grad_()
    rows = []
    for value in cell.step(x[None], h[None], dt[None])[0]:
        through, *direct = torch.autograd.grad(value, [h, *cell.parameters()], retain_graph=True)
        rows.append(through @ past + torch.cat([gradient.flatten() for gradient in direct]))
    return torch.stack(rows)


def test_snap1_points_roughly_where_the_true_gradient_points() -> None:
    cosines = []
    for seed in range(5):
        cell = make("cfc")
        torch.manual_seed(seed)
        online = online_gradient(cell, "snap1")
        torch.manual_seed(seed)
        cosines.append(float(torch.cosine_similarity(online, true_gradient(cell), dim=0)))
    assert 0.6 < min(cosines) and max(cosines) < 1.0, "biased, but useful"


def test_the_compiled_one_of_the_diagonal_cell_computes_the_same() -> None:
    cell = make("diagonal")
    x, dt, reset, weight = sample(cell)
    tensors = {name: value.numpy() for name, value in cell.state_dict().items()}
    ours, compiled = RTRL(cell), DiagonalRTRL(cell.config, tensors, "float64")
    h = cell.initial_state(ROWS)
    same = h.numpy()
    for t in range(STEPS):
        h, same = ours.step(x[t], h, dt[t], reset[t]), compiled.step(x[t], same, dt[t], reset[t])
        gradients = compiled.gradient(weight[t])
        for name, gradient in ours.gradient(weight[t]).items():
            torch.testing.assert_close(gradient, torch.from_numpy(gradients[name]), rtol=0, atol=1e-10)


def test_parameters_that_are_not_trained_are_left_out() -> None:
    cell = make("cfc")
    cell.layers[0].heads.bias.requires_grad_(False)
    rtrl = RTRL(cell)
    rtrl.step(torch.ones(1, 3).double(), cell.initial_state(1))
    assert list(rtrl.gradient(torch.ones(1, 5).double())) == ["layers.0.heads.weight"]


def test_a_restart_forgets_the_past() -> None:
    cell = make("gru")
    rtrl, x, h = RTRL(cell), torch.ones(2, 3).double(), cell.initial_state(2)
    rtrl.step(x, h)
    first = rtrl.sensitivity
    rtrl.step(x, h)
    assert not torch.equal(rtrl.sensitivity, first)
    with pytest.raises(ValueError, match="2 rows, got 1; call restart"):
        rtrl.step(x[:1], h[:1])
    rtrl.restart()
    rtrl.step(x, h)
    assert torch.equal(rtrl.sensitivity, first)


def test_misuse_is_refused_with_what_to_do() -> None:
    with pytest.raises(ValueError, match="choose one of full, snap1"):
        RTRL(make("gru"), "snap2")
    with pytest.raises(ValueError, match="no parameter"):
        RTRL(Reservoir(3, 5))
    with pytest.raises(ValueError, match=r"call step\(\) before"):
        RTRL(make("gru")).gradient(torch.ones(1, 4))
