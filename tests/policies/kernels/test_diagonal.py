from __future__ import annotations

import numba
import numpy as np
import pytest

from undrift.policies.kernels import diagonal

X = np.concatenate([np.linspace(-40.0, 40.0, 100_001), np.geomspace(1e-30, 1e30, 1001), [0.0]])


@numba.njit
def apply_softplus(x, y):
    for i in range(x.size):
        y[i] = diagonal.softplus(x[i])


@numba.njit
def apply_approach(x, y):
    for i in range(x.size):
        y[i] = diagonal.approach(x[i])


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 3e-7), (np.float64, 1e-15)])
def test_softplus_is_accurate_and_does_not_overflow(dtype: type, tolerance: float) -> None:
    x = X.astype(dtype)
    y = np.empty_like(x)
    apply_softplus(x, y)
    np.testing.assert_allclose(y, np.logaddexp(0.0, x.astype(np.float64)), rtol=tolerance, atol=tolerance)
    assert (y >= 0).all()


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 6e-7), (np.float64, 1e-15)])
def test_approach_is_accurate_for_short_times_too_and_never_exceeds_one(dtype: type, tolerance: float) -> None:
    x = np.abs(X).astype(dtype)
    y = np.empty_like(x)
    apply_approach(x, y)
    np.testing.assert_allclose(y, -np.expm1(-x.astype(np.float64)), rtol=tolerance, atol=0)
    assert (y <= 1).all()


@pytest.mark.parametrize("function", [apply_softplus, apply_approach])
def test_nan_passes_through(function) -> None:
    y = np.zeros(3, np.float32)
    function(np.array([np.nan, 1.0, np.nan], np.float32), y)
    np.testing.assert_array_equal(np.isnan(y), [True, False, True])
