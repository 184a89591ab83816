"""Peers: policies of plain Stable-Baselines3, trained elsewhere, as they fly here: frozen, or with an adapter as a run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from pickle import UnpicklingError
from types import MappingProxyType
from typing import Any, cast

import numpy as np
from gymnasium import spaces
from stable_baselines3 import A2C, DDPG, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env as make_gym_vec_env
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from torch import nn

from ..envs import BatchEnv, ForeignBatch, make_any_batch, make_batch
from ..envs.registry import own_id
from ..policies.deployed import FORMAT, DeployedPolicy
from ..policies.feed_forward import FeedForwardPolicy
from ..policies.sb3.base import deployable_actions
from .adaptation.identification import fit_nominal_model
from .evaluation.external import ExternalPolicy
from .evaluation.seeds import check_training_seed
from .files import replace_folder
from .run import Run, new_run
from .training import torch_threads, write_config, write_curve
from .trial import why_unfit
from .vec_env import make_vec_env

ALGORITHMS: dict[str, type[BaseAlgorithm]] = {"PPO": PPO, "A2C": A2C, "SAC": SAC, "TD3": TD3, "DDPG": DDPG}
RECURRENT = "RecurrentPPO"
CONFIG_FILE = "config.json"
_ACTIVATIONS = {nn.Tanh: "tanh", nn.ReLU: "relu", nn.ELU: "elu", nn.LeakyReLU: "leaky_relu"}


@dataclass(frozen=True)
class Peer:
    """A policy of SB3 with the normalisation of observations it was trained with; it learns nothing any more.

    config holds at least `algorithm`, `env_id` and `env_kwargs` of the environment it was trained on, and `policy_kwargs` of
    its MlpPolicy, `use_sde` included.
    """

    config: dict[str, Any]
    policy: FeedForwardPolicy

    @classmethod
    def of(cls, model: BaseAlgorithm, env_id: str, env_kwargs: Mapping[str, Any]) -> Peer:
        """What `feed_forward` makes of a trained model, and where it was trained.

        Raises ValueError as `feed_forward`.
        """
        kwargs = {key: getattr(value, "__name__", value) for key, value in model.policy_kwargs.items()}
        config = {
            "algorithm": type(model).__name__,
            "env_id": env_id,
            "env_kwargs": dict(env_kwargs),
            "policy_kwargs": kwargs | {"use_sde": model.use_sde},
        }
        return cls(config, feed_forward(model))

    def predict(
        self, observation: np.ndarray, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[np.ndarray, Any]:
        """SB3's interface: the action for a raw observation, [O] or [N, O]; there is no memory, so the state is None."""
        rows = np.atleast_2d(observation)
        action, _ = self.policy.step(rows, self.policy.initial_state(len(rows)), np.zeros(len(rows)))
        action = action.astype(np.float32)
        return (action[0] if np.ndim(observation) == 1 else action), None

    def save(self, folder: str | Path, facts: Mapping[str, Any]) -> None:
        """Write the folder whole, with JSON-able `facts`, such as how it was trained, in its config."""
        with replace_folder(Path(folder), mark=CONFIG_FILE) as partial:
            (partial / CONFIG_FILE).write_text(json.dumps(self.config | dict(facts), indent=1) + "\n")
            self.policy.save(partial)


def load_peer(folder: str | Path) -> Peer:
    """Read what `Peer.save` wrote.

    Raises FileNotFoundError or ValueError naming the file that is missing, or damaged.
    """
    path = Path(folder) / CONFIG_FILE
    try:
        config = json.loads(path.read_text())
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no {path}; restore it, or train the policy anew") from None
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); restore it, or train the policy anew") from error
    return Peer(config, FeedForwardPolicy.load(folder))


def feed_forward(model: BaseAlgorithm, observation_names: Sequence[str] | None = None) -> FeedForwardPolicy:
    """The deterministic policy of a trained model without torch, as `model.predict(..., deterministic=True)` acts.

    The statistics of the `VecNormalize` around the model's environments, if any, become part of it: it takes observations as
    they are.

    Args:
        model: SB3's own PPO, A2C, SAC, TD3 or DDPG with an MlpPolicy on a `Box` of observations and one of actions, both with
            one axis; of the activations Tanh, ReLU, ELU and LeakyReLU.
        observation_names: name of each channel; None numbers them.

    Raises:
        ValueError: it is another; the message says in what.
    """
    name, acted = type(model).__name__, model.action_space
    policy: Any = model.policy
    if ALGORITHMS.get(name) is not type(model) or type(policy) is not model.policy_aliases["MlpPolicy"]:
        raise ValueError(
            f"expected an MlpPolicy of SB3's {', '.join(ALGORITHMS)}, got {type(policy).__name__} of {name}"
        )
    channels = _channels(model)
    if not isinstance(acted, spaces.Box) or len(acted.shape) != 1:
        raise ValueError(f"actions must be a Box with one axis, got {acted}")
    activation, tensors = _network(_actor(policy))
    config = _normalisation(model, channels) | {
        "observation_names": _names(observation_names, channels),
        "activation": activation,
        "squash": bool(policy.squash_output),
        "low": acted.low.tolist(),
        "high": acted.high.tolist(),
    }
    return FeedForwardPolicy(config, tensors)


def recurrent(
    model: BaseAlgorithm, observation_names: Sequence[str] | None = None, period: float = 0.02
) -> DeployedPolicy:
    """The deterministic policy of sb3-contrib's RecurrentPPO without torch: one LSTM, read by a tanh network.

    Args:
        model: with an MlpLstmPolicy of one LSTM layer, trained without `VecNormalize`, on a `Box` of observations with one
            axis and actions in `Box(-1, 1)`.
        observation_names: name of each channel; None numbers them.
        period: nominal time between steps in s; the LSTM does not read it.

    Raises:
        ValueError: it is another; the message says in what.
    """
    policy, memory = model.policy, cast("Any", getattr(model.policy, "lstm_actor", None))
    if type(policy) is not model.policy_aliases.get("MlpLstmPolicy") or memory.num_layers != 1:
        raise ValueError(f"expected an MlpLstmPolicy of RecurrentPPO with one layer, got {type(policy).__name__}")
    channels, actions = _channels(model), deployable_actions(model.action_space)
    env = model.get_vec_normalize_env()
    activation, layers = _network(_actor(policy))
    if activation != "tanh" or (env is not None and env.norm_obs):
        raise ValueError("a policy with memory is deployed with tanh between its layers, and without VecNormalize")
    lstm = {name: value.detach().cpu().numpy() for name, value in memory.state_dict().items()}
    units, drive = memory.hidden_size, lstm["weight_ih_l0"]
    tensors = {
        # Elapsed time is one more input, which this LSTM does not have, and the network does not see the observation.
        "cell.input.weight": np.concatenate([drive, np.zeros_like(drive[:, :1])], axis=1),
        "cell.input.bias": lstm["bias_ih_l0"] + lstm["bias_hh_l0"],
        "cell.recurrent.weight": lstm["weight_hh_l0"],
        **{f"actor.{name}": value for name, value in layers.items()},
    }
    first = tensors["actor.0.weight"]
    tensors["actor.0.weight"] = np.concatenate([np.zeros((len(first), channels), first.dtype), first], axis=1)
    config = {
        "format": FORMAT,
        "cell": {"cell": "lstm", "input_size": channels, "units": units, "period": period},
        "observation_scale": [1.0] * channels,
        "actor_layers": len(layers) // 2,
        "action_size": actions,
        "squash": False,
        "observation_names": _names(observation_names, channels),
    }
    return DeployedPolicy(config, tensors)


def external(
    zipped: str | Path, env_id: str, algorithm: str = "PPO", normaliser: str | Path | None = None, seed: int = 0
) -> ExternalPolicy:
    """The model in a zip, to be evaluated as it is: of any network, its `VecNormalize` before it.

    Args:
        algorithm: that trained it, of `ALGORITHMS` or sb3-contrib's RecurrentPPO.
        seed: training seed of the run that it is compared with.

    Raises:
        FileNotFoundError, ValueError: as `load_sb3`; or its spaces are not those of the environment.
    """
    model = load_sb3(zipped, env_id, algorithm, normaliser)
    _check_spaces(model, make_batch(env_id, 1))
    files = [Path(path).read_bytes() for path in (zipped, normaliser) if path is not None]
    env = model.get_vec_normalize_env()
    return ExternalPolicy(
        Predictor(model.policy, env), env_id, kind=algorithm, seed=seed, sha256=sha256(b"".join(files)).hexdigest()
    )


@dataclass(frozen=True)
class Predictor:
    """A model of SB3 reduced to what it acts with: its policy, and the statistics of its observations."""

    policy: BasePolicy
    normaliser: VecNormalize | None = None

    def predict(
        self, observation: np.ndarray, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[np.ndarray, Any]:
        """SB3's interface, for observations as the environment gives them; with one thread, wherever it runs."""
        shown: Any = observation if self.normaliser is None else self.normaliser.normalize_obs(observation)
        with torch_threads(1):
            return self.policy.predict(shown, state, episode_start, deterministic)


def load_sb3(
    zipped: str | Path, env_id: str, algorithm: str = "PPO", normaliser: str | Path | None = None
) -> BaseAlgorithm:
    """The model in a zip of SB3, with the statistics of its `VecNormalize` where there were some.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the algorithm or environment is unknown, or one of the files is none of SB3's.
    """
    loader = _loader(algorithm)
    for path in (zipped, normaliser):
        if path is not None and not Path(path).is_file():
            raise FileNotFoundError(f"there is no {path}; give the file that Stable-Baselines3 saved")
    try:
        env = None if normaliser is None else VecNormalize.load(str(normaliser), _vec_env(env_id))
        return loader.load(zipped, env=env, device="cpu")
    except (ValueError, KeyError, AssertionError, AttributeError, TypeError, RuntimeError, UnpicklingError) as error:
        raise ValueError(f"{zipped} cannot be read as a model of SB3's {algorithm} on {env_id} ({error}).") from error


def _vec_env(env_id: str) -> VecEnv:
    return make_gym_vec_env(env_id) if own_id(env_id) is None else make_vec_env(env_id, 1)


def _loader(algorithm: str) -> type[BaseAlgorithm]:
    if algorithm == RECURRENT:
        try:
            from sb3_contrib import RecurrentPPO
        except ImportError:
            raise ValueError(
                f"{RECURRENT} is one of sb3-contrib, which is not installed: pip install sb3-contrib"
            ) from None
        return RecurrentPPO
    if algorithm not in ALGORITHMS:
        raise ValueError(f"unknown algorithm {algorithm!r}; they are: {', '.join(ALGORITHMS)}, {RECURRENT}.")
    return ALGORITHMS[algorithm]


def import_sb3(
    model: BaseAlgorithm,
    env_id: str,
    folder: str | Path,
    seed: int = 0,
    env_kwargs: Mapping[str, Any] = MappingProxyType({}),
    **fit: Any,
) -> Run:
    """Make a run of a policy that plain SB3 trained, and learn its nominal model.

    Everything that flies a run then flies this policy, with any adapter: `Run.controller`, `undrift evaluate`, films. Where
    the environment is none of undrift's, `trial.episode_returns` flies it.

    Args:
        model: as `feed_forward` or `recurrent` takes it; load it together with its `VecNormalize`, if it was trained with one.
        env_id: the environment that it was trained on, undrift's or any other of Gymnasium's.
        folder: the run's folder; it must not exist yet.
        seed: its training seed, and that of the flights which the nominal model is learned from.
        env_kwargs: of the environment in training, as far as they change what it observes and how it acts.
        fit: arguments of `fit_nominal_model`; fewer iterations give a rougher model, sooner.

    Raises:
        FileExistsError: `folder` exists.
        ValueError: as `feed_forward` and `recurrent`; the environment is unknown, its spaces are not the model's, or the seed
            is not one of training.
    """
    check_training_seed(seed)
    env = make_any_batch(env_id, 1, **env_kwargs)
    _check_spaces(model, env)
    has_memory = hasattr(model.policy, "lstm_actor")
    names = env.observation_names
    policy = recurrent(model, names, env.dt) if has_memory else feed_forward(model, names)
    imported = {"algorithm": type(model).__name__, "steps": model.num_timesteps}
    return import_policy(policy, env_id, folder, seed, env_kwargs, imported, **fit)


def import_policy(
    policy: DeployedPolicy | FeedForwardPolicy,
    env_id: str,
    folder: str | Path,
    seed: int = 0,
    env_kwargs: Mapping[str, Any] = MappingProxyType({}),
    imported: Mapping[str, Any] = MappingProxyType({}),
    **fit: Any,
) -> Run:
    """As `import_sb3`, of a policy that was taken out of its model before; `imported` are facts about that, for the config.

    On an environment that is none of undrift's a trial decides whether adapters act by the nominal model
    (`trial.why_unfit`); `run.nominal.unfit` says why not.
    """
    check_training_seed(seed)
    own = own_id(env_id)
    with new_run(folder) as partial:
        policy = policy.in_shares() if isinstance(policy, FeedForwardPolicy) else policy
        policy.save(partial)
        unshifted = {**env_kwargs, "noise": 0.0} if own else env_kwargs
        nominal = fit_nominal_model(policy, env_id, unshifted, seed, **fit)
        if own is None:
            nominal.unfit = why_unfit(policy, nominal)
        nominal.save(partial)
        write_curve(partial / "curve.csv", [])
        write_config(partial, {"env_id": own or env_id, "env_kwargs": dict(env_kwargs)}, seed, imported=dict(imported))
    return Run.load(folder)


def _check_spaces(model: BaseAlgorithm, env: BatchEnv | ForeignBatch) -> None:
    acted = env.own_action_space if isinstance(env, ForeignBatch) else env.action_space
    # VecNormalize gives the observations bounds of its own.
    if model.observation_space.shape != env.observation_space.shape or model.action_space != acted:
        raise ValueError(
            f"the model observes {model.observation_space} and acts in {model.action_space}, {env.id} with {env.kwargs} "
            f"has {env.observation_space} and {acted}: give the arguments that it was trained with."
        )


def _channels(model: BaseAlgorithm) -> int:
    """How many channels the model observes, one axis read flat."""
    space, extractor = model.observation_space, model.policy.features_extractor_class
    if not isinstance(space, spaces.Box) or len(space.shape) != 1 or extractor is not FlattenExtractor:
        raise ValueError(f"observations must be a Box with one axis, read flat, got {space} by {extractor.__name__}")
    return space.shape[0]


def _names(given: Sequence[str] | None, channels: int) -> list[str]:
    return [f"observation_{i}" for i in range(channels)] if given is None else list(given)


def _actor(policy: Any) -> list[nn.Module]:
    """The modules between features and mean action, in order."""
    if hasattr(policy, "mlp_extractor"):
        return [*policy.mlp_extractor.policy_net, policy.action_net]
    if hasattr(policy.actor, "latent_pi"):
        return [*policy.actor.latent_pi, policy.actor.mu]
    return list(policy.actor.mu)[:-1]  # its last one squashes, see squash_output


def _network(modules: list[nn.Module]) -> tuple[str, dict[str, np.ndarray]]:
    """The activation and the tensors of a FeedForwardPolicy."""
    linear, between = modules[::2], {type(module) for module in modules[1::2]}
    if not all(type(module) is nn.Linear for module in linear) or len(between) > 1 or not between <= set(_ACTIVATIONS):
        known = ", ".join(activation.__name__ for activation in _ACTIVATIONS)
        raise ValueError(f"the actor must be linear layers with one of {known} between them, got {modules}")
    tensors = {
        f"{i}.{kind}": value.detach().cpu().numpy()
        for i, module in enumerate(linear)
        for kind, value in module.state_dict().items()
    }
    return _ACTIVATIONS[between.pop()] if between else "tanh", tensors


def _normalisation(model: BaseAlgorithm, channels: int) -> dict[str, Any]:
    env = model.get_vec_normalize_env()
    if env is None or not env.norm_obs:
        mean, scale, clip = np.zeros(channels), np.ones(channels), None
    else:
        seen: Any = env.obs_rms
        mean, scale, clip = seen.mean, np.sqrt(seen.var + env.epsilon), float(env.clip_obs)
    return {"observation_mean": mean.tolist(), "observation_scale": scale.tolist(), "observation_clip": clip}
