"""Actor and critics with memory for the algorithms that learn from replay: SAC and TD3."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from itertools import pairwise
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.torch_layers import get_actor_critic_arch
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from .base import MemoryPolicy
from .memory import Features, Memory, Observation
from .networks import LinearMap, linear_maps, tanh_network


class Actor(nn.Module):
    """A tanh network that acts on what it sees, ``a = tanh(f(x, y))``: TD3's.

    Args:
        memory: the actor's own; None where it reads the critics'.
        inputs: number of features ``[x, y]``, ``I + O``.
        widths: of the hidden layers.
        actions: number of actions ``A``.
    """

    parameters_per_action = 1
    optimizer: torch.optim.Optimizer

    def __init__(self, memory: Memory | None, inputs: int, widths: Sequence[int], actions: int) -> None:
        super().__init__()
        self.memory = memory
        layers = [nn.Linear(*sizes) for sizes in pairwise([inputs, *widths, self.parameters_per_action * actions])]
        self.hidden, self.last = nn.Sequential(*layers[:-1]), layers[-1]

    def read(
        self, obs: Observation, state: Tensor, episode_starts: Tensor, remembered: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """What the actor sees of a sequence ``[T, B, I + O]``, and its memory afterwards.

        ``remembered`` is what the critics' memory tells it where it has none of its own; no gradient flows there.
        """
        if self.memory is None:
            assert remembered is not None
            return remembered.detach(), state
        x, y, state = self.memory.read(obs, state, episode_starts)
        return torch.cat([x, y], -1), state

    def act(self, seen: Tensor, deterministic: bool = True) -> Tensor:
        """Actions ``[..., A]`` given what the actor sees, ``[..., I + O]``."""
        return tanh_network(seen, self.mean_maps).tanh()

    @property
    def mean_maps(self) -> list[LinearMap]:
        """The linear maps from what the actor sees to its deterministic action before the tanh."""
        return linear_maps(self.hidden, self.last)


class GaussianActor(Actor):
    """SAC's: ``a = tanh(m + s e)`` with ``(m, log s) = f(x, y)``, ``log s`` in [-20, 2], and ``e`` standard normal."""

    parameters_per_action = 2

    def act(self, seen: Tensor, deterministic: bool = False) -> Tensor:
        """Actions ``[..., A]`` given what the actor sees, ``[..., I + O]``: ``tanh(m)`` if ``deterministic``."""
        return super().act(seen) if deterministic else self.sample(seen)[0]

    @property
    def mean_maps(self) -> list[LinearMap]:
        """Those of ``m``."""
        *hidden, (weight, bias) = linear_maps(self.hidden, self.last)
        return [*hidden, (weight.chunk(2)[0], bias.chunk(2)[0])]

    def sample(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Actions ``[..., A]`` and the logarithms of their probability densities ``[...]``."""
        mean, log_std = tanh_network(seen, linear_maps(self.hidden, self.last)).chunk(2, -1)
        log_std = log_std.clamp(-20.0, 2.0)
        noise = torch.randn_like(mean)
        actions = torch.tanh(mean + log_std.exp() * noise)
        # The density of the Gaussian over the slope of tanh; the small number is Stable-Baselines3's.
        log_slope = torch.log(1.0 - actions.square() + 1e-6)
        log_prob = (-0.5 * noise.square() - log_std - log_slope).sum(-1)
        return actions, log_prob - 0.5 * math.log(2 * math.pi) * mean.shape[-1]


class Critics(nn.Module):
    """Several networks of one shape that judge actions, computed together: ReLU between linear layers.

    Args:
        memory: the critics' own, shared among them; None where they have none.
        features: what they read of an observation, where it is not what their memory reads.
        widths: of the hidden layers.
        actions: number of actions ``A``.
        copies: number of networks ``C``.
    """

    optimizer: torch.optim.Optimizer

    def __init__(
        self,
        memory: Memory | None,
        features: Features | None,
        widths: Sequence[int],
        actions: int,
        copies: int,
    ) -> None:
        super().__init__()
        self.memory, self.features = memory, features
        inputs = (0 if memory is None else memory.output_size) + self._reads.size
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for sizes in pairwise([inputs + actions, *widths, 1]):
            layers = [nn.Linear(*sizes) for _ in range(copies)]
            self.weights.append(nn.Parameter(torch.stack([layer.weight.detach().T for layer in layers])))
            self.biases.append(nn.Parameter(torch.stack([layer.bias.detach()[None] for layer in layers])))

    @property
    def _reads(self) -> Features:
        if self.features is not None:
            return self.features
        assert self.memory is not None
        return self.memory.features

    def read(self, obs: Observation, state: Tensor, episode_starts: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """What the critics see of a sequence ``[T, B, C]``, what their memory tells an actor ``[T, B, I + O]``, and the
        memory afterwards."""
        if self.memory is None:
            return self._reads(obs), None, state
        x, y, state = self.memory.read(obs, state, episode_starts)
        remembered = torch.cat([x, y], -1)
        if self.features is None:
            return remembered, remembered, state
        return torch.cat([self.features(obs), y], -1), remembered, state

    def forward(self, seen: Tensor, actions: Tensor) -> Tensor:
        """Expected returns ``[C, T, B]`` of actions ``[T, B, A]`` given what the critics see ``[T, B, ...]``."""
        x = torch.cat([seen, actions], -1).flatten(0, 1).expand(len(self.weights[0]), -1, -1)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = torch.baddbmm(bias, x, weight).relu_()
        return torch.baddbmm(self.biases[-1], x, self.weights[-1]).view(-1, *seen.shape[:2])


class OffPolicyPolicy(MemoryPolicy):
    """What the policies of SAC and TD3 share, see :class:`~undrift.policies.sb3.base.MemoryPolicy`.

    The actor is a tanh network on ``[x, y]``, features of an observation and the cell's output after reading them. The
    critics are ReLU networks on the action and on what ``critic_memory`` says:

    * True: ``[x, y]``, of one memory for all. The critics' loss shapes it; the actor reads it without gradient.
    * "separate": ``[x', y']`` of features and a cell of their own, which is like the actor's, but not wired where they read
      what is privileged. Each loss shapes its own memory.
    * False: ``x'`` of features of their own. The actor's loss shapes the only memory.

    With ``privileged`` parts of the observation, which only the critics see, their ``x`` is that of features of their own.
    The target networks include the memory.

    Reference: Ni et al. 2022, "Recurrent model-free RL can be a strong baseline for many POMDPs",
    https://arxiv.org/abs/2110.05038

    Args:
        observation_space: as for :class:`MemoryPolicy`.
        action_space: a ``Box``.
        lr_schedule: learning rate as a function of the remaining progress (1 to 0).
        net_arch: hidden widths, ``{"pi": [...], "qf": [...]}`` or one list for both.
        n_critics: number of critics, of which the least value counts.
        **arguments: all others of :class:`MemoryPolicy`.

    Raises:
        TypeError, ValueError: as :class:`MemoryPolicy`.
    """

    actor_class: type[Actor]
    actor: Actor
    critic: Critics
    critic_target: Critics

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Box,
        lr_schedule: Schedule,
        *,
        net_arch: list[int] | dict[str, list[int]] | None = None,
        n_critics: int = 2,
        **arguments: Any,
    ) -> None:
        super().__init__(observation_space, action_space, {"squash_output": True}, **arguments)
        self.net_arch = net_arch or {"pi": [96, 96], "qf": [128, 128]}
        self.n_critics = n_critics
        self._make_networks()
        self._make_targets()
        for network in (self.actor, self.critic):
            network.optimizer = self.optimizer_class(network.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[call-arg]

    def _make_networks(self) -> None:
        memory = self._make_memory(self.cell_arguments, unseen=self.privileged)
        actor_memory: Memory | None = memory
        critic_memory: Memory | None = None
        features: Features | None = None
        if self.critic_memory == "separate" and self.privileged:
            critic_memory = self._make_unwired_memory(memory.cell.config["units"])
        elif self.critic_memory == "separate":
            critic_memory = self._make_memory(self.cell_arguments)
        elif self.critic_memory:
            actor_memory, critic_memory = None, memory
        if critic_memory is None or (critic_memory is memory and self.privileged):
            features = self._make_features()
        actor_widths, critic_widths = get_actor_critic_arch(self.net_arch)
        actions = get_action_dim(self.action_space)
        self.actor = self.actor_class(actor_memory, memory.features_size + memory.output_size, actor_widths, actions)
        self.critic = Critics(critic_memory, features, critic_widths, actions, self.n_critics)

    def _make_targets(self) -> None:
        self.critic_target = deepcopy(self.critic).requires_grad_(False)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "net_arch": self.net_arch, "n_critics": self.n_critics}

    @property
    def memory(self) -> Memory:  # type: ignore[override]
        """What the actor acts from: its own memory, or the critics'."""
        memory = self.actor.memory or self.critic.memory
        assert memory is not None
        return memory

    @property
    def _state_sizes(self) -> list[int]:
        return [memory.state_size if memory else 0 for memory in (self.actor.memory, self.critic.memory)]

    def remember(self, obs: Observation, state: Tensor, episode_starts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Read a sequence of observations into memory, as :meth:`MemoryPolicy.remember` says."""
        return self._read(self.actor, self.critic, obs, state, episode_starts)

    def _read(
        self, actor: Actor, critic: Critics, obs: Observation, state: Tensor, episode_starts: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        own, critics_own = (part.contiguous() for part in state.split(self._state_sizes, 1))
        judged, remembered, critics_own = critic.read(obs, critics_own, episode_starts)
        seen, own = actor.read(obs, own, episode_starts, remembered)
        return seen, judged, torch.cat([own, critics_own], 1)

    def act(
        self, obs: Observation, state: Tensor, episode_starts: Tensor, deterministic: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Actions ``[N, A]`` in [-1, 1] and the actor's memory afterwards; arguments as those of :meth:`see`."""
        seen, state = self.see(obs, state, episode_starts)
        return self.actor.act(seen, deterministic), state

    @property
    def actor_maps(self) -> list[LinearMap]:
        return self.actor.mean_maps

    def forward(self, obs: Observation, deterministic: bool = False) -> Tensor:
        """Actions ``[N, A]`` in [-1, 1] for the first observations of ``N`` episodes."""
        return self._predict(obs, deterministic)

    def set_training_mode(self, mode: bool) -> None:
        """Put actor and critics into training or evaluation mode; the targets stay in evaluation mode."""
        self.actor.train(mode)
        self.critic.train(mode)
        self.training = mode


class LiquidSACPolicy(OffPolicyPolicy):
    """SAC's: a Gaussian actor squashed by tanh, and critics with targets; see :class:`OffPolicyPolicy`."""

    actor_class = GaussianActor
    actor: GaussianActor

    def judge(self, obs: Observation, state: Tensor, episode_starts: Tensor) -> Tensor:
        """What the target critics see of a sequence, ``[T, B, C]``; arguments as those of :meth:`remember`."""
        own = state.split(self._state_sizes, 1)[1].contiguous()
        return self.critic_target.read(obs, own, episode_starts)[0]


class LiquidTD3Policy(OffPolicyPolicy):
    """TD3's: a deterministic actor and critics, all with targets; see :class:`OffPolicyPolicy`."""

    actor_class = Actor
    actor_target: Actor

    def _make_targets(self) -> None:
        super()._make_targets()
        self.actor_target = deepcopy(self.actor).requires_grad_(False)

    def remember_as_target(self, obs: Observation, state: Tensor, episode_starts: Tensor) -> tuple[Tensor, Tensor]:
        """What the target actor and the target critics see of a sequence; arguments as those of :meth:`remember`."""
        seen, judged, _ = self._read(self.actor_target, self.critic_target, obs, state, episode_starts)
        return seen, judged
