from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from undrift.policies.cells import GRU, Diagonal
from undrift.policies.online import DiagonalRTRL


def random_cell(inputs: int = 4, units: int = 6) -> Diagonal:
    cell = Diagonal(inputs, units).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return cell


def learner(cell: Diagonal, dtype: str = "float64") -> DiagonalRTRL:
    return DiagonalRTRL(cell.config, {name: tensor.numpy() for name, tensor in cell.state_dict().items()}, dtype)


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-11), ("float32", 5e-6)])
@pytest.mark.parametrize("inputs, units, rows", [(18, 64, 3), (1, 1, 1)])
def test_its_gradient_is_that_of_backpropagation_through_the_whole_past(
    dtype: str, tolerance: float, inputs: int, units: int, rows: int
) -> None:
    torch.manual_seed(0)
    cell, steps = random_cell(inputs, units), 50
    x, d_state = torch.randn(steps, rows, inputs).double(), torch.randn(rows, units).double()
    dt, reset = 0.04 * torch.rand(steps, rows).double(), torch.rand(steps, rows) < 0.03
    rtrl, h = learner(cell, dtype), np.zeros((rows, units))
    for t in range(steps):
        h = rtrl.step(x[t], h, dt[t], reset[t])
    _, final = cell.sequence(x, cell.initial_state(rows), dt, reset)
    (final * d_state).sum().backward()
    gradient = rtrl.gradient(d_state)
    np.testing.assert_allclose(h, final.detach(), atol=tolerance)
    assert set(gradient) == dict(cell.named_parameters()).keys()
    for name, parameter in cell.named_parameters():
        expected = parameter.grad.numpy()
        np.testing.assert_allclose(gradient[name], expected, rtol=0, atol=tolerance * np.abs(expected).max())


def test_a_step_without_elapsed_time_lasts_one_period_and_leaves_its_arguments() -> None:
    cell, x = random_cell(), np.ones((2, 4))
    h = np.full((2, 6), 0.5)
    after = learner(cell).step(x, h, reset=[True, False])
    np.testing.assert_array_equal(after, learner(cell).step(x, h * [[0.0], [1.0]], np.full(2, cell.period)))
    assert (h == 0.5).all()


def test_after_a_restart_the_past_no_longer_counts() -> None:
    rtrl, x, h = learner(random_cell()), np.ones((2, 4)), np.zeros((2, 6))
    rtrl.step(x, h)
    first = rtrl.gradient(np.ones((2, 6)))
    rtrl.step(x, h)
    rtrl.restart()
    rtrl.step(x, h)
    for name, value in rtrl.gradient(np.ones((2, 6))).items():
        np.testing.assert_array_equal(value, first[name])


def test_new_parameters_take_effect_and_keep_the_sensitivity() -> None:
    cell, x, h = random_cell(), np.ones((1, 4)), np.zeros((1, 6))
    rtrl = learner(cell)
    h = rtrl.step(x, h)
    before = rtrl.sensitivity.copy()
    with torch.no_grad():
        cell.input.bias.add_(0.1)
    rtrl.assign({name: tensor.numpy() for name, tensor in cell.state_dict().items()})
    np.testing.assert_array_equal(rtrl.sensitivity, before)
    expected = cell.step(torch.from_numpy(x), torch.from_numpy(h)).detach()
    np.testing.assert_allclose(rtrl.step(x, h), expected, atol=1e-14)


def test_it_learns_while_the_sequence_runs() -> None:
    """Online gradient descent, one step at a time, makes a neuron remember the sign of a pulse long after it."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    cell = Diagonal(2, 8, time_constants=(1.0, 10.0))
    tensors = {name: tensor.numpy().copy() for name, tensor in cell.state_dict().items()}
    rtrl, readout, errors = DiagonalRTRL(cell.config, tensors), np.zeros(8, np.float32), []
    for _ in range(400):
        rtrl.restart()
        h, sign = np.zeros((1, 8)), rng.choice([-1.0, 1.0])
        for t in range(20):
            h = rtrl.step([[sign, 1.0] if t == 0 else [0.0, 0.0]], h)
        error = h[0] @ readout - sign
        gradient = rtrl.gradient(error * readout[None])
        readout -= 0.3 * error * h[0]
        for name in tensors:
            tensors[name] -= 0.3 * gradient[name]
        rtrl.assign(tensors)
        errors.append(error**2)
    assert np.mean(errors[-50:]) < 0.05 * np.mean(errors[:50])


def test_wrong_use_is_refused() -> None:
    rtrl = learner(random_cell())
    with pytest.raises(ValueError, match="call step"):
        rtrl.gradient(np.ones((1, 6)))
    rtrl.step(np.ones((2, 4)), np.zeros((2, 6)))
    with pytest.raises(ValueError, match=r"with B = 2 until restart"):
        rtrl.step(np.ones((3, 4)), np.zeros((3, 6)))
    with pytest.raises(ValueError, match=r"x \[B, 4\]"):
        rtrl.step(np.ones((2, 5)), np.zeros((2, 6)))
    with pytest.raises(ValueError, match="RTRL takes any cell"):
        DiagonalRTRL(GRU(2, 3).config, {})
    with pytest.raises(ValueError, match="tensor 'feedback' is missing"):
        DiagonalRTRL(Diagonal(2, 3).config, {})


def test_it_needs_no_torch() -> None:
    program = "import sys, undrift.policies.online; assert not {'torch', 'stable_baselines3'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
