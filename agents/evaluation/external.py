"""External policies: any object with Stable-Baselines3's `predict`, evaluated as it is, beside runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from ...envs import make_batch
from ..adaptation import NominalModel, make_adapter
from ..adaptation.nominal import disturbance_features
from ..controller import Controller
from .summary import BASE


class Predicts(Protocol):
    """What SB3 calls a policy. `observation` is [N, O] as the environment gives it, `state` what the last call returned
    (None at the start), `episode_start` [N] bool; returns the actions [N, A] and a state."""

    def predict(
        self, observation: np.ndarray, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[np.ndarray, Any]: ...


@dataclass(frozen=True)
class ExternalPolicy:
    """A policy that is no run, with what an evaluation asks of one. Without a nominal model it is flown frozen alone.

    Args:
        model: acts; it has to survive `pickle` where several processes fly.
        env_id: environment that it was trained on.
        env_kwargs: of that environment, as far as they change what it observes and how it acts.
        kind: what its row is called; empty: the class of the model.
        seed: training seed of the run that it is compared with, seed by seed.
        nominal: of the same vehicle; with it every adapter can fly the policy.
        sha256: of the file that the model came from. Without it an interrupted evaluation flies the policy anew.
    """

    model: Predicts
    env_id: str
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    kind: str = ""
    seed: int = 0
    nominal: NominalModel | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", self.kind or type(self.model).__name__)

    @property
    def name(self) -> str:
        return f"{self.kind}-s{self.seed}"

    def controller(self, adapter: str = BASE) -> Controller:
        """A controller that flies the model with the adapter of that name.

        Raises:
            ValueError: the adapter is unknown, or needs a nominal model and there is none.
        """
        if adapter != BASE and self.nominal is None:
            raise ValueError(
                f"adapter {adapter!r} predicts with a nominal model, and {self.name} has none: give it one of the same "
                f"vehicle, make it a run (undrift import), or fly it {BASE}."
            )
        nominal = self.nominal or self._layout
        return Controller(_Predicted(self.model, nominal.reader.actions), make_adapter(adapter, nominal))

    @cached_property
    def _layout(self) -> NominalModel:
        """A nominal model of no acceleration at all: a frozen controller reads the layout of observations from it alone."""
        env = make_batch(self.env_id, 1, **self.env_kwargs)
        rates, errors = len(env.signals.rates), len(env.signals.tracking)
        inputs = rates + len(env.signals.context) + env.action_space.shape[0]  # type: ignore[index]
        features = disturbance_features(np.zeros((1, errors))).shape[1]
        shapes = {"w1": (inputs, 1), "b1": 1, "w2": (1, 1), "b2": 1, "w3": (1, rates), "b3": rates}
        shapes |= {"skip": (inputs, rates), "out_mean": rates, "response": (features, errors)}
        tensors = {name: np.zeros(shape) for name, shape in shapes.items()}
        tensors |= {"in_scale": np.ones(inputs), "out_scale": np.ones(rates), "residual": np.ones(rates)}
        return NominalModel(env.observation_names, env.signals, env.dt, 1, tensors, unfit="nothing was learned")


class _Predicted:
    """A policy as a controller steps it; its memory is whatever `predict` returned last, for all vehicles together."""

    def __init__(self, model: Predicts, action_size: int) -> None:
        self._model, self.action_size = model, action_size

    def initial_state(self, batch_size: int) -> Any:
        return None

    def step(self, obs: np.ndarray, h: Any, dt: np.ndarray) -> tuple[np.ndarray, Any]:
        action, state = self._model.predict(obs, h, np.full(len(obs), h is None), deterministic=True)
        # A policy without memory returns no state; its episodes have begun all the same.
        return np.asarray(action, dtype=np.float64), state
