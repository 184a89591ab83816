"""The demo: the main job on the shipped policy, start to end, in under a minute."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from ..envs import Payload, Scenario, Wind, one_by_one
from .console import command, compile_ahead, progress
from .episode import Episode
from .evaluation.evaluate import fly, save_episodes
from .evaluation.report import write_report
from .evaluation.summary import summarize
from .evaluation.tables import print_table
from .files import replace_folder, slug
from .film import FilmUnavailable, render_pair
from .run import Run

SHIFTS = (Payload(fraction=0.6), Wind(speed=8.0))
SEEDS = range(20_000, 20_010)
FLOWN = ("frozen", "integral", "auto")
FILMED = ("frozen", "auto")
COMMAND = "make demo    # or: undrift demo"


def demo(out: Path = Path("runs/demo"), run: Run | None = None) -> None:
    """Fly the reference policy frozen and adapting while a payload or a wind arrives; print, report and film it.

    Args:
        out: folder for report.html, the films and the episodes; it appears whole, and replaces an earlier demo.
        run: the run to fly; None is the one that ships.

    Raises:
        FileExistsError: `out` holds something other than an earlier demo.
    """
    run = run or Run.reference()
    console = Console(highlight=False, soft_wrap=True)
    scenarios = one_by_one(run.env_id, SHIFTS)
    console.print(
        f"A drone tracks a trajectory. At 5 s its world shifts: {' or '.join(shift.label for shift in SHIFTS)}.\n"
        f"The same policy flies frozen and with each adapter, on {len(SEEDS)} paired seeds.",
        markup=False,
    )
    with replace_folder(out, mark="report.html") as partial:
        compile_ahead(*run.cells)
        with progress("flying") as tell:
            episodes = fly([run], list(FLOWN), scenarios, SEEDS, tell)
        save_episodes(episodes, partial / "episodes")
        rows = summarize(episodes)
        print_table(rows, console)
        films = _films(episodes, scenarios[1:], partial, console)
        write_report(episodes, partial, "undrift demo: a drone whose world shifts in mid-flight", COMMAND, films)
    console.print(f"\nreport  {out / 'report.html'}", markup=False)
    for film in films:
        console.print(f"film    {out / film.name}", markup=False)
    console.print(
        "\nnext    open the report, or fly something else:\n"
        f"        {command()} evaluate reference --adapter auto --shift motor_loss:fraction=0.3\n"
        f"        {command()} train --env DroneTrack --seed 3",
        markup=False,
    )


def _films(episodes: list[Episode], scenarios: list[Scenario], folder: Path, console: Console) -> list[Path]:
    """One film per scenario, of the first seed: frozen beside adapting. None where this machine cannot draw."""
    films = []
    try:
        for scenario in scenarios:
            frozen, adapting = (_first(episodes, scenario.name, adapter) for adapter in FILMED)
            path = folder / f"{slug(scenario.name)}.mp4"
            with progress(f"filming {scenario.name}") as tell:
                render_pair(frozen, adapting, path, progress=tell)
            films.append(path)
    except FilmUnavailable as error:
        console.print(f"no film: {error}", style="yellow", markup=False)
    return films


def _first(episodes: list[Episode], scenario: str, adapter: str) -> Episode:
    return next(e for e in episodes if e.meta["scenario"] == scenario and e.meta["adapter"] == adapter)
