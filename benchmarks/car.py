"""A car under shift on report seeds: what asking for less, compensating and both gain, on tracks that were never seen.

    --rows friction   less grip than the car was trained for: everywhere, under an axle, in patches, with other faults
    --rows other      everything else: trim, steering, wind, bank, delay, servo, payload, drive, drops, noise, biased sensors

Each row is a scenario and a controller, over all training seeds, from the shift's onset on:

    off_share    of the episodes that left the track
    live_mm      root mean square of the lateral error while on the track, mean over episodes
    way_share    driven while on the track, of what the same policy frozen drives without a shift
    demand       mean share of the speed that the adapter asked for

"true grip" is the policy frozen, under the governor that it was trained with, but always there, told the true friction
and at once. A group's rows are their scenarios' mean; `live_low_mm` and `live_high_mm` the 95 % interval of the paired difference to
the same policy frozen, `worse` the scenarios where all of it lies above 0.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from _report import Row, arguments, report

from undrift.agents import Run
from undrift.agents.episode import Episode
from undrift.agents.evaluation import metrics
from undrift.agents.evaluation.statistics import paired_difference, wilson
from undrift.agents.rollout import rollout
from undrift.envs import Scenario, load_suite

ENV = "undrift/CarTrack-v0"
FIRST_SEED = 40_000
ONSET_S = 5.0
NOMINAL = ("reference-car-track-s0",)
GOVERNED = ("reference-car-track-governed-s0",)
# Of the suites' three severities per family, those that the groups are about.
FRICTION = {
    "grip": (1, 2, 3),
    "front grip": (3,),
    "rear grip": (2,),
    "fading grip": (3,),
    "patches": (3,),
    "grip and trim": (3,),
    "front blow-out": (3,),
    "rear blow-out": (3,),
    "compound": (3,),
}
OTHER = {
    "payload": (2,),
    "payload behind": (2,),
    "trim": (2, 3),
    "steering gain": (2,),
    "servo lag": (2,),
    "drive and brakes": (2,),
    "wind": (2,),
    "gusty wind": (2,),
    "bank": (2,),
    "slope": (2,),
    "action delay": (2, 3),
    "drops": (2,),
    "noise": (3,),
    "gyro bias": (3,),
}
UNSHIFTED = Scenario("no shift", ENV)


@dataclass(frozen=True)
class Driver:
    """Policies of several training seeds under one adapter; `knows`: beside a governor that knows the grip."""

    name: str
    runs: tuple[str, ...]
    adapter: str
    knows: bool = False


DRIVERS = (
    Driver("nominal, frozen", NOMINAL, "frozen"),
    Driver("governed, frozen", GOVERNED, "frozen"),
    Driver("governed, integral", GOVERNED, "integral"),
    Driver("governed, observer", GOVERNED, "observer"),
    Driver("governed, car", GOVERNED, "car"),
    Driver("governed, auto", GOVERNED, "auto"),
    Driver("governed, true grip", GOVERNED, "frozen", knows=True),
)


def scenarios(rows: str) -> list[Scenario]:
    suite, families = ("car-severe", FRICTION) if rows == "friction" else ("car-core", OTHER)
    return [each for each in load_suite(suite).scenarios if each.severity in families.get(each.family, ())]


def drive(driver: Driver, scenario: Scenario, seeds: Sequence[int]) -> dict[str, np.ndarray]:
    """Of each run and seed, [R, S]: off the track, live lateral error in mm, way in m, share of the speed asked for."""
    if driver.knows:
        scenario = replace(scenario, env_kwargs={**scenario.env_kwargs, "governor": {}})
    found = [
        figures(episode)
        for run in map(Run.load, driver.runs)
        for episode in rollout(scenario, run.controller(driver.adapter), seeds)
    ]
    table = np.array(found).reshape(len(driver.runs), len(seeds), -1)
    return dict(zip(("off", "live", "way", "demand"), np.moveaxis(table, -1, 0), strict=True))


def figures(episode: Episode) -> tuple[float, float, float, float]:
    """Whether it left the track, the live error in mm, the way in m, and the share of the speed asked for, from the onset on."""
    after = slice(metrics.onset_step(episode, ONSET_S), episode.steps)
    if after.start >= episode.steps:  # off the track before
        return 1.0, np.nan, 0.0, np.nan
    speed, names = np.hypot(*episode.qvel[after, :2].T), episode.meta["estimate_names"]
    demand = episode.estimate[after, names.index("demand")].mean() if "demand" in names else 1.0
    live = 1e3 * np.sqrt((episode.error[after].astype(float) ** 2).mean())
    return float(episode.crashed), live, speed.sum() * episode.dt, float(demand)


def row(name: str, driver: Driver, here: dict[str, np.ndarray], frozen: dict[str, np.ndarray], way: float) -> Row:
    share = wilson(int(here["off"].sum()), here["off"].size)
    difference = paired_difference(here["live"], frozen["live"])
    return {
        "name": f"{name} / {driver.name}",
        "off_share": share.estimate,
        "off_high": share.high,
        "live_mm": float(np.nanmean(here["live"])),
        "way_share": float(here["way"].mean() / way),
        "demand": float(np.nanmean(here["demand"])),
        "live_difference_mm": difference.estimate,
        "live_low_mm": difference.low,
        "live_high_mm": difference.high,
        **{f"off_s{seed}": float(value) for seed, value in enumerate(here["off"].mean(axis=1))},
    }


def group(name: str, driver: Driver, rows: Sequence[Row]) -> Row:
    """The mean over scenarios, and how many of them are worse than the policy frozen."""
    columns = (
        "off_share",
        "live_mm",
        "way_share",
        "demand",
        *(key for key in rows[0] if key.startswith("off_s") and key != "off_share"),
    )
    mean = {column: float(np.mean([each[column] for each in rows])) for column in columns}
    return {"name": f"{name} / {driver.name}", **mean, "worse": sum(each["live_low_mm"] > 0 for each in rows)}


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--rows", choices=("friction", "other"), default="friction", help="which shifts")
    parser.add_argument("--episodes", type=int, default=16, help="episodes for each run, scenario and controller")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options = parser.parse_args()

    seeds = range(FIRST_SEED, FIRST_SEED + options.episodes)
    flown = [UNSHIFTED, *scenarios(options.rows)]
    drivers = [driver for driver in DRIVERS if options.rows == "friction" or not driver.knows]
    with ProcessPoolExecutor(options.jobs) as pool:
        jobs = {(s.name, d): pool.submit(drive, d, s, seeds) for s in flown for d in drivers}
        tables = {key: job.result() for key, job in jobs.items()}
    frozen = {driver: next(d for d in drivers if d.runs == driver.runs and d.adapter == "frozen") for driver in drivers}
    rows = [
        row(s.name, d, tables[s.name, d], tables[s.name, frozen[d]], tables[UNSHIFTED.name, frozen[d]]["way"].mean())
        for s in flown
        for d in drivers
    ]
    for i, driver in enumerate(drivers):
        rows.append(
            group(f"all {options.rows}", driver, rows[len(drivers) + i : len(flown) * len(drivers) : len(drivers)])
        )
    report(rows, options.json)


if __name__ == "__main__":
    main()
