"""What an imitation start is worth on DroneTrack: the expert, its clone, the clone after PPO, and PPO alone.

The expert is the geometric controller, the learner that of the task's recipe with 256 simulations; PPO on top of the clone
begins at a tenth of the recipe's learning rate. Flown without exploration on 100 report seeds: RMS position error from 2 s
on over the episodes that did not crash, how many did, and the mean reward of a step. Training seconds are those of the CPU.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
from dataclasses import replace

import numpy as np
from _report import Row, arguments, report

from undrift.agents import PPO, BatchVecEnv, Recipe, imitate
from undrift.agents.evaluation.seeds import REPORTS_FROM
from undrift.agents.imitation import Expert
from undrift.envs import make_batch
from undrift.envs.drone.controllers import GeometricController

EPISODES = 100
SETTLED_S = 2.0
GENTLE = 0.1
"""Learning rate of PPO on top of the clone, as a share of the recipe's."""


def fly(name: str, controller: Expert, steps: int = 0, seconds: float = 0.0) -> Row:
    env = make_batch("DroneTrack", EPISODES)
    observation, state = env.reset(list(range(REPORTS_FROM, REPORTS_FROM + EPISODES))), None
    crashed, errors, rewards = np.zeros(EPISODES, dtype=bool), [], []
    for _ in range(env.max_episode_steps):
        action, state = controller.predict(observation, state, deterministic=True)
        observation, reward, terminated, _, info = env.step(action)
        crashed |= terminated
        errors.append(info["position_error"])
        rewards.append(reward)
    settled = np.array(errors)[round(SETTLED_S / env.dt) :, ~crashed]
    return {
        "name": name,
        "steps": steps,
        "cpu_seconds": seconds,
        "rmse_cm": 100 * float(np.sqrt(np.mean(settled**2))),
        "crashed": int(crashed.sum()),
        "mean_reward": float(np.array(rewards)[:, ~crashed].mean()),
    }


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--steps", type=int, default=400_000, help="environment steps of the longer imitation")
    options = parser.parse_args()
    recipe = replace(Recipe.load("DroneTrack"), n_envs=256)
    gentle = replace(recipe, learning_rate=(GENTLE * recipe.learning_rate[0], GENTLE * recipe.learning_rate[1]))

    def make(of: Recipe) -> tuple[PPO, BatchVecEnv]:
        env = BatchVecEnv(make_batch(of.env_id, of.n_envs, 0, **of.env_kwargs), stagger=True)
        return of.learner(env, seed=0), env

    rows = [fly("expert", GeometricController(make(recipe)[1]))]
    for steps in (options.steps // 2, options.steps):
        learner, env = make(gentle)
        began = time.process_time()
        imitate(learner, GeometricController(env), steps)
        cloned = time.process_time() - began
        rows.append(fly("clone", learner.policy, learner.num_timesteps, cloned))
    learner.learn(options.steps // 2, reset_num_timesteps=False)
    rows.append(fly("clone, then ppo", learner.policy, learner.num_timesteps, time.process_time() - began))
    learner, _ = make(recipe)
    began = time.process_time()
    learner.learn(options.steps)
    rows.append(fly("ppo", learner.policy, learner.num_timesteps, time.process_time() - began))
    report(rows, options.json)


if __name__ == "__main__":
    main()
