"""Recovery of drones under shift, by adapter: the committed runs, frozen and adapting, on report seeds.

    --rows three    payload, motors and wind: a first impression
    --rows core     single shifts, timing, compounds and sequences that a quadrotor has to live with
    --rows severe   near the limits of the motors

The nominal and the domain-randomised policies of three training seeds fly the same 20 episodes in every cell. One row per
scenario and controller, its figures as docs/metrics.md defines them, all against the nominal policy frozen:

    against_MEMBER_cm and its interval   `auto` less the members that it blends, paired; p_holm_MEMBER over all of these rows
    base_ratio                           error of `auto` on the domain-randomised policy over that on the nominal one

Each scenario is a job of its own with one thread; its figures do not depend on the others.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from _report import Row, arguments, write_document

from undrift.agents import Run
from undrift.agents.adaptation import ADAPTERS
from undrift.agents.episode import Episode
from undrift.agents.evaluation import metrics
from undrift.agents.evaluation.statistics import holm, paired_difference, paired_p_value, wilson
from undrift.agents.evaluation.summary import CM, NOMINAL, RANDOMISED, rmse, summarize
from undrift.agents.evaluation.tables import print_table
from undrift.agents.files import write_atomically
from undrift.agents.rollout import rollout
from undrift.envs import MotorLoss, Payload, Scenario, Wind, load_suite, one_by_one

RUNS = {
    NOMINAL: ("reference-s0", "reference-s1", "reference-s2"),
    RANDOMISED: ("reference-wide-s0", "reference-wide-s1", "reference-wide-s2"),
}
ENV = "undrift/DroneTrack-v0"
FIRST_SEED = 30_000
ONSET_S = 5.0
FOR_DRONES = [name for name in ADAPTERS if name != "car"]
MEMBERS = ("integral", "l1")
THREE = (Payload(fraction=0.6), MotorLoss(fraction=0.4), Wind(speed=8.0))
# Of the suites' three severities per family, those that the promises are about.
CORE = {
    "drone-core": {
        "payload": (2, 3),
        "all motors": (2, 3),
        "one motor": (2, 3),
        "wind": (2, 3),
        "gusts": (3,),
        "oscillating wind": (3,),
        "centre of mass and torque": (3,),
        "gyro bias": (3,),
        "noise": (3,),
        "compound": (3,),
        "payload, wind, payload off": (3,),
        "motor fade": (3,),
        "wind on and off": (3,),
    },
    "drone-timing": {"action delay": (1, 2), "drops": (2,)},
}
SEVERE = {
    "drone-severe": {
        "payload": (2,),
        "all motors": (2,),
        "one motor": (2,),
        "gusts": (2,),
        "compound": (2,),
        "flaky": (2,),
    }
}


def scenarios(rows: str) -> list[Scenario]:
    """Those of the group `rows`, the unshifted one first."""
    if rows == "three":
        return one_by_one(ENV, THREE)
    wanted = CORE if rows == "core" else SEVERE
    found = [
        scenario
        for suite, families in wanted.items()
        for scenario in load_suite(suite).scenarios
        if scenario.severity in families.get(scenario.family, ())
    ]
    return [Scenario("no shift", ENV), *found]


def flights(scenario: Scenario, kind: str, adapter: str, seeds: Sequence[int]) -> list[Episode]:
    """Every run of a kind, on the same seeds."""
    flown: list[Episode] = []
    for run in map(Run.load, RUNS[kind]):
        meta = {"run": run.name, "training_seed": run.seed, "policy": kind}
        flown += rollout(scenario, run.controller(adapter), seeds, meta=meta)
    return flown


@cache
def unshifted(kind: str, seeds: Sequence[int]) -> list[Episode]:
    return flights(Scenario("no shift", ENV), kind, "frozen", seeds)


def fly(scenario: Scenario, adapters: Sequence[str], bases: Sequence[str], seeds: Sequence[int]) -> list[Row]:
    """The rows of one scenario, one for each controller."""
    flown: dict[tuple[str, str], list[Episode]] = {}
    for kind in bases:
        # What each adapter does is asked on the nominal policies; on the others, whether they are the better base.
        for adapter in adapters if kind == NOMINAL else [a for a in adapters if a in ("frozen", "auto")]:
            flown[kind, adapter] = flights(scenario, kind, adapter, seeds)
    episodes = [episode for group in flown.values() for episode in group]
    if scenario.shifts:
        episodes += [episode for kind in bases for episode in unshifted(kind, seeds)]
    rows = [row for row in summarize(episodes) if row["scenario"] == scenario.name]
    tables = {key: CM * rmse(group, ONSET_S).reshape(len(RUNS[key[0]]), -1) for key, group in flown.items()}
    for row in rows:
        if row["adapter"] == "auto":
            row |= comparisons(row["policy"], tables)
    return rows


def comparisons(kind: str, tables: dict[tuple[str, str], np.ndarray]) -> Row:
    """`auto` beside its members on the same policies, and beside itself on the nominal ones."""
    auto = tables[kind, "auto"]
    worse = metrics.harmed(auto / CM, tables[kind, "frozen"] / CM)
    found: Row = {f"harmed_s{i}": int(count) for i, count in enumerate(worse.sum(axis=1))}
    for member in MEMBERS:
        if (kind, member) in tables:
            difference = paired_difference(auto, tables[kind, member])
            found |= {
                f"against_{member}_cm": difference.estimate,
                f"against_{member}_low_cm": difference.low,
                f"against_{member}_high_cm": difference.high,
                f"p_{member}": paired_p_value(auto, tables[kind, member]),
            }
    if kind == RANDOMISED and (NOMINAL, "auto") in tables:
        nominal = tables[NOMINAL, "auto"]
        difference = paired_difference(auto, nominal)
        found |= {
            "base_ratio": float(auto.mean() / nominal.mean()),
            "against_nominal_base_cm": difference.estimate,
            "against_nominal_base_low_cm": difference.low,
            "against_nominal_base_high_cm": difference.high,
        }
    return found


def correct(rows: list[Row]) -> None:
    """Holm's correction over the rows: of the comparisons with the frozen policy, and of those with the members."""
    for columns in (("p_value",), tuple(f"p_{member}" for member in MEMBERS)):
        found = [(row, column) for row in rows for column in columns if row.get(column) is not None]
        for (row, column), p in zip(found, holm([row[column] for row, column in found]), strict=True):
            row["p_holm" if column == "p_value" else column.replace("p_", "p_holm_")] = float(p)


def promises(rows: list[Row]) -> Iterable[str]:
    """What was promised of `auto`, and how it came out, a line each."""
    auto = [row for row in rows if row["controller"] == "auto"]
    shifted = [row for row in auto if row["shifted"]]
    for member in MEMBERS:
        compared = [row for row in auto if f"p_holm_{member}" in row]
        worse = [row for row in compared if row[f"p_holm_{member}"] < 0.05 and row[f"against_{member}_cm"] > 0]
        better = [row for row in compared if row[f"p_holm_{member}"] < 0.05 and row[f"against_{member}_cm"] < 0]
        yield f"auto against {member}: better on {len(better)} of {len(compared)} rows, worse on {names(worse)}"
    slow = [row for row in shifted if 0.6 < row["recovery_s"]]
    yield f"median recovery beyond 0.6 s: {names(slow, 'recovery_s')}"
    crashes, crashed = sum(row["episodes"] for row in shifted), sum(row["crashes"] for row in shifted)
    share = wilson(crashed, crashes)
    added = sum(row["crashes_added"] for row in shifted)
    yield f"crashed under a shift: {crashed} of {crashes} (95 %: at most {100 * share.high:.2f} %), {added} added to frozen's"
    harmed = [sum(row[f"harmed_s{i}"] for row in auto) for i in range(len(RUNS[NOMINAL]))]
    flights_each = sum(row["episodes"] for row in auto) / len(RUNS[NOMINAL])
    yield "made worse, by training seed: " + ", ".join(f"{100 * count / flights_each:.1f} %" for count in harmed)
    on_randomised = [row for row in rows if row.get("base_ratio") is not None and row["shifted"]]
    if on_randomised:
        missed = [row for row in on_randomised if row["base_ratio"] > 0.9]
        yield f"auto on the randomised base beyond 0.9 x that on the nominal one: {names(missed, 'base_ratio')}"


def names(rows: Sequence[Row], column: str = "") -> str:
    return "; ".join(r["scenario"] + (f" ({r[column]:.2f})" if column else "") for r in rows) or "none"


def markdown(rows: list[Row]) -> str:
    """Error by controller, and what `auto` recovers, per scenario."""
    controllers = list(dict.fromkeys(row["controller"] for row in rows))
    lines = [
        "| scenario | " + " | ".join(controllers) + " | recovered by auto [95 %] | in s (integral) | made worse |",
        "|---" * (len(controllers) + 4) + "|",
    ]
    for scenario in dict.fromkeys(row["scenario"] for row in rows):
        here = {row["controller"]: row for row in rows if row["scenario"] == scenario}
        errors = [error_text(here[name]) for name in controllers]
        auto, integral = here["auto"], here.get("integral")
        recovered = ""
        if math.isfinite(auto["recovered_fraction"]):
            interval = f"[{auto['recovered_low']:.2f}, {auto['recovered_high']:.2f}]"
            recovered = f"{auto['recovered_fraction']:.2f} {interval}"
        times = [seconds(row["recovery_s"]) for row in (auto, integral) if row is not None] if auto["shifted"] else [""]
        in_s = times[0] + (f" ({times[1]})" if len(times) > 1 else "")
        lines.append(f"| {scenario} | " + " | ".join(errors) + f" | {recovered} | {in_s} | {auto['harmed']} |")
    return "\n".join(lines) + "\n"


def error_text(row: Row) -> str:
    crashed = f", {row['crashes']} crashed" if row["crashes"] else ""
    return f"{row['rmse_cm']:.1f}{crashed}"


def seconds(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "never"


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--rows", choices=("three", "core", "severe"), default="three", help="which shifts")
    parser.add_argument("--adapters", nargs="+", choices=FOR_DRONES, default=FOR_DRONES, help="beside frozen")
    parser.add_argument("--bases", nargs="+", choices=list(RUNS), default=[NOMINAL], help="policies to fly")
    parser.add_argument("--episodes", type=int, default=20, help="episodes for each run, scenario and adapter")
    parser.add_argument("--jobs", type=int, default=2, help="scenarios flown at a time")
    parser.add_argument("--markdown", type=Path, help="also write the table as Markdown to this file")
    options = parser.parse_args()

    adapters = ["frozen", *(name for name in options.adapters if name != "frozen")]
    seeds = range(FIRST_SEED, FIRST_SEED + options.episodes)
    flown = scenarios(options.rows)
    rows: list[Row] = []
    with ProcessPoolExecutor(options.jobs) as pool:
        jobs = [pool.submit(fly, scenario, adapters, options.bases, seeds) for scenario in flown]
        for job, scenario in zip(jobs, flown, strict=True):
            rows += job.result()
            print(f"{scenario.name}: flown", flush=True)
    correct(rows)
    print_table(rows)
    print("\n".join(promises(rows)))
    write_document([figures(row, rows) for row in rows], options.json)
    if options.markdown:
        write_atomically(options.markdown, markdown(rows).encode())


def figures(row: Row, rows: list[Row]) -> Row:
    """The plain numbers of a row."""
    frozen = next(r for r in rows if r["scenario"] == row["scenario"] and r["controller"] == "frozen")
    found: dict[str, Any] = {"name": f"{row['scenario']} / {row['controller']}"}
    found |= {f"rmse_s{seed}_cm": value for seed, value in row["rmse_by_training_seed_cm"].items()}
    found |= {"cut": frozen["rmse_cm"] / row["rmse_cm"]}
    numbers = {
        key: value for key, value in row.items() if isinstance(value, int | float) and not isinstance(value, bool)
    }
    return found | {key: value for key, value in numbers.items() if math.isfinite(value)}


if __name__ == "__main__":
    main()
