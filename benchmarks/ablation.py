"""What each ingredient of the adaptation and each part of the guard is worth, switched off one at a time.

`auto` on the committed reference runs, on telling scenarios of the suites drone-core, drone-severe and drone-timing, every
arm on the same episodes. One row per arm and scenario: RMSE after the onset in cm, crashes, and the paired difference to
the whole adapter with its 95 % interval (hierarchical bootstrap over training and evaluation seeds); and one per arm over
all scenarios: the geometric mean of its errors as a share of the whole adapter's. What makes things worse when it is
switched off is needed; what makes them better costs something there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
from _report import Row, arguments, report

from undrift.agents.adaptation import Auto, Drone, Guard, NominalModel
from undrift.agents.adaptation.compensators.drone import DroneCompensator
from undrift.agents.adaptation.estimator import DisturbanceObserver
from undrift.agents.controller import Controller
from undrift.agents.evaluation.metrics import post_shift_rmse
from undrift.agents.evaluation.statistics import paired_difference
from undrift.agents.rollout import rollout
from undrift.agents.run import Run
from undrift.envs import Scenario, load_suite

RUNS = ("reference-s0", "reference-s1", "reference-s2")
FIRST_SEED = 32_000
NO_SHIFT = "no shift"
SCENARIOS = (
    NO_SHIFT,
    "payload +60 %",
    "one motor -40 %",
    "wind 8 m/s",
    "gusts 2.5 in wind 4 m/s",
    "wind 3 oscillating by 5 m/s",
    "gyro bias 0.4 rad/s",
    "noise x 3",
    "actions 40 ms late",
    "40 % of samples dropped",
    "payload +100 %",
    "one motor -55 %",
    "six faults x 1",
)
ONSET_S = 5.0
WHOLE = "whole"

ESTIMATOR: Mapping[str, dict[str, Any]] = {
    "no member without a disturbance": {"wander": (2.5,)},
    "a third, slower member": {"wander": (0.0, 0.12, 2.5)},
    "noise as nominally": {"noise_rate": 0.0},
    "no delay told": {"delays": 1},
    "delays told, not predicted": {"predicts": False},
    "no gyroscope bias": {"bias_s": inf},
}
COMPENSATOR: Mapping[str, dict[str, Any]] = {
    "no thrust effectiveness": {"effectiveness_s": inf},
    "all of the way back asked for": {"return_limit": inf},
    "no lead": {"lead": 0.0},
    "the lean that holds what lasts is seen": {"lasting_limit": 0.0},
    "not made stiffer": {"stiffened_at": inf},
    "no integral": {"integral_gain": 0.0},
    "no mixer": {"prioritise": False},
    "no regard to the reserve of thrust": {"reserve": (-1.0, 0.0)},
    "no correction of rates": {"rate_authority": 0.0},
    "no answer through the preview": {"asked_limit": 0.0},
}
GUARD: Mapping[str, dict[str, Any]] = {
    "no guard": {"enabled": False},
    "stale samples learned from": {"hold_stale": False},
    "no limits of authority": {"authority": inf, "seen_limit": inf},
    "no saturation freeze": {"freeze": False},
    "no back-calculation": {"unwind": 0.0},
    "no leak": {"leak": 0.0},
    "with a dead zone": {"dead_zone": 0.25},
    "no excitation gate": {"excitation": 0.0},
    "no shadow copy": {"loss_margin": inf},
}


def arms() -> dict[str, Callable[[Run], Controller]]:
    """Builders of the controllers to compare, the whole one first."""
    built: dict[str, Callable[[Run], Controller]] = {
        WHOLE: _controller,
        "no giving way to the integral": lambda run: Controller(run.policy, _drone(run.nominal)),
    }
    built |= {name: lambda run, off=off: _controller(run, estimator=off) for name, off in ESTIMATOR.items()}
    built |= {name: lambda run, off=off: _controller(run, compensator=off) for name, off in COMPENSATOR.items()}
    return built | {name: lambda run, off=off: _controller(run, guard=off) for name, off in GUARD.items()}


def _drone(
    nominal: NominalModel, estimator: Mapping[str, Any] | None = None, compensator: Mapping[str, Any] | None = None
) -> Drone:
    changed = replace(DroneCompensator.of(nominal), **(compensator or {}))
    return Drone(nominal, DisturbanceObserver(nominal, **(estimator or {})), changed)


def _controller(run: Run, guard: Mapping[str, Any] | None = None, **off: Mapping[str, Any]) -> Controller:
    adapter = Auto(run.nominal, model_based=_drone(run.nominal, **off))
    return Controller(run.policy, adapter, Guard(**(guard or {})))


def fly(
    build: Callable[[Run], Controller], scenarios: list[Scenario], runs: list[Run], seeds: range
) -> dict[str, np.ndarray]:
    """RMSE in cm [runs, seeds], and whether each crashed, by scenario."""
    flown = {}
    for scenario in scenarios:
        episodes = [rollout(scenario, build(run), seeds) for run in runs]
        rmse = [[100.0 * post_shift_rmse(episode, ONSET_S) for episode in each] for each in episodes]
        flown[scenario.name] = np.array([rmse, [[episode.crashed for episode in each] for each in episodes]])
    return flown


def main() -> None:
    parser = arguments(__doc__ or "")
    known = list(arms())
    parser.add_argument("--episodes", type=int, default=6, help="episodes for each run, scenario and arm")
    parser.add_argument("--arm", choices=known[1:], action="append", help="this arm only (may be repeated)")
    parser.add_argument("--scenario", choices=SCENARIOS, action="append", help="this scenario only (may be repeated)")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED, help="of the episodes, 1000 to 1999 for tuning")
    options = parser.parse_args()

    runs = [Run.load(name) for name in RUNS]
    known_scenarios = {NO_SHIFT: Scenario(NO_SHIFT, runs[0].env_id)}
    for suite in ("drone-core", "drone-severe", "drone-timing"):
        known_scenarios |= {scenario.name: scenario for scenario in load_suite(suite).scenarios}
    scenarios = [known_scenarios[name] for name in options.scenario or SCENARIOS]
    seeds = range(options.first_seed, options.first_seed + options.episodes)

    flown = {
        name: fly(build, scenarios, runs, seeds)
        for name, build in arms().items()
        if name == WHOLE or name in (options.arm or known)
    }
    rows = [_overall(name, arm, flown[WHOLE]) for name, arm in flown.items()]
    rows += [_row(name, scenario, arm, flown[WHOLE]) for scenario in flown[WHOLE] for name, arm in flown.items()]
    report(rows, options.json)


def _overall(name: str, arm: dict[str, np.ndarray], whole: dict[str, np.ndarray]) -> Row:
    shares = [arm[scenario][0].mean() / whole[scenario][0].mean() for scenario in whole]
    crashes = sum(int(each[1].sum()) for each in arm.values())
    return {"name": f"{name} / all", "share": float(np.exp(np.log(shares).mean())), "crashes": crashes}


def _row(name: str, scenario: str, arm: dict[str, np.ndarray], whole: dict[str, np.ndarray]) -> Row:
    (rmse, crashed), (base, _) = arm[scenario], whole[scenario]
    difference = paired_difference(rmse, base)
    return {
        "name": f"{name} / {scenario}",
        "rmse_cm": float(rmse.mean()),
        "crashes": int(crashed.sum()),
        "difference_cm": difference.estimate,
        "difference_low_cm": difference.low,
        "difference_high_cm": difference.high,
    }


if __name__ == "__main__":
    main()
