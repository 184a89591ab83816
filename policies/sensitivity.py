"""Sensitivity: what each input and each neuron does to a deployed policy's next state and action. No torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .deployed import DeployedPolicy

_STEP = (
    0.02  # of the differences, in units of a typical input and of a state; float32 leaves about 1e-5 of a derivative
)


@dataclass(frozen=True)
class Sensitivity:
    """Derivatives of N control steps (a, h') = policy.step(x, h, dt), inputs in units of their typical magnitude.

    action_by_input : [N, A, I] da / dx, the policy's saliency: how much of each action each channel decides.
    action_by_state : [N, A, H] da / dh', what the actor reads from each neuron.
    state_by_input : [N, H, I] dh' / dx.
    state_by_state : [N, H, H] dh' / dh.
    dt : [N] s, what the steps lasted.
    """

    action_by_input: NDArray[np.float64]
    action_by_state: NDArray[np.float64]
    state_by_input: NDArray[np.float64]
    state_by_state: NDArray[np.float64]
    dt: NDArray[np.float64]

    @property
    def time_constants(self) -> NDArray[np.float64]:
        """[N, H] effective time constants in s: tau_k = -dt / log|dh'_k / dh_k|, as `inspection.trace` defines them."""
        retained = np.abs(np.diagonal(self.state_by_state, axis1=1, axis2=2))
        with np.errstate(divide="ignore"):
            tau = -self.dt[:, None] / np.log(retained)
        return np.where(retained < 1.0, tau, np.inf)


def sensitivity(policy: DeployedPolicy, x: ArrayLike, h: ArrayLike, dt: ArrayLike) -> Sensitivity:
    """Differentiate N steps of a policy by central differences: one definition for every cell.

    x [N, I] in the units of the environment, h [N, H] before the step, dt [N] s. Raises ValueError on a wrong shape.
    """
    inputs, states, elapsed = np.asarray(x, np.float64), np.asarray(h, np.float64), np.asarray(dt, np.float64)
    if inputs.shape[1:] != (policy.input_size,) or states.shape != (len(inputs), policy.state_size):
        raise ValueError(
            f"sensitivity takes x [N, {policy.input_size}] and h [N, {policy.state_size}], "
            f"got {list(inputs.shape)} and {list(states.shape)}"
        )
    scale = np.asarray(policy.config["observation_scale"], np.float64)
    of_inputs, of_states = np.diag(scale), np.eye(policy.state_size)

    def step(x: NDArray[np.float64], h: NDArray[np.float64], nudges: int) -> NDArray[np.float64]:
        return np.concatenate(policy.step(x, h, np.repeat(elapsed, 2 * nudges)), axis=1)

    by_input = _slopes(lambda x: step(x, np.repeat(states, 2 * len(scale), 0), len(scale)), inputs, of_inputs)
    by_state = _slopes(lambda h: step(np.repeat(inputs, 2 * len(of_states), 0), h, len(of_states)), states, of_states)
    _, after = policy.step(inputs, states, elapsed)
    read = _slopes(lambda h: policy.action(np.repeat(inputs, 2 * len(of_states), 0), h), after, of_states)
    actions = policy.action_size
    return Sensitivity(by_input[:, :actions], read, by_input[:, actions:], by_state[:, actions:], elapsed)


def _slopes(
    f: Callable[[NDArray[np.float64]], NDArray[Any]], at: NDArray[Any], directions: NDArray[np.float64]
) -> NDArray[np.float64]:
    """[N, O, D] derivatives of f, rows [B, I] -> [B, O], at the N rows `at` along directions [D, I], by central differences."""
    nudges = _STEP * np.stack([directions, -directions])
    moved = f((at[:, None, None, :] + nudges).reshape(-1, at.shape[1])).astype(np.float64)
    forth, back = np.moveaxis(moved.reshape(len(at), 2, len(directions), -1), 1, 0)
    return np.swapaxes(forth - back, 1, 2) / (2 * _STEP)


def replay(policy: DeployedPolicy, x: NDArray[np.float32], dt: NDArray[np.float64]) -> NDArray[np.float32]:
    """The states [T + 1, H] of one episode in which the policy was shown x [T, I]: the zero state first, then after each
    step, which lasted dt [T] s."""
    states = [policy.initial_state(1)]
    for t in range(len(x)):
        states.append(policy.step(x[t : t + 1], states[-1], dt[t : t + 1])[1])
    return np.concatenate(states)
