from __future__ import annotations

import pytest
import torch
from torch import nn

from undrift.policies.cells import GRU

PERIOD = 0.02


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("backend", ["torch", "numba"])
@pytest.mark.parametrize("timed", [False, True], ids=["nominal-period", "elapsed-time"])
def test_it_is_the_gru_of_torch(dtype: torch.dtype, tolerance: float, backend: str, timed: bool) -> None:
    torch.manual_seed(0)
    inputs, units, steps, rows = 3, 7, 6, 5
    ours = GRU(inputs, units, PERIOD, backend).to(dtype)
    theirs = nn.GRU(inputs + timed, units).to(dtype)
    with torch.no_grad():
        ours.recurrent.bias.normal_()
        theirs.weight_ih_l0.copy_(ours.input.weight[:, : inputs + timed])
        theirs.weight_hh_l0.copy_(ours.recurrent.weight)
        theirs.bias_ih_l0.copy_(ours.input.bias)
        theirs.bias_hh_l0.copy_(ours.recurrent.bias)
    x = torch.randn(steps, rows, inputs, dtype=dtype, requires_grad=True)
    h = torch.randn(rows, units, dtype=dtype, requires_grad=True)
    dt = (PERIOD * 2.0 * torch.rand(steps, rows, dtype=dtype)).requires_grad_() if timed else None
    read = x if dt is None else torch.cat([x, dt[..., None] / PERIOD - 1.0], 2)
    y, final = ours.sequence(x, h, dt)
    expected, expected_final = theirs(read, h[None])
    torch.testing.assert_close(y, expected, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(final, expected_final[0], rtol=tolerance, atol=tolerance)
    weight = torch.randn_like(y)
    given = [x, h] if dt is None else [x, h, dt]
    own = [ours.input.weight, ours.input.bias, ours.recurrent.weight, ours.recurrent.bias]
    reference = [theirs.weight_ih_l0, theirs.bias_ih_l0, theirs.weight_hh_l0, theirs.bias_hh_l0]
    gradients = torch.autograd.grad((y * weight).sum(), own + given)
    expected_gradients = torch.autograd.grad((expected * weight).sum(), reference + given)
    assert timed or (gradients[0][:, -1] == 0).all(), "at the nominal period the time input is zero"
    torch.testing.assert_close(
        gradients[0][:, : inputs + timed], expected_gradients[0], rtol=10 * tolerance, atol=10 * tolerance
    )
    for value, other in zip(gradients[1:], expected_gradients[1:], strict=True):
        torch.testing.assert_close(value, other, rtol=10 * tolerance, atol=10 * tolerance)


def test_recurrent_weights_start_orthogonal_and_the_update_gate_half_open() -> None:
    cell = GRU(3, 8)
    for recurrent in cell.recurrent.weight.split(8):
        torch.testing.assert_close(recurrent @ recurrent.T, torch.eye(8))
    gates = cell.gates(torch.zeros(1, 3), cell.initial_state(1))
    assert (gates["update"] == 0.5).all() and (gates["reset"] == 0.5).all()
