"""A plain MLP of Stable-Baselines3 on DroneTrack: trained, imported, and flown frozen and with adapters on paired seeds.

Nothing of it knows that it will be adapted: SB3's PPO with an MlpPolicy, saved by SB3, in the unshifted world. The shift
arrives at 5 s. One row per scenario and adapter: post-shift RMSE in cm with its 95 % interval (bootstrap over episodes: it speaks
of this one policy), crashes, and the share of the loss that is recovered. docs/metrics.md defines them. A policy that lies in
the folder is not trained again.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import math
from pathlib import Path

import torch
from _report import Row, arguments, report
from stable_baselines3 import PPO
from stable_baselines3.common.utils import LinearSchedule

from undrift.agents import BatchVecEnv, Run, import_sb3
from undrift.agents.evaluation.evaluate import fly
from undrift.agents.evaluation.seeds import REPORTS_FROM
from undrift.agents.evaluation.summary import summarize
from undrift.envs import MotorLoss, Payload, Wind, make_batch, one_by_one

ENV_ID = "DroneTrack"
TRAINING = {"episode_s": 6.0, "crash_distance": 1.5}
SHIFTS = (Payload(fraction=0.6), MotorLoss(fraction=0.4), Wind(speed=8.0))
FIGURES = ("rmse_cm", "rmse_low_cm", "rmse_high_cm", "crashes", "recovered_fraction")


def train(steps: int, seed: int) -> PPO:
    """SB3's PPO, a network of 96 x 96."""
    torch.set_num_threads(1)
    model = PPO(
        "MlpPolicy",
        BatchVecEnv(make_batch(ENV_ID, 256, seed, **TRAINING), stagger=True),
        n_steps=64,
        batch_size=4096,
        n_epochs=4,
        gamma=0.98,
        learning_rate=LinearSchedule(1e-3, 1e-4, 1.0),
        vf_coef=0.0025,
        policy_kwargs={"net_arch": [96, 96], "log_std_init": -0.7},
        seed=seed,
        device="cpu",
    )
    return model.learn(steps)


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--steps", type=int, default=2_000_000, help="environment steps of training")
    parser.add_argument("--seed", type=int, default=0, help="training seed, 0 to 99")
    parser.add_argument("--episodes", type=int, default=20, help="episodes for each scenario and adapter")
    parser.add_argument("--first-seed", type=int, default=REPORTS_FROM, help="seed of the first episode")
    parser.add_argument("--out", type=Path, default=Path("runs/own-policy"), help="folder for the zip and the run")
    options = parser.parse_args()

    zipped, folder = options.out / "drone-mlp.zip", options.out / "run"
    if not zipped.exists():
        train(options.steps, options.seed).save(zipped)
    if not folder.exists():
        import_sb3(PPO.load(zipped, device="cpu"), ENV_ID, folder, options.seed)
    run = Run.load(folder)
    seeds = range(options.first_seed, options.first_seed + options.episodes)
    rows = summarize(fly([run], ["frozen", "integral", "auto"], one_by_one(run.env_id, SHIFTS), seeds))
    report([_figures(row) for row in rows], options.json)


def _figures(row: Row) -> Row:
    figures = {name: row[name] for name in FIGURES if row[name] is not None and math.isfinite(row[name])}
    return {"name": f"{row['scenario']} / {row['adapter']}"} | figures


if __name__ == "__main__":
    main()
