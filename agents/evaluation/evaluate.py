"""Evaluate: policies × scenarios × adapters on paired seeds, through the one episode loop."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from ...envs import Scenario, full_id
from ..episode import Episode
from ..files import replace_folder
from ..rollout import rollout
from ..run import Run
from .report import write_report

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

    Raises:
        ValueError: an adapter or environment is unknown, two runs share a training seed, two scenarios a name, or a run was
            trained elsewhere.
    """
    _check(runs, scenarios)
    for run in runs:
        for name in adapters:
            run.controller(name)
    cells = [(run, scenario, name) for scenario in scenarios for name in adapters for run in runs]
    episodes: list[Episode] = []
    for done, (run, scenario, name) in enumerate(cells):
        meta = {"run": run.name, "training_seed": run.seed, "policy_sha256": run.policy.sha256}

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
        ValueError: as `fly`.
    """
    with replace_folder(out, mark="report.html") as partial:
        episodes = fly(runs, adapters, scenarios, seeds, progress)
        save_episodes(episodes, partial / "episodes")
        write_report(episodes, partial, "How the controller holds under shift", command)
    return episodes


def slug(name: str) -> str:
    """A name as part of a path or a link: "payload +60%" as "payload-plus60", "wind 8 m/s" as "wind-8-m-s"."""
    spelled = name.replace("+", "plus").replace(" -", " minus").replace("%", "")
    return re.sub(r"[^A-Za-z0-9.]+", "-", spelled).strip("-.") or "scenario"


def _check(runs: Sequence[Run], scenarios: Sequence[Scenario]) -> None:
    seeds = [run.seed for run in runs]
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"the runs have training seeds {seeds}: evaluate runs of the same seed one at a time.")
    names = [scenario.name for scenario in scenarios]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"two scenarios are called {twice[0]!r}: fly one of them, or evaluate them apart.")
    for scenario in scenarios:
        for run in runs:
            if full_id(scenario.env_id) != full_id(run.env_id):
                raise ValueError(
                    f"run {run.name} was trained on {run.env_id}, scenario {scenario.name} is {scenario.env_id}."
                )
