"""The policies of the suite `classic`: Stable-Baselines3's own PPO, trained on Gymnasium's environments, and their returns.

Each is an MlpPolicy trained on the unshifted environment and lies in runs/classic/<environment>-s<seed>, which
`undrift.agents.peers.load_peer` reads. What lies there already is tabulated and not trained again: remove a folder to train
it anew. The return is that of 20 deterministic episodes with the seeds from 10000 on, flown with what is stored; its 95 %
interval speaks of this one policy on new episodes. One thread; the clock is this process's CPU time, evaluation left out.

Pendulum takes what the RL Zoo holds for it (hyperparams/ppo.yml of DLR-RM/rl-baselines3-zoo), HalfCheetah and Ant its
discounts, clipping and loss weights for HalfCheetah-v3, Hopper SB3's defaults; the three have networks of 64 x 64, eight
environments and larger minibatches for the sake of the time, and a learning rate that falls to zero.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from _report import Row, arguments, report
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecNormalize

from undrift.agents.episode import versions
from undrift.agents.evaluation.seeds import REPORTS_FROM, check_training_seed
from undrift.agents.evaluation.statistics import bootstrap_interval
from undrift.agents.peers import Peer, load_peer

RESULTS = Path(__file__).parents[1] / "runs" / "classic"
EPISODES = 20


@dataclass(frozen=True)
class Task:
    """An environment, how PPO is told to solve it, and what is spent."""

    env_id: str
    steps: int
    n_envs: int
    hyper_parameters: dict[str, Any]
    """of PPO; a pair is what one is at the start and at the end, linear in between"""
    policy_kwargs: dict[str, Any]
    normalised: bool
    """observations and rewards, by VecNormalize"""
    env_kwargs: dict[str, Any] = field(default_factory=dict)

    def folder(self, seed: int) -> Path:
        """Where its policy lies, such as runs/classic/halfcheetah-s0."""
        return RESULTS / f"{self.env_id.rpartition('-')[0].lower()}-s{seed}"


RUNNING = {
    "n_steps": 256,
    "batch_size": 128,
    "gamma": 0.98,
    "gae_lambda": 0.92,
    "clip_range": 0.1,
    "ent_coef": 0.0004,
    "max_grad_norm": 0.8,
    "vf_coef": 0.58,
    "learning_rate": (3e-4, 0.0),
}
HOPPING = {"n_steps": 256, "batch_size": 128, "learning_rate": (3e-4, 0.0)}
SWINGING_UP = {
    "n_steps": 1024,
    "batch_size": 64,
    "gamma": 0.9,
    "learning_rate": 1e-3,
    "use_sde": True,
    "sde_sample_freq": 4,
}

TASKS = {
    task.env_id: task
    for task in (
        Task(
            "Pendulum-v1",
            steps=100_000,
            n_envs=4,
            hyper_parameters=SWINGING_UP,
            policy_kwargs={"net_arch": [64, 64]},
            normalised=False,
            env_kwargs={"g": 9.81},
        ),
        Task(
            "HalfCheetah-v5",
            steps=1_400_000,
            n_envs=8,
            hyper_parameters=RUNNING,
            policy_kwargs={"net_arch": [64, 64], "log_std_init": -2.0, "ortho_init": False},
            normalised=True,
        ),
        Task(
            "Hopper-v5",
            steps=600_000,
            n_envs=8,
            hyper_parameters=HOPPING,
            policy_kwargs={"net_arch": [64, 64]},
            normalised=True,
        ),
        Task(
            "Ant-v5",
            steps=600_000,
            n_envs=8,
            hyper_parameters=RUNNING,
            policy_kwargs={"net_arch": [64, 64], "log_std_init": -1.0, "ortho_init": False},
            normalised=True,
        ),
    )
}


def train(task: Task, seed: int, folder: Path) -> None:
    """Train the task's policy, fly it, and put it into `folder`."""
    torch.set_num_threads(1)
    env = make_vec_env(task.env_id, task.n_envs, seed, env_kwargs=task.env_kwargs)
    hyper_parameters = {
        name: LinearSchedule(*value, 1.0) if isinstance(value, tuple) else value
        for name, value in task.hyper_parameters.items()
    }
    if task.normalised:
        env = VecNormalize(env, gamma=task.hyper_parameters.get("gamma", 0.99))
    model = PPO("MlpPolicy", env, policy_kwargs=dict(task.policy_kwargs), seed=seed, device="cpu", **hyper_parameters)
    began = time.process_time()
    model.learn(task.steps)
    spent = time.process_time() - began
    env.close()
    peer = Peer.of(model, task.env_id, task.env_kwargs)
    facts = {
        "seed": seed,
        "n_envs": task.n_envs,
        "hyper_parameters": task.hyper_parameters,
        "steps": model.num_timesteps,
        "cpu_minutes": round(spent / 60, 2),
        "return": fly(peer, task),
        "versions": versions(),
    }
    peer.save(folder, facts)


def fly(peer: Peer, task: Task) -> dict[str, Any]:
    """Return of the first episode from each of the seeds, deterministic: the mean and its interval."""
    env = make_vec_env(task.env_id, EPISODES, REPORTS_FROM, env_kwargs=task.env_kwargs)
    returns, _ = evaluate_policy(peer, env, n_eval_episodes=EPISODES, return_episode_rewards=True)
    env.close()
    interval = bootstrap_interval(returns)
    return {"mean": interval.estimate, "low": interval.low, "high": interval.high, "episodes": EPISODES}


def row(folder: Path) -> Row:
    config = load_peer(folder).config
    found = config["return"]
    return {
        "name": folder.name,
        "algorithm": config["algorithm"],
        "steps": config["steps"],
        "cpu_minutes": config["cpu_minutes"],
        "return": found["mean"],
        "return_low": found["low"],
        "return_high": found["high"],
    }


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--only", nargs="+", choices=TASKS, default=list(TASKS), metavar="ENV", help=", ".join(TASKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="training seeds, 0 to 99")
    options = parser.parse_args()
    for seed in options.seeds:
        check_training_seed(seed)
    runs = [(TASKS[env_id], seed) for seed in options.seeds for env_id in options.only]
    for task, seed in runs:
        if not task.folder(seed).exists():
            train(task, seed, task.folder(seed))
    report([row(task.folder(seed)) for task, seed in runs], options.json)


if __name__ == "__main__":
    main()
