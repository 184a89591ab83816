"""Least squares of a few unknowns, compiled into the kernels that need them."""

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


@helper
def solve_in_box(gram, target, top, u):  # type: ignore[no-untyped-def]
    """u [A] in [0, top] that minimises u' gram u / 2 - target' u, from and into u: the active-set method BVLS (Stark & Parker
    1995, Computational Statistics 10(2))."""
    count = u.shape[0]
    free = np.empty(count, np.bool_)
    for i in range(count):
        u[i] = min(max(u[i], 0.0), top)
        free[i] = 0.0 < u[i] < top
    for _ in range(4 * count):
        while not _step_to_minimum(gram, target, top, u, free):
            pass
        most, freed = 1e-9, -1
        for i in range(count):
            push = target[i]
            for j in range(count):
                push -= gram[i, j] * u[j]
            inwards = push if u[i] <= 0.0 else -push
            if not free[i] and inwards > most:
                most, freed = inwards, i
        if freed < 0:
            return
        free[freed] = True


@helper
def _step_to_minimum(gram, target, top, u, free):  # type: ignore[no-untyped-def]
    """Towards the minimum over the free entries; the first that meets a bound stays there. Whether none did."""
    count = u.shape[0]
    matrix, minimum = np.zeros((count, count)), u.copy()
    for a in range(count):
        matrix[a, a] = 1.0
        if free[a]:
            minimum[a] = target[a]
            for b in range(count):
                if free[b]:
                    matrix[a, b] = gram[a, b]
                else:
                    minimum[a] -= gram[a, b] * u[b]
    solve(matrix, minimum)
    step, hit, bound = 1.0, -1, 0.0
    for a in range(count):
        if free[a] and (minimum[a] < 0.0 or minimum[a] > top):
            wall = 0.0 if minimum[a] < 0.0 else top
            share = (wall - u[a]) / (minimum[a] - u[a])
            if share < step:
                step, hit, bound = share, a, wall
    for a in range(count):
        u[a] += step * (minimum[a] - u[a])
    if hit >= 0:
        u[hit] = bound
        free[hit] = False
    return hit < 0
