"""What a policy is shown in place of a measurement: where its vehicle is believed to be, now or a little later."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .compiled import helper, kernel
from .nominal import NominalModel
from .packed import pack, reals, wholes
from .state import State, part


class Presentation:
    """Writes a believed state into an observation.

    The reference is not late: while the vehicle is rolled forward, what the observation shows of the reference is moved on
    along the polynomial through its present position and velocity and its preview.

    Args:
        nominal: names the channels. A rate is the sum of its channels, of which the first is the vehicle's and the others,
            if any, the reference's.
        delays: how many periods ahead, at most, plus one.
    """

    def __init__(self, nominal: NominalModel, delays: int) -> None:
        names, reader = list(nominal.observation_names), nominal.reader
        rates = list(nominal.signals.rates.values())
        tracked = [rates[i] for i in reader.tracked_rate]
        moving = bool(reader.preview_index) and all(len(channels) == 2 for channels in tracked)
        ahead = np.array([seconds for seconds, _ in reader.preview_index])
        self.channels = pack(
            Channels(
                reader.rate_matrix,
                np.array([names.index(channels[0]) for channels in rates]),
                reader.context_index,
                reader.tracked_rate,
                reader.error_index,
                np.array([names.index(channels[1]) for channels in tracked] if moving else [], dtype=np.int64),
                np.array([index for _, index in reader.preview_index], dtype=np.int64).reshape(
                    len(ahead), len(tracked)
                ),
                np.array([_moved_on(ahead, k * nominal.dt) if moving else np.zeros((0, 0)) for k in range(delays)]),
            )
        )

    def show(self, state: State, observation: np.ndarray) -> np.ndarray:
        """Observations [N, O] float64 of what `state` believes (`DisturbanceObserver.predict`)."""
        shown = observation.astype(np.float64)
        show(self.channels, state.parts(Belief), state.rows, shown)
        return shown


class Belief(NamedTuple):
    """What a kernel reads of one vehicle: fields of a `DisturbanceObserver`'s state, as views of its row."""

    believed_rates: np.ndarray
    believed_context: np.ndarray
    believed_travel: np.ndarray
    delay: np.ndarray


class Channels(NamedTuple):
    """Where an observation shows what: rate_matrix [O, R]; own [R], the vehicle's part of each rate; context [C]; of the
    tracked rates, which they are [E], the error [E], the reference's part [E] (none where it is not known to move) and its
    preview [K, E]; step [L, 2 + K, 1 + K] moves the reference on (`_moved_on`)."""

    rate_matrix: np.ndarray
    own: np.ndarray
    context: np.ndarray
    tracked: np.ndarray
    error: np.ndarray
    reference: np.ndarray
    preview: np.ndarray
    step: np.ndarray


@helper
def _channels_of(packed):  # type: ignore[no-untyped-def]
    """The `Channels` that were packed."""
    own, tracked = wholes(packed, 1), wholes(packed, 3)
    preview = wholes(packed, 6)
    previews = preview.shape[0] // max(tracked.shape[0], 1)
    return Channels(
        rate_matrix=reals(packed, 0).reshape(-1, own.shape[0]),
        own=own,
        context=wholes(packed, 2),
        tracked=tracked,
        error=wholes(packed, 4),
        reference=wholes(packed, 5),
        preview=preview.reshape(previews, tracked.shape[0]),
        step=reals(packed, 7).reshape(-1, 2 + previews, 1 + previews),
    )


@kernel
def show(c, parts, rows, shown):  # type: ignore[no-untyped-def]
    """`Presentation.show`: shown [N, O] comes as the observation and is written."""
    c = _channels_of(c)
    previews, measured = c.preview.shape[0], np.empty(c.own.shape[0])
    known = np.empty((c.reference.shape[0], 1 + previews))
    for n in range(rows.shape[0]):
        rates, context, travel = part(rows[n], parts, 0), part(rows[n], parts, 1), part(rows[n], parts, 2)
        delay = int(part(rows[n], parts, 3)[0])
        for i in range(rates.shape[0]):
            measured[i] = 0.0
            for channel in range(shown.shape[1]):
                measured[i] += shown[n, channel] * c.rate_matrix[channel, i]
        for e in range(c.reference.shape[0]):
            known[e, 0] = shown[n, c.reference[e]]
            for p in range(previews):
                known[e, 1 + p] = shown[n, c.preview[p, e]]
        for i in range(rates.shape[0]):
            shown[n, c.own[i]] += rates[i] - measured[i]
        for i in range(context.shape[0]):
            shown[n, c.context[i]] = context[i]
        for e in range(c.error.shape[0]):
            shown[n, c.error[e]] += travel[c.tracked[e]]
        if delay > 0:
            for e in range(c.reference.shape[0]):
                _move_reference(c, c.step[delay], known[e], e, shown[n])


@helper
def _move_reference(c, step, known, e, shown):  # type: ignore[no-untyped-def]
    """Of one axis e: known [1 + K] holds the reference's velocity and preview, moved on by step [2 + K, 1 + K]."""
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
            shown[c.preview[row - 2, e]] = moved


def _moved_on(ahead: np.ndarray, s: float) -> np.ndarray:
    """[2 + K, 1 + K]: from the reference's velocity and its preview at `ahead` [K] s, how far it moves within s seconds, its
    velocity then, and its preview then; along the polynomial of degree K + 1 through them."""
    powers = np.arange(1, len(ahead) + 2)
    fit = np.linalg.inv(np.concatenate([[powers == 1], ahead[:, None] ** powers]).astype(float))
    here = s**powers
    velocity = powers * s ** (powers - 1)
    return np.concatenate([[here], [velocity], (ahead[:, None] + s) ** powers - here]) @ fit
