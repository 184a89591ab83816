from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from undrift.policies import Cell, CfC, Wiring
from undrift.policies.cells.diagonal import Diagonal
from undrift.policies.cells.gru import GRU
from undrift.policies.cells.lstm import LSTM
from undrift.policies.cells.ltc import LTC
from undrift.policies.cells.reservoir import Reservoir
from undrift.policies.inspection import gradient_horizon, trace

CELLS = {
    "cfc": lambda: CfC(3, 5, backend="torch"),
    "cfc-ncp": lambda: CfC(3, 9, Wiring.auto_ncp(3, 9, 2), backend="torch"),
    "ltc": lambda: LTC(3, 5, backend="torch"),
    "ltc-ncp": lambda: LTC(3, 9, Wiring.auto_ncp(3, 9, 2), backend="torch"),
    "diagonal": lambda: Diagonal(3, 5, backend="torch"),
    "gru": lambda: GRU(3, 4, backend="torch"),
    "lstm": lambda: LSTM(3, 4, backend="torch"),
    "reservoir": lambda: Reservoir(3, 6),
}


@pytest.fixture(params=CELLS)
def cell(request: pytest.FixtureRequest) -> Cell:
    torch.manual_seed(0)
    return CELLS[request.param]().double()


def sample(cell: Cell, steps: int = 12) -> tuple[Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(steps, 2, cell.input_size, generator=rng, dtype=torch.float64)
    dt = cell.period * (0.25 + 2.0 * torch.rand(steps, 2, generator=rng, dtype=torch.float64))
    h = cell.step(torch.randn(2, cell.input_size, generator=rng, dtype=torch.float64), cell.initial_state(2))
    return x, dt, h.detach()


def test_a_trace_holds_the_states_of_the_sequence(cell: Cell) -> None:
    x, dt, h = sample(cell)
    read = trace(cell, x, dt, h)
    torch.testing.assert_close(read.states, cell.states(x, h, dt, None).detach(), rtol=0, atol=1e-12)
    assert not read.states.requires_grad


def test_effective_time_constants_say_how_long_a_disturbance_lasts(cell: Cell) -> None:
    x, dt, h = sample(cell)
    read, t, size = trace(cell, x, dt, h), 7, 1e-5
    for k in range(cell.state_size):
        disturbance = torch.zeros_like(h)
        disturbance[:, k] = size
        before = read.states[t - 1]
        change = cell.step(x[t], before + disturbance, dt[t]) - cell.step(x[t], before - disturbance, dt[t])
        kept = (change[:, k] / (2.0 * size)).abs()
        torch.testing.assert_close(torch.exp(-dt[t] / read.time_constants[t, :, k]), kept, rtol=1e-5, atol=1e-7)


def test_a_leak_shows_its_own_time_constant() -> None:
    cell = Diagonal(2, 4, time_constants=(1.0, 50.0), period=0.01, backend="torch").double()
    at_rest = trace(cell, torch.zeros(3, 1, 2, dtype=torch.float64), torch.tensor([[0.01], [0.03], [0.002]]).double())
    expected = 0.01 * torch.logspace(0.0, math.log10(50.0), 4, dtype=torch.float64).expand(3, 1, 4)
    torch.testing.assert_close(at_rest.time_constants, expected, rtol=1e-5, atol=0)
    leaky = trace(Reservoir(2, 5, leak=0.3, spectral_radius=1e-9, period=0.1), torch.zeros(2, 1, 2))
    torch.testing.assert_close(leaky.time_constants, torch.full((2, 1, 5), -0.1 / math.log(0.7)), rtol=1e-4, atol=0)


def test_a_neuron_shows_its_liquid_time_constant() -> None:
    torch.manual_seed(0)
    cell = LTC(3, 9, Wiring.auto_ncp(3, 9, 2), unfolds=100, period=0.01, backend="torch").double()
    inter = list(cell.wiring.neurons("inter"))
    x, dt, h = sample(cell)
    sensed = x * cell.input_gain + cell.input_bias
    synapses = cell.sensory
    opening = torch.sigmoid(synapses.slope * (sensed[..., None] - synapses.threshold))
    conductance = (F.softplus(synapses.weight) * synapses.mask * opening).sum(2) + F.softplus(cell.leak_conductance)
    expected = cell.period * F.softplus(cell.capacitance) / conductance
    measured = trace(cell, x, dt, h).time_constants
    torch.testing.assert_close(measured[..., inter], expected[..., inter].detach(), rtol=0.05, atol=0)


def test_the_gate_of_a_cfc_lies_between_its_targets() -> None:
    torch.manual_seed(0)
    cell = CfC(3, 5, backend="torch").double()
    x, dt, h = sample(cell)
    f, g, gate = cell.layers[0].activate(x[0], h, dt[0] / cell.period)
    read = trace(cell, x, dt, h)
    torch.testing.assert_close(read.gates["update"][0], gate.detach())
    torch.testing.assert_close((read.states[0] - f) / (g - f), gate)


class Counter(Cell):
    """One variable that keeps, one that doubles and one that forgets what it was."""

    def __init__(self) -> None:
        super().__init__(1, 3, 3, period=0.1)
        self.factors = torch.nn.Parameter(torch.tensor([1.0, 2.0, 0.0]))

    @property
    def config(self) -> dict:
        return {}

    def step(self, x: Tensor, h: Tensor, dt: Tensor | None = None) -> Tensor:
        return self.factors * h + x


def test_what_does_not_decay_has_an_infinite_time_constant_and_what_is_forgotten_none() -> None:
    read = trace(Counter(), torch.ones(2, 1, 1))
    assert read.time_constants[0, 0].tolist() == [math.inf, math.inf, 0.0] and read.gates == {}


def test_the_gates_of_a_trace_are_those_of_its_steps(cell: Cell) -> None:
    x, dt, h = sample(cell)
    read = trace(cell, x, dt, h)
    expected = cell.gates(x[4], read.states[3], dt[4])
    assert set(read.gates) == set(expected) and bool(expected) == (not isinstance(cell, Reservoir))
    for name, gate in read.gates.items():
        torch.testing.assert_close(gate[4], expected[name].detach(), rtol=0, atol=1e-12)
        assert 0.0 <= gate.min() and gate.max() <= 1.0 and not gate.requires_grad


def test_the_gradient_horizon_follows_autograd(cell: Cell) -> None:
    x, dt, _ = sample(cell)
    horizon = gradient_horizon(cell, x, dt, warm_up=4)
    h, states = cell.initial_state(2), []
    for t in range(12):
        states.append(h.requires_grad_())
        h = cell.step(x[t], h, dt[t])
    states.append(h)
    squares = torch.zeros(13, 2, dtype=torch.float64)
    for output in cell.output(h).T:
        for k, gradient in enumerate(torch.autograd.grad(output.sum(), states[::-1], retain_graph=True)):
            squares[k] += gradient.square().sum(1)
    torch.testing.assert_close(horizon.norms, squares.mean(1).sqrt()[:9])
    torch.testing.assert_close(horizon.elapsed, torch.cat([torch.zeros(1), dt.flip(0).mean(1).cumsum(0)[:8]]).double())


@pytest.mark.parametrize("share", [math.exp(-1.0), 0.1])
def test_the_horizon_of_a_single_leak_is_its_time_constant(share: float) -> None:
    cell = Reservoir(1, 1, leak=0.1, spectral_radius=1e-12, period=0.05)
    horizon = gradient_horizon(cell, share=share)
    assert horizon.steps == math.ceil(math.log(share) / math.log(0.9))
    assert horizon.seconds == pytest.approx(0.05 * horizon.steps, rel=1e-5)


def test_longer_time_constants_widen_the_horizon() -> None:
    torch.manual_seed(0)
    cells = [Diagonal(3, 16, time_constants=(1.0, longest), backend="torch") for longest in (2.0, 20.0, 200.0)]
    horizons = [gradient_horizon(cell).steps for cell in cells]
    assert horizons[0] < horizons[1] < horizons[2]


def test_a_gradient_that_does_not_vanish_has_no_horizon() -> None:
    horizon = gradient_horizon(Counter(), torch.ones(5, 1, 1), warm_up=0)
    assert horizon.steps == horizon.seconds == math.inf
    assert horizon.norms.tolist() == pytest.approx([math.sqrt(1.0 + 4.0**k) if k else math.sqrt(3) for k in range(6)])


def test_misuse_is_refused_with_what_to_do() -> None:
    with pytest.raises(ValueError, match="one less than the 5 steps, got 5"):
        gradient_horizon(Counter(), torch.ones(5, 1, 1), warm_up=5)
    with pytest.raises(ValueError, match=r"x must be \[T >= 1, B, 1\]"):
        trace(Counter(), torch.ones(5, 1, 2))
