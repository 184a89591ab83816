from __future__ import annotations

import numba
import numpy as np
import pytest
import torch

from undrift.policies import LTC
from undrift.policies.kernels import ltc


@numba.njit(error_model="numpy")
def apply_gate(x, limit, y):
    for i in range(x.size):
        y[i] = ltc.gate(x[i], limit)


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1.4e-6), (np.float64, 1e-15)])
def test_the_gate_is_accurate_and_never_negative(dtype: type, tolerance: float) -> None:
    x = np.concatenate([np.linspace(-12, 12, 200_001), [-np.inf, -1e30, 1e30, np.inf]]).astype(dtype)
    y = np.empty_like(x)
    apply_gate(x, dtype(ltc.GATE_LIMIT), y)
    np.testing.assert_allclose(y, 1 + np.tanh(x.astype(np.float64)), rtol=0, atol=tolerance)
    assert y.min() >= 0 and y.max() <= 2


def test_the_gate_lets_nan_through() -> None:
    y = np.zeros(64, np.float32)
    apply_gate(np.full(64, np.nan, np.float32), np.float32(ltc.GATE_LIMIT), y)
    assert np.isnan(y).all()


def test_prepare_refuses_what_does_not_fit() -> None:
    cell = LTC(3, 5)
    tensors = {name: value.numpy() for name, value in cell.state_dict().items()}
    with pytest.raises(ValueError, match="unknown solver 'heun'"):
        ltc.prepare({**cell.config, "solver": "heun"}, tensors)
    with pytest.raises(ValueError, match=r"'sensory.slope' must be \[3, 5\], got \[2, 5\]"):
        ltc.prepare(cell.config, {**tensors, "sensory.slope": np.zeros((2, 5), np.float32)})
    with pytest.raises(ValueError, match="'recurrent.bias' is unknown"):
        ltc.prepare(cell.config, {**tensors, "recurrent.bias": torch.zeros(5).numpy()})
