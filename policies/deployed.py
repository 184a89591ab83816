"""A trained policy as it is deployed: weights, one compiled step, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .kernels import actor
from .kernels.backend import check_tensors
from .prepared import PreparedCell, as_read
from .stored import StoredPolicy

FORMAT = 2


class DeployedPolicy(StoredPolicy):
    """A policy with a memory cell, stepped with numpy and compiled code.

    x = observation / observation_scale; h' = cell(x, h, dt); action = actor([x, y(h')]), a tanh MLP whose last layer is
    clipped to [-1, 1] (squashed by tanh where `squash`). Rows of a batch are computed one by one, so a batch of N gives
    bit-identical results to N batches of one. A non-finite observation gives non-finite actions and raises nothing.

    Parameters
    ----------
    config : JSON-able dict with the keys
        format (2), cell (`Cell.config`, with I inputs), observation_scale [I] typical magnitude of each channel in its own
        unit, actor_layers, action_size A, squash, observation_names [I].
    tensors : float32 arrays "cell.<parameter of the cell>", "actor.<i>.weight" [out, in] and "actor.<i>.bias" [out].

    Raises ValueError naming the key or tensor that is missing, unknown, of the wrong shape or not finite.
    """

    def __init__(self, config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> None:
        super().__init__(config, tensors)
        _check_keys(self.config)
        own = {name.removeprefix("cell."): tensor for name, tensor in self.tensors.items() if name.startswith("cell.")}
        self.cell = PreparedCell(self.config["cell"], own)
        self.input_size, self.state_size, self.period = self.cell.input_size, self.cell.state_size, self.cell.period
        _check_values(self.config, self.input_size)
        self.action_size = int(self.config["action_size"])
        self.observation_names = tuple(self.config["observation_names"])
        maps = _actor_maps(self.config, self.input_size + self.cell.output_size, self.tensors)
        maps[0] = self.cell.fold_output(*maps[0])
        self._actor = actor.prepare(
            self.config["observation_scale"], maps, self.config["squash"], self.cell.shown.start
        )
        self._step = partial(self.cell.kernel, *self._actor)

    def initial_state(self, batch_size: int) -> NDArray[np.float32]:
        """The state at the start of an episode: zeros [batch_size, H]."""
        return np.zeros((batch_size, self.state_size), np.float32)

    def step(self, obs: ArrayLike, h: ArrayLike, dt: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """One control step of B independent rows.

        obs [B, I] in the units of the environment, h [B, H] state, dt [B] time since the last step in s.
        Returns the action [B, A] in [-1, 1] and the new state [B, H]; the arguments are left as they are.
        Raises ValueError on a wrong shape.
        """
        observation, state, elapsed = as_read(obs), np.array(h, np.float32, order="C"), as_read(dt)
        rows = len(elapsed) if elapsed.ndim == 1 else -1
        if observation.shape != (rows, self.input_size) or state.shape != (rows, self.state_size):
            raise ValueError(
                f"step takes obs [B, {self.input_size}], h [B, {self.state_size}] and dt [B], "
                f"got {list(observation.shape)}, {list(state.shape)} and {list(elapsed.shape)}"
            )
        action = np.empty((rows, self.action_size))
        self._step(observation, elapsed, state, action)
        return action, state

    @cached_property
    def single_step(self) -> tuple[int, NDArray[np.float64]] | None:
        """`step` of one vehicle for kernels to call (`by_address`): where it is compiled, and the policy as it reads that; None of
        cells that have none, of a class with a `step` of its own, and without numba."""
        if type(self).step is not DeployedPolicy.step:
            return None
        return self.cell.single_step((self.input_size, self.state_size, self.action_size), self._actor)

    def action(self, obs: ArrayLike, h: ArrayLike) -> NDArray[np.float64]:
        """What the actor makes of obs [B, I] and the state h [B, H] after the step: [B, A], as `step` returns it.

        Raises ValueError on a wrong shape.
        """
        observation, state = as_read(obs), np.array(h, np.float32, order="C")
        rows = len(observation)
        if observation.shape != (rows, self.input_size) or state.shape != (rows, self.state_size):
            raise ValueError(
                f"action takes obs [B, {self.input_size}] and h [B, {self.state_size}], "
                f"got {list(observation.shape)} and {list(state.shape)}"
            )
        action = np.empty((rows, self.action_size))
        actor.act(*self._actor, observation, state, action)
        return action


_KEYS = ("format", "cell", "observation_scale", "actor_layers", "action_size", "squash", "observation_names")


def _check_keys(config: dict[str, Any]) -> None:
    if config.get("format") != FORMAT:
        raise ValueError(f"format {config.get('format')!r} is unknown, this version reads format {FORMAT}")
    if wrong := sorted(set(config) ^ set(_KEYS)):
        problem = "is missing" if wrong[0] in _KEYS else "is unknown"
        raise ValueError(f"configuration key {wrong[0]!r} {problem}; the keys are {', '.join(_KEYS)}")
    if not (isinstance(config["cell"], dict) and "cell" in config["cell"]):
        raise ValueError(f"cell must be a cell's configuration, its name under 'cell', got {config['cell']!r}")


def _check_values(config: dict[str, Any], inputs: int) -> None:
    for key in ("actor_layers", "action_size"):
        if not isinstance(config[key], int) or config[key] < 1:
            raise ValueError(f"{key} must be a positive whole number, got {config[key]!r}")
    if config["squash"] not in (True, False):
        raise ValueError(f"squash must be true or false, got {config['squash']!r}")
    for key in ("observation_scale", "observation_names"):
        if not isinstance(config[key], (list, tuple)) or len(config[key]) != inputs:
            raise ValueError(f"{key} needs one entry for each of the {inputs} inputs")
    scale = config["observation_scale"]
    if not all(isinstance(value, (int, float)) and 0 < value < float("inf") for value in scale):
        raise ValueError("observation_scale must hold positive numbers")


def _actor_maps(
    config: dict[str, Any], width: int, tensors: dict[str, NDArray[np.float32]]
) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Weight and bias of the actor's layers, checked; `width` is the number of its inputs."""
    own = {name: tensor for name, tensor in tensors.items() if not name.startswith("cell.")}
    expected: dict[str, tuple[int, ...]] = {}
    for i in range(config["actor_layers"]):
        last = i + 1 == config["actor_layers"]
        weight = own.get(f"actor.{i}.weight")
        outputs = config["action_size"] if last or weight is None else len(weight)
        expected |= {f"actor.{i}.weight": (outputs, width), f"actor.{i}.bias": (outputs,)}
        width = outputs
    check_tensors(own, expected)
    return [(own[f"actor.{i}.weight"], own[f"actor.{i}.bias"]) for i in range(config["actor_layers"])]
