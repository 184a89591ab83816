"""What each shift of each suite costs a policy that does not adapt: report seeds, paired with the unshifted episode of the seed.

The vehicles' policies are the committed runs; their error is the root mean square after the onset, a crash counted as
`metrics.CRASH_ERROR` from then on. Gymnasium's own environments are flown by the committed peers, plain Stable-Baselines3;
there it is the return that is compared. Onsets are those of the suite.

A shift whose paired 95 % interval of the cost holds 0 is marked: at that magnitude it changes nothing that these episodes
can tell.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from _report import Row, arguments, report, write_below_rule

from undrift.agents import Run
from undrift.agents.evaluation.metrics import post_shift_rmse
from undrift.agents.evaluation.seeds import REPORTS_FROM
from undrift.agents.evaluation.statistics import paired_difference, wilson
from undrift.agents.rollout import rollout
from undrift.envs import SUITES, Scenario, load_suite, make_scenario

POLICIES: dict[str, dict[str, tuple[str, ...]]] = {
    "undrift/DroneTrack-v0": {
        "nominal": ("reference-s0", "reference-s1", "reference-s2"),
        "domain-randomised": ("reference-randomised-s0",),
    },
    "undrift/CarTrack-v0": {
        "nominal": ("reference-car-track-s0",),
        "domain-randomised": ("reference-car-track-randomised-s0",),
    },
}
PEERS = Path("runs/classic")
ONSET_S = 5.0
"""From when on an unshifted episode is scored, and one whose shifts were all drawn later."""


def vehicle_rows(suite: str, scenarios: Sequence[Scenario], episodes: int) -> Iterator[Row]:
    seeds = range(REPORTS_FROM, REPORTS_FROM + episodes)
    for kind, names in POLICIES[scenarios[0].env_id].items():
        controllers = [Run.load(name).controller("frozen") for name in names]

        def fly(scenario: Scenario, controllers: list = controllers) -> tuple[np.ndarray, np.ndarray]:
            flown = [rollout(scenario, controller, seeds) for controller in controllers]
            onset = min((shift.schedule.onset for shift in scenario.shifts), default=ONSET_S)
            errors = [[100 * post_shift_rmse(episode, onset) for episode in group] for group in flown]
            return np.array(errors), np.array([[episode.crashed for episode in group] for group in flown])

        yield from rows_of(suite, kind, "rmse_cm", scenarios, fly)


def classic_rows(suite: str, scenarios: Sequence[Scenario], episodes: int) -> Iterator[Row]:
    from undrift.agents.peers import load_peer

    for env_id in dict.fromkeys(scenario.env_id for scenario in scenarios):
        folders = sorted(PEERS.glob(f"{env_id.rpartition('-')[0].lower()}-s*"))
        peers = [load_peer(folder) for folder in folders]

        def fly(scenario: Scenario, peers: list = peers) -> tuple[np.ndarray, np.ndarray]:
            env = make_scenario(scenario)
            flown = [[episode_return(env, peer, REPORTS_FROM + k) for k in range(episodes)] for peer in peers]
            env.close()
            returns, ended = np.moveaxis(np.array(flown), 2, 0)
            return returns, ended.astype(bool)

        of_env = [scenario for scenario in scenarios if scenario.env_id == env_id]
        yield from rows_of(suite, env_id, "return", of_env, fly)


def episode_return(env, peer, seed: int) -> tuple[float, bool]:
    """Sum of rewards of one episode, and whether it was terminated (the robot fell)."""
    observation, _ = env.reset(seed=seed)
    total, terminated, truncated = 0.0, False, False
    while not (terminated or truncated):
        observation, reward, terminated, truncated, _ = env.step(peer.predict(observation)[0])
        total += float(reward)
    return total, terminated


def rows_of(
    suite: str,
    policy: str,
    measure: str,
    scenarios: Sequence[Scenario],
    fly: Callable[[Scenario], tuple[np.ndarray, np.ndarray]],
) -> Iterator[Row]:
    calm, _ = fly(next(scenario for scenario in scenarios if not scenario.shifts))
    for scenario in scenarios:
        values, crashed = fly(scenario)
        cost = paired_difference(values, calm)
        share = wilson(int(crashed.sum()), crashed.size)
        print(
            f"{suite:13s} {policy:18s} {scenario.name:32s} {values.mean():10.2f} {100 * share.estimate:4.0f} %",
            flush=True,
        )
        yield {
            "name": f"{suite}: {scenario.name}",
            "suite": suite,
            "scenario": scenario.name,
            "family": scenario.family,
            "severity": scenario.severity,
            "label": scenario.label,
            "policy": policy,
            measure: float(values.mean()),
            "cost": cost.estimate,
            "cost_low": cost.low,
            "cost_high": cost.high,
            "crashed_percent": 100 * share.estimate,
            "crashed_high": 100 * share.high,
            "episodes": int(values.size),
            "tells": bool(scenario.shifts) and not cost.low <= 0 <= cost.high,
        }


def page(rows: list[Row]) -> str:
    """The tables of docs/shift-costs.md."""
    parts = []
    for suite in dict.fromkeys(row["suite"] for row in rows):
        of_suite = [row for row in rows if row["suite"] == suite]
        classic = "return" in of_suite[0]
        unit = "return" if classic else "RMSE after the onset, cm"
        parts += [f"## {suite}", "", load_suite(suite).description, ""]
        for policy in dict.fromkeys(row["policy"] for row in of_suite):
            parts += [f"### {policy if classic else f'{policy} policy'}", ""]
            parts += [f"| scenario | {unit} | cost [95 %] | crashed |", "|---|---|---|---|"]
            parts += [_line(row, classic) for row in of_suite if row["policy"] == policy]
            parts.append("")
    return "\n".join(parts)


def _line(row: Row, classic: bool) -> str:
    digits = 0 if classic else 2
    value = row["return"] if classic else row["rmse_cm"]
    cost = f"{row['cost']:+.{digits}f} [{row['cost_low']:.{digits}f}, {row['cost_high']:.{digits}f}]"
    mark = "" if row["tells"] or not row["severity"] else " (no change)"
    shown = cost + mark if row["severity"] else ""
    return f"| {row['scenario']} | {value:.{digits}f} | {shown} | {row['crashed_percent']:.0f} % |"


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--only", nargs="+", choices=SUITES, default=SUITES, help="suites to fly")
    parser.add_argument("--episodes", type=int, default=20, help="report seeds a cell")
    parser.add_argument(
        "--page", type=Path, help="also write the tables as Markdown, below the page's first rule (---)"
    )
    options: argparse.Namespace = parser.parse_args()
    rows: list[Row] = []
    for name in options.only:
        scenarios = load_suite(name).scenarios
        rows += (vehicle_rows if scenarios[0].env_id in POLICIES else classic_rows)(name, scenarios, options.episodes)
    report(rows, options.json)
    if options.page:
        write_below_rule(options.page, page(rows))


if __name__ == "__main__":
    main()
