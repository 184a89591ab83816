"""What memory is worth where velocities are hidden, beside sb3-contrib's RecurrentPPO and an MLP on stacked frames.

CartPole and Hopper show positions only, Pendulum the cosine and sine of its angle. Within a study all learners have the same
environments, rollouts, minibatches (counted in steps), epochs, learning rate, discount, head widths and initial exploration,
and rewards scaled by the running deviation of the return (PPO); every memory has as many units, one for the actor and one for
the critics. Under PPO, CartPole and Pendulum take what the RL Zoo holds for RecurrentPPO on the same two tasks (hyperparams/
ppo_lstm.yml: CartPoleNoVel, PendulumNoVel), but for its state-dependent exploration. What is left is each one's default; so
RecurrentPPO learns from whole rollouts, ours from sequences of 32 steps (SAC: 16). What had to be chosen was chosen on seeds
from 100 on.

Each run is a process of its own with one thread. Its clock is that process's CPU time without the evaluations, since the runs
share the machine; its memory is the largest resident set, libraries included. Deterministic policies fly ten episodes, the
same for all, at every tenth of the training. Every run writes one file when it is through, and a run whose file is there,
with the present settings, is skipped: the benchmark may be stopped and started at will.

Budget, in CPU minutes of one core as the committed runs took, without their evaluations: CartPole with PPO 45, Pendulum with PPO 60,
with SAC 54, Hopper with PPO 53, with SAC 54; 266 in all.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from _report import Row, arguments, peak_mib, write_document
from gymnasium.spaces import Box
from gymnasium.wrappers import FrameStackObservation, TransformObservation
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

RESULTS = Path(__file__).parent / "results" / "memory_tasks"
CELLS = ("cfc", "ltc", "diagonal", "gru", "lstm")
RECURRENT_PPO, STACKED_MLP = "recurrent-ppo", "stacked-mlp"
FRAMES = 4
CHECKPOINTS = 10
EPISODES, EVALUATION_SEED = 10, 10_000


@dataclass(frozen=True)
class Task:
    """An environment that shows some of its channels, divided by `scale`."""

    env_id: str
    channels: tuple[int, ...]
    scale: tuple[float, ...]

    def make(self, frames: int) -> gymnasium.Env:
        env = gymnasium.make(self.env_id)
        space, channels, scale = env.observation_space, list(self.channels), np.array(self.scale, np.float32)
        assert isinstance(space, Box)
        low, high = (bound[channels].astype(np.float32) / scale for bound in (space.low, space.high))
        env = TransformObservation(env, lambda obs: (obs[channels] / scale).astype(np.float32), Box(low, high))
        return env if frames == 1 else FrameStackObservation(env, frames)


@dataclass(frozen=True)
class Study:
    """A task, an algorithm, and what is spent: environment steps of a run, seeds, units of a memory, learners."""

    task: Task
    algorithm: str
    steps: int
    seeds: int
    learners: tuple[str, ...]
    n_envs: int
    units: int
    net_arch: tuple[int, ...]
    hyper_parameters: dict[str, Any]
    """of the algorithm; a pair is what one is at the start and at the end, linear in between"""
    policy: dict[str, Any]
    """what every policy is told"""
    ours: dict[str, Any]
    """what ours are told besides, so that they are like the others"""


CARTPOLE = Task("CartPole-v1", (0, 2), (2.4, 0.2))
PENDULUM = Task("Pendulum-v1", (0, 1), (1.0, 1.0))
# What tells a velocity is the change from one step to the next: 0.2 at 4 rad/s. Divided by one it is learned too slowly for the
# updates that there are here, by a stack of frames as by a memory.
PENDULUM_CHANGES = dataclasses.replace(PENDULUM, scale=(0.2, 0.2))
HOPPER = Task("Hopper-v5", (0, 1, 2, 3, 4), (1.0, 1.0, 1.0, 1.0, 1.0))
ON_POLICY = (*CELLS, RECURRENT_PPO, STACKED_MLP)

STUDIES = {
    "cartpole-ppo": Study(
        CARTPOLE,
        "ppo",
        steps=99_840,
        seeds=5,
        learners=ON_POLICY,
        n_envs=8,
        units=32,
        net_arch=(64, 64),
        hyper_parameters={
            "n_steps": 32,
            "batch_size": 256,
            "n_epochs": 20,
            "gamma": 0.98,
            "gae_lambda": 0.8,
            "learning_rate": (1e-3, 0.0),
            "clip_range": (0.2, 0.0),
        },
        policy={},
        ours={"critic_memory": "separate"},
    ),
    "pendulum-ppo": Study(
        PENDULUM,
        "ppo",
        steps=98_304,
        seeds=5,
        learners=ON_POLICY,
        n_envs=4,
        units=32,
        net_arch=(64, 64),
        hyper_parameters={"n_steps": 1024, "batch_size": 128, "n_epochs": 10, "gamma": 0.9, "learning_rate": 1e-3},
        policy={"log_std_init": 0.0},
        ours={"critic_memory": "separate", "log_std_bounds": None},
    ),
    "pendulum-sac": Study(
        PENDULUM_CHANGES,
        "sac",
        steps=12_000,
        seeds=5,
        learners=(*CELLS, STACKED_MLP),
        n_envs=4,
        units=32,
        net_arch=(64, 64),
        hyper_parameters={
            "learning_rate": (1e-3, 1e-4),
            "batch_size": 256,
            "buffer_size": 16_000,
            "learning_starts": 1000,
            "train_freq": 1,
            "gradient_steps": 4,
            "gamma": 0.98,
        },
        policy={},
        ours={"critic_memory": "separate"},
    ),
    "hopper-ppo": Study(
        HOPPER,
        "ppo",
        steps=204_800,
        seeds=3,
        learners=ON_POLICY,
        n_envs=8,
        units=64,
        net_arch=(64, 64),
        hyper_parameters={"n_steps": 128, "batch_size": 256, "n_epochs": 5, "gamma": 0.99, "learning_rate": 3e-4},
        policy={"log_std_init": -0.7},
        ours={"critic_memory": "separate", "log_std_bounds": None},
    ),
    "hopper-sac": Study(
        HOPPER,
        "sac",
        steps=200_000,
        seeds=3,
        learners=("cfc", "lstm", STACKED_MLP),
        n_envs=4,
        units=64,
        net_arch=(128, 128),
        hyper_parameters={
            "learning_rate": 1e-3,
            "batch_size": 256,
            "buffer_size": 200_000,
            "learning_starts": 5000,
            "train_freq": 2,
            "gradient_steps": 1,
            "gamma": 0.99,
        },
        policy={},
        ours={"critic_memory": "separate"},
    ),
}


def quick(study: Study) -> Study:
    """The smallest budget: shows that it works, not how well."""
    given = study.hyper_parameters
    steps = given["learning_starts"] + 100 if study.algorithm == "sac" else study.n_envs * given["n_steps"]
    return dataclasses.replace(study, steps=steps, seeds=1)


# --- one run ----------------------------------------------------------------------------------------------------------------


def make_envs(task: Task, learner: str, n_envs: int, seed: int) -> VecEnv:
    frames = FRAMES if learner == STACKED_MLP else 1
    return make_vec_env(lambda: task.make(frames), n_envs, seed)


def build(study: Study, learner: str, seed: int) -> BaseAlgorithm:
    env = make_envs(study.task, learner, study.n_envs, seed)
    if study.algorithm == "ppo":
        # Episodes' returns range from -1600 to 3000; advantages do not need it, value networks do.
        env = VecNormalize(env, norm_obs=False, gamma=study.hyper_parameters["gamma"])
    policy = {"net_arch": list(study.net_arch)} | study.policy
    shared: dict[str, Any] = {"env": env, "seed": seed, "device": "cpu"}
    for name, value in study.hyper_parameters.items():
        shared[name] = LinearSchedule(*value, 1.0) if isinstance(value, tuple) else value
    if learner == STACKED_MLP:
        return {"ppo": PPO, "sac": SAC}[study.algorithm]("MlpPolicy", policy_kwargs=policy, **shared)
    if learner == RECURRENT_PPO:
        from sb3_contrib import RecurrentPPO

        return RecurrentPPO("MlpLstmPolicy", policy_kwargs=policy | {"lstm_hidden_size": study.units}, **shared)
    # A peer's memory, as measured, holds nothing of ours.
    from undrift.agents.algorithms import ALGORITHMS
    from undrift.policies.kernels.backend import compile_kernels

    compile_kernels([learner])
    policy |= {"units": study.units} | study.ours
    return ALGORITHMS[study.algorithm.upper()](f"{learner.capitalize()}Policy", policy_kwargs=policy, **shared)


class Checkpoints(BaseCallback):
    """Evaluates before training, at every tenth of it, and when it ends; the clock stands still meanwhile."""

    def __init__(self, env: VecEnv, steps: int) -> None:
        super().__init__()
        self.env, self.steps = env, steps
        self.rows: list[dict[str, Any]] = []
        self._began = 0.0

    def _on_training_start(self) -> None:
        self._began = time.process_time()
        self._evaluate()

    def _on_step(self) -> bool:
        due = len(self.rows)
        if due < CHECKPOINTS and self.num_timesteps >= due * self.steps / CHECKPOINTS:
            self._evaluate()
        return True

    def _on_training_end(self) -> None:
        self._evaluate()

    def _evaluate(self) -> None:
        stopped = time.process_time()
        returns = [round(value, 2) for value in episode_returns(self.model, self.env).tolist()]
        self.rows.append({"steps": self.num_timesteps, "cpu_s": round(stopped - self._began, 3), "returns": returns})
        self._began += time.process_time() - stopped


def episode_returns(model: BaseAlgorithm, env: VecEnv) -> np.ndarray:
    """Return of the deterministic policy in the first episode of each environment, the same episodes every time."""
    env.seed(EVALUATION_SEED)
    obs, state, starts = env.reset(), None, np.ones(env.num_envs, bool)
    total, flying = np.zeros(env.num_envs), starts
    while flying.any():
        action, state = model.predict(obs, state, starts, deterministic=True)  # type: ignore[arg-type]
        obs, reward, starts, _ = env.step(action)
        total += reward * flying
        flying = flying & ~starts
    return total


def train(study: Study, learner: str, seed: int) -> dict[str, Any]:
    """One run; what its file says."""
    torch.set_num_threads(1)
    model = build(study, learner, seed)
    checkpoints = Checkpoints(make_envs(study.task, learner, EPISODES, EVALUATION_SEED), study.steps)
    model.learn(study.steps, checkpoints, log_interval=None)  # type: ignore[arg-type]
    peak = peak_mib()
    from undrift.agents.episode import versions

    return {
        "learner": learner,
        "seed": seed,
        "study": described(study),
        "parameters": sum(parameter.numel() for parameter in model.policy.parameters() if parameter.requires_grad),
        "peak_mib": round(peak, 1),
        "versions": versions(),
        "checkpoints": checkpoints.rows,
    }


# --- all runs ---------------------------------------------------------------------------------------------------------------


def described(study: Study) -> dict[str, Any]:
    """What a run depends on, as JSON gives it back."""
    settings = dataclasses.asdict(study)
    del settings["seeds"], settings["learners"]
    return json.loads(json.dumps(settings))


def result_file(folder: Path, name: str, learner: str, seed: int) -> Path:
    return folder / f"{name}-{learner}-{seed}.json"


def read(file: Path, study: Study) -> dict[str, Any] | None:
    """What a run found, if it ran with the study's present settings."""
    if not file.exists():
        return None
    result = json.loads(file.read_text())
    return result if result["study"] == described(study) else None


def run_all(studies: dict[str, Study], options: argparse.Namespace, folder: Path) -> list[str]:
    """Run what is missing, each run in a process of its own, until the budget is spent; returns what failed."""
    deadline = time.monotonic() + 60 * options.budget
    missing = [
        (name, learner, seed)
        for name, study in studies.items()
        for seed in range(study.seeds)
        for learner in study.learners
        if read(result_file(folder, name, learner, seed), study) is None
    ]

    def run(cell: tuple[str, str, int]) -> bool:
        if time.monotonic() > deadline:
            return True
        command = [sys.executable, __file__, "--results", str(folder), "--run", *map(str, cell)]
        began = time.monotonic()
        status = subprocess.run(command + ["--quick"] * options.quick, check=False).returncode
        took = f"{time.monotonic() - began:.0f} s" if status == 0 else f"failed with status {status}"
        print(f"{time.strftime('%H:%M:%S')} {result_file(folder, *cell).stem}: {took}", flush=True)
        return status == 0

    print(f"{len(missing)} runs to do", flush=True)
    with ThreadPoolExecutor(options.jobs) as pool:
        succeeded = list(pool.map(run, missing))
    return [result_file(folder, *cell).stem for cell, well in zip(missing, succeeded, strict=True) if not well]


# --- tables -----------------------------------------------------------------------------------------------------------------


def row(name: str, learner: str, results: list[dict[str, Any]], cpu_s: float) -> Row:
    """Returns of a learner's runs when training ends and after `cpu_s`, interpolated between checkpoints, with intervals."""
    from undrift.agents.evaluation.statistics import bootstrap_interval

    final = [result["checkpoints"][-1] for result in results]
    tables = {
        "equal_steps": [checkpoint["returns"] for checkpoint in final],
        "equal_time": [returns_after(result["checkpoints"], cpu_s) for result in results],
    }
    found: Row = {"name": f"{name}/{learner}", "seeds": len(results)}
    for column, table in tables.items():
        interval = bootstrap_interval(table)
        found |= {column: interval.estimate, f"{column}_low": interval.low, f"{column}_high": interval.high}
    found |= {
        "of_each_seed": ", ".join(f"{np.mean(returns):.0f}" for returns in tables["equal_steps"]),
        "cpu_s": float(np.mean([checkpoint["cpu_s"] for checkpoint in final])),
        "peak_mib": float(np.max([result["peak_mib"] for result in results])),
        "parameters": results[0]["parameters"],
    }
    return found


def returns_after(checkpoints: list[dict[str, Any]], cpu_s: float) -> list[float]:
    clock = [checkpoint["cpu_s"] for checkpoint in checkpoints]
    curves = np.array([checkpoint["returns"] for checkpoint in checkpoints]).T
    return [float(np.interp(cpu_s, clock, curve)) for curve in curves]


def tabulate(studies: dict[str, Study], folder: Path) -> list[Row]:
    """Print a Markdown table of each study, and return the rows."""
    rows: list[Row] = []
    for name, study in studies.items():
        found: dict[str, list[dict[str, Any]]] = {}
        for learner in study.learners:
            read_files = (read(result_file(folder, name, learner, seed), study) for seed in range(study.seeds))
            if results := [result for result in read_files if result is not None]:
                found[learner] = results
        if found:
            shortest = min(np.mean([run["checkpoints"][-1]["cpu_s"] for run in results]) for results in found.values())
            of_study = [row(name, learner, results, float(shortest)) for learner, results in found.items()]
            print(markdown(name, study, of_study, float(shortest)))
            rows += of_study
    return rows


def markdown(name: str, study: Study, rows: list[Row], cpu_s: float) -> str:
    lines = [
        f"### {name}: {study.steps:,} steps",
        "",
        f"| learner | return after {study.steps:,} steps | each seed | return after {cpu_s:.0f} s | CPU s | peak MiB | parameters |",
        "|---|---|---|---|---|---|---|",
    ]
    for found in rows:
        learner = found["name"].partition("/")[2]
        means = [
            f"{found[column]:.0f} [{found[f'{column}_low']:.0f}, {found[f'{column}_high']:.0f}]"
            for column in ("equal_steps", "equal_time")
        ]
        lines.append(
            f"| {learner} | {means[0]} | {found['of_each_seed']} | {means[1]} | {found['cpu_s']:.0f} | "
            f"{found['peak_mib']:.0f} | {found['parameters']:,} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--only", nargs="+", choices=STUDIES, default=list(STUDIES), help="studies to run")
    parser.add_argument("--jobs", type=int, choices=(1, 2), default=1, help="runs at a time")
    parser.add_argument("--budget", type=float, default=float("inf"), help="minutes after which no further run starts")
    parser.add_argument("--table", action="store_true", help="run nothing; tabulate what is there")
    parser.add_argument("--quick", action="store_true", help="the smallest budget, in a folder that is thrown away")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the runs' files")
    parser.add_argument("--run", nargs=3, metavar=("STUDY", "LEARNER", "SEED"), help="this run alone, in this process")
    options = parser.parse_args()
    studies = {name: quick(STUDIES[name]) if options.quick else STUDIES[name] for name in options.only}
    if options.run:
        from undrift.agents.files import write_atomically

        name, learner, seed = options.run
        result = train(studies[name], learner, int(seed))
        write_atomically(result_file(options.results, name, learner, int(seed)), (json.dumps(result) + "\n").encode())
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) if options.quick else options.results
        failed = [] if options.table else run_all(studies, options, folder)
        write_document(tabulate(studies, folder), options.json)
        if failed:
            sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
