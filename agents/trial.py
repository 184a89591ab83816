"""Trial: flights by return, on any Gymnasium environment, and what they say of adapting there before anything is deployed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..envs import ActionDelay, ActuatorBias, Always, ForeignBatch, MotorLoss, Scenario
from .adaptation import NominalModel, make_adapter
from .controller import Controller, Policy
from .evaluation.seeds import TUNING
from .evaluation.statistics import bootstrap_interval

SEEDS = TUNING[:20]
"""Of the episodes of a trial."""
TAX, WORTH = 0.01, 0.05
"""Shares of the frozen return: what adapting may cost without a shift, and what it has to gain under those it is for."""


def episode_returns(scenario: Scenario, controller: Controller, seeds: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Sum of rewards [N] of an episode from each seed, and whether it was terminated [N] (a robot fell).

    Args:
        scenario: on an environment that is none of undrift's.
        controller: is reset; it has learned nothing at the start of an episode.
        seeds: [N].

    Raises:
        ValueError: as `ForeignBatch`.
    """
    env = ForeignBatch(scenario, len(seeds))
    observation = env.reset(seeds)
    controller.reset(len(seeds))
    total, ended = np.zeros(len(seeds)), np.zeros(len(seeds), dtype=bool)
    while not env.over.all():
        observation, reward, terminated, truncated, _ = env.step(controller.act(observation, env.step_duration))
        controller.learn(observation, reward, terminated, truncated)
        total += reward
        ended |= terminated
    env.close()
    return total, ended


def why_unfit(policy: Policy, nominal: NominalModel, seeds: Sequence[int] = SEEDS) -> str:
    """Why compensating by this nominal model gains nothing; empty where it gains.

    The adapter `observer` flies against the frozen policy, on paired seeds, in the unshifted environment and with what it is
    for: a trim of one actuator, weak actuators, late commands. It is fit if the return without a shift is not lower by more
    than TAX, and the mean return under the three is higher by more than WORTH, by the 95 % intervals of the paired
    differences: where it gains less, what it costs under other shifts may be as much.

    Args:
        policy: acts in [-1, 1].
        nominal: names its environment, which is none of undrift's.
        seeds: of the episodes, for each of the four.
    """
    assert nominal.env is not None
    env_id, env_kwargs, always = nominal.env["id"], nominal.env["kwargs"], Always()
    shifts = (
        ActuatorBias(bias=0.2, schedule=always),
        MotorLoss(fraction=0.25, schedule=always),
        ActionDelay(seconds=2 * nominal.dt, schedule=always),
    )
    scenarios = [Scenario("trial", env_id, env_kwargs, each) for each in ((), *((shift,) for shift in shifts))]
    frozen, adapted = (
        np.array(
            [episode_returns(each, Controller(policy, make_adapter(name, nominal)), seeds)[0] for each in scenarios]
        )
        for name in ("frozen", "observer")
    )
    difference = adapted - frozen
    calm, gain = bootstrap_interval(difference[0]), bootstrap_interval(difference[1:].mean(axis=0))
    if calm.high < -TAX * abs(frozen[0].mean()):
        return (
            f"without a shift it changed the return of {frozen[0].mean():.4g} by {calm.estimate:+.3g} in trial flights"
        )
    if not gain.low > WORTH * abs(frozen[1:].mean()):
        names = ", ".join(shift.label for shift in shifts)
        return (
            f"in trial flights ({names}) it changed the return of {frozen[1:].mean():.4g} by {gain.estimate:+.3g} "
            f"[{gain.low:.3g}, {gain.high:.3g}]"
        )
    return ""
