"""Oracle: the base policy fine-tuned on what shifts in one scenario. A reference, not an upper bound.

The one file here that needs torch. It tells what training on those shifts themselves buys within a stated budget. It
knows them beforehand and is shown no other world; yet with another budget, learning rate or memory it might fly better,
so that an adapter may beat it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from ...envs import Always, Shift, make_batch
from ...envs.shifts import shift_to_dict
from ...policies.sb3 import LiquidPolicy
from ...policies.stored import StoredPolicy
from ..run import Run, new_run, refuse_existing
from ..training import LearningCurve, Progress, Recipe, torch_threads, write_config
from ..vec_env import BatchVecEnv
from .summary import NOMINAL, ORACLE

LEARNING_RATE = 3e-4
"""At the start; it falls linearly to the base recipe's last one."""


def fine_tune(base: Run, shifts: Sequence[Shift], folder: Path, steps: int, progress: Progress | None = None) -> Path:
    """Train the policy of `base` on, in a world shifted from the first step of every episode, and write the run.

    The run keeps the base's recipe, training seed and nominal model; its config says `kind` "oracle" and, under
    `oracle`, the base, the shifts and the steps.

    Args:
        base: a nominal run.
        shifts: what it is trained for, all at once; their schedules are not used.
        folder: the run's folder; it must not exist yet.
        steps: environment steps, rounded up to whole rollouts.
        progress: called after every rollout, for example `undrift.agents.training.print_progress`.

    Raises:
        FileExistsError: `folder` exists.
        ValueError: `base` is no nominal run, or its recipe does not fit its policy.
    """
    if base.kind != NOMINAL:
        raise ValueError(f"{base.name} is not a nominal run but of kind {base.kind!r}: fine-tune the run it came from.")
    refuse_existing(folder)
    own = Recipe.from_dict(base.config["recipe"])
    rates = LEARNING_RATE, min(LEARNING_RATE, own.learning_rate[1])
    recipe = replace(own, total_timesteps=steps, learning_rate=rates)
    always = tuple(replace(shift, schedule=Always()) for shift in shifts)
    batch = make_batch(recipe.env_id, recipe.n_envs, base.seed, always, **recipe.env_kwargs)
    with torch_threads(recipe.threads), new_run(folder) as partial:
        env = BatchVecEnv(batch, stagger=True)
        learner = recipe.learner(env, base.seed)
        load_actor(learner.policy, base.policy)
        curve = LearningCurve(env, steps, progress)
        learner.learn(steps, callback=curve, log_interval=None)  # type: ignore[arg-type]
        learner.policy.deployed(batch.observation_names).save(partial)
        base.nominal.save(partial)
        curve.save(partial / "curve.csv")
        facts = {"base": base.name, "base_sha256": base.policy.sha256, "steps": steps}
        facts |= {"shifts": [shift_to_dict(shift) for shift in always]}
        write_config(partial, asdict(recipe), base.seed, kind=ORACLE, oracle=facts)
    return folder


def load_actor(policy: LiquidPolicy, deployed: StoredPolicy) -> None:
    """Give `policy` the memory cell and the actor that were deployed; its critic stays as it is.

    Raises:
        ValueError: the two are not built alike.
    """
    own, given = policy.deployed_tensors, deployed.tensors
    shapes = [{name: tuple(tensor.shape) for name, tensor in tensors.items()} for tensors in (own, given)]
    if wrong := sorted({name for name, _ in shapes[0].items() ^ shapes[1].items()}):
        raise ValueError(f"the run's recipe does not build its policy: they differ in {', '.join(wrong)}")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(torch.from_numpy(given[name]))
