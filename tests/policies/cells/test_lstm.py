from __future__ import annotations

import pytest
import torch
from torch import nn

from undrift.policies.cells import LSTM

PERIOD = 0.02


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("backend", ["torch", "numba"])
@pytest.mark.parametrize("timed", [False, True], ids=["nominal-period", "elapsed-time"])
def test_it_is_the_lstm_of_torch(dtype: torch.dtype, tolerance: float, backend: str, timed: bool) -> None:
    torch.manual_seed(0)
    inputs, units, steps, rows = 3, 7, 6, 5
    ours = LSTM(inputs, units, PERIOD, backend).to(dtype)
    theirs = nn.LSTM(inputs + timed, units).to(dtype)
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(ours.input.weight[:, : inputs + timed])
        theirs.weight_hh_l0.copy_(ours.recurrent.weight)
        theirs.bias_ih_l0.copy_(ours.input.bias)
        theirs.bias_hh_l0.zero_()
    x = torch.randn(steps, rows, inputs, dtype=dtype, requires_grad=True)
    h = torch.randn(rows, 2 * units, dtype=dtype, requires_grad=True)
    dt = (PERIOD * 2.0 * torch.rand(steps, rows, dtype=dtype)).requires_grad_() if timed else None
    read = x if dt is None else torch.cat([x, dt[..., None] / PERIOD - 1.0], 2)
    y, final = ours.sequence(x, h, dt)
    expected, (hidden, memory) = theirs(read, (h[None, :, :units].contiguous(), h[None, :, units:].contiguous()))
    expected_final = torch.cat([hidden[0], memory[0]], 1)
    torch.testing.assert_close(y, expected, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(final, expected_final, rtol=tolerance, atol=tolerance)
    weight = torch.randn_like(y)
    own = [ours.input.weight, ours.input.bias, ours.recurrent.weight]
    given = [x, h] if dt is None else [x, h, dt]
    gradients = torch.autograd.grad((y * weight).sum() + final.square().sum(), own + given)
    reference = [theirs.weight_ih_l0, theirs.bias_ih_l0, theirs.weight_hh_l0]
    expected_gradients = torch.autograd.grad(
        (expected * weight).sum() + expected_final.square().sum(), reference + given
    )
    assert timed or (gradients[0][:, -1] == 0).all(), "at the nominal period the time input is zero"
    torch.testing.assert_close(
        gradients[0][:, : inputs + timed], expected_gradients[0], rtol=10 * tolerance, atol=10 * tolerance
    )
    for value, other in zip(gradients[1:], expected_gradients[1:], strict=True):
        torch.testing.assert_close(value, other, rtol=10 * tolerance, atol=10 * tolerance)


def test_the_forget_gate_starts_open_and_recurrent_weights_orthogonal() -> None:
    cell = LSTM(3, 8)
    gates = cell.gates(torch.zeros(1, 3), cell.initial_state(1))
    assert torch.allclose(gates["forget"], torch.sigmoid(torch.tensor(1.0))) and (gates["input"] == 0.5).all()
    for recurrent in cell.recurrent.weight.split(8):
        torch.testing.assert_close(recurrent @ recurrent.T, torch.eye(8))


def test_the_output_is_the_hidden_state() -> None:
    cell = LSTM(3, 8)
    y, h = cell.sequence(torch.randn(4, 2, 3), cell.initial_state(2))
    assert cell.output_size == 8 and cell.state_size == 16 and torch.equal(y[-1], h[:, :8])
