"""What SAC and TD3 share: acting with memory, replay of sequences, and the rhythm of the update."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from stable_baselines3 import HerReplayBuffer
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ...policies.sb3.memory import map_observation
from ...policies.sb3.off_policy import OffPolicyPolicy
from .base import MemoryAlgorithm
from .replay import ReplayedSequences, SequenceReplayBuffer


class OffPolicyMemory(MemoryAlgorithm, OffPolicyAlgorithm):
    """Replay with memory, for SAC and TD3; it comes before Stable-Baselines3's class among the bases.

    The memory runs on through every step, the random ones of the warm-up included, and is stored with the steps
    (:class:`SequenceReplayBuffer`). An update reads whole sequences: without gradient through the burn-in, which brings the
    stored state up to date, then with gradient back to its end. It begins once a whole sequence is stored.

    Args:
        policy: a name, for example ``"CfcPolicy"``, or a subclass of the algorithm's own policy.
        env: an environment with ``Box`` actions.
        batch_size: steps in a minibatch, a multiple of ``seq_len``.
        seq_len: steps of one sequence, the horizon of the gradient through time.
        burn_in: steps read before them, which bring the stored state up to date.
        *args, **kwargs: all other arguments of Stable-Baselines3's class in its order, but ``policy_kwargs`` by name;
            ``replay_buffer_kwargs`` may hold ``state_every``. Refused are ``use_sde``, ``optimize_memory_usage`` and other
            replay buffers.

    Raises:
        TypeError: if the policy has no memory, or is not that of the algorithm.
        ValueError: if ``batch_size`` is not a multiple of ``seq_len``; for an argument that is refused; and as
            :class:`SequenceReplayBuffer`, which also names its size in bytes, and the policies.
    """

    policy: OffPolicyPolicy  # type: ignore[assignment]
    replay_buffer: SequenceReplayBuffer
    _last_obs: np.ndarray | dict[str, np.ndarray]  # type: ignore[assignment]
    _last_episode_starts: np.ndarray  # type: ignore[assignment]
    _last_state: Tensor

    def __init__(self, *args: Any, seq_len: int = 16, burn_in: int = 4, **kwargs: Any) -> None:
        self.seq_len, self.burn_in = seq_len, burn_in
        super().__init__(*args, **kwargs)

    def _setup_model(self) -> None:
        self._check_replay()
        self.replay_buffer_class = self.replay_buffer_class or SequenceReplayBuffer
        lengths = {"seq_len": self.seq_len, "burn_in": self.burn_in, "n_steps": self.n_steps, "gamma": self.gamma}
        self.replay_buffer_kwargs = {**self.replay_buffer_kwargs, **lengths}
        with warnings.catch_warnings():
            # Stable-Baselines3 supposes that a buffer not its own ignores n_steps.
            warnings.filterwarnings("ignore", message="`n_steps=")
            super()._setup_model()
        self.replay_buffer.allocate_states(self.policy.state_size)
        self._last_state = self.policy.initial_state(self.n_envs)

    def _check_replay(self) -> None:
        if self.batch_size % self.seq_len:
            raise ValueError(f"batch_size={self.batch_size} must be a multiple of seq_len={self.seq_len}")
        buffer = self.replay_buffer_class
        if buffer is not None and issubclass(buffer, HerReplayBuffer):
            raise ValueError(
                "HerReplayBuffer exchanges the goal of single transitions, which would not fit the memory that was "
                "collected under another goal; leave replay_buffer_class=None, or use Stable-Baselines3's own algorithm"
            )
        if buffer is not None and not issubclass(buffer, SequenceReplayBuffer):
            raise ValueError(
                f"{buffer.__name__} stores single transitions; a policy with memory learns from sequences, so leave "
                "replay_buffer_class=None or take a subclass of SequenceReplayBuffer"
            )

    def load_replay_buffer(self, path: Any, truncate_last_traj: bool = True) -> None:
        """Load a buffer that ``save_replay_buffer`` wrote, to draw sequences of this model's lengths from it.

        What it holds last is not continued by the next step: new episodes begin.

        Raises:
            ValueError: if it was collected in another number of environments, or with states of another size.
        """
        super().load_replay_buffer(path, truncate_last_traj)
        if self.replay_buffer.n_envs != self.n_envs:
            raise ValueError(f"the buffer is of {self.replay_buffer.n_envs} environments, the model has {self.n_envs}")
        self.replay_buffer.allocate_states(self.policy.state_size)
        for name in ("seq_len", "burn_in", "n_steps", "gamma"):
            setattr(self.replay_buffer, name, getattr(self, name))
        self._last_obs = None  # type: ignore[assignment]  # so that ``learn`` begins new episodes

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """Read the last observations into memory and act, at random during the warm-up.

        Returns:
            the actions ``[N, ...]`` for the environments, and as they are stored, scaled to [-1, 1].
        """
        policy = self.policy
        obs = map_observation(lambda array: torch.as_tensor(array, device=self.device)[None], self._last_obs)
        starts = torch.from_numpy(np.asarray(self._last_episode_starts, np.float32)).to(self.device)
        with torch.no_grad():
            seen, _, self._next_state = policy.remember(obs, self._last_state, starts[None])
            if self.num_timesteps < learning_starts:
                scaled = policy.scale_action(np.stack([self.action_space.sample() for _ in range(n_envs)]))
            else:
                scaled = policy.actor.act(seen[0], False).cpu().numpy().reshape(-1, *self.action_space.shape)  # type: ignore[misc]
        if action_noise is not None:
            scaled = np.clip(scaled + action_noise(), -1, 1)
        return policy.unscale_action(scaled), scaled

    def _store_transition(
        self,
        replay_buffer: Any,
        buffer_action: np.ndarray,
        new_obs: np.ndarray | dict[str, np.ndarray],
        reward: np.ndarray,
        dones: np.ndarray,
        infos: list[dict[str, Any]],
    ) -> None:
        replay_buffer.begin_step(self._last_state, self._last_episode_starts)
        super()._store_transition(replay_buffer, buffer_action, new_obs, reward, dones, infos)
        self._last_state, self._last_episode_starts = self._next_state, dones

    def train(self, gradient_steps: int, batch_size: int = 256) -> None:
        """Improve actor and critics on sequences drawn from the replay buffer."""
        if not self.replay_buffer.ready:
            return
        self.policy.set_training_mode(True)
        self._update_learning_rate(self._optimizers())
        measured: defaultdict[str, list[float]] = defaultdict(list)
        for _ in range(gradient_steps):
            self._n_updates += 1
            batch = self.replay_buffer.sample(batch_size, env=self._vec_normalize_env)
            for name, figure in self._update(batch).items():
                measured[name].append(figure)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        for name, figures in measured.items():
            self.logger.record(f"train/{name}", np.mean(figures))

    @abstractmethod
    def _optimizers(self) -> list[torch.optim.Optimizer]:
        """All that follow the schedule of the learning rate."""

    @abstractmethod
    def _update(self, batch: ReplayedSequences) -> dict[str, float]:
        """One gradient step; returns what the log says about it."""

    def _remember(self, batch: ReplayedSequences) -> tuple[Tensor, Tensor]:
        """What the actor and what the critics see of the sequences after the burn-in, ``[L + n, B, ...]`` each."""
        state, burn_in = batch.states, self.burn_in
        if burn_in:
            before = map_observation(lambda array: array[:burn_in], batch.observations)
            with torch.no_grad():
                state = self.policy.remember(before, state, batch.episode_starts[:burn_in])[2]
        obs = map_observation(lambda array: array[burn_in:], batch.observations)
        seen, judged, _ = self.policy.remember(obs, state, batch.episode_starts[burn_in:])
        return seen, judged

    def _critic_loss(self, judged: Tensor, batch: ReplayedSequences, next_values: Tensor) -> Tensor:
        """Sum over the critics of the mean squared error of what they expect, given ``next_values [L + n, B]``."""
        with torch.no_grad():
            targets = batch.rewards + batch.discounts * next_values.gather(0, batch.successors)
        errors = self.policy.critic(judged[: self.seq_len], batch.actions) - targets
        return (errors.square() * batch.weights).sum()

    def _follow(self, target: nn.Module, network: nn.Module) -> None:
        """Move a target network by the share ``tau`` towards its own."""
        # Unlike Stable-Baselines3's polyak_update, one operation for all parameters, and one that autograd takes note of.
        get_ema_multi_avg_fn(1.0 - self.tau)(list(target.parameters()), list(network.parameters()), None)  # type: ignore[arg-type]

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_last_state", "_next_state"]


def step(optimizer: torch.optim.Optimizer, loss: Tensor, parameters: Iterable[Tensor]) -> float:
    """One step of an optimiser of ``parameters``, which alone get gradients; returns the loss."""
    optimizer.zero_grad()
    loss.backward(inputs=[parameter for parameter in parameters if parameter.requires_grad])
    optimizer.step()
    return loss.item()
