"""What a policy is shown in place of a measurement: where its vehicle is believed to be, now or a little later."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...policies.kernels.packed import by_blocks, by_rows, integers, reals
from ...policies.kernels.views import vector
from .compiled import helper, kernel
from .nominal import NominalModel
from .state import part


class Belief(NamedTuple):
    """What a kernel reads of one vehicle: fields of a `DisturbanceObserver`'s state, as views of its row."""

    believed_rates: np.ndarray
    believed_context: np.ndarray
    believed_travel: np.ndarray
    ahead: np.ndarray


class Channels(NamedTuple):
    """Where an observation shows what: own [R], the vehicle's part of each rate; other [T], the parts that are not, of the rates
    other_rate [T]; context [C]; of the tracked rates, which they are [E], the error [E], the reference's part [E] (none where
    it is not known to move) and its preview [K, E]; step [L, 2 + K, 1 + K] moves the reference on (`_moved_on`)."""

    own: np.ndarray
    other: np.ndarray
    other_rate: np.ndarray
    context: np.ndarray
    tracked: np.ndarray
    error: np.ndarray
    reference: np.ndarray
    preview: np.ndarray
    step: np.ndarray

    @staticmethod
    def of(nominal: NominalModel, delays: int) -> Channels:
        """Those of `nominal`, for states that are rolled forward by at most delays - 1 periods.

        A rate is the sum of its channels, of which the first is the vehicle's and the others, if any, the reference's.
        """
        names, reader = list(nominal.observation_names), nominal.reader
        rates = list(nominal.signals.rates.values())
        tracked = [rates[i] for i in reader.tracked_rate]
        moving = bool(reader.preview_index) and all(len(channels) == 2 for channels in tracked)
        ahead = np.array([seconds for seconds, _ in reader.preview_index])
        preview = np.array([index for _, index in reader.preview_index], dtype=np.int64)
        others = [(names.index(name), i) for i, channels in enumerate(rates) for name in channels[1:]]
        other, other_rate = np.array(others, dtype=np.int64).reshape(-1, 2).T
        return Channels(
            own=np.array([names.index(channels[0]) for channels in rates]),
            other=other,
            other_rate=other_rate,
            context=reader.context_index,
            tracked=reader.tracked_rate,
            error=reader.error_index,
            reference=np.array([names.index(channels[1]) for channels in tracked] if moving else [], dtype=np.int64),
            preview=preview.reshape(len(ahead), len(tracked)),
            step=np.array([_moved_on(ahead, k * nominal.dt) if moving else np.zeros((0, 0)) for k in range(delays)]),
        )


@helper
def _channels_of(packed):  # type: ignore[no-untyped-def]
    """The `Channels` that were packed; preview and step in one dimension."""
    return Channels(
        own=integers(packed, 0),
        other=integers(packed, 1),
        other_rate=integers(packed, 2),
        context=integers(packed, 3),
        tracked=integers(packed, 4),
        error=integers(packed, 5),
        reference=integers(packed, 6),
        preview=integers(packed, 7),
        step=reals(packed, 8),
    )


@kernel
def show_rows(c, parts, rows, shown):  # type: ignore[no-untyped-def]
    """Write what the states `rows` [N, S] believe (`predict_rows`) into shown [N, O], which comes as the observation.

    The reference is not late: while the vehicle is rolled forward, what the observation shows of the reference is moved
    on along the polynomial through its present position and velocity and its preview.
    """
    c = _channels_of(c)
    for n in range(rows.shape[0]):
        rates, context, travel = part(rows[n], parts, 0), part(rows[n], parts, 1), part(rows[n], parts, 2)
        ahead = int(part(rows[n], parts, 3)[0])
        for i in range(rates.shape[0]):
            shown[n, c.own[i]] = rates[i]
        for k in range(c.other.shape[0]):
            shown[n, c.own[c.other_rate[k]]] -= shown[n, c.other[k]]
        for i in range(context.shape[0]):
            shown[n, c.context[i]] = context[i]
        for e in range(c.error.shape[0]):
            shown[n, c.error[e]] += travel[c.tracked[e]]
        if ahead > 0 and c.reference.shape[0] > 0:
            _move_reference(c, ahead, shown[n])


@helper
def _move_reference(c, ahead, shown):  # type: ignore[no-untyped-def]
    """Move the reference's velocity and preview on by so many periods."""
    axes = c.tracked.shape[0]
    preview = by_rows(c.preview, axes)
    known = vector(1 + preview.shape[0])
    step = by_blocks(c.step, known.size + 1, known.size)[ahead]
    for e in range(c.reference.shape[0]):
        known[0] = shown[c.reference[e]]
        for p in range(preview.shape[0]):
            known[1 + p] = shown[preview[p, e]]
        for row in range(step.shape[0]):
            moved = 0.0
            for j in range(step.shape[1]):
                moved += step[row, j] * known[j]
            if row == 0:
                shown[c.error[e]] -= moved
            elif row == 1:
                shown[c.reference[e]] += moved - known[0]
                shown[c.own[c.tracked[e]]] -= moved - known[0]
            else:
                shown[preview[row - 2, e]] = moved


def _moved_on(ahead: np.ndarray, s: float) -> np.ndarray:
    """[2 + K, 1 + K]: from the reference's velocity and its preview at `ahead` [K] s, how far it moves within s seconds, its
    velocity then, and its preview then; along the polynomial of degree K + 1 through them."""
    powers = np.arange(1, len(ahead) + 2)
    fit = np.linalg.inv(np.concatenate([[powers == 1], ahead[:, None] ** powers]).astype(float))
    here = s**powers
    velocity = powers * s ** (powers - 1)
    return np.concatenate([[here], [velocity], (ahead[:, None] + s) ** powers - here]) @ fit
