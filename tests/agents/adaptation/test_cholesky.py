"""The solver against numpy's."""

import numpy as np
import pytest

from undrift.agents.adaptation.cholesky import solve


@pytest.mark.parametrize("size", [1, 2, 4, 6])
def test_a_positive_definite_system_is_solved(size):
    rng = np.random.default_rng(size)
    root, x = rng.normal(size=(size + 2, size)), rng.normal(size=size)
    gram = root.T @ root
    expected = np.linalg.solve(gram, x)
    solve(gram, x)
    np.testing.assert_allclose(x, expected, rtol=1e-9)
