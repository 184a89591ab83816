"""A policy for sb3-contrib's RecurrentPPO whose memory is any cell. The one file here that needs sb3-contrib."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor, FlattenExtractor, NatureCNN
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from ..wiring import Wiring
from .memory import Memory

try:
    from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
except ImportError as error:
    raise ImportError("RecurrentLiquidPolicy is for sb3-contrib's RecurrentPPO: pip install sb3-contrib") from error


class RecurrentLiquidPolicy(RecurrentActorCriticPolicy):
    """sb3-contrib's recurrent policy with a :class:`~undrift.policies.cell.Cell` in place of its LSTM.

    The actor is a network on the cell's output alone, as there. The first of the pair of states that ``RecurrentPPO`` keeps
    is the cell's, ``[1, N, H]``; the second is not used.

    Args:
        observation_space, action_space, lr_schedule: as in Stable-Baselines3. A ``Dict`` of observations or an image has
            its own features extractor, without asking.
        cell: name of the cell in :data:`undrift.policies.cells.CELLS`.
        period: nominal duration of one control step, s; None keeps the cell's own default.
        elapsed: index of the feature that holds the time since the previous observation, s; None: one period. The features
            are the observation's channels where it is flat.
        observation_scale: typical magnitude of each feature, ``[I]``; None divides by one.
        shared_lstm, enable_critic_lstm: whether the critic reads the actor's memory, without gradient, or has one of its own
            (the default); neither, and it has no memory.
        features_extractor_class: None chooses by the observation.
        optimizer_class, optimizer_kwargs: as in Stable-Baselines3.
        **arguments: those of Stable-Baselines3's ``ActorCriticPolicy``; every other goes to the cell (``units``, ``wiring``,
            ...).

    Raises:
        ImportError: sb3-contrib is not installed.
        ValueError: an unknown cell, an argument that neither takes, or what :class:`Memory` refuses.
    """

    lstm_actor: _Recurrent  # type: ignore[assignment]
    lstm_critic: _Recurrent | None  # type: ignore[assignment]

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        lr_schedule: Schedule,
        *,
        cell: str = "cfc",
        period: float | None = None,
        elapsed: int | None = None,
        observation_scale: Sequence[float] | np.ndarray | None = None,
        shared_lstm: bool = False,
        enable_critic_lstm: bool = True,
        features_extractor_class: type[BaseFeaturesExtractor] | None = None,
        **arguments: Any,
    ) -> None:
        own = {name: arguments.pop(name) for name in _POLICY_ARGUMENTS & set(arguments)}
        self._memory: dict[str, Any] = {
            "cell": cell,
            "cell_arguments": arguments,
            "period": period,
            "elapsed": elapsed,
            "observation_scale": observation_scale,
        }
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            shared_lstm=shared_lstm,
            enable_critic_lstm=enable_critic_lstm,
            features_extractor_class=features_extractor_class or _extractor(observation_space),
            lstm_hidden_size=1,  # of LSTMs that are replaced here
            **own,
        )
        self.lstm_actor = self._make_memory()
        if self.lstm_critic is not None:
            self.lstm_critic = self._make_memory()
        if self.critic is not None:
            self.critic = nn.Linear(self.features_dim, self.lstm_output_dim)
        self.lstm_hidden_state_shape = (1, 1, self.lstm_actor.hidden_size)
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[call-arg]

    def _make_memory(self) -> _Recurrent:
        features = spaces.Box(-np.inf, np.inf, (self.features_dim,), np.float32)
        return _Recurrent(features, **self._memory)

    def _build_mlp_extractor(self) -> None:
        self.lstm_output_dim = self._make_memory().output_size
        super()._build_mlp_extractor()

    @staticmethod
    def _process_sequence(  # type: ignore[override]
        features: Tensor,
        lstm_states: tuple[Tensor, Tensor],
        episode_starts: Tensor,
        lstm: _Recurrent,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Features ``[B T, I]``, sequence after sequence, and the pair ``[1, B, H]`` to outputs ``[B T, O]`` and the pair."""
        state, unused = lstm_states
        rows = state.shape[1]
        x = features.reshape(rows, -1, lstm.input_size).swapaxes(0, 1)
        _, y, after = lstm.read(x, state[0], episode_starts.reshape(rows, -1).swapaxes(0, 1))
        return y.swapaxes(0, 1).flatten(0, 1), (after[None], unused)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        given = dict(self._memory)
        cell = given.pop("cell_arguments")
        if isinstance(cell.get("wiring"), Wiring):
            cell = {**cell, "wiring": cell["wiring"].to_dict()}
        critic = {"shared_lstm": self.shared_lstm, "enable_critic_lstm": self.enable_critic_lstm}
        return {**super()._get_constructor_parameters(), **given, **cell, **critic}


class _Recurrent(Memory):
    """Memory as RecurrentPPO sees an LSTM of one layer."""

    num_layers = 1

    @property
    def input_size(self) -> int:
        return self.features_size

    @property
    def hidden_size(self) -> int:
        return self.state_size


_POLICY_ARGUMENTS = set(signature(RecurrentActorCriticPolicy).parameters) - {
    "lstm_hidden_size",
    "n_lstm_layers",
    "lstm_kwargs",
}
"""What sb3-contrib's policy takes, but for what describes its LSTM."""


def _extractor(space: spaces.Space) -> type[BaseFeaturesExtractor]:
    if isinstance(space, spaces.Dict):
        return CombinedExtractor
    return NatureCNN if is_image_space(space) else FlattenExtractor
