"""From episodes to scored flights to table rows: every controller against the frozen policy, on paired seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..episode import Episode
from . import metrics
from .statistics import (
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

Key = tuple[str, str]
"""(scenario, controller)."""
Cells = dict[Key, list[Episode]]
Flight = dict[str, Any]
Flights = dict[Key, list[Flight]]
"""What every flight of a cell scores, see `score`."""


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


def labels(grouped: Cells) -> dict[str, str]:
    """What each scenario is called: the words for what shifts in it, or where others shift alike at other times its name."""
    words = {name: str(group[0].meta.get("scenario_label", name)) for (name, _), group in grouped.items()}
    told = list(words.values())
    return {name: label if told.count(label) == 1 else name for name, label in words.items()}


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


def score(grouped: Cells) -> Flights:
    """What every flight scores, by cell and in the order of its episodes; errors in cm, times in s.

    Each figure is that of `metrics`; NaN: this flight has none. ``harmed`` compares with the flight of the same pair by
    the controller's own base, and is None for a base. ``unshifted_rmse_cm`` is what the same controller scores without
    a shift on the same pair, over the same time.
    """
    onset, called = comparison_onset(grouped), labels(grouped)
    flights = {
        (scenario, controller): [_flight(controller, called[scenario], episode, onset) for episode in group]
        for (scenario, controller), group in grouped.items()
    }
    for (scenario, controller), flown in flights.items():
        base = flown[0]["base"]
        if base is not None:
            errors, base_errors = (_column(each, "rmse_cm") / CM for each in (flown, flights[scenario, base]))
            for flight, harmed in zip(flown, metrics.harmed(errors, base_errors), strict=True):
                flight["harmed"] = bool(harmed)
        calm = {pair_key(episode): episode for episode in _unshifted(controller, grouped)}
        for flight, episode in zip(flown, grouped[scenario, controller], strict=True):
            if flight["shifted"] and (twin := calm.get(pair_key(episode))) is not None:
                flight["unshifted_rmse_cm"] = CM * metrics.post_shift_rmse(twin, flight["scored_from_s"])
    return flights


def summarize(episodes: Iterable[Episode]) -> list[dict[str, Any]]:
    """One row for every scenario and controller, in the order the scenarios came, the frozen policy first.

    A pure function of the episodes: their order changes no figure, and how long the controller took is no part of it.
    Errors in cm, times in s, intervals at 95 %; docs/metrics.md defines every column. Columns that compare with the
    frozen policy are None in its own rows, those that compare with the controller's own base in the rows of a base; NaN
    is a figure that these flights do not have. ``errors_cm`` and ``crashed`` hold every flight, by training seed and in
    the order of ``seeds``.

    Raises:
        ValueError: see `cells`.
    """
    return summarize_flights(score(cells(episodes)))


def summarize_flights(flights: Flights) -> list[dict[str, Any]]:
    """`summarize`, of flights that are scored already."""
    rows = [_row(key, flights) for key in flights]
    compared = [row for row in rows if row["p_value"] is not None]
    for row, p in zip(compared, holm([row["p_value"] for row in compared]), strict=True):
        row["p_holm"] = float(p)
    return rows


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


def _unshifted(controller: str, grouped: Cells) -> list[Episode]:
    """Flights of the controller in the scenario without a shift, none if that was not flown."""
    cells_of = (group for (_, name), group in grouped.items() if name == controller)
    return next((group for group in cells_of if not group[0].meta["shifts"]), [])


def _flight(controller: str, label: str, episode: Episode, default_onset: float) -> Flight:
    meta, onset = episode.meta, onset_of(episode, default_onset)
    training_seed, seed = pair_key(episode)
    shifted, policy, base = bool(meta["shifts"]), str(meta.get("policy", NOMINAL)), base_of(episode)
    # An oracle's error before the shift, in a world it was not trained for, is no level to return to.
    levelled = shifted and policy != ORACLE
    return {
        "scenario": str(meta["scenario"]),
        "label": label,
        "shifted": shifted,
        "controller": controller,
        "base": None if controller == base else base,
        "adapter": str(meta["adapter"]),
        "policy": policy,
        "training_seed": training_seed,
        "seed": seed,
        "scored_from_s": onset,
        "rmse_cm": CM * metrics.post_shift_rmse(episode, onset),
        "unshifted_rmse_cm": float("nan"),
        "pre_rmse_cm": CM * metrics.pre_shift_rmse(episode, onset),
        "peak_cm": CM * metrics.peak_error(episode, onset),
        "return": metrics.post_shift_return(episode, onset),
        "crashed": episode.crashed,
        "harmed": None,
        "recovery_s": metrics.recovery_time(episode, onset) if levelled else float("nan"),
        "excess_area_cm_s": CM * metrics.excess_area(episode, onset) if levelled else float("nan"),
        "after_effect_cm": CM * metrics.after_effect(episode),
        "forgetting_cm": CM * metrics.forgetting(episode),
        "second_exposure_ratio": metrics.second_exposure_ratio(episode),
        "jerk_per_s": metrics.control_jerk(episode, onset),
        "guard_events": metrics.guard_interventions(episode),
        "speed_peak_m_s": float(metrics.reference_speed(episode).max(initial=0.0)),
        "acceleration_peak_m_s2": float(metrics.reference_acceleration(episode).max(initial=0.0)),
    }


def _row(key: Key, flights: Flights) -> dict[str, Any]:
    flown = flights[key]
    errors, crashed = _table(flown, "rmse_cm"), _table(flown, "crashed")
    interval, crash_rate = bootstrap_interval(errors), wilson(int(crashed.sum()), crashed.size)
    recoveries = _column(flown, "recovery_s")
    return {
        **{name: flown[0][name] for name in ("scenario", "label", "shifted", "controller", "adapter", "policy")},
        "episodes": len(flown),
        "rmse_cm": interval.estimate,
        "rmse_low_cm": interval.low,
        "rmse_high_cm": interval.high,
        "rmse_median_cm": float(np.median(errors)),
        "rmse_iqm_cm": interquartile_mean(errors),
        "rmse_worst_decile_cm": worst_decile(errors),
        "rmse_by_training_seed_cm": _by_training_seed(flown, errors.mean(axis=1)),
        "pre_rmse_cm": _mean(_column(flown, "pre_rmse_cm")),
        "peak_median_cm": float(np.median(_column(flown, "peak_cm"))),
        "return": float(_column(flown, "return").mean()),
        "crashes": int(crashed.sum()),
        "crash_low": crash_rate.low,
        "crash_high": crash_rate.high,
        "recovery_s": _median(recoveries),
        "recovered": int(np.isfinite(recoveries).sum()),
        "excess_area_cm_s": _mean(_column(flown, "excess_area_cm_s")),
        "after_effect_cm": _mean(_column(flown, "after_effect_cm")),
        "forgetting_cm": _mean(_column(flown, "forgetting_cm")),
        "second_exposure_ratio": _median(_column(flown, "second_exposure_ratio")),
        **_against_frozen(key, flights),
        **_against_own_base(key, flights),
        "jerk_per_s": _mean(_column(flown, "jerk_per_s")),
        "guard_events": sum(flight["guard_events"] for flight in flown),
        "speed_peak_m_s": max(flight["speed_peak_m_s"] for flight in flown),
        "acceleration_peak_m_s2": max(flight["acceleration_peak_m_s2"] for flight in flown),
        "seeds": list(dict.fromkeys(flight["seed"] for flight in flown)),
        "errors_cm": _by_training_seed(flown, errors),
        "crashed": _by_training_seed(flown, crashed),
    }


def _against_frozen(key: Key, flights: Flights) -> dict[str, Any]:
    """How a controller compares with the nominal frozen policy of the same training seeds."""
    names = (
        *("difference_cm", "difference_low_cm", "difference_high_cm", "p_value", "p_holm"),
        *("improvement", "improvement_low", "improvement_high"),
        *("recovered_fraction", "recovered_low", "recovered_high", "recovered_by_training_seed"),
    )
    scenario, controller = key
    if controller == BASE:
        return dict.fromkeys(names)
    flown, base = flights[key], flights[scenario, BASE]
    errors, base_errors = (_table(each, "rmse_cm") for each in (flown, base))
    difference, better = paired_difference(errors, base_errors), improvement(errors, base_errors)
    p = paired_p_value(errors, base_errors)
    recovered, by_seed = _recovered(flown, base)
    values = (
        *(difference.estimate, difference.low, difference.high, p, p),
        *(better.estimate, better.low, better.high),
        *(recovered.estimate, recovered.low, recovered.high, by_seed),
    )
    return dict(zip(names, values, strict=True))


def _against_own_base(key: Key, flights: Flights) -> dict[str, Any]:
    """What adapting adds to the policy under it: harm, crashes, and the figures of `_against_frozen` that are not the same."""
    names = (
        *("base", "base_difference_cm", "base_difference_low_cm", "base_difference_high_cm"),
        *("base_recovered_fraction", "harmed", "harm_low", "harm_high", "crashes_added", "crashes_removed"),
    )
    flown = flights[key]
    if flown[0]["base"] is None:
        return dict.fromkeys(names)
    base = flights[key[0], flown[0]["base"]]
    difference = paired_difference(_table(flown, "rmse_cm"), _table(base, "rmse_cm"))
    recovered, _ = _recovered(flown, base)
    crashed, base_crashed = (np.array([flight["crashed"] for flight in each]) for each in (flown, base))
    harmed = sum(flight["harmed"] for flight in flown)
    share = wilson(harmed, len(flown))
    values = (
        *(flown[0]["base"], difference.estimate, difference.low, difference.high),
        *(recovered.estimate, harmed, share.low, share.high),
        *(int((crashed & ~base_crashed).sum()), int((base_crashed & ~crashed).sum())),
    )
    return dict(zip(names, values, strict=True))


def _recovered(flown: list[Flight], base: list[Flight]) -> tuple[Interval, dict[str, float]]:
    """Recovered fraction with its interval, and that of each training seed; NaN where it is not given.

    The mean over training seeds is given only if each of them has one: where the shift costs some policies little, those
    left over are no fair sample.
    """
    nothing = Interval(float("nan"), float("nan"), float("nan"))
    reference = _table(base, "unshifted_rmse_cm")
    if np.isnan(reference).any():
        return nothing, {}
    tables = [table / CM for table in (_table(base, "rmse_cm"), _table(flown, "rmse_cm"), reference)]
    each = metrics.recovered_fraction(*(table.mean(axis=1) for table in tables))
    by_seed = _by_training_seed(flown, each)
    if not np.isfinite(each).all():
        return nothing, by_seed
    return bootstrap_interval(*tables, of=partial(metrics.recovered_fraction, least_gap=-np.inf)), by_seed


def _column(flown: Sequence[Flight], name: str) -> np.ndarray:
    return np.array([flight[name] for flight in flown], dtype=np.float64)


def _table(flown: Sequence[Flight], name: str) -> np.ndarray:
    """One figure of a cell's flights by training seed and evaluation seed, [K, n]."""
    values = np.array([flight[name] for flight in flown])
    return values.reshape(len({flight["training_seed"] for flight in flown}), -1)


def _by_training_seed(flown: Sequence[Flight], values: np.ndarray) -> dict[str, Any]:
    seeds = dict.fromkeys(flight["training_seed"] for flight in flown)
    return dict(zip(seeds, values.tolist(), strict=True))


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
