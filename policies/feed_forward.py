"""A policy without memory as it is deployed: a plain multilayer perceptron, numpy alone, no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .stored import StoredPolicy

ACTIVATIONS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "leaky_relu": lambda x: np.where(x > 0, x, np.float32(0.01) * x),
}
"""By name: what stands between the layers."""

_KEYS = (
    "observation_names",
    "observation_mean",
    "observation_scale",
    "observation_clip",
    "activation",
    "squash",
    "low",
    "high",
)


class FeedForwardPolicy(StoredPolicy):
    """A policy that acts on the present observation alone, stepped with numpy.

        x_0 = clip((observation - mean) / scale, -clip, clip),   x_i = activation(W_i x_{i-1} + b_i), the last one linear,
        action = clip(x, low, high), or low + (tanh(x) + 1) (high - low) / 2 where `squash`

    Rows of a batch are computed one by one, so a batch of N gives bit-identical results to N batches of one. A non-finite
    observation gives non-finite actions and raises nothing.

    Parameters
    ----------
    config : JSON-able dict with the keys
        observation_names [I], observation_mean [I] and observation_scale [I] in each channel's own unit, observation_clip
        (None clips nothing), activation (of ACTIVATIONS), squash, low [A] and high [A] the bounds of the actions.
    tensors : float32 arrays "<i>.weight" [out, in] and "<i>.bias" [out] of the layers i = 0, 1, ...

    Raises ValueError naming the key or tensor that is missing, unknown, of the wrong shape or not finite.
    """

    cell = None
    """It has no memory."""
    state_size = 0

    def __init__(self, config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> None:
        super().__init__(config, tensors)
        _check(self.config)
        self.observation_names = tuple(self.config["observation_names"])
        self.input_size, self.action_size = len(self.observation_names), len(self.config["low"])
        self._layers = _layers(self.tensors, self.input_size, self.action_size)
        self._mean, self._scale = (np.array(self.config[f"observation_{name}"]) for name in ("mean", "scale"))
        clip = self.config["observation_clip"]
        self._clip = np.inf if clip is None else clip
        self._activation = ACTIVATIONS[self.config["activation"]]
        self._low, self._high = np.array(self.config["low"]), np.array(self.config["high"])

    def initial_state(self, batch_size: int) -> NDArray[np.float32]:
        """The state at the start of an episode: nothing, [batch_size, 0]."""
        return np.zeros((batch_size, 0), np.float32)

    def step(self, obs: ArrayLike, h: NDArray[Any], dt: ArrayLike) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """One control step of B independent rows.

        obs [B, I] in the units of the environment, h [B, 0], dt [B] time since the last step, which it does not read.
        Returns the action [B, A] within [low, high], and h. Raises ValueError on a wrong shape.
        """
        observation = np.asarray(obs, np.float64)
        if observation.ndim != 2 or observation.shape[1] != self.input_size:
            raise ValueError(f"step takes obs [B, {self.input_size}], got {list(observation.shape)}")
        x = np.clip((observation - self._mean) / self._scale, -self._clip, self._clip).astype(np.float32)
        for i, (weight, bias) in enumerate(self._layers):
            # A product for each row: one of all rows would sum in another order than that of one row.
            x = np.matmul(weight, (x if i == 0 else self._activation(x))[:, :, None])[:, :, 0] + bias
        if self.config["squash"]:
            return self._low + 0.5 * (np.tanh(x) + 1.0) * (self._high - self._low), h
        return np.clip(x, self._low, self._high), h

    def in_shares(self) -> FeedForwardPolicy:
        """The same policy acting in [-1, 1]: -1 stands for `low`, 1 for `high`."""
        centre, half = 0.5 * (self._high + self._low), 0.5 * (self._high - self._low)
        config = self.config | {"low": [-1.0] * self.action_size, "high": [1.0] * self.action_size}
        tensors = dict(self.tensors)
        if not self.config["squash"]:
            last = len(self._layers) - 1
            weight, bias = self._layers[last]
            tensors[f"{last}.weight"] = (weight / half[:, None]).astype(np.float32)
            tensors[f"{last}.bias"] = ((bias - centre) / half).astype(np.float32)
        return FeedForwardPolicy(config, tensors)


def _check(config: dict[str, Any]) -> None:
    if wrong := sorted(set(config) ^ set(_KEYS)):
        problem = "is missing" if wrong[0] in _KEYS else "is unknown"
        raise ValueError(f"configuration key {wrong[0]!r} {problem}; the keys are {', '.join(_KEYS)}")
    if config["activation"] not in ACTIVATIONS:
        raise ValueError(f"activation {config['activation']!r} is unknown; they are {', '.join(ACTIVATIONS)}")
    if config["squash"] not in (True, False):
        raise ValueError(f"squash must be true or false, got {config['squash']!r}")
    inputs = len(config["observation_names"])
    mean, scale = (np.array(config[f"observation_{name}"], float) for name in ("mean", "scale"))
    if not (mean.shape == scale.shape == (inputs,) and np.isfinite(mean).all() and (scale > 0).all()):
        raise ValueError(
            f"observation_mean and observation_scale, positive, need one number for each of {inputs} channels"
        )
    if config["observation_clip"] is not None and not config["observation_clip"] > 0:
        raise ValueError(f"observation_clip must be positive or None, got {config['observation_clip']!r}")
    low, high = np.array(config["low"], float), np.array(config["high"], float)
    if not (low.shape == high.shape and low.ndim == 1 and np.isfinite([low, high]).all() and (low < high).all()):
        raise ValueError(f"low and high must be bounds of the actions, one of each for each, got {low} and {high}")


def _layers(
    tensors: Mapping[str, NDArray[np.float32]], inputs: int, outputs: int
) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Weight and bias of every layer, checked."""
    count = len(tensors) // 2
    expected = {f"{i}.{kind}" for i in range(count) for kind in ("weight", "bias")}
    if not count or set(tensors) != expected:
        raise ValueError(f"tensors are {', '.join(tensors) or 'none'}; each layer i has <i>.weight and <i>.bias")
    layers, width = [], inputs
    for i in range(count):
        weight, bias = tensors[f"{i}.weight"], tensors[f"{i}.bias"]
        rows = outputs if i == count - 1 else len(bias)
        if weight.shape != (rows, width) or bias.shape != (rows,):
            raise ValueError(
                f"{i}.weight and {i}.bias have the shapes {list(weight.shape)} and {list(bias.shape)}, "
                f"expected [{rows}, {width}] and [{rows}]"
            )
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            raise ValueError(f"{i}.weight or {i}.bias is not finite")
        layers.append((weight, bias))
        width = rows
    return layers
