"""Auto: the model-based adapter that fits the vehicle, for as long as its predictions are good; else the integral."""

from __future__ import annotations

import numpy as np

from ..adapter import Adapter, State, Transition, choose_rows
from ..compensators.drone import DroneCompensator
from ..compiled import kernel
from ..nominal import NominalModel
from .drone import Drone
from .integral import Integral
from .model_based import ModelBased
from .observer import Observer


class Auto(Adapter):
    """Blends two members by predicted cost: `drone` (`observer` for other vehicles) with `integral`.

    With l the loss of predicting one step ahead with what was learned and l_0 that of the nominal model alone
    (`Adapter.loss`), what the members show and send is weighted

        w = clip((l_0 - l + tolerance) / width, 0, 1)

    for the model-based one and 1 - w for the integral, which learns nothing while it has no weight: an estimate that
    predicts worse than none is no ground to act on, but a tracking error is.

    Args:
        nominal: the nominal model.
        model_based: the first member; None is the one that fits the vehicle.
        tolerance: by how much the estimate may predict worse than none before it has no weight, nats.
        width: of the blend, nats.
    """

    name = "auto"
    regimes = ("prediction", "tracking")

    def __init__(
        self,
        nominal: NominalModel,
        model_based: ModelBased | None = None,
        tolerance: float = 0.15,
        width: float = 0.05,
    ) -> None:
        super().__init__(nominal)
        fitting = Drone if DroneCompensator.fits(nominal) else Observer
        self.model_based = fitting(nominal) if model_based is None else model_based
        self.integral = Integral(nominal)
        self.tolerance, self.width = tolerance, width
        self.estimate_names = (*self.model_based.estimate_names, "weight of the model")

    def initial_state(self, n: int) -> State:
        integral = self.integral.initial_state(n)["integral"]
        return self.model_based.initial_state(n) | {"fallback": integral, "weight": np.ones(n)}

    def see(self, state: State, observation: np.ndarray) -> tuple[np.ndarray, State]:
        shown, after = self.model_based.see(state, observation)
        w = state["weight"]
        if np.count_nonzero(w < 1.0):
            _blend(w, self.integral.see({"integral": state["fallback"]}, observation)[0], shown)
        return shown, after

    def correct(
        self, state: State, observation: np.ndarray, action: np.ndarray, dt: np.ndarray
    ) -> tuple[np.ndarray, State]:
        wish, after = self.model_based.correct(state, observation, action, dt)
        _blend(state["weight"], action, wish)
        return wish, after

    def learn(self, state: State, transition: Transition) -> State:
        after = self.model_based.learn(state, transition)
        integral, acts = state["fallback"], state["weight"] < 1.0
        if np.count_nonzero(acts):
            integral = choose_rows(acts, self.integral.learn({"integral": integral}, transition)["integral"], integral)
        weight = _weigh(self.loss(after), self.tolerance, self.width)
        return after | {"fallback": integral, "weight": weight}

    def loss(self, state: State) -> np.ndarray:
        return state["loss"]

    def keep(self, state: State, rows: np.ndarray) -> State:
        return self.model_based.keep(state, rows)

    def restore(self, state: State, rows: np.ndarray) -> State:
        return self.model_based.restore(state, rows)

    def estimate(self, state: State) -> np.ndarray:
        return np.concatenate([self.model_based.estimate(state), state["weight"][:, None]], axis=1)


@kernel
def _weigh(loss, tolerance, width):  # type: ignore[no-untyped-def]
    """w [N] of loss [N, 3]."""
    weight = np.empty(loss.shape[0])
    for n in range(loss.shape[0]):
        weight[n] = min(max((loss[n, 1] - loss[n, 0] + tolerance) / width, 0.0), 1.0)
    return weight


@kernel
def _blend(weight, integral, out):  # type: ignore[no-untyped-def]
    """out [N, K] comes as what the model-based member shows or sends; where its weight [N] is less than 1, the blend with what
    the integral does is written."""
    for n in range(out.shape[0]):
        if weight[n] < 1.0:
            for k in range(out.shape[1]):
                out[n, k] = weight[n] * out[n, k] + (1.0 - weight[n]) * integral[n, k]
