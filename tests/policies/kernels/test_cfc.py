from __future__ import annotations

import subprocess
import sys

import numba
import numpy as np
import pytest

from undrift.policies.kernels import cfc


@numba.njit
def apply_tanh(x, y):
    for i in range(x.size):
        y[i] = cfc.tanh(x[i])


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 5e-7), (np.float64, 1e-15)])
def test_tanh_is_accurate_over_the_whole_line(dtype: type, tolerance: float) -> None:
    x = np.concatenate([np.linspace(-12, 12, 200_001), [-1e30, 1e30, -np.inf, np.inf, 0.0, 1e-30]]).astype(dtype)
    y = np.empty_like(x)
    apply_tanh(x, y)
    np.testing.assert_allclose(y, np.tanh(x.astype(np.float64)), rtol=tolerance, atol=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tanh_passes_nan_through(dtype: type) -> None:
    y = np.zeros(3, dtype)
    apply_tanh(np.array([np.nan, 1.0, np.nan], dtype), y)
    np.testing.assert_array_equal(np.isnan(y), [True, False, True])


@pytest.mark.parametrize("outputs, inputs", [(1, 1), (4, 32), (5, 33), (96, 98)])
def test_a_packed_linear_map_multiplies_as_numpy_does(outputs: int, inputs: int) -> None:
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(outputs, inputs)).astype(np.float32), rng.normal(size=outputs).astype(np.float32)
    x, y = np.full(200, np.nan, np.float32), np.empty(200, np.float32)
    x[:inputs] = rng.normal(size=inputs)
    expected = weight @ x[:inputs] + bias
    packed = np.concatenate([np.ones(7, np.float32), cfc.pack_linear(weight, bias)])
    cfc._linear(packed, 7, x, inputs, y, outputs)
    np.testing.assert_allclose(y[:outputs], expected, rtol=1e-5, atol=1e-5)


def test_the_kernels_load_without_torch() -> None:
    program = "import sys, undrift.policies.kernels.cfc; assert not {'torch', 'stable_baselines3'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
