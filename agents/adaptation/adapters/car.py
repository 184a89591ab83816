"""Car: the observer with the compensator of a car on a road."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from ..adapter import Transition
from ..compensators import car
from ..compensators.car import CarCompensator
from ..compiled import kernel
from ..estimator import DisturbanceObserver, Memory, learn_rows, predict_rows
from ..nominal import NominalModel
from ..packed import pack, reals
from ..state import State
from .model_based import ModelBased

DELAY_GAIN = 0.3
"""A car that keeps its lane accelerates so little sideways that the noise of two samples hides it
(`DisturbanceObserver.delay_gain`)."""


class Car(ModelBased):
    """`DisturbanceObserver` and `CarCompensator` in one loop; for cars that follow a road which they are shown.

    Raises:
        ValueError: the nominal model is of another vehicle, or of a car that is not shown its road; or the estimator is of
            another kind, whose learning the compensator does not know.
    """

    name = "car"

    def __init__(
        self,
        nominal: NominalModel,
        estimator: DisturbanceObserver | None = None,
        compensator: CarCompensator | None = None,
    ) -> None:
        # Of forward velocity, lateral velocity and yaw rate, steering turns the last two, drive the first.
        super().__init__(
            nominal,
            estimator or DisturbanceObserver(nominal, delay_gain=DELAY_GAIN),
            np.array([[False, True, True], [True, False, False]]),
        )
        if not self.compiled:
            kind = type(self.estimator).__name__
            raise ValueError(
                f"adapter 'car' reads the filters of a DisturbanceObserver: give it one in place of {kind}."
            )
        self.compensator = compensator or CarCompensator.of(nominal)
        self.estimate_names = (
            *(f"disturbance/{rate}" for rate in nominal.signals.rates),
            "grip/front",
            "grip/rear",
            "demand",
            "delay",
        )

    @cached_property
    def known(self) -> np.ndarray:
        """All that its kernels read of the vehicle, packed."""
        own = self.compensator.constants, self.nominal.demand
        return pack((self.nominal.network, self.estimator.constants, *own))

    def initial_state(self, n: int) -> State:
        return self.estimator.initial_state(n) | self.compensator.initial_state(n)

    def see(self, state: State, observation: np.ndarray) -> tuple[np.ndarray, State]:
        after, shown = state.copy(), observation.astype(np.float64)
        _see(self.known, after.parts(Memory), after.parts(car.Memory), after.rows, shown)
        return shown, after

    def correct(
        self, state: State, observation: np.ndarray, action: np.ndarray, dt: np.ndarray
    ) -> tuple[np.ndarray, State]:
        return self.compensator.correct(state, action), state

    def learn(self, state: State, transition: Transition) -> State:
        after = state.copy()
        parts = after.parts(Memory), after.parts(car.Memory)
        _learn(self.known, self.touched, *self._sample(transition), *parts, state.rows, after.rows)
        return after

    def limit(self, state: State, action: np.ndarray) -> np.ndarray:
        return self.compensator.limit_brakes(state, action)

    def estimate(self, state: State) -> np.ndarray:
        beside = [state["demand"], state["delay"] * self.nominal.dt]
        return np.concatenate([state["d"], state["grip"], np.stack(beside, axis=1)], axis=1)


@kernel
def _see(known, estimated, own, rows, shown):  # type: ignore[no-untyped-def]
    """`Car.see`: shown [N, O] comes as the observation and is written, as are the states `rows` [N, S]."""
    compensator = reals(known, 2)
    car.unbias(compensator, own, rows, shown)
    predict_rows(reals(known, 0), reals(known, 1), shown, estimated, rows)
    car.see_rows(compensator, reals(known, 3), own, rows, shown)


@kernel
def _learn(  # type: ignore[no-untyped-def]
    known, touched, observation, following, action, saturated, fresh, excited, dt, undone, leak, dead_zone, estimated,
    own, before, rows,
):  # fmt: skip
    """`Car.learn` from the states before [N, S]; rows [N, S] come as they are, and are written."""
    network, compensator = reals(known, 0), reals(known, 2)
    seen, then = observation.copy(), following.copy()
    car.unbias(compensator, own, before, seen)
    car.unbias(compensator, own, before, then)
    shape = len(rows), touched.shape[1]
    expected, explained, learns = np.empty(shape), np.empty(shape), np.empty(len(rows), dtype=np.bool_)
    sample = seen, then, action, saturated, fresh, excited, dt, leak, dead_zone
    learn_rows(network, reals(known, 1), touched, *sample, estimated, rows, expected, explained, learns)
    car.learn_rows(network, compensator, before, learns, seen, then, saturated, fresh, dt, undone, own, rows)
