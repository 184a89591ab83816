"""Observer: the generic model-based adapter. What the nominal model cannot explain is estimated, then compensated."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from ....policies.kernels.packed import by_rows, pack, reals
from ....policies.kernels.views import vector
from ..adapter import Transition
from ..at_once import arrived, as_it_is, asked, constants_of, learned, outcome, size_of_room, teaches, went_out
from ..blend import blend_learned, blend_sent, blend_shown
from ..compensators import generic
from ..compensators.generic import GenericCompensator
from ..compiled import kernel
from ..estimator import DisturbanceObserver, Memory, learn_rows, predict_rows
from ..nominal import NominalModel
from ..presentation import Belief, show_rows
from ..state import State
from .model_based import Kernels, ModelBased


class Observer(ModelBased):
    """`DisturbanceObserver` and `GenericCompensator` in one loop; on any environment whose rates are known.

    Where no tracking error is named only the matched part is answered: there is no reference to move.
    """

    name = "observer"
    regimes = ("prediction",)
    fields = (Memory, Belief, generic.Memory)

    def __init__(
        self,
        nominal: NominalModel,
        estimator: DisturbanceObserver | None = None,
        compensator: GenericCompensator | None = None,
    ) -> None:
        # Saturated, any action may be what is missing in any rate.
        touched = np.ones((nominal.reader.actions, len(nominal.signals.rates)), dtype=bool)
        super().__init__(nominal, estimator, touched)
        self.compensator = compensator or GenericCompensator(nominal)
        self.estimate_names = (*(f"disturbance/{rate}" for rate in nominal.signals.rates), "delay")

    @cached_property
    def known(self) -> np.ndarray:
        own = self.compensator.constants, self.nominal.policy_response
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
        after, *_ = self.estimator.learn(state, transition, self.touched)
        return self.compensator.integrate(after, transition)

    def estimate(self, state: State) -> np.ndarray:
        return np.concatenate([state["d"], state["delay"][:, None] * self.nominal.dt], axis=1)


_ESTIMATED, _BELIEVED = len(Memory._fields), len(Memory._fields) + len(Belief._fields)


@kernel
def _see(known, parts, rows, shown):  # type: ignore[no-untyped-def]
    """`Observer.see`: shown [N, O] comes as the observation and is written, as are the states `rows` [N, S]."""
    network = reals(known, 0)
    predict_rows(network, reals(known, 1), shown, parts[:_ESTIMATED], rows)
    show_rows(reals(known, 2), parts[_ESTIMATED:_BELIEVED], rows, shown)
    generic.see_rows(reals(known, 3), network, reals(known, 4), parts[_BELIEVED:], rows, shown)


@kernel
def _learn(  # type: ignore[no-untyped-def]
    known, parts, touched, observation, following, action, saturated, fresh, excited, dt, undone, leak, dead_zone, before,
    rows, room,
):  # fmt: skip
    """`Observer.learn` from the states before [N, S]; rows [N, S] come as they are, and are written, as is the room."""
    expected, explained, learns, _ = outcome(room, len(rows), touched.shape[1])
    sample = observation, following, action, saturated, fresh, excited, dt, leak, dead_zone
    estimated = parts[:_ESTIMATED]
    learn_rows(reals(known, 0), reals(known, 1), touched, *sample, estimated, rows, expected, explained, learns)
    generic.integrate_rows(reals(known, 3), following, saturated, fresh, dt, undone, parts[_BELIEVED:], rows)


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
    generic.correct_rows(reals(c.known, 3), dt, c.parts[_BELIEVED:], rows, wish)
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


Observer.kernels = Kernels(_see, _learn, _act_at_once, _learn_at_once)
