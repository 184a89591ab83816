from __future__ import annotations

import numpy as np
import pytest
import torch

from undrift.policies import check_cell
from undrift.policies.cells.reservoir import Reservoir

PERIOD = 0.02


def spectral_radius(cell: Reservoir) -> float:
    return float(np.abs(np.linalg.eigvals(cell.recurrent_weight.double().numpy())).max())


def test_it_keeps_the_contract() -> None:
    check_cell(lambda: Reservoir(4, 7))


def test_after_one_period_it_is_the_leaky_integrator_of_jaeger() -> None:
    cell = Reservoir(3, 20, leak=0.2).double()
    w_in, w, b = (tensor.numpy() for tensor in (cell.input_weight, cell.recurrent_weight, cell.bias))
    x, h = np.random.default_rng(0).normal(size=(5, 3)), np.zeros(20)
    expected = []
    for sample in x:
        h = 0.8 * h + 0.2 * np.tanh(w_in @ sample + w @ h + b)
        expected.append(h)
    y, _ = cell.sequence(torch.from_numpy(x)[:, None], cell.initial_state(1))
    np.testing.assert_allclose(y[:, 0].numpy(), expected, rtol=1e-12)


def test_while_its_drive_is_held_it_follows_the_differential_equation() -> None:
    cell = Reservoir(2, 1, leak=0.3, bias_scale=0.5).double()
    cell.recurrent_weight.zero_()
    x, tau = torch.tensor([[0.4, -1.0]], dtype=torch.float64), -PERIOD / np.log(0.7)
    drive = torch.tanh(x @ cell.input_weight.T + cell.bias)
    for dt in (0.001, 0.02, 0.5):
        expected = drive + (0.9 - drive) * np.exp(-dt / tau)
        h = cell.step(x, torch.full((1, 1), 0.9, dtype=torch.float64), torch.tensor([dt], dtype=torch.float64))
        torch.testing.assert_close(h, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("units, sparsity, radius", [(60, 0.9, 0.9), (60, 0.0, 1.3), (1, 0.0, 0.5), (5, 0.99, 0.7)])
def test_the_recurrent_weight_has_its_radius_and_its_synapses(units: int, sparsity: float, radius: float) -> None:
    cell = Reservoir(2, units, spectral_radius=radius, sparsity=sparsity)
    assert spectral_radius(cell) == pytest.approx(radius, rel=1e-5)
    assert ((cell.recurrent_weight != 0).sum(1) == max(round((1 - sparsity) * units), 1)).all()


def test_below_a_radius_of_one_it_forgets_where_it_began() -> None:
    cell = Reservoir(2, 50, leak=0.5)
    x, h = torch.randn(200, 2, 2)[:, :1].expand(-1, 2, -1), torch.randn(2, 50)
    y, _ = cell.sequence(x, h)
    assert (y[0, 0] - y[0, 1]).abs().max() > 0.1
    assert (y[-1, 0] - y[-1, 1]).abs().max() < 1e-6


def test_a_seed_gives_the_same_weights_whatever_the_state_of_torch() -> None:
    torch.manual_seed(1)
    one = Reservoir(3, 20, seed=4).state_dict()
    torch.manual_seed(2)
    same, other = Reservoir(3, 20, seed=4).state_dict(), Reservoir(3, 20, seed=5).state_dict()
    assert all(torch.equal(one[name], same[name]) and not torch.equal(one[name], other[name]) for name in one)


def test_nothing_in_it_is_trained_but_gradients_pass_through() -> None:
    cell = Reservoir(3, 10)
    x = torch.randn(4, 2, 3, requires_grad=True)
    cell.sequence(x, cell.initial_state(2))[0].square().sum().backward()
    assert not list(cell.parameters()) and x.grad is not None and (x.grad != 0).all()


@pytest.mark.parametrize("leak", [0.3, 1.0])
def test_prepared_steps_are_those_of_the_cell(leak: float) -> None:
    rng = np.random.default_rng(0)
    cell = Reservoir(5, 33, leak=leak).double()
    x, h, dt = rng.normal(size=(4, 5)), rng.normal(size=(4, 33)), rng.uniform(0.0, 0.1, 4)
    expected = cell.step(*map(torch.from_numpy, (x, h, dt))).numpy()
    np.testing.assert_allclose(cell.prepared().step(x, h, dt), expected, rtol=1e-12, atol=1e-14)
    single = cell.float().prepared()
    np.testing.assert_allclose(single.step(x, h, dt), expected, atol=2e-6)
    alone = np.vstack([single.step(x[b : b + 1], h[b : b + 1], dt[b : b + 1]) for b in range(4)])
    np.testing.assert_array_equal(single.step(x, h, dt), alone)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"leak": 0.0}, "leak"),
        ({"leak": 1.1}, "leak"),
        ({"spectral_radius": 0.0}, "spectral_radius"),
        ({"sparsity": 1.0}, "sparsity"),
        ({"input_scale": -1.0}, "input_scale"),
        ({"bias_scale": float("nan")}, "bias_scale"),
    ],
)
def test_a_value_outside_its_range_is_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Reservoir(2, 3, **arguments)  # type: ignore[arg-type]
