"""From a recipe to a run: train a policy, record how it learned, and learn its nominal model."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import LinearSchedule

from ..envs import EXPERTS, full_id, make_batch
from ..envs.shifts import shift_from_dict
from .adaptation import make_adapter
from .algorithms import PPO
from .controller import Loop
from .episode import versions
from .evaluation.seeds import check_training_seed
from .evaluation.summary import RANDOMISED
from .imitation import imitate, learn_values
from .run import Run, new_run, refuse_existing
from .vec_env import AdaptingVecEnv, BatchVecEnv

Progress = Callable[[dict[str, float], int], None]
"""Called after every rollout with the newest row of the learning curve and the steps there are to train."""

CONTINUED_STEPS, CONTINUED_RATE, CONTINUED_LOG_STD = 500_000, (1e-4, 1e-5), -2.0
"""Of a recipe that goes on with a trained policy."""
VALUES_SHARE = 0.2
"""Of the steps in which a trained policy goes on, how many its new critic learns from alone, first."""

CURVE = ("steps", "seconds", "mean_error_m", "crashes_per_1k", "mean_reward")
"""Columns of ``curve.csv``; all but the first two are means over one rollout of the exploring policy."""


@dataclass(frozen=True)
class Recipe:
    """Everything that determines a training run but its seed.

    Args:
        name: the recipe's name, that of its file in ``agents/recipes``.
        env_id: environment to train on.
        env_kwargs: its constructor arguments in training.
        nominal_env_kwargs: its constructor arguments in the flights that the nominal model is learned from.
        n_envs: simulations stepped together.
        total_timesteps: environment steps in all.
        learning_rate: the learning rate at the start and at the end, linear in between.
        threads: threads torch uses; results are bit-identical for one number of threads only.
        ppo: further arguments of :class:`PPO`.
        policy: arguments of :class:`LiquidPolicy` but the control period and observation scale, which are the
            environment's.
        imitation: with what arguments :func:`imitate` begins the training, by the environment's expert in ``EXPERTS``, on
            the first of the steps; None begins with random weights.
        randomised: what shifts in training, as `shift_to_dict` writes it; from ranges of magnitudes each episode draws its
            own (domain randomisation). The nominal model is learned without.
        history: arguments of :func:`fit_history_encoder`, shifts as `shift_to_dict` writes them; None trains no encoder.
        start: the run whose policy the recipe goes on with where no other is named; None: it begins anew.
    """

    name: str
    env_id: str
    env_kwargs: dict[str, Any]
    nominal_env_kwargs: dict[str, Any]
    n_envs: int
    total_timesteps: int
    learning_rate: tuple[float, float]
    threads: int
    ppo: dict[str, Any]
    policy: dict[str, Any]
    imitation: dict[str, Any] | None = None
    randomised: list[dict[str, Any]] = field(default_factory=list)
    history: dict[str, Any] | None = None
    start: str | None = None

    @staticmethod
    def load(name: str) -> Recipe:
        """The recipe that ships for an environment, by short name or by full id.

        Raises:
            ValueError: if there is none; the message lists the recipes there are.
        """
        short = name.removeprefix("undrift.envs:").removeprefix("undrift/").removesuffix("-v0")
        shipped = {Path(file.name).stem: file for file in (resources.files("undrift.agents") / "recipes").iterdir()}
        recipes = {stem: file for stem, file in shipped.items() if file.name.endswith(".json")}
        if short not in recipes:
            raise ValueError(f"no recipe for {name!r}; there are recipes for {', '.join(sorted(recipes))}")
        return Recipe.from_dict(json.loads(recipes[short].read_text()))

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Recipe:
        """The recipe written as JSON by ``dataclasses.asdict``.

        Raises:
            ValueError: if a field is missing or unknown; the message names it.
        """
        data = {"imitation": None, "randomised": [], "history": None, "start": None} | data
        expected, got = {f.name for f in fields(Recipe)}, set(data)
        if expected != got:
            raise ValueError(
                f"a recipe has the fields {', '.join(sorted(expected))}; "
                f"missing: {sorted(expected - got)}, unknown: {sorted(got - expected)}"
            )
        start, end = data["learning_rate"]
        return Recipe(**{**data, "learning_rate": (float(start), float(end))})

    def continued(self) -> Recipe:
        """This recipe for a policy that is trained already: no imitation, and steps small and few enough not to undo it; as it
        is where it is made for going on (`start`)."""
        if self.start is not None:
            return self
        policy = self.policy | {"log_std_init": CONTINUED_LOG_STD}
        return replace(
            self, total_timesteps=CONTINUED_STEPS, learning_rate=CONTINUED_RATE, policy=policy, imitation=None
        )

    def env(self, seed: int, loop: Loop | None = None) -> BatchVecEnv:
        """The environments to train in, randomised; with a `loop`, as they are for a policy under its adapter."""
        shifts = [shift_from_dict(values) for values in self.randomised]
        batch = make_batch(self.env_id, self.n_envs, seed, shifts, **self.env_kwargs)
        return BatchVecEnv(batch, stagger=True) if loop is None else AdaptingVecEnv(batch, loop, stagger=True)

    def learner(self, env: BatchVecEnv, seed: int) -> PPO:
        """PPO set up by this recipe, not yet trained."""
        start, end = self.learning_rate
        policy = self.policy | {"period": env.batch.dt, "observation_scale": env.batch.observation_scale}
        return PPO(
            "CfcPolicy",
            env,
            learning_rate=LinearSchedule(start, end, 1.0),
            policy_kwargs=policy,
            seed=seed,
            device="cpu",
            **self.ppo,
        )

    def encoder_arguments(self) -> dict[str, Any] | None:
        """`history` with its shifts built; None where no encoder is asked for."""
        if self.history is None:
            return None
        scenarios = [[shift_from_dict(values) for values in shifts] for shifts in self.history["scenarios"]]
        sensing = [shift_from_dict(values) for values in self.history["sensing"]]
        return self.history | {"scenarios": scenarios, "sensing": sensing}

    def fit(self, learner: PPO, env: BatchVecEnv, callback: BaseCallback) -> None:
        """Train what :meth:`learner` made for ``env``: imitation, if the recipe begins with it, then PPO."""
        if self.imitation is not None:
            imitate(learner, EXPERTS[env.batch.id](env), callback=callback, **self.imitation)
        left = self.total_timesteps - learner.num_timesteps
        learner.learn(left, callback=callback, log_interval=None, reset_num_timesteps=False)  # type: ignore[arg-type]


def train(
    recipe: Recipe,
    folder: Path,
    seed: int,
    progress: Progress | None = None,
    start: Run | None = None,
    adapter: str | None = None,
) -> Path:
    """Train by ``recipe`` and write the run.

    The folder appears whole or not at all: ``config.json``, ``curve.csv``, the policy, its nominal model and, where the
    recipe asks for one, its history encoder.

    Args:
        recipe: what to train, and how.
        folder: the run's folder; it must not exist yet.
        seed: seed of the weights, the exploration and the environments.
        progress: called after every rollout, for example :func:`print_progress`.
        start: a run whose policy is trained on, by a recipe that is :meth:`Recipe.continued`; None is the recipe's own, if
            it names one. On the first fifth of the steps its new critic learns alone.
        adapter: name of the adapter that acts in training too, behind its guard (:class:`AdaptingVecEnv`), with the nominal
            model of ``start``. The run's own nominal model is learned after training.

    Returns:
        the folder.

    Raises:
        FileExistsError: if ``folder`` exists.
        ValueError: if the environment is unknown, the seed is not one of training, the recipe's arguments contradict
            each other, it does not fit ``start``, or the adapter is unknown or has no ``start`` to take its model from.
    """
    from .adaptation.distillation import fit_history_encoder
    from .adaptation.identification import fit_nominal_model
    from .evaluation.oracle import load_actor

    check_training_seed(seed)
    refuse_existing(folder)
    if start is None and recipe.start is not None:
        start = Run.load(recipe.start)
    env, history = recipe.env(seed, _loop(recipe, start, adapter)), recipe.encoder_arguments()
    with torch_threads(recipe.threads), new_run(folder) as partial:
        learner = recipe.learner(env, seed)
        curve = LearningCurve(env, recipe.total_timesteps, progress)
        if start is not None:
            load_actor(learner.policy, start.policy)
            learn_values(learner, round(VALUES_SHARE * recipe.total_timesteps), callback=curve)
        recipe.fit(learner, env, curve)
        policy = learner.policy.deployed(env.batch.observation_names)
        policy.save(partial)
        nominal = fit_nominal_model(policy, recipe.env_id, recipe.nominal_env_kwargs, seed)
        if history is not None:
            nominal.encoder = fit_history_encoder(policy, nominal, seed, **history)
        nominal.save(partial)
        curve.save(partial / "curve.csv")
        write_config(partial, asdict(recipe), seed, **_facts(recipe, start, adapter))
    return folder


def _loop(recipe: Recipe, start: Run | None, adapter: str | None) -> Loop | None:
    """What stands between policy and environments in training, if anything."""
    if start is not None and full_id(start.env_id) != full_id(recipe.env_id):
        raise ValueError(
            f"{start.name} was trained on {start.env_id}, the recipe {recipe.name} is for {recipe.env_id}."
        )
    if adapter is None:
        return None
    if start is None:
        raise ValueError(f"adapter {adapter!r} needs a nominal model to train with: start from a run, which has one.")
    return Loop(make_adapter(adapter, start.nominal))


def _facts(recipe: Recipe, start: Run | None, adapter: str | None) -> dict[str, Any]:
    """What a run's config says beside recipe and seed."""
    facts: dict[str, Any] = {"kind": RANDOMISED} if recipe.randomised else {}
    if start is not None:
        facts["start"] = {"run": start.name, "sha256": start.policy.sha256}
    if adapter is not None:
        facts |= {"kind": f"trained with {adapter}", "adapter": adapter}
    return facts


def write_config(folder: Path, recipe: Mapping[str, Any], seed: int, **facts: Any) -> None:
    """Write ``config.json``: how a run came to be, and with which versions on which machine."""
    found = versions()
    config = {"recipe": dict(recipe), "seed": seed, **facts, "machine": found.pop("machine"), "versions": found}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


@contextmanager
def torch_threads(n: int) -> Iterator[None]:
    """Let torch use ``n`` threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class LearningCurve(BaseCallback):
    """Records what each rollout was like: tracking error, crashes, reward.

    Args:
        env: the environments being trained in.
        total_timesteps: environment steps in all.
        progress: told of every new row.
    """

    def __init__(self, env: BatchVecEnv, total_timesteps: int, progress: Progress | None = None) -> None:
        super().__init__()
        self.rows: list[dict[str, float]] = []
        self._env, self._total, self._progress = env, total_timesteps, progress
        self._began = time.perf_counter()
        self._steps: list[tuple[float, float, float]] = []

    def _on_training_start(self) -> None:
        if not self.rows:
            self._began = time.perf_counter()

    def _on_step(self) -> bool:
        info = self._env.info
        figures = info["position_error"].mean(), info["crashed"].mean(), self.locals["rewards"].mean()
        self._steps.append((float(figures[0]), float(figures[1]), float(figures[2])))
        return True

    def _on_rollout_end(self) -> None:
        error, crashes, reward = np.mean(self._steps, axis=0).tolist()
        self._steps.clear()
        seconds = time.perf_counter() - self._began
        row = dict(zip(CURVE, (self.num_timesteps, seconds, error, 1000 * crashes, reward), strict=True))
        self.rows.append(row)
        if self._progress is not None:
            self._progress(row, self._total)

    def save(self, path: Path) -> None:
        """Write the curve as CSV, one row a rollout."""
        write_curve(path, self.rows)


def write_curve(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write rows with the columns ``CURVE`` as CSV; none where nobody saw the training."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(CURVE)
        writer.writerows([f"{row[column]:.10g}" for column in CURVE] for row in rows)


def print_progress(row: dict[str, float], total_timesteps: int) -> None:
    """Keep one line on the terminal: how far, how good, how fast, how long still."""
    steps, seconds = row["steps"], row["seconds"]
    left = max(0.0, (total_timesteps - steps) * seconds / steps)
    print(
        f"\r{steps / 1e6:.2f} of {total_timesteps / 1e6:.2f} M steps, error {100 * row['mean_error_m']:.1f} cm, "
        f"{row['crashes_per_1k']:.1f} crashes per 1000 steps, {steps / seconds:,.0f} steps/s, {left:.0f} s left ",
        end="\n" if steps >= total_timesteps else "",
        flush=True,
    )
