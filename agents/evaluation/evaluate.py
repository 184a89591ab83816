"""Evaluate: policies × scenarios × adapters on paired seeds, through the one episode loop."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...envs import Scenario, full_id, make_batch
from ...envs.registry import own_id
from ...envs.shifts import shift_to_dict
from ..episode import Episode
from ..files import check_replaceable, replace_folder, slug
from ..film import render_pair
from ..run import Run
from .jobs import Entrant, Job, Progress, place, save_all, unfinished
from .report import write_report
from .seeds import check_report_seeds
from .summary import BASE, NOMINAL, ORACLE, RANDOMISED

EPISODES = "episodes"
"""Folder of the episodes, inside that of an evaluation."""
_MARK = "report.html"


def evaluate(
    entrants: Sequence[Entrant],
    adapters: Sequence[str],
    scenarios: Sequence[Scenario],
    seeds: Sequence[int],
    out: Path,
    progress: Progress | None = None,
    command: str = "",
    *,
    jobs: int = 1,
    keep_episodes: bool = True,
    films: Sequence[str] = (),
) -> list[Episode]:
    """Fly every policy with every adapter in every scenario on the same seeds, and write episodes and report into `out`.

    `out` appears whole or not at all. Until then every job that is done, one policy with one adapter in one scenario,
    lies beside it in "<out>.unfinished", and the same call goes on from there after an interruption, with the same
    figures. Those do not depend on `jobs`, nor on what else is flown.

    Args:
        entrants: runs, or external policies. An oracle flies as it is, and under its own shift alone; an external policy
            without a nominal model as it is.
        adapters: by name, "frozen" among them.
        scenarios: one of them without a shift, so that costs can be told.
        seeds: of the episodes, reports' own.
        out: folder; an earlier evaluation in it is replaced.
        progress: told of every job.
        command: what reproduces the report, shown there as it is.
        jobs: how many processes fly at a time. More than one import the calling script, which has to keep what it runs
            under `if __name__ == "__main__"`.
        keep_episodes: leave every episode in `out`, 0.2 to 0.3 MB each, for pictures; without, the report alone.
        films: scenarios to film for the report: the first policy on the first seed, frozen beside the last of the adapters.

    Returns:
        The episodes, without what only pictures need (`Episode.load(..., drawn=False)`).

    Raises:
        FileExistsError: `out` holds something other than an earlier evaluation.
        FilmUnavailable: this machine cannot draw; what was flown is kept as after any interruption.
        ValueError: a seed is not one of reports; another evaluation into `out` is under way; a film cannot be made; or as
            `plan`.
    """
    check_report_seeds(seeds)
    check_replaceable(out, _MARK)
    planned = plan(entrants, adapters, scenarios, seeds)
    filmed = {name: filmed_jobs(planned, name) for name in films}
    with unfinished(out) as folder:
        parts = save_all(planned, folder, jobs, progress)
        paths = [part / name for job, part in zip(planned, parts, strict=True) for name in job.files]
        episodes = [Episode.load(path, drawn=False) for path in paths]
        with replace_folder(out, _MARK) as partial:
            videos = []
            for name, pair in filmed.items():
                frozen, adapting = (Episode.load(parts[i] / planned[i].files[0]) for i in pair)
                videos.append(render_pair(frozen, adapting, partial / f"{slug(name)}.mp4"))
            write_report(episodes, partial, "How the controller holds under shift", command, videos)
            for job, part in zip(planned, parts, strict=True):
                if keep_episodes:
                    target = partial / EPISODES / job.place
                    target.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(part, target)
                else:
                    shutil.rmtree(part)
    return episodes


def fly(
    entrants: Sequence[Entrant],
    adapters: Sequence[str],
    scenarios: Sequence[Scenario],
    seeds: Sequence[int],
    progress: Progress | None = None,
) -> list[Episode]:
    """As `evaluate`, on any seeds, in this process and in memory; whole episodes, nothing is written."""
    planned = plan(entrants, adapters, scenarios, seeds)
    episodes: list[Episode] = []
    for done, job in enumerate(planned):
        if progress is not None:
            progress(done, len(planned), str(job))
        episodes += job.fly()
    if progress is not None:
        progress(len(planned), len(planned), "")
    return episodes


def save_episodes(episodes: Sequence[Episode], folder: Path) -> list[Path]:
    """Write each as folder/SCENARIO/ADAPTER/RUN/SEED.npz; returns the paths in order."""
    paths = []
    for episode in episodes:
        meta = episode.meta
        path = folder / place(meta["scenario"], meta["adapter"], meta["run"]) / f"{meta['seed']}.npz"
        episode.save(path)
        paths.append(path)
    return paths


def plan(
    entrants: Sequence[Entrant], adapters: Sequence[str], scenarios: Sequence[Scenario], seeds: Sequence[int]
) -> list[Job]:
    """The jobs of an evaluation, in the order of the report; nothing is flown.

    Raises:
        ValueError: an adapter or environment is unknown, two entrants of a kind share a training seed, two entrants or two
            scenarios a name, one was trained elsewhere, a shift does not fit, or an oracle's shift is not flown.
    """
    base = _base_kind(entrants)
    _check(entrants, base, scenarios)
    _check_fit(scenarios)
    for entrant in entrants:
        for name in adapters if _adapts(entrant) else (BASE,):
            entrant.controller(name)
    return [
        Job(entrant, name, scenario, tuple(seeds), NOMINAL if entrant.kind == base else entrant.kind)
        for scenario in scenarios
        for name in adapters
        for entrant in entrants
        if (name == BASE or _adapts(entrant)) and _meets(entrant, scenario)
    ]


def filmed_jobs(planned: Sequence[Job], scenario: str) -> tuple[int, int]:
    """Which of the planned jobs a film of the scenario shows: the first policy frozen, and under the last adapter.

    Raises:
        ValueError: the scenario is not flown, or the policy only frozen.
    """
    of_first = [i for i, job in enumerate(planned) if job.entrant is planned[0].entrant]
    flown = [i for i in of_first if planned[i].scenario.name == scenario]
    if not flown:
        names = dict.fromkeys(job.scenario.name for job in planned)
        raise ValueError(f"no scenario {scenario!r} is flown, so none can be filmed; flown are: {', '.join(names)}.")
    frozen = [i for i in flown if planned[i].adapter == BASE]
    adapting = [i for i in flown if planned[i].adapter != BASE]
    if not (frozen and adapting):
        raise ValueError(f"a film of {scenario!r} shows {BASE} beside an adapter: fly both.")
    return frozen[0], adapting[-1]


def _adapts(entrant: Entrant) -> bool:
    """Whether adapters fly the entrant too."""
    return entrant.kind != ORACLE and entrant.nominal is not None


def _base_kind(entrants: Sequence[Entrant]) -> str:
    """The kind that all others are compared with: the nominal runs where there are any; never an oracle."""
    kinds = [entrant.kind for entrant in entrants if entrant.kind != ORACLE]
    return next((kind for kind in (NOMINAL, RANDOMISED, *kinds) if kind in kinds), NOMINAL)


def _check(entrants: Sequence[Entrant], base: str, scenarios: Sequence[Scenario]) -> None:
    _check_seeds(entrants, base)
    # What is alike but for a sign, or in another folder, would overwrite the other's episodes.
    for what, names in (
        ("scenarios", [scenario.name for scenario in scenarios]),
        ("policies", [entrant.name for entrant in entrants]),
    ):
        slugs = [slug(name) for name in names]
        if twice := [name for name, each in zip(names, slugs, strict=True) if slugs.count(each) > 1]:
            raise ValueError(f"two {what} are called {twice[0]!r}: fly one of them, or evaluate them apart.")
    for entrant in entrants:
        if own_id(entrant.env_id) is None:
            raise ValueError(
                f"{entrant.name} was trained on {entrant.env_id}, which has no position error to report: "
                "undrift.agents.trial.episode_returns scores it by its return."
            )
        for scenario in scenarios:
            if full_id(scenario.env_id) != full_id(entrant.env_id):
                raise ValueError(
                    f"{entrant.name} was trained on {entrant.env_id}, scenario {scenario.name} is {scenario.env_id}."
                )
        if not any(_meets(entrant, scenario) for scenario in scenarios):
            told = " and ".join(map(str, _trained_on(entrant)))
            raise ValueError(f"{entrant.name} is an oracle of {told}: fly just that.")


def _check_seeds(entrants: Sequence[Entrant], base: str) -> None:
    seeds = {kind: [e.seed for e in entrants if e.kind == kind] for kind in (base, *(e.kind for e in entrants))}
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


def _check_fit(scenarios: Sequence[Scenario]) -> None:
    """Raise ValueError where a shift does not fit its environment, before hours of flights find out."""
    alike: dict[str, list[Scenario]] = {}
    for scenario in scenarios:
        alike.setdefault(json.dumps([scenario.env_id, dict(scenario.env_kwargs)]), []).append(scenario)
    for each in alike.values():
        shifts = [scenario.shifts for scenario in each]
        make_batch(each[0].env_id, len(each), shifts=shifts, **each[0].env_kwargs)


def _meets(entrant: Entrant, scenario: Scenario) -> bool:
    """Whether the entrant flies the scenario: an oracle only the shifts it was trained on, whenever they set in."""
    if entrant.kind != ORACLE:
        return True
    flown = [_magnitude(shift_to_dict(shift)) for shift in scenario.shifts]
    return sorted(map(json.dumps, flown)) == sorted(map(json.dumps, _trained_on(entrant)))


def _trained_on(oracle: Entrant) -> list[dict[str, Any]]:
    """The shifts of an oracle, without their schedules."""
    assert isinstance(oracle, Run)
    return [_magnitude(shift) for shift in oracle.config[ORACLE]["shifts"]]


def _magnitude(shift: dict[str, Any]) -> dict[str, Any]:
    """What shifts and by how much, without when."""
    return {key: value for key, value in shift.items() if key != "schedule"}
