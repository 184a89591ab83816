"""A linear system of a few unknowns, solved within the kernels that need it."""

from __future__ import annotations

import numpy as np

from .compiled import helper


@helper
def solve(gram, x):  # type: ignore[no-untyped-def]
    """x [A] becomes the solution of gram [A, A] solution = x; gram is positive definite, given by its lower triangle, and
    becomes its Cholesky factor."""
    count = x.shape[0]
    for a in range(count):
        for b in range(a + 1):
            rest = gram[a, b]
            for k in range(b):
                rest -= gram[a, k] * gram[b, k]
            gram[a, b] = np.sqrt(rest) if a == b else rest / gram[b, b]
        for k in range(a):
            x[a] -= gram[a, k] * x[k]
        x[a] /= gram[a, a]
    for a in range(count - 1, -1, -1):
        for k in range(a + 1, count):
            x[a] -= gram[k, a] * x[k]
        x[a] /= gram[a, a]
