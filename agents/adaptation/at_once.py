"""A control step in two compiled calls, to act and to learn: what the kernels of all adapters share.

At almost every step the guard has nothing to say, and the calls in between, each made by itself, take longer than their
arithmetic. So an adapter may have kernels that do all of it, the guard's looks included, and stop where one of them finds
something. What they wrote is then not taken, and every call is made by itself. Each adapter writes the order of its own down:
kernels that were handed to one another would not be kept on disk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ...policies.kernels.arithmetic import copy
from ...policies.kernels.by_address import call
from ...policies.kernels.packed import by_rows, integer, integers, real, reals
from ...policies.kernels.views import scratch, vector, view
from .compiled import helper, inlined, kernel
from .guard import all_admissible, all_arrived, all_teach, is_good, none_goes_back, steps_worse
from .shadow import keep_row, losses

_ACTIVITY_RATE = 0.1
"""Share of a new command in the mean of how much commands change."""


MOST_VEHICLES = 64
"""Of how many vehicles a step is made in two calls, which work on the stack; of more, the arithmetic takes longer than the calls."""


class AtOnce(NamedTuple):
    """The two calls, for states of one layout; arrays of N rows.

    act: of the adapter's state rows [N, S], written; observation and the last one [N, O]; the policy's last action and what was
        sent [N, A]; dt [N] s since then; steps, activity and acted [N] of `ControllerState`, written; hidden [N, H] the
        policy's memory, written; shown [N, O], which comes as the observation, and actions [3, N, A], the policy's own, what
        is to be sent, and that within its bounds, both written. Whether the guard had nothing to say.
    learn: of the state rows before and after [N, S], of which the latter come as the former and are written; observation and
        what followed [N, O]; which vehicles terminated [N]; what was to be sent and was [N, A]; dt, steps, activity, acted and
        worse [N], of which the last two are written. Whether the guard had nothing to say.
    """

    act: Callable[..., bool]
    learn: Callable[..., bool]


class Constants(NamedTuple):
    """What the calls read that stays the same: `known` and `parts` of the adapter, the parts of what has a shadow
    (`shadow.keep`), and which rates each action touches when it is saturated; the channels `sampled`, by which a sample is
    told from a copy, and those of the policy's previous_action; what the guard allows; the policy and its step
    (`DeployedPolicy.single_step`); parts and tuning of `blend`, empty where an adapter is by itself."""

    known: np.ndarray
    parts: np.ndarray
    shadow: np.ndarray
    touched: np.ndarray
    sampled: np.ndarray
    previous_action: np.ndarray
    hold_stale: bool
    seen_limit: float
    authority: float
    excitation: float
    leak: float
    dead_zone: float
    loss_margin: float
    patience: int
    keep_every: int
    policy: np.ndarray
    step: int
    trust: np.ndarray
    demanded: np.ndarray
    tuning: np.ndarray


LIMITS = (
    "hold_stale", "seen_limit", "authority", "excitation", "leak", "dead_zone", "loss_margin", "patience",
    "keep_every",
)  # fmt: skip
"""The guard's."""


@helper
def constants_of(packed):  # type: ignore[no-untyped-def]
    """The `Constants` that were packed."""
    return Constants(
        known=reals(packed, 0),
        parts=by_rows(integers(packed, 1), 2),
        shadow=by_rows(integers(packed, 2), 2),
        touched=integers(packed, 3),
        sampled=integers(packed, 4),
        previous_action=integers(packed, 5),
        hold_stale=integer(packed, 6) != 0,
        seen_limit=real(packed, 7),
        authority=real(packed, 8),
        excitation=real(packed, 9),
        leak=real(packed, 10),
        dead_zone=real(packed, 11),
        loss_margin=real(packed, 12),
        patience=integer(packed, 13),
        keep_every=integer(packed, 14),
        policy=reals(packed, 15),
        step=integer(packed, 16),
        trust=by_rows(integers(packed, 17), 2),
        demanded=by_rows(integers(packed, 18), 2),
        tuning=reals(packed, 19),
    )


@kernel
def write_columns(columns, index, rows):  # type: ignore[no-untyped-def]
    """The channels `index` [K] of rows [N, O] become columns [N, K]."""
    for n in range(rows.shape[0]):
        for k in range(index.shape[0]):
            rows[n, index[k]] = columns[n, k]


@kernel
def send(wish, last, sent, activity, steps, acted):  # type: ignore[no-untyped-def]
    """A wish [N, A] becomes sent [N, A], within [-1, 1]; with the `last` one it tells activity [N], by how much the liveliest
    action changes per step of late. One step more of every vehicle, whose transition is open."""
    for n in range(wish.shape[0]):
        change = 0.0
        for j in range(wish.shape[1]):
            sent[n, j] = min(max(wish[n, j], -1.0), 1.0)
            change = max(change, abs(sent[n, j] - last[n, j]))
        activity[n] += _ACTIVITY_RATE * (change - activity[n])
        steps[n] += 1
        acted[n] = True


@helper
def arrived(c, observation, last, steps):  # type: ignore[no-untyped-def]
    """Whether the guard has nothing to say of what was measured."""
    return all_arrived(observation, last, c.sampled, steps, c.hold_stale)


@helper
def asked(c, rows, observation, before, dt, hidden, shown, own, wish):  # type: ignore[no-untyped-def]
    """own and wish [N, A]: the policy's actions for what it is shown, its actions `before` [N, A] included, if the guard has
    nothing to say of that; whether so."""
    if not all_admissible(observation, shown, c.seen_limit, rows):
        return False
    write_columns(before, c.previous_action, shown)
    for n in range(shown.shape[0]):
        elapsed, memory, action = dt[n : n + 1].ctypes.data, hidden[n].ctypes.data, own[n].ctypes.data
        call(c.step, c.policy.ctypes.data, shown[n].ctypes.data, elapsed, memory, action)
    for n in range(own.shape[0]):
        copy(own[n], wish[n])
    return True


@helper
def went_out(c, rows, own, wish, last, sent, steps, activity, acted):  # type: ignore[no-untyped-def]
    """`send`, if the guard has nothing to say of what is wished for; whether so."""
    if not all_admissible(own, wish, c.authority, rows):
        return False
    send(wish, last, sent, activity, steps, acted)
    return True


@helper
def teaches(c, observation, following, terminated, wish, steps, activity):  # type: ignore[no-untyped-def]
    """Whether no vehicle has `terminated` [N], and the guard nothing to say of what followed, nor of the action before."""
    for n in range(len(terminated)):
        if terminated[n]:
            return False
    return all_teach(following, observation, c.sampled, wish, activity, steps, c.hold_stale, c.excitation)


@inlined
def as_it_is(c, observation, following, sent, dt):  # type: ignore[no-untyped-def]
    """A sample that may teach all that it can, as kernels take it."""
    free, full = scratch(sent.shape, np.bool_), scratch((len(sent),), np.bool_)
    nothing = vector(len(sent))
    free[:], full[:], nothing[:] = False, True, 0.0
    return observation, following, sent, free, full, full, dt, nothing, c.leak, c.dead_zone


def room_size(count: int, rates: int, channels: int) -> int:
    """How many numbers the `learn` kernels of adapters work in, for so many vehicles, rates and channels: `outcome`, and beside
    it two observations or an attitude matrix."""
    return count * (2 * (rates + channels) + 11)


size_of_room = helper(room_size)
"""`room_size`, for kernels."""


@helper
def outcome(room, count, rates):  # type: ignore[no-untyped-def]
    """What the estimator's `learn_rows` writes, in that room: expected and explained [N, R], and learns [N]; and where
    in the room more may stand."""
    size = count * rates
    expected, explained = view(room, 0, (count, rates), np.float64), view(room, size, (count, rates), np.float64)
    return expected, explained, view(room, 2 * size, (count,), np.bool_), 2 * size + count


@helper
def learned(c, rows, steps, acted, worse):  # type: ignore[no-untyped-def]
    """Close the transition, if the guard has nothing to say of what was learned, which becomes the shadow where it is due to;
    whether so."""
    loss = losses(c.shadow, rows)
    if not none_goes_back(rows, loss, acted, worse, c.loss_margin, c.patience):
        return False
    acted[:] = False
    for n in range(len(rows)):
        worse[n] = steps_worse(loss[n], c.loss_margin, worse[n])
        if is_good(loss[n], steps[n], c.keep_every):
            keep_row(c.shadow, rows[n])
    return True
