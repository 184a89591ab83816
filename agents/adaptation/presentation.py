"""What a policy is shown in place of a measurement: where its vehicle is believed to be, now or a little later."""

from __future__ import annotations

import numpy as np
from numba import njit

from .nominal import NominalModel


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
        names = list(nominal.observation_names)
        self.reader = nominal.reader
        self._own = np.array([names.index(channels[0]) for channels in nominal.signals.rates.values()])
        tracked = [list(nominal.signals.rates.values())[i] for i in self.reader.tracked_rate]
        self._moving = bool(nominal.reader.preview_index) and all(len(channels) == 2 for channels in tracked)
        if self._moving:
            self._reference_rate = np.array([names.index(channels[1]) for channels in tracked])
            ahead = np.array([seconds for seconds, _ in self.reader.preview_index])
            self._step = np.stack([_moved_on(ahead, k * nominal.dt) for k in range(delays)])

    def show(
        self, observation: np.ndarray, rates: np.ndarray, context: np.ndarray, travel: np.ndarray, delay: np.ndarray
    ) -> np.ndarray:
        """Observations [N, O] float64 of the state rates [N, R], context [N, C], travel [N, R] away from the sample seen,
        `delay` [N] periods ahead."""
        reader = self.reader
        shown = observation.astype(np.float64)
        gained = rates - reader.rates(observation)
        _write(gained, self._own, context, reader.context_index, travel, reader.tracked_rate, reader.error_index, shown)
        if self._moving and delay.any():
            self._move_reference(shown, observation, delay)
        return shown

    def _move_reference(self, shown: np.ndarray, observation: np.ndarray, delay: np.ndarray) -> None:
        reader = self.reader
        known = [observation[:, self._reference_rate], *(observation[:, index] for _, index in reader.preview_index)]
        moved = np.einsum("nij,jne->ine", self._step[delay], np.array(known, dtype=np.float64))
        shown[:, reader.error_index] -= moved[0]
        gained = moved[1] - known[0]
        shown[:, self._reference_rate] += gained
        shown[:, self._own[reader.tracked_rate]] -= gained
        for (_, index), values in zip(reader.preview_index, moved[2:], strict=True):
            shown[:, index] = values


@njit(cache=True)
def _write(gained, own, context, context_index, travel, tracked, error_index, shown):  # type: ignore[no-untyped-def]
    for n in range(shown.shape[0]):
        for i in range(own.shape[0]):
            shown[n, own[i]] += gained[n, i]
        for i in range(context_index.shape[0]):
            shown[n, context_index[i]] = context[n, i]
        for i in range(tracked.shape[0]):
            shown[n, error_index[i]] += travel[n, tracked[i]]


def _moved_on(ahead: np.ndarray, s: float) -> np.ndarray:
    """[2 + K, 1 + K]: from the reference's velocity and its preview at `ahead` [K] s, how far it moves within s seconds, its
    velocity then, and its preview then; along the polynomial of degree K + 1 through them."""
    powers = np.arange(1, len(ahead) + 2)
    fit = np.linalg.inv(np.concatenate([[powers == 1], ahead[:, None] ** powers]).astype(float))
    here = s**powers
    velocity = powers * s ** (powers - 1)
    return np.concatenate([[here], [velocity], (ahead[:, None] + s) ** powers - here]) @ fit
