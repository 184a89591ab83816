"""Shadow: what was learned when it was last known to be good, kept beside what was learned since; and the score of both.

An adapter names the fields that it learns in a NamedTuple class, then the same with `kept_` before them, then `loss` [N, 3]
(`Adapter.loss`). `Guard.review` says when they are kept and restored.
"""

from __future__ import annotations

import numpy as np

from ...policies.kernels.arithmetic import copy
from .compiled import helper, inlined, kernel
from .state import State, part

_LOSS_RATE = 0.04
"""Share of a new sample in the losses."""
MOST_TAIL = 1e150
"""Factors of likelihoods are multiplied up to here before the logarithm of their product is taken, which is slow."""


def keep(state: State, fields: type, rows: np.ndarray) -> State:
    """The state whose shadow, where rows [N] is true, is what it has learned."""
    after = state.copy()
    _keep(rows, after.parts(fields), after.rows)
    return after


def restore(state: State, fields: type, rows: np.ndarray) -> State:
    """The state that has learned, where rows [N] is true, what its shadow did."""
    after = state.copy()
    names: tuple[str, ...] = fields._fields  # type: ignore[attr-defined]
    for name in names[: len(names) // 2]:
        after[name][rows] = state[f"kept_{name}"][rows]
    after["loss"][rows, 0] = state["loss"][rows, 2]
    return after


@kernel
def _keep(chosen, parts, rows):  # type: ignore[no-untyped-def]
    for n in range(rows.shape[0]):
        if chosen[n]:
            keep_row(parts, rows[n])


@helper
def keep_row(parts, row):  # type: ignore[no-untyped-def]
    """`keep`, of one vehicle: its row [S] is written."""
    learned = len(parts) // 2
    for k in range(learned):
        copy(part(row, parts, k), part(row, parts, learned + k))
    loss = part(row, parts, 2 * learned)
    loss[2] = loss[0]


@inlined
def losses(parts, rows):  # type: ignore[no-untyped-def]
    """loss [N, 3] of the states `rows` [N, S]."""
    last = len(parts) - 1
    return rows[:, parts[last, 0] : parts[last, 1]]


@helper
def score(nominal, expected, d, kept, before, measured, h, spread, model_sd, loss):  # type: ignore[no-untyped-def]
    """Take into loss [3] what a sample costs that nothing has been learned from yet: the mean over the rates of the negative
    log likelihood, but for a constant, of the acceleration from before to measured [R] in h s, under a Student distribution of
    4 degrees of freedom and the variance spread [R], at least that of what the nominal model leaves, model_sd [R].

    It was expected [R] + d [R] by what was learned, nominal [R] without, and kept [R] by the shadow.
    """
    count = d.shape[0]
    learned, nothing, shadow, share = 1.0, 1.0, 1.0, _LOSS_RATE * 2.5 / count
    for k in range(3):
        loss[k] *= 1.0 - _LOSS_RATE
    for i in range(count):
        r = (measured[i] - before[i]) / h
        width = 0.25 / max(spread[i], model_sd[i] ** 2)
        learned *= 1.0 + width * (r - expected[i] - d[i]) ** 2
        nothing *= 1.0 + width * (r - nominal[i]) ** 2
        shadow *= 1.0 + width * (r - kept[i]) ** 2
        if i == count - 1 or max(learned, nothing, shadow) > MOST_TAIL:
            loss[0] += share * np.log(learned)
            loss[1] += share * np.log(nothing)
            loss[2] += share * np.log(shadow)
            learned, nothing, shadow = 1.0, 1.0, 1.0
