"""A trained policy as it is deployed: weights, one compiled step, no torch."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from .kernels import cfc as kernels
from .wiring import Wiring

FORMAT = 1
WEIGHTS_FILE, CONFIG_FILE = "policy.safetensors", "policy.json"


class DeployedPolicy:
    """A policy with a CfC memory, stepped with numpy and compiled code.

    x = observation / observation_scale; h' = cell(x, h, dt); action = actor([x, y(h')]), a tanh MLP whose last layer is
    clipped to [-1, 1] (squashed by tanh where `squash`). Rows of a batch are computed one by one, so a batch of N gives
    bit-identical results to N batches of one. A non-finite observation gives non-finite actions and raises nothing.

    Parameters
    ----------
    config : JSON-able dict with the keys
        format (1), cell ("cfc"), input_size I, units H, backbone_units (int or None), wiring (`Wiring.to_dict()` or None:
        dense), period s, observation_scale [I] typical magnitude of each channel in its own unit, actor_layers, action_size A,
        squash, observation_names [I].
    tensors : float32 arrays "cell.<parameter of the CfC>", "actor.<i>.weight" [out, in] and "actor.<i>.bias" [out].

    Raises ValueError naming the key or tensor that is missing, unknown, of the wrong shape or not finite.
    """

    def __init__(self, config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> None:
        self.config: dict[str, Any] = _as_json(config)
        _check_config(self.config)
        self.tensors = {name: np.array(tensors[name], np.float32, order="C") for name in sorted(tensors)}
        wiring = _wiring(self.config)
        _check_tensors(self.config, wiring, self.tensors)
        self.period = float(self.config["period"])
        self.input_size, self.state_size = int(self.config["input_size"]), int(self.config["units"])
        self.action_size = int(self.config["action_size"])
        self.observation_names = tuple(self.config["observation_names"])
        self._prepared = _prepare(self.config, wiring, self.tensors)
        self._widest = max(size for tensor in self.tensors.values() for size in tensor.shape) + kernels.INPUT_TILE

    def initial_state(self, batch_size: int) -> NDArray[np.float32]:
        """The state at the start of an episode: zeros [batch_size, H]."""
        return np.zeros((batch_size, self.state_size), np.float32)

    def step(self, obs: ArrayLike, h: ArrayLike, dt: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """One control step of B independent rows.

        obs [B, I] in the units of the environment, h [B, H] state, dt [B] time since the last step in s.
        Returns the action [B, A] in [-1, 1] and the new state [B, H]; the arguments are left as they are.
        Raises ValueError on a wrong shape.
        """
        observation, elapsed = np.array(obs, np.float32, order="C"), np.array(dt, np.float64)
        state = np.array(h, np.float32, order="C")
        rows = len(elapsed) if elapsed.ndim == 1 else -1
        if observation.shape != (rows, self.input_size) or state.shape != (rows, self.state_size):
            raise ValueError(
                f"step takes obs [B, {self.input_size}], h [B, {self.state_size}] and dt [B], "
                f"got {list(observation.shape)}, {list(state.shape)} and {list(elapsed.shape)}"
            )
        action = np.empty((rows, self.action_size), np.float64)
        x, y = np.empty((2, self._widest), np.float32)
        kernels.policy_step(*self._prepared, observation, elapsed, state, action, x, y)
        return action, state

    @property
    def sha256(self) -> str:
        """Hash of configuration and weights, for provenance."""
        digest = hashlib.sha256(json.dumps(self.config, sort_keys=True).encode())
        for name, tensor in self.tensors.items():
            digest.update(name.encode() + str(tensor.shape).encode() + tensor.tobytes())
        return digest.hexdigest()

    def save(self, folder: str | Path) -> None:
        """Write policy.safetensors and policy.json into `folder`, each under a temporary name first."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        weights, config = folder / (WEIGHTS_FILE + ".tmp"), folder / (CONFIG_FILE + ".tmp")
        save_file(self.tensors, weights)
        config.write_text(json.dumps({**self.config, "sha256": self.sha256}, indent=1) + "\n")
        os.replace(weights, folder / WEIGHTS_FILE)
        os.replace(config, folder / CONFIG_FILE)

    @classmethod
    def load(cls, folder: str | Path) -> DeployedPolicy:
        """Read what `save` wrote. Raises ValueError naming the file that is missing, damaged or inconsistent."""
        weights, path = Path(folder) / WEIGHTS_FILE, Path(folder) / CONFIG_FILE
        try:
            config = json.loads(path.read_text())
            sha256 = config.pop("sha256")
        except FileNotFoundError:
            raise ValueError(f"{path} is missing; a policy is the two files {CONFIG_FILE} and {WEIGHTS_FILE}") from None
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise ValueError(f"{path} is damaged: {error}") from None
        try:
            tensors = load_file(weights)
        except FileNotFoundError:
            raise ValueError(
                f"{weights} is missing; a policy is the two files {CONFIG_FILE} and {WEIGHTS_FILE}"
            ) from None
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{weights} is damaged: {error}") from None
        try:
            policy = cls(config, tensors)
        except ValueError as error:
            raise ValueError(f"{path} with {weights.name}: {error}") from None
        if policy.sha256 != sha256:
            raise ValueError(f"{weights} does not belong to {path}, or one was changed: their sha256 differs")
        return policy


_KEYS = (
    "format",
    "cell",
    "input_size",
    "units",
    "backbone_units",
    "wiring",
    "period",
    "observation_scale",
    "actor_layers",
    "action_size",
    "squash",
    "observation_names",
)


def _as_json(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration as it will be read back from its file."""
    try:
        result: dict[str, Any] = json.loads(json.dumps(dict(config)))
    except TypeError as error:
        raise ValueError(f"the configuration must be JSON-able: {error}") from None
    return result


def _check_config(config: dict[str, Any]) -> None:
    if wrong := sorted(set(config) ^ set(_KEYS)):
        problem = "is missing" if wrong[0] in _KEYS else "is unknown"
        raise ValueError(f"configuration key {wrong[0]!r} {problem}; the keys are {', '.join(_KEYS)}")
    if config["format"] != FORMAT:
        raise ValueError(f"format {config['format']!r} is unknown, this version reads format {FORMAT}")
    if config["cell"] != "cfc":
        raise ValueError(f"cell {config['cell']!r} cannot be deployed; the cells are cfc")
    for key in ("input_size", "units", "actor_layers", "action_size", "backbone_units"):
        if key == "backbone_units" and config[key] is None:
            continue
        if not isinstance(config[key], int) or config[key] < 1:
            raise ValueError(f"{key} must be a positive whole number, got {config[key]!r}")
    if not isinstance(config["period"], (int, float)) or not 0 < config["period"] < float("inf"):
        raise ValueError(f"period must be a positive number of seconds, got {config['period']!r}")
    if config["squash"] not in (True, False):
        raise ValueError(f"squash must be true or false, got {config['squash']!r}")
    for key in ("observation_scale", "observation_names"):
        if not isinstance(config[key], (list, tuple)) or len(config[key]) != config["input_size"]:
            raise ValueError(f"{key} needs one entry for each of the {config['input_size']} inputs")
    scale = config["observation_scale"]
    if not all(isinstance(value, (int, float)) and 0 < value < float("inf") for value in scale):
        raise ValueError("observation_scale must hold positive numbers")


def _wiring(config: dict[str, Any]) -> Wiring:
    sizes = config["input_size"], config["units"]
    wiring = Wiring.dense(*sizes) if config["wiring"] is None else Wiring.from_dict(config["wiring"])
    if (wiring.inputs, wiring.units) != sizes:
        raise ValueError(
            f"the wiring has {wiring.inputs} inputs and {wiring.units} units, the policy {sizes[0]} and {sizes[1]}"
        )
    if config["backbone_units"] is not None and not wiring.is_dense:
        raise ValueError("backbone_units must be null on a sparse wiring")
    return wiring


def _check_tensors(config: dict[str, Any], wiring: Wiring, tensors: dict[str, NDArray[np.float32]]) -> None:
    expected: dict[str, tuple[int, ...]] = {}
    backbone = config["backbone_units"]
    for i, synapses in enumerate(wiring.layer_synapses):
        features, units = sum(synapses.shape), synapses.shape[1]
        if backbone is not None:
            expected |= {
                f"cell.layers.{i}.backbone.weight": (backbone, features),
                f"cell.layers.{i}.backbone.bias": (backbone,),
            }
            features = backbone
        expected |= {
            f"cell.layers.{i}.heads.weight": (4 * units, features),
            f"cell.layers.{i}.heads.bias": (4 * units,),
        }
    width = wiring.inputs + wiring.outputs
    for i in range(config["actor_layers"]):
        last = i + 1 == config["actor_layers"]
        weight = tensors.get(f"actor.{i}.weight")
        outputs = config["action_size"] if last or weight is None else len(weight)
        expected |= {f"actor.{i}.weight": (outputs, width), f"actor.{i}.bias": (outputs,)}
        width = outputs
    if wrong := sorted(set(expected) ^ set(tensors)):
        raise ValueError(f"tensor {wrong[0]!r} is {'missing' if wrong[0] in expected else 'unknown'}")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name]:
            raise ValueError(f"tensor {name!r} must be {list(expected[name])}, got {list(tensor.shape)}")
        if not np.isfinite(tensor).all():
            raise ValueError(f"tensor {name!r} holds values that are not finite")


def _prepare(config: dict[str, Any], wiring: Wiring, tensors: dict[str, NDArray[np.float32]]) -> tuple[Any, ...]:
    """The leading arguments of `kernels.policy_step`."""
    parts: list[NDArray[np.float32]] = []

    def place(weight: NDArray[np.float32], bias: NDArray[np.float32]) -> int:
        """Append a linear map as the kernel reads it; returns where it starts."""
        parts.append(kernels.pack_linear(weight, bias))
        return sum(part.size for part in parts[:-1])

    layers = []
    for i, (synapses, neurons) in enumerate(zip(wiring.layer_synapses, wiring.layers, strict=True)):
        backbone, heads = config["backbone_units"] or 0, f"cell.layers.{i}.heads"
        at = place(*_map(tensors, f"cell.layers.{i}.backbone")) if backbone else 0
        weight, bias = (tensor.copy() for tensor in _map(tensors, heads))
        if not synapses.all():
            weight[:, : len(synapses)] *= np.tile(synapses.T, (4, 1))
        layers.append((*synapses.shape, backbone, neurons.start, at, place(weight, bias)))
    maps = [_map(tensors, f"actor.{i}") for i in range(config["actor_layers"])]
    actor = [(*weight.shape[::-1], place(weight, bias)) for weight, bias in maps]
    scale = np.array(config["observation_scale"], np.float32)
    return np.concatenate(parts), np.array(layers), np.array(actor), scale, config["squash"], float(config["period"])


def _map(tensors: dict[str, NDArray[np.float32]], name: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return tensors[f"{name}.weight"], tensors[f"{name}.bias"]
