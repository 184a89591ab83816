"""Which channels of an observation are velocities: those that another channel's derivative is found to be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...envs.signals import Signals

AGREEMENT = 0.6
"""Share of a derivative's mean square that a channel must account for, as it stands, to be that derivative."""
_CIRCLE = 1e-3


def find_signals(names: Sequence[str], before: np.ndarray, after: np.ndarray, dt: float) -> Signals:
    """The signals of an environment that names none: rates by themselves, all else context, nothing tracked.

    Channel j is a rate where some x has it as its derivative: with m the mean of the channel over the period,

        1 - mean((dx/dt - m)²) / mean((dx/dt)²) >= AGREEMENT

    x being another channel, or the angle of two that are its cosine and sine. A velocity whose position is not observed (how
    fast a robot runs) cannot be told so, and is context: a nominal model reads it all the same.

    Args:
        names: [O] of the channels.
        before, after: [M, O] observations, and those one control period later.
        dt: that period, s.

    Raises:
        ValueError: no channel is the derivative of another.
    """
    before, after = before.astype(np.float64), after.astype(np.float64)
    mean, derivatives = 0.5 * (before + after), (after - before) / dt
    agreement = _agreement(derivatives, mean)
    np.fill_diagonal(agreement, -np.inf)
    for cosine, sine in _circles(before):
        turned = before[:, cosine] * after[:, sine] - before[:, sine] * after[:, cosine]
        turning = _agreement(turned[:, None] / dt, mean)
        turning[:, [cosine, sine]] = -np.inf
        agreement = np.concatenate([agreement, turning])
    best = agreement.argmax(axis=1)
    found = sorted(set(best[agreement.max(axis=1) >= AGREEMENT].tolist()))
    if not found:
        raise ValueError(
            f"of the channels {', '.join(names)} none is the derivative of another: declare which are velocities, "
            'signals=Signals(rates={"speed": ("observation_2",)}, context=(...)).'
        )
    rates = {names[j]: (names[j],) for j in found}
    return Signals(rates, tuple(name for name in names if name not in rates))


def _agreement(derivatives: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """[K, O] how well each channel, of the means [M, O], accounts for each of the derivatives [M, K]; -inf of one that is 0."""
    square = np.square(derivatives).mean(axis=0)[:, None]
    left = square - 2.0 * derivatives.T @ mean / len(mean) + np.square(mean).mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(square > 0.0, 1.0 - left / square, -np.inf)


def _circles(observation: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of channels that move on the unit circle."""
    moving = np.flatnonzero(
        (np.abs(observation).max(axis=0) <= 1.0 + _CIRCLE) & (np.ptp(observation, axis=0) > _CIRCLE)
    )
    radius = np.square(observation[:, moving])
    pairs = zip(*np.triu_indices(len(moving), 1), strict=True)
    return [(moving[a], moving[b]) for a, b in pairs if np.abs(radius[:, a] + radius[:, b] - 1.0).max() < _CIRCLE]
