"""Peers: plain Stable-Baselines3 policies as a folder of JSON and safetensors, flown frozen on the raw environment."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy

from .files import replace_folder

ALGORITHMS: dict[str, type[BaseAlgorithm]] = {"PPO": PPO, "SAC": SAC}
CONFIG_FILE, WEIGHTS_FILE, NORMALISER_FILE = "config.json", "policy.safetensors", "normalise.json"


@dataclass(frozen=True)
class Normaliser:
    """x = clip((observation - mean) / sqrt(variance + epsilon), -clip, clip), as SB3's `VecNormalize` has it.

    mean [O] in the units of the observation, variance [O] in their squares; epsilon and clip are numbers.
    """

    mean: list[float]
    variance: list[float]
    epsilon: float
    clip: float

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        scaled = (observation - np.array(self.mean)) / np.sqrt(np.array(self.variance) + self.epsilon)
        return np.clip(scaled, -self.clip, self.clip).astype(np.float32)


@dataclass(frozen=True)
class Peer:
    """A policy of SB3 with the normalisation of observations it was trained with; it learns nothing any more.

    config holds at least `algorithm` (PPO or SAC), `env_id` and `env_kwargs` of the environment it was trained on, and
    `policy_kwargs` of its MlpPolicy, `use_sde` included. Without a normaliser, observations are taken as they are.
    """

    config: dict[str, Any]
    policy: BasePolicy
    normaliser: Normaliser | None

    @classmethod
    def of(cls, model: BaseAlgorithm, env_id: str, env_kwargs: Mapping[str, Any]) -> Peer:
        """The policy of a trained model, and the statistics of the `VecNormalize` around its environments, if any.

        Raises ValueError where the model is not SB3's PPO or SAC with an MlpPolicy.
        """
        name, env = type(model).__name__, model.get_vec_normalize_env()
        if ALGORITHMS.get(name) is not type(model) or type(model.policy) is not model.policy_aliases["MlpPolicy"]:
            raise ValueError(f"a peer is an MlpPolicy of SB3's {' or '.join(ALGORITHMS)}, got {type(model.policy)}")
        policy_kwargs = {**model.policy_kwargs, "use_sde": model.use_sde}
        config = {"algorithm": name, "env_id": env_id, "env_kwargs": dict(env_kwargs), "policy_kwargs": policy_kwargs}
        if env is None or not env.norm_obs:
            return cls(config, model.policy, None)
        seen: Any = env.obs_rms
        return cls(config, model.policy, Normaliser(seen.mean.tolist(), seen.var.tolist(), env.epsilon, env.clip_obs))

    def predict(
        self, observation: np.ndarray, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[np.ndarray, Any]:
        """SB3's interface: the action for a raw observation, [O] or [N, O]; there is no memory, so the state is None."""
        shown = observation if self.normaliser is None else self.normaliser(observation)
        return self.policy.predict(shown, deterministic=deterministic)

    def save(self, folder: str | Path, facts: Mapping[str, Any]) -> None:
        """Write the folder whole, with JSON-able `facts`, such as how it was trained, in its config."""
        config = self.config | {"normalised": self.normaliser is not None, **facts}
        with replace_folder(Path(folder), mark=CONFIG_FILE) as partial:
            (partial / CONFIG_FILE).write_text(json.dumps(config, indent=1) + "\n")
            save_file(self.policy.state_dict(), partial / WEIGHTS_FILE)
            if self.normaliser is not None:
                (partial / NORMALISER_FILE).write_text(json.dumps(asdict(self.normaliser)) + "\n")


def load_peer(folder: str | Path) -> Peer:
    """Read what `Peer.save` wrote; makes the environment once, for its spaces.

    Raises FileNotFoundError naming the file that is missing, ValueError naming the one that is damaged or does not fit.
    """
    with _reading(Path(folder) / CONFIG_FILE) as path:
        config = json.loads(path.read_text())
        normalised, policy = config["normalised"], _untrained(config)
    with _reading(Path(folder) / WEIGHTS_FILE) as path:
        policy.load_state_dict(load_file(path))
    if not normalised:
        return Peer(config, policy, None)
    with _reading(Path(folder) / NORMALISER_FILE) as path:
        normaliser = Normaliser(**json.loads(path.read_text()))
        if not np.shape(normaliser.mean) == np.shape(normaliser.variance) == policy.observation_space.shape:
            raise ValueError(f"mean and variance must have the observation's shape, {policy.observation_space.shape}")
    return Peer(config, policy, normaliser)


def _untrained(config: dict[str, Any]) -> BasePolicy:
    if config["algorithm"] not in ALGORITHMS:
        raise ValueError(f"algorithm {config['algorithm']!r}, known are {', '.join(ALGORITHMS)}")
    make = ALGORITHMS[config["algorithm"]].policy_aliases["MlpPolicy"]
    env = gymnasium.make(config["env_id"], **config["env_kwargs"])
    env.close()
    return make(env.observation_space, env.action_space, lambda _: 0.0, **config["policy_kwargs"])


@contextmanager
def _reading(path: Path) -> Iterator[Path]:
    """What fails inside is told as a fault of the file."""
    try:
        yield path
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no {path}; restore it, or train the policy anew") from None
    except (OSError, ValueError, LookupError, TypeError, RuntimeError, SafetensorError, gymnasium.error.Error) as error:
        raise ValueError(
            f"{path} is damaged or does not fit ({error!r}); restore it, or train the policy anew"
        ) from error
