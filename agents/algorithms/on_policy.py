"""What PPO and A2C share: rollouts of a policy with memory, cut into sequences."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

from ...policies.optim import FlatAdam, Gradients
from ...policies.sb3 import POLICY_ALIASES, LiquidPolicy
from ...policies.sb3.memory import map_observation
from .base import MemoryAlgorithm
from .sequences import SequenceBuffer


class OnPolicyMemory(MemoryAlgorithm, OnPolicyAlgorithm):
    """Rollouts with memory, for PPO and A2C; it comes before Stable-Baselines3's class among the bases.

    A rollout of ``n_steps`` is cut into sequences of ``seq_len`` steps. Each keeps the memory the policy had when it began,
    and gradients run back to its beginning through the cell's whole-sequence path. A truncated episode is bootstrapped
    with the value of its last observation, read with that episode's own memory.

    Args:
        policy: one of :data:`~undrift.policies.sb3.POLICY_ALIASES`, for example ``"CfcPolicy"``, or a subclass of
            :class:`LiquidPolicy`.
        n_steps: steps of a rollout in each environment, a multiple of ``seq_len``.
        seq_len: steps of one sequence, the horizon of the gradient through time.
        *args, **kwargs: all other arguments of Stable-Baselines3's class in its order, but ``policy_kwargs`` by name.
            Refused are ``use_sde`` and other rollout buffers.

    Raises:
        ValueError: if ``n_steps`` is not a multiple of ``seq_len``, the policy's name is unknown or an argument is refused;
            and as :class:`LiquidPolicy`.
        TypeError: if the policy is not a :class:`LiquidPolicy`.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = POLICY_ALIASES  # type: ignore[assignment]
    policy: LiquidPolicy  # type: ignore[assignment]
    rollout_buffer: SequenceBuffer
    seq_len: int
    _last_obs: np.ndarray | dict[str, np.ndarray]  # type: ignore[assignment]
    _last_episode_starts: np.ndarray  # type: ignore[assignment]
    _last_state: Tensor

    def __init__(self, *args: Any, seq_len: int, **kwargs: Any) -> None:
        self.seq_len = seq_len
        super().__init__(*args, **kwargs)

    def _setup_model(self) -> None:
        self._check_length("n_steps", self.n_steps)
        if self.rollout_buffer_class not in (
            None,
            RolloutBuffer,
            DictRolloutBuffer,
        ):  # those that the base class chooses
            raise ValueError("a policy with memory learns from sequences of its own; leave rollout_buffer_class=None")
        super()._setup_model()
        self.rollout_buffer = SequenceBuffer(
            self.n_steps,
            self.observation_space,
            self.action_space,
            device=self.device,
            gamma=self.gamma,
            gae_lambda=self.gae_lambda,
            n_envs=self.n_envs,
            seq_len=self.seq_len,
            state_size=self.policy.state_size,
        )
        self._last_state = self.policy.initial_state(self.n_envs)

    def _check_length(self, name: str, steps: int) -> None:
        if steps % self.seq_len:
            raise ValueError(f"{name}={steps} must be a multiple of seq_len={self.seq_len}")

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Fill the buffer with ``n_rollout_steps`` steps of every environment; False if the callback stopped it."""
        assert isinstance(rollout_buffer, SequenceBuffer)
        self.policy.set_training_mode(False)
        rollout_buffer.reset()
        callback.on_rollout_start()
        seen: list[Tensor] = []
        with torch.no_grad():
            for _ in range(n_rollout_steps):
                critic_seen = self._collect_step(env, callback, rollout_buffer)
                if critic_seen is None:
                    return False
                seen.append(critic_seen)
            # The critic does not act, so it judges the whole rollout at once.
            rollout_buffer.values[:] = self.policy.values(torch.stack(seen)).cpu().numpy()
            last_values = self.policy.predict_values(
                self._observed(self._last_obs), self._last_state, self._tensor(self._last_episode_starts)
            )
        rollout_buffer.compute_returns_and_advantage(last_values=last_values, dones=self._last_episode_starts)
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def _collect_step(self, env: VecEnv, callback: BaseCallback, rollout_buffer: SequenceBuffer) -> Tensor | None:
        """Step every environment once; returns what the critic saw, or None if the callback says stop."""
        obs, starts, state = self._last_obs, self._last_episode_starts, self._last_state
        sequence = map_observation(lambda array: array[None], self._observed(obs))
        seen, critic_seen, new_state = self.policy.remember(sequence, state, self._tensor(starts)[None])
        sampled, log_prob = self.policy.sample(seen[0])
        actions = sampled.cpu().numpy().reshape(-1, *self.action_space.shape)  # type: ignore[misc]
        clipped_actions = actions
        if isinstance(self.action_space, spaces.Box):
            clipped_actions = np.clip(actions, self.action_space.low, self.action_space.high)
        new_obs, rewards, dones, infos = env.step(clipped_actions)
        self.num_timesteps += env.num_envs
        callback.update_locals(locals())
        if not callback.on_step():
            return None

        if dones.any():
            ended = np.flatnonzero(dones)
            self._update_info_buffer([infos[i] for i in ended], dones[ended])
            rewards = self._bootstrap_truncated(rewards, infos, ended, new_state)
        rollout_buffer.append(obs, state, starts, actions, rewards, log_prob)
        self._last_obs, self._last_episode_starts, self._last_state = new_obs, dones, new_state  # type: ignore[assignment]
        return critic_seen[0]

    def _bootstrap_truncated(
        self, rewards: np.ndarray, infos: list[dict[str, Any]], ended: np.ndarray, state: Tensor
    ) -> np.ndarray:
        """Rewards ``[N]`` plus, where an episode was cut short, the discounted value of the observation it stopped at."""
        cut = [i for i in ended if infos[i].get("TimeLimit.truncated") and "terminal_observation" in infos[i]]
        if not cut:
            return rewards
        last_obs = self._observed(_stacked([infos[i]["terminal_observation"] for i in cut]))
        values = self.policy.predict_values(last_obs, state[cut], torch.zeros(len(cut), device=self.device))
        rewards = rewards.copy()
        rewards[cut] += self.gamma * values.cpu().numpy()
        return rewards

    def _observed(self, obs: np.ndarray | dict[str, np.ndarray]) -> Any:
        """Observations on the device."""
        return map_observation(lambda array: torch.as_tensor(array, device=self.device), obs)

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.asarray(array, dtype=np.float32)).to(self.device)

    def _descend(self, loss: Tensor) -> None:
        """One step of the optimiser along the clipped gradient of a loss."""
        self._descend_along(self._gradients_of(loss))

    def _gradients_of(self, loss: Tensor) -> Gradients:
        trained = self._trained()
        return dict(zip(trained, torch.autograd.grad(loss, trained, allow_unused=True), strict=True))

    def _trained(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.policy.parameters() if parameter.requires_grad]

    def _descend_along(self, gradients: Gradients) -> None:
        """One step of the optimiser along a gradient, clipped."""
        optimizer = self.policy.optimizer
        if isinstance(optimizer, FlatAdam):
            optimizer.descend(gradients, self.max_grad_norm)
            return
        for parameter in self.policy.parameters():
            parameter.grad = gradients.get(parameter)
        torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        optimizer.step()

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_last_state"]


def _stacked(observations: list[Any]) -> Any:
    """A batch of observations, each an array or a dictionary of arrays."""
    if isinstance(observations[0], dict):
        return {key: np.stack([observation[key] for observation in observations]) for key in observations[0]}
    return np.stack(observations)
