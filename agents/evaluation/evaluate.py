"""Evaluate: policies × scenarios × adapters on paired seeds, through the one episode loop."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ...envs import Scenario, full_id, make_batch
from ...envs.shifts import shift_to_dict
from ..episode import Episode
from ..files import replace_folder
from ..rollout import rollout
from ..run import Run
from .report import write_report
from .seeds import check_report_seeds
from .summary import BASE, NOMINAL, ORACLE, RANDOMISED

Progress = Callable[[int, int], None]
"""Called with (control steps flown, control steps in all), a step being that of a whole batch."""


def fly(
    runs: Sequence[Run],
    adapters: Sequence[str],
    scenarios: Sequence[Scenario],
    seeds: Sequence[int],
    progress: Progress | None = None,
) -> list[Episode]:
    """Every run under every scenario with every adapter, on the same seeds; each cell begins from a fresh copy.

    An oracle flies as it is, and under its own shift alone.

    Raises:
        ValueError: an adapter or environment is unknown, two runs of a kind share a training seed, two scenarios a name, a
            run was trained elsewhere, or an oracle's shift is not flown.
    """
    base = check(runs, adapters, scenarios)
    cells = [
        (run, scenario, name)
        for scenario in scenarios
        for name in adapters
        for run in runs
        if run.kind != ORACLE or (name == BASE and _is_for(run, scenario))
    ]
    episodes: list[Episode] = []
    for done, (run, scenario, name) in enumerate(cells):
        policy = NOMINAL if run.kind == base else run.kind
        meta: dict[str, Any] = {"run": run.name, "training_seed": run.seed, "policy": policy}
        meta["policy_sha256"] = run.policy.sha256
        if run.kind == ORACLE:
            meta[ORACLE] = run.config[ORACLE]

        def report_step(step: int, steps: int, done: int = done) -> None:
            if progress is not None:
                progress(done * steps + step, len(cells) * steps)

        episodes += rollout(scenario, run.controller(name), seeds, meta=meta, on_step=report_step)
        report_step(1, 1)
    return episodes


def save_episodes(episodes: Sequence[Episode], folder: Path) -> list[Path]:
    """Write each as folder/SCENARIO/ADAPTER/RUN-SEED.npz; returns the paths in order."""
    paths = []
    for episode in episodes:
        meta = episode.meta
        path = folder / slug(meta["scenario"]) / meta["adapter"] / f"{meta['run']}-{meta['seed']}.npz"
        episode.save(path)
        paths.append(path)
    return paths


def evaluate(
    runs: Sequence[Run],
    adapters: Sequence[str],
    scenarios: Sequence[Scenario],
    seeds: Sequence[int],
    out: Path,
    progress: Progress | None = None,
    command: str = "",
) -> list[Episode]:
    """`fly`, and write episodes and report into `out`, which appears whole or not at all.

    Raises:
        FileExistsError: `out` holds something other than an earlier evaluation.
        ValueError: as `fly`, or a seed is not one of reports.
    """
    check_report_seeds(seeds)
    with replace_folder(out, mark="report.html") as partial:
        episodes = fly(runs, adapters, scenarios, seeds, progress)
        save_episodes(episodes, partial / "episodes")
        write_report(episodes, partial, "How the controller holds under shift", command)
    return episodes


def slug(name: str) -> str:
    """A name as part of a path or a link: "payload +60%" as "payload-plus60", "wind 8 m/s" as "wind-8-m-s"."""
    spelled = name.replace("+", "plus").replace(" -", " minus").replace("%", "")
    return re.sub(r"[^A-Za-z0-9.]+", "-", spelled).strip("-.") or "scenario"


def check(runs: Sequence[Run], adapters: Sequence[str], scenarios: Sequence[Scenario]) -> str:
    """The kind of runs that all others are compared with; raises what `fly` raises, and flies nothing."""
    base = _base_kind(runs)
    _check(runs, base, scenarios)
    _check_fit(scenarios)
    for run in runs:
        for name in adapters:
            run.controller(name)
    return base


def _base_kind(runs: Sequence[Run]) -> str:
    """The kind of runs that all others are compared with: the nominal ones where there are any; never an oracle."""
    kinds = [run.kind for run in runs if run.kind != ORACLE]
    return next((kind for kind in (NOMINAL, RANDOMISED, *kinds) if kind in kinds), NOMINAL)


def _check(runs: Sequence[Run], base: str, scenarios: Sequence[Scenario]) -> None:
    seeds = {kind: [run.seed for run in runs if run.kind == kind] for kind in (base, *(run.kind for run in runs))}
    for kind, found in seeds.items():
        if len(set(found)) < len(found):
            raise ValueError(
                f"the {kind} runs have training seeds {found}: evaluate runs of the same seed one at a time."
            )
        if set(found) != set(seeds[base]):
            raise ValueError(
                f"the {kind} runs have training seeds {sorted(found)}, the {base} ones {sorted(seeds[base])}: "
                "fly one of each kind for every training seed, or each training seed by itself."
            )
    names = [scenario.name for scenario in scenarios]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"two scenarios are called {twice[0]!r}: fly one of them, or evaluate them apart.")
    for run in runs:
        for scenario in scenarios:
            if full_id(scenario.env_id) != full_id(run.env_id):
                raise ValueError(
                    f"run {run.name} was trained on {run.env_id}, scenario {scenario.name} is {scenario.env_id}."
                )
        if run.kind == ORACLE and not any(_is_for(run, scenario) for scenario in scenarios):
            raise ValueError(f"{run.name} is an oracle of {_magnitude(run.config[ORACLE]['shift'])}: fly that shift.")


def _check_fit(scenarios: Sequence[Scenario]) -> None:
    """Raise ValueError where a shift does not fit its environment, before hours of flights find out."""
    alike: dict[str, list[Scenario]] = {}
    for scenario in scenarios:
        alike.setdefault(json.dumps([scenario.env_id, dict(scenario.env_kwargs)]), []).append(scenario)
    for each in alike.values():
        shifts = [scenario.shifts for scenario in each]
        make_batch(each[0].env_id, len(each), shifts=shifts, **each[0].env_kwargs)


def _is_for(oracle: Run, scenario: Scenario) -> bool:
    """Whether the scenario is the shift that the oracle was trained on, whenever it sets in."""
    flown = [_magnitude(shift_to_dict(shift)) for shift in scenario.shifts]
    return flown == [_magnitude(oracle.config[ORACLE]["shift"])]


def _magnitude(shift: dict[str, Any]) -> dict[str, Any]:
    """What shifts and by how much, without when."""
    return {key: value for key, value in shift.items() if key != "schedule"}
