"""Car: the observer with the compensator of a car on a road."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from ....policies.kernels.arithmetic import copy
from ....policies.kernels.packed import by_rows, pack, reals
from ....policies.kernels.views import scratch, vector, view
from ..at_once import arrived, as_it_is, asked, constants_of, learned, outcome, size_of_room, teaches, went_out
from ..blend import blend_learned, blend_sent, blend_shown
from ..compensators import car
from ..compensators.car import CarCompensator
from ..compiled import kernel
from ..estimator import DisturbanceObserver, Memory, learn_rows, predict_rows
from ..nominal import NominalModel
from ..state import State
from .model_based import Kernels, ModelBased

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
    fields = (Memory, car.Memory)

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
        own = self.compensator.constants, self.nominal.demand
        return pack((self.nominal.network, self.estimator.constants, *own))

    def initial_state(self, n: int) -> State:
        return self.estimator.initial_state(n) | self.compensator.initial_state(n)

    def correct(
        self, state: State, observation: np.ndarray, action: np.ndarray, dt: np.ndarray
    ) -> tuple[np.ndarray, State]:
        return self.compensator.correct(state, action), state

    def limit(self, state: State, action: np.ndarray) -> np.ndarray:
        return self.compensator.limit_brakes(state, action)

    def estimate(self, state: State) -> np.ndarray:
        beside = [state["demand"], state["delay"] * self.nominal.dt]
        return np.concatenate([state["d"], state["grip"], np.stack(beside, axis=1)], axis=1)


_ESTIMATED = len(Memory._fields)


@kernel
def _see(known, parts, rows, shown):  # type: ignore[no-untyped-def]
    """`Car.see`: shown [N, O] comes as the observation and is written, as are the states `rows` [N, S]."""
    compensator, own = reals(known, 2), parts[_ESTIMATED:]
    car.unbias(compensator, own, rows, shown)
    predict_rows(reals(known, 0), reals(known, 1), shown, parts[:_ESTIMATED], rows)
    car.see_rows(compensator, reals(known, 3), own, rows, shown)


@kernel
def _learn(  # type: ignore[no-untyped-def]
    known, parts, touched, observation, following, action, saturated, fresh, excited, dt, undone, leak, dead_zone, before,
    rows, room,
):  # fmt: skip
    """`Car.learn` from the states before [N, S]; rows [N, S] come as they are, and are written, as is the room."""
    network, compensator = reals(known, 0), reals(known, 2)
    estimated, own = parts[:_ESTIMATED], parts[_ESTIMATED:]
    expected, explained, learns, begin = outcome(room, len(rows), touched.shape[1])
    seen = view(room, begin, observation.shape, np.float64)
    then = view(room, begin + observation.size, following.shape, np.float64)
    for n in range(len(rows)):
        copy(observation[n], seen[n])
        copy(following[n], then[n])
    car.unbias(compensator, own, before, seen)
    car.unbias(compensator, own, before, then)
    sample = seen, then, action, saturated, fresh, excited, dt, leak, dead_zone
    learn_rows(network, reals(known, 1), touched, *sample, estimated, rows, expected, explained, learns)
    car.learn_rows(network, compensator, before, learns, seen, then, saturated, fresh, dt, undone, own, rows)


@kernel
def _act_at_once(  # type: ignore[no-untyped-def]
    constants, rows, observation, last, own_before, sent_before, dt, steps, activity, acted, hidden, shown, actions
):
    c, (own, wish, sent) = constants_of(constants), actions
    if not arrived(c, observation, last, steps):
        return False
    _see(c.known, c.parts, rows, shown)
    blend_shown(c, rows, observation, shown)
    if not asked(c, rows, observation, own_before, dt, hidden, shown, own, wish):
        return False
    car.correct_rows(c.parts[_ESTIMATED:], rows, wish)
    limited = scratch(own.shape, np.float64)
    for n in range(len(rows)):
        copy(own[n], limited[n])
    car.limit_brakes(c.parts[_ESTIMATED:], rows, limited)
    blend_sent(c, rows, limited, wish)
    return went_out(c, rows, own, wish, sent_before, sent, steps, activity, acted)


@kernel
def _learn_at_once(  # type: ignore[no-untyped-def]
    constants, before, rows, observation, following, terminated, wish, sent, dt, steps, activity, acted, worse
):
    c = constants_of(constants)
    if not teaches(c, observation, following, terminated, wish, steps, activity):
        return False
    touched = by_rows(c.touched, c.touched.size // sent.shape[1])
    room = vector(size_of_room(len(rows), touched.shape[1], observation.shape[1]))
    _learn(c.known, c.parts, touched, *as_it_is(c, observation, following, sent, dt), before, rows, room)
    blend_learned(c, rows, following, dt)
    return learned(c, rows, steps, acted, worse)


Car.kernels = Kernels(_see, _learn, _act_at_once, _learn_at_once)
