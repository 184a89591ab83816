"""Actor and critic with memory for the algorithms that learn on policy: PPO and A2C."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import DiagGaussianDistribution, Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, FlattenExtractor, MlpExtractor
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..cell import Cell
from ..deployed import DeployedPolicy
from ..optim import FlatAdam
from .memory import Features, Memory, Observation, map_observation


class LiquidPolicy(ActorCriticPolicy):
    """Actor-critic policy whose memory is a :class:`Cell`.

    With ``x`` the features of an observation (``observation / observation_scale`` where it is a ``Box``) and ``y`` the
    cell's output after reading ``x``, the actor is a tanh network on ``[x, y]``. What the critic, another, reads is set by
    ``critic_memory``:

    * True: ``[x, y]`` without gradient. Only the actor shapes the memory, while the critic reads it.
    * "separate": ``[x', y']`` of features and a cell of its own, which the value loss shapes; the cell is like the
      actor's, but never wired.
    * False: ``x`` alone, without gradient.

    With ``privileged`` parts of the observation, which only the critic sees, its ``x`` is that of features of its own.

    Args:
        observation_space: a space that ``features_extractor_class`` reads, see
            :class:`~undrift.policies.sb3.memory.Features`.
        action_space: ``Box``, ``Discrete``, ``MultiDiscrete`` or ``MultiBinary``.
        lr_schedule: learning rate as a function of the remaining progress (1 to 0).
        cell: name of the cell in :data:`undrift.policies.cells.CELLS`.
        period: nominal duration of one control step, in seconds; None keeps the cell's own default.
        elapsed: where an observation holds the time since the previous one, in seconds: key of a ``Dict`` or index of a
            channel of a ``Box``. The algorithms find what is named "step_duration" themselves. None: one period.
        observation_scale: typical magnitude of each channel of a ``Box``, shape ``[I]``; None divides by one.
        privileged: keys of a ``Dict`` or indices of channels of a ``Box`` that only the critic reads, in training; the
            algorithms also take names out of the environment's ``observation_names``.
        net_arch: hidden widths, ``{"pi": [...], "vf": [...]}`` or one list for both.
        critic_memory: see above. Turn it off where the observation tells all that matters to the value: features that the
            actor keeps changing cost the critic accuracy.
        value_scale: the value is the critic's output times this, so that the network works near unit scale.
        log_std_init: initial logarithm of the exploration's standard deviation (Gaussian actions only).
        log_std_bounds: interval that logarithm is projected onto after every gradient step; None leaves it free.
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
        cell: str = "cfc",
        period: float | None = None,
        elapsed: str | int | None = None,
        observation_scale: Sequence[float] | np.ndarray | None = None,
        privileged: Sequence[str | int] = (),
        net_arch: list[int] | dict[str, list[int]] | None = None,
        critic_memory: bool | Literal["separate"] = True,
        value_scale: float = 1.0,
        log_std_init: float = -0.7,
        log_std_bounds: tuple[float, float] | None = (-2.5, 0.0),
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
            optimizer_kwargs = {"eps": 1e-5, "fused": True}
        self._clock: dict[str, Any] = {"period": period, "elapsed": elapsed}
        self.cell_name, self.cell_arguments = cell, cell_arguments
        self.scale = observation_scale
        self.privileged = tuple(privileged)
        self.critic_memory = critic_memory
        self.value_scale = value_scale
        self.log_std_bounds = log_std_bounds
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            net_arch={"pi": [96, 96], "vf": [128, 128]} if net_arch is None else net_arch,
            activation_fn=nn.Tanh,
            ortho_init=False,
            log_std_init=log_std_init,
            features_extractor_class=features_extractor_class,
            features_extractor_kwargs=features_extractor_kwargs,
            normalize_images=normalize_images,
            optimizer_class=optimizer_class,
            optimizer_kwargs=optimizer_kwargs,
        )

    @property
    def cell(self) -> Cell:
        """The actor's memory cell."""
        return self.memory.cell

    def make_features_extractor(self) -> BaseFeaturesExtractor:
        """A flattening one that is never called: memory holds its own."""
        return FlattenExtractor(self.observation_space)

    def _build_mlp_extractor(self) -> None:
        reads: dict[str, Any] = {
            "observation_scale": self.scale,
            "features_extractor_class": self.features_extractor_class,
            "features_extractor_kwargs": self.features_extractor_kwargs,
            "normalize_images": self.normalize_images,
        }
        self.memory = Memory(
            self.observation_space, self.cell_name, self.cell_arguments, unseen=self.privileged, **self._clock, **reads
        )
        self.critic = self._make_critic(reads)
        actor_inputs, critic_inputs = self.memory.features_size + self.memory.output_size, self._critic_inputs()
        self.mlp_extractor = MlpExtractor(actor_inputs, self.net_arch, self.activation_fn)
        if critic_inputs != actor_inputs:
            self.mlp_extractor.value_net = MlpExtractor(critic_inputs, self.net_arch, self.activation_fn).value_net

    def _make_critic(self, reads: dict[str, Any]) -> Memory | Features | None:
        """What the critic reads by itself."""
        if self.critic_memory == "separate":
            # A wiring is made for what the actor reads and drives.
            given = {name: value for name, value in self.cell_arguments.items() if name != "wiring"}
            given["units"] = self.cell.config["units"]
            return Memory(self.observation_space, self.cell_name, given, **self._clock, **reads)
        return Features(self.observation_space, **reads) if self.privileged else None

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
            "observation_space": self.observation_space,
            "action_space": self.action_space,
            "lr_schedule": self._dummy_schedule,
            "cell": self.cell_name,
            **self.cell_arguments,
            **self._clock,
            "observation_scale": self.scale,
            "privileged": self.privileged,
            "net_arch": self.net_arch,
            "critic_memory": self.critic_memory,
            "value_scale": self.value_scale,
            "log_std_init": self.log_std_init,
            "log_std_bounds": self.log_std_bounds,
            "features_extractor_class": self.features_extractor_class,
            "features_extractor_kwargs": self.features_extractor_kwargs,
            "normalize_images": self.normalize_images,
            "optimizer_class": self.optimizer_class,
            "optimizer_kwargs": self.optimizer_kwargs,
        }

    @property
    def state_size(self) -> int:
        """Number of state variables ``H`` of the memory, the actor's first, then the critic's own where it has one."""
        return self.memory.state_size + (self.critic.state_size if isinstance(self.critic, Memory) else 0)

    def initial_state(self, n: int) -> Tensor:
        """Memory of ``n`` episodes that have not begun, shape ``[n, H]``."""
        state = self.memory.initial_state(n)
        return torch.cat([state, self.critic.initial_state(n)], 1) if isinstance(self.critic, Memory) else state

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
        if isinstance(self.critic, Memory):
            state, own = state.split([self.memory.state_size, self.critic.state_size], 1)
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
        parameters = _tanh_network(features, self.mlp_extractor.policy_net, self.action_net)
        if isinstance(self.action_dist, DiagGaussianDistribution):
            return self.action_dist.proba_distribution(parameters, self.log_std), parameters
        return self.action_dist.proba_distribution(parameters), parameters  # type: ignore[call-arg]

    def values(self, features: Tensor) -> Tensor:
        """Expected return given what the critic sees ``[..., C]``, shape ``[...]``."""
        return _tanh_network(features, self.mlp_extractor.value_net, self.value_net).squeeze(-1) * self.value_scale

    def get_distribution(  # type: ignore[override]
        self, obs: Observation, state: Tensor, episode_starts: Tensor
    ) -> tuple[Distribution, Tensor]:
        """Distribution of the action for observations ``[N, ...]`` and the actor's memory afterwards.

        ``state``: the actor's memory before reading them, ``[N, H]``; ``episode_starts``: ``[N]``.
        """
        x, y, state = self.memory.read(_one_step(obs), state, episode_starts[None])
        return self.action_distribution(torch.cat([x, y], -1)[0])[0], state

    def forward(  # type: ignore[override]
        self, obs: Observation, state: Tensor, episode_starts: Tensor, deterministic: bool = False
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One step for ``N`` episodes: actions ``[N, A]``, values ``[N]``, log-probabilities ``[N]``, memory ``[N, H]``."""
        seen, critic_seen, state = self.remember(_one_step(obs), state, episode_starts[None])
        distribution, _ = self.action_distribution(seen[0])
        actions = distribution.get_actions(deterministic=deterministic)
        log_prob = distribution.log_prob(actions)
        return actions.reshape(-1, *self.action_space.shape), self.values(critic_seen[0]), log_prob, state  # type: ignore[misc]

    def predict_values(  # type: ignore[override]
        self, obs: Observation, state: Tensor, episode_starts: Tensor
    ) -> Tensor:
        """Expected return ``[N]`` from observations ``[N, ...]`` and the memory ``[N, H]`` before reading them."""
        _, critic_seen, _ = self.remember(_one_step(obs), state, episode_starts[None])
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
        return values, *self.judge(parameters, actions), parameters

    def outputs(self, obs: Observation, state: Tensor, episode_starts: Tensor) -> tuple[Tensor, Tensor]:
        """Values ``[T, B]`` and the parameters ``[T, B, P]`` of the actions' distribution, given a sequence as above."""
        seen, critic_seen, _ = self.remember(obs, state, episode_starts)
        parameters = _tanh_network(seen, self.mlp_extractor.policy_net, self.action_net)
        return self.values(critic_seen), parameters

    def judge(self, parameters: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities and entropies ``[T, B]`` of actions under the distribution's parameters ``[T, B, P]``."""
        shape = actions.shape[:2]
        if isinstance(self.action_dist, DiagGaussianDistribution):
            # In closed form: Stable-Baselines3's distribution costs as much as the actor's network at small minibatches.
            normaliser = self.log_std.sum() + 0.5 * math.log(2 * math.pi) * actions.shape[-1]
            log_prob = -0.5 * ((actions - parameters) * (-self.log_std).exp()).square().sum(-1) - normaliser
            return log_prob, (normaliser + 0.5 * actions.shape[-1]).expand(shape)
        distribution = self.action_dist.proba_distribution(parameters.flatten(0, 1))  # type: ignore[call-arg]
        flat = actions.flatten(0, 1)
        log_prob = distribution.log_prob(flat.flatten() if isinstance(self.action_space, spaces.Discrete) else flat)
        exact = distribution.entropy()
        return log_prob.view(shape), (-log_prob if exact is None else exact).view(shape)

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
            deterministic: take the distribution's mode instead of a sample.

        Returns:
            the action (or ``N`` of them) within the action space, and the memory afterwards.
        """
        self.set_training_mode(False)
        obs, is_batch = self.obs_to_tensor(observation)
        n = len(next(iter(obs.values())) if isinstance(obs, dict) else obs)
        memory = self.memory.initial_state(n) if state is None else torch.as_tensor(state[0], device=self.device)
        starts = np.zeros(n) if episode_start is None else np.broadcast_to(episode_start, n)
        with torch.no_grad():
            distribution, memory = self.get_distribution(obs, memory, torch.tensor(starts, device=self.device).float())
            sampled = distribution.get_actions(deterministic=deterministic)
        actions = sampled.cpu().numpy().reshape(-1, *self.action_space.shape)  # type: ignore[misc]
        if isinstance(self.action_space, spaces.Box):
            actions = np.clip(actions, self.action_space.low, self.action_space.high)
        return actions if is_batch else actions[0], (memory.cpu().numpy(),)

    def deployed(self, observation_names: Sequence[str] | None = None) -> DeployedPolicy:
        """The deterministic policy without torch, for a control loop. It does not read what is privileged.

        Args:
            observation_names: name of each channel of the observation space; None numbers them.

        Raises:
            ValueError: if the observations are no ``Box`` read flat, or the action space is not ``Box(-1, 1)`` with one
                axis.
        """
        features, space = self.memory.features, self.action_space
        if not features.flat:
            raise ValueError(
                f"only a policy that reads a flat Box of observations can be deployed, not {self.observation_space}; "
                "flatten them in the environment"
            )
        if not (
            isinstance(space, spaces.Box)
            and space.low.ndim == 1
            and (space.low == -1).all()
            and (space.high == 1).all()
        ):
            raise ValueError(
                f"only actions in Box(-1, 1) can be deployed, not {space}; rescale them in the environment"
            )
        names = observation_names or [f"observation_{i}" for i in range(spaces.flatdim(self.observation_space))]
        if len(names) != spaces.flatdim(self.observation_space):
            raise ValueError(f"observation_names needs one name for each channel of {self.observation_space}")
        names = names if features.seen is None else [names[channel] for channel in features.seen]
        actor = [layer for layer in self.mlp_extractor.policy_net if isinstance(layer, nn.Linear)] + [self.action_net]
        tensors = {f"cell.{name}": tensor for name, tensor in self.cell.state_dict().items()}
        for i, layer in enumerate(actor):
            tensors |= {f"actor.{i}.weight": layer.weight, f"actor.{i}.bias": layer.bias}
        config = {
            "format": 2,
            "cell": self.cell.config,
            "observation_scale": features.scale,
            "actor_layers": len(actor),
            "action_size": int(space.shape[0]),
            "squash": False,
            "observation_names": list(names),
        }
        return DeployedPolicy(config, {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()})


def _one_step(obs: Observation) -> Any:
    """Observations ``[N, ...]`` as a sequence of one step, ``[1, N, ...]``."""
    return map_observation(lambda array: array[None], obs)


def _tanh_network(x: Tensor, hidden: nn.Sequential, last: nn.Linear) -> Tensor:
    """``last(hidden(x))`` for hidden layers with tanh, ``x`` ``[..., I]``."""
    layers = [layer for layer in hidden if isinstance(layer, nn.Linear)] + [last]
    parameters = [parameter for layer in layers for parameter in (layer.weight, layer.bias)]
    return _TanhNetwork.apply(x.flatten(0, -2), *parameters).view(*x.shape[:-1], -1)


class _TanhNetwork(torch.autograd.Function):
    """Linear layers with tanh between them as one node of the graph: at small minibatches, nodes cost more than arithmetic."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *parameters: Tensor) -> Tensor:
        """``x`` ``[N, I]``, then weight ``[O, I]`` and bias ``[O]`` of each layer."""
        read = [x]
        for weight, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
            read.append(torch.addmm(bias, read[-1], weight.T).tanh_())
        ctx.save_for_backward(*read, *parameters[::2])
        return torch.addmm(parameters[-1], read[-1], parameters[-2].T)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        layers = len(ctx.saved_tensors) // 2
        read, weights = ctx.saved_tensors[:layers], ctx.saved_tensors[layers:]
        gradients: list[Tensor] = []
        for x, weight in zip(read[:0:-1], weights[:0:-1], strict=True):
            gradients += [gradient.sum(0), gradient.T @ x]
            gradient = torch.ops.aten.tanh_backward(gradient @ weight, x)
        gradients += [gradient.sum(0), gradient.T @ read[0]]
        return gradient @ weights[0] if ctx.needs_input_grad[0] else None, *gradients[::-1]
