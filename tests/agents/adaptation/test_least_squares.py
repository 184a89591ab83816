"""The solvers against scipy's."""

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from undrift.agents.adaptation.least_squares import solve, solve_in_box


@pytest.mark.parametrize("size", [1, 2, 4, 6])
def test_a_positive_definite_system_is_solved(size):
    rng = np.random.default_rng(size)
    root, x = rng.normal(size=(size + 2, size)), rng.normal(size=size)
    gram = root.T @ root
    expected = np.linalg.solve(gram, x)
    solve(gram, x)
    np.testing.assert_allclose(x, expected, rtol=1e-9)


def test_within_a_box_the_nearest_point_is_found_wherever_it_is_begun():
    rng = np.random.default_rng(0)
    at_a_bound = 0
    for _ in range(300):
        matrix, wanted, u = rng.normal(size=(4, 4)), 3.0 * rng.normal(size=4), rng.normal(size=4)
        solve_in_box(matrix.T @ matrix, matrix.T @ wanted, 1.5, u)
        expected = lsq_linear(matrix, wanted, (0.0, 1.5), method="bvls", tol=1e-14).x
        np.testing.assert_allclose(matrix @ u, matrix @ expected, atol=1e-6)
        assert u.min() >= 0.0 and u.max() <= 1.5
        at_a_bound += (u == 0.0).any() or (u == 1.5).any()
    assert at_a_bound > 200
