"""The command line: train, import, evaluate, compare, oracle, render, neurons, watch, shifts, demo, doctor."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from ..envs import Scenario, Schedule, Shift
    from ..policies.deployed import DeployedPolicy
    from .evaluation.external import ExternalPolicy
    from .evaluation.jobs import Entrant
    from .run import Run

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
SCENARIO_HELP = (
    "What is flown: NAME[:FIELD=VALUE,...][@SCHEDULE[:FIELD=VALUE,...]] of a shift, the name of a scenario of a suite "
    "that ships, or 'no shift'."
)


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
    start: Annotated[
        str | None, typer.Option("--from", help="Go on with this run's policy, by small steps: folder or name.")
    ] = None,
    with_adapter: Annotated[
        str | None, typer.Option(help="Adapter in the loop of training; it takes its nominal model from --from.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder that the run's folder is made in.")] = Path("runs"),
) -> None:
    """Train a policy by its environment's recipe, and learn its nominal model."""
    from dataclasses import replace

    from .console import command, compile_ahead
    from .run import Run
    from .training import Recipe, print_progress
    from .training import train as train_by

    recipe = Recipe.load(env)
    if with_adapter is not None and start is None and recipe.start is None:
        raise ValueError(
            "--with-adapter needs a nominal model: give the run to go on with, --from reference for example."
        )
    base = None if start is None else Run.load(start)
    if base is not None:
        recipe = recipe.continued()
    if steps is not None:
        recipe = replace(recipe, total_timesteps=steps)
    how = f"-with-{with_adapter}" if with_adapter else "-continued" if base else ""
    folder = out / (name or f"{kebab(recipe.name)}-{recipe.policy['cell']}{how}-s{seed}")
    compile_ahead(recipe.policy["cell"])
    train_by(recipe, folder, seed, print_progress, base, with_adapter)
    typer.echo(f"the run is in {folder}\nnext: {command()} evaluate {folder}")


@app.command("import")
def import_zip(
    zipped: Annotated[Path, typer.Argument(help="A policy as plain Stable-Baselines3 saves it.")],
    env: Annotated[
        str,
        typer.Option(help="Environment that it was trained on: undrift's by id or short name, or any of Gymnasium's."),
    ] = "DroneTrack",
    algorithm: Annotated[str, typer.Option(help="That trained it: PPO, A2C, SAC, TD3, DDPG or RecurrentPPO.")] = "PPO",
    normaliser: Annotated[Path | None, typer.Option(help="Statistics as its VecNormalize saved them.")] = None,
    seed: Annotated[int, typer.Option(help="Its training seed, 0 to 99.")] = 0,
    name: Annotated[str | None, typer.Option(help="Name of the run; by default that of the zip.")] = None,
    out: Annotated[Path, typer.Option(help="Folder that the run's folder is made in.")] = Path("runs"),
) -> None:
    """Make a run of a policy of plain Stable-Baselines3, and learn its nominal model: adapters then fly it."""
    from ..envs.registry import own_id
    from .console import command
    from .peers import import_sb3, load_sb3

    folder = out / (name or zipped.stem)
    run = import_sb3(load_sb3(zipped, env, algorithm, normaliser), env, folder, seed)
    if run.nominal.unfit:
        typer.echo(f"adapters stay out of the way: {run.nominal.unfit}")
    evaluated = f"{command()} evaluate {folder}" if own_id(env) else "undrift.agents.trial.episode_returns, in Python"
    typer.echo(f"the run is in {folder}\nnext: {evaluated}")


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
    seeds: Annotated[
        int, typer.Option("--seeds", "--episodes", help="Paired episodes per run, scenario and adapter.", min=1)
    ] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the first episode, 10000 or more; the others count up.")] = 10_000,
    peer: Annotated[
        list[str] | None,
        typer.Option(
            help="A policy as Stable-Baselines3 or sb3-contrib saved it, flown as it is: ALGORITHM=FILE.zip[,NORMALISER.pkl]; "
            "repeat for more. The first of an algorithm is compared with the first run, and so on."
        ),
    ] = None,
    jobs: Annotated[int | None, typer.Option(help="Processes that fly at a time. Default: all cores.", min=1)] = None,
    keep_episodes: Annotated[
        bool, typer.Option(help="Keep every episode beside the report, about 0.25 MB each, to be drawn.")
    ] = True,
    film: Annotated[
        list[str] | None,
        typer.Option(help="Scenario to film for the report, frozen beside the last adapter; repeat for more."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the episodes and the report.")] = Path("runs/evaluation"),
) -> None:
    """Fly runs with each adapter under each shift on the same seeds, and report; frozen and no shift always take part.

    What was interrupted goes on where it stopped when the same command is given again.
    """
    from ..envs import load_suite, one_by_one
    from .console import compile_ahead, progress
    from .episode import usable_cores
    from .evaluation.evaluate import EPISODES, filmed_jobs, plan
    from .evaluation.evaluate import evaluate as fly
    from .evaluation.seeds import check_report_seeds
    from .evaluation.summary import summarize
    from .evaluation.tables import print_table
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
    entrants: list[Entrant] = [*loaded, *_peers(peer or [], loaded)]
    flown = range(seed, seed + seeds)
    planned = plan(entrants, adapters, scenarios, flown)  # what is wrong is told before the progress bar
    for name in film or []:
        filmed_jobs(planned, name)
    compile_ahead(*{cell for run in loaded for cell in run.cells})
    command, processes = shlex.join(["undrift", *sys.argv[1:]]), jobs or usable_cores()
    try:
        with progress("flying") as tell:
            episodes = fly(
                entrants,
                adapters,
                scenarios,
                flown,
                out,
                tell,
                command,
                jobs=processes,
                keep_episodes=keep_episodes,
                films=film or [],
            )
    except KeyboardInterrupt as stopped:
        typer.echo("; ".join(["stopped", *getattr(stopped, "__notes__", ())]), err=True)
        raise typer.Exit(130) from None
    print_table(summarize(episodes))
    typer.echo(f"the report is {out / 'report.html'}")
    if keep_episodes:
        size = sum(path.stat().st_size for path in (out / EPISODES).rglob("*.npz"))
        typer.echo(f"the episodes are in {out / EPISODES} ({size / 1e6:.0f} MB)")


@app.command()
def compare(
    before: Annotated[
        Path, typer.Argument(help="A report: a folder that `undrift evaluate` wrote, or its report.json.")
    ],
    after: Annotated[Path, typer.Argument(help="The report to compare with it.")],
) -> None:
    """What changed between two reports, on the seeds that both flew, and whether it is more than noise.

    Exit code 0: nothing is worse; 1: something is, beyond noise; 2: nothing is, but not all of it can be compared.
    """
    from .evaluation.compare import compare as compare_reports
    from .evaluation.compare import print_comparison

    found = compare_reports(before, after)
    print_comparison(found)
    raise typer.Exit(found.exit_code)


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
    from .evaluation.oracle import fine_tune
    from .files import slug
    from .run import Run
    from .training import print_progress

    base, trained_on = Run.load(run), parse_shift(shift, 0.0)
    folder = out / (name or f"oracle-{slug(trained_on.label)}-{base.name}")
    compile_ahead(*base.cells)
    fine_tune(base, [trained_on], folder, steps, print_progress)
    typer.echo(f"the run is in {folder}\nnext: {command()} evaluate {run} {folder} --shift {shift}")


@app.command()
def render(
    episodes: Annotated[list[Path] | None, typer.Argument(help="One or two saved episodes (frozen, adapting).")] = None,
    run: Annotated[str | None, typer.Option(help="Fly this run instead: frozen and adapting on one seed.")] = None,
    scenario: Annotated[str, typer.Option(help=SCENARIO_HELP)] = "wind",
    seed: Annotated[int, typer.Option(help="Seed of that flight.")] = 20_000,
    adapter: Annotated[str | None, typer.Option(help="Its adapter. Default: auto where it fits, else none.")] = None,
    at: Annotated[float, typer.Option(help="When a shift without a schedule sets in, s.", min=0.0)] = 5.0,
    out: Annotated[Path, typer.Option(help="What to write: a film (.mp4, .webm, .gif), or a poster (.png).")] = Path(
        "film.mp4"
    ),
    strip: Annotated[
        bool, typer.Option(help="In place of a poster (.png), a strip of frames around the shift.")
    ] = False,
    camera: Annotated[
        str | None, typer.Option(help="scene (DroneTrack: both in one), chase, orbit, top, first_person or fixed.")
    ] = None,
    size: Annotated[str, typer.Option(help="480p, 540p or 720p.")] = "540p",
    before: Annotated[float, typer.Option(help="Seconds of the film ahead of the shift.", min=0.0)] = 2.0,
    after: Annotated[float, typer.Option(help="Seconds of the film behind it.", min=0.1)] = 5.0,
    slow: Annotated[float, typer.Option(help="How many times slower around the shift.", min=1.0)] = 1.0,
    inside: Annotated[
        str | None, typer.Option(help="Show the network in a corner: of this run, which flew the episodes.")
    ] = None,
) -> None:
    """Draw saved episodes as a film or a poster; nothing is simulated again. Or fly a run, and draw that."""
    from .console import progress
    from .episode import Episode
    from .film import FilmUnavailable, poster, writer
    from .film import strip as draw_strip
    from .run import Run

    if size not in writer.SIZES:
        raise ValueError(f"unknown size {size!r}; the sizes are {', '.join(writer.SIZES)}")
    if bool(episodes) == bool(run):
        raise ValueError("give saved episodes, or --run and --scenario to fly one, and not both")
    policy = None if inside is None else _memory_policy(Run.load(inside))
    kept = None if run is None else _fly(Run.load(run), scenario, seed, adapter, at, out)
    loaded = [Episode.load(path) for path in kept or episodes or ()]
    try:
        if out.suffix.lower() == ".png" and strip:
            draw_strip(loaded, out, camera=camera, size=writer.SIZES[size])
        elif out.suffix.lower() == ".png":
            poster(loaded, out, camera=camera, size=writer.SIZES[size], policy=policy)
        else:
            with progress("drawing") as tell:
                writer.render(
                    loaded,
                    out,
                    camera=camera,
                    size=writer.SIZES[size],
                    before=before,
                    after=after,
                    slow=slow,
                    policy=policy,
                    progress=tell,
                )
    except FilmUnavailable as error:
        _fail(f"{error}; the episodes are kept: {' '.join(map(str, kept))}" if kept else error)
    typer.echo(f"{'the picture' if out.suffix.lower() == '.png' else 'the film'} is {out}")
    if kept:
        typer.echo(f"the episodes are {' '.join(map(str, kept))}")


@app.command()
def neurons(
    run: Annotated[str, typer.Argument(help="The run whose network to look into, by folder or by name.")],
    episodes: Annotated[
        list[Path] | None, typer.Argument(help="Saved episodes that it flew. Default: it flies one.")
    ] = None,
    scenario: Annotated[str, typer.Option(help=SCENARIO_HELP)] = "wind",
    seed: Annotated[int, typer.Option(help="Seed of that flight.")] = 20_000,
    adapter: Annotated[str | None, typer.Option(help="Its adapter. Default: auto where it fits, else none.")] = None,
    at: Annotated[float, typer.Option(help="When a shift without a schedule sets in, s.", min=0.0)] = 5.0,
    out: Annotated[
        Path, typer.Option(help="A figure (.png, .svg, .pdf), or a film (.mp4, .webm, .gif); one per episode.")
    ] = Path("neurons.png"),
    size: Annotated[str, typer.Option(help="Of a film: 480p, 540p or 720p.")] = "720p",
) -> None:
    """Look into a network: states, time constants and saliency over an episode, as a figure or a film."""
    from .console import progress
    from .episode import Episode
    from .film import FilmUnavailable, writer
    from .film.encode import FORMATS
    from .film.figure import save_neurons
    from .film.network import render_network
    from .run import Run

    if size not in writer.SIZES:
        raise ValueError(f"unknown size {size!r}; the sizes are {', '.join(writer.SIZES)}")
    loaded = Run.load(run)
    policy = _memory_policy(loaded)
    paths = episodes or _fly(loaded, scenario, seed, adapter, at, out)[-1:]
    for k, path in enumerate(paths):
        target = out if len(paths) == 1 else out.with_stem(f"{out.stem}-{k}")
        try:
            if target.suffix.lower() in FORMATS:
                with progress("drawing") as tell:
                    render_network(policy, Episode.load(path), target, size=writer.SIZES[size], progress=tell)
            else:
                save_neurons(policy, Episode.load(path), target)
        except FilmUnavailable as error:
            _fail(f"{error}; the episode is kept: {path}")
        typer.echo(f"the inside of {path} is {target}")


@app.command()
def watch(
    run: Annotated[str, typer.Argument(help="The run to fly, by folder or by name; 'reference' ships.")],
    scenario: Annotated[str, typer.Option(help=SCENARIO_HELP)] = "wind",
    seed: Annotated[int, typer.Option(help="Seed of the first episode; the others count up.")] = 20_000,
    adapter: Annotated[str | None, typer.Option(help="Adapter. Default: auto where it fits, else none.")] = None,
    at: Annotated[float, typer.Option(help="When a shift without a schedule sets in, s.", min=0.0)] = 5.0,
) -> None:
    """Watch a run live in MuJoCo's viewer, episode after episode, until its window is closed."""
    from .console import compile_ahead
    from .film import watch as live
    from .run import Run

    loaded = Run.load(run)
    flown = parse_scenario(scenario, loaded.env_id, at)
    controller = loaded.controller(adapter or _default_adapter(loaded))
    try:
        live.require_display()
        compile_ahead(*loaded.cells)
        live.watch(flown, controller, seed)
    except live.NoDisplay as error:
        _fail(error)


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


def parse_scenario(text: str, env_id: str, at: float) -> Scenario:
    """The scenario of that name in a suite that ships, of this environment, or else the one with the shift that is written.

    "no shift" has none. Errors as `parse_shift`.
    """
    from ..envs import SUITES, Scenario, full_id, load_suite
    from ..envs.scenario import NO_SHIFT

    if text == NO_SHIFT:
        return Scenario(NO_SHIFT, env_id)
    for suite in SUITES:
        for scenario in load_suite(suite).scenarios:
            if scenario.name == text and full_id(scenario.env_id) == full_id(env_id):
                return scenario
    shift = parse_shift(text, at)
    return Scenario(shift.label, env_id, {}, (shift,))


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


def _fly(run: Run, scenario: str, seed: int, adapter: str | None, at: float, out: Path) -> list[Path]:
    """Fly a run frozen and, where one fits, with an adapter; keeps the episodes beside `out`."""
    from .console import compile_ahead, progress
    from .evaluation.evaluate import fly, save_episodes

    flown = parse_scenario(scenario, run.env_id, at)
    adapters = dict.fromkeys(["frozen", adapter or _default_adapter(run)])
    compile_ahead(*run.cells)
    with progress("flying") as tell:
        episodes = fly([run], list(adapters), [flown], [seed], tell)
    return save_episodes(episodes, out.with_name(f"{out.stem}-episodes"))


def _peers(written: list[str], runs: list[Run]) -> list[ExternalPolicy]:
    """The policies written as ALGORITHM=FILE.zip[,NORMALISER.pkl], each beside the run of its rank among its algorithm."""
    from .peers import external

    found: list[ExternalPolicy] = []
    for text in written:
        algorithm, equals, files = text.partition("=")
        if not equals:
            raise ValueError(f"--peer {text!r}: write ALGORITHM=FILE.zip, for example RecurrentPPO=model.zip")
        zipped, _, normaliser = files.partition(",")
        rank = sum(each.kind == algorithm for each in found)
        if rank == len(runs):
            raise ValueError(
                f"--peer {text!r} has no run left to be compared with: give as many runs as peers of a kind."
            )
        found.append(external(zipped, runs[0].env_id, algorithm, normaliser or None, runs[rank].seed))
    return found


def _default_adapter(run: Run) -> str:
    return "auto" if run.nominal.signals.tracking else "frozen"


def _memory_policy(run: Run) -> DeployedPolicy:
    """The policy of a run that has a memory to look into."""
    from ..policies.deployed import DeployedPolicy

    if isinstance(run.policy, DeployedPolicy):
        return run.policy
    raise ValueError(f"the policy of {run.name} has no cell to look into")


def _fail(error: Exception | str) -> NoReturn:
    typer.echo("; ".join([f"error: {error}", *getattr(error, "__notes__", ())]), err=True)
    sys.exit(2)


def main() -> None:
    """Entry point: what a user got wrong is one line and exit code 2, anything else a traceback."""
    try:
        app()
    except (ValueError, FileNotFoundError, FileExistsError) as error:
        _fail(error)


if __name__ == "__main__":
    main()
