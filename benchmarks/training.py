"""Speed of training with memory, beside sb3-contrib's RecurrentPPO and SB3's own PPO and SAC. One thread.

On policy, three settings: DroneTrack in 64 environments and Gymnasium's Hopper-v5 in 8, both with sb3-contrib's defaults
(rollouts of 128 steps, minibatches of 128, 10 epochs), and DroneTrack as our reference policy is trained ("-recipe"). Within a
setting all learn in the same environments with the same rollouts, minibatches, epochs and head widths, and the LSTM has as
many units as the CfC; everything else of a peer is its default. Ours learns from sequences of 32 steps with stored starting
states, RecurrentPPO from whole rollouts. All policies are untrained, so episodes are short. A figure is that of the fastest
of several iterations (rollout and update).

Off policy: updates of SAC on Hopper-v5, with minibatches of 256 steps (ours: sequences of 16, read after a burn-in of 4; the
MLP: single transitions) and equal head widths. A figure is that of the fastest of several rounds of updates.

Learners take turns in one process; seconds are those of its CPU time, which other load on the machine hardly disturbs.
Memory is the largest resident set of a process that only builds a learner and lets it learn for one iteration, libraries
included; all import the same ones.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import dataclasses
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import stable_baselines3
import torch
from _report import Row, arguments, peak_mib, report
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env as make_gymnasium_envs
from stable_baselines3.common.vec_env import VecEnv

from undrift.agents import PPO, SAC
from undrift.agents.training import Recipe
from undrift.agents.vec_env import make_vec_env

RECIPE = Recipe.load("DroneTrack")
CONTRIB_DEFAULTS = {"n_steps": 128, "batch_size": 128, "n_epochs": 10}
EQUAL = ("n_steps", "batch_size", "n_epochs", "gamma", "vf_coef", "max_grad_norm")
MIN_ITERATIONS = 4  # the first compiles
REPLAYED, UPDATES, BATCH = 2000, 100, 256  # random steps in the replay buffer, updates of a round, steps in a minibatch


Learners = dict[str, Callable[[], BaseAlgorithm]]
"""By the middle of their rows' names; the first is ours, the others its peers."""


def build(
    algorithm: type[BaseAlgorithm], policy: str, envs: Callable[[], VecEnv], equal: dict[str, Any], **policy_kwargs: Any
) -> BaseAlgorithm:
    return algorithm(policy, envs(), policy_kwargs=policy_kwargs, seed=0, device="cpu", **equal)  # type: ignore[call-arg]


def recurrent_ppo(envs: Callable[[], VecEnv], equal: dict[str, Any], **policy_kwargs: Any) -> BaseAlgorithm:
    from sb3_contrib import RecurrentPPO

    return build(RecurrentPPO, "MlpLstmPolicy", envs, equal, **policy_kwargs)


def ppo_peers(envs: Callable[[], VecEnv], equal: dict[str, Any], net_arch: Any, units: int) -> Learners:
    return {
        "recurrent-ppo-lstm": partial(recurrent_ppo, envs, equal, net_arch=net_arch, lstm_hidden_size=units),
        "ppo-mlp": partial(build, stable_baselines3.PPO, "MlpPolicy", envs, equal, net_arch=net_arch),
    }


def drone(recipe: Recipe) -> Learners:
    envs = partial(make_vec_env, recipe.env_id, recipe.n_envs, 0)
    equal = {name: recipe.ppo[name] for name in EQUAL} | {"learning_rate": recipe.learning_rate[0]}
    ours: Learners = {"ppo-cfc": lambda: recipe.learner(envs(), seed=0)}
    return ours | ppo_peers(envs, equal, recipe.policy["net_arch"], recipe.policy["units"])


def hopper(units: int, net_arch: list[int]) -> Learners:
    envs = partial(make_gymnasium_envs, "Hopper-v5", 8, 0)
    ours = partial(build, PPO, "CfcPolicy", envs, CONTRIB_DEFAULTS, units=units, net_arch=net_arch)
    return {"ppo-cfc": ours} | ppo_peers(envs, CONTRIB_DEFAULTS, net_arch, units)


def hopper_sac(units: int, net_arch: list[int]) -> Learners:
    envs = partial(make_gymnasium_envs, "Hopper-v5", 1, 0)
    equal = {"batch_size": BATCH, "buffer_size": 2 * REPLAYED, "learning_starts": REPLAYED}
    return {
        "sac-cfc": partial(build, SAC, "CfcPolicy", envs, equal, units=units, net_arch=net_arch),
        "sac-mlp": partial(build, stable_baselines3.SAC, "MlpPolicy", envs, equal, net_arch=net_arch),
    }


def named(pattern: str, learners: Learners) -> Learners:
    """Learners by the names of their rows."""
    return {pattern.format(name): learner for name, learner in learners.items()}


OURS_ALONE = {"target_kl": None, "bounds_coef": 0.0}
SETTINGS = {
    "drone-ppo-cfc": named(
        "drone-{}", drone(dataclasses.replace(RECIPE, n_envs=64, ppo=RECIPE.ppo | CONTRIB_DEFAULTS | OURS_ALONE))
    ),
    "drone-ppo-cfc-recipe": named(
        "drone-{}-recipe", drone(dataclasses.replace(RECIPE, ppo=RECIPE.ppo | {"target_kl": None}))
    ),
    "hopper-ppo-cfc": named("hopper-{}", hopper(units=64, net_arch=[64, 64])),
    "hopper-sac-cfc": named("hopper-{}", hopper_sac(units=64, net_arch=[256, 256])),
}
LEARNERS = {name: learner for learners in SETTINGS.values() for name, learner in learners.items()}
RATIOS = {"recurrent-ppo-lstm": "vs_recurrent_ppo", "ppo-mlp": "vs_ppo_mlp", "sac-mlp": "vs_sac_mlp"}


class Phases(BaseCallback):
    """CPU seconds of the fastest iteration so far, and of the rollout in it."""

    def __init__(self) -> None:
        super().__init__()
        self.rollout_s = self.iteration_s = float("inf")
        self._began = self._collected = 0.0

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        self._began = time.process_time()

    def _on_rollout_end(self) -> None:
        self._collected = time.process_time()

    def _on_training_end(self) -> None:
        seconds = time.process_time() - self._began
        if seconds < self.iteration_s:
            self.iteration_s, self.rollout_s = seconds, self._collected - self._began


class Iterations:
    """Iterations of PPO, each a rollout and an update, and the CPU time of the fastest."""

    speed = "steps_per_s"

    def __init__(self, learner: BaseAlgorithm) -> None:
        self.learner, self.phases = learner, Phases()
        self.steps = learner.n_envs * learner.n_steps  # type: ignore[attr-defined]

    def iterate(self) -> None:
        self.learner.learn(self.steps, callback=self.phases, log_interval=None, reset_num_timesteps=False)  # type: ignore[arg-type]

    def figures(self) -> dict[str, float]:
        rollout_s, iteration_s = self.phases.rollout_s, self.phases.iteration_s
        return {
            self.speed: self.steps / iteration_s,
            "rollout_s": rollout_s,
            "update_s": iteration_s - rollout_s,
        }


class Updates:
    """Rounds of updates of SAC from a buffer filled at random, and the CPU time of the fastest."""

    speed, steps = "updates_per_s", UPDATES * BATCH

    def __init__(self, learner: BaseAlgorithm) -> None:
        self.learner, self.seconds = learner.learn(REPLAYED, log_interval=None), float("inf")  # type: ignore[arg-type]

    def iterate(self) -> None:
        began = time.process_time()
        self.learner.train(UPDATES, BATCH)  # type: ignore[attr-defined]
        self.seconds = min(self.seconds, time.process_time() - began)

    def figures(self) -> dict[str, float]:
        return {self.speed: UPDATES / self.seconds}


def ready(name: str) -> Iterations | Updates:
    """A learner by the name of its row."""
    return (Updates if "-sac-" in name else Iterations)(LEARNERS[name]())


def memory_of(name: str) -> float:
    """Peak memory in MiB of a process of its own in which a learner goes through one iteration."""
    command = [sys.executable, __file__, "--memory-of", name]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def measure(ours: str, steps: int, skipped: dict[str, str]) -> list[Row]:
    """A row for each learner of a setting that is installed, ours first with its ratio to each peer."""
    learners: dict[str, Iterations | Updates] = {}
    for name in SETTINGS[ours]:
        try:
            learners[name] = ready(name)
        except ImportError as error:
            skipped[name] = f"not installed ({error})"
    for _ in range(max(MIN_ITERATIONS, steps // learners[ours].steps)):
        for learner in learners.values():
            learner.iterate()
    rows: dict[str, Row] = {
        name: {"name": name, **learner.figures(), "peak_mib": memory_of(name)} for name, learner in learners.items()
    }
    speed = learners[ours].speed
    for kind, ratio in RATIOS.items():
        if (peer := next((row for name, row in rows.items() if kind in name), None)) is not None:
            rows[ours][ratio] = rows[ours][speed] / peer[speed]
    rows[ours] |= {"n_envs": learners[ours].learner.n_envs, "threads": 1}
    return list(rows.values())


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--only", nargs="+", choices=SETTINGS, default=list(SETTINGS), help="settings to measure")
    parser.add_argument(
        "--steps", type=int, default=16_384, help="steps each one learns from in each setting, at least four iterations"
    )
    parser.add_argument("--memory-of", choices=LEARNERS, help="print the peak memory of this one in MiB, alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.memory_of:
        ready(options.memory_of).iterate()
        print(peak_mib())
        return
    skipped: dict[str, str] = {}
    rows = [row for name in options.only for row in measure(name, options.steps, skipped)]
    report(rows, options.json, skipped)


if __name__ == "__main__":
    main()
