"""The command line: train, evaluate, oracle, render, shifts, demo, doctor."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from ..envs import Schedule, Shift

# Every command imports what it needs when it runs: `undrift --help` answers at once.

app = typer.Typer(
    name="undrift",
    help="Controllers that keep learning after deployment: train a policy, evaluate how it holds under shift, "
    "render the episodes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
shifts_app = typer.Typer(help="What may shift in an environment, and when.", no_args_is_help=True)
app.add_typer(shifts_app, name="shifts")

DEFAULT_ADAPTERS = ("integral", "auto")
DEFAULT_SHIFTS = ("payload", "motor_loss", "wind")
"""What `evaluate` flies when it is told no shift: they fit drones and cars."""


def _print_version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        typer.echo(f"undrift {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None: ...


@app.command()
def train(
    env: Annotated[str, typer.Option(help="Environment, by its id or short name.")] = "DroneTrack",
    seed: Annotated[int, typer.Option(help="Training seed, 0 to 99.")] = 0,
    name: Annotated[str | None, typer.Option(help="Name of the run; by default made of environment and seed.")] = None,
    steps: Annotated[int | None, typer.Option(help="Environment steps, instead of the recipe's.", min=1)] = None,
    out: Annotated[Path, typer.Option(help="Folder that the run's folder is made in.")] = Path("runs"),
) -> None:
    """Train a policy by its environment's recipe, and learn its nominal model."""
    from dataclasses import replace

    from .console import command, compile_ahead
    from .training import Recipe, print_progress
    from .training import train as train_by

    recipe = Recipe.load(env)
    if steps is not None:
        recipe = replace(recipe, total_timesteps=steps)
    folder = out / (name or f"{kebab(recipe.name)}-{recipe.policy['cell']}-s{seed}")
    compile_ahead(recipe.policy["cell"])
    train_by(recipe, folder, seed, print_progress)
    typer.echo(f"the run is in {folder}\nnext: {command()} evaluate {folder}")


@app.command()
def evaluate(
    runs: Annotated[list[str], typer.Argument(help="Runs, by folder or by name under runs/; 'reference' ships.")],
    adapter: Annotated[
        list[str] | None, typer.Option(help="Adapter to fly; repeat for more. Default: integral and auto.")
    ] = None,
    shift: Annotated[
        list[str] | None,
        typer.Option(
            help="What shifts: NAME[:FIELD=VALUE,...][@SCHEDULE[:FIELD=VALUE,...]]; repeat for more. "
            f"Default: {', '.join(DEFAULT_SHIFTS)}."
        ),
    ] = None,
    suite: Annotated[
        str | None, typer.Option(help="Fly a suite of scenarios instead: one that ships, or a JSON file.")
    ] = None,
    at: Annotated[float, typer.Option(help="When shifts without a schedule set in, s.", min=0.0)] = 5.0,
    episodes: Annotated[int, typer.Option(help="Paired episodes per run, scenario and adapter.", min=1)] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the first episode, 10000 or more; the others count up.")] = 10_000,
    out: Annotated[Path, typer.Option(help="Folder for the episodes and the report.")] = Path("runs/evaluation"),
) -> None:
    """Fly runs with each adapter under each shift on the same seeds, and report; frozen and no shift always take part."""
    from rich.console import Console
    from rich.progress import Progress

    from ..envs import load_suite, one_by_one
    from .console import compile_ahead
    from .evaluation.evaluate import check
    from .evaluation.evaluate import evaluate as fly
    from .evaluation.report import print_table
    from .evaluation.seeds import check_report_seeds
    from .evaluation.summary import summarize
    from .run import Run

    check_report_seeds([seed])
    loaded = [Run.load(run) for run in runs]
    if suite is not None and shift:
        raise ValueError("give --suite or --shift, not both: a suite says itself what shifts.")
    adapters = list(dict.fromkeys(["frozen", *(adapter or DEFAULT_ADAPTERS)]))
    if suite is None:
        scenarios = one_by_one(loaded[0].env_id, [parse_shift(text, at) for text in shift or DEFAULT_SHIFTS])
    else:
        scenarios = list(load_suite(suite).scenarios)
    check(loaded, adapters, scenarios)  # what is wrong is told before the progress bar
    compile_ahead(*{run.policy.cell.name for run in loaded})
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("flying", total=None)
        flown = fly(
            loaded,
            adapters,
            scenarios,
            range(seed, seed + episodes),
            out,
            lambda done, total: bar.update(task, completed=done, total=total),
            shlex.join(["undrift", *sys.argv[1:]]),
        )
    print_table(summarize(flown))
    typer.echo(f"the report is {out / 'report.html'}, the episodes are in {out / 'episodes'}")


@app.command()
def oracle(
    run: Annotated[str, typer.Argument(help="The run to start from, by folder or by name; 'reference' ships.")],
    shift: Annotated[str, typer.Option(help="The shift to train on: NAME or NAME:FIELD=VALUE,...")],
    name: Annotated[str | None, typer.Option(help="Name of the new run; by default made of run and shift.")] = None,
    steps: Annotated[int, typer.Option(help="Budget in environment steps.", min=1)] = 500_000,
    out: Annotated[Path, typer.Option(help="Folder that the run's folder is made in.")] = Path("runs"),
) -> None:
    """Fine-tune a run on one shift: a reference row for the report of that shift, not an upper bound."""
    from .console import command, compile_ahead
    from .evaluation.evaluate import slug
    from .evaluation.oracle import fine_tune
    from .run import Run
    from .training import print_progress

    base, trained_on = Run.load(run), parse_shift(shift, 0.0)
    folder = out / (name or f"oracle-{slug(trained_on.label)}-{base.name}")
    compile_ahead(base.policy.cell.name)
    fine_tune(base, trained_on, folder, steps, print_progress)
    typer.echo(f"the run is in {folder}\nnext: {command()} evaluate {run} {folder} --shift {shift}")


@app.command()
def render(
    episodes: Annotated[list[Path], typer.Argument(help="One or two saved episodes (frozen, adapting).")],
    out: Annotated[Path, typer.Option(help="The video to write.")] = Path("film.mp4"),
) -> None:
    """Draw saved episodes as a video; nothing is simulated again."""
    from rich.console import Console
    from rich.progress import Progress

    from .episode import Episode
    from .film import FilmUnavailable
    from .film import render as draw

    loaded = tuple(Episode.load(path) for path in episodes)
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("drawing")
        try:
            draw(loaded, out, progress=lambda done, total: bar.update(task, completed=done, total=total))
        except FilmUnavailable as error:
            _fail(error)
    typer.echo(f"the film is {out}")


@shifts_app.command("list")
def list_shifts() -> None:
    """Every shift: where it acts, how much by default, and what it means."""
    from rich.console import Console

    from .catalogue import shift_table

    Console(highlight=False).print(shift_table())


@shifts_app.command("show")
def show_shift(
    name: Annotated[str, typer.Argument(help="A shift's name, from `undrift shifts list`.")],
    schedule: Annotated[
        str | None, typer.Option(help="Draw this schedule: NAME[:FIELD=VALUE,...]. Default: all of them.")
    ] = None,
) -> None:
    """One shift: its meaning, fields, units and bounds, the course of its schedule, and the line of Python that applies it."""
    from rich.console import Console

    from .catalogue import shift_page

    Console(highlight=False).print(shift_page(name, parse_schedule(schedule) if schedule else None), soft_wrap=True)


@app.command()
def demo() -> None:
    """Fly the shipped policy frozen and adapting while the world shifts; writes runs/demo/ with a report and videos."""
    from .demo import demo as fly_demo

    fly_demo()


@app.command()
def doctor() -> None:
    """Try everything undrift needs on this machine, and say how to mend what does not work."""
    from rich.console import Console

    from .doctor import examine
    from .episode import machine

    console = Console(highlight=False, soft_wrap=True)
    console.print(machine(), markup=False)
    failed = []
    for check in examine():
        sign = "[green]ok  [/]" if check.works else "[red]FAIL[/]"
        console.print(f"{sign} {check.name:<14}", end="")
        console.print(check.detail, markup=False)
        if not check.works:
            failed.append(check)
            console.print(f"     to mend it:  {check.fix}", markup=False)
    if any(check.essential for check in failed):
        raise typer.Exit(1)
    typer.echo("undrift works here." if not failed else "undrift works here, without what failed above.")


def kebab(name: str) -> str:
    """DroneTrack as drone-track."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()


def parse_shift(text: str, at: float) -> Shift:
    """The shift written as NAME[:FIELD=VALUE,...][@SCHEDULE[:FIELD=VALUE,...]]; without a schedule abrupt at `at` s.

    Raises:
        ValueError: unknown name or field, or not of this form; the message lists what there is.
    """
    from ..envs import Abrupt, make_shift

    shift, _, schedule = text.partition("@")
    name, fields = _name_and_fields(shift)
    return make_shift(name, schedule=parse_schedule(schedule) if schedule else Abrupt(at), **fields)


def parse_schedule(text: str) -> Schedule:
    """The schedule written as NAME[:FIELD=VALUE,...]; errors as `parse_shift`."""
    from ..envs import make_schedule

    name, fields = _name_and_fields(text)
    return make_schedule(name, **fields)


def _name_and_fields(text: str) -> tuple[str, dict[str, int | float | str]]:
    name, _, listed = text.partition(":")
    fields = {}
    for part in filter(None, listed.split(",")):
        field, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"{text!r}: write NAME or NAME:FIELD=VALUE,..., for example wind:speed=8")
        fields[field.strip()] = _number(value.strip())
    return name.strip(), fields


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _fail(error: Exception) -> NoReturn:
    typer.echo(f"error: {error}", err=True)
    sys.exit(2)


def main() -> None:
    """Entry point: what a user got wrong is one line and exit code 2, anything else a traceback."""
    try:
        app()
    except (ValueError, FileNotFoundError, FileExistsError) as error:
        _fail(error)


if __name__ == "__main__":
    main()
