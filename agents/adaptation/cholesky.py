"""A linear system of a few unknowns, solved within the kernels that need it."""

from __future__ import annotations

from .compiled import helper


@helper
def solve(gram, x):  # type: ignore[no-untyped-def]
    """x [A] becomes the solution of gram [A, A] solution = x; gram is positive definite, given by its lower triangle, and
    becomes L of L D L' = gram, below its diagonal, and 1 / D on it: one division for each unknown, and no root."""
    count = x.shape[0]
    for a in range(count):
        for b in range(a):
            for k in range(b):
                gram[a, b] -= gram[a, k] * gram[b, k]
        for b in range(a):
            entry = gram[a, b] * gram[b, b]
            gram[a, a] -= entry * gram[a, b]
            x[a] -= entry * x[b]
            gram[a, b] = entry
        gram[a, a] = 1.0 / gram[a, a]
    for a in range(count - 1, -1, -1):
        x[a] *= gram[a, a]
        for k in range(a + 1, count):
            x[a] -= gram[k, a] * x[k]
