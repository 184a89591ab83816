"""From episodes to table rows and verdicts: every controller against the frozen policy, on paired seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..episode import Episode
from . import metrics
from .statistics import (
    CONFIDENCE,
    Interval,
    bootstrap_interval,
    holm,
    improvement,
    interquartile_mean,
    paired_difference,
    paired_p_value,
    wilson,
    worst_decile,
)

BASE = "frozen"
NOMINAL, ORACLE, RANDOMISED = "nominal", "oracle", "domain-randomised"
"""How a policy was trained, as `Run.kind` says it: for the unshifted world, fine-tuned on the one shift it is flown in, or
under shifts that each episode draws. Where no nominal policy is flown, the randomised ones stand for it."""
CM = 100.0

Cells = dict[tuple[str, str], list[Episode]]


def cells(episodes: Iterable[Episode]) -> Cells:
    """Episodes by (scenario, controller), each sorted by (training seed, seed); the frozen policy first in every scenario.

    Raises:
        ValueError: there are none, one stands twice, the training seeds flew different seeds, or a controller was not
            flown on the seeds of its base and of the frozen policy.
    """
    flown = list(episodes)
    if not flown:
        raise ValueError("no episodes to report; `undrift evaluate` records them")
    scenarios = list(dict.fromkeys(str(episode.meta["scenario"]) for episode in flown))
    controllers = sorted(dict.fromkeys(map(controller_of, flown)), key=lambda name: name != BASE)
    grouped: Cells = {}
    for scenario in scenarios:
        for controller in controllers:
            here = [e for e in flown if e.meta["scenario"] == scenario and controller_of(e) == controller]
            if here:
                grouped[scenario, controller] = sorted(here, key=pair_key)
    for (scenario, controller), group in grouped.items():
        for base in dict.fromkeys((BASE, base_of(group[0]))):
            _check_pairs(scenario, controller, group, base, grouped.get((scenario, base), []))
    return grouped


def controller_of(episode: Episode) -> str:
    """What flew, in words: the adapter, and the policy under it where that is not the nominal one."""
    policy, adapter = episode.meta.get("policy", NOMINAL), str(episode.meta["adapter"])
    if policy == NOMINAL:
        return adapter
    return policy if adapter == BASE else f"{adapter} on {policy}"


def base_of(episode: Episode) -> str:
    """The controller that flies the same policy frozen."""
    policy = episode.meta.get("policy", NOMINAL)
    return BASE if policy == NOMINAL else policy


def pair_key(episode: Episode) -> tuple[str, int]:
    """What the episodes of a pair share: the training seed of the policy and the seed of the episode."""
    training_seed = episode.meta["training_seed"]
    return "unknown" if training_seed is None else str(training_seed), int(episode.meta["seed"])


def training_seeds(group: Sequence[Episode]) -> list[str]:
    """Training seeds of a cell, in the order of its episodes."""
    return list(dict.fromkeys(pair_key(episode)[0] for episode in group))


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
    return _each(metrics.post_shift_rmse, group, default_onset)


def summarize(episodes: Iterable[Episode]) -> list[dict[str, Any]]:
    """One row for every scenario and controller, in the order the scenarios came, the frozen policy first.

    A pure function of the episodes: their order changes no figure. Errors in cm, times in s or µs, intervals at 95 %;
    docs/metrics.md defines every column. Columns that compare with the frozen policy are None in its own rows, those
    that compare with the controller's own base in the rows of a base; NaN is a figure that these flights do not have.

    Raises:
        ValueError: see `cells`.
    """
    grouped = cells(episodes)
    onset = comparison_onset(grouped)
    rows = [_row(key, grouped, onset) for key in grouped]
    compared = [row for row in rows if row["p_value"] is not None]
    for row, p in zip(compared, holm([row["p_value"] for row in compared]), strict=True):
        row["p_holm"] = float(p)
    return rows


def verdicts(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What each adapting controller does over all scenarios, from the rows of `summarize`; the largest reduction first.

    ``helps`` and ``hurts`` name the shifted scenarios whose error is lower, or higher, than that of the frozen policy
    with a p-value below 5 % after Holm's correction over all rows; ``undecided`` the rest. ``reduction`` is the
    geometric mean over shifted scenarios of frozen / adapted error, ``recovered`` the mean of the recovered fractions
    there are (NaN without one). ``tax`` is the paired difference to the own base without a shift (None if that was not
    flown).
    """
    frozen = {row["scenario"]: row for row in rows if row["controller"] == BASE}
    names = dict.fromkeys(row["controller"] for row in rows if row["harmed"] is not None)
    found = [_verdict(name, [row for row in rows if row["controller"] == name], frozen) for name in names]
    return sorted(found, key=lambda verdict: -verdict["reduction"])


def _check_pairs(scenario: str, controller: str, group: list[Episode], base: str, base_group: list[Episode]) -> None:
    where = f"scenario {scenario!r}, controller {controller!r}"
    keys, base_keys = [pair_key(episode) for episode in group], [pair_key(episode) for episode in base_group]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(
            f"{where}: training seed {twice[0]}, seed {twice[1]} stands twice; "
            "report each episode once, and policies of the same training seed apart"
        )
    if keys != base_keys:
        odd = sorted(set(keys) ^ set(base_keys))[:3]
        raise ValueError(
            f"{where}: not flown on the same (training seed, seed) pairs as controller {base!r}, e.g. {odd}; "
            f"evaluate {base!r} and {controller!r} on the same seeds"
        )
    flown = {seed: {key[1] for key in keys if key[0] == seed} for seed in training_seeds(group)}
    if len({frozenset(seeds) for seeds in flown.values()}) > 1:
        raise ValueError(f"{where}: training seeds {', '.join(flown)} flew different seeds; fly them on the same ones")


def _row(key: tuple[str, str], grouped: Cells, onset: float) -> dict[str, Any]:
    scenario, controller = key
    group = grouped[key]
    shifted, policy = bool(group[0].meta["shifts"]), str(group[0].meta.get("policy", NOMINAL))
    # An oracle's error before the shift, in a world it was not trained for, is no level to return to.
    levelled = shifted and policy != ORACLE
    errors = CM * rmse(group, onset)
    table = _table(errors, group)
    interval, crashes = bootstrap_interval(table), sum(episode.crashed for episode in group)
    crash_rate = wilson(crashes, len(group))
    recoveries = _each(metrics.recovery_time, group, onset) if levelled else np.full(1, np.nan)
    p50, p99 = metrics.step_time_percentiles(group)
    return {
        "scenario": scenario,
        "label": label(group),
        "shifted": shifted,
        "controller": controller,
        "adapter": str(group[0].meta["adapter"]),
        "policy": policy,
        "episodes": len(group),
        "rmse_cm": interval.estimate,
        "rmse_low_cm": interval.low,
        "rmse_high_cm": interval.high,
        "rmse_median_cm": float(np.median(errors)),
        "rmse_iqm_cm": interquartile_mean(errors),
        "rmse_worst_decile_cm": worst_decile(errors),
        "rmse_by_training_seed_cm": dict(zip(training_seeds(group), table.mean(axis=1).tolist(), strict=True)),
        "pre_rmse_cm": CM * _mean(_each(metrics.pre_shift_rmse, group, onset)),
        "peak_median_cm": CM * float(np.median(_each(metrics.peak_error, group, onset))),
        "return": float(_each(metrics.post_shift_return, group, onset).mean()),
        "crashes": crashes,
        "crash_low": crash_rate.low,
        "crash_high": crash_rate.high,
        "recovery_s": _median(recoveries),
        "recovered": int(np.isfinite(recoveries).sum()),
        "excess_area_cm_s": CM * _mean(_each(metrics.excess_area, group, onset)) if levelled else float("nan"),
        "after_effect_cm": CM * _mean([metrics.after_effect(episode) for episode in group]),
        "forgetting_cm": CM * _mean([metrics.forgetting(episode) for episode in group]),
        "second_exposure_ratio": _median([metrics.second_exposure_ratio(episode) for episode in group]),
        **_against_frozen(key, grouped, onset),
        **_against_own_base(key, grouped, onset),
        "jerk_per_s": _mean(_each(metrics.control_jerk, group, onset)),
        "guard_events": sum(map(metrics.guard_interventions, group)),
        "speed_peak_m_s": max(float(metrics.reference_speed(episode).max(initial=0.0)) for episode in group),
        "acceleration_peak_m_s2": max(
            float(metrics.reference_acceleration(episode).max(initial=0.0)) for episode in group
        ),
        "step_p50_us": 1e6 * p50,
        "step_p99_us": 1e6 * p99,
    }


def _against_frozen(key: tuple[str, str], grouped: Cells, onset: float) -> dict[str, Any]:
    """How a controller compares with the nominal frozen policy of the same training seeds."""
    names = (
        *("difference_cm", "difference_low_cm", "difference_high_cm", "p_value", "p_holm"),
        *("improvement", "improvement_low", "improvement_high"),
        *("recovered_fraction", "recovered_low", "recovered_high", "recovered_by_training_seed"),
    )
    scenario, controller = key
    if controller == BASE:
        return dict.fromkeys(names)
    group, base = grouped[key], grouped[scenario, BASE]
    table, base_table = (_table(rmse(flown, onset), flown) for flown in (group, base))
    difference, better = paired_difference(CM * table, CM * base_table), improvement(table, base_table)
    p = paired_p_value(table, base_table)
    recovered, by_seed = _recovered(key, (scenario, BASE), grouped, onset)
    values = (
        *(difference.estimate, difference.low, difference.high, p, p),
        *(better.estimate, better.low, better.high),
        *(recovered.estimate, recovered.low, recovered.high, by_seed),
    )
    return dict(zip(names, values, strict=True))


def _against_own_base(key: tuple[str, str], grouped: Cells, onset: float) -> dict[str, Any]:
    """What adapting adds to the policy under it: harm, crashes, and the figures of `_against_frozen` that are not the same."""
    names = (
        *("base", "base_difference_cm", "base_difference_low_cm", "base_difference_high_cm"),
        *("base_recovered_fraction", "harmed", "harm_low", "harm_high", "crashes_added", "crashes_removed"),
    )
    scenario, controller = key
    group = grouped[key]
    base_name = base_of(group[0])
    if controller == base_name:
        return dict.fromkeys(names)
    base = grouped[scenario, base_name]
    errors, base_errors = rmse(group, onset), rmse(base, onset)
    difference = paired_difference(_table(CM * errors, group), _table(CM * base_errors, base))
    recovered, _ = _recovered(key, (scenario, base_name), grouped, onset)
    crashed, base_crashed = (np.array([episode.crashed for episode in flown]) for flown in (group, base))
    harmed = int(metrics.harmed(errors, base_errors).sum())
    share = wilson(harmed, len(group))
    values = (
        *(base_name, difference.estimate, difference.low, difference.high),
        *(recovered.estimate, harmed, share.low, share.high),
        *(int((crashed & ~base_crashed).sum()), int((base_crashed & ~crashed).sum())),
    )
    return dict(zip(names, values, strict=True))


def _recovered(
    key: tuple[str, str], base_key: tuple[str, str], grouped: Cells, onset: float
) -> tuple[Interval, dict[str, float]]:
    """Recovered fraction with its interval, and that of each training seed; NaN where it is not given.

    The mean over training seeds is given only if each of them has one: where the shift costs some policies little, those
    left over are no fair sample.
    """
    group, base = grouped[key], grouped[base_key]
    nothing = Interval(float("nan"), float("nan"), float("nan"))
    unshifted = next(
        (flown for (_, name), flown in grouped.items() if name == base_key[1] and not flown[0].meta["shifts"]), None
    )
    if unshifted is None or not group[0].meta["shifts"]:
        return nothing, {}
    if [pair_key(episode) for episode in unshifted] != [pair_key(episode) for episode in base]:
        return nothing, {}
    # The unshifted flight is scored over the same time as the shifted one of its seed.
    pairs = zip(unshifted, base, strict=True)
    reference = [metrics.post_shift_rmse(calm, onset_of(episode, onset)) for calm, episode in pairs]
    tables = [_table(values, base) for values in (rmse(base, onset), rmse(group, onset), np.array(reference))]
    each = metrics.recovered_fraction(*(table.mean(axis=1) for table in tables))
    by_seed = dict(zip(training_seeds(group), each.tolist(), strict=True))
    if not np.isfinite(each).all():
        return nothing, by_seed
    return bootstrap_interval(*tables, of=partial(metrics.recovered_fraction, least_gap=-np.inf)), by_seed


def _verdict(controller: str, rows: list[dict[str, Any]], frozen: dict[str, dict[str, Any]]) -> dict[str, Any]:
    shifted = [row for row in rows if row["shifted"]]
    ratios = [frozen[row["scenario"]]["rmse_cm"] / row["rmse_cm"] for row in shifted]
    significant = [row for row in shifted if row["p_holm"] < 1 - CONFIDENCE]
    helps = [row["scenario"] for row in significant if row["difference_cm"] < 0]
    hurts = [row["scenario"] for row in significant if row["difference_cm"] > 0]
    differences = ("base_difference_cm", "base_difference_low_cm", "base_difference_high_cm")
    taxes = [Interval(*(row[name] for name in differences)) for row in rows if not row["shifted"]]
    return {
        "controller": controller,
        "shifted": [row["scenario"] for row in shifted],
        "helps": helps,
        "hurts": hurts,
        "undecided": [row["scenario"] for row in shifted if row["scenario"] not in helps + hurts],
        "reduction": float(np.exp(np.mean(np.log(ratios)))) if ratios else 1.0,
        "recovered": _mean([row["recovered_fraction"] for row in shifted]),
        "flights": sum(row["episodes"] for row in rows),
        "harmed": sum(row["harmed"] for row in rows),
        "crashes_added": sum(row["crashes_added"] for row in rows),
        "crashes_removed": sum(row["crashes_removed"] for row in rows),
        "tax": taxes[0] if taxes else None,
        "guard_events": sum(row["guard_events"] for row in rows),
        "step_p50_us": float(np.median([row["step_p50_us"] for row in rows])),
        "step_p99_us": max(row["step_p99_us"] for row in rows),
    }


def _each(metric: Callable[[Episode, float], float], group: Sequence[Episode], default_onset: float) -> np.ndarray:
    """A metric of each episode from its onset on, [N]."""
    return np.array([metric(episode, onset_of(episode, default_onset)) for episode in group])


def _table(values: np.ndarray, group: Sequence[Episode]) -> np.ndarray:
    """Values [N] of a cell's episodes by training seed and evaluation seed, [K, n]."""
    return np.reshape(values, (len(training_seeds(group)), -1))


def _known(values: Any) -> np.ndarray:
    found = np.asarray(values, dtype=np.float64)
    return found[~np.isnan(found)]


def _mean(values: Any) -> float:
    """Mean of the values that are not NaN; NaN without one."""
    known = _known(values)
    return float(known.mean()) if known.size else float("nan")


def _median(values: Any) -> float:
    """Median of the values that are not NaN, infinite ones included; NaN without one."""
    known = _known(values)
    return float(np.median(known)) if known.size else float("nan")
