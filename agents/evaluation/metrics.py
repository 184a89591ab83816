"""What an episode scores: pure functions of saved episodes. Errors in m, times in s.

A step belongs to the time after the shift if it ends later than the onset. After a crash, up to the planned end, and
wherever the recorded error is not finite, the error counts as ``CRASH_ERROR``: crashing early never scores better.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..episode import Episode

CRASH_ERROR = 2.5
SETTLE_S = 2.0
RECOVERY_AVERAGE_S = 0.5
RECOVERY_HOLD_S = 1.0
RECOVERY_FACTOR = 2.0
RECOVERY_MARGIN = 0.01
HARM_RATIO = 1.1
HARM_MARGIN = 0.001


def scored_error(episode: Episode) -> np.ndarray:
    """Position error of every planned step, [planned_steps] m, crash constant filled in.

    Raises:
        ValueError: the episode stops early without a crash, so its end cannot be scored.
    """
    unflown = episode.planned_steps - episode.steps
    if unflown and not episode.crashed:
        raise ValueError(
            f"episode of seed {episode.meta['seed']} stops after {episode.steps} of {episode.planned_steps} steps "
            "without a crash; fly it to its end before scoring it"
        )
    error = np.concatenate([episode.error.astype(np.float64), np.full(unflown, CRASH_ERROR)])
    return np.where(np.isfinite(error), error, CRASH_ERROR)


def onset_step(episode: Episode, onset_s: float) -> int:
    """Index of the first control step that ends later than ``onset_s``.

    Raises:
        ValueError: no step does, or the onset lies before the start.
    """
    step = int(np.floor(onset_s / episode.dt + 1e-6))
    if not 0 <= step < episode.planned_steps:
        end = episode.planned_steps * episode.dt
        raise ValueError(f"onset {onset_s} s lies outside the episode; choose one in [0, {end:g}) s")
    return step


def post_shift_rmse(episode: Episode, onset_s: float) -> float:
    """Root mean square position error in m from the onset to the planned end."""
    return _rms(scored_error(episode)[onset_step(episode, onset_s) :])


def pre_shift_rmse(episode: Episode, onset_s: float) -> float:
    """Root mean square position error in m from ``SETTLE_S`` to the onset; NaN if the onset is not later than that."""
    first = round(SETTLE_S / episode.dt)
    return _rms(scored_error(episode)[first : onset_step(episode, onset_s)])


def peak_error(episode: Episode, onset_s: float) -> float:
    """Largest position error in m from the onset to the planned end."""
    return float(scored_error(episode)[onset_step(episode, onset_s) :].max())


def recovery_time(episode: Episode, onset_s: float) -> float:
    """Seconds from the onset until the error is back, and stays, near its level before the shift.

    The first time from the onset on at which the mean error of the last ``RECOVERY_AVERAGE_S`` lies below
    ``RECOVERY_FACTOR`` x (RMSE before the shift) + ``RECOVERY_MARGIN``, and keeps doing so for ``RECOVERY_HOLD_S``.
    Infinite if that never happens, or if the episode crashes later on; NaN without a level before the shift.
    """
    level = pre_shift_rmse(episode, onset_s)
    if np.isnan(level):
        return float("nan")
    if episode.crashed:
        return float("inf")
    width, hold = (round(span / episode.dt) for span in (RECOVERY_AVERAGE_S, RECOVERY_HOLD_S))
    last_before_onset = onset_step(episode, onset_s) - 1
    averages = sliding_window_view(scored_error(episode)[last_before_onset - width + 1 :], width).mean(axis=1)
    if len(averages) < hold:
        return float("inf")
    below = averages < RECOVERY_FACTOR * level + RECOVERY_MARGIN
    held = np.flatnonzero(sliding_window_view(below, hold).all(axis=1))
    return float(held[0] * episode.dt) if held.size else float("inf")


def harmed(rmse: np.ndarray, base_rmse: np.ndarray) -> np.ndarray:
    """Which paired runs are worse than their own base by more than 10 % and more than 1 mm; [N] m each, [N] bool."""
    rmse, base_rmse = np.asarray(rmse), np.asarray(base_rmse)
    return (rmse > HARM_RATIO * base_rmse) & (rmse > base_rmse + HARM_MARGIN)


def reference_speed(episode: Episode) -> np.ndarray:
    """Speed of the flown reference, [T-1] m/s, by differences of its positions."""
    return np.linalg.norm(np.diff(episode.reference.astype(np.float64), axis=0), axis=1) / episode.dt


def reference_acceleration(episode: Episode) -> np.ndarray:
    """Acceleration of the flown reference, [T-2] m/s², by second differences of its positions."""
    return np.linalg.norm(np.diff(episode.reference.astype(np.float64), n=2, axis=0), axis=1) / episode.dt**2


def step_time_percentiles(episodes: Sequence[Episode]) -> tuple[float, float]:
    """50th and 99th percentile, in s, of the controller's time for one step over all steps of all episodes."""
    times = np.concatenate([episode.step_time for episode in episodes]).astype(np.float64)
    p50, p99 = np.percentile(times, [50, 99])
    return float(p50), float(p99)


def _rms(error: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(error)))) if error.size else float("nan")
