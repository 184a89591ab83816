"""Learn the nominal model from a policy's own nominal flights. The only file of the adaptation that needs torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import nn

from ...envs import ActionDelay, BatchEnv, ForeignBatch, Signals, make_any_batch, make_batch
from ...envs.schedule import Always
from ...envs.signals import SignalReader
from .kinematics import find_signals
from .nominal import RESPONSE_RANGE, NominalModel, disturbance_features

if TYPE_CHECKING:
    from ..controller import Policy

HISTORY = 4
"""Commands the model looks back on: rotor lag and inner loop settle within 80 ms."""
_HIDDEN = 64
_PUSH_AT_S = 2.0
_SETTLED_S = 6.0
"""A push comes at the first time and is held for the second, s; the answer is read in its second half."""
_INTEGRAL_GAIN = 12.0
"""Acceleration asked for per tracking error and time, 1/s³."""
_ASKED_LIMIT = 2 * RESPONSE_RANGE
_LIGHT = 2.0
"""Strongest push that is left to the policy, m/s²."""
_LATE_S = 8.0
"""How long is flown with late commands, of which the first quarter is no steady flight, s."""
_LATEST, _BETTER, _FEWEST = 3, 0.02, 32
"""Periods of delay that are tried, what share less the error has to be, and flights with each, at least."""
_HELD = 0.15
"""A push was held if the root mean square of the tracking error stayed below this while the answer was read, m."""


def fit_nominal_model(
    policy: Policy,
    env_id: str,
    env_kwargs: Mapping[str, Any],
    seed: int,
    *,
    signals: Signals | None = None,
    simulations: int = 256,
    steps: int = 800,
    iterations: int = 4000,
) -> NominalModel:
    """Fly, fit, and identify the policy's response to a disturbance, its stiffness and what delay it is used to, where the
    environment is one of undrift's.

    Half of what the model must know lies off the policy's own path, so each simulation adds coloured noise of its own
    strength to the actions. Accelerations are finite differences of the rates over one control period.

    Args:
        policy: the trained policy; its actions are in [-1, 1].
        env_id: environment it was trained in, without shifts; any of Gymnasium's that `ForeignBatch` takes.
        env_kwargs: constructor arguments; with the sensor noise off, the model learns the plant and not the sensors.
        seed: of the flights and of the fit; the same seed gives the same model.
        signals: what the observations hold; None is what the environment names, or else what `find_signals` finds.
        simulations: flown together; twice as many for the response, a quarter for each delay, but 32.
        steps: control steps of each.
        iterations: of Adam, 2048 samples each.

    Raises:
        ValueError: as `make_batch` and `ForeignBatch`; or no signals are found.
    """
    env = make_any_batch(env_id, simulations, seed, **env_kwargs)
    before, commands, after = _fly(policy, env, seed, steps)
    if signals is None:
        named = env.signals if isinstance(env, BatchEnv) else None
        signals = named or find_signals(env.observation_names, before, after, env.dt)
    reader = SignalReader(env.observation_names, signals, commands.shape[2])
    targets = (reader.rates(after) - reader.rates(before)) / env.dt
    tensors = _fit(reader.inputs(before, commands), targets, seed, iterations)
    errors = len(signals.tracking)
    tensors["response"] = np.zeros((disturbance_features(np.zeros((1, errors))).shape[1], errors))
    plant = {"id": env.id, "kwargs": env.kwargs}
    model = NominalModel(env.observation_names, signals, env.dt, HISTORY, tensors, plant)
    if not errors or not isinstance(env, BatchEnv):
        return model
    flown = policy, model, env_id, env_kwargs, seed
    tensors["response"] = _response(*flown, 2 * simulations)
    habits = find_stiffness(*flown, simulations), find_accustomed_delay(*flown, max(simulations // 4, _FEWEST))
    return NominalModel(env.observation_names, signals, env.dt, HISTORY, tensors, plant, None, "", *habits)


def _fly(
    policy: Policy, env: BatchEnv | ForeignBatch, seed: int, steps: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Observations [M, O], the commands [M, K, A] until then, newest first, and the observations a period later [M, O]."""
    rng, n = np.random.default_rng(seed), env.num_envs
    observation, hidden = env.reset(), policy.initial_state(n)
    actions = env.action_space.shape[0]  # type: ignore[index]
    commands, disturbance, age = np.zeros((n, HISTORY, actions)), np.zeros((n, actions)), np.zeros(n, dtype=int)
    strength = rng.uniform(0.0, 0.6, (n, 1))
    flown = []
    for _ in range(steps):
        action, hidden = policy.step(observation, hidden, np.full(n, env.dt))
        disturbance = 0.8 * disturbance + 0.6 * rng.standard_normal(disturbance.shape)
        action = np.clip(action + strength * disturbance, -1.0, 1.0)
        commands = np.concatenate([action[:, None], commands[:, :-1]], axis=1)
        following, _, terminated, truncated, _ = env.step(action)
        known = age >= HISTORY
        flown.append((observation[known], commands[known], following[known]))
        age += 1
        observation = following
        if (over := np.flatnonzero(terminated | truncated)).size:
            observation[over] = env.reset(ids=over)
            hidden[over], commands[over], disturbance[over], age[over] = 0.0, 0.0, 0.0, 0
    before, sent, after = (np.concatenate(each) for each in zip(*flown, strict=True))
    return before, sent, after


class _Network(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(inputs, _HIDDEN), nn.Linear(_HIDDEN, _HIDDEN)
        self.third = nn.Linear(_HIDDEN, outputs)
        self.skip = nn.Linear(inputs, outputs, bias=False)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        hidden = torch.tanh(self.second(torch.tanh(self.first(z))))
        return self.third(hidden) + self.skip(z)

    def tensors(self) -> dict[str, np.ndarray]:
        """Weights under the names that NominalModel gives them."""
        values = {"skip": self.skip.weight.T}
        for i, layer in enumerate((self.first, self.second, self.third), 1):
            values |= {f"w{i}": layer.weight.T, f"b{i}": layer.bias}
        return {name: value.detach().numpy().astype(np.float64) for name, value in values.items()}


def _fit(inputs: np.ndarray, targets: np.ndarray, seed: int, iterations: int) -> dict[str, np.ndarray]:
    """The tensors of a NominalModel, without the response."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = _Network(inputs.shape[1], targets.shape[1])
    in_scale = np.maximum(inputs.std(0), 1e-3)
    out_mean, out_scale = targets.mean(0), np.maximum(targets.std(0), 1e-6)
    order = torch.randperm(len(inputs), generator=generator)
    z = torch.tensor(inputs / in_scale, dtype=torch.float32)[order]
    y = torch.tensor((targets - out_mean) / out_scale, dtype=torch.float32)[order]
    held_out = len(z) // 20
    optimiser = torch.optim.Adam(network.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.01, iterations)
    for _ in range(iterations):
        sample = torch.randint(held_out, len(z), (2048,), generator=generator)
        loss = nn.functional.mse_loss(network(z[sample]), y[sample])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        residual = (network(z[:held_out]) - y[:held_out]).std(0).numpy() * out_scale
    tensors = network.tensors()
    return tensors | {"in_scale": in_scale, "out_mean": out_mean, "out_scale": out_scale, "residual": residual}


def _response(
    policy: Policy, model: NominalModel, env_id: str, env_kwargs: Mapping[str, Any], seed: int, n: int
) -> np.ndarray:
    """Least squares of the acceleration to ask for, on `disturbance_features` of the push that it answers.

    It is found by integral action on the true tracking error, so it is read where it will be used: at no error. Pushes that
    were not held count for nothing: where the policy can lean no further, or is still returning, the integral has wound up,
    and a fit to it asks a policy that leans readily for several times too much.
    """
    env = make_batch(env_id, n, seed=seed, **env_kwargs)
    push = _pushes(seed, n, len(model.reader.error_index), min(RESPONSE_RANGE, env.plant.strongest_push))
    flown = _pushed(policy, model, env, push, _INTEGRAL_GAIN)
    # The constant is the policy's nominal error: fitted, and then left to the policy.
    features = np.concatenate([disturbance_features(push), np.ones((n, 1))], axis=1)
    return np.linalg.lstsq(features[flown.held], flown.asked[flown.held], rcond=None)[0][:-1]


def find_stiffness(
    policy: Policy, model: NominalModel, env_id: str, env_kwargs: Mapping[str, Any], seed: int, simulations: int
) -> float:
    """`NominalModel.stiffness`: pushes that are left to the policy, over the tracking errors that it leaves, by least
    squares; 0 where none was held. Arguments as `fit_nominal_model`."""
    env = make_batch(env_id, simulations, seed=seed, **env_kwargs)
    push = _pushes(seed, simulations, len(model.reader.error_index), min(_LIGHT, env.plant.strongest_push))
    flown = _pushed(policy, model, env, push, 0.0)
    push, error = push[flown.held], flown.error[flown.held]
    return float((push * push).sum() / abs((push * error).sum())) if len(push) else 0.0


def find_accustomed_delay(
    policy: Policy, model: NominalModel, env_id: str, env_kwargs: Mapping[str, Any], seed: int, simulations: int
) -> int:
    """`NominalModel.accustomed_delay`: with commands so many periods late the tracking error is least, and by a share of
    _BETTER less than on time. Arguments as `fit_nominal_model`."""
    errors = [_late(policy, model, env_id, env_kwargs, seed, simulations, periods) for periods in range(_LATEST + 1)]
    best = int(np.argmin(errors))
    return best if errors[best] < (1.0 - _BETTER) * errors[0] else 0


def _late(
    policy: Policy,
    model: NominalModel,
    env_id: str,
    env_kwargs: Mapping[str, Any],
    seed: int,
    n: int,
    periods: int,
) -> float:
    """Root mean square of the tracking error where commands are so many periods late; infinite where most are lost by it."""
    shifts = [ActionDelay(seconds=periods * model.dt, schedule=Always())] if periods else []
    env = make_batch(env_id, n, seed, shifts, **env_kwargs)
    observation, hidden, lost = env.reset(), policy.initial_state(n), np.zeros(n, dtype=bool)
    squares = []
    for _ in range(round(_LATE_S / env.dt)):
        action, hidden = policy.step(observation, hidden, np.full(n, env.dt))
        observation, _, terminated, *_ = env.step(action)
        lost |= terminated
        squares.append(np.square(observation[:, model.reader.error_index]).sum(axis=1))
    kept = np.mean(squares[len(squares) // 4 :], axis=0)[~lost]
    return float(np.sqrt(kept.mean())) if 2 * len(kept) > n else np.inf


def _pushes(seed: int, n: int, axes: int, strongest: float) -> np.ndarray:
    """Accelerations [n, axes], uniform in the ball of that radius, m/s²: strength and direction both cover what a deployment
    may meet."""
    rng = np.random.default_rng(seed)
    push = rng.standard_normal((n, axes))
    return push * (strongest * rng.random(n) ** (1 / axes) / np.linalg.norm(push, axis=1))[:, None]


class _Pushed(NamedTuple):
    """How vehicles were under a push of some seconds, while it was read: acceleration asked for and tracking error [N, E], in
    the mean, and which [N] held it."""

    asked: np.ndarray
    error: np.ndarray
    held: np.ndarray


def _pushed(policy: Policy, model: NominalModel, env: BatchEnv, push: np.ndarray, gain: float) -> _Pushed:
    """Fly, push [N, E], and ask the policy against it by that integral gain on the tracking error."""
    observation, hidden = env.reset(), policy.initial_state(len(push))
    asked, lost = np.zeros_like(push), np.zeros(len(push), dtype=bool)
    answers, errors = [], []
    steps, onset = round(_SETTLED_S / env.dt), round(_PUSH_AT_S / env.dt)
    for step in range(onset + steps):
        if step == onset:
            env.plant.push(push)
        action, hidden = policy.step(model.asked(observation, asked), hidden, np.full(len(push), env.dt))
        observation, _, terminated, *_ = env.step(action)
        lost |= terminated
        if step >= onset:
            error = observation[:, model.reader.error_index].astype(np.float64)
            asked = np.clip(asked - gain * env.dt * error, -_ASKED_LIMIT, _ASKED_LIMIT)
        if step >= onset + steps // 2:
            answers.append(asked)
            errors.append(error)
    squares = np.square(errors).sum(axis=2).mean(axis=0)
    return _Pushed(np.mean(answers, axis=0), np.mean(errors, axis=0), ~lost & (squares < _HELD**2))
