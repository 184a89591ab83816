"""What the reference controllers of all vehicles share: `predict`, and how they find their channels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from .simulation import BatchEnv

State = tuple[np.ndarray, ...]
"""What a controller remembers, arrays of N rows; empty where it remembers nothing."""

Seen = TypeVar("Seen")
Env = TypeVar("Env", bound=BatchEnv)


class ReferenceController(ABC, Generic[Seen]):
    """A controller that is driven by the observation alone. Rows of a batch get the actions of single runs to the bit."""

    @abstractmethod
    def _read(self, rows: np.ndarray) -> Seen:
        """What there is to see in observations [N, O], float64."""

    @abstractmethod
    def _start(self, seen: Seen) -> State:
        """The state at the start of an episode."""

    @abstractmethod
    def _act(self, seen: Seen, state: State) -> tuple[np.ndarray, State]:
        """Actions [N, A] in [-1, 1], and the next state."""

    def predict(
        self,
        observation: np.ndarray,
        state: State | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, State]:
        """The action, as Stable-Baselines3's `predict`.

        Args:
            observation: [N, O], or [O] for one vehicle.
            state: what the last call returned; None begins afresh.
            episode_start: [N] bool, the rows that begin an episode and so forget.
            deterministic: taken for SB3's sake; the controller is.

        Returns:
            Action float32 [N, A] (or [A]) and the next state.
        """
        observation = np.asarray(observation)
        seen = self._read(np.atleast_2d(observation).astype(np.float64))
        fresh = self._start(seen)
        if state is None:
            state = fresh
        elif episode_start is not None:
            begins = np.atleast_1d(np.asarray(episode_start, dtype=bool))
            state = tuple(
                np.where(begins.reshape(-1, *[1] * (new.ndim - 1)), new, old)
                for new, old in zip(fresh, state, strict=True)
            )
        action, state = self._act(seen, state)
        return action.astype(np.float32).reshape(*observation.shape[:-1], -1), state


def find_channels(env: BatchEnv, names: Sequence[str]) -> np.ndarray:
    """Where the named channels are in an environment's observation.

    Raises:
        ValueError: there is none of that name; the message lists what there is.
    """
    places = {name: i for i, name in enumerate(env.observation_names)}
    if missing := [name for name in names if name not in places]:
        raise ValueError(f"the controller needs the observation channel {missing[0]!r}; they are: {', '.join(places)}.")
    return np.array([places[name] for name in names], dtype=int)


def batch_of(env: Any, kind: type[Env]) -> Env:
    """The batch behind `env`, its Gymnasium or its vectorised face.

    Raises:
        ValueError: it is of another kind.
    """
    inner = getattr(env, "unwrapped", env)
    for candidate in (inner, getattr(inner, "batch_env", None), getattr(inner, "batch", None)):
        if isinstance(candidate, kind):
            return candidate
    raise ValueError(
        f"{type(env).__name__} is no {kind.__name__}: give one, or what gymnasium.make or make_vec_env made of one."
    )
