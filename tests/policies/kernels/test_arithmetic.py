from __future__ import annotations

import numba
import numpy as np
import pytest

from undrift.policies.kernels import arithmetic


@numba.njit
def apply_tanh(x, y):
    for i in range(x.size):
        y[i] = arithmetic.tanh(x[i])


@numba.njit
def apply_sigmoid(x, y):
    for i in range(x.size):
        y[i] = arithmetic.sigmoid(x[i])


WHOLE_LINE = np.concatenate([np.linspace(-12, 12, 200_001), [-1e30, 1e30, -np.inf, np.inf, 0.0, 1e-30]])


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 5e-7), (np.float64, 2e-15)])
def test_tanh_is_accurate_over_the_whole_line(dtype: type, tolerance: float) -> None:
    x = WHOLE_LINE.astype(dtype)
    y = np.empty_like(x)
    apply_tanh(x, y)
    np.testing.assert_allclose(y, np.tanh(x.astype(np.float64)), rtol=tolerance, atol=0)


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 3e-7), (np.float64, 3e-16)])
def test_sigmoid_is_accurate_over_the_whole_line(dtype: type, tolerance: float) -> None:
    x = WHOLE_LINE.astype(dtype)
    y = np.empty_like(x)
    apply_sigmoid(x, y)
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(y, 1.0 / (1.0 + np.exp(-x.astype(np.float64))), rtol=0, atol=tolerance)


@pytest.mark.parametrize("apply", [apply_tanh, apply_sigmoid])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_passes_through(apply, dtype: type) -> None:
    y = np.zeros(3, dtype)
    apply(np.array([np.nan, 1.0, np.nan], dtype), y)
    np.testing.assert_array_equal(np.isnan(y), [True, False, True])


@pytest.mark.parametrize("outputs, inputs", [(1, 1), (4, 32), (5, 33), (96, 98)])
def test_packed_linear_maps_multiply_as_numpy_does_and_follow_each_other(outputs: int, inputs: int) -> None:
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(outputs, inputs)).astype(np.float32), rng.normal(size=outputs).astype(np.float32)
    x, y = np.full(200, np.nan, np.float32), np.empty(200, np.float32)
    x[:inputs] = rng.normal(size=inputs)
    expected = weight @ x[:inputs] + bias
    packed = np.concatenate([np.ones(7, np.float32), arithmetic.pack_linear(weight, bias)])
    end = arithmetic.linear(packed, 7, x, inputs, y, outputs)
    np.testing.assert_allclose(y[:outputs], expected, rtol=1e-5, atol=1e-5)
    assert end == len(packed)


@pytest.mark.parametrize("count", [1, 4, 6])
@pytest.mark.parametrize("outputs, inputs", [(5, 33), (64, 31)])
def test_packed_linear_maps_of_several_rows_multiply_as_numpy_does(outputs: int, inputs: int, count: int) -> None:
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(outputs, inputs)), rng.normal(size=outputs)
    x, y = np.full((count, 80), np.nan), np.empty((count, 80))
    x[:, :inputs] = rng.normal(size=(count, inputs))
    expected = x[:, :inputs] @ weight.T
    packed = np.concatenate([np.ones(7), arithmetic.pack_linear(weight, bias)])
    assert arithmetic.linear_rows(packed, 7, x, inputs, y, outputs, True) == len(packed)
    np.testing.assert_allclose(y[:, :outputs], expected + bias, rtol=1e-12, atol=1e-12)
    arithmetic.linear_rows(packed, 7, x, inputs, y, outputs, False)
    np.testing.assert_allclose(y[:, :outputs], expected, rtol=1e-12, atol=1e-12)
