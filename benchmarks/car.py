"""A car under shift on report seeds: what asking for less, compensating and both gain, on tracks that were never seen.

    --rows friction   less grip than the car was trained for: everywhere, under an axle, in patches, with other faults
    --rows other      everything else: trim, steering, wind, bank, delay, servo, payload, drive, drops, noise, biased sensors

Each row is a scenario and a controller, over all training seeds, from the shift's onset on:

    off_share        of the episodes that left the track
    off_share_high   upper end of its 95 % interval (Wilson)
    live_mm          root mean square of the lateral error while on the track, mean over episodes
    way_share        driven while on the track, of what the same policy frozen drives without a shift
    way_lost         of what the same policy frozen drives under the same shift
    demand           mean share of the speed that the adapter asked for
    worse            whether more leave the track, or the lateral error is larger, than with the same policy frozen: all
                     of the 95 % interval of the paired difference; bold on the page
    better           likewise, whether fewer leave it, or the error is smaller

The intervals are not corrected for their number: of many rows without a difference some are worse or better by chance.

"true grip" is the policy frozen, under the governor that it was trained with, but always there, told the true friction
and at once. "oracle" (`--oracles FOLDER`) is the nominal policy fine-tuned for 500,000 steps on what shifts in the
scenario; those that FOLDER lacks are trained first, some 45 s each.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from _report import Row, arguments, report, write_below_rule

from undrift.agents import Run
from undrift.agents.episode import Episode
from undrift.agents.evaluation import metrics
from undrift.agents.evaluation.oracle import fine_tune
from undrift.agents.evaluation.statistics import paired_difference, wilson
from undrift.agents.files import slug
from undrift.agents.rollout import rollout
from undrift.envs import Scenario, load_suite

ENV = "undrift/CarTrack-v0"
FIRST_SEED = 40_000
ONSET_S = 5.0
NOMINAL = tuple(f"reference-car-track-s{seed}" for seed in range(3))
GOVERNED = tuple(f"reference-car-track-governed-s{seed}" for seed in range(3))
ORACLE_STEPS = 500_000
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
TITLES = {"friction": "Less grip", "other": "Other shifts"}


Tables = Mapping[tuple[str, "Driver"], dict[str, np.ndarray]]
"""By scenario and driver, what `drive` found."""


@dataclass(frozen=True)
class Driver:
    """Policies of several training seeds under one adapter.

    `knows`: beside a governor that knows the grip; `oracles`: where their oracles are, which fly in their place.
    """

    name: str
    runs: tuple[str, ...]
    adapter: str
    knows: bool = False
    oracles: Path | None = None

    def flies(self, scenario: Scenario) -> list[Run]:
        """The runs that fly the scenario, one for every training seed."""
        if self.oracles is None or not scenario.shifts:
            return [Run.load(name) for name in self.runs]
        return [Run.load(oracle_folder(self.oracles, scenario, name)) for name in self.runs]


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


def oracle_folder(oracles: Path, scenario: Scenario, run: str) -> Path:
    return oracles / f"{slug(scenario.name)}-{run}"


def train_oracle(oracles: Path, scenario: Scenario, run: str) -> None:
    folder = oracle_folder(oracles, scenario, run)
    if not folder.exists():
        fine_tune(Run.load(run), scenario.shifts, folder, ORACLE_STEPS)


def drive(driver: Driver, scenario: Scenario, seeds: Sequence[int]) -> dict[str, np.ndarray]:
    """Of each run and seed, [R, S]: off the track, live lateral error in mm, way in m, share of the speed asked for."""
    if driver.knows:
        scenario = replace(scenario, env_kwargs={**scenario.env_kwargs, "governor": {}})
    found = [
        figures(episode)
        for run in driver.flies(scenario)
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


def row(shifts: str, scenario: Scenario, driver: Driver, tables: Tables, frozen: Driver) -> Row:
    """One scenario's; `frozen` drives the same policies without an adapter."""
    here, base = tables[scenario.name, driver], tables[scenario.name, frozen]
    share = wilson(int(here["off"].sum()), here["off"].size)
    # Seeds on which nobody was off the track before the onset.
    told = ~np.isnan(here["live"] + base["live"]).any(axis=0)
    differences = {"off": paired_difference(here["off"], base["off"])}
    differences["live_mm"] = paired_difference(here["live"][:, told], base["live"][:, told])
    return {
        "name": f"{scenario.name} / {driver.name}",
        "shifts": shifts,
        "scenario": scenario.name,
        "driver": driver.name,
        "off_share": share.estimate,
        "off_share_high": share.high,
        "live_mm": float(np.nanmean(here["live"])),
        "way_share": float(here["way"].mean() / tables[UNSHIFTED.name, frozen]["way"].mean()),
        "way_lost": float(1.0 - here["way"].mean() / base["way"].mean()),
        "demand": float(np.nanmean(here["demand"])),
        **{f"{key}_difference": each.estimate for key, each in differences.items()},
        **{f"{key}_difference_low": each.low for key, each in differences.items()},
        **{f"{key}_difference_high": each.high for key, each in differences.items()},
        "worse": int(any(each.low > 0 for each in differences.values())),
        "better": int(any(each.high < 0 for each in differences.values())),
        **{f"off_seed{seed}": float(value) for seed, value in enumerate(here["off"].mean(axis=1))},
    }


def group(shifts: str, rows: Sequence[Row]) -> Row:
    """One driver's mean over the scenarios, and in how many of them the policy frozen is better, or worse."""
    averaged = ("off_share", "live_mm", "way_share", *(key for key in rows[0] if key.startswith("off_seed")))
    mean = {key: float(np.mean([each[key] for each in rows])) for key in averaged}
    counts = {key: sum(each[key] for each in rows) for key in ("worse", "better")}
    driver = rows[0]["driver"]
    named = {"shifts": shifts, "scenario": f"all {len(rows)}", "driver": driver}
    return {"name": f"all {shifts} / {driver}", **named, **mean, **counts}


def rows_of(shifts: str, drivers: Sequence[Driver], tables: Tables) -> list[Row]:
    """Those of a group of shifts, the mean over its scenarios last."""
    flown = scenarios(shifts)
    frozen = {driver: next(d for d in drivers if d.runs == driver.runs and d.adapter == "frozen") for driver in drivers}
    rows = [row(shifts, s, d, tables, frozen[d]) for s in [UNSHIFTED, *flown] for d in drivers]
    shifted = rows[len(drivers) :]
    return rows + [group(shifts, [each for each in shifted if each["driver"] == d.name]) for d in drivers]


def page(rows: Sequence[Row]) -> str:
    """The tables of docs/driving/adapting.md."""
    parts = []
    for shifts in dict.fromkeys(each["shifts"] for each in rows):
        of_group = [each for each in rows if each["shifts"] == shifts]
        drivers = list(dict.fromkeys(each["driver"] for each in of_group))
        parts += [
            f"## {TITLES[shifts]}",
            "",
            f"| scenario | {' | '.join(drivers)} |",
            "|---" * (len(drivers) + 1) + "|",
        ]
        for scenario in dict.fromkeys(each["scenario"] for each in of_group):
            cells = {each["driver"]: _cell(each) for each in of_group if each["scenario"] == scenario}
            parts.append(f"| {scenario} | {' | '.join(cells[driver] for driver in drivers)} |")
        parts.append("")
    return "\n".join(parts)


def _cell(row: Row) -> str:
    cell = f"{100 * row['off_share']:.0f} %, {row['live_mm']:.0f}"
    if row["scenario"].startswith("all "):
        return cell
    return f"**{cell}**" if row["worse"] else cell


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--rows", nargs="+", choices=tuple(TITLES), default=list(TITLES), help="which shifts")
    parser.add_argument("--episodes", type=int, default=16, help="episodes for each run, scenario and driver")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--oracles", type=Path, help="folder of oracles: under less grip they drive, too")
    parser.add_argument(
        "--page", type=Path, help="also write the tables as Markdown, below the page's first rule (---)"
    )
    options = parser.parse_args()

    seeds = range(FIRST_SEED, FIRST_SEED + options.episodes)
    oracle = Driver("oracle", NOMINAL, "frozen", oracles=options.oracles)
    rows: list[Row] = []
    with ProcessPoolExecutor(options.jobs) as pool:
        for shifts in options.rows:
            drivers = [driver for driver in DRIVERS if shifts == "friction" or not driver.knows]
            if options.oracles and shifts == "friction":
                drivers.append(oracle)
                wanted = [(options.oracles, scenario, run) for run in NOMINAL for scenario in scenarios(shifts)]
                list(pool.map(train_oracle, *zip(*wanted, strict=True)))
            flown = [UNSHIFTED, *scenarios(shifts)]
            jobs = {(s.name, d): pool.submit(drive, d, s, seeds) for s in flown for d in drivers}
            rows += rows_of(shifts, drivers, {key: job.result() for key, job in jobs.items()})
    report(rows, options.json)
    if options.page:
        write_below_rule(options.page, page(rows))


if __name__ == "__main__":
    main()
