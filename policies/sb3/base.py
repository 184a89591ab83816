"""What every policy with memory shares: its arguments, acting from call to call, and deployment."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, FlattenExtractor
from torch import Tensor

from ..cell import Cell
from ..deployed import FORMAT, DeployedPolicy
from ..optim import FlatAdam
from .memory import Features, Memory, Observation, batch_size, one_step
from .networks import LinearMap


class MemoryPolicy(BasePolicy):
    """A base for policies whose memory is a :class:`~undrift.policies.cell.Cell`; it comes before Stable-Baselines3's class
    among the bases.

    With ``x`` the features of an observation (``observation / observation_scale`` where it is a ``Box``) and ``y`` the
    cell's output after reading ``x``, the actor is a tanh network on ``[x, y]``. States are ``[B, H]``, the memory that the
    actor acts from first.

    Args:
        observation_space: a space that ``features_extractor_class`` reads, see
            :class:`~undrift.policies.sb3.memory.Features`.
        action_space: what the algorithm's actions may be.
        inherited: what Stable-Baselines3's class takes besides.
        cell: name of the cell in :data:`undrift.policies.cells.CELLS`.
        period: nominal duration of one control step, in seconds; None keeps the cell's own default.
        elapsed: where an observation holds the time since the previous one, in seconds: key of a ``Dict`` or index of a
            channel of a ``Box``. The algorithms find what is named "step_duration" themselves. None: one period.
        observation_scale: typical magnitude of each channel of a ``Box``, shape ``[I]``; None divides by one.
        privileged: keys of a ``Dict`` or indices of channels of a ``Box`` that only the critic reads, in training; the
            algorithms also take names out of the environment's ``observation_names``.
        critic_memory: what the critic reads, True, "separate" or False; see the policies.
        use_sde: refused.
        features_extractor_class, features_extractor_kwargs, normalize_images: as in Stable-Baselines3.
        optimizer_class: optimiser, Adam (:class:`FlatAdam`) by default.
        optimizer_kwargs: its arguments except the learning rate.
        **cell_arguments: what else the cell takes: ``units`` (64, or the number in the wiring), ``wiring``, and for example
            ``backbone_units`` (CfC; 96 where there is no wiring), ``solver`` (LTC) or ``time_constants``.

    Raises:
        TypeError: for a space of observations that Stable-Baselines3 does not know.
        ValueError: for a space that cannot be read, an unknown cell or argument, a wrong ``observation_scale``,
            ``elapsed``, ``privileged`` or ``critic_memory``, or ``use_sde``.
    """

    memory: Memory
    """What the actor acts from."""
    adam_arguments: ClassVar[dict[str, Any]] = {"fused": True}
    """Of :class:`FlatAdam`, where there are no ``optimizer_kwargs``."""

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        inherited: Mapping[str, Any],
        *,
        cell: str = "cfc",
        period: float | None = None,
        elapsed: str | int | None = None,
        observation_scale: Sequence[float] | np.ndarray | None = None,
        privileged: Sequence[str | int] = (),
        critic_memory: bool | Literal["separate"] = True,
        use_sde: bool = False,
        features_extractor_class: type[BaseFeaturesExtractor] = FlattenExtractor,
        features_extractor_kwargs: dict[str, Any] | None = None,
        normalize_images: bool = True,
        optimizer_class: type[torch.optim.Optimizer] = FlatAdam,
        optimizer_kwargs: dict[str, Any] | None = None,
        **cell_arguments: Any,
    ) -> None:
        if use_sde:
            raise ValueError("a liquid policy explores with independent noise; leave use_sde=False")
        if critic_memory not in (True, False, "separate"):
            raise ValueError(f'critic_memory is True, "separate" or False, not {critic_memory!r}')
        if optimizer_kwargs is None and optimizer_class is FlatAdam:
            optimizer_kwargs = dict(self.adam_arguments)
        self.cell_name, self.cell_arguments = cell, cell_arguments
        self._clock: dict[str, Any] = {"period": period, "elapsed": elapsed}
        self.scale = observation_scale
        self.privileged = tuple(privileged)
        self.critic_memory = critic_memory
        super().__init__(
            observation_space,
            action_space,
            features_extractor_class=features_extractor_class,
            features_extractor_kwargs=features_extractor_kwargs,
            normalize_images=normalize_images,
            optimizer_class=optimizer_class,
            optimizer_kwargs=optimizer_kwargs,
            **inherited,
        )

    @property
    def _reading(self) -> dict[str, Any]:
        """Arguments of :class:`Features`, what is unseen aside."""
        return {
            "observation_scale": self.scale,
            "features_extractor_class": self.features_extractor_class,
            "features_extractor_kwargs": self.features_extractor_kwargs,
            "normalize_images": self.normalize_images,
        }

    def _make_features(self) -> Features:
        """Features of the whole observation."""
        return Features(self.observation_space, **self._reading)

    def _make_memory(self, cell_arguments: Mapping[str, Any], unseen: Sequence[str | int] = ()) -> Memory:
        return Memory(
            self.observation_space, self.cell_name, cell_arguments, unseen=unseen, **self._clock, **self._reading
        )

    def _make_unwired_memory(self, units: int) -> Memory:
        """Memory of the whole observation for a critic: a wiring is made for what the actor reads and drives."""
        given = {name: value for name, value in self.cell_arguments.items() if name != "wiring"}
        return self._make_memory({**given, "units": units})

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            "observation_space": self.observation_space,
            "action_space": self.action_space,
            "lr_schedule": self._dummy_schedule,
            "cell": self.cell_name,
            **self.cell_arguments,
            **self._clock,
            **self._reading,
            "privileged": self.privileged,
            "critic_memory": self.critic_memory,
            "optimizer_class": self.optimizer_class,
            "optimizer_kwargs": self.optimizer_kwargs,
        }

    @property
    def cell(self) -> Cell:
        """The cell of the memory that the actor acts from."""
        return self.memory.cell

    @property
    @abstractmethod
    def _state_sizes(self) -> list[int]:
        """Number of state variables of each memory."""

    @property
    def state_size(self) -> int:
        """Number of state variables ``H`` of all memory."""
        return sum(self._state_sizes)

    def initial_state(self, n: int) -> Tensor:
        """Memory of ``n`` episodes that have not begun, shape ``[n, H]``."""
        return torch.zeros(n, self.state_size, device=self.device)

    @abstractmethod
    def remember(self, obs: Observation, state: Tensor, episode_starts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Read a sequence of observations into memory.

        Args:
            obs: raw observations, ``[T, B, ...]``, or a dictionary of them.
            state: memory before the first of them, ``[B, H]``.
            episode_starts: ``[T, B]``, 1 where an observation is the first of its episode (memory is emptied before it).

        Returns:
            what the actor sees, ``[x, y]`` ``[T, B, I + O]``, what the critic sees ``[T, B, C]``, and the memory
            afterwards, ``[B, H]``.
        """

    def see(self, obs: Observation, state: Tensor, episode_starts: Tensor) -> tuple[Tensor, Tensor]:
        """What the actor sees of observations ``[N, ...]``, ``[N, I + O]``, and its memory afterwards.

        ``state``: the actor's memory before reading them; ``episode_starts``: ``[N]``.
        """
        x, y, state = self.memory.read(one_step(obs), state, episode_starts[None])
        return torch.cat([x, y], -1)[0], state

    @abstractmethod
    def act(
        self, obs: Observation, state: Tensor, episode_starts: Tensor, deterministic: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Actions ``[N, ...]`` and the actor's memory afterwards; arguments as those of :meth:`see`.

        The actions are in [-1, 1] where they are squashed by tanh, and unbounded where they are those of a Gaussian.
        """

    def _predict(self, observation: Any, deterministic: bool = False) -> Tensor:
        n = batch_size(observation)
        starts = torch.ones(n, device=self.device)
        return self.act(observation, self.memory.initial_state(n), starts, deterministic)[0]

    def predict(  # type: ignore[override]
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Act, as in Stable-Baselines3.

        Args:
            observation: one observation or a batch of ``N``; a ``Dict`` may lack its privileged keys.
            state: what the previous call returned, ``([N, H],)``, the actor's memory; None starts with an empty one.
            episode_start: ``[N]``, true where an episode begins (its memory is emptied first).
            deterministic: take the distribution's mode instead of a sample (TD3's action is deterministic in any case).

        Returns:
            the action (or ``N`` of them) within the action space, and the memory afterwards.
        """
        self.set_training_mode(False)
        obs, is_batch = self.obs_to_tensor(observation)
        n = batch_size(obs)
        memory = self.memory.initial_state(n) if state is None else torch.as_tensor(state[0], device=self.device)
        starts = np.zeros(n) if episode_start is None else np.broadcast_to(episode_start, n)
        with torch.no_grad():
            chosen, memory = self.act(obs, memory, torch.tensor(starts, device=self.device).float(), deterministic)
        actions = chosen.cpu().numpy().reshape(-1, *self.action_space.shape)  # type: ignore[misc]
        if self.squash_output:
            actions = self.unscale_action(actions)
        elif isinstance(self.action_space, spaces.Box):
            actions = np.clip(actions, self.action_space.low, self.action_space.high)
        return actions if is_batch else actions[0], (memory.cpu().numpy(),)

    @property
    @abstractmethod
    def actor_maps(self) -> list[LinearMap]:
        """The linear maps from what the actor sees to its deterministic action, before that is clipped or squashed."""

    def deployed(self, observation_names: Sequence[str] | None = None) -> DeployedPolicy:
        """The deterministic policy without torch, for a control loop. It does not read what is privileged.

        Args:
            observation_names: name of each channel of the observation space; None numbers them.

        Raises:
            ValueError: if the observations are no ``Box`` read flat, the names are not one for each channel, or the action
                space is not ``Box(-1, 1)`` with one axis.
        """
        features = self.memory.features
        if not features.flat:
            raise ValueError(
                f"only a policy that reads a flat Box of observations can be deployed, not {self.observation_space}; "
                "flatten them in the environment"
            )
        actions = deployable_actions(self.action_space)
        channels = spaces.flatdim(self.observation_space)
        names = observation_names or [f"observation_{i}" for i in range(channels)]
        if len(names) != channels:
            raise ValueError(f"observation_names needs one name for each channel of {self.observation_space}")
        config = {
            "format": FORMAT,
            "cell": self.cell.config,
            "observation_scale": features.scale,
            "actor_layers": len(self.actor_maps),
            "action_size": actions,
            "squash": self.squash_output,
            "observation_names": [names[i] for i in (range(channels) if features.seen is None else features.seen)],
        }
        tensors = {name: tensor.detach().cpu().numpy() for name, tensor in self.deployed_tensors.items()}
        return DeployedPolicy(config, tensors)

    @property
    def deployed_tensors(self) -> dict[str, Tensor]:
        """The cell's and the actor's own tensors, by their names in a deployed policy."""
        tensors = {f"cell.{name}": tensor for name, tensor in self.cell.state_dict().items()}
        for i, (weight, bias) in enumerate(self.actor_maps):
            tensors |= {f"actor.{i}.weight": weight, f"actor.{i}.bias": bias}
        return tensors


def deployable_actions(space: spaces.Space) -> int:
    """Number of actions of a space whose actions a deployed policy gives; refuses the others."""
    if not (
        isinstance(space, spaces.Box) and space.low.ndim == 1 and (space.low == -1).all() and (space.high == 1).all()
    ):
        raise ValueError(f"only actions in Box(-1, 1) can be deployed, not {space}; rescale them in the environment")
    return int(space.shape[0])
