"""Auto: the model-based adapter that fits the vehicle, for as long as its predictions are good; else the integral."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ....policies.kernels.packed import pack
from ..adapter import Adapter, Transition
from ..at_once import AtOnce
from ..blend import Demanded, Trust, Tuning, mix, weigh
from ..compensators.car import CarCompensator
from ..compensators.drone import DroneCompensator
from ..compiled import kernel
from ..nominal import NominalModel
from ..state import State, part
from .car import Car
from .drone import Drone
from .integral import Integral
from .model_based import ModelBased
from .observer import Observer


class Auto(Adapter):
    """Blends two members by predicted cost: `drone` or `car` (`observer` for other vehicles) with `integral`.

    With l the loss of predicting one step ahead with what was learned and l_0 that of the nominal model alone
    (`Adapter.loss`), what the members show and send is weighted

        w = clip((l_0 - l + tolerance) / width, 0, 1)

    for the model-based one and 1 - w for the integral, which learns nothing while it has no weight: an estimate that
    predicts worse than none is no ground to act on, but a tracking error is. Where none is named the rest is the policy's own.
    What the vehicle cannot give neither asks for (`ModelBased.ask_less`, `limit`): a car that slides predicts badly.

    Args:
        nominal: the nominal model.
        model_based: the first member; None is the one that fits the vehicle.
        tolerance: by how much the estimate may predict worse than none before it has no weight, nats.
        width: of the blend, nats.
    """

    name = "auto"
    regimes = ("prediction",)

    def __init__(
        self,
        nominal: NominalModel,
        model_based: ModelBased | None = None,
        tolerance: float = 0.15,
        width: float = 0.05,
    ) -> None:
        super().__init__(nominal)
        self.model_based = _fitting(nominal) if model_based is None else model_based
        self.integral = Integral(nominal)
        self.tolerance, self.width = tolerance, width
        self.estimate_names = (*self.model_based.estimate_names, "weight of the model")

    def initial_state(self, n: int) -> State:
        fallback = self.integral.initial_state(n)["integral"]
        return self.model_based.initial_state(n) | {"fallback": fallback, "weight": np.ones(n)}

    def see(self, state: State, observation: np.ndarray) -> tuple[np.ndarray, State]:
        shown, after = self.model_based.see(state, observation)
        if _doubts(state.parts(Trust), state.rows):
            beside = self.integral.add(state["fallback"], observation)
            _blend(state["weight"].copy(), self.model_based.ask_less(state, beside), shown)
        return shown, after

    def correct(
        self, state: State, observation: np.ndarray, action: np.ndarray, dt: np.ndarray
    ) -> tuple[np.ndarray, State]:
        wish, after = self.model_based.correct(state, observation, action, dt)
        if _doubts(state.parts(Trust), state.rows):
            _blend(state["weight"].copy(), self.model_based.limit(state, action), wish)
        return wish, after

    def learn(self, state: State, transition: Transition) -> State:
        after = self.model_based.learn(state, transition)
        if _weigh(self.tolerance, self.width, after.parts(Trust), after.rows):
            acts = state["weight"] < 1.0
            after["fallback"][acts] = self.integral.integrate(state["fallback"], transition)[acts]
        return after

    def at_once(self, state: State, limits: Mapping[str, Any]) -> AtOnce | None:
        if type(self) is not Auto:
            return None
        integral = self.integral
        own = self.nominal.reader.error_index, integral.gain, integral.limit, integral.window, self.nominal.demand
        blended: dict[str, Any] = {
            "trust": state.parts(Trust),
            "tuning": pack(Tuning(self.tolerance, self.width, *own)),
        }
        if "demand" in state:
            blended["demanded"] = state.parts(Demanded)
        return self.model_based.at_once(state, {**limits, **blended})

    def ask_less(self, state: State, observation: np.ndarray) -> np.ndarray:
        return self.model_based.ask_less(state, observation)

    def loss(self, state: State) -> np.ndarray:
        return state["loss"]

    def keep(self, state: State, rows: np.ndarray) -> State:
        return self.model_based.keep(state, rows)

    def restore(self, state: State, rows: np.ndarray) -> State:
        return self.model_based.restore(state, rows)

    def estimate(self, state: State) -> np.ndarray:
        return np.concatenate([self.model_based.estimate(state), state["weight"][:, None]], axis=1)


def _fitting(nominal: NominalModel) -> ModelBased:
    """The model-based adapter that knows most of the vehicle."""
    if DroneCompensator.fits(nominal) and nominal.signals.tracking:
        return Drone(nominal)
    return Car(nominal) if CarCompensator.fits(nominal) else Observer(nominal)


@kernel
def _doubts(parts, rows):  # type: ignore[no-untyped-def]
    """Whether the integral has any weight in any row."""
    for n in range(rows.shape[0]):
        if part(rows[n], parts, 1)[0] < 1.0:
            return True
    return False


@kernel
def _weigh(tolerance, width, parts, rows):  # type: ignore[no-untyped-def]
    """The weight follows the loss; whether the integral had any in any row."""
    doubted = _doubts(parts, rows)
    for n in range(rows.shape[0]):
        weigh(tolerance, width, part(rows[n], parts, 0), part(rows[n], parts, 1))
    return doubted


@kernel
def _blend(weight, integral, model_based):  # type: ignore[no-untyped-def]
    """What is shown or sent [N, K], where the members show or send these; weight [N] is of the one that is written."""
    for n in range(weight.shape[0]):
        if weight[n] < 1.0:
            mix(weight[n], integral[n], model_based[n])
