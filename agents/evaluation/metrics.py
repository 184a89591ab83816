"""What an episode scores: pure functions of saved episodes. Errors in m, times in s; docs/metrics.md has the formulas.

A step belongs to the time after the shift if it ends later than the onset. After a crash, up to the planned end, and
wherever the recorded error is not finite, the error counts as `crash_error`: crashing early never scores better.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..episode import Episode

CRASH_ERROR = {"Drone": 2.5, "CarLane": 1.75, "CarTraffic": 5.25, "Car": 0.85}
"""Error in m of a step after a crash, by how the environment's name begins, the first that fits.

A drone's is the distance from its reference at which its task ends. A car's is half the width of its task's own roads:
with less, leaving the road could score better than staying on it.
"""
SETTLE_S = 2.0
"""Time in s that an episode's start, and the end of a shift, are given to settle."""
RECOVERY_AVERAGE_S = 0.5
RECOVERY_HOLD_S = 1.0
RECOVERY_FACTOR = 2.0
RECOVERY_MARGIN = 0.01
HARM_RATIO = 1.1
HARM_MARGIN = 0.001
RECOVERABLE = 0.02
"""Error in m that a shift must cost the frozen policy before a recovered fraction means anything."""


def crash_error(episode: Episode) -> float:
    """What a step after a crash counts as, m.

    Raises:
        ValueError: nothing is stated for this kind of environment.
    """
    task = str(episode.meta["env_id"]).rpartition("/")[2]
    for kind, error in CRASH_ERROR.items():
        if task.startswith(kind):
            return error
    raise ValueError(
        f"a crash of {task!r} cannot be scored: metrics.CRASH_ERROR states the error of {', '.join(CRASH_ERROR)}; "
        "add a line for this kind of environment"
    )


def scored_error(episode: Episode) -> np.ndarray:
    """Error of every planned step, [planned_steps] m, `crash_error` filled in.

    Raises:
        ValueError: the episode stops early without a crash, so its end cannot be scored, or `crash_error` is needed and
            not stated.
    """
    unflown = episode.planned_steps - episode.steps
    if unflown and not episode.crashed:
        raise ValueError(
            f"episode of seed {episode.meta['seed']} stops after {episode.steps} of {episode.planned_steps} steps "
            "without a crash; fly it to its end before scoring it"
        )
    error = np.concatenate([episode.error.astype(np.float64), np.full(unflown, np.nan)])
    known = np.isfinite(error)
    return error if known.all() else np.where(known, error, crash_error(episode))


def onset_step(episode: Episode, onset_s: float) -> int:
    """Index of the first control step that ends later than ``onset_s``.

    Raises:
        ValueError: no step does, or the onset lies before the start.
    """
    unflown = np.arange(1, episode.planned_steps - episode.steps + 1)
    ends = np.concatenate([episode.time, episode.time[-1] + unflown * episode.dt])
    step = int(np.searchsorted(ends, onset_s + 1e-6 * episode.dt, side="right"))
    if onset_s < 0 or step == len(ends):
        raise ValueError(f"onset {onset_s} s lies outside the episode; choose one in [0, {ends[-1]:g}) s")
    return step


def exposures(episode: Episode) -> list[tuple[int, int]]:
    """Control steps [first, end) of each stretch in which any shift is on, in order.

    A shift that is on when the vehicle crashes counts as on up to the planned end.
    """
    flown = np.any(episode.shift > 0, axis=1)
    on = np.append(flown, np.full(episode.planned_steps - episode.steps, flown[-1]))
    edges = np.flatnonzero(np.diff(np.concatenate([[False], on, [False]]))).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def post_shift_rmse(episode: Episode, onset_s: float) -> float:
    """Root mean square error in m from the onset to the planned end."""
    return _rms(scored_error(episode)[onset_step(episode, onset_s) :])


def pre_shift_rmse(episode: Episode, onset_s: float) -> float:
    """Root mean square error in m from ``SETTLE_S`` to the onset; NaN if the onset is not later than that."""
    first = round(SETTLE_S / episode.dt)
    return _rms(scored_error(episode)[first : onset_step(episode, onset_s)])


def peak_error(episode: Episode, onset_s: float) -> float:
    """Largest error in m from the onset to the planned end."""
    return float(scored_error(episode)[onset_step(episode, onset_s) :].max())


def post_shift_return(episode: Episode, onset_s: float) -> float:
    """Sum of the rewards from the onset to the end of the flight; one that is not finite counts as 0."""
    reward = episode.reward[onset_step(episode, onset_s) :].astype(np.float64)
    return float(reward[np.isfinite(reward)].sum())


def recovery_time(episode: Episode, onset_s: float) -> float:
    """Seconds from the onset until the error is back, and stays, near its level before the shift.

    The first time from the onset on at which the mean error of the last ``RECOVERY_AVERAGE_S`` lies below
    ``RECOVERY_FACTOR`` x (RMSE before the shift) + ``RECOVERY_MARGIN``, and keeps doing so for ``RECOVERY_HOLD_S``, all
    while the shift is on. Infinite if that never happens, or if the episode crashes later on; NaN without a level
    before the shift.
    """
    level = pre_shift_rmse(episode, onset_s)
    if np.isnan(level):
        return float("nan")
    if episode.crashed:
        return float("inf")
    width, hold = (round(span / episode.dt) for span in (RECOVERY_AVERAGE_S, RECOVERY_HOLD_S))
    first = onset_step(episode, onset_s)
    end = next((end for start, end in exposures(episode) if start <= first < end), episode.planned_steps)
    averages = sliding_window_view(scored_error(episode)[first - width : end], width).mean(axis=1)
    if len(averages) < hold:
        return float("inf")
    below = averages < RECOVERY_FACTOR * level + RECOVERY_MARGIN
    held = np.flatnonzero(sliding_window_view(below, hold).all(axis=1))
    return float(held[0] * episode.dt) if held.size else float("inf")


def excess_error(episode: Episode, onset_s: float) -> np.ndarray:
    """By how much each planned step's error exceeds the RMSE before the shift, at least 0; [planned_steps] m.

    NaN without a level before the shift.
    """
    return np.maximum(scored_error(episode) - pre_shift_rmse(episode, onset_s), 0.0)


def excess_area(episode: Episode, onset_s: float) -> float:
    """Area under the excess error from the onset to the planned end, m s."""
    return float(excess_error(episode, onset_s)[onset_step(episode, onset_s) :].sum() * episode.dt)


def second_exposure_ratio(episode: Episode) -> float:
    """Excess-error area of the second exposure over that of the first, both over the shorter one's duration.

    Below 1: what was learned in the first exposure serves the second. NaN where there was no second one, no level
    before the first, or no excess error in it.
    """
    spans = exposures(episode)
    if len(spans) < 2:
        return float("nan")
    steps = min(end - first for first, end in spans[:2])
    excess = excess_error(episode, _onset(episode))
    before, again = (excess[first : first + steps].sum() for first, _ in spans[:2])
    return float(again / before) if before > 0 else float("nan")


def after_effect(episode: Episode) -> float:
    """RMSE in the first ``SETTLE_S`` after each end of a shift, less that before the first onset, m.

    NaN where no shift ends, or without a level before it.
    """
    settle = round(SETTLE_S / episode.dt)
    return _rms_off(episode, [(end, min(end + settle, onset)) for end, onset in _off(episode)])


def forgetting(episode: Episode) -> float:
    """RMSE without a shift from ``SETTLE_S`` after its end on, less that before the first onset, m.

    What adapting to the shift has cost the nominal plant. NaN where no shift ends for so long, or without a level before.
    """
    settle = round(SETTLE_S / episode.dt)
    return _rms_off(episode, [(end + settle, onset) for end, onset in _off(episode) if end + settle < onset])


def recovered_fraction(
    frozen: np.ndarray, adapted: np.ndarray, unshifted: np.ndarray, least_gap: float = RECOVERABLE
) -> np.ndarray:
    """(E_frozen - E_adapted) / (E_frozen - E_frozen without shift), elementwise; NaN where the gap is below `least_gap`.

    Each an array of the mean post-shift RMSE in m of one training seed's flights.
    """
    gap = np.asarray(frozen) - unshifted
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(gap >= least_gap, (frozen - np.asarray(adapted)) / gap, np.nan)


def harmed(rmse: np.ndarray, base_rmse: np.ndarray) -> np.ndarray:
    """Which paired runs are worse than their own base by more than 10 % and more than 1 mm; m each, bool of that shape."""
    rmse, base_rmse = np.asarray(rmse), np.asarray(base_rmse)
    return (rmse > HARM_RATIO * base_rmse) & (rmse > base_rmse + HARM_MARGIN)


def control_jerk(episode: Episode, onset_s: float) -> float:
    """Root mean square, over steps after the onset and over channels, of the change of the action sent per second, 1/s.

    Thrust and drive command an acceleration, so their rate of change is a jerk. NaN if nothing was flown after the onset.
    """
    rate = np.diff(episode.action, axis=0)[max(onset_step(episode, onset_s) - 1, 0) :] / episode.dt
    return _rms(rate)


def guard_interventions(episode: Episode) -> int:
    """How often the guard stepped in, over the whole episode."""
    return len(episode.meta.get("guard_events", ()))


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


def _onset(episode: Episode) -> float:
    """Onset of the first shift of an episode that has one, s."""
    assert episode.onset_s is not None
    return episode.onset_s


def _off(episode: Episode) -> list[tuple[int, int]]:
    """Control steps [first, end) of each stretch without a shift that follows one with it."""
    spans = exposures(episode) + [(episode.planned_steps, episode.planned_steps)]
    return [(end, onset) for (_, end), (onset, _) in pairwise(spans) if end < onset]


def _rms_off(episode: Episode, spans: list[tuple[int, int]]) -> float:
    """RMSE over the spans, less that before the first onset, m; NaN without a span or without that level."""
    if not spans:
        return float("nan")
    error = scored_error(episode)
    level = pre_shift_rmse(episode, _onset(episode))
    return _rms(np.concatenate([error[first:end] for first, end in spans])) - level


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if values.size else float("nan")
