"""Drone: the observer with the quadrotor's own compensator."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from ....policies.kernels.arithmetic import copy
from ....policies.kernels.packed import by_rows, pack, reals
from ....policies.kernels.views import vector, view
from ..adapter import Transition
from ..at_once import arrived, as_it_is, asked, constants_of, learned, outcome, size_of_room, teaches, went_out
from ..blend import blend_learned, blend_sent, blend_shown
from ..compensators import drone
from ..compensators.drone import DroneCompensator
from ..compiled import kernel
from ..estimator import DisturbanceObserver, Memory, learn_rows, predict_rows, recall
from ..nominal import NominalModel
from ..presentation import Belief, show_rows
from ..state import State
from .model_based import Kernels, ModelBased


class Drone(ModelBased):
    """`DisturbanceObserver` and `DroneCompensator` in one loop; for quadrotors commanded by thrust and body rates.

    Raises:
        ValueError: the nominal model is of another vehicle, or of one commanded otherwise.
    """

    name = "drone"
    fields = (Memory, Belief, drone.Memory)

    def __init__(
        self,
        nominal: NominalModel,
        estimator: DisturbanceObserver | None = None,
        compensator: DroneCompensator | None = None,
    ) -> None:
        # Thrust that is lost shows in the rotors' rates only where they cannot turn the vehicle as told.
        turning = [rate.startswith("body_rate_") for rate in nominal.signals.rates]
        super().__init__(nominal, estimator, np.outer([False, True, True, True], turning))
        self.compensator = compensator or DroneCompensator.of(nominal)
        self.estimate_names = (
            *(f"disturbance/{rate}" for rate in nominal.signals.rates),
            "thrust effectiveness",
            "demand",
            "delay",
        )

    @cached_property
    def known(self) -> np.ndarray:
        own = self.compensator.constants, self.nominal.demand, self.nominal.policy_response
        return pack((self.nominal.network, self.estimator.constants, self.channels, *own))

    def initial_state(self, n: int) -> State:
        return self.estimator.initial_state(n) | self.compensator.initial_state(n)

    def correct(
        self, state: State, observation: np.ndarray, action: np.ndarray, dt: np.ndarray
    ) -> tuple[np.ndarray, State]:
        return self.compensator.correct(state, action, dt)

    def learn(self, state: State, transition: Transition) -> State:
        if self.compiled:
            return super().learn(state, transition)
        after, f, _, learns = self.estimator.learn(state, transition, self.touched)
        return self.compensator.learn(after, state, f, learns, transition)

    def estimate(self, state: State) -> np.ndarray:
        beside = [state["effectiveness"], state["demand"], state["delay"] * self.nominal.dt]
        return np.concatenate([state["d"], np.stack(beside, axis=1)], axis=1)


_ESTIMATED, _BELIEVED = len(Memory._fields), len(Memory._fields) + len(Belief._fields)


@kernel
def _see(known, parts, rows, shown):  # type: ignore[no-untyped-def]
    """`Drone.see`: shown [N, O] comes as the observation and is written, as are the states `rows` [N, S]."""
    predict_rows(reals(known, 0), reals(known, 1), shown, parts[:_ESTIMATED], rows)
    show_rows(reals(known, 2), parts[_ESTIMATED:_BELIEVED], rows, shown)
    drone.see_rows(reals(known, 3), reals(known, 4), reals(known, 5), parts[_BELIEVED:], rows, shown)


@kernel
def _learn(  # type: ignore[no-untyped-def]
    known, parts, touched, observation, following, action, saturated, fresh, excited, dt, undone, leak, dead_zone, before,
    rows, room,
):  # fmt: skip
    """`Drone.learn` from the states before [N, S]; rows [N, S] come as they are, and are written, as is the room."""
    actions, rates = touched.shape
    estimated, own = parts[:_ESTIMATED], parts[_BELIEVED:]
    expected, explained, learns, begin = outcome(room, len(rows), rates)
    measured = view(room, begin, (len(rows),), np.bool_)
    attitude = view(room, begin + len(rows), (len(rows), 9), np.float64)
    sample = observation, following, action, saturated, fresh, excited, dt, leak, dead_zone
    learn_rows(reals(known, 0), reals(known, 1), touched, *sample, estimated, rows, expected, explained, learns)
    for n in range(len(rows)):
        was = recall(before[n], estimated, actions, rates)
        copy(was.context, attitude[n])
        measured[n] = fresh[n] and was.stale[0] == 0.0
    told = expected, attitude, learns, measured, observation, following
    drone.learn_rows(reals(known, 3), *told, saturated, dt, undone, own, rows)


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
    drone.correct_rows(reals(c.known, 3), dt, c.parts[_BELIEVED:], rows, wish)
    blend_sent(c, rows, own, wish)
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


Drone.kernels = Kernels(_see, _learn, _act_at_once, _learn_at_once)
