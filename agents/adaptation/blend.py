"""Blend: within the kernels of a model-based adapter, the integral that `Auto` has beside it.

With a weight below 1 the integral has its share of what is shown and sent, and learns. An adapter by itself has no weight.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...policies.kernels.arithmetic import copy
from ...policies.kernels.packed import integers, real, reals
from ...policies.kernels.views import vector
from .compiled import helper
from .demand import demand_of, lower
from .state import part


class Trust(NamedTuple):
    """What kernels read and write of one vehicle: fields of the state, as views of its row."""

    loss: np.ndarray
    weight: np.ndarray
    fallback: np.ndarray


class Demanded(NamedTuple):
    """The field of the state that says how much is asked of a vehicle, if less may be."""

    demand: np.ndarray


class Tuning(NamedTuple):
    """Of the weight (`Auto`) and of the `Integral`; and what may be asked less of, packed (`NominalModel.demand`)."""

    tolerance: float
    width: float
    channels: np.ndarray
    gain: float
    limit: float
    window: float
    demand: np.ndarray


@helper
def _tuning_of(packed):  # type: ignore[no-untyped-def]
    """The `Tuning` that was packed."""
    return Tuning(
        tolerance=real(packed, 0),
        width=real(packed, 1),
        channels=integers(packed, 2),
        gain=real(packed, 3),
        limit=real(packed, 4),
        window=real(packed, 5),
        demand=reals(packed, 6),
    )


@helper
def mix(weight, integral, model_based):  # type: ignore[no-untyped-def]
    """What is shown or sent [K], where the members show or send these; the weight is of the one that is written."""
    for k in range(integral.shape[0]):
        model_based[k] = weight * model_based[k] + (1.0 - weight) * integral[k]


@helper
def weigh(tolerance, width, loss, weight):  # type: ignore[no-untyped-def]
    """The weight [1] of a model-based member of this loss [3] (`Auto`), written."""
    weight[0] = min(max((loss[1] - loss[0] + tolerance) / width, 0.0), 1.0)


@helper
def integrate(channels, gain, limit, window, following, active, dt, undone, integral):  # type: ignore[no-untyped-def]
    """`Integral.integrate`, of one vehicle: the integral [E] of the errors in `channels` [E] of what followed is written; they
    count as 0 where it is not active."""
    for e in range(integral.shape[0]):
        error = min(max(following[channels[e]], -window), window)
        after = max(1.0 - undone, 0.0) * integral[e] + (gain * dt * error if active else 0.0)
        integral[e] = min(max(after, -limit), limit)


@helper
def blend_shown(c, rows, observation, shown):  # type: ignore[no-untyped-def]
    """`Auto.see`: shown [N, O] comes as the model-based member shows the observation, and is written."""
    if c.trust.shape[0] == 0:
        return
    t, beside = _tuning_of(c.tuning), vector(observation.shape[1])
    for n in range(len(rows)):
        weight, integral = part(rows[n], c.trust, 1)[0], part(rows[n], c.trust, 2)
        if weight < 1.0:
            copy(observation[n], beside)
            for e in range(integral.shape[0]):
                beside[t.channels[e]] += integral[e]
            if c.demanded.shape[0] > 0:
                lower(demand_of(t.demand), part(rows[n], c.demanded, 0)[0], beside)
            mix(weight, beside, shown[n])


@helper
def blend_sent(c, rows, limited, wish):  # type: ignore[no-untyped-def]
    """`Auto.correct`: wish [N, A] comes as the model-based member's, and is written; the integral sends the policy's action,
    limited [N, A] to what the vehicle can take."""
    if c.trust.shape[0] == 0:
        return
    for n in range(len(rows)):
        weight = part(rows[n], c.trust, 1)[0]
        if weight < 1.0:
            mix(weight, limited[n], wish[n])


@helper
def blend_learned(c, rows, following, dt):  # type: ignore[no-untyped-def]
    """`Auto.learn`: the weight follows the loss, and the integral learns where it had any."""
    if c.trust.shape[0] == 0:
        return
    t = _tuning_of(c.tuning)
    for n in range(len(rows)):
        loss, weight, integral = part(rows[n], c.trust, 0), part(rows[n], c.trust, 1), part(rows[n], c.trust, 2)
        if weight[0] < 1.0:
            integrate(t.channels, t.gain, t.limit, t.window, following[n], True, dt[n], dt[n] * c.leak, integral)
        weigh(t.tolerance, t.width, loss, weight)
