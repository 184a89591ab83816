"""From episodes to table rows and verdicts: every adapter against the frozen policy, on paired seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..episode import Episode
from . import metrics
from .statistics import Interval, bootstrap_interval, paired_difference, wilson

BASE = "frozen"
CM = 100.0

Cells = dict[tuple[str, str], list[Episode]]


def cells(episodes: Iterable[Episode]) -> Cells:
    """Episodes by (scenario, adapter), each sorted by (training seed, seed); the frozen policy first in every scenario.

    Raises:
        ValueError: there are none, one stands twice, or an adapter was not flown on the seeds of the frozen policy.
    """
    flown = list(episodes)
    if not flown:
        raise ValueError("no episodes to report; `undrift evaluate` records them")
    scenarios = list(dict.fromkeys(str(episode.meta["scenario"]) for episode in flown))
    adapters = sorted(dict.fromkeys(str(episode.meta["adapter"]) for episode in flown), key=lambda name: name != BASE)
    grouped: Cells = {}
    for scenario in scenarios:
        for adapter in adapters:
            here = [e for e in flown if e.meta["scenario"] == scenario and e.meta["adapter"] == adapter]
            if here:
                grouped[scenario, adapter] = sorted(here, key=pair_key)
    for (scenario, adapter), group in grouped.items():
        _check_pairs(scenario, adapter, group, grouped.get((scenario, BASE), []))
    return grouped


def pair_key(episode: Episode) -> tuple[str, int]:
    """What the episodes of a pair share: the training seed of the policy and the seed of the episode."""
    training_seed = episode.meta["training_seed"]
    return "unknown" if training_seed is None else str(training_seed), int(episode.meta["seed"])


def label(group: Sequence[Episode]) -> str:
    """The scenario in words."""
    return str(group[0].meta.get("scenario_label", group[0].meta["scenario"]))


def comparison_onset(grouped: Cells) -> float:
    """Where unshifted episodes are scored from, s: the earliest onset of the shifted ones, else once settled."""
    onsets = [episode.onset_s for group in grouped.values() for episode in group if episode.onset_s is not None]
    return min(onsets, default=metrics.SETTLE_S)


def onset_of(episode: Episode, default: float) -> float:
    """Where scoring starts, s: the onset of the first shift, ``default`` for an unshifted episode."""
    return default if episode.onset_s is None else episode.onset_s


def rmse(group: Sequence[Episode], default_onset: float) -> np.ndarray:
    """Post-shift RMSE of each episode, [N] m."""
    return np.array([metrics.post_shift_rmse(episode, onset_of(episode, default_onset)) for episode in group])


def summarize(episodes: Iterable[Episode]) -> list[dict[str, Any]]:
    """One row for every scenario and adapter, in the order the scenarios came, the frozen policy first.

    A pure function of the episodes: their order changes no figure. Errors in cm, times in s or µs, intervals at 95 %.
    ``recovery_s`` is a median, infinite where most flights never recover and NaN without a shift. The columns that
    compare with the frozen policy are None in its own rows.

    Raises:
        ValueError: see `cells`.
    """
    grouped = cells(episodes)
    onset = comparison_onset(grouped)
    return [
        _row(scenario, adapter, group, grouped[scenario, BASE], onset) for (scenario, adapter), group in grouped.items()
    ]


def verdicts(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What each adapter does over all scenarios, from the rows of `summarize`; the largest reduction first.

    ``helps`` and ``hurts`` name the shifted scenarios whose paired difference to the frozen policy has an interval
    below, or above, zero; ``undecided`` the rest. ``reduction`` is the geometric mean over shifted scenarios of
    frozen / adapted error. ``tax`` is the paired difference without a shift (None if that was not flown).
    """
    frozen = {row["scenario"]: row for row in rows if row["adapter"] == BASE}
    names = dict.fromkeys(row["adapter"] for row in rows if row["adapter"] != BASE)
    found = [_verdict(name, [row for row in rows if row["adapter"] == name], frozen) for name in names]
    return sorted(found, key=lambda verdict: -verdict["reduction"])


def _check_pairs(scenario: str, adapter: str, group: list[Episode], base: list[Episode]) -> None:
    where = f"scenario {scenario!r}, adapter {adapter!r}"
    keys, base_keys = [pair_key(episode) for episode in group], [pair_key(episode) for episode in base]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(
            f"{where}: training seed {twice[0]}, seed {twice[1]} stands twice; "
            "report each episode once, and policies of the same training seed apart"
        )
    if keys != base_keys:
        odd = sorted(set(keys) ^ set(base_keys))[:3]
        raise ValueError(
            f"{where}: not flown on the same (training seed, seed) pairs as adapter {BASE!r}, e.g. {odd}; "
            f"evaluate {BASE!r} and {adapter!r} on the same seeds"
        )


def _row(scenario: str, adapter: str, group: list[Episode], base: list[Episode], onset: float) -> dict[str, Any]:
    errors, strata = CM * rmse(group, onset), np.array([pair_key(episode)[0] for episode in group])
    interval, crashes = bootstrap_interval(errors, strata), sum(episode.crashed for episode in group)
    crash_rate = wilson(crashes, len(group))
    recoveries = _recoveries(group)
    starts = [onset_of(episode, onset) for episode in group]
    pairs = list(zip(group, starts, strict=True))
    p50, p99 = metrics.step_time_percentiles(group)
    return {
        "scenario": scenario,
        "label": label(group),
        "shifted": bool(group[0].meta["shifts"]),
        "adapter": adapter,
        "episodes": len(group),
        "rmse_cm": interval.estimate,
        "rmse_low_cm": interval.low,
        "rmse_high_cm": interval.high,
        "rmse_median_cm": float(np.median(errors)),
        "rmse_by_training_seed_cm": {str(seed): float(errors[strata == seed].mean()) for seed in np.unique(strata)},
        "pre_rmse_cm": CM * float(np.mean([metrics.pre_shift_rmse(episode, start) for episode, start in pairs])),
        "peak_median_cm": CM * float(np.median([metrics.peak_error(episode, start) for episode, start in pairs])),
        "crashes": crashes,
        "crash_low": crash_rate.low,
        "crash_high": crash_rate.high,
        "recovery_s": float(np.median(recoveries)) if recoveries else float("nan"),
        "recovered": int(np.isfinite(recoveries).sum()),
        **_against_base(adapter, group, base, onset),
        "guard_events": sum(len(episode.meta.get("guard_events", ())) for episode in group),
        "speed_peak_m_s": max(float(metrics.reference_speed(episode).max(initial=0.0)) for episode in group),
        "acceleration_peak_m_s2": max(
            float(metrics.reference_acceleration(episode).max(initial=0.0)) for episode in group
        ),
        "step_p50_us": 1e6 * p50,
        "step_p99_us": 1e6 * p99,
    }


def _recoveries(group: list[Episode]) -> list[float]:
    times = [metrics.recovery_time(episode, episode.onset_s) for episode in group if episode.onset_s is not None]
    return [time for time in times if not np.isnan(time)]


def _against_base(adapter: str, group: list[Episode], base: list[Episode], onset: float) -> dict[str, Any]:
    names = ("difference_cm", "difference_low_cm", "difference_high_cm", "harmed", "crashes_added", "crashes_removed")
    if adapter == BASE:
        return dict.fromkeys(names)
    errors, base_errors = rmse(group, onset), rmse(base, onset)
    strata = [pair_key(episode)[0] for episode in group]
    difference = paired_difference(CM * errors, CM * base_errors, strata)
    crashed, base_crashed = (np.array([episode.crashed for episode in flown]) for flown in (group, base))
    harmed, added = metrics.harmed(errors, base_errors).sum(), (crashed & ~base_crashed).sum()
    removed = (base_crashed & ~crashed).sum()
    values = (difference.estimate, difference.low, difference.high, int(harmed), int(added), int(removed))
    return dict(zip(names, values, strict=True))


def _verdict(adapter: str, rows: list[dict[str, Any]], frozen: dict[str, dict[str, Any]]) -> dict[str, Any]:
    shifted = [row for row in rows if row["shifted"]]
    ratios = [frozen[row["scenario"]]["rmse_cm"] / row["rmse_cm"] for row in shifted]
    helps = [row["scenario"] for row in shifted if row["difference_high_cm"] < 0]
    hurts = [row["scenario"] for row in shifted if row["difference_low_cm"] > 0]
    differences = [(row["difference_cm"], row["difference_low_cm"], row["difference_high_cm"]) for row in rows]
    taxes = [Interval(*values) for row, values in zip(rows, differences, strict=True) if not row["shifted"]]
    return {
        "adapter": adapter,
        "shifted": [row["scenario"] for row in shifted],
        "helps": helps,
        "hurts": hurts,
        "undecided": [row["scenario"] for row in shifted if row["scenario"] not in helps + hurts],
        "reduction": float(np.exp(np.mean(np.log(ratios)))) if ratios else 1.0,
        "flights": sum(row["episodes"] for row in rows),
        "harmed": sum(row["harmed"] for row in rows),
        "crashes_added": sum(row["crashes_added"] for row in rows),
        "crashes_removed": sum(row["crashes_removed"] for row in rows),
        "tax": taxes[0] if taxes else None,
        "step_p50_us": float(np.median([row["step_p50_us"] for row in rows])),
        "step_p99_us": max(row["step_p99_us"] for row in rows),
    }
