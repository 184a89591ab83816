"""Actor and critic with memory for the algorithms that learn on policy: PPO and A2C."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import DiagGaussianDistribution, Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, FlattenExtractor, MlpExtractor
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from .base import MemoryPolicy
from .memory import Features, Memory, Observation, one_step
from .networks import LinearMap, linear_maps, tanh_network

_LOG_ROOT_TAU = 0.5 * math.log(2 * math.pi)


class LiquidPolicy(MemoryPolicy, ActorCriticPolicy):
    """Actor-critic policy with memory, see :class:`~undrift.policies.sb3.base.MemoryPolicy`.

    The actor is a tanh network on ``[x, y]``, features of an observation and the cell's output after reading them. What the
    critic, another, reads is set by ``critic_memory``:

    * True: ``[x, y]`` without gradient. Only the actor shapes the memory, while the critic reads it.
    * "separate": ``[x', y']`` of features and a cell of its own, which the value loss shapes; the cell is like the
      actor's, but never wired.
    * False: ``x`` alone, without gradient. For where the observation tells all that matters to the value: features that the
      actor keeps changing cost the critic accuracy.

    With ``privileged`` parts of the observation, which only the critic sees, its ``x`` is that of features of its own.

    Args:
        observation_space: as for :class:`MemoryPolicy`.
        action_space: ``Box``, ``Discrete``, ``MultiDiscrete`` or ``MultiBinary``.
        lr_schedule: learning rate as a function of the remaining progress (1 to 0).
        net_arch: hidden widths, ``{"pi": [...], "vf": [...]}`` or one list for both.
        value_scale: the value is the critic's output times this, so that the network works near unit scale.
        log_std_init: initial logarithm of the exploration's standard deviation (Gaussian actions only).
        log_std_bounds: interval that logarithm is projected onto after every gradient step; None leaves it free.
        **arguments: all others of :class:`MemoryPolicy`.

    Raises:
        TypeError, ValueError: as :class:`MemoryPolicy`.
    """

    adam_arguments: ClassVar[dict[str, Any]] = {"eps": 1e-5, "fused": True}
    critic: Memory | Features | None
    """What the critic reads by itself: memory, features, or nothing, where it reads what the actor does."""
    action_net: nn.Linear
    log_std: nn.Parameter

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        lr_schedule: Schedule,
        *,
        net_arch: list[int] | dict[str, list[int]] | None = None,
        value_scale: float = 1.0,
        log_std_init: float = -0.7,
        log_std_bounds: tuple[float, float] | None = (-2.5, 0.0),
        **arguments: Any,
    ) -> None:
        self.value_scale = value_scale
        self.log_std_bounds = log_std_bounds
        inherited = {
            "lr_schedule": lr_schedule,
            "net_arch": {"pi": [96, 96], "vf": [128, 128]} if net_arch is None else net_arch,
            "activation_fn": nn.Tanh,
            "ortho_init": False,
            "log_std_init": log_std_init,
        }
        super().__init__(observation_space, action_space, inherited, **arguments)

    def make_features_extractor(self) -> BaseFeaturesExtractor:
        """A flattening one that is never called: memory holds its own."""
        return FlattenExtractor(self.observation_space)

    def _build_mlp_extractor(self) -> None:
        self.memory = self._make_memory(self.cell_arguments, unseen=self.privileged)
        self.critic = self._make_critic()
        actor_inputs, critic_inputs = self.memory.features_size + self.memory.output_size, self._critic_inputs()
        self.mlp_extractor = MlpExtractor(actor_inputs, self.net_arch, self.activation_fn)
        if critic_inputs != actor_inputs:
            self.mlp_extractor.value_net = MlpExtractor(critic_inputs, self.net_arch, self.activation_fn).value_net

    def _make_critic(self) -> Memory | Features | None:
        """What the critic reads by itself."""
        if self.critic_memory == "separate":
            return self._make_unwired_memory(self.cell.config["units"])
        return self._make_features() if self.privileged else None

    def _critic_inputs(self) -> int:
        if isinstance(self.critic, Memory):
            return self.critic.features_size + self.critic.output_size
        features = self.memory.features_size if self.critic is None else self.critic.size
        return features + (self.memory.output_size if self.critic_memory else 0)

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        with torch.no_grad():
            # A near-zero mean at the start keeps the first rollouts inside the action bounds.
            self.action_net.weight.mul_(0.05)
            self.action_net.bias.zero_()
        if self.log_std_bounds is not None and isinstance(self.action_dist, DiagGaussianDistribution):
            self.optimizer.register_step_post_hook(self._project_log_std)

    def _project_log_std(self, *_: Any) -> None:
        assert self.log_std_bounds is not None
        with torch.no_grad():
            self.log_std.clamp_(*self.log_std_bounds)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            **super()._get_constructor_parameters(),
            "net_arch": self.net_arch,
            "value_scale": self.value_scale,
            "log_std_init": self.log_std_init,
            "log_std_bounds": self.log_std_bounds,
        }

    @property
    def _state_sizes(self) -> list[int]:
        return [self.memory.state_size, self.critic.state_size if isinstance(self.critic, Memory) else 0]

    def remember(self, obs: Observation, state: Tensor, episode_starts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Read a sequence of observations into memory, as :meth:`MemoryPolicy.remember` says."""
        if isinstance(self.critic, Memory):
            state, own = state.split(self._state_sizes, 1)
            x, y, state = self.memory.read(obs, state.contiguous(), episode_starts)
            critic_x, critic_y, own = self.critic.read(obs, own.contiguous(), episode_starts)
            return torch.cat([x, y], -1), torch.cat([critic_x, critic_y], -1), torch.cat([state, own], 1)
        x, y, state = self.memory.read(obs, state, episode_starts)
        seen = torch.cat([x, y], -1)
        if self.critic is None:
            return seen, (seen if self.critic_memory else x).detach(), state
        critic_x = self.critic(obs)
        return seen, torch.cat([critic_x, y.detach()], -1) if self.critic_memory else critic_x, state

    def action_distribution(self, features: Tensor) -> tuple[Distribution, Tensor]:
        """Distribution of the action given what the actor sees ``[N, I + O]``, and its parameters ``[N, P]`` (means or
        logits)."""
        parameters = tanh_network(features, self.actor_maps)
        if isinstance(self.action_dist, DiagGaussianDistribution):
            return self.action_dist.proba_distribution(parameters, self.log_std), parameters
        return self.action_dist.proba_distribution(parameters), parameters  # type: ignore[call-arg]

    def sample(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Actions drawn for what the actor sees ``[N, I + O]``, not yet clipped, and their log-probabilities ``[N]``."""
        if not isinstance(self.action_dist, DiagGaussianDistribution):
            distribution, _ = self.action_distribution(features)
            actions = distribution.sample()
            return actions, distribution.log_prob(actions)
        means = tanh_network(features, self.actor_maps)
        noise = torch.randn_like(means)
        return torch.addcmul(means, noise, self.log_std.exp()), self._gaussian_log_prob(noise)

    def values(self, features: Tensor) -> Tensor:
        """Expected return given what the critic sees ``[..., C]``, shape ``[...]``."""
        return tanh_network(features, self.critic_maps).squeeze(-1) * self.value_scale

    def get_distribution(  # type: ignore[override]
        self, obs: Observation, state: Tensor, episode_starts: Tensor
    ) -> tuple[Distribution, Tensor]:
        """Distribution of the action and the actor's memory afterwards; arguments as those of :meth:`see`."""
        seen, state = self.see(obs, state, episode_starts)
        return self.action_distribution(seen)[0], state

    def act(
        self, obs: Observation, state: Tensor, episode_starts: Tensor, deterministic: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Actions ``[N, ...]``, not yet clipped, and the actor's memory afterwards; arguments as those of :meth:`see`."""
        distribution, state = self.get_distribution(obs, state, episode_starts)
        return distribution.get_actions(deterministic=deterministic), state

    def forward(  # type: ignore[override]
        self, obs: Observation, state: Tensor, episode_starts: Tensor, deterministic: bool = False
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One step for ``N`` episodes: actions ``[N, A]``, values ``[N]``, log-probabilities ``[N]``, memory ``[N, H]``."""
        seen, critic_seen, state = self.remember(one_step(obs), state, episode_starts[None])
        distribution, _ = self.action_distribution(seen[0])
        actions = distribution.get_actions(deterministic=deterministic)
        log_prob = distribution.log_prob(actions)
        return actions.reshape(-1, *self.action_space.shape), self.values(critic_seen[0]), log_prob, state  # type: ignore[misc]

    def predict_values(  # type: ignore[override]
        self, obs: Observation, state: Tensor, episode_starts: Tensor
    ) -> Tensor:
        """Expected return ``[N]`` from observations ``[N, ...]`` and the memory ``[N, H]`` before reading them."""
        _, critic_seen, _ = self.remember(one_step(obs), state, episode_starts[None])
        return self.values(critic_seen[0])

    def evaluate_actions(  # type: ignore[override]
        self, obs: Observation, actions: Tensor, state: Tensor, episode_starts: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Judge past actions under the present parameters.

        Args:
            obs: ``[T, B, ...]``; actions: ``[T, B, A]``; state: ``[B, H]`` before the first step;
                episode_starts: ``[T, B]``.

        Returns:
            values, log-probabilities and entropies, each ``[T, B]``, and the distribution's parameters ``[T, B, P]``.
        """
        values, parameters = self.outputs(obs, state, episode_starts)
        return values, *self._judge(parameters, actions), parameters

    def outputs(self, obs: Observation, state: Tensor, episode_starts: Tensor) -> tuple[Tensor, Tensor]:
        """Values ``[T, B]`` and the parameters ``[T, B, P]`` of the actions' distribution, given a sequence as above."""
        seen, critic_seen, _ = self.remember(obs, state, episode_starts)
        return self.values(critic_seen), tanh_network(seen, self.actor_maps)

    def _judge(self, parameters: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities and entropies ``[T, B]`` of actions under the distribution's parameters ``[T, B, P]``."""
        shape = actions.shape[:2]
        if isinstance(self.action_dist, DiagGaussianDistribution):
            log_prob = self._gaussian_log_prob((actions - parameters) * (-self.log_std).exp())
            entropy = self.log_std.sum() + (0.5 + _LOG_ROOT_TAU) * actions.shape[-1]
            return log_prob, entropy.expand(shape)
        distribution = self.action_dist.proba_distribution(parameters.flatten(0, 1))  # type: ignore[call-arg]
        flat = actions.flatten(0, 1)
        log_prob = distribution.log_prob(flat.flatten() if isinstance(self.action_space, spaces.Discrete) else flat)
        exact = distribution.entropy()
        return log_prob.view(shape), (-log_prob if exact is None else exact).view(shape)

    def _gaussian_log_prob(self, noise: Tensor) -> Tensor:
        """Log-probability ``[...]`` of actions that lie ``noise`` standard deviations from their means, ``[..., A]``.

        In closed form: Stable-Baselines3's distribution costs as much as the actor's network at small minibatches.
        """
        return -0.5 * noise.square().sum(-1) - self.log_std.sum() - _LOG_ROOT_TAU * noise.shape[-1]

    @property
    def actor_maps(self) -> list[LinearMap]:
        return linear_maps(self.mlp_extractor.policy_net, self.action_net)

    @property
    def critic_maps(self) -> list[LinearMap]:
        """The linear maps from what the critic sees to the value in units of ``value_scale``."""
        return linear_maps(self.mlp_extractor.value_net, self.value_net)
