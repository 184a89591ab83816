"""What adapting is worth on Gymnasium's own environments: the suite `classic`, flown by plain PPO, on paired report seeds.

The policies are the committed peers (benchmarks/classic_policies.py), made runs by `import_policy`: which channels are
velocities is found, the nominal model is learned from flights, and a trial on tuning seeds says whether adapters may act.
Pendulum's error is declared, its sine of the angle; the other tasks have none, and `integral` does not fit them.

Beside the suite each environment is flown with a trim of one actuator and with commands two periods late. Adapters fly
here whatever their trial said, so that its verdict can be held against what they would have done. Return of the whole episode;
gain: its paired difference to the frozen policy's, with the 95 % bootstrap interval.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from _report import Row, arguments, report, write_below_rule

from undrift.agents import Run, load_peer
from undrift.agents.evaluation.seeds import REPORTS_FROM
from undrift.agents.evaluation.statistics import paired_difference
from undrift.agents.peers import import_policy
from undrift.agents.trial import episode_returns
from undrift.envs import ActionDelay, ActuatorBias, Scenario, Signals, load_suite

PEERS = Path("runs/classic")
SIMULATIONS = 64
"""Flown together for the nominal model."""
DECLARED = {
    "Pendulum-v1": Signals(
        rates={"spin": ("observation_2",)},
        context=("observation_0", "observation_1"),
        tracking={"spin": "observation_1"},
    )
}


def imported(peer_folder: Path, out: Path) -> Run:
    """The run of a peer, in `out`; one that lies there is not made again."""
    folder = out / peer_folder.name
    if not folder.exists():
        peer = load_peer(peer_folder)
        config = peer.config
        env_id, facts = config["env_id"], {"algorithm": config["algorithm"], "steps": config["steps"]}
        fit = {"signals": DECLARED.get(env_id), "simulations": SIMULATIONS}
        import_policy(peer.policy, env_id, folder, config["seed"], config["env_kwargs"], facts, **fit)
    return Run.load(folder)


def scenarios_of(env_id: str, dt: float) -> Iterator[Scenario]:
    """Those of the suite, and two that set in with them: what an observer is for."""
    suite = [scenario for scenario in load_suite("classic").scenarios if scenario.env_id == env_id]
    yield from suite
    calm, schedule = suite[0], suite[1].shifts[0].schedule
    yield replace(calm, name="one actuator trimmed by 20 %", shifts=(ActuatorBias(bias=0.2, schedule=schedule),))
    yield replace(calm, name="actions two periods late", shifts=(ActionDelay(seconds=2 * dt, schedule=schedule),))


def rows_of(runs: list[Run], adapters: list[str], episodes: int) -> Iterator[Row]:
    """The rows of one environment; `runs` differ in their training seed."""
    seeds = range(REPORTS_FROM, REPORTS_FROM + episodes)
    tracks, stays_out = runs[0].nominal.signals.tracking, sum(bool(run.nominal.unfit) for run in runs)
    for run in runs:
        run.nominal.unfit = ""
    for scenario in scenarios_of(runs[0].env_id, runs[0].nominal.dt):
        base = None
        for adapter in ("frozen", *adapters):
            if adapter == "integral" and not tracks:
                continue
            flown = [episode_returns(scenario, run.controller(adapter), seeds) for run in runs]
            returns, ended = [total for total, _ in flown], sum(int(over.sum()) for _, over in flown)
            base = returns if base is None else base
            gain = paired_difference(returns, base)
            yield {
                "name": f"{scenario.name} / {adapter}",
                "env_id": scenario.env_id,
                "scenario": scenario.name,
                "adapter": adapter,
                "return": float(sum(total.mean() for total in returns) / len(runs)),
                "gain": gain.estimate,
                "gain_low": gain.low,
                "gain_high": gain.high,
                "ended_percent": 100 * ended / (len(runs) * episodes),
                "policies": len(runs),
                "stays_out": stays_out,
            }


def page(rows: list[Row]) -> str:
    """The tables of docs/adapting-any-environment.md."""
    parts = []
    for env_id in dict.fromkeys(row["env_id"] for row in rows):
        of_env = [row for row in rows if row["env_id"] == env_id]
        adapters = list(dict.fromkeys(row["adapter"] for row in of_env))
        parts += [f"### {env_id}", "", f"| scenario | {' | '.join(adapters)} | ended, frozen / {adapters[-1]} |"]
        parts.append("|---" * (len(adapters) + 2) + "|")
        for scenario in dict.fromkeys(row["scenario"] for row in of_env):
            frozen, *others = [row for row in of_env if row["scenario"] == scenario]
            cells = [f"{frozen['return']:.0f}", *map(_gain, others)]
            cells.append(f"{frozen['ended_percent']:.0f} / {(others or [frozen])[-1]['ended_percent']:.0f} %")
            parts.append(f"| {scenario} | {' | '.join(cells)} |")
        parts.append("")
    return "\n".join(parts)


def _gain(row: Row) -> str:
    cell = f"{row['gain']:+.0f} [{row['gain_low']:.0f}, {row['gain_high']:.0f}]"
    return cell if row["gain_low"] <= 0 <= row["gain_high"] else f"**{cell}**"


def main() -> None:
    parser = arguments(__doc__ or "")
    environments = list(dict.fromkeys(scenario.env_id for scenario in load_suite("classic").scenarios))
    parser.add_argument("--only", nargs="+", choices=environments, default=environments, metavar="ENV")
    parser.add_argument("--adapters", nargs="+", default=["integral", "observer", "auto"], help="beside frozen")
    parser.add_argument("--episodes", type=int, default=20, help="report seeds a cell and policy")
    parser.add_argument("--out", type=Path, default=Path("runs/classic-adapting"), help="folder of the runs")
    parser.add_argument(
        "--page", type=Path, help="also write the tables as Markdown, below the page's first rule (---)"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[Row] = []
    for env_id in options.only:
        peers = sorted(PEERS.glob(f"{env_id.rpartition('-')[0].lower()}-s*"))
        runs = [imported(peer, options.out) for peer in peers]
        for run in runs:
            print(f"{run.name}: adapters {f'stay out of the way: {run.nominal.unfit}' if run.nominal.unfit else 'act'}")
        for row in rows_of(runs, options.adapters, options.episodes):
            print(f"{row['name']:60s} {row['return']:8.0f} {_gain(row)}", flush=True)
            rows.append(row)
    report(rows, options.json)
    if options.page:
        write_below_rule(options.page, page(rows))


if __name__ == "__main__":
    main()
