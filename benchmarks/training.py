"""Steps per second of training on DroneTrack, beside sb3-contrib's RecurrentPPO and SB3's PPO. One thread, one process.

Two settings: sb3-contrib's own defaults (rollouts of 128 steps, minibatches of 128, 10 epochs) in 64 environments, and
those our reference policy is trained with (rows ending in "-recipe"). Within a setting all learn in the same environment
with the same rollouts, minibatches, epochs and head widths, and the LSTM has as many units as the CfC; everything else of a
peer is its default. Ours learns from sequences of 32 steps with stored starting states, RecurrentPPO from whole rollouts.
All policies are untrained, so episodes are short. A figure is that of the fastest of several iterations (rollout and
update), taken in turns, in seconds of CPU time: other load on the machine hardly disturbs it.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import dataclasses
import time
from collections.abc import Callable

import torch
from _report import Row, arguments, report
from stable_baselines3 import PPO as PlainPPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from undrift.agents.training import Recipe
from undrift.agents.vec_env import make_vec_env

RECIPE = Recipe.load("DroneTrack")
CONTRIB_DEFAULTS = {"n_steps": 128, "batch_size": 128, "n_epochs": 10, "target_kl": None, "bounds_coef": 0.0}
SETTINGS = {
    "": dataclasses.replace(RECIPE, n_envs=64, ppo=RECIPE.ppo | CONTRIB_DEFAULTS),
    "-recipe": dataclasses.replace(RECIPE, ppo=RECIPE.ppo | {"target_kl": None}),
}
EQUAL = ("n_steps", "batch_size", "n_epochs", "gamma", "vf_coef", "max_grad_norm")
MIN_ITERATIONS = 2  # the first compiles


def drone_ppo_cfc(setting: Recipe) -> BaseAlgorithm:
    return setting.learner(make_vec_env(setting.env_id, setting.n_envs, 0), seed=0)


def recurrent_ppo_lstm(setting: Recipe) -> BaseAlgorithm:
    from sb3_contrib import RecurrentPPO

    return peer(RecurrentPPO, "MlpLstmPolicy", setting, lstm_hidden_size=setting.policy["units"])


def ppo_mlp(setting: Recipe) -> BaseAlgorithm:
    return peer(PlainPPO, "MlpPolicy", setting)


def peer(algorithm: type[BaseAlgorithm], policy: str, setting: Recipe, **policy_kwargs: int) -> BaseAlgorithm:
    """A peer with the setting's environments, rollouts, minibatches, epochs and head widths."""
    return algorithm(  # type: ignore[call-arg]
        policy,
        make_vec_env(setting.env_id, setting.n_envs, 0),
        learning_rate=setting.learning_rate[0],
        policy_kwargs={"net_arch": setting.policy["net_arch"], **policy_kwargs},
        seed=0,
        device="cpu",
        **{name: setting.ppo[name] for name in EQUAL},
    )


LEARNERS: dict[str, Callable[[Recipe], BaseAlgorithm]] = {
    "drone-ppo-cfc": drone_ppo_cfc,
    "recurrent-ppo-lstm": recurrent_ppo_lstm,
    "ppo-mlp": ppo_mlp,
}
RATIOS = {"recurrent-ppo-lstm": "vs_recurrent_ppo", "ppo-mlp": "vs_ppo_mlp"}


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


def measure(setting: Recipe, suffix: str, steps: int, skipped: dict[str, str]) -> list[Row]:
    """A row for each learner that is installed, ours first with its ratio to each peer."""
    learners: dict[str, tuple[BaseAlgorithm, Phases]] = {}
    for name, build in LEARNERS.items():
        try:
            learners[name] = build(setting), Phases()
        except ImportError as error:
            skipped[name] = f"not installed ({error})"
    iteration = setting.n_envs * setting.ppo["n_steps"]
    for _ in range(max(MIN_ITERATIONS, steps // iteration)):
        for learner, phases in learners.values():
            learner.learn(iteration, callback=phases, log_interval=None, reset_num_timesteps=False)  # type: ignore[arg-type]
    rows: dict[str, Row] = {
        name: {
            "name": name + suffix,
            "steps_per_s": iteration / phases.iteration_s,
            "rollout_s": phases.rollout_s,
            "update_s": phases.iteration_s - phases.rollout_s,
        }
        for name, (_, phases) in learners.items()
    }
    ours = rows["drone-ppo-cfc"]
    ours |= {RATIOS[name]: ours["steps_per_s"] / row["steps_per_s"] for name, row in rows.items() if name in RATIOS}
    ours |= {"n_envs": setting.n_envs, "threads": 1}
    return list(rows.values())


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument(
        "--steps", type=int, default=32_768, help="environment steps each one trains for in each setting"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    skipped: dict[str, str] = {}
    rows = [row for suffix, setting in SETTINGS.items() for row in measure(setting, suffix, options.steps, skipped)]
    report(rows, options.json, skipped)


if __name__ == "__main__":
    main()
