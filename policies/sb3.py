"""Liquid policies in Stable-Baselines3's policy dialect: actor and critic on top of a :class:`~undrift.policies.cell.Cell`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import DiagGaussianDistribution, Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import MlpExtractor
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .cell import Cell
from .cells import CELLS
from .deployed import DeployedPolicy
from .optim import FlatAdam
from .wiring import Wiring


class LiquidPolicy(ActorCriticPolicy):
    """Actor-critic policy whose memory is a :class:`Cell`.

    With ``x = observation / observation_scale`` and ``y`` the cell's output after reading ``x``, the actor is a tanh
    network on ``[x, y]`` and the critic one on ``[x, stop_gradient(y)]``: only the actor shapes the memory, while the
    critic reads it. Without ``critic_memory`` the critic is a network on ``x`` alone.

    Args:
        observation_space: a ``Box``; it is flattened to ``I`` channels.
        action_space: any action space Stable-Baselines3 has a distribution for.
        lr_schedule: learning rate as a function of the remaining progress (1 to 0).
        cell: name of the cell in :data:`undrift.policies.cells.CELLS`.
        units: number of units ``H`` of the cell; None takes the wiring's, or 64 without one.
        wiring: wiring of the cell, a :class:`Wiring` or its ``to_dict()``; None wires it densely.
        backbone_units: width of the cell's shared hidden layer; None for none, as a sparse wiring needs it.
        period: duration of one control step, in seconds; None keeps the cell's own default.
        observation_scale: typical magnitude of each observation channel, shape ``[I]``; None divides by one.
        net_arch: hidden widths, ``{"pi": [...], "vf": [...]}``.
        critic_memory: whether the critic reads the memory. Turn it off where the observation tells all that matters to the
            value: features that the actor keeps changing cost the critic accuracy.
        value_scale: the value is the critic's output times this, so that the network works near unit scale.
        log_std_init: initial logarithm of the exploration's standard deviation (Gaussian actions only).
        log_std_bounds: interval that logarithm is projected onto after every gradient step; None leaves it free.
        optimizer_class: optimiser, Adam (:class:`FlatAdam`) by default.
        optimizer_kwargs: its arguments except the learning rate.

    Raises:
        TypeError: for an observation space that is not a ``Box``.
        ValueError: for an unknown cell, a wrong ``observation_scale`` or ``use_sde``.
    """

    cell: Cell
    observation_scale: Tensor
    action_net: nn.Linear
    log_std: nn.Parameter

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        lr_schedule: Schedule,
        *,
        cell: str = "cfc",
        units: int | None = None,
        wiring: Wiring | Mapping[str, Any] | None = None,
        backbone_units: int | None = 96,
        period: float | None = None,
        observation_scale: Sequence[float] | np.ndarray | None = None,
        net_arch: dict[str, list[int]] | None = None,
        critic_memory: bool = True,
        value_scale: float = 1.0,
        log_std_init: float = -0.7,
        log_std_bounds: tuple[float, float] | None = (-2.5, 0.0),
        use_sde: bool = False,
        optimizer_class: type[torch.optim.Optimizer] = FlatAdam,
        optimizer_kwargs: dict[str, Any] | None = None,
    ) -> None:
        if cell not in CELLS:
            raise ValueError(f"unknown cell {cell!r}; the cells are {', '.join(sorted(CELLS))}")
        if not isinstance(observation_space, spaces.Box):
            raise TypeError(
                f"a liquid policy reads a Box of observations, not {observation_space}; "
                "wrap the environment, for example in gymnasium.wrappers.FlattenObservation"
            )
        if use_sde:
            raise ValueError("a liquid policy explores with independent noise; leave use_sde=False")
        if optimizer_kwargs is None and optimizer_class is FlatAdam:
            optimizer_kwargs = {"eps": 1e-5, "fused": True}
        channels = spaces.flatdim(observation_space)
        self.scale = np.ones(channels) if observation_scale is None else np.asarray(observation_scale, dtype=np.float64)
        if self.scale.shape != (channels,) or not (np.isfinite(self.scale).all() and (self.scale > 0).all()):
            raise ValueError(
                f"observation_scale needs {channels} positive numbers, one a channel, got shape {self.scale.shape}"
            )
        self.cell_name = cell
        self.wiring = Wiring.from_dict(dict(wiring)) if isinstance(wiring, Mapping) else wiring
        if units is None:
            units = 64 if self.wiring is None else self.wiring.units
        self.cell_kwargs: dict[str, Any] = {"units": units, "backbone_units": backbone_units}
        if period is not None:
            self.cell_kwargs["period"] = period
        self.critic_memory = critic_memory
        self.value_scale = value_scale
        self.log_std_bounds = log_std_bounds
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            net_arch=net_arch or {"pi": [96, 96], "vf": [128, 128]},
            activation_fn=nn.Tanh,
            ortho_init=False,
            log_std_init=log_std_init,
            optimizer_class=optimizer_class,
            optimizer_kwargs=optimizer_kwargs,
        )

    def _build_mlp_extractor(self) -> None:
        self.register_buffer("observation_scale", torch.tensor(self.scale, dtype=torch.float32), persistent=False)
        make_cell: Callable[..., Cell] = CELLS[self.cell_name]
        self.cell = make_cell(len(self.scale), wiring=self.wiring, **self.cell_kwargs)
        channels = len(self.scale)
        self.mlp_extractor = MlpExtractor(channels + self.cell.output_size, self.net_arch, self.activation_fn)
        if not self.critic_memory:
            self.mlp_extractor.value_net = MlpExtractor(channels, self.net_arch, self.activation_fn).value_net

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
            "wiring": None if self.wiring is None else self.wiring.to_dict(),
            "period": None,
            **self.cell_kwargs,
            "observation_scale": self.scale.tolist(),
            "net_arch": self.net_arch,
            "critic_memory": self.critic_memory,
            "value_scale": self.value_scale,
            "log_std_init": self.log_std_init,
            "log_std_bounds": self.log_std_bounds,
            "optimizer_class": self.optimizer_class,
            "optimizer_kwargs": self.optimizer_kwargs,
        }

    def initial_state(self, n: int) -> Tensor:
        """Memory of ``n`` episodes that have not begun, shape ``[n, H]``."""
        return self.cell.initial_state(n)

    def remember(self, obs: Tensor, state: Tensor, episode_starts: Tensor) -> tuple[Tensor, Tensor]:
        """Read a sequence of observations into memory.

        Args:
            obs: raw observations, ``[T, B, ...]``.
            state: memory before the first of them, ``[B, H]``.
            episode_starts: ``[T, B]``, 1 where an observation is the first of its episode (memory is emptied before it).

        Returns:
            the features ``[x, y]`` the actor and the critic see, ``[T, B, I + O]``, and the memory afterwards, ``[B, H]``.
        """
        x = obs.flatten(2).to(torch.float32) / self.observation_scale
        y, state = self.cell.sequence(x, state, None, episode_starts)
        return torch.cat([x, y], dim=-1), state

    def action_distribution(self, features: Tensor) -> tuple[Distribution, Tensor]:
        """Distribution of the action given features ``[N, I + O]``, and its parameters ``[N, P]`` (means or logits)."""
        parameters = _tanh_network(features, self.mlp_extractor.policy_net, self.action_net)
        if isinstance(self.action_dist, DiagGaussianDistribution):
            return self.action_dist.proba_distribution(parameters, self.log_std), parameters
        return self.action_dist.proba_distribution(parameters), parameters  # type: ignore[call-arg]

    def values(self, features: Tensor) -> Tensor:
        """Expected return given features ``[..., I + O]``, shape ``[...]``; no gradient flows into the features."""
        seen = features.detach()
        if not self.critic_memory:
            seen = seen[..., : len(self.scale)]
        return _tanh_network(seen, self.mlp_extractor.value_net, self.value_net).squeeze(-1) * self.value_scale

    def forward(  # type: ignore[override]
        self, obs: Tensor, state: Tensor, episode_starts: Tensor, deterministic: bool = False
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One step for ``N`` episodes: actions ``[N, A]``, values ``[N]``, log-probabilities ``[N]``, memory ``[N, H]``."""
        features, state = self.remember(obs[None], state, episode_starts[None])
        distribution, _ = self.action_distribution(features[0])
        actions = distribution.get_actions(deterministic=deterministic)
        log_prob = distribution.log_prob(actions)
        return actions.reshape(-1, *self.action_space.shape), self.values(features[0]), log_prob, state  # type: ignore[misc]

    def predict_values(self, obs: Tensor, state: Tensor, episode_starts: Tensor) -> Tensor:  # type: ignore[override]
        """Expected return ``[N]`` from observations ``[N, ...]`` and the memory ``[N, H]`` before reading them."""
        features, _ = self.remember(obs[None], state, episode_starts[None])
        return self.values(features[0])

    def evaluate_actions(  # type: ignore[override]
        self, obs: Tensor, actions: Tensor, state: Tensor, episode_starts: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Judge past actions under the present parameters.

        Args:
            obs: ``[T, B, ...]``; actions: ``[T, B, A]``; state: ``[B, H]`` before the first step;
                episode_starts: ``[T, B]``.

        Returns:
            values, log-probabilities and entropies, each ``[T, B]``, and the distribution's parameters ``[T, B, P]``.
        """
        features, _ = self.remember(obs, state, episode_starts)
        parameters = _tanh_network(features, self.mlp_extractor.policy_net, self.action_net)
        log_prob, entropy = self._judge(parameters, actions)
        return self.values(features), log_prob, entropy, parameters

    def _judge(self, parameters: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities and entropies ``[T, B]`` of actions under the distribution's parameters ``[T, B, P]``."""
        shape = actions.shape[:2]
        if isinstance(self.action_dist, DiagGaussianDistribution):
            # In closed form: Stable-Baselines3's distribution costs as much as the actor's network at small minibatches.
            log_prob = _GaussianLogProb.apply(parameters, self.log_std, actions)
            entropy = self.log_std.sum() + 0.5 * math.log(2 * math.pi * math.e) * actions.shape[-1]
            return log_prob, entropy.expand(shape)
        distribution = self.action_dist.proba_distribution(parameters.flatten(0, 1))  # type: ignore[call-arg]
        flat = actions.flatten(0, 1)
        log_prob = distribution.log_prob(flat.flatten() if isinstance(self.action_space, spaces.Discrete) else flat)
        exact = distribution.entropy()
        return log_prob.view(shape), (-log_prob if exact is None else exact).view(shape)

    def predict(  # type: ignore[override]
        self,
        observation: np.ndarray,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Act, as in Stable-Baselines3.

        Args:
            observation: one observation or a batch of ``N``.
            state: what the previous call returned, ``([N, H],)``; None starts with an empty memory.
            episode_start: ``[N]``, true where an episode begins (its memory is emptied first).
            deterministic: take the distribution's mode instead of a sample.

        Returns:
            the action (or ``N`` of them) within the action space, and the memory afterwards.
        """
        self.set_training_mode(False)
        obs, is_batch = self.obs_to_tensor(observation)
        assert isinstance(obs, Tensor)
        n = len(obs)
        memory = self.initial_state(n) if state is None else torch.as_tensor(state[0], device=self.device)
        starts = np.zeros(n) if episode_start is None else np.broadcast_to(episode_start, n)
        with torch.no_grad():
            features, memory = self.remember(obs[None], memory, torch.tensor(starts[None], device=self.device).float())
            distribution, _ = self.action_distribution(features[0])
            sampled = distribution.get_actions(deterministic=deterministic)
        actions = sampled.cpu().numpy().reshape(-1, *self.action_space.shape)  # type: ignore[misc]
        if isinstance(self.action_space, spaces.Box):
            actions = np.clip(actions, self.action_space.low, self.action_space.high)
        return actions if is_batch else actions[0], (memory.cpu().numpy(),)

    def deployed(self, observation_names: Sequence[str] | None = None) -> DeployedPolicy:
        """The deterministic policy without torch, for a control loop.

        Args:
            observation_names: name of each observation channel; None numbers them.

        Raises:
            ValueError: if the action space is not ``Box(-1, 1)`` with one axis.
        """
        space = self.action_space
        if not (
            isinstance(space, spaces.Box)
            and space.low.ndim == 1
            and (space.low == -1).all()
            and (space.high == 1).all()
        ):
            raise ValueError(
                f"only actions in Box(-1, 1) can be deployed, not {space}; rescale them in the environment"
            )
        names = observation_names or [f"observation_{i}" for i in range(len(self.scale))]
        actor = [layer for layer in self.mlp_extractor.policy_net if isinstance(layer, nn.Linear)] + [self.action_net]
        tensors = {f"cell.{name}": tensor for name, tensor in self.cell.state_dict().items()}
        for i, layer in enumerate(actor):
            tensors |= {f"actor.{i}.weight": layer.weight, f"actor.{i}.bias": layer.bias}
        config = {
            "format": 2,
            "cell": self.cell.config,
            "observation_scale": self.scale.tolist(),
            "actor_layers": len(actor),
            "action_size": int(space.shape[0]),
            "squash": False,
            "observation_names": list(names),
        }
        return DeployedPolicy(config, {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()})


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


class _GaussianLogProb(torch.autograd.Function):
    """Log-probability ``[...]`` of actions ``[..., A]`` under a Gaussian with ``means`` ``[..., A]`` and ``log_std`` ``[A]``."""

    @staticmethod
    def forward(ctx: Any, means: Tensor, log_std: Tensor, actions: Tensor) -> Tensor:
        precision = (-log_std).exp_()
        z = (actions - means).mul_(precision)
        ctx.save_for_backward(z, precision)
        return z.square().sum(-1).mul_(-0.5).sub_(log_std.sum() + 0.5 * math.log(2 * math.pi) * len(log_std))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        z, precision = ctx.saved_tensors
        slope = z * gradient.unsqueeze(-1)
        d_log_std = (slope * z).flatten(0, -2).sum(0) - gradient.sum()
        return slope.mul_(precision), d_log_std, None


#: The names Stable-Baselines3's algorithms know these policies by.
POLICY_ALIASES = {"CfcPolicy": LiquidPolicy}
